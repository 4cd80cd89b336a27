//! HTTP/2 connections of one worker to one endpoint. Many requests share one, each on a stream of
//! its own and never more than the endpoint and `Limits` allow; then another connection is opened.
//! Gives a [`Slot`], the right to open one stream. A connection that is going away, or on which a
//! response did not come in time, gets no more requests.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use super::error::UpstreamError;
use super::limits::Limits;
use super::pool::Owner;

mod exchange;
mod transfer;
mod upload;

pub(super) use exchange::exchange;
pub(super) use transfer::Http2Transfer;

/// The open connections to one endpoint, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: RefCell<Vec<Rc<Shared>>>,
}

/// A connection that requests share.
struct Shared {
    sender: SendRequest<Bytes>,
    owner: Owner,
    load: Rc<Load>,
    used: Cell<Instant>,
}

/// What a connection carries, and whether it may carry more.
#[derive(Debug, Default)]
struct Load {
    streams: Cell<usize>,
    retired: Cell<bool>,
}

/// The right to open one stream, counted until it is dropped.
pub(super) struct Slot {
    sender: SendRequest<Bytes>,
    load: Rc<Load>,
}

impl Connections {
    /// A stream on a connection of this owner that has room: the fullest first, so that those
    /// that are not needed become idle.
    pub(super) fn reserve(&self, owner: Owner, most: usize, now: Instant) -> Option<Slot> {
        let mut open = self.open.borrow_mut();
        open.retain(|connection| !connection.load.retired.get());
        let connection = open.iter().find(|connection| {
            connection.owner == owner && connection.load.streams.get() < connection.room(most)
        })?;
        connection.used.set(now);
        Some(connection.slot())
    }

    /// Speaks HTTP/2 on a new connection, which is kept, and reserves its first stream.
    pub(super) async fn open<S>(
        &self,
        io: S,
        owner: Owner,
        limits: &Limits,
    ) -> Result<Slot, UpstreamError>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let shaken = builder(limits).handshake::<_, Bytes>(io).await;
        let (sender, mut connection) = shaken.map_err(UpstreamError::Http2)?;
        timeout(limits.connect_timeout, settled(&mut connection))
            .await
            .or(Err(UpstreamError::ConnectTimeout))??;
        let load = Rc::<Load>::default();
        let driven = Rc::clone(&load);
        drop(tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP/2 connection to the origin broke");
            }
            driven.retired.set(true);
        }));
        let shared = Rc::new(Shared {
            sender,
            owner,
            load,
            used: Cell::new(Instant::now()),
        });
        let slot = shared.slot();
        self.open.borrow_mut().push(shared);
        Ok(slot)
    }

    /// Lets go of connections that have been idle for too long, and of the oldest idle ones beyond
    /// `Limits::max_idle`. How many those were.
    pub(super) fn sweep(&self, limits: &Limits, now: Instant) -> usize {
        let mut open = self.open.borrow_mut();
        let before = open.len();
        for connection in open.iter().filter(|it| it.load.streams.get() > 0) {
            connection.used.set(now);
        }
        open.retain(|connection| {
            let idle = now.saturating_duration_since(connection.used.get());
            !connection.load.retired.get() && idle < limits.idle_timeout
        });
        let idle = |connection: &Rc<Shared>| connection.load.streams.get() == 0;
        let mut surplus = open
            .iter()
            .filter(|connection| idle(connection))
            .count()
            .saturating_sub(limits.max_idle);
        open.retain(|connection| {
            let goes = surplus > 0 && idle(connection);
            surplus -= usize::from(goes);
            !goes
        });
        before - open.len()
    }

    /// Gives no more requests to any connection; those under way go on.
    pub(super) fn clear(&self) {
        self.open.take();
    }

    /// How many connections carry no request.
    pub(super) fn idle(&self) -> usize {
        let open = self.open.borrow();
        open.iter().filter(|it| it.load.streams.get() == 0).count()
    }
}

impl Shared {
    /// How many streams the endpoint and we allow.
    fn room(&self, most: usize) -> usize {
        self.sender.current_max_send_streams().min(most)
    }

    fn slot(&self) -> Slot {
        self.load.streams.set(self.load.streams.get() + 1);
        Slot {
            sender: self.sender.clone(),
            load: Rc::clone(&self.load),
        }
    }
}

impl Slot {
    /// Keeps further requests off the connection.
    fn retire(&self) {
        self.load.retired.set(true);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let streams = &self.load.streams;
        streams.set(streams.get().saturating_sub(1));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load.fmt(f)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load.fmt(f)
    }
}

/// Ready when the origin's SETTINGS have come: how many streams it allows is in them, and one that
/// does not speak HTTP/2 sends none.
async fn settled<S>(connection: &mut Connection<S, Bytes>) -> Result<(), UpstreamError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(UpstreamError::Http2(error))),
        Poll::Ready(Ok(())) => Poll::Ready(Err(UpstreamError::Closed)),
        Poll::Pending if connection.max_concurrent_send_streams() == UNSETTLED => Poll::Pending,
        Poll::Pending => Poll::Ready(Ok(())),
    })
    .await
}

/// Every limit of a connection. The connection's window holds all streams' windows, so that a
/// caller who does not read its response stops no other caller's.
fn builder(limits: &Limits) -> h2::client::Builder {
    let streams = u32::try_from(limits.http2_streams).unwrap_or(u32::MAX);
    let connection_window = limits
        .http2_stream_window
        .saturating_mul(streams)
        .clamp(limits.http2_stream_window, WINDOW_MAX);
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(UNSETTLED)
        .initial_window_size(limits.http2_stream_window)
        .initial_connection_window_size(connection_window)
        .max_header_list_size(u32::try_from(limits.max_response_head).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESET_STREAMS);
    builder
}

/// Stands for "not known yet": h2 takes any number, or `usize::MAX` for none, from SETTINGS.
const UNSETTLED: usize = usize::MAX - 1;
/// RFC 9113 §6.9.1.
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// Bytes a stream may hold towards a slow origin.
const SEND_BUFFER: usize = 256 * 1024;
/// Streams we reset whose late frames are still expected.
const RESET_STREAMS: usize = 100;
