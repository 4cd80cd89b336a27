//! A tunnel: after the origin's 101, bytes are copied both ways until both sides have ended. Takes
//! both connections with what was read ahead on either; tells how much moved and how it ended.
//!
//! A side that has ended is told so to the other, which may go on. Memory is at most one piece a
//! direction, held only while the other side does not take it. A tunnel in which nothing moves, or
//! whose caller may no longer pass, is cut.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until};

use super::Totals;
use crate::net::HalfClose;

/// Why a tunnel ended before both sides did.
#[derive(Debug, Error)]
pub enum TunnelError {
    /// The client's connection broke, or ended without a TLS close.
    #[error("the client's side of the tunnel broke")]
    Client(#[source] io::Error),
    /// The origin's connection broke.
    #[error("the origin's side of the tunnel broke")]
    Origin(#[source] io::Error),
    /// Nothing moved for too long.
    #[error("nothing moved in the tunnel for too long")]
    Idle,
    /// The caller may no longer pass.
    #[error("the tunnel's caller may no longer pass")]
    Withdrawn,
}

/// Two connections and what was read ahead on each.
#[derive(Debug)]
pub struct Tunnel<C, O> {
    client: C,
    origin: O,
    /// From the client to the origin.
    up: Direction,
    /// From the origin to the client.
    down: Direction,
}

/// One way through a tunnel.
#[derive(Debug)]
struct Direction {
    /// What was read and not yet taken by the other side.
    pending: BytesMut,
    stage: Stage,
    moved: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Open,
    /// The reading side has ended; the other one is to be told.
    Ending,
    Ended,
}

/// Which side of a direction failed.
enum Broken {
    Reading(io::Error),
    Writing(io::Error),
}

impl<C, O> Tunnel<C, O>
where
    C: AsyncRead + AsyncWrite + HalfClose + Unpin,
    O: AsyncRead + AsyncWrite + Unpin,
{
    /// A tunnel between `client` and `origin`, each with what it sent already.
    pub fn new(client: (C, BytesMut), origin: (O, BytesMut)) -> Self {
        Self {
            client: client.0,
            origin: origin.0,
            up: Direction::new(client.1),
            down: Direction::new(origin.1),
        }
    }

    /// Copies until both sides have ended, nothing moves for as long as `idle`, `may_go_on` says no,
    /// or `withdrawn` is over. `may_go_on` is asked at once, and whenever the time it gave has passed.
    pub async fn run(
        mut self,
        idle: Duration,
        may_go_on: impl FnMut() -> Option<Duration>,
        withdrawn: impl Future<Output = ()>,
    ) -> (Totals, Result<(), TunnelError>) {
        let result = tokio::select! {
            biased;
            () = withdrawn => Err(TunnelError::Withdrawn),
            result = self.copy(idle, may_go_on) => result,
        };
        if result.is_ok() {
            // Both have been told already. An error here means that the client is gone.
            drop(self.client.shutdown().await);
        }
        (self.totals(), result)
    }

    async fn copy(
        &mut self,
        idle: Duration,
        mut may_go_on: impl FnMut() -> Option<Duration>,
    ) -> Result<(), TunnelError> {
        let mut now = Instant::now();
        let mut moved = (now, self.totals());
        let mut ask_again = now;
        let mut timer = pin!(sleep_until(now));
        loop {
            if now >= ask_again {
                let wait = may_go_on().ok_or(TunnelError::Withdrawn)?;
                ask_again = now + wait.clamp(ASK_MIN, ASK_MAX);
            }
            if now >= moved.0 + idle {
                return Err(TunnelError::Idle);
            }
            timer.as_mut().reset(ask_again.min(moved.0 + idle));
            tokio::select! {
                biased;
                result = poll_fn(|cx| self.poll_step(cx, moved.1)) => {
                    if let Some(ended) = result.transpose() {
                        return ended;
                    }
                    now = Instant::now();
                    moved = (now, self.totals());
                }
                () = timer.as_mut() => now = Instant::now(),
            }
        }
    }

    /// Ready with `Some` when both sides have ended, with `None` when bytes have moved since
    /// `before`.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        before: Totals,
    ) -> Poll<Result<Option<()>, TunnelError>> {
        let origin_end = |origin: &mut O, cx: &mut Context<'_>| Pin::new(origin).poll_shutdown(cx);
        let client_end =
            |client: &mut C, cx: &mut Context<'_>| Pin::new(client).poll_half_close(cx);
        let up = self
            .up
            .poll(&mut self.client, &mut self.origin, origin_end, cx)
            .map_err(|broken| match broken {
                Broken::Reading(error) => TunnelError::Client(error),
                Broken::Writing(error) => TunnelError::Origin(error),
            })?;
        let down = self
            .down
            .poll(&mut self.origin, &mut self.client, client_end, cx)
            .map_err(|broken| match broken {
                Broken::Reading(error) => TunnelError::Origin(error),
                Broken::Writing(error) => TunnelError::Client(error),
            })?;
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(Some(())));
        }
        if self.totals() != before {
            return Poll::Ready(Ok(None));
        }
        Poll::Pending
    }

    fn totals(&self) -> Totals {
        Totals {
            sent: self.up.moved,
            received: self.down.moved,
        }
    }
}

impl Direction {
    fn new(pending: BytesMut) -> Self {
        Self {
            pending,
            stage: Stage::Open,
            moved: 0,
        }
    }

    /// Moves what can be moved; ready when this way is over.
    fn poll<R, W>(
        &mut self,
        from: &mut R,
        to: &mut W,
        end: impl Fn(&mut W, &mut Context<'_>) -> Poll<io::Result<()>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_write(to, cx)).map_err(Broken::Writing)?;
            match self.stage {
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Ending => {
                    match ready!(end(to, cx)) {
                        // The other side is gone altogether: its own direction says so.
                        Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                            return Poll::Ready(Err(Broken::Writing(error)));
                        }
                        _ => self.stage = Stage::Ended,
                    }
                }
                Stage::Open => {
                    if self
                        .poll_read(from, cx)
                        .map_err(Broken::Reading)?
                        .is_pending()
                    {
                        // TLS holds records back until it is asked to send them.
                        if let Poll::Ready(Err(error)) = Pin::new(to).poll_flush(cx) {
                            return Poll::Ready(Err(Broken::Writing(error)));
                        }
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn poll_write<W>(&mut self, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while !self.pending.is_empty() {
            let count = ready!(Pin::new(&mut *to).poll_write(cx, &self.pending))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.advance(count);
            self.moved += u64::try_from(count).unwrap_or(u64::MAX);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads a piece. It comes to rest on the stack first, so that a silent tunnel holds no buffer.
    fn poll_read<R>(&mut self, from: &mut R, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
    {
        let mut room = [MaybeUninit::uninit(); PIECE];
        let mut read = ReadBuf::uninit(&mut room);
        if Pin::new(from).poll_read(cx, &mut read)?.is_pending() {
            self.pending = BytesMut::new();
            return Poll::Pending;
        }
        match read.filled() {
            [] => self.stage = Stage::Ending,
            piece => self.pending.extend_from_slice(piece),
        }
        Poll::Ready(Ok(()))
    }
}

/// Bytes that are moved at a time: a TLS record.
const PIECE: usize = 16 * 1024;
/// How long until `may_go_on` is asked again, at least and at most.
const ASK_MIN: Duration = Duration::from_millis(100);
const ASK_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
