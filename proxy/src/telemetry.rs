//! What Herald says of itself: the log, and the limit on lines a peer can cause.

pub mod limit;
pub mod log;
pub mod request_id;

pub use request_id::{RequestId, RequestIds};
