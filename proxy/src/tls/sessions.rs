//! Session storage for resumption, shared by all workers of one application and by nothing else:
//! a session made under one trust is never resumed under another (CVE-2025-23419).
//!
//! A session carries the client's chain, and the chain is the client's choice, so the storage is
//! bounded in bytes as well as entries. The verdict is not in it: it is reached again each time.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use rustls::server::StoresServerSessions;

use crate::bounded::BoundedCache;

/// Stateful sessions of one application.
#[derive(Debug)]
pub(super) struct Sessions(Mutex<BoundedCache<Vec<u8>, Vec<u8>>>);

impl Sessions {
    /// At most `entries_max` sessions and `bytes_max` bytes.
    pub(super) fn new(entries_max: NonZeroUsize, bytes_max: usize) -> Self {
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
