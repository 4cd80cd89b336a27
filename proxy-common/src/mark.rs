//! What is written on a socket that is the service's own. The programs touch no socket without a
//! mark: another process in the same cgroup stays as it is.

use core::mem::{align_of, offset_of, size_of};

/// The value that lives with a socket (`BPF_MAP_TYPE_SK_STORAGE`). User space marks listeners and
/// sockets to the origin; the kernel copies a listener's mark to each connection it accepts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct SocketMark {
    /// [`ROLE_CLIENT`] or [`ROLE_UPSTREAM`].
    pub role: u32,
    /// Index of the listening address.
    pub service: u32,
    /// The worker that accepts, or that connects.
    pub worker: u32,
    /// [`MARK_COUNTED`] and [`MARK_SOURCE_COUNTED`], for the live counts that the connection is in.
    pub state: u32,
    /// When the connection was established, in nanoseconds of `CLOCK_MONOTONIC`.
    pub established_ns: u64,
    /// Bytes received when the peer had acknowledged our FIN (`TCP_FIN_WAIT2`).
    pub received_before_fin: u64,
    /// What the connection is set to when it is established.
    pub profile: TcpProfile,
}

/// A listener, or a connection that it accepted.
pub const ROLE_CLIENT: u32 = 1;
/// A connection to the origin.
pub const ROLE_UPSTREAM: u32 = 2;
/// [`SocketMark::state`]: counted as live with its worker.
pub const MARK_COUNTED: u32 = 1;
/// [`SocketMark::state`]: counted as live with its source prefix.
pub const MARK_SOURCE_COUNTED: u32 = 2;

/// TCP settings of a connection, made when it is established; zero leaves the kernel's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct TcpProfile {
    /// `TCP_CONGESTION`: the algorithm's name, ended by NUL; empty for the kernel's.
    pub congestion: [u8; 16],
    /// `TCP_NOTSENT_LOWAT` in bytes.
    pub notsent_lowat: u32,
    /// `TCP_BPF_IW`: the initial window in segments.
    pub initial_window: u32,
}

const _: () = assert!(size_of::<SocketMark>() == 56);
const _: () = assert!(align_of::<SocketMark>() == 8);
const _: () = assert!(offset_of!(SocketMark, role) == 0);
const _: () = assert!(offset_of!(SocketMark, service) == 4);
const _: () = assert!(offset_of!(SocketMark, worker) == 8);
const _: () = assert!(offset_of!(SocketMark, state) == 12);
const _: () = assert!(offset_of!(SocketMark, established_ns) == 16);
const _: () = assert!(offset_of!(SocketMark, received_before_fin) == 24);
const _: () = assert!(offset_of!(SocketMark, profile) == 32);
const _: () = assert!(size_of::<TcpProfile>() == 24);
const _: () = assert!(align_of::<TcpProfile>() == 4);
const _: () = assert!(offset_of!(TcpProfile, notsent_lowat) == 16);
const _: () = assert!(offset_of!(TcpProfile, initial_window) == 20);
