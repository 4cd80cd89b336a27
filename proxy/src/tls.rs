//! TLS towards clients: the rustls configuration, the handshake under a deadline, and the verdict
//! on the client's certificate.

pub mod verdict;

pub use verdict::{Judgement, Reason, ReasonStyle, ValidPath, Verdict};
