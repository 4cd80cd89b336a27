//! The least number of hops (TTL) that a socket's packets must have left: ip(7) `IP_MINTTL`, ipv6(7)
//! `IPV6_MINHOPCOUNT`. Takes a socket and a number; fails as setsockopt(2) does. No privilege is
//! needed.

#![expect(unsafe_code, reason = "a socket option that no crate wraps")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use libc::{IPPROTO_IP, IPPROTO_IPV6, c_int, c_void, socklen_t};

/// linux/in.h and linux/in6.h; the libc crate has no names for them.
const IP_MINTTL: c_int = 21;
const IPV6_MINHOPCOUNT: c_int = 73;

/// From here on the kernel drops what comes to `socket` with fewer hops left; 0 drops nothing.
pub fn set_least_hops(socket: BorrowedFd<'_>, is_ipv6: bool, hops: u8) -> io::Result<()> {
    let (level, option) = if is_ipv6 {
        (IPPROTO_IPV6, IPV6_MINHOPCOUNT)
    } else {
        (IPPROTO_IP, IP_MINTTL)
    };
    let hops = c_int::from(hops);
    // A c_int's size fits any length type.
    #[expect(clippy::cast_possible_truncation, reason = "four bytes")]
    let length = size_of::<c_int>() as socklen_t;
    // SAFETY: the descriptor is borrowed, so open; the kernel reads `length` bytes of `hops`, which
    // outlives the call.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const hops).cast::<c_void>(),
            length,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
