//! The two bodies of an HTTP/2 exchange after the response head: whoever polls for the response's
//! next piece also sends the request's. Dropped before its end, it resets the stream, and the
//! connection goes on.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::Slot;
use super::upload::Upload;
use crate::upstream::error::{BodyError, UpstreamError};
use crate::upstream::piece::length_of;
use crate::upstream::pool::TrailerFilter;

/// The rest of an exchange over HTTP/2.
#[derive(Debug)]
pub(in crate::upstream) struct Http2Transfer<B> {
    upload: Upload<B>,
    /// `None` once the response is over, well or badly.
    download: Option<Download>,
    received: u64,
}

struct Download {
    stream: RecvStream,
    /// What a declared length still owes.
    left: Option<u64>,
    /// Whether only trailers can follow.
    is_read: bool,
    filter: TrailerFilter,
    _slot: Slot,
}

impl<B> Http2Transfer<B> {
    pub(in crate::upstream) fn sent(&self) -> u64 {
        self.upload.sent()
    }

    pub(in crate::upstream) fn received(&self) -> u64 {
        self.received
    }

    /// Breaks the exchange off: the stream is reset.
    pub(in crate::upstream) fn abort(&mut self) {
        self.upload.stop();
        self.download = None;
    }

    pub(in crate::upstream) fn is_end_stream(&self) -> bool {
        self.download.is_none()
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        match &self.download {
            None => SizeHint::with_exact(0),
            Some(download) => match download.left {
                // Trailers may follow, and a body of no bytes would be framed without them.
                None | Some(0) => SizeHint::default(),
                Some(left) => SizeHint::with_exact(left),
            },
        }
    }
}

impl<B> Http2Transfer<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    pub(super) fn new(
        slot: Slot,
        upload: Upload<B>,
        stream: RecvStream,
        length: Option<u64>,
        filter: &TrailerFilter,
    ) -> Self {
        let ended = stream.is_end_stream();
        let mut transfer = Self {
            upload,
            download: Some(Download {
                stream,
                left: length,
                is_read: false,
                filter: Rc::clone(filter),
                _slot: slot,
            }),
            received: 0,
        };
        if ended {
            transfer.abort();
        }
        transfer
    }

    /// Moves the request body on, then gives the response body's next frame. After an error there
    /// is no other frame.
    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let polled = self.poll_piece(cx);
        if let Poll::Ready(Some(Err(_)) | None) = polled {
            self.abort();
        }
        polled
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.drive_upload(cx)?;
        let Some(download) = &mut self.download else {
            return Poll::Ready(None);
        };
        match ready!(download.poll_frame(cx)) {
            Some(Ok(frame)) => {
                self.received += frame.data_ref().map_or(0, length_of);
                if frame.is_trailers() || download.stream.is_end_stream() {
                    self.abort();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(UpstreamError::Http2(error)))),
            None => Poll::Ready(None),
        }
    }

    /// An origin that no longer takes the request may still finish its response; a client that
    /// broke off ends both.
    fn drive_upload(&mut self, cx: &mut Context<'_>) -> Result<(), UpstreamError> {
        if self.upload.is_over() {
            return Ok(());
        }
        match self.upload.poll(cx) {
            Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(UpstreamError::Http2(_))) => {
                self.upload.stop();
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(error),
        }
    }
}

impl Download {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        while !self.is_read {
            match ready!(self.stream.poll_data(cx)) {
                Some(piece) => {
                    let piece = piece?;
                    // The origin may send as much again once this much was handed on.
                    self.stream.flow_control().release_capacity(piece.len())?;
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(length_of(&piece));
                    }
                    if !piece.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                }
                None => self.is_read = true,
            }
        }
        let Some(mut trailers) = ready!(self.stream.poll_trailers(cx))? else {
            return Poll::Ready(None);
        };
        (self.filter)(&mut trailers);
        Poll::Ready(some_trailers(trailers).map(Ok))
    }
}

fn some_trailers(trailers: HeaderMap) -> Option<Frame<Bytes>> {
    (!trailers.is_empty()).then(|| Frame::trailers(trailers))
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
