//! Herald's own program for `sk_lookup`, loaded by a test that gives a listener the connections to an address which
//! nobody has bound.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use aya::maps::{HashMap, SockMap};
use proxy_common::address::{FAMILY_IPV4, FAMILY_IPV6};
use proxy_common::{Address, Counter, Prefix};

use crate::programs::Programs;

/// The program, attached to this network namespace until it is dropped.
#[derive(Debug)]
pub struct Lookup(Programs);

impl Lookup {
    /// Gives connections to `address` to `listener`, which so sits in a sockmap.
    pub fn assign(address: SocketAddrV4, listener: &OwnedFd) -> Self {
        let mut programs = Programs::load(1);
        let mut anchors: SockMap<_> = programs.map("ANCHORS");
        anchors.set(SERVICE, listener, 0).unwrap();
        let mut addresses: HashMap<_, Address, u32> = programs.map("ADDRESSES");
        addresses.insert(key(address.into()), SERVICE, 0).unwrap();
        programs.look_up().unwrap();
        Self(programs)
    }

    /// How many connections it has given away.
    pub fn assigned(&self) -> u64 {
        self.0.count(Counter::LookupAssigned)
    }
}

/// An address as the programs' tables have it.
pub fn key(address: SocketAddr) -> Address {
    let mut octets = [0; 16];
    let family = match address {
        SocketAddr::V4(address) => {
            octets[..4].copy_from_slice(&address.ip().octets());
            FAMILY_IPV4
        }
        SocketAddr::V6(address) => {
            octets = address.ip().octets();
            FAMILY_IPV6
        }
    };
    let port = u32::from(address.port());
    Address {
        octets,
        family,
        port,
    }
}

/// What a source's connections are charged to and counted with.
pub fn prefix_of(source: IpAddr) -> Prefix {
    let Address {
        mut octets, family, ..
    } = key((source, 0).into());
    octets[8..].fill(0);
    let length = if source.is_ipv4() { 32 } else { 64 };
    Prefix {
        octets,
        family,
        length,
    }
}

const SERVICE: u32 = 0;
