//! Header hygiene: strip what a client may not say, then inject what Herald knows.
//!
//! Takes a `RequestHead` and a `Permit`, gives an [`Outbound`]; cleans responses and trailers on
//! the way back. An error here is a breach, so the order is fixed by type: the only input of
//! injection is the output of stripping.

pub mod block;
pub mod date;
pub mod families;
pub mod forwarded;
mod hop;
pub mod mapping;
pub mod names;
pub mod preset;
mod refusal;
pub mod response;
pub mod rewrite;
pub mod sample;
pub mod template;
pub mod trailers;
pub mod xfcc;

pub use block::HeaderBlock;
pub use date::ensure_date;
pub use families::family_names;
pub use forwarded::{ClientHop, Forwarding};
pub use mapping::{Mapping, MappingError};
pub use names::Hygiene;
pub use preset::Preset;
pub use refusal::Refusal;
pub use response::{announce_switch, clean_response};
pub use rewrite::{Framing, Outbound, Way};
pub use sample::sample;
pub use template::Template;
pub use trailers::clean_trailers;
