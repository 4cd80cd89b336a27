//! How busy a worker is, in the words that it publishes and the kernel's choice reads.
//!
//! One array entry per worker, at the index of the worker's listening socket. The worker is the
//! only writer of its entry and writes on every turn of its event loop at most once a millisecond;
//! readers take each word as it is. The words of one entry may be from two neighbouring moments,
//! which is good enough for a choice and for nothing else.

use core::mem::{align_of, offset_of, size_of};

/// One worker's load.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct WorkerLoad {
    /// When the worker last wrote, in nanoseconds of `CLOCK_MONOTONIC`, which is what
    /// `bpf_ktime_get_ns` reads. Zero: never, the entry is unused.
    pub heartbeat_ns: u64,
    /// How late the event loop's last timer came, in nanoseconds.
    pub event_loop_lag_ns: u64,
    /// The worker's number, from zero; equals the entry's index.
    pub worker_id: u32,
    /// Client connections that are open, those in a handshake included.
    pub connections_open: u32,
    /// TLS handshakes that are under way.
    pub handshakes_in_flight: u32,
    /// Fills the struct up to its alignment; always zero.
    pub padding: u32,
}

/// Entries of the array: the most workers that one service may have.
pub const WORKERS_MAX: u32 = 256;

/// A worker that has not written for this long is taken for stuck, and gets no new connection
/// while another is alive.
pub const HEARTBEAT_EXPIRY_NS: u64 = 100_000_000;

const _: () = assert!(size_of::<WorkerLoad>() == 32);
const _: () = assert!(align_of::<WorkerLoad>() == 8);
const _: () = assert!(offset_of!(WorkerLoad, heartbeat_ns) == 0);
const _: () = assert!(offset_of!(WorkerLoad, event_loop_lag_ns) == 8);
const _: () = assert!(offset_of!(WorkerLoad, worker_id) == 16);
const _: () = assert!(offset_of!(WorkerLoad, connections_open) == 20);
const _: () = assert!(offset_of!(WorkerLoad, handshakes_in_flight) == 24);
const _: () = assert!(offset_of!(WorkerLoad, padding) == 28);
// No implicit padding: the fields fill the struct.
const _: () = assert!(size_of::<WorkerLoad>() == 2 * size_of::<u64>() + 4 * size_of::<u32>());
