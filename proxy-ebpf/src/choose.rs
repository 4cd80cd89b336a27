//! Which worker gets a new connection.
//!
//! Takes the workers' load words and the time; returns the index of the least loaded worker that is
//! alive, or nothing, and then the kernel chooses by its own hash as if no program were attached.

use proxy_common::WorkerLoad;
use proxy_common::load::{HEARTBEAT_EXPIRY_NS, WORKERS_MAX};

/// The index of the least loaded live worker, the first of equals; `None` if none is alive.
///
/// Only the first [`WORKERS_MAX`] entries are looked at, which bounds the loop for the verifier.
/// `now_ns` is of the same clock as [`WorkerLoad::heartbeat_ns`].
pub fn choose(workers: &[WorkerLoad], now_ns: u64) -> Option<usize> {
    let mut best: Option<(usize, u64)> = None;
    for (index, worker) in workers.iter().enumerate().take(WORKERS_MAX as usize) {
        if !is_alive(worker, now_ns) {
            continue;
        }
        let cost = cost(worker);
        if best.is_none_or(|(_, least)| cost < least) {
            best = Some((index, cost));
        }
    }
    best.map(|(index, _)| index)
}

/// A heartbeat from the future is a fresh one: the worker's CPU read the clock after ours did.
fn is_alive(worker: &WorkerLoad, now_ns: u64) -> bool {
    worker.heartbeat_ns != 0 && now_ns.saturating_sub(worker.heartbeat_ns) <= HEARTBEAT_EXPIRY_NS
}

/// What one more connection has to wait for, in units of one open connection.
fn cost(worker: &WorkerLoad) -> u64 {
    let handshakes = u64::from(worker.handshakes_in_flight).saturating_mul(HANDSHAKE_COST);
    let lag = worker.event_loop_lag_ns / LAG_NS_PER_CONNECTION;
    u64::from(worker.connections_open)
        .saturating_add(handshakes)
        .saturating_add(lag)
}

/// A handshake's public-key work costs many times what a small request costs. This weight and the
/// next are assumptions, not measurements; `benches` is to set them.
const HANDSHAKE_COST: u64 = 16;

/// Ten milliseconds of lag weigh like a hundred open connections: most connections are idle, a late
/// event loop is late for all.
const LAG_NS_PER_CONNECTION: u64 = 100_000;

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
            event_loop_lag_ns: 10_000_000,
            ..worker(0)
        };
        assert_eq!(choose(&[late, worker(99)], NOW), Some(1));
        assert_eq!(choose(&[late, worker(101)], NOW), Some(0));
    }

    #[test]
    fn the_largest_numbers_do_not_wrap_round_to_small_ones() {
        let worst = WorkerLoad {
            heartbeat_ns: u64::MAX,
            event_loop_lag_ns: u64::MAX,
            connections_open: u32::MAX,
            handshakes_in_flight: u32::MAX,
            ..WorkerLoad::default()
        };
        assert_eq!(choose(&[worst, worker(1_000_000)], NOW), Some(1));
    }

    #[test]
    fn workers_past_the_limit_are_not_looked_at() {
        let mut workers = [worker(5); WORKERS_MAX as usize + 1];
        *workers.last_mut().unwrap() = worker(0);
        assert_eq!(choose(&workers, NOW), Some(0));
    }
}
