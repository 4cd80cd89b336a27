//! The addresses of an origin's name. Asked of the system off the request path, at an interval; the
//! last good answer is kept while the resolver fails. Only before the first answer does a request
//! wait for one.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::time::{Instant, timeout_at};

use super::error::UpstreamError;
use super::target::UpstreamTarget;

/// What is known of one origin's addresses.
#[derive(Debug)]
pub(super) struct Resolver {
    /// `None` where the origin is no name.
    name: Option<(String, u16)>,
    addresses: RefCell<Rc<[SocketAddr]>>,
    /// Which address is tried first: each in turn.
    turn: Cell<usize>,
}

impl Resolver {
    pub(super) fn new(target: &UpstreamTarget) -> Self {
        let (name, addresses): (_, &[SocketAddr]) = match target {
            UpstreamTarget::Address(address) => (None, &[*address]),
            UpstreamTarget::Name { host, port } => (Some((host.clone(), *port)), &[]),
            UpstreamTarget::Unix(_) => (None, &[]),
        };
        Self {
            name,
            addresses: RefCell::new(addresses.into()),
            turn: Cell::new(0),
        }
    }

    /// Whether there is anything to ask for.
    pub(super) fn has_name(&self) -> bool {
        self.name.is_some()
    }

    /// The number of the address to be tried first.
    pub(super) fn turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }

    /// The last good answer, or the first.
    pub(super) async fn addresses(
        &self,
        deadline: Instant,
    ) -> Result<Rc<[SocketAddr]>, UpstreamError> {
        let known = Rc::clone(&self.addresses.borrow());
        if !known.is_empty() {
            return Ok(known);
        }
        let asked = timeout_at(deadline, self.refresh()).await;
        asked.or(Err(UpstreamError::ConnectTimeout))??;
        Ok(Rc::clone(&self.addresses.borrow()))
    }

    /// Asks now. Returns whether an address that was known is gone.
    pub(super) async fn refresh(&self) -> Result<bool, UpstreamError> {
        let Some((host, port)) = &self.name else {
            return Ok(false);
        };
        let found = tokio::net::lookup_host((host.as_str(), *port)).await;
        let mut found: Vec<SocketAddr> = found.map_err(UpstreamError::Resolve)?.collect();
        found.dedup();
        found.truncate(ADDRESSES_MAX);
        if found.is_empty() {
            // An answer without an address is no better than none.
            let nothing = std::io::ErrorKind::NotFound.into();
            return Err(UpstreamError::Resolve(nothing));
        }
        let known = self.addresses.replace(found.as_slice().into());
        Ok(known.iter().any(|address| !found.contains(address)))
    }
}

/// Addresses kept of one name.
const ADDRESSES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str) -> Resolver {
        let host = host.to_owned();
        Resolver::new(&UpstreamTarget::Name { host, port: 80 })
    }

    async fn known(resolver: &Resolver) -> Vec<SocketAddr> {
        let addresses = resolver.addresses(Instant::now()).await.unwrap();
        addresses.to_vec()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_last_good_answer_is_kept_while_the_resolver_fails() {
        let resolver = named("no-such-host.invalid");
        let last: Vec<SocketAddr> = vec!["192.0.2.1:80".parse().unwrap()];
        resolver.addresses.replace(last.as_slice().into());
        assert!(resolver.refresh().await.is_err());
        assert_eq!(known(&resolver).await, last);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_new_answer_takes_the_place_of_the_last_and_says_that_addresses_went() {
        let resolver = named("localhost");
        assert!(!resolver.refresh().await.unwrap());
        assert!(!resolver.refresh().await.unwrap());
        let old: SocketAddr = "192.0.2.1:80".parse().unwrap();
        resolver.addresses.replace([old].as_slice().into());
        assert!(resolver.refresh().await.unwrap());
        assert!(!known(&resolver).await.contains(&old));
    }
}
