//! Who is calling on a connection, and how they stand: the verdict on their chain and the header
//! block that tells it. Both are a function of (chain, trust, time), kept with the second at which
//! they must be asked again; a connection or a resumed session never outlives its certificate.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::bounded::BoundedCache;
use crate::headers::HeaderBlock;
use crate::policy::Met;
use crate::telemetry::Identity;
use crate::tls::{Verdict, VerifiedPeer};

/// A verdict and the headers that tell it, as they hold until `holds_until`.
#[derive(Debug)]
pub struct Standing {
    /// The conclusion on the certificate.
    pub verdict: Verdict,
    /// What the origin is told.
    pub block: HeaderBlock,
    /// What it is told on the paths of each worker of the application.
    pub workers: Box<[HeaderBlock]>,
    /// SHA-256 of the certificate, if there is one: the caller's name for balancing and isolation.
    pub fingerprint: Option<[u8; 32]>,
    /// Which policies it meets.
    pub met: Met,
    /// Whether what it says of its own client is sent on.
    pub forwards: bool,
    /// What records say.
    pub identity: Identity,
    /// Unix seconds from which both must be asked again.
    pub holds_until: u64,
}

impl Standing {
    /// What the origin is told of a request that `worker` is for, or none of them.
    pub fn block_of(&self, worker: Option<usize>) -> &HeaderBlock {
        worker
            .and_then(|worker| self.workers.get(worker))
            .unwrap_or(&self.block)
    }

    /// Bytes of all its blocks.
    fn bytes(&self) -> usize {
        let blocks = std::iter::once(&self.block).chain(&self.workers);
        blocks.map(HeaderBlock::bytes).sum()
    }
}

/// What an application answers about callers.
pub trait Judge {
    /// Which application asks, by number.
    fn application(&self) -> usize;
    /// Reaches a verdict on `chain` (leaf first; empty: no certificate) and renders its headers.
    fn judge(&self, chain: &[CertificateDer<'static>], now: u64) -> Standing;
    /// Standings already reached.
    fn standings(&self) -> &Standings;
}

/// The caller of one connection.
#[derive(Debug)]
pub struct Caller {
    chain: Chain,
    /// How it stands with the application of the connection.
    own: Held,
    /// And with others that it asked for on this connection: few, and all of the same trust.
    others: RefCell<Vec<Held>>,
}

#[derive(Debug)]
struct Held {
    application: usize,
    standing: RefCell<Arc<Standing>>,
}

impl Caller {
    /// Takes the peer of a completed handshake: what it presented, it has proved to own.
    pub fn new(peer: VerifiedPeer, judge: &impl Judge, now: u64) -> Self {
        Self::of(&peer.into_chain(), judge, now)
    }

    fn of(chain: &Chain, judge: &impl Judge, now: u64) -> Self {
        let (chain, standing) = judge.standings().find(chain, judge, now);
        Self {
            chain,
            own: Held {
                application: judge.application(),
                standing: RefCell::new(standing),
            },
            others: RefCell::default(),
        }
    }

    /// What it presented, leaf first.
    pub fn chain(&self) -> Arc<[CertificateDer<'static>]> {
        Arc::clone(&self.chain)
    }

    /// The same caller before another judge, after another configuration was published.
    pub fn renewed_for(&self, judge: &impl Judge, now: u64) -> Self {
        Self::of(&self.chain, judge, now)
    }

    /// How the caller stands now: the held answer while it holds, else a fresh one.
    pub fn standing(&self, judge: &impl Judge, now: u64) -> Arc<Standing> {
        if judge.application() == self.own.application {
            return self.renewed(&self.own, judge, now);
        }
        let mut others = self.others.borrow_mut();
        let application = judge.application();
        if let Some(held) = others.iter().find(|held| held.application == application) {
            return self.renewed(held, judge, now);
        }
        let (_, standing) = judge.standings().find(&self.chain, judge, now);
        if others.len() >= OTHERS_MAX {
            others.remove(0);
        }
        others.push(Held {
            application,
            standing: RefCell::new(Arc::clone(&standing)),
        });
        standing
    }

    fn renewed(&self, held: &Held, judge: &impl Judge, now: u64) -> Arc<Standing> {
        let mut standing = held.standing.borrow_mut();
        if now >= standing.holds_until {
            *standing = judge.standings().find(&self.chain, judge, now).1;
        }
        Arc::clone(&standing)
    }
}

type Chain = Arc<[CertificateDer<'static>]>;
/// SHA-256 over the application's number and the chain.
type Key = [u8; 32];
type Table = BoundedCache<Key, (Chain, Arc<Standing>)>;

/// Standings by application and chain, so that a reconnect or a resumed session pays a look-up.
/// Anyone can make certificates that fail; those have a small table of their own and can't push good
/// ones out.
#[derive(Debug)]
pub struct Standings {
    succeeded: Mutex<Table>,
    failed: Mutex<Table>,
}

impl Standings {
    /// Keeps at most `entries_max` callers that verified.
    pub fn new(entries_max: NonZeroUsize) -> Self {
        let bytes_max = entries_max.get().saturating_mul(ENTRY_BYTES_MEAN);
        Self {
            succeeded: Mutex::new(Table::new(entries_max, bytes_max)),
            failed: Mutex::new(Table::new(FAILED_ENTRIES_MAX, FAILED_BYTES_MAX)),
        }
    }

    /// How the callers with this chain stand, and one copy of it for all of them.
    fn find(&self, chain: &Chain, judge: &impl Judge, now: u64) -> (Chain, Arc<Standing>) {
        let key = key(judge.application(), chain);
        for table in [&self.succeeded, &self.failed] {
            let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((chain, standing)) = table.get(&key)
                && now < standing.holds_until
            {
                return (Arc::clone(chain), Arc::clone(standing));
            }
        }
        let standing = Arc::new(judge.judge(chain, now));
        let chain = Arc::clone(chain);
        let table = match standing.verdict {
            Verdict::Success(_) | Verdict::None => &self.succeeded,
            Verdict::Failed(_) => &self.failed,
        };
        let bytes =
            ENTRY_OVERHEAD + standing.bytes() + chain.iter().map(|der| der.len()).sum::<usize>();
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(key, (Arc::clone(&chain), Arc::clone(&standing)), bytes);
        (chain, standing)
    }
}

fn key(application: usize, chain: &[CertificateDer<'static>]) -> Key {
    let mut hash = Sha256::new();
    hash.update((application as u64).to_be_bytes());
    for certificate in chain {
        // With their lengths, so that no two chains run into the same bytes.
        hash.update((certificate.len() as u64).to_be_bytes());
        hash.update(certificate);
    }
    hash.finalize().into()
}

/// Most applications beside its own that a connection remembers.
const OTHERS_MAX: usize = 8;
/// What an ordinary entry takes (a chain of two, ten headers), for the bound in bytes.
const ENTRY_BYTES_MEAN: usize = 8 * 1024;
/// Bookkeeping of an entry, roughly.
const ENTRY_OVERHEAD: usize = 512;
const FAILED_ENTRIES_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();
const FAILED_BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bytes::Bytes;

    use super::*;
    use crate::telemetry::reason::VerdictKind;
    use crate::tls::Reason;

    /// Counts how often it is asked. Certificates that begin with `!` fail.
    struct Counting {
        application: Cell<usize>,
        asked: Cell<usize>,
        holds_for: u64,
        standings: Standings,
    }

    impl Counting {
        fn new(entries: usize, holds_for: u64) -> Self {
            Self {
                application: Cell::new(0),
                asked: Cell::new(0),
                holds_for,
                standings: Standings::new(NonZeroUsize::new(entries).unwrap()),
            }
        }

        fn ask(&self, certificate: &str, now: u64) -> Arc<Standing> {
            let chain: Chain = [CertificateDer::from(certificate.as_bytes().to_vec())].into();
            self.standings.find(&chain, self, now).1
        }
    }

    impl Judge for Counting {
        fn application(&self) -> usize {
            self.application.get()
        }

        fn judge(&self, chain: &[CertificateDer<'static>], now: u64) -> Standing {
            self.asked.set(self.asked.get() + 1);
            let fails = chain
                .iter()
                .any(|certificate| certificate.starts_with(b"!"));
            Standing {
                verdict: if fails {
                    Verdict::Failed(Reason::Expired)
                } else {
                    Verdict::None
                },
                block: HeaderBlock::new(Bytes::new(), Arc::default()),
                workers: Box::default(),
                fingerprint: None,
                met: Met::default(),
                forwards: false,
                identity: Identity::counted(VerdictKind::None),
                holds_until: now + self.holds_for,
            }
        }

        fn standings(&self) -> &Standings {
            &self.standings
        }
    }

    #[test]
    fn a_caller_seen_before_costs_a_look_up() {
        let judge = Counting::new(10, 100);
        let first = judge.ask("a", 0);
        let again = judge.ask("a", 99);
        assert!(Arc::ptr_eq(&first, &again));
        judge.ask("b", 0);
        assert_eq!(judge.asked.get(), 2);
    }

    #[test]
    fn a_standing_is_asked_again_the_second_it_no_longer_holds() {
        let judge = Counting::new(10, 100);
        judge.ask("a", 0);
        judge.ask("a", 100);
        assert_eq!(judge.asked.get(), 2);
        // The fresh answer has taken the old one's place.
        judge.ask("a", 150);
        assert_eq!(judge.asked.get(), 2);
    }

    #[test]
    fn failures_cannot_push_good_callers_out() {
        let judge = Counting::new(10, 100);
        judge.ask("good", 0);
        for n in 0..1000 {
            judge.ask(&format!("!{n}"), 0);
        }
        let asked = judge.asked.get();
        judge.ask("good", 0);
        assert_eq!(judge.asked.get(), asked);
        let failed = judge.standings.failed.lock().unwrap();
        assert_eq!(failed.len(), FAILED_ENTRIES_MAX.get());
    }

    #[test]
    fn an_open_connection_is_judged_anew_when_its_standing_ends() {
        let judge = Counting::new(10, 100);
        let caller = Caller::of(&Chain::default(), &judge, 0);
        caller.standing(&judge, 99);
        assert_eq!(judge.asked.get(), 1);
        caller.standing(&judge, 100);
        assert_eq!(judge.asked.get(), 2);
    }

    #[test]
    fn a_standing_is_one_applications_own() {
        let judge = Counting::new(10, 100);
        let caller = Caller::of(&Chain::default(), &judge, 0);
        for application in [1, 2, 1, 0, 2] {
            judge.application.set(application);
            caller.standing(&judge, 50);
        }
        assert_eq!(judge.asked.get(), 3);
        judge.application.set(1);
        caller.standing(&judge, 150);
        assert_eq!(judge.asked.get(), 4);
        // However many it asks for, a connection remembers few.
        for application in 3..100 {
            judge.application.set(application);
            caller.standing(&judge, 150);
        }
        assert_eq!(caller.others.borrow().len(), OTHERS_MAX);
    }
}
