//! How one endpoint does, as one worker sees it: requests in flight, failures in a row, and until
//! when it is passed over. Plain cells, written on change only; other threads never look.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

/// The standing of one endpoint in one worker.
#[derive(Debug, Default)]
pub(super) struct Health {
    in_flight: Cell<usize>,
    /// Connections that could not be made, in a row.
    refused: Cell<u32>,
    /// New connections that broke before they answered, in a row.
    broken: Cell<u32>,
    /// It is passed over until then, where another one can be chosen.
    ejected_until: Cell<Option<Instant>>,
    /// Health checks that failed, in a row.
    checks_failed: Cell<u32>,
}

/// What a worker knows of an endpoint.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EndpointHealth {
    /// Requests under way, up to the end of their responses.
    pub in_flight: usize,
    /// Failures in a row.
    pub failures: u32,
    /// Whether requests go elsewhere now, as long as there is an elsewhere.
    pub ejected: bool,
}

impl Health {
    /// Whether it is chosen like any other.
    pub(super) fn is_available(&self, now: Instant) -> bool {
        let ejected = self.ejected_until.get();
        self.checks_failed.get() < CHECKS_TO_EJECT && ejected.is_none_or(|until| until <= now)
    }

    /// Told when a request is given to it. After an ejection the first one is a trial, and the
    /// others stay away until it is known how that went.
    pub(super) fn chosen(&self, now: Instant) {
        if self.ejected_until.get().is_some_and(|until| until <= now) {
            self.eject(now);
        }
    }

    /// It answered.
    pub(super) fn answered(&self) {
        if self.refused.get() != 0 || self.broken.get() != 0 {
            self.refused.set(0);
            self.broken.set(0);
            self.ejected_until.set(None);
        }
    }

    /// No connection could be made.
    pub(super) fn refused(&self, now: Instant) {
        self.refused.set(self.refused.get().saturating_add(1));
        self.eject(now);
    }

    /// A new connection broke before it answered. A request alone can cause that, so it takes
    /// several: no caller shall be able to switch an endpoint off.
    pub(super) fn broken(&self, now: Instant) {
        self.broken.set(self.broken.get().saturating_add(1));
        if self.broken.get() >= BROKEN_TO_EJECT {
            self.eject(now);
        }
    }

    /// A health check's outcome. Returns whether it changed what the endpoint counts as.
    pub(super) fn checked(&self, well: bool) -> bool {
        let before = self.checks_failed.get();
        let after = if well { 0 } else { before.saturating_add(1) };
        if well {
            self.answered();
        }
        self.checks_failed.set(after);
        (before < CHECKS_TO_EJECT) != (after < CHECKS_TO_EJECT)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    pub(super) fn view(&self, now: Instant) -> EndpointHealth {
        EndpointHealth {
            in_flight: self.in_flight.get(),
            failures: self
                .refused
                .get()
                .saturating_add(self.broken.get())
                .saturating_add(self.checks_failed.get()),
            ejected: !self.is_available(now),
        }
    }

    fn eject(&self, now: Instant) {
        let failures = self.refused.get().max(self.broken.get() / BROKEN_TO_EJECT);
        let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
        self.ejected_until
            .set(Some(now + BACK_OFF * (1 << doublings)));
    }
}

/// Counts a request as in flight until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Rc<Health>);

impl InFlight {
    pub(super) fn new(health: &Rc<Health>) -> Self {
        health.in_flight.set(health.in_flight.get() + 1);
        Self(Rc::clone(health))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let in_flight = &self.0.in_flight;
        in_flight.set(in_flight.get().saturating_sub(1));
    }
}

/// The first ejection; each further failure doubles it.
const BACK_OFF: Duration = Duration::from_secs(1);
/// Up to 16 s.
const DOUBLINGS_MAX: u32 = 4;
/// New connections in a row that break before an answer.
const BROKEN_TO_EJECT: u32 = 5;
/// Health checks in a row that fail.
const CHECKS_TO_EJECT: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_eject_at_once_and_for_longer_each_time() {
        let health = Health::default();
        let mut now = Instant::now();
        let mut spans = Vec::new();
        for _ in 0..7 {
            health.refused(now);
            let start = now;
            while !health.is_available(now) {
                now += Duration::from_millis(500);
            }
            spans.push((now - start).as_secs());
        }
        assert_eq!(spans, [1, 2, 4, 8, 16, 16, 16]);
        health.answered();
        health.refused(now);
        assert!(health.is_available(now + BACK_OFF));
    }

    #[test]
    fn after_an_ejection_one_request_tries() {
        let health = Health::default();
        let now = Instant::now();
        health.refused(now);
        let later = now + BACK_OFF;
        assert!(health.is_available(later));
        health.chosen(later);
        assert!(!health.is_available(later));
        health.answered();
        assert!(health.is_available(later));
    }

    #[test]
    fn one_broken_connection_ejects_nothing() {
        let health = Health::default();
        let now = Instant::now();
        for _ in 1..BROKEN_TO_EJECT {
            health.broken(now);
            assert!(health.is_available(now));
        }
        health.broken(now);
        assert!(!health.is_available(now));
    }

    #[test]
    fn checks_eject_after_two_failures_and_admit_after_one_success() {
        let health = Health::default();
        let now = Instant::now();
        assert!(!health.checked(false));
        assert!(health.is_available(now));
        assert!(health.checked(false));
        assert!(!health.is_available(now));
        assert!(health.checked(true));
        assert!(health.is_available(now));
    }
}
