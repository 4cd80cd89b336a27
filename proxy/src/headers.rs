//! Header hygiene: strip what a client may not say, then inject what Herald knows.

pub mod rewrite;

pub use rewrite::{Framing, Outbound};
