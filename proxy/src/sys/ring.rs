//! Waiting for the kernel's ring of events without a thread of its own. Takes a ring, gives it
//! watched by the runtime of the calling thread; refuses what that runtime refuses.

#![expect(
    unsafe_code,
    reason = "tokio leaves it to the caller that the descriptor stays the ring's"
)]

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches `ring` for events.
///
/// # Errors
/// Those of epoll_ctl(2).
pub fn watch(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring owns its map, the map its descriptor, and neither gives another one or
    // closes it while it lives.
    let watched = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
    Ok(watched?)
}
