//! Which worker gets a new connection.
//!
//! Takes the workers' load words one by one and the time; gives the index of the least loaded
//! worker that is alive, or nothing, and then the kernel chooses by its own hash as if no program
//! were attached.

use core::hint::black_box;

use proxy_common::WorkerLoad;
use proxy_common::load::HEARTBEAT_EXPIRY_NS;

/// The least loaded live worker so far.
///
/// Cost and index share one word, and the lesser of two words is taken without a branch. With one,
/// the verifier would follow each possible index of each step on its own, and give up.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    now_ns: u64,
    best: u64,
}

impl Choice {
    /// Nobody yet. `now_ns` is of the same clock as [`WorkerLoad::heartbeat_ns`].
    #[inline(always)]
    pub const fn new(now_ns: u64) -> Self {
        let best = NOBODY;
        Self { now_ns, best }
    }

    /// Looks at the worker `index` (below 256), which the kernel knows to have `live` connections,
    /// those that wait to be accepted included; zero where nobody counts them.
    #[inline(always)]
    pub fn consider(&mut self, index: u32, worker: &WorkerLoad, live: u32) {
        if is_alive(worker, self.now_ns) {
            let cost = cost(worker, live, self.now_ns);
            self.best = lesser(
                (cost << INDEX_BITS) | u64::from(index & INDEX_MASK),
                self.best,
            );
        }
    }

    /// The index of the least loaded live worker, the first of equals; `None` if none is alive.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
    pub fn index(self) -> Option<u32> {
        (self.best != NOBODY).then_some(self.best as u32 & INDEX_MASK)
    }
}

/// The lesser of two words below 2^63: the difference's sign, made into a mask that the optimiser
/// does not see through.
#[inline(always)]
fn lesser(one: u64, other: u64) -> u64 {
    let is_less = one.wrapping_sub(other) >> 63;
    let mask = black_box(0_u64.wrapping_sub(is_less));
    other ^ ((one ^ other) & mask)
}

/// A heartbeat from the future is a fresh one: the worker's CPU read the clock after ours did.
#[inline(always)]
fn is_alive(worker: &WorkerLoad, now_ns: u64) -> bool {
    worker.heartbeat_ns != 0 && now_ns.saturating_sub(worker.heartbeat_ns) <= HEARTBEAT_EXPIRY_NS
}

/// What one more connection has to wait for, in units of one open connection; below 2^49, since
/// the terms are below 2^32, 2^37 and 2^48. A connection that waits to be accepted is a handshake
/// that the worker has still to make.
#[inline(always)]
fn cost(worker: &WorkerLoad, live: u32, now_ns: u64) -> u64 {
    let connections = u64::from(worker.connections_open.max(live));
    let waiting = u64::from(live.saturating_sub(worker.connections_open));
    let handshakes = u64::from(worker.handshakes_in_flight).wrapping_add(waiting);
    let handshakes = handshakes.wrapping_mul(HANDSHAKE_COST);
    let late = lag_ns(worker, now_ns) / LAG_NS_PER_CONNECTION;
    connections.wrapping_add(handshakes).wrapping_add(late)
}

/// For how long the worker has not looked for new events. A loop that is busy without end still
/// gets its timer, and then it has looked.
#[inline(always)]
fn lag_ns(worker: &WorkerLoad, now_ns: u64) -> u64 {
    match worker.busy_since_ns {
        0 => 0,
        since => now_ns.saturating_sub(since.max(worker.heartbeat_ns)),
    }
}

impl Choice {
    /// What the least loaded live worker costs, for a build that tells it.
    #[inline(always)]
    pub const fn cost(self) -> u64 {
        self.best >> INDEX_BITS
    }
}

/// A handshake's public-key work costs many times what a small request costs.
const HANDSHAKE_COST: u64 = 16;

/// A millisecond of lag weighs like ten open connections: most connections are idle, a late
/// event loop is late for all.
const LAG_NS_PER_CONNECTION: u64 = 100_000;

const INDEX_BITS: u32 = 8;
const INDEX_MASK: u32 = 0xff;
/// More than any cost.
const NOBODY: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 5_000_000_000;

    fn worker(connections_open: u32) -> WorkerLoad {
        WorkerLoad {
            heartbeat_ns: NOW,
            connections_open,
            ..WorkerLoad::default()
        }
    }

    fn choose(workers: &[WorkerLoad], now_ns: u64) -> Option<u32> {
        let mut choice = Choice::new(now_ns);
        for (index, worker) in (0..).zip(workers) {
            choice.consider(index, worker, 0);
        }
        choice.index()
    }

    #[test]
    fn the_least_loaded_worker_is_chosen_and_the_first_of_equals() {
        assert_eq!(choose(&[worker(3), worker(1), worker(2)], NOW), Some(1));
        assert_eq!(choose(&[worker(2), worker(1), worker(1)], NOW), Some(1));
    }

    #[test]
    fn without_a_live_worker_the_kernel_chooses() {
        assert_eq!(choose(&[], NOW), None);
        assert_eq!(choose(&[WorkerLoad::default()], NOW), None);
        assert_eq!(choose(&[WorkerLoad::default()], 0), None);
    }

    #[test]
    fn a_stuck_worker_gets_nothing_however_idle() {
        let idle_but_stuck = worker(0);
        let busy = WorkerLoad {
            heartbeat_ns: NOW + HEARTBEAT_EXPIRY_NS,
            ..worker(9_000)
        };
        let workers = [idle_but_stuck, busy];
        assert_eq!(
            choose(&workers, NOW + HEARTBEAT_EXPIRY_NS),
            Some(0),
            "alive to the last"
        );
        assert_eq!(choose(&workers, NOW + HEARTBEAT_EXPIRY_NS + 1), Some(1));
    }

    #[test]
    fn a_heartbeat_from_the_future_is_fresh() {
        let ahead = WorkerLoad {
            heartbeat_ns: NOW + 1_000,
            ..worker(0)
        };
        assert_eq!(choose(&[worker(1), ahead], NOW), Some(1));
    }

    #[test]
    fn handshakes_and_lag_weigh_more_than_idle_connections() {
        let shaking = WorkerLoad {
            handshakes_in_flight: 2,
            ..worker(0)
        };
        assert_eq!(choose(&[shaking, worker(31)], NOW), Some(1));
        assert_eq!(choose(&[shaking, worker(33)], NOW), Some(0));
        let late = WorkerLoad {
            heartbeat_ns: NOW - 20_000_000,
            busy_since_ns: NOW - 10_000_000,
            ..worker(0)
        };
        assert_eq!(choose(&[late, worker(99)], NOW), Some(1));
        assert_eq!(choose(&[late, worker(101)], NOW), Some(0));
    }

    #[test]
    fn a_loop_that_is_busy_without_end_is_as_late_as_its_last_timer() {
        let busy = WorkerLoad {
            heartbeat_ns: NOW - 1_000_000,
            busy_since_ns: NOW - 900_000_000,
            ..worker(0)
        };
        assert_eq!(choose(&[busy, worker(9)], NOW), Some(1));
        assert_eq!(choose(&[busy, worker(11)], NOW), Some(0));
    }

    #[test]
    fn the_kernel_counts_connections_that_the_worker_has_not_accepted() {
        let mut choice = Choice::new(NOW);
        choice.consider(0, &worker(1), 3);
        choice.consider(1, &worker(34), 34);
        assert_eq!(
            choice.index(),
            Some(1),
            "3 and two handshakes to come are 35"
        );
        let mut choice = Choice::new(NOW);
        choice.consider(0, &worker(1), 3);
        choice.consider(1, &worker(36), 36);
        assert_eq!(choice.index(), Some(0));
    }

    #[test]
    fn the_largest_numbers_do_not_wrap_round_to_small_ones() {
        let worst = WorkerLoad {
            heartbeat_ns: u64::MAX,
            busy_since_ns: u64::MAX,
            connections_open: u32::MAX,
            handshakes_in_flight: u32::MAX,
            ..WorkerLoad::default()
        };
        assert_eq!(choose(&[worst, worker(1_000_000)], NOW), Some(1));
        let longest = WorkerLoad {
            heartbeat_ns: 1,
            busy_since_ns: 1,
            ..WorkerLoad::default()
        };
        assert!(cost(&longest, u32::MAX, u64::MAX) > cost(&worker(9_000), 0, NOW));
        assert_eq!(
            choose(&[worst], NOW),
            Some(0),
            "the worst of one is the best"
        );
    }
}
