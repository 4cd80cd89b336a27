//! What the proxy and its kernel programs share: the layout of the words they exchange.
//!
//! Both sides are built from this crate, but not always from the same build of it, so each layout
//! is pinned by assertions here and [`LAYOUT_VERSION`] is compared before a program is attached.
//! Rules for every type: `#[repr(C)]`, fixed-width integers, padding spelled out, no `bool`, no
//! `usize`, no enum. The kernel's verifier refuses reads of bytes that nobody wrote.

#![no_std]

pub mod address;
pub mod close;
pub mod counter;
pub mod load;
pub mod mark;
#[cfg(feature = "user")]
mod pod;
pub mod rate;
pub mod source;

pub use address::Address;
pub use close::CloseEvent;
pub use counter::Counter;
pub use load::WorkerLoad;
pub use mark::{SocketMark, TcpProfile};
pub use rate::{Prefix, Rate, RateLimits};
pub use source::SourceLive;

/// Raised with every change to a layout in this crate. A kernel object of another version is
/// refused at load, and steering stays with the kernel's own choice.
pub const LAYOUT_VERSION: u32 = 5;

/// The global of a kernel object whose layout is [`LAYOUT_VERSION`].
pub const LAYOUT_GLOBAL: &str = "LAYOUT_5";

/// Most listening addresses that one process steers.
pub const SERVICES_MAX: u32 = 64;
