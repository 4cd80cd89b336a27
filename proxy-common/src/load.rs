//! How busy a worker is, in the words that it publishes and the kernel's choice reads.
//!
//! One array entry per worker. The worker is the only writer of its entry; readers take each word
//! as it is. The words of one entry may be from two neighbouring moments, which is good enough for
//! a choice and for nothing else.

use core::mem::{align_of, offset_of, size_of};

/// One worker's load. A cache line of its own: a worker that writes disturbs no other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct WorkerLoad {
    /// When the worker's timer last came, in nanoseconds of `CLOCK_MONOTONIC`, which is what
    /// `bpf_ktime_get_ns` reads. Zero: never, the entry is unused.
    pub heartbeat_ns: u64,
    /// Since when the event loop has been working without looking for new events, in the same
    /// clock; zero while it waits in the kernel.
    pub busy_since_ns: u64,
    /// Client connections that are open, those in a handshake included.
    pub connections_open: u32,
    /// TLS handshakes that are under way.
    pub handshakes_in_flight: u32,
    /// Fills a cache line; always zero.
    pub padding: [u64; 5],
}

/// Entries of the array: the most workers that are steered to.
pub const WORKERS_MAX: u32 = 256;

/// How often a worker's timer writes, also while it has nothing to do.
pub const HEARTBEAT_INTERVAL_NS: u64 = 100_000_000;

/// A worker that has not written for this long is taken for stuck, and gets no new connection
/// while another is alive.
pub const HEARTBEAT_EXPIRY_NS: u64 = 500_000_000;

const _: () = assert!(size_of::<WorkerLoad>() == 64);
const _: () = assert!(align_of::<WorkerLoad>() == 8);
const _: () = assert!(offset_of!(WorkerLoad, heartbeat_ns) == 0);
const _: () = assert!(offset_of!(WorkerLoad, busy_since_ns) == 8);
const _: () = assert!(offset_of!(WorkerLoad, connections_open) == 16);
const _: () = assert!(offset_of!(WorkerLoad, handshakes_in_flight) == 20);
const _: () = assert!(offset_of!(WorkerLoad, padding) == 24);
