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
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and it is moved once"
)]
pub(super) enum Head {
    /// A 1xx other than 101; another head follows.
    Informational,
    /// 101, or a 2xx to CONNECT: the connection is no longer HTTP.
    Switched,
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
    if status == StatusCode::SWITCHING_PROTOCOLS
        || (method == Method::CONNECT && status.is_success())
    {
        return Ok(Head::Switched);
    }
    if status.is_informational() {
        return Ok(Head::Informational);
    }
    let mut fields = Fields::with_capacity(parsed.headers.len())?;
    for line in parsed.headers.iter() {
        fields.add(head, line)?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(method: &Method, text: &[u8]) -> Result<Head, BadResponse> {
        let mut scanner = LineScanner::default();
        match find_head(&mut scanner, text, 4096)? {
            Some(end) => parse_head(&Bytes::copy_from_slice(&text[..end]), method, MAX_HEADERS),
            None => panic!("incomplete: {}", text.escape_ascii()),
        }
    }

    fn fields(fields: &str) -> Result<Head, BadResponse> {
        parse(
            &Method::GET,
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes(),
        )
    }

    /// The declared length, whether it is chunked, and whether the connection lives on.
    fn framing(method: &Method, text: &str) -> (Option<u64>, bool, bool) {
        match parse(method, text.as_bytes()).unwrap() {
            Head::Final(head) => {
                let chunked = matches!(head.body, Decoder::Chunked(_));
                (head.body.left(), chunked, head.keep_alive)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_end_of_a_body_is_told_by_rfc_9112() {
        let get = Method::GET;
        for (text, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                (Some(5), false, true),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                (Some(5), false, true),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
                (None, true, true),
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", (None, false, false)),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
                (Some(5), false, false),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, CLOSE\r\n\r\n",
                (Some(5), false, false),
            ),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                (Some(0), false, true),
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", (Some(0), false, true)),
            // A body that may not be there would be read as the next response.
            (
                "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
                (Some(0), false, false),
            ),
        ] {
            assert_eq!(framing(&get, text), expected, "{text}");
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(framing(&Method::HEAD, head), (Some(0), false, true));
    }

    #[test]
    fn framing_with_two_readings_is_refused() {
        for (text, reason) in [
            (
                "Content-Length: 5\r\nContent-Length: 6\r\n",
                BadResponse::ContentLengthConflict,
            ),
            ("Content-Length: 5, 5\r\n", BadResponse::ContentLength),
            ("Content-Length: +5\r\n", BadResponse::ContentLength),
            ("Content-Length: -5\r\n", BadResponse::ContentLength),
            ("Content-Length: 5 6\r\n", BadResponse::ContentLength),
            ("Content-Length: 0x5\r\n", BadResponse::ContentLength),
            ("Content-Length: \r\n", BadResponse::ContentLength),
            (
                "Content-Length: 18446744073709551616\r\n",
                BadResponse::ContentLength,
            ),
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                BadResponse::AmbiguousLength,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                BadResponse::AmbiguousLength,
            ),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                BadResponse::TransferEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                BadResponse::TransferEncoding,
            ),
            (
                "Transfer-Encoding: identity\r\n",
                BadResponse::TransferEncoding,
            ),
            ("X-A : 1\r\n", BadResponse::HeaderName),
            ("X-A: 1\r\n X-B: 2\r\n", BadResponse::HeaderName),
            ("X A: 1\r\n", BadResponse::HeaderName),
            (": 1\r\n", BadResponse::HeaderName),
            ("X-A: a\rb\r\n", BadResponse::HeaderValue),
            ("X-A: a\0b\r\n", BadResponse::HeaderValue),
            ("X-A: 1\n", BadResponse::BareLf),
        ] {
            assert_eq!(fields(text).err(), Some(reason), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for (text, reason) in [
            (&b"SSH-2.0-OpenSSH\r\n\r\n"[..], BadResponse::NotHttp),
            (b"HTTP/2.0 200 OK\r\n\r\n", BadResponse::NotHttp),
            (b"\r\nHTTP/1.1 200 OK\r\n\r\n", BadResponse::NotHttp),
            (b"HTTP/1.2 200 OK\r\n\r\n", BadResponse::StatusLine),
            (b"HTTP/1.1 20 OK\r\n\r\n", BadResponse::StatusLine),
            (b"HTTP/1.1 2000 OK\r\n\r\n", BadResponse::StatusLine),
            (b"HTTP/1.1 099 OK\r\n\r\n", BadResponse::StatusLine),
            (b"HTTP/1.1 200 OK\n\n", BadResponse::BareLf),
            (
                b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                BadResponse::TransferEncoding,
            ),
        ] {
            let found = parse(&Method::GET, text).err();
            assert_eq!(found, Some(reason), "{}", text.escape_ascii());
        }
        let large = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'x'; 5000]].concat();
        let mut scanner = LineScanner::default();
        assert_eq!(
            find_head(&mut scanner, &large, 4096),
            Err(BadResponse::HeadTooLarge)
        );
        let many = "X: 1\r\n".repeat(MAX_HEADERS + 1);
        assert_eq!(fields(&many).err(), Some(BadResponse::TooManyHeaders));
    }

    #[test]
    fn switching_and_informational_responses_are_told_apart() {
        let is = |text: &[u8]| parse(&Method::GET, text).unwrap();
        assert!(matches!(
            is(b"HTTP/1.1 101 Switching\r\n\r\n"),
            Head::Switched
        ));
        assert!(matches!(
            is(b"HTTP/1.1 100 Continue\r\n\r\n"),
            Head::Informational
        ));
        assert!(matches!(
            is(b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"),
            Head::Informational
        ));
    }

    proptest! {
        #[test]
        fn a_head_is_found_wherever_it_is_cut(cut in 0..60_usize) {
            let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello";
            let mut scanner = LineScanner::default();
            let early = find_head(&mut scanner, &text[..cut.min(text.len())], 4096).unwrap();
            let found = early.or_else(|| find_head(&mut scanner, text, 4096).unwrap());
            prop_assert_eq!(found, Some(text.len() - 5));
        }

        #[test]
        fn no_bytes_make_it_panic(rest in "[ -~\r\n\t\0]{0,200}") {
            let text = format!("HTTP/1.{rest}\r\n\r\n");
            let mut scanner = LineScanner::default();
            if let Ok(Some(end)) = find_head(&mut scanner, text.as_bytes(), 4096) {
                let head = Bytes::copy_from_slice(&text.as_bytes()[..end]);
                drop(parse_head(&head, &Method::GET, MAX_HEADERS));
            }
        }
    }
}
