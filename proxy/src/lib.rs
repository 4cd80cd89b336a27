//! Herald: stands in front of HTTP origins, terminates mutual TLS, and tells the origin on every
//! request, in headers it can trust, who is calling.
//!
//! A byte goes one way; each stage takes the previous stage's value and returns the next:
//!
//! ```text
//! listen ─ Accepted ─► tls ─ Handshaken, VerifiedPeer ─► caller ─ Standing{Verdict, HeaderBlock}
//!                                                                     │
//!        client request ─► http ─ RequestHead ─► policy ─ Permit ─► headers ─ Outbound ─► upstream
//!                                                                                            │
//!        client ◄───────────────────────── headers (cleaned) ◄──────────────────── relay ◄───┘
//! ```
//!
//! `connection` (once a connection) and `exchange` (once a request) hold all control flow;
//! `docs/ARCHITECTURE.md` follows a request through the files.

pub mod admin;
pub mod app;
pub mod bounded;
pub mod caller;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connection;
pub mod demo;
pub mod drain;
pub mod exchange;
pub mod explain;
pub mod files;
pub mod handover;
pub mod headers;
pub mod hosts;
pub mod http;
pub mod identity;
pub mod listen;
pub mod net;
pub mod policy;
pub mod privilege;
pub mod relay;
pub mod reload;
pub mod respond;
pub mod selftest;
pub mod snapshot;
pub mod steering;
pub mod sys;
pub mod telemetry;
pub mod tls;
pub mod trial;
pub mod upstream;
pub mod worker;
