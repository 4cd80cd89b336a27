//! Logic of the kernel programs, apart from the programs: pure functions that the user-space tests
//! can run, written so that the kernel's verifier accepts them. No panic, no unchecked index, no
//! unbounded loop, no allocation. The programs themselves are in `proxy-ebpf/programs`, which is
//! built for the kernel's machine by `cargo xtask ebpf build`.

#![no_std]
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

pub mod choose;
pub mod rate;

pub use choose::Choice;
