//! Settings about clients: what the origin is told of the way they come, what they may switch to, and
//! the limits on those that are slow, silent or too many.

use clap::{ArgAction, Args, ValueEnum};

use crate::config::units::{SizeLimit, Span};
use crate::net::Network;

/// How the origin is told of the way a request came.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ForwardedStyle {
    /// In X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host.
    XForwarded,
    /// In Forwarded (RFC 7239).
    Forwarded,
    /// In all of them.
    Both,
    /// Not at all.
    Off,
}

/// Settings about clients.
#[derive(Args, Clone, Debug)]
pub struct ClientFlags {
    /// How the origin is told the client's address, the scheme and the host it asked for.
    #[arg(
        long,
        value_enum,
        value_name = "STYLE",
        default_value = "x-forwarded",
        help_heading = "Headers for the origin"
    )]
    pub forwarded: ForwardedStyle,

    /// Tells the origin each request's id, which the log shows too, in X-Request-Id.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        action = ArgAction::Set,
        help_heading = "Headers for the origin"
    )]
    pub request_id: bool,

    /// A network whose peers are proxies of yours: what they say in X-Forwarded-*, Forwarded, X-Real-IP and X-Request-Id
    /// is kept. Repeatable; all others' is dropped.
    #[arg(long, value_name = "CIDR", help_heading = "Headers for the origin")]
    pub trusted_proxy: Vec<Network>,

    /// A caller whose X-Forwarded-Client-Cert is sent on, with Herald's own element behind it in the format it came in, text
    /// or JSON (Envoy's APPEND_FORWARD; presets envoy-xfcc, -cert, -json and -cert-json): a selector as in policies, such as
    /// `spiffe:spiffe://example.org/edge`, that its certificate must meet once it has verified. A list that can't be read is
    /// refused with 400. Repeatable; all others' is dropped.
    #[arg(long, value_name = "SELECTOR", help_heading = "Headers for the origin")]
    pub trusted_forwarder: Vec<String>,

    /// A protocol that clients may switch to on HTTP/1.1, through a tunnel that the origin opens; off for none. Repeatable.
    #[arg(
        long,
        value_name = "PROTOCOL",
        default_value = "websocket",
        help_heading = "Application"
    )]
    pub upgrade: Vec<String>,

    /// Most connections from one address, or one /64 of IPv6, that is no --trusted-proxy; 0 is no limit.
    #[arg(
        long,
        value_name = "N",
        default_value = "16384",
        help_heading = "Workers and limits"
    )]
    pub max_connections_per_source: usize,

    /// Most bytes of a request body; 0 is no limit (bodies are passed on as they come, never held).
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "0",
        help_heading = "Workers and limits"
    )]
    pub body_max: SizeLimit,

    /// A client that takes nothing of its answer for this long is cut off.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        help_heading = "Workers and limits"
    )]
    pub write_timeout: Span,

    /// A request's body that stands still for this long before it is answered is refused (408); one that the origin does not take, too (504).
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        help_heading = "Workers and limits"
    )]
    pub body_timeout: Span,

    /// An exchange in which neither body moves for this long after the head of its answer is broken off.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5m",
        help_heading = "Workers and limits"
    )]
    pub exchange_idle_timeout: Span,

    /// How long what is under way may go on once its caller may no longer pass: the certificate has expired or is revoked, or its CA is withdrawn.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1s",
        help_heading = "Workers and limits"
    )]
    pub verdict_grace: Span,

    /// A tunnel in which nothing moves, either way, is cut after this.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10m",
        help_heading = "Workers and limits"
    )]
    pub tunnel_idle_timeout: Span,

    /// Most requests that a client may break off (RST_STREAM) on an HTTP/2 connection in ten seconds.
    #[arg(
        long,
        value_name = "N",
        default_value = "200",
        help_heading = "Workers and limits"
    )]
    pub http2_resets_max: u32,
}

impl ClientFlags {
    /// The protocols that clients may switch to.
    pub fn upgrades(&self) -> impl Iterator<Item = &str> {
        let listed = self.upgrade.iter().map(String::as_str);
        listed.filter(|protocol| !protocol.eq_ignore_ascii_case("off"))
    }
}
