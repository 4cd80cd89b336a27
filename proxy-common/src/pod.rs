//! The layouts may cross to the kernel as bytes: each is `#[repr(C)]` of integers without a hole
//! (asserted beside its definition), so that any bytes are a value and every byte is written.
#![allow(
    unsafe_code,
    reason = "this file is the fence: marker implementations and nothing else"
)]

use crate::{
    Address, CloseEvent, Prefix, Rate, RateLimits, SocketMark, SourceLive, TcpProfile, WorkerLoad,
};

// SAFETY: `repr(C)`, integers only, no padding but named fields.
unsafe impl aya::Pod for Address {}
// SAFETY: as above.
unsafe impl aya::Pod for CloseEvent {}
// SAFETY: as above.
unsafe impl aya::Pod for Prefix {}
// SAFETY: as above.
unsafe impl aya::Pod for Rate {}
// SAFETY: as above.
unsafe impl aya::Pod for RateLimits {}
// SAFETY: as above.
unsafe impl aya::Pod for SocketMark {}
// SAFETY: as above.
unsafe impl aya::Pod for SourceLive {}
// SAFETY: as above.
unsafe impl aya::Pod for TcpProfile {}
// SAFETY: as above.
unsafe impl aya::Pod for WorkerLoad {}
