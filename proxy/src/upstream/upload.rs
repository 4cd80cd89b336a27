//! The request on its way to the origin: the head with the first piece of its body, then one piece
//! at a time, never more than one ahead of the socket. A body that ends early, runs over or fails
//! never becomes a complete request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;

use super::error::{BodyError, UpstreamError};
use super::piece::length_of;
use super::pool::Lease;
use crate::headers::Framing;

/// A request body and how far it has been sent.
#[derive(Debug)]
pub(super) struct Upload<B> {
    body: B,
    framing: Framing,
    /// What `Framing::Length` still owes.
    owed: u64,
    /// The piece being sent, and what follows it in the chunked coding.
    piece: Bytes,
    tail: &'static [u8],
    stage: Stage,
    /// Whether the body has given anything that would be missing from a second attempt.
    taken: bool,
    /// Bytes of the body that were handed to the socket.
    sent: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// The head is written to the connection's buffer, no more.
    Head,
    /// More of the body may come.
    Open,
    /// The last bytes of the request are queued.
    Closing,
    /// The origin has the complete request, as far as the kernel can say.
    Sent,
    /// The rest will not be sent.
    Stopped,
}

impl<B> Upload<B> {
    /// Bytes of the body that were handed to the socket.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether the origin has the complete request.
    pub(super) fn is_sent(&self) -> bool {
        self.stage == Stage::Sent
    }

    /// Gives up: the connection cannot be used again.
    pub(super) fn stop(&mut self) {
        self.stage = Stage::Stopped;
    }
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    pub(super) fn new(body: B, framing: Framing) -> Self {
        let owed = match framing {
            Framing::Length(length) => length,
            Framing::None | Framing::Chunked => 0,
        };
        Self {
            body,
            framing,
            owed,
            piece: Bytes::new(),
            tail: b"",
            stage: Stage::Head,
            taken: false,
            sent: 0,
        }
    }

    /// The body, if a second attempt would send the same request.
    pub(super) fn into_untouched(self) -> Option<B> {
        (!self.taken).then_some(self.body)
    }

    /// Whether there is nothing left to do here.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Sent | Stage::Stopped)
    }

    /// Whether all that the client gave has been sent, and it has more to give.
    pub(super) fn waits_for_client(&self) -> bool {
        let has_more = matches!(self.stage, Stage::Head | Stage::Open);
        has_more && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Sends as much as the body has and the socket takes. Ready when the request is sent.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        lease: &mut Lease<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamError>> {
        if self.stage == Stage::Head {
            if self.framing == Framing::Length(0) {
                ready!(self.poll_nothing(cx))?;
            }
            self.open()?;
            // A piece that is here already leaves with the head, in one write.
            if self.stage == Stage::Open
                && let Poll::Ready(pulled) = self.poll_pull(lease, cx)
            {
                pulled?;
            }
        }
        loop {
            ready!(self.poll_flush(lease, cx))?;
            match self.stage {
                Stage::Head | Stage::Open => ready!(self.poll_pull(lease, cx))?,
                Stage::Closing => self.stage = Stage::Sent,
                Stage::Sent | Stage::Stopped => return Poll::Ready(Ok(())),
            }
        }
    }

    /// HTTP/2 lets a client declare no byte and send some; the origin is not asked before the end
    /// of the body is seen (RFC 9113 §8.1.1: such a request is malformed).
    fn poll_nothing(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        while !self.body.is_end_stream() {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                break;
            };
            let frame = frame.map_err(|error| UpstreamError::ClientBody(error.into()))?;
            self.taken = true;
            if frame.data_ref().is_some_and(|piece| !piece.is_empty()) {
                return Poll::Ready(Err(UpstreamError::ClientBodyLong));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn open(&mut self) -> Result<(), UpstreamError> {
        let has_body = match self.framing {
            Framing::None | Framing::Length(0) => false,
            Framing::Length(_) | Framing::Chunked => true,
        };
        if !has_body && self.body.size_hint().lower() > 0 {
            return Err(UpstreamError::ClientBodyLong);
        }
        self.stage = if has_body {
            Stage::Open
        } else {
            Stage::Closing
        };
        Ok(())
    }

    fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        lease: &mut Lease<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamError>> {
        let before = self.piece.len();
        let flushed = lease
            .connection
            .poll_flush(cx, &mut self.piece, &mut self.tail);
        let moved = before.saturating_sub(self.piece.len());
        self.sent += u64::try_from(moved).unwrap_or(u64::MAX);
        flushed.map_err(UpstreamError::Write)
    }

    /// Queues the next piece of the body, or its end.
    fn poll_pull<S>(
        &mut self,
        lease: &mut Lease<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamError>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                return Poll::Ready(self.end(lease, None));
            };
            let frame = frame.map_err(|error| UpstreamError::ClientBody(error.into()))?;
            self.taken = true;
            match frame.into_data() {
                // An empty chunk would end the body.
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(self.queue(piece, &mut lease.connection.out, cx)),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return Poll::Ready(self.end(lease, Some(trailers)));
                    }
                }
            }
        }
    }

    fn queue(
        &mut self,
        piece: Bytes,
        out: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Result<(), UpstreamError> {
        match self.framing {
            Framing::None => return Err(UpstreamError::ClientBodyLong),
            Framing::Length(_) => {
                self.owed = self
                    .owed
                    .checked_sub(length_of(&piece))
                    .ok_or(UpstreamError::ClientBodyLong)?;
                if self.owed == 0 {
                    self.refuse_more(cx)?;
                    self.stage = Stage::Closing;
                }
            }
            Framing::Chunked => {
                write_chunk_size(out, piece.len());
                if self.body.is_end_stream() {
                    self.stage = Stage::Closing;
                    self.tail = b"\r\n0\r\n\r\n";
                } else {
                    self.tail = b"\r\n";
                }
            }
        }
        self.piece = piece;
        Ok(())
    }

    /// Asks a body that has given all it declared whether it has more, before its last piece goes.
    fn refuse_more(&mut self, cx: &mut Context<'_>) -> Result<(), UpstreamError> {
        while !self.body.is_end_stream() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                // What comes later is not sent.
                Poll::Pending | Poll::Ready(None) => break,
                Poll::Ready(Some(Err(error))) => {
                    return Err(UpstreamError::ClientBody(error.into()));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) if piece.is_empty() => {}
                    Ok(_) => return Err(UpstreamError::ClientBodyLong),
                    // Trailers, which a body with a length cannot have on HTTP/1.1.
                    Err(_) => break,
                },
            }
        }
        Ok(())
    }

    fn end<S>(
        &mut self,
        lease: &mut Lease<S>,
        trailers: Option<HeaderMap>,
    ) -> Result<(), UpstreamError> {
        if self.owed > 0 {
            return Err(UpstreamError::ClientBodyShort { missing: self.owed });
        }
        self.stage = Stage::Closing;
        if self.framing == Framing::Chunked {
            let out = &mut lease.connection.out;
            out.put_slice(b"0\r\n");
            if let Some(mut trailers) = trailers {
                (lease.pool.request_trailers)(&mut trailers);
                write_trailers(out, &trailers);
            }
            out.put_slice(b"\r\n");
        }
        Ok(())
    }
}

fn write_trailers(out: &mut BytesMut, trailers: &HeaderMap) {
    for (name, value) in trailers {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
}

/// `chunk-size CRLF` (RFC 9112 §7.1), without leading zeros.
fn write_chunk_size(out: &mut BytesMut, size: usize) {
    let nibbles = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for nibble in (0..nibbles).rev() {
        let digit = size >> (nibble * 4) & 0xf;
        out.put_u8(HEX.get(digit).copied().unwrap_or(b'0'));
    }
    out.put_slice(b"\r\n");
}

const HEX: &[u8; 16] = b"0123456789abcdef";
