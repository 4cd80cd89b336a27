//! One endpoint as one worker sees it: how it does, and its connections, HTTP/1.1 or HTTP/2.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http::Response;
use http::uri::Scheme;
use http_body::Body;
use tokio::time::Instant;

use super::RequestHead;
use super::answer::Transfers;
use super::connect::{Connect, Version};
use super::connection::Connection;
use super::error::{BodyError, UpstreamError};
use super::health::Health;
use super::http1::{self, Failed};
use super::http2::{self, Connections, Slot};
use super::opening::Openings;
use super::pool::{Lease, Owner, Pool, TrailerFilters, bump};

/// One endpoint.
pub(super) struct Endpoint<C: Connect> {
    pub(super) label: Box<str>,
    pub(super) health: Rc<Health>,
    pub(super) connect: C,
    pub(super) pool: Rc<Pool<C::Io>>,
    /// The scheme of requests over HTTP/2, where it may be spoken at all.
    scheme: Option<Scheme>,
    shared: Connections,
    openings: Openings,
    /// What the last connection turned out to speak.
    spoken: Cell<Option<Version>>,
    filters: TrailerFilters,
}

/// The way one request takes to an endpoint.
pub(super) enum Channel<S> {
    /// A connection of its own.
    Http1(Lease<S>),
    /// A stream.
    Http2(Slot),
}

impl<C: Connect> Endpoint<C> {
    pub(super) fn new(label: String, connect: C, pool: Pool<C::Io>) -> Self {
        Self {
            label: label.into(),
            health: Rc::default(),
            scheme: connect.http2(),
            connect,
            shared: Connections::default(),
            openings: Openings::default(),
            spoken: Cell::new(None),
            filters: TrailerFilters {
                request: Rc::clone(&pool.request_trailers),
                response: Rc::clone(&pool.response_trailers),
            },
            pool: Rc::new(pool),
        }
    }

    /// A connection that is open already. `upgrades`: the origin will be asked for another protocol,
    /// which only HTTP/1.1 can do.
    pub(super) fn reuse(
        &self,
        owner: Owner,
        upgrades: bool,
        now: Instant,
    ) -> Option<Channel<C::Io>> {
        if self.scheme.is_some()
            && !self.wants_http1(upgrades)
            && let Some(slot) = self.reserve(owner, now)
        {
            bump(&self.pool.stats.reused);
            return Some(Channel::Http2(slot));
        }
        self.pool.checkout(owner, now).map(Channel::Http1)
    }

    /// A new connection; over HTTP/2, perhaps one that another request is just opening.
    pub(super) async fn open(
        &self,
        owner: Owner,
        upgrades: bool,
    ) -> Result<Channel<C::Io>, UpstreamError> {
        let http1 = self.wants_http1(upgrades);
        if http1 || self.scheme.is_none() || self.spoken.get() == Some(Version::Http1) {
            return self.connect(owner, http1).await;
        }
        loop {
            if let Some(turn) = self.openings.turn(owner).await? {
                let opened = self.connect(owner, false).await;
                if let Err(error) = &opened {
                    turn.failed(error);
                }
                return opened;
            }
            if self.spoken.get() == Some(Version::Http1) {
                return self.connect(owner, false).await;
            }
            if let Some(slot) = self.reserve(owner, Instant::now()) {
                return Ok(Channel::Http2(slot));
            }
        }
    }

    async fn connect(&self, owner: Owner, http1: bool) -> Result<Channel<C::Io>, UpstreamError> {
        let limits = &self.pool.limits;
        let connecting = self.connect.connect(limits.connect_timeout, http1);
        let (io, version) = connecting.await?;
        bump(&self.pool.stats.opened);
        if !http1 {
            self.spoken.set(Some(version));
        }
        Ok(match version {
            Version::Http1 => Channel::Http1(self.pool.lease(Box::new(Connection::new(io)), owner)),
            Version::Http2 => Channel::Http2(self.shared.open(io, owner, limits).await?),
        })
    }

    /// Whether HTTP/1.1 must be agreed on. In the clear there is nothing to agree on.
    fn wants_http1(&self, upgrades: bool) -> bool {
        upgrades && self.scheme == Some(Scheme::HTTPS)
    }

    fn reserve(&self, owner: Owner, now: Instant) -> Option<Slot> {
        let most = self.pool.limits.http2_streams;
        self.shared.reserve(owner, most, now)
    }

    /// Sends the request on its way and waits for the response's head.
    pub(super) async fn exchange<H, B>(
        &self,
        channel: Channel<C::Io>,
        head: &H,
        body: B,
        now: Instant,
    ) -> Result<Response<Transfers<B, C::Io>>, Failed<B>>
    where
        H: RequestHead,
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BodyError>,
    {
        match channel {
            Channel::Http1(lease) => {
                let response = http1::exchange(lease, head, body, now).await?;
                Ok(response.map(Transfers::Http1))
            }
            Channel::Http2(slot) => {
                let scheme = self.scheme.clone().unwrap_or(Scheme::HTTP);
                let rules = (&self.pool.limits, &self.filters);
                let exchange = http2::exchange(slot, head, body, scheme, rules);
                let response = Box::pin(exchange).await?;
                Ok(response.map(|transfer| Transfers::Http2(Box::new(transfer))))
            }
        }
    }

    /// Closes what has been idle for too long or was ended by the origin.
    pub(super) fn sweep(&self, now: Instant) {
        self.pool.sweep(now);
        if self.scheme.is_some() {
            let closed = self.shared.sweep(&self.pool.limits, now);
            (0..closed).for_each(|_| bump(&self.pool.stats.discarded));
        }
    }

    /// Uses no connection again that is open now.
    pub(super) fn clear(&self) {
        self.pool.clear();
        self.shared.clear();
    }

    /// How many connections are idle.
    pub(super) fn idle(&self) -> usize {
        self.pool.idle() + self.shared.idle()
    }
}
