//! Settings about the kernel's part in TLS.

use clap::{Args, ValueEnum};

use crate::config::units::Size;

/// How much of TLS the kernel does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Ktls {
    /// As `splice` where this kernel is known to be good at it and its module is loaded, else as `off`.
    Auto,
    /// Nothing.
    Off,
    /// It encrypts large responses.
    Tx,
    /// It also moves their bodies from socket to socket (HTTP/1.1 and plain origins), or as `tx`.
    Splice,
}

/// The kernel's part in TLS.
#[derive(Args, Clone, Debug)]
pub struct KernelFlags {
    /// How much of TLS the kernel does for large responses (TLS 1.3; see docs/kernel-tls.md).
    #[arg(
        long,
        value_enum,
        value_name = "LEVEL",
        default_value = "auto",
        help_heading = "Kernel"
    )]
    pub ktls: Ktls,

    /// The least length of a response body for which the kernel takes over a connection.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "128KiB",
        help_heading = "Kernel"
    )]
    pub ktls_min_body: Size,
}
