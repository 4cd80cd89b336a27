//! What the proxy and its kernel programs share: the layout of the words they exchange.
//!
//! Both sides are built from this crate, but not always from the same build of it, so each layout
//! is pinned by assertions here and [`LAYOUT_VERSION`] is compared before a program is attached.
//! Rules for every type: `#[repr(C)]`, fixed-width integers, padding spelled out, no `bool`, no
//! `usize`, no enum. The kernel's verifier refuses reads of bytes that nobody wrote.

#![no_std]

pub mod load;

pub use load::WorkerLoad;

/// Raised with every change to a layout in this crate. A kernel object of another version is
/// refused at load, and steering stays with the kernel's own choice.
pub const LAYOUT_VERSION: u32 = 1;
