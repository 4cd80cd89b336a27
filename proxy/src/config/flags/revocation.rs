//! Settings about client certificates that count no more.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::units::path_parser;

/// What becomes of the certificates of a CA whose revocation list can't be relied on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum CrlMode {
    /// They fail, once the list has expired or is not the CA's own.
    Hard,
    /// They pass, but for those that the list names.
    Soft,
}

/// Settings about client certificates that count no more.
#[derive(Args, Clone, Debug)]
pub struct RevocationFlags {
    /// Revocation lists (CRLs) of client CAs, PEM or DER. Repeatable; a CA without a list needs none.
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub client_crl: Vec<PathBuf>,

    /// What becomes of the certificates of a CA whose revocation list can't be relied on.
    #[arg(long, value_enum, value_name = "MODE", default_value = "hard")]
    pub crl_mode: CrlMode,

    /// Client certificates to refuse, one a line: serial:HEX, sha1:HEX, sha256:HEX (fingerprints) or spki:HEX (SHA-256 of the public key). Repeatable.
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub client_revoked: Vec<PathBuf>,
}
