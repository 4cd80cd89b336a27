//! The harness of Herald's black-box tests: it starts the real binary between a client that can send any bytes and an
//! origin that writes down every byte it gets.
//!
//! Nothing here is linked with Herald: what the tests know of it is its command line, its ready line and its behaviour on
//! the wire. The origin and the clients parse by themselves and strictly, so that a message with two readings is a
//! finding and not a lucky guess.

pub mod application;
pub mod attacks;
pub mod bulk;
pub mod certs;
pub mod client;
pub mod counted;
pub mod envoy;
pub mod forge;
pub mod gate;
pub mod h2;
pub mod herald;
pub mod hpack;
pub mod kernel;
pub mod live;
pub mod lookup;
pub mod matrix;
pub mod netns;
pub mod nginx;
pub mod origin;
pub mod peer;
pub mod pki;
pub mod programs;
pub mod records;
pub mod sealing;
pub mod site;
pub mod soak;
pub mod steering;
pub mod table;
pub mod vendors;
pub mod wait;
pub mod wire;
pub mod world;
