//! Counters of one worker: written by its thread alone, read by the control thread. An increment
//! is a load and a store of the worker's own cache line, never a locked instruction.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::reason::{HandshakeFailure, Protocol, Reason, VerdictKind};
use crate::clock::NANOS_PER_SECOND;

/// A number that one thread writes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`. Two writers would lose counts: only the owning worker may call it.
    pub fn add(&self, amount: u64) {
        // Not `fetch_add`, which locks the line: about 20 cycles for each of a request's counters.
        self.set(self.get().wrapping_add(amount));
    }

    /// Stores `value`; for gauges, and for counts kept elsewhere.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that one worker counts.
// Two lines apart from its neighbours: the prefetcher fetches lines in pairs.
#[repr(align(128))]
#[derive(Debug)]
pub struct Board {
    /// The configuration it serves by.
    pub generation: Counter,
    /// The longest that putting another in its place has held the worker up, nanoseconds.
    pub swap_longest: Counter,
    /// Connections accepted.
    pub connections_opened: Counter,
    /// Connections that are over.
    pub connections_closed: Counter,
    /// Full handshakes completed.
    pub handshakes_full: Counter,
    /// Resumed handshakes completed.
    pub handshakes_resumed: Counter,
    /// Handshakes that did not complete.
    pub handshakes_failed: [Counter; HandshakeFailure::COUNT],
    /// Requests that are over, by protocol and class of status; class 0 got no status.
    pub requests: [[Counter; STATUS_CLASSES]; Protocol::COUNT],
    /// Requests by what was concluded about their caller.
    pub verdicts: [Counter; VerdictKind::COUNT],
    /// Requests that were not served to their end.
    pub reasons: [Counter; Reason::COUNT],
    /// Requests that a policy in shadow mode would have denied.
    pub shadow_denials: Counter,
    /// Bytes of request bodies.
    pub request_body_bytes: Counter,
    /// Bytes of response bodies.
    pub response_body_bytes: Counter,
    /// HTTP bytes received from clients, without TLS.
    pub received_bytes: Counter,
    /// HTTP bytes sent to clients, without TLS.
    pub sent_bytes: Counter,
    /// Records of connections that got what the kernel told of their end.
    pub closes_joined: Counter,
    /// Records that were written without, though it was to be told.
    pub closes_missed: Counter,
    /// Ends that were told of connections without a record.
    pub closes_unclaimed: Counter,
    /// From a request's head to the end of its answer.
    pub duration: Histogram,
    /// Monotonic nanoseconds of the worker's last tick.
    pub beat: Counter,
    /// What the worker last said of its origins.
    origins: Mutex<Vec<OriginState>>,
}

/// An origin as one worker sees it, published once a tick.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OriginState {
    /// How the configuration names it.
    pub label: String,
    /// Whether requests are sent there; `None` where nobody judges that.
    pub healthy: Option<bool>,
    /// Connections that are idle now.
    pub idle: u64,
    /// Connections made.
    pub opened: u64,
    /// Requests that found an idle connection.
    pub reused: u64,
    /// Requests sent a second time.
    pub retried: u64,
    /// Idle connections closed.
    pub discarded: u64,
}

/// Durations in buckets.
#[derive(Debug)]
pub struct Histogram {
    /// Durations up to the bound of the same index, and the rest; not cumulative.
    pub buckets: [Counter; BOUNDS.len() + 1],
    /// Sum of all, nanoseconds.
    pub nanos: Counter,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            generation: Counter::default(),
            swap_longest: Counter::default(),
            connections_opened: Counter::default(),
            connections_closed: Counter::default(),
            handshakes_full: Counter::default(),
            handshakes_resumed: Counter::default(),
            handshakes_failed: zeros(),
            requests: std::array::from_fn(|_| zeros()),
            verdicts: zeros(),
            reasons: zeros(),
            shadow_denials: Counter::default(),
            request_body_bytes: Counter::default(),
            response_body_bytes: Counter::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            closes_joined: Counter::default(),
            closes_missed: Counter::default(),
            closes_unclaimed: Counter::default(),
            duration: Histogram {
                buckets: zeros(),
                nanos: Counter::default(),
            },
            beat: Counter::default(),
            origins: Mutex::default(),
        }
    }
}

impl Board {
    /// Tells the control thread of the worker's origins.
    pub fn publish(&self, origins: Vec<OriginState>) {
        *self.origins.lock().unwrap_or_else(PoisonError::into_inner) = origins;
    }

    /// What was published last.
    pub fn origins(&self) -> Vec<OriginState> {
        self.origins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A part of putting another configuration in force took the worker so long.
    pub fn held_up(&self, nanos: u64) {
        self.swap_longest.set(self.swap_longest.get().max(nanos));
    }

    /// Connections open now.
    pub fn connections_open(&self) -> u64 {
        let opened = self.connections_opened.get();
        opened.saturating_sub(self.connections_closed.get())
    }

    /// Requests that are over.
    pub fn requests_total(&self) -> u64 {
        self.requests.iter().flatten().map(Counter::get).sum()
    }
}

impl Histogram {
    pub(super) fn observe(&self, nanos: u64) {
        let bucket = BOUNDS
            .iter()
            .position(|(bound, _)| nanos <= *bound)
            .unwrap_or(BOUNDS.len());
        bump(&self.buckets, bucket);
        self.nanos.add(nanos);
    }
}

/// Counts one in the counter at `index`.
pub fn bump(counters: &[Counter], index: usize) {
    if let Some(counter) = counters.get(index) {
        counter.add(1);
    }
}

fn zeros<const N: usize>() -> [Counter; N] {
    std::array::from_fn(|_| Counter::default())
}

/// No status, then 1xx to 5xx.
pub const STATUS_CLASSES: usize = 6;

/// Upper bounds of the buckets, nanoseconds, and how Prometheus spells them in seconds. The coarse
/// clock's tick is 1 to 10 ms; finer buckets would say more than it knows.
pub const BOUNDS: [(u64, &str); 9] = [
    (NANOS_PER_SECOND / 100, "0.01"),
    (NANOS_PER_SECOND / 40, "0.025"),
    (NANOS_PER_SECOND / 20, "0.05"),
    (NANOS_PER_SECOND / 10, "0.1"),
    (NANOS_PER_SECOND / 4, "0.25"),
    (NANOS_PER_SECOND / 2, "0.5"),
    (NANOS_PER_SECOND, "1.0"),
    (5 * NANOS_PER_SECOND, "5.0"),
    (30 * NANOS_PER_SECOND, "30.0"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let board = Board::default();
        for nanos in [0, 10_000_000, 10_000_001, 31 * NANOS_PER_SECOND] {
            board.duration.observe(nanos);
        }
        let counts: Vec<_> = board.duration.buckets.iter().map(Counter::get).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(
            board.duration.nanos.get(),
            20_000_001 + 31 * NANOS_PER_SECOND
        );
    }
}
