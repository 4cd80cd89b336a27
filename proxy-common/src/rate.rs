//! How fast a source prefix completes connections, and how fast it may.
//!
//! A prefix is charged when a connection is *established*, never for a SYN: a forged SYN can't get
//! somebody else refused.

use core::mem::{align_of, offset_of, size_of};

/// A source prefix.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Prefix {
    /// Network order, bits past the length are zero; IPv4 in the first four bytes.
    pub octets: [u8; 16],
    /// `AF_INET` or `AF_INET6`.
    pub family: u32,
    /// Bits that count: 32; 64 or 48.
    pub length: u32,
}

/// The virtual clock of a prefix (GCRA): the time at which it will have used up what it took.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Rate {
    /// Nanoseconds of `CLOCK_MONOTONIC`; in the past when the prefix owes nothing.
    pub paid_until_ns: u64,
}

/// The limits, as times. All zero: nobody is refused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct RateLimits {
    /// What one connection costs an IPv4 address or an IPv6 /64: a second over the rate.
    pub interval_ns: u64,
    /// How far ahead of now such a prefix may be.
    pub burst_ns: u64,
    /// What one connection costs an IPv6 /48.
    pub wide_interval_ns: u64,
    /// How far ahead of now a /48 may be.
    pub wide_burst_ns: u64,
}

/// Prefixes whose rates are kept; the least recently used is forgotten, and then owes nothing. Prefixes
/// whose live connections are counted; those of one that does not fit are not.
pub const PREFIXES_MAX: u32 = 65_536;

const _: () = assert!(size_of::<Prefix>() == 24);
const _: () = assert!(align_of::<Prefix>() == 4);
const _: () = assert!(offset_of!(Prefix, family) == 16);
const _: () = assert!(offset_of!(Prefix, length) == 20);
const _: () = assert!(size_of::<Rate>() == 8);
const _: () = assert!(size_of::<RateLimits>() == 32);
const _: () = assert!(align_of::<RateLimits>() == 8);
const _: () = assert!(offset_of!(RateLimits, burst_ns) == 8);
const _: () = assert!(offset_of!(RateLimits, wide_interval_ns) == 16);
const _: () = assert!(offset_of!(RateLimits, wide_burst_ns) == 24);
