//! What the programs of the bench share: TLS configurations, certificates, framing, the load.
//!
//! The programs in `src/bin` are driven by `cargo xtask bench`: `origin` answers and counts,
//! `load` asks, `floor` is the least a TLS-terminating proxy can do, `probe` sends one request for
//! the checks, `pki` makes the certificates. All run one event loop on one thread, so that none of
//! them is what limits a peer; the bench reports how busy they were.

pub mod events;
pub mod framing;
pub mod identities;
pub mod load;
pub mod tls;

/// What a program of the bench ends with when it can't go on.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
