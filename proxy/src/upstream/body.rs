//! The response body's framing undone (RFC 9112 §6 and §7): what was read goes in, the body's own
//! bytes come out as slices of it.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::chunked::Chunked;
use super::error::BadResponse;
use super::piece::{length_of, split_at_most};

/// How the rest of a response body is told from what follows it.
#[derive(Debug)]
pub(super) enum Decoder {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks, up to the last one and its trailers.
    Chunked(Chunked),
    /// All bytes up to the end of the connection.
    UntilClose,
}

impl Decoder {
    pub(super) fn empty() -> Self {
        Self::Length(0)
    }

    pub(super) fn length(length: u64) -> Self {
        Self::Length(length)
    }

    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunked::default())
    }

    pub(super) fn until_close() -> Self {
        Self::UntilClose
    }

    /// Takes the next piece of the body out of `read`, and the framing around it, so that
    /// [`Self::is_ended`] is known as soon as it can be.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, BadResponse> {
        match self {
            Self::Length(left) => {
                let piece = split_at_most(read, *left);
                *left -= piece.as_ref().map_or(0, length_of);
                Ok(piece)
            }
            Self::Chunked(chunked) => chunked.take(read),
            Self::UntilClose => Ok(split_at_most(read, u64::MAX)),
        }
    }

    /// Whether the body has come completely.
    pub(super) fn is_ended(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_ended(),
            Self::UntilClose => false,
        }
    }

    /// Whether the end of the connection is the end of the body, and not a truncation.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// The bytes still to come, where the head said so.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Counts bytes of a declared length that came another way; `None` if there were not so many.
    pub(super) fn skip(&mut self, count: u64) -> Option<()> {
        match self {
            Self::Length(left) => {
                *left = left.checked_sub(count)?;
                Some(())
            }
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// The trailers that came after the body, once.
    pub(super) fn take_trailers(&mut self) -> Option<HeaderMap> {
        match self {
            Self::Chunked(chunked) => chunked.take_trailers(),
            Self::Length(_) | Self::UntilClose => None,
        }
    }
}
