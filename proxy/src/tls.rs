//! TLS towards clients: the rustls configuration, the handshake under a deadline, and the verdict
//! on the client's certificate (DESIGN §2). Takes an accepted socket, gives a `Handshaken`.

pub mod context;
pub mod handshake;
pub mod possession;
mod sessions;
pub mod store;
pub mod verdict;
pub mod verifier;

pub use handshake::{HandshakeError, HandshakeLimits, Handshaken, VerifiedPeer, handshake};
pub use store::TrustStore;
pub use verdict::{Judgement, Reason, ReasonStyle, ValidPath, Verdict};
pub use verifier::{AtHandshake, ClientVerifier};
