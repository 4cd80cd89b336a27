//! One endpoint as one worker sees it: how it does, and its connections.

use std::rc::Rc;

use tokio::time::Instant;

use super::connect::Connect;
use super::connection::Connection;
use super::error::UpstreamError;
use super::health::Health;
use super::pool::{Lease, Owner, Pool, bump};

/// One endpoint.
pub(super) struct Endpoint<C: Connect> {
    pub(super) label: Box<str>,
    pub(super) health: Rc<Health>,
    pub(super) connect: C,
    pub(super) pool: Rc<Pool<C::Io>>,
}

impl<C: Connect> Endpoint<C> {
    pub(super) fn new(label: String, connect: C, pool: Pool<C::Io>) -> Self {
        Self {
            label: label.into(),
            health: Rc::default(),
            connect,
            pool: Rc::new(pool),
        }
    }

    /// A connection that is open already.
    pub(super) fn reuse(&self, owner: Owner, now: Instant) -> Option<Lease<C::Io>> {
        self.pool.checkout(owner, now)
    }

    /// A new connection.
    pub(super) async fn open(&self, owner: Owner) -> Result<Lease<C::Io>, UpstreamError> {
        let limit = self.pool.limits.connect_timeout;
        let (io, _version) = self.connect.connect(limit).await?;
        bump(&self.pool.stats.opened);
        Ok(self.pool.lease(Connection::new(io), owner))
    }
}
