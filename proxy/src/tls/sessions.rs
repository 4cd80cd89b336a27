//! Session storage for resumption, shared by all workers and by the applications that trust the same
//! stores, and by nothing else: a session made under one trust is never resumed under another
//! (CVE-2025-23419). rustls resumes none under another server name.
//!
//! A session carries the client's chain, and the chain is the client's choice, so the storage is
//! bounded in bytes as well as entries. The verdict is not in it: it is reached again each time.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use rustls::server::StoresServerSessions;

use crate::bounded::BoundedCache;

/// Stateful sessions of the applications of one trust.
#[derive(Debug)]
pub struct Sessions(Mutex<BoundedCache<Vec<u8>, Vec<u8>>>);

impl Sessions {
    /// At most `entries_max` sessions.
    pub fn new(entries_max: NonZeroUsize) -> Self {
        Self::bounded(entries_max, SESSION_BYTES_MAX)
    }

    fn bounded(entries_max: NonZeroUsize, bytes_max: usize) -> Self {
        Self(Mutex::new(BoundedCache::new(entries_max, bytes_max)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut BoundedCache<Vec<u8>, Vec<u8>>) -> T) -> T {
        // No panic can leave the cache half-changed, so a poisoned lock is as good as a sound one.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let bytes = key.len() + value.len();
        self.with(|cache| cache.insert(key, value, bytes))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.with(|cache| cache.get(key).cloned())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.with(|cache| cache.remove(key))
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Bytes all sessions of a storage may take. A session with a chain of two takes about 2 KiB.
const SESSION_BYTES_MAX: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_taken_once() {
        let sessions = Sessions::bounded(NonZeroUsize::new(2).unwrap(), 1000);
        assert!(sessions.put(b"a".to_vec(), b"session".to_vec()));
        assert_eq!(sessions.get(b"a").as_deref(), Some(&b"session"[..]));
        assert_eq!(sessions.take(b"a").as_deref(), Some(&b"session"[..]));
        assert_eq!(sessions.take(b"a"), None);
    }

    #[test]
    fn large_chains_cannot_fill_the_memory() {
        let sessions = Sessions::bounded(NonZeroUsize::new(1000).unwrap(), 1000);
        for n in 0..100_u8 {
            assert!(sessions.put(vec![n], vec![0; 300]));
        }
        let kept = (0..100_u8).filter(|n| sessions.get(&[*n]).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [97, 98, 99]);
        assert!(!sessions.put(b"huge".to_vec(), vec![0; 2000]));
    }
}
