//! The settings of origins and of the connections to them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::address::UpstreamAddr;
use crate::config::tcp::TcpSettings;
use crate::config::units::{Size, Span, path_parser};

/// Which origin a request goes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Balance {
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest requests in flight from the same worker.
    LeastRequests,
    /// Always the same one for the same certificate; callers without one take turns.
    Fingerprint,
}

/// Who shares connections to the origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Isolate {
    /// All callers.
    None,
    /// Nobody: each certificate has connections of its own.
    Identity,
}

/// Settings of origins.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Origins")]
pub struct UpstreamFlags {
    /// An origin: http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT (HTTP/2 in the clear), unix:/PATH or h2c+unix:/PATH. Repeatable; requests are spread over all.
    #[arg(long, value_name = "URL")]
    pub upstream: Vec<UpstreamAddr>,

    /// CA certificates that https origins must lead to, PEM. Repeatable; no others are trusted.
    #[arg(long, value_name = "PEM", value_parser = path_parser())]
    pub upstream_ca: Vec<PathBuf>,

    /// Herald's own certificate chain towards https origins, PEM, leaf first.
    #[arg(long, value_name = "PEM", value_parser = path_parser())]
    pub upstream_cert: Option<PathBuf>,

    /// The private key of --upstream-cert, PEM.
    #[arg(long, value_name = "PEM", value_parser = path_parser())]
    pub upstream_key: Option<PathBuf>,

    /// The name that the certificates of https origins must be for, in place of the host in their URL.
    #[arg(long, value_name = "NAME")]
    pub upstream_server_name: Option<String>,

    /// Which origin a request goes to. Those that don't accept connections are passed over.
    #[arg(long, value_enum, value_name = "RULE", default_value = "round-robin")]
    pub upstream_balance: Balance,

    /// Who shares connections to the origin; identity gives each certificate its own.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "none")]
    pub upstream_isolate: Isolate,

    /// How often the names of origins are resolved anew. While that fails the last addresses are kept.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub upstream_resolve: Span,

    /// A path that every origin is asked for at an interval; one that answers no status of 200 to 399 twice gets no requests until it does. Without it there are no such checks.
    #[arg(long, value_name = "PATH")]
    pub upstream_health_path: Option<String>,

    /// From one health check of an origin to the next, by each worker.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub upstream_health_interval: Span,

    /// Connecting to the origin.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub upstream_connect_timeout: Span,

    /// From the sent request to the head of the origin's answer.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub upstream_response_timeout: Span,

    /// An unused connection to the origin is closed after this.
    #[arg(long, value_name = "TIME", default_value = "50s")]
    pub upstream_idle_timeout: Span,

    /// Most unused connections to an origin that a worker keeps.
    #[arg(long, value_name = "N", default_value = "128")]
    pub upstream_idle_max: usize,

    /// Most requests at a time on one HTTP/2 connection to an origin; beyond, another one is opened.
    #[arg(long, value_name = "N", default_value = "100")]
    pub upstream_http2_streams: usize,

    /// HTTP/2 flow-control window of a response.
    #[arg(long, value_name = "SIZE", default_value = "256KiB")]
    pub upstream_http2_window: Size,

    /// TCP settings that the kernel makes on connections to the origin, some of
    /// `congestion=NAME,notsent_lowat=SIZE,initial_window=SEGMENTS`.
    #[arg(long, value_name = "SETTINGS")]
    pub upstream_tcp_profile: Option<TcpSettings>,
}
