//! Which endpoint a request goes to: the rule, applied to those that are available, and to all
//! others only when none is. A choice costs no allocation.

use std::cell::Cell;
use std::rc::Rc;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::health::Health;

/// The rule.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight from this worker.
    LeastRequests,
    /// The same one for the same certificate, on all workers and hosts (rendezvous hashing: when
    /// an endpoint goes, only its callers move). Callers without a certificate: each in turn.
    Fingerprint,
}

/// SHA-256 of a caller's certificate.
pub type Fingerprint = [u8; 32];

/// Endpoints that a request has tried already, by number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tried(u64);

impl Tried {
    pub(super) fn add(&mut self, endpoint: usize) {
        self.0 |= bit(endpoint);
    }

    fn has(self, endpoint: usize) -> bool {
        self.0 & bit(endpoint) != 0
    }

    pub(super) fn count(self) -> u32 {
        self.0.count_ones()
    }
}

fn bit(endpoint: usize) -> u64 {
    u32::try_from(endpoint)
        .ok()
        .and_then(|endpoint| 1_u64.checked_shl(endpoint))
        .unwrap_or(0)
}

/// Applies a [`Balance`].
#[derive(Debug)]
pub(super) struct Chooser {
    balance: Balance,
    turn: Cell<usize>,
    candidates: Box<[Candidate]>,
}

#[derive(Debug)]
struct Candidate {
    health: Rc<Health>,
    /// A number that depends on the endpoint's name alone.
    seed: u64,
}

impl Chooser {
    /// Chooses among endpoints of these names.
    pub(super) fn new<'a>(
        balance: Balance,
        endpoints: impl Iterator<Item = (&'a str, &'a Rc<Health>)>,
    ) -> Self {
        let candidates = endpoints.map(|(name, health)| Candidate {
            health: Rc::clone(health),
            seed: first_word(&Sha256::digest(name.as_bytes())),
        });
        Self {
            balance,
            turn: Cell::new(0),
            candidates: candidates.collect(),
        }
    }

    /// The number of the endpoint to be tried next; `None` when all have been.
    pub(super) fn choose(
        &self,
        caller: Option<&Fingerprint>,
        tried: Tried,
        now: Instant,
    ) -> Option<usize> {
        let available =
            |(number, it): &Numbered<'_>| !tried.has(*number) && it.health.is_available(now);
        let (number, chosen) = self
            .best(caller, available)
            .or_else(|| self.best(caller, |(number, _)| !tried.has(*number)))?;
        chosen.health.chosen(now);
        Some(number)
    }

    fn best(
        &self,
        caller: Option<&Fingerprint>,
        eligible: impl Fn(&Numbered<'_>) -> bool,
    ) -> Option<Numbered<'_>> {
        if let (Balance::Fingerprint, Some(caller)) = (self.balance, caller) {
            let caller = first_word(caller);
            let all = self.candidates.iter().enumerate();
            return all
                .filter(eligible)
                .max_by_key(|(number, it)| (mix(it.seed ^ caller), *number));
        }
        // Beginning with the one whose turn it is, so that ties are broken in turn as well.
        let (before, from) = self.candidates.split_at_checked(self.turn.get())?;
        let before = before.iter().enumerate();
        let from = from.iter().enumerate();
        let from = from.map(|(number, it)| (number + self.turn.get(), it));
        let mut in_turn = from.chain(before).filter(eligible);
        let (number, chosen) = match self.balance {
            Balance::RoundRobin | Balance::Fingerprint => in_turn.next(),
            Balance::LeastRequests => in_turn.min_by_key(|(_, it)| it.health.in_flight()),
        }?;
        self.turn.set((number + 1) % self.candidates.len());
        Some((number, chosen))
    }
}

type Numbered<'a> = (usize, &'a Candidate);

/// The first eight bytes of a digest.
fn first_word(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Spreads the bits of a word (the finalizer of SplitMix64).
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Most endpoints of one application: as many as `Tried` has bits.
pub const ENDPOINTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::health::InFlight;
    use super::*;

    struct Fleet {
        chooser: Chooser,
        health: Vec<Rc<Health>>,
        now: Instant,
    }

    impl Fleet {
        fn new(balance: Balance, count: usize) -> Self {
            let labels: Vec<String> = (0..count)
                .map(|n| format!("http://10.0.0.{n}:80"))
                .collect();
            let health: Vec<Rc<Health>> = (0..count).map(|_| Rc::default()).collect();
            Self {
                chooser: Chooser::new(balance, labels.iter().map(String::as_str).zip(&health)),
                health,
                now: Instant::now(),
            }
        }

        fn choose(&self, caller: Option<&Fingerprint>) -> Option<usize> {
            self.choose_but(caller, Tried::default())
        }

        fn choose_but(&self, caller: Option<&Fingerprint>, tried: Tried) -> Option<usize> {
            self.chooser.choose(caller, tried, self.now)
        }
    }

    fn caller(number: u64) -> Fingerprint {
        Sha256::digest(number.to_le_bytes()).into()
    }

    #[test]
    fn round_robin_passes_over_the_ejected_and_takes_them_when_nothing_is_left() {
        let fleet = Fleet::new(Balance::RoundRobin, 3);
        let order: Vec<_> = (0..6).map(|_| fleet.choose(None).unwrap()).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
        fleet.health[1].refused(fleet.now);
        let order: Vec<_> = (0..4).map(|_| fleet.choose(None).unwrap()).collect();
        assert_eq!(order, [0, 2, 0, 2]);
        fleet.health[0].refused(fleet.now);
        fleet.health[2].refused(fleet.now);
        let mut order: Vec<_> = (0..3).map(|_| fleet.choose(None).unwrap()).collect();
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2]);
    }

    #[test]
    fn an_endpoint_is_tried_once_a_request() {
        let fleet = Fleet::new(Balance::RoundRobin, 3);
        let mut tried = Tried::default();
        while let Some(endpoint) = fleet.choose_but(None, tried) {
            assert!(!tried.has(endpoint));
            tried.add(endpoint);
        }
        assert_eq!(tried.count(), 3);
    }

    #[test]
    fn least_requests_fills_the_emptiest() {
        let fleet = Fleet::new(Balance::LeastRequests, 3);
        let mut held = Vec::new();
        for _ in 0..9 {
            let chosen = fleet.choose(None).unwrap();
            held.push((chosen, InFlight::new(&fleet.health[chosen])));
        }
        assert!(fleet.health.iter().all(|health| health.in_flight() == 3));
        held.retain(|(endpoint, _)| *endpoint != 1);
        assert_eq!(fleet.choose(None), Some(1));
    }

    #[test]
    fn a_certificate_keeps_its_endpoint_and_only_the_callers_of_a_lost_one_move() {
        let fleet = Fleet::new(Balance::Fingerprint, 4);
        let before: Vec<_> = (0..4000)
            .map(|n| fleet.choose(Some(&caller(n))).unwrap())
            .collect();
        for endpoint in 0..4 {
            let share = before.iter().filter(|chosen| **chosen == endpoint).count();
            assert!((900..1100).contains(&share), "{share} of 4000");
        }
        fleet.health[2].refused(fleet.now);
        let mut moved = [0; 4];
        for (n, before) in (0..4000).zip(&before) {
            let now = fleet.choose(Some(&caller(n))).unwrap();
            if *before == 2 {
                moved[now] += 1;
            } else {
                assert_eq!(now, *before);
            }
        }
        assert!(
            moved
                .iter()
                .enumerate()
                .all(|(n, count)| (n == 2) == (*count == 0))
        );
    }

    #[test]
    fn callers_without_a_certificate_take_turns() {
        let fleet = Fleet::new(Balance::Fingerprint, 2);
        let order: Vec<_> = (0..4).map(|_| fleet.choose(None).unwrap()).collect();
        assert_eq!(order, [0, 1, 0, 1]);
    }
}
