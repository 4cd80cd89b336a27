//! What the kernel knew of a connection when it ended: counters that user space can't read any
//! more once it has closed the socket.

use core::mem::{align_of, offset_of, size_of};

/// One ended connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct CloseEvent {
    /// The socket's cookie (`SO_COOKIE`), which is never used again while the system runs.
    pub cookie: u64,
    /// Bytes sent and acknowledged by the peer; SYN and FIN count as one each.
    pub bytes_acked: u64,
    /// Bytes received; the FIN counts as one.
    pub bytes_received: u64,
    /// From established to closed, in nanoseconds.
    pub duration_ns: u64,
    /// Smoothed round trip, in microseconds.
    pub srtt_us: u32,
    /// Least round trip, in microseconds.
    pub min_rtt_us: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// [`crate::mark::ROLE_CLIENT`] or [`crate::mark::ROLE_UPSTREAM`].
    pub role: u32,
    /// Index of the listening address.
    pub service: u32,
    /// The worker.
    pub worker: u32,
}

const _: () = assert!(size_of::<CloseEvent>() == 56);
const _: () = assert!(align_of::<CloseEvent>() == 8);
const _: () = assert!(offset_of!(CloseEvent, bytes_acked) == 8);
const _: () = assert!(offset_of!(CloseEvent, bytes_received) == 16);
const _: () = assert!(offset_of!(CloseEvent, duration_ns) == 24);
const _: () = assert!(offset_of!(CloseEvent, srtt_us) == 32);
const _: () = assert!(offset_of!(CloseEvent, min_rtt_us) == 36);
const _: () = assert!(offset_of!(CloseEvent, retransmits) == 40);
const _: () = assert!(offset_of!(CloseEvent, role) == 44);
const _: () = assert!(offset_of!(CloseEvent, service) == 48);
const _: () = assert!(offset_of!(CloseEvent, worker) == 52);
