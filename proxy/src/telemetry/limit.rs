//! A limit on log lines that a peer can cause, one per call site: at most [`BURST`] lines in
//! [`WINDOW_SECONDS`], and how many were held back in between.

use std::sync::atomic::{AtomicU64, Ordering};

/// Lines a window lets through.
pub const BURST: u64 = 10;
/// Length of a window.
pub const WINDOW_SECONDS: u64 = 5;

/// Counts the lines of one call site.
#[derive(Debug)]
pub struct RateLimit {
    window: AtomicU64,
    passed: AtomicU64,
    suppressed: AtomicU64,
}

impl RateLimit {
    /// A fresh limit, for a `static`.
    pub const fn new() -> Self {
        Self {
            window: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// `Some(lines held back since the last one)` if a line may be written at `now` (seconds).
    pub fn permit(&self, now: u64) -> Option<u64> {
        // Two threads at the edge of a window may let a line more through; the count stays right.
        let window = now / WINDOW_SECONDS;
        if self.window.swap(window, Ordering::Relaxed) != window {
            self.passed.store(0, Ordering::Relaxed);
        }
        if self.passed.fetch_add(1, Ordering::Relaxed) < BURST {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lets_a_burst_through_and_the_next_tells_the_rest() {
        let limit = RateLimit::new();
        let passed = (0..100).filter(|_| limit.permit(7).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(limit.permit(11), Some(90));
        assert_eq!(limit.permit(11), Some(0));
    }
}
