//! A cache that hostile input can fill but not grow: bounded in entries and in bytes, the least
//! recently used goes first.

use std::borrow::Borrow;
use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;

/// Least-recently-used cache with a limit on entries and on the sum of their weights.
#[derive(Debug)]
pub struct BoundedCache<K: Hash + Eq, V> {
    entries: LruCache<K, Weighed<V>>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Weighed<V> {
    value: V,
    bytes: usize,
}

impl<K: Hash + Eq, V> BoundedCache<K, V> {
    /// At most `entries_max` entries that weigh at most `bytes_max` together.
    pub fn new(entries_max: NonZeroUsize, bytes_max: usize) -> Self {
        // Unbounded for `lru`, which would allocate room for the full count at once; `insert` keeps both bounds.
        let mut entries = LruCache::unbounded();
        entries.resize(entries_max);
        Self {
            entries,
            bytes: 0,
            bytes_max,
        }
    }

    /// Stores `value`, which weighs `bytes`; drops the oldest entries until both bounds hold.
    /// Returns false, storing nothing, if it could not fit alone.
    pub fn insert(&mut self, key: K, value: V, bytes: usize) -> bool {
        if bytes > self.bytes_max {
            return false;
        }
        if let Some((_, replaced)) = self.entries.push(key, Weighed { value, bytes }) {
            self.bytes -= replaced.bytes;
        }
        self.bytes += bytes;
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.entries.pop_lru() else {
                break;
            };
            self.bytes -= oldest.bytes;
        }
        true
    }

    /// The value of `key`, which becomes the most recently used.
    pub fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.get(key).map(|weighed| &weighed.value)
    }

    /// Takes the value of `key` out.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let weighed = self.entries.pop(key)?;
        self.bytes -= weighed.bytes;
        Some(weighed.value)
    }

    /// Entries held now.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: usize, bytes: usize) -> BoundedCache<u32, u32> {
        BoundedCache::new(NonZeroUsize::new(entries).unwrap(), bytes)
    }

    #[test]
    fn the_least_recently_used_entry_goes_first() {
        let mut cache = cache(2, 100);
        cache.insert(1, 1, 1);
        cache.insert(2, 2, 1);
        assert_eq!(cache.get(&1), Some(&1));
        cache.insert(3, 3, 1);
        assert_eq!(
            [1, 2, 3].map(|key| cache.get(&key).copied()),
            [Some(1), None, Some(3)]
        );
        assert_eq!(cache.bytes, 2);
    }

    #[test]
    fn the_sum_of_weights_is_bounded_and_exact() {
        let mut cache = cache(100, 10);
        for key in 0..50 {
            assert!(cache.insert(key, key, 4));
            assert!(cache.bytes <= 10);
        }
        assert_eq!(cache.len(), 2);
        assert!(!cache.insert(99, 99, 11));
        cache.insert(49, 1, 9);
        assert_eq!((cache.len(), cache.bytes), (1, 9));
        assert_eq!(cache.remove(&49), Some(1));
        assert_eq!((cache.is_empty(), cache.bytes), (true, 0));
    }
}
