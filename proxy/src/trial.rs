//! What `demo` and `selftest` try a Herald with: an origin that tells and notes what it saw,
//! throw-away certificates, and callers that send what no honest library would.

pub mod client;
pub mod origin;
pub mod pki;

pub use client::{Answer, Caller, Question};
pub use origin::{Origin, Seen};
pub use pki::{Authority, Own};
