//! A limit on log lines that a peer can cause: at most [`BURST`] lines of one source in
//! [`WINDOW_SECONDS`], and [`BURST_ALL`] of all. A line tells how many were held back since the
//! last one of its source. The table is bounded; a source that is forgotten leaves its count behind.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

/// Lines of one source that a window lets through.
pub const BURST: u64 = 10;
/// Lines of all sources together that a window lets through.
pub const BURST_ALL: u64 = 100;
/// Length of a window.
pub const WINDOW_SECONDS: u64 = 5;

/// Lines held back since the last one that passed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HeldBack {
    /// Of the same source.
    pub source: u64,
    /// Of sources that are no longer known.
    pub others: u64,
}

/// Counts lines of one kind by source. Asked only where something went wrong, so a lock will do.
#[derive(Debug)]
pub struct SourceLimit(Mutex<Table>);

#[derive(Debug)]
struct Table {
    sources: LruCache<IpAddr, Window>,
    all: Window,
    /// Held back of sources that were pushed out.
    forgotten: u64,
    /// Held back in all.
    total: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    number: u64,
    passed: u64,
    held: u64,
}

impl SourceLimit {
    /// `Some` if a line about `client` may be written at `now` (seconds).
    pub fn permit(&self, client: IpAddr, now: u64) -> Option<HeldBack> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let table = &mut *table;
        let source = prefix(client);
        let number = now / WINDOW_SECONDS;
        if !table.sources.contains(&source)
            && let Some((_, pushed_out)) = table.sources.push(source, Window::default())
        {
            table.forgotten += pushed_out.held;
        }
        let window = table.sources.get_mut(&source)?;
        // The source first: a loud one must not use up what all others share.
        if window.lets_pass(number, BURST) && table.all.lets_pass(number, BURST_ALL) {
            return Some(HeldBack {
                source: std::mem::take(&mut window.held),
                others: std::mem::take(&mut table.forgotten),
            });
        }
        window.held += 1;
        table.total += 1;
        None
    }

    /// Lines held back since the start.
    pub fn held_back(&self) -> u64 {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.total
    }
}

impl Default for SourceLimit {
    fn default() -> Self {
        let mut sources = LruCache::unbounded();
        sources.resize(SOURCES_MAX);
        Self(Mutex::new(Table {
            sources,
            all: Window::default(),
            forgotten: 0,
            total: 0,
        }))
    }
}

impl Window {
    fn lets_pass(&mut self, number: u64, burst: u64) -> bool {
        if self.number != number {
            (self.number, self.passed) = (number, 0);
        }
        let passes = self.passed < burst;
        self.passed += u64::from(passes);
        passes
    }
}

/// What one peer can choose from at will: an IPv4 address, an IPv6 /64.
fn prefix(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(address.to_bits() >> 64 << 64)),
    }
}

/// Sources remembered.
const SOURCES_MAX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn v4(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(number))
    }

    #[test]
    fn a_window_lets_a_burst_through_and_the_next_tells_the_rest() {
        let limit = SourceLimit::default();
        let passed = (0..100).filter(|_| limit.permit(v4(1), 7).is_some());
        assert_eq!(passed.count() as u64, BURST);
        let held = HeldBack {
            source: 90,
            others: 0,
        };
        assert_eq!(limit.permit(v4(1), 11), Some(held));
        assert_eq!(limit.permit(v4(1), 11), Some(HeldBack::default()));
    }

    #[test]
    fn a_loud_source_does_not_silence_a_quiet_one() {
        let limit = SourceLimit::default();
        for _ in 0..10_000 {
            limit.permit(v4(1), 7);
        }
        assert_eq!(limit.permit(v4(2), 7), Some(HeldBack::default()));
        assert_eq!(limit.held_back(), 9_990);
    }

    #[test]
    fn many_sources_are_bounded_in_lines_and_memory_and_their_counts_are_kept() {
        let limit = SourceLimit::default();
        let passed = (0..10_000).filter(|n| limit.permit(v4(*n), 7).is_some());
        assert_eq!(passed.count() as u64, BURST_ALL);
        let table = limit.0.lock().unwrap();
        assert_eq!(table.sources.len(), SOURCES_MAX.get());
        drop(table);
        let held = limit.permit(v4(20_000), 11).unwrap();
        // All that were held back, but for the sources that are still known.
        let known = SOURCES_MAX.get() as u64 - 1;
        assert_eq!(held.others, 10_000 - BURST_ALL - known);
    }

    #[test]
    fn an_ipv6_peer_is_its_network() {
        let limit = SourceLimit::default();
        let peer = |host: u128| IpAddr::V6(Ipv6Addr::from((0x2001_0db8_u128 << 96) + host));
        let passed = (0..100).filter(|n| limit.permit(peer(*n), 7).is_some());
        assert_eq!(passed.count() as u64, BURST);
        assert!(limit.permit(peer(1 << 64), 7).is_some());
    }
}
