//! TLS towards clients: the rustls configuration, the handshake under a deadline, and the verdict
//! on the client's certificate.

mod constraints;
mod der;
mod explain;
mod extensions;
mod facts;
mod name;
mod path;
pub mod possession;
pub mod reason;
pub mod store;
mod time;
pub mod verdict;

pub use reason::{Reason, ReasonStyle};
pub use store::{StoreError, TrustStore};
pub use verdict::{Judgement, ValidPath, Verdict};
