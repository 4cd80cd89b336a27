//! The one definition of every setting. The doc comments are the help, the man page and
//! `docs/config.md`; the field names are the keys of the file.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::account::AccountFlags;
use super::observe::ObserveFlags;
use super::units::{Size, Span, Workers, path_parser};
use crate::net::Network;

mod client;
mod kernel;
mod resumption;
mod revocation;
mod steering;
mod upstream;

pub use client::{ClientFlags, ForwardedStyle};
pub use kernel::{KernelFlags, Ktls};
pub use resumption::ResumptionFlags;
pub use revocation::{CrlMode, RevocationFlags};
pub use steering::SteeringFlags;
pub use upstream::{Balance, Isolate, UpstreamFlags};

/// Who may pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ClientAuth {
    /// None: 403, failed: 403.
    Required,
    /// None passes as NONE, failed: 403.
    Optional,
    /// None passes as NONE, failed as FAILED:reason; the origin decides.
    ForwardFailed,
    /// No certificate is asked for.
    Off,
}

/// What the origin learns of a certificate that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum OnFailure {
    /// Only that one was presented, and why it failed.
    Omit,
    /// All that the certificate says. An origin that reads the subject only is fooled by it.
    Send,
}

/// How the reason after `FAILED:` is spelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ReasonSpelling {
    /// As Cloudflare and OpenSSL 1: `self signed certificate`.
    Openssl1,
    /// As OpenSSL 3 and today's nginx: `self-signed certificate`.
    Openssl3,
}

/// The least TLS version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3 alone.
    #[value(name = "1.3")]
    Tls13,
}

/// Whether kernel programs help with new connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum EbpfMode {
    /// Those that this process may load; the others are told with their reason.
    Auto,
    /// None.
    Off,
    /// All that the configuration has a use for, or no start.
    Require,
}

/// The least severe events that are logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogLevel {
    /// What stops Herald.
    Error,
    /// What an operator should look at.
    Warn,
    /// Starts, stops, failed handshakes.
    Info,
    /// Every refusal and every broken connection.
    Debug,
}

/// Settings of one application. Every flag has its key in the file: `--client-auth` is `client_auth`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Application")]
pub struct Flags {
    /// Reads settings from this TOML file; flags override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address and port to listen on. Repeatable.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<SocketAddr>,

    /// Herald's own certificate chain, PEM, leaf first.
    #[arg(long, value_name = "PEM", value_parser = path_parser())]
    pub cert: Option<PathBuf>,

    /// The private key of --cert, PEM.
    #[arg(long, value_name = "PEM", value_parser = path_parser())]
    pub key: Option<PathBuf>,

    /// CA certificates that client certificates must lead to, PEM. Repeatable; any of them will do.
    #[arg(long, value_name = "PEM", value_parser = path_parser())]
    pub client_ca: Vec<PathBuf>,

    /// Who may pass.
    #[arg(long, value_enum, value_name = "MODE", default_value = "required")]
    pub client_auth: ClientAuth,

    /// Ends the handshake with a TLS alert where --client-auth required would answer 403.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub reject_at_tls: bool,

    /// An HTML page for people who are refused with 403, at most 64 KiB; `{request_id}` in it becomes the request's id. Programs that ask for JSON get problem+json.
    #[arg(long, value_name = "HTML", value_parser = path_parser())]
    pub denied_page: Option<PathBuf>,

    /// Least TLS version.
    #[arg(long, value_enum, value_name = "VERSION", default_value = "1.2")]
    pub tls_min: TlsVersion,

    /// A set of headers for the origin; `cloudflare-worker` if neither this nor --header is given. Repeatable.
    #[arg(long, value_name = "NAME", help_heading = "Headers for the origin")]
    pub preset: Vec<String>,

    /// A header for the origin, such as `X-Device={certSubjectCN}`. Repeatable; adds to the presets, or replaces one of them.
    #[arg(
        long,
        value_name = "NAME=VALUE",
        help_heading = "Headers for the origin"
    )]
    pub header: Vec<String>,

    /// What the origin learns of a certificate that failed.
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value = "omit",
        help_heading = "Headers for the origin"
    )]
    pub identity_on_failure: OnFailure,

    /// How reasons are spelled.
    #[arg(
        long,
        value_enum,
        value_name = "STYLE",
        default_value = "openssl1",
        help_heading = "Headers for the origin"
    )]
    pub reason_style: ReasonSpelling,

    /// A client's header name outside [A-Za-z0-9-] to let through; all others of that kind are dropped. Repeatable.
    #[arg(long, value_name = "NAME", help_heading = "Headers for the origin")]
    pub allow_header_name: Vec<String>,

    /// Worker threads; auto (or 0) is one a core.
    #[arg(
        long,
        value_name = "N",
        default_value = "auto",
        help_heading = "Workers and limits"
    )]
    pub workers: Workers,

    /// Kernel programs that give each new connection to the least busy worker, and count. They need
    /// CAP_BPF and CAP_NET_ADMIN; without them the kernel spreads connections blindly.
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "auto",
        help_heading = "Workers and limits"
    )]
    pub ebpf: EbpfMode,

    /// Connections a second that one source, an IPv4 address or an IPv6 /64, may complete; a /48
    /// may 16 times as many. Those above are refused by the kernel, before a handshake.
    #[arg(long, value_name = "N", help_heading = "Workers and limits")]
    pub refuse_rate: Option<NonZeroU32>,

    /// Connections that one source may complete at once [default: twice refuse_rate].
    #[arg(long, value_name = "N", help_heading = "Workers and limits")]
    pub refuse_burst: Option<NonZeroU32>,

    /// Network whose connections are never refused.
    #[arg(long, value_name = "CIDR", help_heading = "Workers and limits")]
    pub refuse_exempt: Vec<Network>,

    /// Most client connections at a time, all listeners together.
    #[arg(
        long,
        value_name = "N",
        default_value = "65536",
        help_heading = "Workers and limits"
    )]
    pub max_connections: NonZeroUsize,

    /// From accept to the end of the handshake.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        help_heading = "Workers and limits"
    )]
    pub handshake_timeout: Span,

    /// Most bytes a client may send in the handshake.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "128KiB",
        help_heading = "Workers and limits"
    )]
    pub handshake_max: Size,

    /// Waiting for a whole request head (HTTP/1.1; from the end of the answer before).
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        help_heading = "Workers and limits"
    )]
    pub head_timeout: Span,

    /// Most bytes of a request head.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64KiB",
        help_heading = "Workers and limits"
    )]
    pub head_max: Size,

    /// Most fields of a request head.
    #[arg(
        long,
        value_name = "N",
        default_value = "100",
        help_heading = "Workers and limits"
    )]
    pub head_fields_max: NonZeroUsize,

    /// A client connection without a request is closed after this.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "75s",
        help_heading = "Workers and limits"
    )]
    pub idle_timeout: Span,

    /// Most concurrent requests on an HTTP/2 connection.
    #[arg(
        long,
        value_name = "N",
        default_value = "128",
        help_heading = "Workers and limits"
    )]
    pub http2_streams_max: u32,

    /// HTTP/2 flow-control window of a stream.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256KiB",
        help_heading = "Workers and limits"
    )]
    pub http2_stream_window: Size,

    /// HTTP/2 flow-control window of a connection.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "1MiB",
        help_heading = "Workers and limits"
    )]
    pub http2_connection_window: Size,

    /// Callers whose verdict and headers are kept ready.
    #[arg(
        long,
        value_name = "N",
        default_value = "10000",
        help_heading = "Workers and limits"
    )]
    pub callers_max: NonZeroUsize,

    /// Folder, made with mode 0700, by which a Herald that is started beside this one takes over:
    /// once it serves, this one drains [default: none].
    #[arg(long, value_name = "DIR", help_heading = "Workers and limits")]
    pub handover: Option<PathBuf>,

    /// At a stop, open connections may finish for this long.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        help_heading = "Workers and limits"
    )]
    pub drain_timeout: Span,

    /// At a stop, an idle HTTP/1.1 connection may send one more request for this long.
    ///
    /// A client may just be sending it. It is answered with `Connection: close`.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1s",
        help_heading = "Workers and limits"
    )]
    pub drain_idle_timeout: Span,

    /// Least severe events logged.
    #[arg(
        long,
        value_enum,
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Log"
    )]
    pub log_level: LogLevel,

    /// What is written down, and who may look in.
    #[command(flatten)]
    pub observe: ObserveFlags,

    /// Privileges.
    #[command(flatten)]
    pub account: AccountFlags,

    /// Clients.
    #[command(flatten)]
    pub client: ClientFlags,

    /// Resumed TLS sessions.
    #[command(flatten)]
    pub resumption: ResumptionFlags,

    /// Client certificates that count no more.
    #[command(flatten)]
    pub revocation: RevocationFlags,

    /// The kernel's part in connections.
    #[command(flatten)]
    pub steering: SteeringFlags,

    /// The kernel's part in TLS.
    #[command(flatten)]
    pub kernel: KernelFlags,

    /// Origins.
    #[command(flatten)]
    pub upstream: UpstreamFlags,
}
