//! How fast the machine is at the moment. A neighbour behind the hypervisor takes no time that a guest could see,
//! and yet makes the time that the guest has worth less: a handshake of 290 µs has been seen to take 385, and the
//! floor as much more. A piece of work that is always the same shows it.

use std::cell::Cell;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// The machine's pace, by its best in this run.
#[derive(Debug)]
pub(super) struct Pace {
    /// Seconds that a piece took at best.
    best: Cell<f64>,
    /// What the run may still spend on waiting, or on measuring again, because the machine is slow: one that stays
    /// slow is measured as it is.
    patience: Cell<Duration>,
}

impl Pace {
    /// Takes the machine as it is now for its best so far.
    pub(super) fn begin(patience: Duration) -> Self {
        Self {
            best: Cell::new(now()),
            patience: Cell::new(patience),
        }
    }

    /// How much slower than at its best the machine is: 0.1 is a tenth. To be asked while nothing is driven.
    pub(super) fn slowness(&self) -> f64 {
        self.against_best(now())
    }

    /// The same when the machine is at its best again, or when there is no patience left.
    pub(super) fn settled(&self) -> f64 {
        let mut slow = self.slowness();
        if slow > SLOW_MAX && self.has_patience() {
            println!("    waiting: the machine is {:.0} % slower", slow * 100.0);
        }
        while slow > SLOW_MAX && self.has_patience() {
            thread::sleep(PAUSE);
            self.spend(PAUSE);
            slow = self.slowness();
        }
        slow
    }

    /// Whether time may still be lost because the machine is slow.
    pub(super) fn has_patience(&self) -> bool {
        !self.patience.get().is_zero()
    }

    /// Time is lost because the machine is slow.
    pub(super) fn spend(&self, time: Duration) {
        self.patience.set(self.patience.get().saturating_sub(time));
    }

    fn against_best(&self, seconds: f64) -> f64 {
        self.best.set(self.best.get().min(seconds));
        seconds / self.best.get() - 1.0
    }
}

/// Seconds that a piece takes now: the median of some, of which the first only wake the processor.
fn now() -> f64 {
    let mut pieces = [0.0; PIECES];
    for seconds in &mut pieces {
        let begin = Instant::now();
        black_box(piece(black_box(1)));
        *seconds = begin.elapsed().as_secs_f64();
    }
    super::record::median(pieces.into_iter().skip(PIECES / 4))
}

/// Multiplications that don't wait for each other, as in cryptography: what a processor shared with a neighbour
/// does less of.
fn piece(seed: u64) -> u64 {
    let mut lanes = [seed, seed ^ 2, seed ^ 4, seed ^ 8];
    for _ in 0..ROUNDS {
        let [a, b, c, d] = lanes;
        lanes = [
            a.wrapping_mul(FACTOR).rotate_left(7),
            b.wrapping_mul(FACTOR).rotate_left(9),
            c.wrapping_mul(FACTOR).rotate_left(11),
            d.wrapping_mul(FACTOR).rotate_left(13),
        ];
    }
    lanes.into_iter().fold(0, u64::wrapping_add)
}

/// How much slower than at its best in this run the machine may be.
pub(super) const SLOW_MAX: f64 = 0.1;
const PAUSE: Duration = Duration::from_secs(1);
/// Some 20 ms in all.
const PIECES: usize = 20;
const ROUNDS: usize = 100_000;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_what_others_are_slower_than() {
        let pace = Pace {
            best: Cell::new(2.0),
            patience: Cell::default(),
        };
        assert!((pace.against_best(2.5) - 0.25).abs() < 1e-9);
        assert!(pace.against_best(1.0).abs() < 1e-9);
        assert!((pace.against_best(2.0) - 1.0).abs() < 1e-9);
    }

    /// The best can't be come up to again: it is the median of one lucky moment.
    #[test]
    fn a_machine_that_stays_slow_is_waited_for_as_long_as_there_is_patience() {
        let pace = Pace {
            best: Cell::new(1e-9),
            patience: Cell::new(Duration::from_millis(1_500)),
        };
        pace.spend(Duration::from_millis(1_000));
        assert!(pace.has_patience());
        assert!(pace.settled() > SLOW_MAX);
        assert!(!pace.has_patience());
        assert!(pace.settled() > SLOW_MAX);
    }

    #[test]
    fn a_piece_is_work_that_nobody_leaves_out() {
        assert_ne!(piece(1), piece(3));
        assert!(now() > 1e-6);
    }
}
