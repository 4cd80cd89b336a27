//! The idle HTTP/1.1 connections of one worker to one endpoint, the newest first, and the lease
//! under which a request holds one. Nothing here is shared between threads, and no task watches an
//! idle connection: it is looked at when it is taken, and when the worker's tick sweeps. Where
//! callers are kept apart, a connection serves only the caller it was made for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::HeaderMap;
use tokio::io::AsyncRead;
use tokio::time::Instant;

use super::balance::Fingerprint;
use super::connection::{Buffers, Connection};
use super::limits::Limits;

/// Whose a connection is; `None` for anybody's.
pub(super) type Owner = Option<Fingerprint>;

/// What cleans a trailer section before it is passed on.
pub type TrailerFilter = Rc<dyn Fn(&mut HeaderMap)>;

/// What cleans trailers, each way.
#[derive(Clone)]
pub struct TrailerFilters {
    /// Those of requests.
    pub request: TrailerFilter,
    /// Those of responses.
    pub response: TrailerFilter,
}

/// What every connection to one endpoint has in common.
pub(super) struct Pool<S> {
    pub(super) limits: Limits,
    pub(super) request_trailers: TrailerFilter,
    pub(super) response_trailers: TrailerFilter,
    pub(super) stats: Counters,
    buffers: Buffers,
    /// Oldest first.
    idle: RefCell<VecDeque<Idle<S>>>,
    /// The time of the last checkout or sweep. A connection that comes back is dated with it: too
    /// early rather than too late, and without asking the clock.
    clock: Cell<Instant>,
}

struct Idle<S> {
    /// Boxed: it changes hands some ten times a request.
    connection: Box<Connection<S>>,
    owner: Owner,
    since: Instant,
}

/// What a worker's connections to its origins did since it started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Connections made.
    pub opened: u64,
    /// Requests that found an idle connection.
    pub reused: u64,
    /// Requests that were sent again on a new connection.
    pub retried: u64,
    /// Idle connections that were closed: expired, ended by the origin, or too many.
    pub discarded: u64,
}

impl Stats {
    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            opened: self.opened.wrapping_add(other.opened),
            reused: self.reused.wrapping_add(other.reused),
            retried: self.retried.wrapping_add(other.retried),
            discarded: self.discarded.wrapping_add(other.discarded),
        }
    }
}

/// [`Stats`] as they are counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) opened: Cell<u64>,
    pub(super) reused: Cell<u64>,
    pub(super) retried: Cell<u64>,
    pub(super) discarded: Cell<u64>,
}

impl<S> Pool<S> {
    pub(super) fn new(limits: Limits, filters: &TrailerFilters) -> Self {
        Self {
            limits,
            request_trailers: Rc::clone(&filters.request),
            response_trailers: Rc::clone(&filters.response),
            stats: Counters::default(),
            buffers: Buffers::default(),
            idle: RefCell::default(),
            clock: Cell::new(Instant::now()),
        }
    }

    /// How many connections are idle.
    pub(super) fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Closes all idle connections.
    pub(super) fn clear(&self) {
        let closed = self.idle.take().len();
        let discarded = &self.stats.discarded;
        discarded.set(discarded.get().wrapping_add(closed as u64));
    }

    fn put(&self, connection: Box<Connection<S>>, owner: Owner) {
        if self.limits.max_idle == 0 {
            bump(&self.stats.discarded);
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.limits.max_idle {
            idle.pop_front();
            bump(&self.stats.discarded);
        }
        idle.push_back(Idle {
            connection,
            owner,
            since: self.clock.get(),
        });
    }

    fn has_expired(&self, idle: &Idle<S>, now: Instant) -> bool {
        now.saturating_duration_since(idle.since) >= self.limits.idle_timeout
    }
}

impl<S: AsyncRead + Unpin> Pool<S> {
    /// The newest idle connection of this owner that is still good.
    pub(super) fn checkout(self: &Rc<Self>, owner: Owner, now: Instant) -> Option<Lease<S>> {
        self.clock.set(now);
        loop {
            let mut newest = self.take_newest(owner)?;
            if !self.has_expired(&newest, now) && newest.connection.is_quiet() {
                bump(&self.stats.reused);
                return Some(self.lease(newest.connection, owner));
            }
            bump(&self.stats.discarded);
        }
    }

    /// Without owners it is the last one; with them `Limits::max_idle` bounds the search.
    fn take_newest(&self, owner: Owner) -> Option<Idle<S>> {
        let mut idle = self.idle.borrow_mut();
        let newest = idle.iter().rposition(|idle| idle.owner == owner)?;
        idle.remove(newest)
    }

    /// Closes what has been idle for too long or was ended by the origin.
    pub(super) fn sweep(&self, now: Instant) {
        self.clock.set(now);
        self.buffers.clear();
        self.idle.borrow_mut().retain_mut(|idle| {
            let keep = !self.has_expired(idle, now) && idle.connection.is_quiet();
            if keep {
                idle.connection.forget_size();
            } else {
                bump(&self.stats.discarded);
            }
            keep
        });
    }

    pub(super) fn lease(self: &Rc<Self>, connection: Box<Connection<S>>, owner: Owner) -> Lease<S> {
        Lease {
            connection,
            owner,
            pool: Rc::clone(self),
        }
    }
}

impl Counters {
    pub(super) fn snapshot(&self) -> Stats {
        Stats {
            opened: self.opened.get(),
            reused: self.reused.get(),
            retried: self.retried.get(),
            discarded: self.discarded.get(),
        }
    }
}

impl<S> fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("limits", &self.limits)
            .field("stats", &self.stats)
            .field("idle", &self.idle())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TrailerFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrailerFilters").finish_non_exhaustive()
    }
}

/// A connection while one request has it. Dropped, it closes the connection: only
/// [`Self::complete`] gives it back, so no error path can reuse one by omission.
#[derive(Debug)]
pub(super) struct Lease<S> {
    pub(super) connection: Box<Connection<S>>,
    pub(super) pool: Rc<Pool<S>>,
    owner: Owner,
}

impl<S> Lease<S> {
    /// Where the head of the request is written.
    pub(super) fn room_for_head(&mut self) -> &mut BytesMut {
        self.connection.room_for_head(&self.pool.buffers)
    }

    /// Ends the request: it was sent completely, its response came completely, and both sides may
    /// go on. Bytes behind the response close the connection all the same.
    pub(super) fn complete(self) {
        let Self {
            mut connection,
            pool,
            owner,
        } = self;
        if connection.read.is_empty() {
            connection.shrink(&pool.buffers);
            pool.put(connection, owner);
        }
    }
}

impl<S: AsyncRead + Unpin> Lease<S> {
    /// [`Connection::poll_fill`].
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.connection.poll_fill(&self.pool.buffers, cx)
    }
}

pub(super) fn bump(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}
