//! HTTP/1.1 framing, as much as the bench's own requests and responses need.
//!
//! Takes bytes of a head, returns its length and the body's. Both sides are ours or a proxy's
//! between us, and both send `Content-Length`: anything else is an error to be seen, not handled.

use std::io;

/// A head that has arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, the empty line included.
    pub length: usize,
    /// Bytes of the body that follows.
    pub body: u64,
}

/// The head at the front of `bytes`; `None` if more bytes are needed.
///
/// # Errors
/// A transfer coding, or a `Content-Length` that is no number.
pub fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > LONGEST_HEAD {
            Err(invalid("head too long"))
        } else {
            Ok(None)
        };
    };
    let mut body = 0;
    for line in lines(bytes.get(..end).unwrap_or_default()) {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"content-length") {
            body = number(value.get(1..).unwrap_or_default())?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(invalid("a transfer coding in a bench message"));
        }
    }
    Ok(Some(Head {
        length: end + 4,
        body,
    }))
}

/// An error of the peer's protocol.
#[must_use]
pub fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn number(text: &[u8]) -> io::Result<u64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| invalid("Content-Length is no number"))
}

const LONGEST_HEAD: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_found_only_when_whole() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\nX: y\r\n\r\nrest";
        for cut in 0..text.len() - b"rest".len() {
            assert_eq!(head(&text[..cut]).unwrap(), None, "cut at {cut}");
        }
        let whole = head(text).unwrap().unwrap();
        assert_eq!((whole.length, whole.body), (text.len() - 4, 12));
    }

    #[test]
    fn what_the_bench_does_not_speak_is_an_error() {
        assert!(head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\nContent-Length: +x\r\n\r\n").is_err());
    }
}
