//! Herald: stands in front of HTTP origins, terminates mutual TLS, and tells the origin on every
//! request, in headers it can trust, who is calling.
//!
//! A byte goes one way; each stage takes the previous stage's value and returns the next:
//!
//! ```text
//! listen ─ Accepted ─► tls ─ Handshaken ─► identity ─ HeaderBlock ─► http ─ RequestHead ─► policy ─ Permit
//!                                                                                            │
//!                              client ◄─ relay ◄─ upstream.send ◄─ Outbound ─ headers.rewrite ┘
//! ```
//!
//! `connection` (once a connection) and `exchange` (once a request) hold all control flow.

pub mod config;
pub mod headers;
pub mod identity;
pub mod relay;
pub mod tls;
pub mod upstream;
