//! The chunked coding of a response, undone (RFC 9112 §7.1). Strict: CRLF only, no white space
//! around a size, at most 16 digits, a bounded sum of extensions, a bounded trailer section.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::error::BadResponse;
use super::fields::{LineScanner, parse_trailers};
use super::piece::{length_of, split_at_most};

/// A chunked body as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of extensions in all chunks so far.
    extensions: usize,
    trailers: Option<HeaderMap>,
}

#[derive(Debug)]
enum State {
    /// In a chunk size, after `digits` of it.
    Size { value: u64, digits: u8 },
    /// In a chunk extension.
    Extension { value: u64 },
    /// After the CR of a size line.
    SizeLf { value: u64 },
    /// In chunk data.
    Data { left: u64 },
    /// After chunk data.
    DataCr,
    /// After the CR behind chunk data.
    DataLf,
    /// In the trailer section.
    Trailers(LineScanner),
    /// After the empty line.
    Ended,
}

impl Chunked {
    /// Takes the next piece of data out of `read`, with the framing before and after it.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, BadResponse> {
        self.take_framing(read)?;
        let State::Data { left } = &mut self.state else {
            return Ok(None);
        };
        let piece = split_at_most(read, *left);
        *left -= piece.as_ref().map_or(0, length_of);
        if *left == 0 {
            self.state = State::DataCr;
            self.take_framing(read)?;
        }
        Ok(piece)
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    pub(super) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    /// Consumes framing up to the next byte of data, the end, or the end of `read`.
    fn take_framing(&mut self, read: &mut BytesMut) -> Result<(), BadResponse> {
        let mut consumed = 0;
        for &byte in read.iter() {
            if self.wants_more_than_a_byte() {
                break;
            }
            self.step(byte)?;
            consumed += 1;
        }
        read.advance(consumed);
        if let State::Trailers(scanner) = &mut self.state {
            let end = scanner.find_end(read)?;
            if end.unwrap_or(read.len()) > MAX_TRAILER_BYTES {
                return Err(BadResponse::TrailersTooLarge);
            }
            if let Some(end) = end {
                let section = read.split_to(end).freeze();
                self.state = State::Ended;
                if section.len() > b"\r\n".len() {
                    self.trailers = Some(parse_trailers(&section)?);
                }
            }
        }
        Ok(())
    }

    fn wants_more_than_a_byte(&self) -> bool {
        matches!(
            self.state,
            State::Data { .. } | State::Trailers(_) | State::Ended
        )
    }

    fn step(&mut self, byte: u8) -> Result<(), BadResponse> {
        self.state = match (&self.state, byte) {
            (&State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == MAX_SIZE_DIGITS {
                    return Err(BadResponse::ChunkSize);
                }
                State::Size {
                    value: value << 4 | hex_value(byte),
                    digits: digits + 1,
                }
            }
            (&State::Size { value, digits }, b'\r') if digits > 0 => State::SizeLf { value },
            (&State::Size { value, digits }, b';') if digits > 0 => State::Extension { value },
            (State::Size { .. }, _) => return Err(BadResponse::ChunkSize),
            (&State::Extension { value }, b'\r') => State::SizeLf { value },
            (&State::Extension { value }, _) => {
                if byte != b'\t' && byte.is_ascii_control() {
                    return Err(BadResponse::ChunkExtension);
                }
                self.extensions += 1;
                if self.extensions > MAX_EXTENSION_BYTES {
                    return Err(BadResponse::ChunkOverhead);
                }
                State::Extension { value }
            }
            (State::SizeLf { value: 0 }, b'\n') => State::Trailers(LineScanner::default()),
            (&State::SizeLf { value }, b'\n') => State::Data { left: value },
            (State::SizeLf { .. }, _) => return Err(BadResponse::ChunkSize),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::default(),
            (State::DataCr | State::DataLf, _) => return Err(BadResponse::ChunkEnd),
            (State::Data { .. } | State::Trailers(_) | State::Ended, _) => return Ok(()),
        };
        Ok(())
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Size {
            value: 0,
            digits: 0,
        }
    }
}

fn hex_value(digit: u8) -> u64 {
    match digit {
        b'0'..=b'9' => u64::from(digit - b'0'),
        b'a'..=b'f' => u64::from(digit - b'a') + 10,
        b'A'..=b'F' => u64::from(digit - b'A') + 10,
        _ => 0,
    }
}

/// 64 bits.
const MAX_SIZE_DIGITS: u8 = 16;

/// The most bytes of extensions in one body: nobody reads them, so they only serve an attack.
/// The same figure as hyper's.
const MAX_EXTENSION_BYTES: usize = 16 * 1024;

/// The most bytes of a trailer section.
const MAX_TRAILER_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `pieces` as they would be read; what came out, and how it ended.
    fn decode<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, Chunked, BytesMut), BadResponse> {
        let (mut chunked, mut read, mut body) = (Chunked::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            read.extend_from_slice(piece);
            while let Some(data) = chunked.take(&mut read)? {
                body.extend_from_slice(&data);
            }
        }
        Ok((body, chunked, read))
    }

    const WHOLE: &[u8] =
        b"3\r\nabc\r\n00a;x=\"y\"\r\n0123456789\r\n1\r\n\n\r\n000\r\nX-Sum: 1\r\nX-B:2\r\n\r\nHTTP";

    #[test]
    fn a_body_split_anywhere_is_the_same_body() {
        for split in 0..=WHOLE.len() {
            let (first, second) = WHOLE.split_at(split);
            let (body, mut chunked, rest) = decode([first, second]).unwrap();
            assert_eq!(body, b"abc0123456789\n", "{split}");
            assert!(chunked.is_ended());
            // What follows is left for the lease to see that something does.
            assert_eq!(&rest[..], b"HTTP");
            let trailers = chunked.take_trailers().unwrap();
            assert_eq!(
                (&trailers["x-sum"], &trailers["x-b"]),
                (&"1".parse().unwrap(), &"2".parse().unwrap())
            );
        }
        let (body, chunked, _) = decode(WHOLE.chunks(1)).unwrap();
        assert_eq!(
            (&body[..], chunked.is_ended()),
            (&b"abc0123456789\n"[..], true)
        );
    }

    #[test]
    fn what_another_parser_might_read_otherwise_is_refused() {
        for (bytes, reason) in [
            (&b"\r\n"[..], BadResponse::ChunkSize),
            (b" 1\r\n", BadResponse::ChunkSize),
            (b"1 \r\n", BadResponse::ChunkSize),
            (b"+1\r\n", BadResponse::ChunkSize),
            (b"-1\r\n", BadResponse::ChunkSize),
            (b"0x1\r\n", BadResponse::ChunkSize),
            (b"1\n", BadResponse::ChunkSize),
            (b"1\rx", BadResponse::ChunkSize),
            (b";x\r\n", BadResponse::ChunkSize),
            (b"00000000000000001\r\n", BadResponse::ChunkSize),
            (b"1;x\ny\r\n", BadResponse::ChunkExtension),
            (b"1;x\0\r\n", BadResponse::ChunkExtension),
            (b"1\r\naX", BadResponse::ChunkEnd),
            (b"1\r\na\n", BadResponse::ChunkEnd),
            (b"1\r\na\r\r", BadResponse::ChunkEnd),
            (b"0\r\nX-A: 1\n\n", BadResponse::BareLf),
            (b"0\r\nX-A : 1\r\n\r\n", BadResponse::HeaderName),
            (b"0\r\nX-A: 1\r\n X-B: 2\r\n\r\n", BadResponse::HeaderName),
            (b"0\r\nX-A: a\rb\r\n\r\n", BadResponse::HeaderValue),
        ] {
            let found = decode([bytes]).map(|(body, ..)| body);
            assert_eq!(found, Err(reason), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn overhead_is_bounded() {
        let extension = [b"1;".to_vec(), vec![b'x'; MAX_EXTENSION_BYTES + 1]].concat();
        assert_eq!(
            decode([&extension[..]]).err(),
            Some(BadResponse::ChunkOverhead)
        );
        let trailers = [b"0\r\nX: ".to_vec(), vec![b'x'; MAX_TRAILER_BYTES]].concat();
        assert_eq!(
            decode([&trailers[..]]).err(),
            Some(BadResponse::TrailersTooLarge)
        );
        let many = [b"0\r\n".to_vec(), b"X: 1\r\n".repeat(65), b"\r\n".to_vec()].concat();
        assert_eq!(
            decode([&many[..]]).err(),
            Some(BadResponse::TrailersTooLarge)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_give_more_than_was_read(
            pieces in proptest::collection::vec("[0-9a-fA-F;x \r\n:]{0,12}|[0-3]\r\n[a-z]{0,3}\r\n", 0..12)
        ) {
            let read: usize = pieces.iter().map(String::len).sum();
            if let Ok((body, ..)) = decode(pieces.iter().map(String::as_bytes)) {
                prop_assert!(body.len() <= read);
            }
        }

        #[test]
        fn what_was_coded_comes_out(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8), step in 1..64_usize) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n\r\n");
            let (body, chunked, rest) = decode(coded.chunks(step)).unwrap();
            prop_assert_eq!(body, chunks.concat());
            prop_assert!(chunked.is_ended() && rest.is_empty());
        }
    }
}
