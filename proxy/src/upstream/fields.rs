//! Field lines: where a section of them ends, what one says, and the trailer section as a whole.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::error::BadResponse;

/// Looks for the empty line that ends a head or a trailer section, each byte once: a peer that
/// sends a byte at a time costs no more than one that sends it whole.
#[derive(Debug, Default)]
pub(super) struct LineScanner {
    scanned: usize,
}

impl LineScanner {
    /// The length of the section up to and with its empty line, or `None` if it has not come yet.
    pub(super) fn find_end(&mut self, buffer: &[u8]) -> Result<Option<usize>, BadResponse> {
        while let Some(fresh) = buffer.get(self.scanned..)
            && let Some(found) = memchr::memchr(b'\n', fresh)
        {
            let end = self.scanned + found + 1;
            let line_end = buffer.get(..end).unwrap_or_default();
            if !line_end.ends_with(b"\r\n") {
                return Err(BadResponse::BareLf);
            }
            self.scanned = end;
            if line_end.ends_with(b"\r\n\r\n") || line_end.len() == 2 {
                self.scanned = 0;
                return Ok(Some(end));
            }
        }
        self.scanned = buffer.len();
        Ok(None)
    }
}

/// Parses a complete trailer section (field lines and the empty line) into a map.
pub(super) fn parse_trailers(section: &Bytes) -> Result<HeaderMap, BadResponse> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let parsed = httparse::parse_headers(section, &mut lines).map_err(|error| match error {
        httparse::Error::TooManyHeaders => BadResponse::TrailersTooLarge,
        other => refusal(other),
    })?;
    let httparse::Status::Complete((_, lines)) = parsed else {
        return Err(BadResponse::HeaderName);
    };
    let mut trailers = HeaderMap::new();
    for line in lines {
        let (name, value) = field(section, line)?;
        // A trailer never frames a message (RFC 9110 §6.5.1).
        if name != header::CONTENT_LENGTH && name != header::TRANSFER_ENCODING {
            append(&mut trailers, name, value)?;
        }
    }
    Ok(trailers)
}

/// One field line; its value stays a slice of `section`.
pub(super) fn field(
    section: &Bytes,
    line: &httparse::Header<'_>,
) -> Result<(HeaderName, HeaderValue), BadResponse> {
    let name = HeaderName::from_bytes(line.name.as_bytes()).or(Err(BadResponse::HeaderName))?;
    let value = HeaderValue::from_maybe_shared(section.slice_ref(line.value))
        .or(Err(BadResponse::HeaderValue))?;
    Ok((name, value))
}

pub(super) fn append(
    map: &mut HeaderMap,
    name: HeaderName,
    value: HeaderValue,
) -> Result<(), BadResponse> {
    map.try_append(name, value)
        .map(drop)
        .or(Err(BadResponse::TooManyHeaders))
}

pub(super) fn refusal(error: httparse::Error) -> BadResponse {
    match error {
        httparse::Error::HeaderName => BadResponse::HeaderName,
        httparse::Error::HeaderValue | httparse::Error::NewLine => BadResponse::HeaderValue,
        httparse::Error::TooManyHeaders => BadResponse::TooManyHeaders,
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => {
            BadResponse::StatusLine
        }
    }
}

/// The most field lines of a trailer section.
const MAX_TRAILERS: usize = 64;
