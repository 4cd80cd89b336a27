//! What fuzzing drives: a response in pieces, as reads would give them, through the parsers.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};

use super::error::BadResponse;
use super::fields::LineScanner;
use super::head::{Head, find_head, parse_head};
use super::limits::Limits;

/// A response as far as it came.
#[derive(Debug, Default, PartialEq)]
pub struct Decoded {
    /// The final head's fields, once it was complete.
    pub headers: Option<HeaderMap>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Option<HeaderMap>,
    /// Whether the body has come to its end.
    pub ended: bool,
    /// What was read and not used.
    pub rest: Vec<u8>,
}

/// Decodes the answer to a request with `method`.
///
/// # Errors
/// The first thing wrong with it.
pub fn decode(method: &Method, pieces: &[&[u8]]) -> Result<Decoded, BadResponse> {
    let limits = Limits::default();
    let (mut read, mut scanner) = (BytesMut::new(), LineScanner::default());
    let mut decoder = None;
    let mut decoded = Decoded::default();
    for piece in pieces {
        read.extend_from_slice(piece);
        while decoder.is_none()
            && let Some(end) = find_head(&mut scanner, &read, limits.max_response_head)?
        {
            let head: Bytes = read.split_to(end).freeze();
            match parse_head(&head, method, limits.max_response_headers)? {
                Head::Informational => {}
                Head::Switched => {
                    decoded.rest = [&read[..], &rest(pieces, piece)].concat();
                    return Ok(decoded);
                }
                Head::Final(head) => {
                    decoded.headers = Some(head.headers);
                    decoder = Some(head.body);
                }
            }
        }
        if let Some(decoder) = &mut decoder {
            while let Some(data) = decoder.take(&mut read)? {
                decoded.body.extend_from_slice(&data);
            }
        }
    }
    if let Some(mut decoder) = decoder {
        decoded.trailers = decoder.take_trailers();
        decoded.ended = decoder.is_ended();
    }
    decoded.rest = read.to_vec();
    Ok(decoded)
}

/// All bytes of the pieces after `current`.
fn rest(pieces: &[&[u8]], current: &&[u8]) -> Vec<u8> {
    let after = pieces
        .iter()
        .skip_while(|piece| !std::ptr::eq(*piece, current))
        .skip(1);
    after.copied().flatten().copied().collect()
}
