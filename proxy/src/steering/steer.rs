//! Giving addresses and ports to a listener: fills the tables that sk_lookup finds a listener by. A
//! socket can't be among those that sk_reuseport chooses from and among those that sk_lookup
//! assigns (either map owns the socket's `sk_user_data`), so each listener that is steered to has
//! one more socket, the anchor: a member of the group like the workers', which sk_reuseport knows
//! nothing of, and which a worker accepts from for the case that the kernel's hash chooses it.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use aya::maps::{HashMap, SockMap};
use proxy_common::Address;

use super::object::{Loaded, one_line};
use super::refuse::key;
use crate::config::steer::Steer;

/// From here connections to what `steered` covers go to the group of `anchor`, which listens.
pub(super) fn lead<'a>(
    loaded: &mut Loaded,
    steered: impl Iterator<Item = &'a Steer>,
    anchor: BorrowedFd<'_>,
    service: u32,
) -> Result<(), String> {
    let mut anchors: SockMap<_> = loaded.map("ANCHORS")?;
    anchors
        .set(service, &anchor.as_raw_fd(), 0)
        .map_err(|error| one_line(&error))?;
    let mut addresses: HashMap<_, Address, u32> = loaded.map("ADDRESSES")?;
    for steer in steered {
        for port in steer.ports.clone() {
            addresses
                .insert(key(SocketAddr::new(steer.ip, port)), service, 0)
                .map_err(|error| one_line(&error))?;
        }
    }
    Ok(())
}
