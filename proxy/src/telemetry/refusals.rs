//! The last callers that were refused, kept so that an operator who is told a request's id can ask
//! why. Bounded in entries and bytes; nothing here is touched by a request that is served.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;

/// One refusal: who asked for what, and what was decided.
#[derive(Debug)]
pub struct Refusal {
    /// The request's id.
    pub id: String,
    /// Unix seconds.
    pub time: u64,
    /// The name of the application.
    pub application: String,
    /// As the client sent them; the path in the form that was judged.
    pub method: String,
    /// Authority of the request.
    pub host: String,
    /// Path without query.
    pub path: String,
    /// Why, in words.
    pub why: String,
    /// The chain that was presented, leaf first.
    pub chain: Arc<[CertificateDer<'static>]>,
}

/// The last refusals, the newest last.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    queue: VecDeque<Arc<Refusal>>,
    bytes: usize,
}

impl Refusals {
    /// Keeps `refusal`, and forgets the oldest where there are too many.
    pub fn push(&self, refusal: Refusal) {
        let refusal = Arc::new(refusal);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes += refusal.bytes();
        held.queue.push_back(refusal);
        while held.queue.len() > ENTRIES_MAX || (held.bytes > BYTES_MAX && held.queue.len() > 1) {
            let oldest = held.queue.pop_front();
            held.bytes -= oldest.map_or(0, |oldest| oldest.bytes());
        }
    }

    /// The refusal of the request of this id; the newest, if a client reused one.
    pub fn find(&self, id: &str) -> Option<Arc<Refusal>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = held.queue.iter().rev().find(|refusal| refusal.id == id);
        found.cloned()
    }

    /// All of them, the newest first.
    pub fn all(&self) -> Vec<Arc<Refusal>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.queue.iter().rev().cloned().collect()
    }
}

impl Refusal {
    fn bytes(&self) -> usize {
        let texts = [
            &self.id,
            &self.application,
            &self.method,
            &self.host,
            &self.path,
            &self.why,
        ];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        texts + self.chain.iter().map(|der| der.len()).sum::<usize>()
    }
}

const ENTRIES_MAX: usize = 1000;
/// Chains are the peers' to choose; ordinary ones take a tenth of this.
const BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(id: usize, bytes: usize) -> Refusal {
        Refusal {
            id: id.to_string(),
            time: 0,
            application: String::new(),
            method: String::new(),
            host: String::new(),
            path: String::new(),
            why: String::new(),
            chain: [CertificateDer::from(vec![0; bytes])].into(),
        }
    }

    #[test]
    fn the_last_thousand_are_kept() {
        let refusals = Refusals::default();
        for id in 0..ENTRIES_MAX + 7 {
            refusals.push(refusal(id, 100));
        }
        assert_eq!(refusals.all().len(), ENTRIES_MAX);
        assert!(refusals.find("6").is_none());
        assert!(refusals.find("7").is_some());
        assert_eq!(refusals.all().first().unwrap().id, "1006");
    }

    /// Whoever may choose the chains must not choose the memory.
    #[test]
    fn large_chains_push_out_old_ones() {
        let refusals = Refusals::default();
        for id in 0..100 {
            refusals.push(refusal(id, BYTES_MAX / 10));
        }
        assert!(refusals.all().len() <= 10);
        refusals.push(refusal(100, 2 * BYTES_MAX));
        assert_eq!(refusals.all().len(), 1);
        let held = refusals.0.lock().unwrap();
        assert!(held.bytes >= 2 * BYTES_MAX);
    }
}
