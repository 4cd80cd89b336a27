//! Whether a source prefix completes connections faster than it may (GCRA).
//!
//! A prefix has one word: the time until which it has used up its allowance. Each established
//! connection moves the word on by the interval; who is further ahead of the clock than the burst
//! is refused until the clock has caught up. What is refused isn't charged, so a prefix that goes
//! on asking gets exactly its rate.

use core::hint::black_box;

use proxy_common::rate::{Prefix, RateLimits};

/// What the word of a prefix becomes with one more connection.
#[inline(always)]
pub fn charged(paid_until_ns: u64, now_ns: u64, interval_ns: u64) -> u64 {
    paid_until_ns.max(now_ns).saturating_add(interval_ns)
}

/// Whether a prefix with this word is refused. A burst of zero is no limit.
#[inline(always)]
pub fn is_over(paid_until_ns: u64, now_ns: u64, burst_ns: u64) -> bool {
    burst_ns != 0 && paid_until_ns.saturating_sub(now_ns) > burst_ns
}

/// Whether anybody is ever refused.
#[inline(always)]
pub fn is_limited(limits: &RateLimits) -> bool {
    limits.burst_ns != 0 || limits.wide_burst_ns != 0
}

/// The prefix that an address is charged to: itself for IPv4, its /64 for IPv6.
#[inline(always)]
pub fn prefix(octets: [u8; 16], family: u32) -> Prefix {
    if family == proxy_common::address::FAMILY_IPV4 {
        let length = 32;
        return Prefix {
            octets,
            family,
            length,
        };
    }
    let [a, b, c, d, e, f, g, h, ..] = octets;
    Prefix {
        octets: [a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0],
        family,
        length: 64,
    }
}

/// The wider prefix that an IPv6 address is charged to as well: a /48, of which one customer may
/// have all. Neither an `Option` of it for both families nor ten zeros in a row: the compiler would
/// fill either with `memset`, whose loop the verifier takes from nobody without CAP_PERFMON.
#[inline(always)]
pub fn wide_prefix(octets: [u8; 16]) -> Prefix {
    let [a, b, c, d, e, f, ..] = octets;
    let zero = black_box(0);
    Prefix {
        octets: [a, b, c, d, e, f, zero, zero, 0, 0, 0, 0, 0, 0, 0, 0],
        family: proxy_common::address::FAMILY_IPV6,
        length: 48,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const NOW: u64 = 50 * SECOND;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        // Ten a second, twenty at once.
        let (interval, burst) = (SECOND / 10, 2 * SECOND);
        let mut word = 0;
        let mut taken = 0;
        while !is_over(word, NOW, burst) {
            word = charged(word, NOW, interval);
            taken += 1;
        }
        assert_eq!(taken, 21);
        let mut passed = 0;
        for millisecond in 0..10_000 {
            let now = NOW + millisecond * SECOND / 1000;
            if !is_over(word, now, burst) {
                word = charged(word, now, interval);
                passed += 1;
            }
        }
        assert!((99..=101).contains(&passed), "{passed} in ten seconds");
    }

    #[test]
    fn nobody_is_refused_without_a_limit_or_a_history() {
        assert!(!is_over(u64::MAX, 0, 0));
        assert!(!is_over(0, NOW, 1));
        assert!(!is_limited(&RateLimits::default()));
    }

    #[test]
    fn the_last_word_does_not_wrap() {
        assert_eq!(charged(u64::MAX - 1, NOW, SECOND), u64::MAX);
    }

    #[test]
    fn addresses_of_one_network_share_a_prefix_and_families_do_not() {
        let address = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 2, 9, 9, 9, 9, 9, 9, 9, 9];
        let mut neighbour = address;
        neighbour[15] = 1;
        assert_eq!(prefix(address, 10), prefix(neighbour, 10));
        let mut other = address;
        other[7] = 3;
        assert_ne!(prefix(address, 10), prefix(other, 10));
        assert_eq!(wide_prefix(address), wide_prefix(other));
        let ipv4 = [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(prefix(ipv4, 2).length, 32);
        assert_ne!(prefix(ipv4, 2), prefix(ipv4, 10));
    }
}
