//! The chunked coding, whole and in pieces.

use proptest::prelude::*;

use super::super::chunked::Chunked;
use super::*;

#[derive(Debug, Default, PartialEq)]
struct Decoded {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    ended: bool,
    rest: Vec<u8>,
}

/// Decodes pieces as they would be read.
fn decode(pieces: &[&[u8]]) -> Result<Decoded, BadResponse> {
    let mut chunked = Chunked::default();
    let mut read = BytesMut::new();
    let mut decoded = Decoded::default();
    for piece in pieces {
        read.extend_from_slice(piece);
        while let Some(data) = chunked.take(&mut read)? {
            assert!(!data.is_empty());
            decoded.data.extend_from_slice(&data);
        }
    }
    decoded.trailers = chunked.take_trailers();
    decoded.ended = chunked.is_ended();
    decoded.rest = read.to_vec();
    Ok(decoded)
}

const TRICKY: &[u8] = b"5\r\nhello\r\n0000A;name=\"v;\"\t\r\n0\r\n\r\n\r\nwor\r\n1;x\r\n!\r\n000;y\r\nx-sum: 1\r\nx-sum: 2\r\n\r\nHTTP/1.1";

#[test]
fn the_body_ends_exactly_at_its_end() {
    let decoded = decode(&[TRICKY]).unwrap();
    assert_eq!(decoded.data, b"hello0\r\n\r\n\r\nwor!");
    assert!(decoded.ended);
    assert_eq!(decoded.rest, b"HTTP/1.1");
    let trailers = decoded.trailers.unwrap();
    let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
    assert_eq!(sums, ["1", "2"]);
}

#[test]
fn every_way_to_split_it_in_two_decodes_alike() {
    let whole = decode(&[TRICKY]).unwrap();
    for at in 0..=TRICKY.len() {
        let (first, second) = TRICKY.split_at(at);
        assert_eq!(decode(&[first, second]).unwrap(), whole, "split at {at}");
    }
    let bytes: Vec<_> = TRICKY.chunks(1).collect();
    assert_eq!(decode(&bytes).unwrap(), whole);
}

#[test]
fn every_proper_prefix_is_unfinished() {
    let end = TRICKY.len() - b"HTTP/1.1".len();
    for length in 0..end {
        let decoded = decode(&[&TRICKY[..length]]).unwrap();
        assert!(!decoded.ended, "{length} bytes");
    }
    assert!(decode(&[&TRICKY[..end]]).unwrap().ended);
}

#[test]
fn malformed_chunks_are_refused_for_their_reason() {
    use BadResponse as Bad;
    let cases: &[(&str, BadResponse)] = &[
        ("\r\n", Bad::ChunkSize),
        (";x\r\n", Bad::ChunkSize),
        (" 5\r\nhello", Bad::ChunkSize),
        ("5 \r\nhello", Bad::ChunkSize),
        ("5\t;x\r\nhello", Bad::ChunkSize),
        ("+5\r\nhello", Bad::ChunkSize),
        ("-5\r\nhello", Bad::ChunkSize),
        ("0x5\r\nhello", Bad::ChunkSize),
        ("5g\r\nhello", Bad::ChunkSize),
        ("5\nhello", Bad::ChunkSize),
        ("5\rhello", Bad::ChunkSize),
        ("5\r\r\nhello", Bad::ChunkSize),
        ("10000000000000000\r\n", Bad::ChunkSize),
        ("00000000000000005\r\nhello", Bad::ChunkSize),
        ("5;a\nhello", Bad::ChunkExtension),
        ("5;a\0\r\nhello", Bad::ChunkExtension),
        ("5;a\rb\r\nhello", Bad::ChunkSize),
        ("5\r\nhelloX", Bad::ChunkEnd),
        ("5\r\nhello\n", Bad::ChunkEnd),
        ("5\r\nhello\r\r\n", Bad::ChunkEnd),
        ("5\r\nhello0\r\n\r\n", Bad::ChunkEnd),
        ("5\r\nhello\r\n\r\n", Bad::ChunkSize),
        ("0\r\n\n", Bad::BareLf),
        ("0\r\na: b\n\r\n", Bad::BareLf),
        ("0\r\na : b\r\n\r\n", Bad::HeaderName),
        ("0\r\na: b\r\n c\r\n\r\n", Bad::HeaderName),
        ("0\r\na: b\0\r\n\r\n", Bad::HeaderValue),
    ];
    for (text, reason) in cases {
        assert_eq!(decode(&[text.as_bytes()]), Err(*reason), "{text:?}");
        let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
        assert_eq!(decode(&bytes), Err(*reason), "{text:?} by bytes");
    }
    assert!(decode(&[b"FFFFFFFFFFFFFFFF\r\nabc"]).is_ok());
}

#[test]
fn extensions_are_bounded_over_the_whole_body() {
    let chunk = format!("1;{}\r\nx\r\n", "e".repeat(1000));
    let read = |chunks: usize| decode(&[chunk.repeat(chunks).as_bytes()]);
    assert_eq!(read(16).unwrap().data.len(), 16);
    assert_eq!(read(17), Err(BadResponse::ChunkOverhead));
    let endless = format!("1;{}", "e".repeat(17 * 1024));
    let refused = decode(&[endless.as_bytes()]);
    assert_eq!(refused, Err(BadResponse::ChunkOverhead));
}

#[test]
fn trailers_are_bounded_in_bytes_and_lines() {
    let section = |line: &str, lines| format!("0\r\n{}\r\n", line.repeat(lines));
    assert!(decode(&[section("a: b\r\n", 64).as_bytes()]).unwrap().ended);
    let many = decode(&[section("a: b\r\n", 65).as_bytes()]);
    assert_eq!(many, Err(BadResponse::TrailersTooLarge));
    let long = format!("a: {}\r\n", "b".repeat(1024));
    let large = decode(&[section(&long, 17).as_bytes()]);
    assert_eq!(large, Err(BadResponse::TrailersTooLarge));
    let endless = format!("0\r\na: {}", "b".repeat(17 * 1024));
    let endless = decode(&[endless.as_bytes()]);
    assert_eq!(endless, Err(BadResponse::TrailersTooLarge));
}

#[test]
fn a_trailer_never_frames() {
    let text = b"0\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\nx: y\r\n\r\n";
    let trailers = decode(&[text]).unwrap().trailers.unwrap();
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["x"], "y");
}

proptest! {
    /// Any body in any chunks, read in any pieces, comes out as it went in.
    #[test]
    fn chunks_and_reads_do_not_change_the_body(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..10),
        size in 1_usize..40,
    ) {
        let mut coded = Vec::new();
        for chunk in &chunks {
            coded.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            coded.extend_from_slice(chunk);
            coded.extend_from_slice(b"\r\n");
        }
        coded.extend_from_slice(b"0\r\n\r\n");
        let pieces: Vec<_> = coded.chunks(size).collect();
        let decoded = decode(&pieces).unwrap();
        prop_assert_eq!(decoded.data, chunks.concat());
        prop_assert!(decoded.ended && decoded.rest.is_empty());
    }

    /// Hostile bytes are decoded alike, or refused alike, however they are split.
    #[test]
    fn splitting_never_changes_the_verdict(
        text in "[0-9a-fA-F;x \r\n]{0,4}(\r\n)?[a-z\r\n:0]{0,30}",
        at in 0_usize..40,
    ) {
        let text = text.as_bytes();
        let (first, second) = text.split_at(at.min(text.len()));
        prop_assert_eq!(decode(&[first, second]), decode(&[text]));
    }
}
