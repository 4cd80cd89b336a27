//! The rates of source prefixes: sockops charges, sk_lookup asks.

use crate::atomic;
use aya_ebpf::btf_maps::{Array, LpmTrie, LruHashMap};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_map;
use proxy_common::address::FAMILY_IPV4;
use proxy_common::rate::{PREFIXES_MAX, Prefix, Rate, RateLimits};
use proxy_ebpf::rate::{charged, is_limited, is_over, prefix, wide_prefix};

/// The words of the prefixes. One that was evicted owes nothing.
#[btf_map]
static RATES: LruHashMap<Prefix, Rate, { PREFIXES_MAX as usize }> = LruHashMap::new();

/// One entry: the limits.
#[btf_map]
static LIMITS: Array<RateLimits, 1> = Array::new();

/// Networks that are never refused, as IPv6 addresses (IPv4 mapped, RFC 4291 §2.5.5.2).
#[btf_map]
static EXEMPT: LpmTrie<[u8; 16], u32, 1024> = LpmTrie::new();

/// A remote address, in network order.
#[derive(Clone, Copy)]
pub struct Source {
    pub octets: [u8; 16],
    pub family: u32,
}

/// Charges an established connection to its source.
#[inline(always)]
pub fn charge(source: Source) {
    let Some(limits) = LIMITS.get(0) else { return };
    if !is_limited(limits) {
        return;
    }
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    charge_prefix(
        &prefix(source.octets, source.family),
        now,
        limits.interval_ns,
    );
    if source.family != FAMILY_IPV4 {
        charge_prefix(&wide_prefix(source.octets), now, limits.wide_interval_ns);
    }
}

#[inline(always)]
fn charge_prefix(prefix: &Prefix, now: u64, interval: u64) {
    let Some(rate) = RATES.get_ptr_mut(prefix) else {
        let paid_until_ns = charged(0, now, interval);
        // A full table evicts; a failure leaves the prefix without a debt, which refuses nobody.
        let _ = RATES.insert(prefix, Rate { paid_until_ns }, 0);
        return;
    };
    // SAFETY: the map gave the pointer.
    let word = unsafe { core::ptr::addr_of_mut!((*rate).paid_until_ns) };
    // SAFETY: as above. Volatile: another CPU may charge the same prefix.
    if unsafe { word.read_volatile() } < now {
        // SAFETY: as above.
        unsafe { word.write_volatile(now.wrapping_add(interval)) };
    } else {
        // SAFETY: as above.
        unsafe { atomic::add(word, interval) };
    }
}

/// Whether the source is over its rate and not exempt.
#[inline(always)]
pub fn refuses(source: Source) -> bool {
    let Some(limits) = LIMITS.get(0) else {
        return false;
    };
    if !is_limited(limits) {
        return false;
    }
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let is_over = owes(&prefix(source.octets, source.family), now, limits.burst_ns)
        || source.family != FAMILY_IPV4
            && owes(&wide_prefix(source.octets), now, limits.wide_burst_ns);
    is_over && !is_exempt(source)
}

#[inline(always)]
fn owes(prefix: &Prefix, now: u64, burst: u64) -> bool {
    // SAFETY: the word is read at once; an entry that is used again meanwhile has another prefix's
    // word, and this one packet is judged by it.
    let rate = unsafe { RATES.get(prefix) };
    rate.is_some_and(|rate| is_over(rate.paid_until_ns, now, burst))
}

#[inline(always)]
fn is_exempt(source: Source) -> bool {
    let mut octets = source.octets;
    if source.family == FAMILY_IPV4 {
        let [a, b, c, d, ..] = source.octets;
        octets = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d];
    }
    EXEMPT
        .get(&aya_ebpf::btf_maps::lpm_trie::Key::new(128, octets))
        .is_some()
}
