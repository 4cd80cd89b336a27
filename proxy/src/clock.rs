//! The time of day, cheap enough to ask on every request.

use rustix::time::{ClockId, clock_gettime};

/// Unix seconds by CLOCK_REALTIME_COARSE: at most one timer tick (1 to 10 ms) behind, read without
/// a system call (vDSO).
pub fn unix_now() -> u64 {
    u64::try_from(clock_gettime(ClockId::RealtimeCoarse).tv_sec).unwrap_or(0)
}
