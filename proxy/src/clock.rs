//! The time, cheap enough to ask on every request: no call here enters the kernel (vDSO).

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Unix seconds by CLOCK_REALTIME_COARSE: at most one timer tick (1 to 10 ms) behind.
pub fn unix_now() -> u64 {
    u64::try_from(clock_gettime(ClockId::RealtimeCoarse).tv_sec).unwrap_or(0)
}

/// Unix nanoseconds by CLOCK_REALTIME.
pub fn unix_nanos() -> u64 {
    nanos(clock_gettime(ClockId::Realtime))
}

/// Nanoseconds of CLOCK_MONOTONIC, for spans of time.
pub fn monotonic() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// As [`monotonic`], at most one timer tick behind: a fifth of the price, for who counts in
/// milliseconds.
pub fn monotonic_coarse() -> u64 {
    nanos(clock_gettime(ClockId::MonotonicCoarse))
}

fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(NANOS_PER_SECOND)
        .saturating_add(rest)
}

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;
