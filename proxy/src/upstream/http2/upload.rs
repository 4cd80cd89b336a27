//! The request body on its way over HTTP/2: one piece at a time, never more than the origin's
//! windows take. A body that ends early, runs over or fails never becomes a complete request: its
//! stream is reset.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http_body::Body;

use crate::headers::Framing;
use crate::upstream::error::{BodyError, UpstreamError};
use crate::upstream::piece::length_of;
use crate::upstream::pool::TrailerFilter;

/// A request body and how far it has been sent.
pub(super) struct Upload<B> {
    body: B,
    /// `None` once nothing more will be sent. Dropped before the end, it resets the stream.
    stream: Option<SendStream<Bytes>>,
    /// What a declared length still owes.
    owed: Option<u64>,
    piece: Bytes,
    /// Whether `piece` is the last.
    is_last: bool,
    trailers: TrailerFilter,
    taken: bool,
    sent: u64,
}

impl<B> Upload<B> {
    /// Bytes of the body that were handed to the connection.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Gives up.
    pub(super) fn stop(&mut self) {
        self.stream = None;
        self.piece = Bytes::new();
    }

    /// Whether there is nothing left to do here.
    pub(super) fn is_over(&self) -> bool {
        self.stream.is_none()
    }

    /// Whether all that the client gave has been sent, and it has more to give.
    pub(super) fn waits_for_client(&self) -> bool {
        self.stream.is_some() && self.piece.is_empty()
    }

    /// The body, if a second attempt would send the same request.
    pub(super) fn into_untouched(self) -> Option<B> {
        (!self.taken).then_some(self.body)
    }
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    /// `stream` is `None` where the head ended the request.
    pub(super) fn new(
        body: B,
        framing: Framing,
        stream: Option<SendStream<Bytes>>,
        trailers: TrailerFilter,
    ) -> Self {
        let owed = match framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        Self {
            body,
            stream,
            owed,
            piece: Bytes::new(),
            is_last: false,
            trailers,
            taken: false,
            sent: 0,
        }
    }

    /// Sends as much as the body has and the origin takes. Ready when the request is sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        while let Some(stream) = &mut self.stream {
            if self.piece.is_empty() {
                // The origin may have enough before the client does.
                if let Poll::Ready(reset) = stream.poll_reset(cx) {
                    let reset = reset.map(h2::Error::from).unwrap_or_else(|error| error);
                    return Poll::Ready(Err(UpstreamError::Http2(reset)));
                }
                ready!(self.poll_pull(cx))?;
            } else {
                ready!(self.poll_push(cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(()));
        };
        stream.reserve_capacity(self.piece.len());
        let room = match stream.capacity() {
            0 => match ready!(stream.poll_capacity(cx)) {
                Some(room) => room.map_err(UpstreamError::Http2)?,
                // The origin's reset came first; the response tells why.
                None => {
                    self.stop();
                    return Poll::Ready(Ok(()));
                }
            },
            room => room,
        };
        let part = self.piece.split_to(room.min(self.piece.len()));
        let moved = length_of(&part);
        let ends = self.is_last && self.piece.is_empty();
        stream.send_data(part, ends).map_err(UpstreamError::Http2)?;
        self.sent += moved;
        if ends {
            self.stream = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece of the body, or ends the request.
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(frame) => frame.map_err(|error| UpstreamError::ClientBody(error.into()))?,
            None => return Poll::Ready(self.end(None)),
        };
        self.taken = true;
        match frame.into_data() {
            Ok(piece) => {
                if let Some(owed) = &mut self.owed {
                    *owed = owed
                        .checked_sub(length_of(&piece))
                        .ok_or(UpstreamError::ClientBodyLong)?;
                }
                self.is_last = self.body.is_end_stream();
                if self.is_last {
                    self.check_owed()?;
                    if piece.is_empty() {
                        return Poll::Ready(self.end(None));
                    }
                }
                self.piece = piece;
                Poll::Ready(Ok(()))
            }
            Err(frame) => Poll::Ready(self.end(frame.into_trailers().ok())),
        }
    }

    fn end(&mut self, trailers: Option<http::HeaderMap>) -> Result<(), UpstreamError> {
        self.check_owed()?;
        let Some(mut stream) = self.stream.take() else {
            return Ok(());
        };
        let trailers = trailers.and_then(|mut trailers| {
            (self.trailers)(&mut trailers);
            (!trailers.is_empty()).then_some(trailers)
        });
        match trailers {
            Some(trailers) => stream.send_trailers(trailers),
            None => stream.send_data(Bytes::new(), true),
        }
        .map_err(UpstreamError::Http2)
    }

    fn check_owed(&self) -> Result<(), UpstreamError> {
        match self.owed {
            Some(missing) if missing > 0 => Err(UpstreamError::ClientBodyShort { missing }),
            _ => Ok(()),
        }
    }
}

impl<B> std::fmt::Debug for Upload<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}
