//! Settings about resumed TLS sessions.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::config::units::{Span, path_parser};

/// Settings about resumed TLS sessions.
#[derive(Args, Clone, Debug)]
pub struct ResumptionFlags {
    /// Lets clients resume TLS sessions by tickets; the verdict on their certificate is reached anew each time.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub resumption: bool,

    /// A session ends this long after its first handshake, however often it is resumed.
    #[arg(long, value_name = "TIME", default_value = "12h")]
    pub ticket_lifetime: Span,

    /// Secrets that ticket keys are derived from, one a line, 64 hexadecimal digits, newest first; the same file lets several
    /// Heralds resume each other's sessions. Without it a secret lives as long as the process.
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub ticket_keys: Option<PathBuf>,
}
