//! How many connections each source has, so that no one takes the places of all. Shared by the
//! workers, and asked once a connection; as large as there are connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::net::{Network, source_of};

/// The connections of each source.
#[derive(Debug)]
pub struct Sources {
    max: Option<NonZeroUsize>,
    /// Proxies of the operator's own, which stand for many.
    exempt: Box<[Network]>,
    counts: Mutex<HashMap<IpAddr, usize, foldhash::fast::RandomState>>,
}

/// One connection, counted against its source as long as it lives.
#[derive(Debug)]
pub struct SourcePlace(Option<(Arc<Sources>, IpAddr)>);

impl Sources {
    /// At most `max` connections a source that is not `exempt`.
    pub fn new(max: Option<NonZeroUsize>, exempt: &[Network]) -> Arc<Self> {
        Arc::new(Self {
            max,
            exempt: exempt.into(),
            counts: Mutex::default(),
        })
    }

    /// A place for a connection from `client`, if there is one.
    pub fn place(self: &Arc<Self>, client: IpAddr) -> Option<SourcePlace> {
        let Some(max) = self.max else {
            return Some(SourcePlace(None));
        };
        if self.exempt.iter().any(|network| network.contains(client)) {
            return Some(SourcePlace(None));
        }
        let source = source_of(client);
        let mut counts = self.counts();
        let count = counts.entry(source).or_default();
        if *count >= max.get() {
            return None;
        }
        *count += 1;
        Some(SourcePlace(Some((Arc::clone(self), source))))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize, foldhash::fast::RandomState>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        let Some((sources, source)) = self.0.take() else {
            return;
        };
        let mut counts = sources.counts();
        if let Some(count) = counts.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_source_has_its_own_places() {
        let sources = Sources::new(NonZeroUsize::new(2), &["10.0.0.0/8".parse().unwrap()]);
        let first = sources.place(address("192.0.2.1")).unwrap();
        let _second = sources.place(address("192.0.2.1")).unwrap();
        assert!(sources.place(address("192.0.2.1")).is_none());
        let _other = sources.place(address("192.0.2.2")).unwrap();
        drop(first);
        let _third = sources.place(address("192.0.2.1")).unwrap();
        let proxies: Vec<_> = (0..9).map(|_| sources.place(address("10.0.0.1"))).collect();
        assert!(proxies.iter().all(Option::is_some));
    }

    #[test]
    fn a_network_of_one_host_is_one_source_and_nothing_stays_behind() {
        let sources = Sources::new(NonZeroUsize::new(1), &[]);
        let place = sources.place(address("2001:db8::1")).unwrap();
        assert!(sources.place(address("2001:db8::2")).is_none());
        let other = sources.place(address("2001:db8:0:1::1")).unwrap();
        drop((place, other));
        assert!(sources.counts().is_empty());
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let sources = Sources::new(None, &[]);
        let _places: Vec<_> = (0..9).map(|_| sources.place(address("::1"))).collect();
        assert!(sources.counts().is_empty());
    }
}
