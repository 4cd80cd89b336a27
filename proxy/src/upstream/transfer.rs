//! The two bodies of an HTTP/1.1 exchange after the response head: whoever polls for the response's next
//! piece also sends the request's. The connection goes back to the pool the moment both are
//! complete, and is closed in every other case.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::Decoder;
use super::error::{BodyError, UpstreamError};
use super::io::OriginIo;
use super::piece::length_of;
use super::pool::Lease;
use super::upload::Upload;

/// The rest of an exchange. Polled for frames, it moves both bodies.
#[derive(Debug)]
pub struct Transfer<B, S = OriginIo> {
    /// `None` once the exchange is over, well or badly.
    lease: Option<Lease<S>>,
    upload: Upload<B>,
    decoder: Decoder,
    trailers: Option<http::HeaderMap>,
    keep_alive: bool,
    received: u64,
}

impl<B, S> Transfer<B, S> {
    /// The socket to the origin while the exchange lasts, and what was already read from it.
    pub fn origin(&self) -> Option<(&S, &[u8])> {
        let lease = self.lease.as_ref()?;
        Some((lease.connection.io(), &lease.connection.read))
    }

    /// The socket and the number of bytes still to come, while the response's body can be taken
    /// from the socket itself: its length was declared and nothing of it was read ahead.
    pub fn bare(&self) -> Option<(&S, u64)> {
        let lease = self.lease.as_ref()?;
        let left = self.decoder.left().filter(|left| *left > 0)?;
        lease
            .connection
            .read
            .is_empty()
            .then_some((lease.connection.io(), left))
    }

    /// Bytes of the request body that were handed to the socket so far.
    pub fn sent(&self) -> u64 {
        self.upload.sent()
    }

    /// Bytes of the response body so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The connection and what was read from it, after a 101 to a request that was sent to its
    /// end.
    pub(super) fn into_switched(self) -> Option<(S, BytesMut)> {
        let lease = self.lease.filter(|_| self.upload.is_sent())?;
        Some(lease.connection.into_parts())
    }

    /// Breaks the exchange off and closes the connection to the origin.
    pub fn abort(&mut self) {
        self.lease = None;
        self.trailers = None;
        self.keep_alive = false;
    }

    /// Whether no frame will follow.
    pub fn is_end_stream(&self) -> bool {
        self.lease.is_none() && self.trailers.is_none()
    }

    /// The length of the rest of the response body, exact where the origin declared it.
    pub fn size_hint(&self) -> SizeHint {
        match self.decoder.left() {
            Some(left) => SizeHint::with_exact(left),
            // With trailers to come the body is not "nothing": hyper would frame it as empty and
            // drop them.
            None if self.is_end_stream() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}

impl<B, S> Transfer<B, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    pub(super) fn new(
        lease: Lease<S>,
        upload: Upload<B>,
        decoder: Decoder,
        keep_alive: bool,
    ) -> Self {
        let mut transfer = Self {
            lease: Some(lease),
            upload,
            decoder,
            trailers: None,
            keep_alive,
            received: 0,
        };
        if transfer.decoder.is_ended() {
            transfer.finish();
        }
        transfer
    }

    /// Moves the request body on, for those who take the response's from [`Self::bare`].
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), UpstreamError> {
        self.drive_upload(cx).inspect_err(|_| self.abort())
    }

    /// Tells that `count` bytes of the response's body were taken from the socket; 0 is its end.
    pub fn took(&mut self, count: u64) -> Result<(), UpstreamError> {
        if count == 0 || self.decoder.skip(count).is_none() {
            self.abort();
            return Err(UpstreamError::Truncated);
        }
        self.received += count;
        if self.decoder.is_ended() {
            if let Some(lease) = &mut self.lease {
                lease.connection.bypassed();
            }
            self.finish();
        }
        Ok(())
    }

    /// Moves the request body on, then gives the response body's next frame. After an error there
    /// is no other frame.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let polled = self.poll_piece(cx);
        if let Poll::Ready(Some(Err(_))) = polled {
            self.abort();
        }
        polled
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.drive_upload(cx)?;
        loop {
            let Some(lease) = &mut self.lease else {
                let trailers = self.trailers.take();
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            };
            let piece = match self.decoder.take(&mut lease.connection.read) {
                Ok(piece) => piece,
                Err(bad) => return Poll::Ready(Some(Err(bad.into()))),
            };
            if self.decoder.is_ended() {
                self.finish();
            }
            if let Some(piece) = piece {
                self.received += length_of(&piece);
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Some(lease) = &mut self.lease else {
                continue;
            };
            match lease.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Some(Err(UpstreamError::Read(error))));
                }
                Poll::Ready(Ok(0)) if self.decoder.ends_with_connection() => self.lease = None,
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Err(UpstreamError::Truncated))),
                Poll::Ready(Ok(_)) => {}
            }
        }
    }

    /// An origin that no longer takes the request may still finish its response; a client that
    /// broke off ends both.
    fn drive_upload(&mut self, cx: &mut Context<'_>) -> Result<(), UpstreamError> {
        let Some(lease) = &mut self.lease else {
            return Ok(());
        };
        if self.upload.is_over() {
            return Ok(());
        }
        match self.upload.poll(lease, cx) {
            Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(UpstreamError::Write(_))) => {
                self.upload.stop();
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    /// The response is complete. If the request is not, it never will be.
    fn finish(&mut self) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        self.trailers = self.decoder.take_trailers().and_then(|mut trailers| {
            (lease.pool.response_trailers)(&mut trailers);
            (!trailers.is_empty()).then_some(trailers)
        });
        if self.keep_alive && self.upload.is_sent() {
            lease.complete();
        }
        self.upload.stop();
    }
}
