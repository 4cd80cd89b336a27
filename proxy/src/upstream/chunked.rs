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
