//! The response body that hyper polls towards the client. It moves both bodies of the exchange,
//! counts them, tells an observer exactly once how it ended, and has the place where an idle
//! deadline is asked. Takes an `OriginBody`; an error frame resets or closes the client's connection,
//! so a response that was cut short is never a complete one for the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::PlainSocket;
use crate::tls::kernel::{Filled, Lane};
use crate::upstream::{BodyError, OriginBody, OriginIo, UpstreamError};

pub mod idle;
#[cfg(test)]
mod tests;
pub mod tunnel;

pub use idle::IdleLimit;
pub use tunnel::{Tunnel, TunnelError};

/// A response body from an origin.
#[derive(Debug)]
pub struct RelayBody<B, W: Watch = (), S = OriginIo> {
    transfer: OriginBody<B, S>,
    watch: W,
    totals: Totals,
    ended: bool,
    lane: Option<Rc<Lane>>,
}

/// What the origin's connection is to those who move bytes in the kernel.
pub trait Source {
    /// The socket, if what it carries is what the origin sent.
    fn plain(&self) -> Option<PlainSocket<'_>>;
}

impl Source for OriginIo {
    fn plain(&self) -> Option<PlainSocket<'_>> {
        self.plain()
    }
}

/// Why a response body ended with an error.
#[derive(Debug, Error)]
pub enum RelayError {
    /// The exchange with the origin failed.
    #[error("the exchange with the origin failed")]
    Upstream(#[from] UpstreamError),
    /// [`Watch::poll_idle`] said that nothing has moved for too long.
    #[error("neither body has moved for too long")]
    Idle,
}

/// Bytes of the bodies, without their framing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// From the client to the origin.
    pub sent: u64,
    /// From the origin to the client.
    pub received: u64,
}

/// How a response body ended.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// With its last byte, and its trailers.
    Complete,
    /// With an error, which the client sees as a cut.
    Failed(&'a RelayError),
    /// The client's side dropped it before its end.
    Dropped,
}

/// Follows a [`RelayBody`]: the record of an exchange, and its idle deadline.
pub trait Watch {
    /// Called whenever bytes have moved.
    fn moved(&mut self, totals: Totals) {
        let _unwatched = totals;
    }

    /// Called whenever nothing can move now; ready if that has been so for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _unwatched = cx;
        Poll::Pending
    }

    /// Called exactly once.
    fn ended(&mut self, totals: Totals, end: End<'_>) {
        let _unwatched = (totals, end);
    }
}

impl Watch for () {}

impl Totals {
    fn of<B, S>(transfer: &OriginBody<B, S>) -> Self {
        Self {
            sent: transfer.sent(),
            received: transfer.received(),
        }
    }
}

impl<B, S> RelayBody<B, (), S> {
    /// A body that nobody watches.
    pub fn new(transfer: OriginBody<B, S>) -> Self {
        Self::watched(transfer, ())
    }
}

impl<B, W: Watch, S> RelayBody<B, W, S> {
    /// A body that `watch` follows.
    pub fn watched(transfer: OriginBody<B, S>, watch: W) -> Self {
        Self {
            totals: Totals::of(&transfer),
            transfer,
            watch,
            ended: false,
            lane: None,
        }
    }

    /// Lets a body that is worth it go past userspace, or only be sealed by the kernel.
    pub fn take_lane(&mut self, lane: &Rc<Lane>) {
        if lane.weigh(self.transfer.size_hint().exact()) {
            lane.note_large();
            self.lane = Some(Rc::clone(lane));
        }
    }

    /// The exchange, for those who move its bytes another way.
    pub fn transfer(&self) -> &OriginBody<B, S> {
        &self.transfer
    }

    fn end(&mut self, end: End<'_>) {
        if !self.ended {
            self.ended = true;
            self.watch.ended(self.totals, end);
        }
    }
}

impl<B, W: Watch, S> RelayBody<B, W, S>
where
    S: AsyncRead + AsyncWrite + Source + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    /// The next frame, moved in the kernel where that can be, else read.
    fn poll_transfer(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let Some(lane) = &self.lane else {
            return self.transfer.poll_frame(cx);
        };
        let bare = self.transfer.bare();
        let Some((origin, left)) = bare.and_then(|(io, left)| Some((io.plain()?, left))) else {
            return self.transfer.poll_frame(cx);
        };
        let filled = match lane.poll_open(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(false) => Poll::Ready(Ok(Filled::Refused)),
            Poll::Ready(true) => lane.poll_fill(cx, origin, left),
        };
        let slice = match filled {
            Poll::Pending => {
                self.transfer.poll_upload(cx)?;
                return Poll::Pending;
            }
            Poll::Ready(Ok(Filled::Refused)) => {
                self.lane = None;
                return self.transfer.poll_frame(cx);
            }
            Poll::Ready(Ok(Filled::Moved(slice))) => slice,
            Poll::Ready(Ok(Filled::End)) => &[],
            Poll::Ready(Err(error)) => {
                self.transfer.abort();
                return Poll::Ready(Some(Err(UpstreamError::Read(error))));
            }
        };
        self.transfer.poll_upload(cx)?;
        self.transfer.took(slice.len() as u64)?;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(slice)))))
    }
}

impl<B, W, S> Body for RelayBody<B, W, S>
where
    S: AsyncRead + AsyncWrite + Source + Unpin,
    W: Watch + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let polled = this.poll_transfer(cx);
        let totals = Totals::of(&this.transfer);
        if totals != this.totals {
            this.totals = totals;
            this.watch.moved(totals);
        }
        let failure = match polled {
            Poll::Ready(Some(Ok(frame))) => {
                // hyper does not ask again after the last byte of a declared length.
                if this.transfer.is_end_stream() {
                    this.end(End::Complete);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => {
                this.end(End::Complete);
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => error.into(),
            Poll::Pending => match this.watch.poll_idle(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => RelayError::Idle,
            },
        };
        this.end(End::Failed(&failure));
        this.transfer.abort();
        Poll::Ready(Some(Err(failure)))
    }

    fn is_end_stream(&self) -> bool {
        self.transfer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.transfer.size_hint()
    }
}

impl<B, W: Watch, S> Drop for RelayBody<B, W, S> {
    fn drop(&mut self) {
        let complete = self.transfer.is_end_stream();
        self.end(if complete {
            End::Complete
        } else {
            End::Dropped
        });
    }
}
