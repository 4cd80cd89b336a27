//! The response head: found in what was read, checked, and turned into a status, headers and the
//! body's framing. Stricter than RFC 9112 asks: CRLF only, no folding, no second opinion about the
//! length. Header values are slices of the head.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};

use super::body::Decoder;
use super::error::BadResponse;
use super::fields::{LineScanner, append, field, refusal};

/// What a response head says.
#[derive(Debug)]
pub(super) enum Head {
    /// A 1xx other than 101; another head follows.
    Informational,
    /// 101: the connection is no longer HTTP, if it was asked for.
    Switched(HeaderMap),
    /// The response to the request.
    Final(FinalHead),
}

/// The head of a final response.
#[derive(Debug)]
pub(super) struct FinalHead {
    pub(super) status: StatusCode,
    /// As received but for `Transfer-Encoding`, which is ours to undo, and at most one
    /// `Content-Length`.
    pub(super) headers: HeaderMap,
    pub(super) body: Decoder,
    /// Whether another request may follow on this connection.
    pub(super) keep_alive: bool,
}

/// The length of the complete head at the start of `buffer`, or `None` if more must be read.
pub(super) fn find_head(
    scanner: &mut LineScanner,
    buffer: &[u8],
    limit: usize,
) -> Result<Option<usize>, BadResponse> {
    let looked_at = buffer.len().min(PROTOCOL.len());
    if buffer.get(..looked_at) != PROTOCOL.get(..looked_at) {
        return Err(BadResponse::NotHttp);
    }
    let end = scanner.find_end(buffer)?;
    if end.unwrap_or(buffer.len()) > limit {
        return Err(BadResponse::HeadTooLarge);
    }
    Ok(end)
}

/// Parses one complete head, the answer to a request with this method.
pub(super) fn parse_head(
    head: &Bytes,
    method: &Method,
    max_headers: usize,
) -> Result<Head, BadResponse> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let lines = match lines.get_mut(..max_headers) {
        Some(fewer) => fewer,
        None => &mut lines,
    };
    let mut parsed = httparse::Response::new(&mut []);
    let complete = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, head, lines)
        .map_err(refusal)?;
    if complete != httparse::Status::Complete(head.len()) {
        return Err(BadResponse::StatusLine);
    }
    let (Some(code), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(BadResponse::StatusLine);
    };
    let status = StatusCode::from_u16(code).or(Err(BadResponse::StatusLine))?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Head::Informational);
    }
    let mut fields = Fields::with_capacity(parsed.headers.len())?;
    for line in parsed.headers.iter() {
        fields.add(head, line)?;
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return fields.switched(minor).map(Head::Switched);
    }
    fields.finish(status, minor, method).map(Head::Final)
}

/// The headers of a final response while they are collected, with what they say about framing.
#[derive(Debug)]
struct Fields {
    headers: HeaderMap,
    length: Option<u64>,
    chunked: bool,
    close: bool,
}

impl Fields {
    fn with_capacity(lines: usize) -> Result<Self, BadResponse> {
        let headers = HeaderMap::try_with_capacity(lines).or(Err(BadResponse::TooManyHeaders))?;
        Ok(Self {
            headers,
            length: None,
            chunked: false,
            close: false,
        })
    }

    fn add(&mut self, head: &Bytes, line: &httparse::Header<'_>) -> Result<(), BadResponse> {
        let (name, value) = field(head, line)?;
        if name == header::TRANSFER_ENCODING {
            // RFC 9112 §6.1 would allow codings before `chunked`; nothing asked for any.
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(BadResponse::TransferEncoding);
            }
            self.chunked = true;
            return Ok(());
        }
        if name == header::CONTENT_LENGTH {
            let length = parse_length(value.as_bytes()).ok_or(BadResponse::ContentLength)?;
            match self.length.replace(length) {
                None => {}
                Some(first) if first == length => return Ok(()),
                Some(_) => return Err(BadResponse::ContentLengthConflict),
            }
        } else if name == header::CONNECTION {
            self.close |= value
                .as_bytes()
                .split(|&byte| byte == b',')
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
        append(&mut self.headers, name, value)
    }

    /// RFC 9110 §15.2: a 1xx has no content and no framing, and HTTP/1.0 has no 1xx.
    fn switched(self, minor: u8) -> Result<HeaderMap, BadResponse> {
        if self.chunked || self.length.is_some() || minor == 0 {
            return Err(BadResponse::AmbiguousLength);
        }
        Ok(self.headers)
    }

    /// RFC 9112 §6.3, in its order.
    fn finish(
        mut self,
        status: StatusCode,
        minor: u8,
        method: &Method,
    ) -> Result<FinalHead, BadResponse> {
        if self.chunked && self.length.is_some() {
            return Err(BadResponse::AmbiguousLength);
        }
        if self.chunked && minor == 0 {
            return Err(BadResponse::TransferEncoding);
        }
        let mut keep_alive = minor >= 1 && !self.close;
        let body = if status == StatusCode::NO_CONTENT {
            // RFC 9110 §8.6: a 204 has no length. One that has may have a body after it, too.
            keep_alive &= !self.chunked && self.length.unwrap_or(0) == 0;
            self.headers.remove(header::CONTENT_LENGTH);
            Decoder::empty()
        } else if method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
            Decoder::empty()
        } else if self.chunked {
            Decoder::chunked()
        } else if let Some(length) = self.length {
            Decoder::length(length)
        } else {
            keep_alive = false;
            Decoder::until_close()
        };
        Ok(FinalHead {
            status,
            headers: self.headers,
            body,
            keep_alive,
        })
    }
}

/// `1*DIGIT` (RFC 9110 §8.6) in 64 bits: no sign, no list, no white space inside.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |length, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })
}

/// What every response head begins with.
const PROTOCOL: &[u8] = b"HTTP/1.";

/// The most field lines that `Limits::max_response_headers` can allow: they are parsed on the
/// stack.
pub(super) const MAX_HEADERS: usize = 128;
