//! The settings of origins and of the connections to them.

use clap::{Args, ValueEnum};

use crate::config::address::UpstreamAddr;
use crate::config::units::Span;

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
    /// An origin: http://HOST:PORT or unix:/PATH. Repeatable; requests are spread over all.
    #[arg(long, value_name = "URL")]
    pub upstream: Vec<UpstreamAddr>,

    /// Which origin a request goes to. Those that don't accept connections are passed over.
    #[arg(long, value_enum, value_name = "RULE", default_value = "round-robin")]
    pub upstream_balance: Balance,

    /// Who shares connections to the origin; identity gives each certificate its own.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "none")]
    pub upstream_isolate: Isolate,

    /// How often the names of origins are resolved anew. While that fails the last addresses are kept.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub upstream_resolve: Span,

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
}
