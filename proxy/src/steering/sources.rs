//! Who has live connections: the table that sockops keeps, read when somebody asks.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Ebpf;
use aya::maps::HashMap;
use proxy_common::address::FAMILY_IPV4;
use proxy_common::rate::PREFIXES_MAX;
use proxy_common::{Prefix, SourceLive};

use crate::telemetry::{KernelSources, SourceConnections};

/// How many there are, and the busiest. Others come and go meanwhile: where the key that was read
/// last is gone, the kernel begins again, so there is an end to the reading, and a key read twice is
/// one.
pub(super) fn live(ebpf: &Ebpf) -> Option<KernelSources> {
    let table = HashMap::<_, Prefix, SourceLive>::try_from(ebpf.map("SOURCES")?).ok()?;
    let entries = table.iter().take(READ_MAX).map_while(Result::ok);
    Some(busiest(entries))
}

fn busiest(entries: impl Iterator<Item = (Prefix, SourceLive)>) -> KernelSources {
    let live = entries.filter_map(|(prefix, live)| {
        let connections = live.connections();
        (connections > 0).then(|| ((address(prefix), prefix.length), connections))
    });
    let live: BTreeMap<_, _> = live.collect();
    let mut all: Vec<_> = live.into_iter().collect();
    all.sort_by_key(|(_, connections)| Reverse(*connections));
    let shown = all.iter().take(SHOWN_MAX);
    let busiest = shown.map(|((address, length), connections)| SourceConnections {
        prefix: format!("{address}/{length}"),
        connections: u64::from(*connections),
    });
    KernelSources {
        prefixes: all.len() as u64,
        busiest: busiest.collect(),
    }
}

fn address(prefix: Prefix) -> IpAddr {
    match prefix.family {
        FAMILY_IPV4 => {
            let [a, b, c, d, ..] = prefix.octets;
            Ipv4Addr::new(a, b, c, d).into()
        }
        _ => Ipv6Addr::from(prefix.octets).into(),
    }
}

const READ_MAX: usize = PREFIXES_MAX as usize;
const SHOWN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use proxy_common::address::FAMILY_IPV6;
    use proxy_common::source::FREE;

    use super::*;

    #[test]
    fn the_busiest_come_first_and_only_who_lives() {
        let entry = |last, live| {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&[192, 0, 2, last]);
            let prefix = Prefix {
                octets,
                family: FAMILY_IPV4,
                length: 32,
            };
            (prefix, SourceLive { born: 1, live })
        };
        let mut octets = [0; 16];
        octets[..6].copy_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 7]);
        let wide = Prefix {
            octets,
            family: FAMILY_IPV6,
            length: 64,
        };
        let entries = [
            entry(1, 3),
            entry(2, 0),
            entry(3, FREE),
            (wide, SourceLive { born: 1, live: 9 }),
            entry(4, 3),
            entry(1, 4),
        ];
        let told = busiest(entries.into_iter());
        assert_eq!(told.prefixes, 3);
        let shown: Vec<_> = told
            .busiest
            .iter()
            .map(|source| (&*source.prefix, source.connections))
            .collect();
        let expected = [
            ("2001:db8:7::/64", 9),
            ("192.0.2.1/32", 4),
            ("192.0.2.4/32", 3),
        ];
        assert_eq!(shown, expected);
        let many = (0..=255).map(|last| entry(last, 1));
        let told = busiest(many);
        assert_eq!((told.prefixes, told.busiest.len()), (256, SHOWN_MAX));
    }
}
