//! TLS towards clients: the rustls configuration, the handshake under a deadline, and the verdict
//! on the client's certificate. Takes an accepted socket, gives a `Handshaken`.

mod constraints;
pub mod context;
mod crl;
mod denied;
mod der;
mod explain;
mod extensions;
mod facts;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
pub mod handshake;
pub mod kernel;
mod known;
mod name;
pub mod origin;
mod path;
pub mod possession;
mod provider;
pub mod reason;
pub mod revocation;
pub mod socket;
pub mod store;
pub mod stores;
pub mod stream;
pub mod tickets;
mod time;
pub mod verdict;
pub mod verifier;

pub use handshake::{HandshakeError, HandshakeLimits, Handshaken, Server, VerifiedPeer, handshake};
pub use provider::provider;
pub use reason::{Reason, ReasonStyle};
pub use revocation::{ListPolicy, Revocation, RevocationError};
pub use store::{Examined, StoreError, TrustStore};
pub use stores::TrustStores;
pub use tickets::{SecretError, TicketSecrets, Tickets};
pub use verdict::{Judgement, ValidPath, Verdict};
pub use verifier::{AtHandshake, ClientVerifier};
