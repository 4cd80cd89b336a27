//! The body of an origin's answer, over whichever protocol it came. It moves both bodies of the
//! exchange whenever it is polled, and counts as in flight until it is dropped.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::{BodyError, UpstreamError};
use super::health::InFlight;
use super::http2::Http2Transfer;
use super::io::OriginIo;
use super::transfer::Transfer;

/// The rest of an exchange with an endpoint.
#[derive(Debug)]
pub struct OriginBody<B, S = OriginIo> {
    transfer: Transfers<B, S>,
    endpoint: usize,
    in_flight: InFlight,
}

/// The transfer of either protocol. In a box: an answer changes hands some ten times on its way to
/// the client, and half a kilobyte copied as often costs more than one allocation.
#[derive(Debug)]
pub(super) enum Transfers<B, S> {
    Http1(Box<Transfer<B, S>>),
    Http2(Box<Http2Transfer<B>>),
}

/// Calls the same method of whichever transfer it is.
macro_rules! dispatch {
    ($self:ident, $transfer:ident => $call:expr) => {
        match $self {
            Transfers::Http1($transfer) => $call,
            Transfers::Http2($transfer) => $call,
        }
    };
}

impl<B, S> OriginBody<B, S> {
    pub(super) fn new(transfer: Transfers<B, S>, endpoint: usize, in_flight: InFlight) -> Self {
        Self {
            transfer,
            endpoint,
            in_flight,
        }
    }

    /// The exchange, and what counts it as in flight.
    pub(super) fn into_parts(self) -> (Transfers<B, S>, InFlight) {
        (self.transfer, self.in_flight)
    }

    /// The number of the endpoint that answered, in the order of the configuration.
    pub fn endpoint(&self) -> usize {
        self.endpoint
    }

    /// The socket to the origin while an HTTP/1.1 exchange lasts, and what was already read from
    /// it.
    pub fn origin(&self) -> Option<(&S, &[u8])> {
        match &self.transfer {
            Transfers::Http1(transfer) => transfer.origin(),
            Transfers::Http2(_) => None,
        }
    }

    /// The socket and the number of bytes still to come, while the body of an HTTP/1.1 answer can
    /// be taken from the socket itself: see [`Self::took`].
    pub fn bare(&self) -> Option<(&S, u64)> {
        match &self.transfer {
            Transfers::Http1(transfer) => transfer.bare(),
            Transfers::Http2(_) => None,
        }
    }

    /// Bytes of the request body that were handed on so far.
    pub fn sent(&self) -> u64 {
        let transfer = &self.transfer;
        dispatch!(transfer, transfer => transfer.sent())
    }

    /// Bytes of the response body so far.
    pub fn received(&self) -> u64 {
        let transfer = &self.transfer;
        dispatch!(transfer, transfer => transfer.received())
    }

    /// Breaks the exchange off.
    pub fn abort(&mut self) {
        let transfer = &mut self.transfer;
        dispatch!(transfer, transfer => transfer.abort());
    }

    /// Whether no frame will follow.
    pub fn is_end_stream(&self) -> bool {
        let transfer = &self.transfer;
        dispatch!(transfer, transfer => transfer.is_end_stream())
    }

    /// The length of the rest of the response body, exact where the origin declared it.
    pub fn size_hint(&self) -> SizeHint {
        let transfer = &self.transfer;
        dispatch!(transfer, transfer => transfer.size_hint())
    }
}

impl<B, S> OriginBody<B, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    /// Moves the request body on, then gives the response body's next frame. After an error there
    /// is no other frame.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let transfer = &mut self.transfer;
        dispatch!(transfer, transfer => transfer.poll_frame(cx))
    }

    /// Moves the request body on, for those who take the answer's from [`Self::bare`].
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), UpstreamError> {
        match &mut self.transfer {
            Transfers::Http1(transfer) => transfer.poll_upload(cx),
            Transfers::Http2(_) => Ok(()),
        }
    }

    /// Tells that `count` bytes of the answer's body were taken from the socket; 0 is its end.
    pub fn took(&mut self, count: u64) -> Result<(), UpstreamError> {
        match &mut self.transfer {
            Transfers::Http1(transfer) => transfer.took(count),
            Transfers::Http2(_) => Err(UpstreamError::Truncated),
        }
    }
}
