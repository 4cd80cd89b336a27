//! HTTP towards clients: hyper serves, with every limit spelled out; a request whose framing,
//! authority or target is ambiguous is refused before any other stage sees it.

mod activity;
pub mod body;
mod drive;
pub mod guarded;
mod incoming;
pub mod limits;
mod park;
pub mod path;
mod records;
mod refused;
pub mod request;
pub mod serve;
pub mod upgrade;
pub mod withdrawal;

pub use body::{BodyFailure, BodyTooLarge, RequestBody};
pub use incoming::ClientBody;
pub use limits::Limits;
pub use refused::{RefusedHead, refused_head};
pub use request::{Framing, Malformed, RequestHead};
pub use serve::{Leftover, Protocol, Served, serve};
pub use upgrade::Upgrades;
pub use withdrawal::{Endings, Withdrawal};
