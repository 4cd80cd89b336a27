//! Logic of the kernel programs, apart from the programs: pure functions that the user-space tests
//! can run, written so that the kernel's verifier accepts them. No panic, no unchecked index, no
//! unbounded loop, no allocation.

#![no_std]
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

pub mod choose;

pub use choose::choose;
