//! Refusing sources over their rate: fills the tables that sk_lookup decides by, and attaches it.
//! Takes limits, exempt networks and the service's addresses. Acts on no other address.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie};
use proxy_common::address::{FAMILY_IPV4, FAMILY_IPV6};
use proxy_common::{Address, RateLimits};

use super::object::{Loaded, one_line};
use crate::config::Refusal;
use crate::net::Network;

/// Sets limits and exempt networks.
pub(super) fn limit(
    loaded: &mut Loaded,
    refusal: Refusal,
    exempt: &[Network],
) -> Result<(), String> {
    let mut table: Array<_, RateLimits> = loaded.map("LIMITS")?;
    table
        .set(0, limits(refusal), 0)
        .map_err(|error| one_line(&error))?;
    let mut networks: LpmTrie<_, [u8; 16], u32> = loaded.map("EXEMPT")?;
    for network in exempt {
        let (octets, length) = network.as_ipv6();
        networks
            .insert(&Key::new(length, octets), 1, 0)
            .map_err(|error| one_line(&error))?;
    }
    Ok(())
}

/// Attaches the program to the process's network namespace. It lets all pass whose address is in no
/// table.
pub(super) fn attach(loaded: &mut Loaded) -> Result<(), String> {
    let namespace = File::open("/proc/self/ns/net").map_err(|error| one_line(&error))?;
    let program = loaded.lookup()?;
    let attached = program.attach(namespace);
    attached.map(|_link| ()).map_err(|error| one_line(&error))
}

/// From here the program acts on `address`, which the kernel finds a listener for by itself.
pub(super) fn guard(loaded: &mut Loaded, address: SocketAddr) -> Result<(), String> {
    let mut addresses: HashMap<_, Address, u32> = loaded.map("ADDRESSES")?;
    addresses
        .insert(key(address), BOUND, 0)
        .map_err(|error| one_line(&error))
}

fn limits(refusal: Refusal) -> RateLimits {
    let interval_ns = NANOS_PER_SECOND / u64::from(refusal.rate.get());
    let wide_interval_ns = interval_ns / WIDE_TIMES;
    let burst = u64::from(refusal.burst.get());
    // Half an interval less than a burst takes: its last connection passes, the next does not.
    let span = |interval: u64, burst: u64| {
        let whole = interval.saturating_mul(burst);
        whole.saturating_sub(interval / 2).max(1)
    };
    RateLimits {
        interval_ns,
        burst_ns: span(interval_ns, burst),
        wide_interval_ns,
        wide_burst_ns: span(wide_interval_ns, burst.saturating_mul(WIDE_TIMES)),
    }
}

pub(super) fn key(address: SocketAddr) -> Address {
    let mut octets = [0; 16];
    let family = match address.ip() {
        IpAddr::V4(ip) => {
            octets
                .iter_mut()
                .zip(ip.octets())
                .for_each(|(to, from)| *to = from);
            FAMILY_IPV4
        }
        IpAddr::V6(ip) => {
            octets = ip.octets();
            FAMILY_IPV6
        }
    };
    Address {
        octets,
        family,
        port: u32::from(address.port()),
    }
}

/// The programs take this for an address whose listener they need not name.
const BOUND: u32 = u32::MAX;
/// A /48 may complete this many times what one of its /64 may.
const WIDE_TIMES: u64 = 16;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn a_burst_passes_to_its_last_connection() {
        let refusal = Refusal {
            rate: NonZeroU32::new(10).unwrap(),
            burst: NonZeroU32::new(3).unwrap(),
        };
        let limits = limits(refusal);
        assert_eq!(limits.interval_ns, 100_000_000);
        assert!(2 * limits.interval_ns < limits.burst_ns);
        assert!(limits.burst_ns < 3 * limits.interval_ns);
        assert_eq!(limits.wide_interval_ns, 6_250_000);
        assert!(47 * limits.wide_interval_ns < limits.wide_burst_ns);
        assert!(limits.wide_burst_ns < 48 * limits.wide_interval_ns);
    }

    #[test]
    fn the_fastest_rate_still_has_a_limit() {
        let refusal = Refusal {
            rate: NonZeroU32::new(1_000_000).unwrap(),
            burst: NonZeroU32::new(1).unwrap(),
        };
        let limits = limits(refusal);
        assert!(limits.interval_ns > 0 && limits.burst_ns > 0 && limits.wide_interval_ns > 0);
    }

    #[test]
    fn an_address_is_a_key_without_holes() {
        let ipv4 = key("192.0.2.1:443".parse().unwrap());
        assert_eq!(ipv4.octets[..5], [192, 0, 2, 1, 0]);
        assert_eq!((ipv4.family, ipv4.port), (2, 443));
        let any = key("[::]:8443".parse().unwrap());
        assert_eq!((any.octets, any.family, any.port), ([0; 16], 10, 8443));
    }
}
