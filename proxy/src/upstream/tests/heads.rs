//! Response heads, good and malformed.

use super::super::body::Decoder;
use super::super::fields::LineScanner;
use super::super::head::{FinalHead, Head, find_head, parse_head};
use super::*;

fn parse_for(method: &Method, text: &[u8]) -> Result<Head, BadResponse> {
    let end = find_head(&mut LineScanner::default(), text, 64 * 1024)?.expect("a complete head");
    parse_head(&Bytes::copy_from_slice(&text[..end]), method, 128)
}

fn accept(method: Method, text: &str) -> FinalHead {
    match parse_for(&method, text.as_bytes()) {
        Ok(Head::Final(head)) => head,
        other => panic!("{text:?} is {other:?}"),
    }
}

fn refuse(text: &[u8]) -> BadResponse {
    parse_for(&Method::GET, text).expect_err(&String::from_utf8_lossy(text))
}

#[test]
fn every_malformed_head_is_refused_for_its_reason() {
    use BadResponse as Bad;
    let cases: &[(&str, BadResponse)] = &[
        ("ICY 200 OK\r\n\r\n", Bad::NotHttp),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", Bad::NotHttp),
        (" HTTP/1.1 200 OK\r\n\r\n", Bad::NotHttp),
        ("HTTP/2.0 200 OK\r\n\r\n", Bad::NotHttp),
        ("HTTP/1.2 200 OK\r\n\r\n", Bad::StatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", Bad::StatusLine),
        ("HTTP/1.1 +20 OK\r\n\r\n", Bad::StatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", Bad::StatusLine),
        ("HTTP/1.1 099 Low\r\n\r\n", Bad::StatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n", Bad::StatusLine),
        ("HTTP/1.1 200 OK\n\r\n", Bad::BareLf),
        ("HTTP/1.1 200 OK\r\na: b\n\r\n", Bad::BareLf),
        ("HTTP/1.1 200 OK\r\na: b\r\n\n", Bad::BareLf),
    ];
    for (text, reason) in cases {
        assert_eq!(refuse(text.as_bytes()), *reason, "{text:?}");
    }
}

#[test]
fn every_malformed_header_line_is_refused_for_its_reason() {
    use BadResponse as Bad;
    let cases: &[(&str, BadResponse)] = &[
        ("a : b", Bad::HeaderName),
        ("a\t: b", Bad::HeaderName),
        (" a: b", Bad::HeaderName),
        (": b", Bad::HeaderName),
        ("no colon", Bad::HeaderName),
        ("a\0b: c", Bad::HeaderName),
        ("a: b\r\n folded", Bad::HeaderName),
        ("a: b\r\n\tfolded: x", Bad::HeaderName),
        ("content-length: 5\r\n 6", Bad::HeaderName),
        ("a: b\rc", Bad::HeaderValue),
        ("a: b\0c", Bad::HeaderValue),
        ("a: b\x7fc", Bad::HeaderValue),
        ("a: b\x0bc", Bad::HeaderValue),
        ("content-length: +5", Bad::ContentLength),
        ("content-length: -5", Bad::ContentLength),
        ("content-length: 5 6", Bad::ContentLength),
        ("content-length: 5, 5", Bad::ContentLength),
        ("content-length: 5,", Bad::ContentLength),
        ("content-length:", Bad::ContentLength),
        ("content-length: 0x5", Bad::ContentLength),
        ("content-length: 5.0", Bad::ContentLength),
        ("content-length: \u{665}", Bad::ContentLength),
        ("content-length: 18446744073709551616", Bad::ContentLength),
        (
            "content-length: 5\r\ncontent-length: 6",
            Bad::ContentLengthConflict,
        ),
        (
            "content-length: 5\r\ntransfer-encoding: chunked",
            Bad::AmbiguousLength,
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 0",
            Bad::AmbiguousLength,
        ),
        ("transfer-encoding: gzip", Bad::TransferEncoding),
        ("transfer-encoding: gzip, chunked", Bad::TransferEncoding),
        ("transfer-encoding: chunked, chunked", Bad::TransferEncoding),
        ("transfer-encoding: xchunked", Bad::TransferEncoding),
        ("transfer-encoding: chunked;a=b", Bad::TransferEncoding),
        ("transfer-encoding: \"chunked\"", Bad::TransferEncoding),
        ("transfer-encoding:", Bad::TransferEncoding),
        ("transfer-encoding: identity", Bad::TransferEncoding),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            Bad::TransferEncoding,
        ),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: gzip",
            Bad::TransferEncoding,
        ),
    ];
    for (lines, reason) in cases {
        let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
        assert_eq!(refuse(text.as_bytes()), *reason, "{text:?}");
    }
    let old = b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(refuse(old), Bad::TransferEncoding);
}

#[test]
fn framing_follows_rfc_9112_section_6_3() {
    let length = |head: &FinalHead| head.body.left();
    let head = accept(
        Method::GET,
        "HTTP/1.1 200 OK\r\nContent-Length: 007\r\n\r\n",
    );
    assert_eq!((length(&head), head.keep_alive), (Some(7), true));
    let twice = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nContent-Length: 7\r\n\r\n";
    let head = accept(Method::GET, twice);
    assert_eq!((length(&head), head.headers.len()), (Some(7), 1));
    let most = "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n";
    assert_eq!(length(&accept(Method::GET, most)), Some(u64::MAX));

    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding:  ChunkeD \r\n\r\n";
    let head = accept(Method::GET, chunked);
    assert!(matches!(head.body, Decoder::Chunked(_)) && head.keep_alive);
    assert!(head.headers.is_empty(), "the coding is ours to undo");
    let head = accept(Method::HEAD, chunked);
    assert_eq!((length(&head), head.keep_alive), (Some(0), true));

    let head = accept(Method::GET, "HTTP/1.1 200 OK\r\n\r\n");
    assert!(matches!(head.body, Decoder::UntilClose) && !head.keep_alive);
    let head = accept(Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
    assert_eq!((length(&head), head.keep_alive), (Some(0), true));
    assert_eq!(head.headers["content-length"], "9");
    let head = accept(
        Method::GET,
        "HTTP/1.1 304 Same\r\ncontent-length: 9\r\n\r\n",
    );
    assert_eq!((length(&head), head.keep_alive), (Some(0), true));

    let head = accept(
        Method::GET,
        "HTTP/1.1 204 None\r\ncontent-length: 0\r\n\r\n",
    );
    assert_eq!((length(&head), head.keep_alive), (Some(0), true));
    assert!(head.headers.is_empty(), "RFC 9110 §8.6: no length on a 204");
    for odd in ["content-length: 3", "transfer-encoding: chunked"] {
        let head = accept(Method::GET, &format!("HTTP/1.1 204 None\r\n{odd}\r\n\r\n"));
        assert_eq!((length(&head), head.keep_alive), (Some(0), false));
    }
}

#[test]
fn close_in_any_connection_line_ends_keep_alive() {
    let keep = |version: &str, lines: &str| {
        let text = format!("HTTP/1.{version} 200 OK\r\ncontent-length: 0\r\n{lines}\r\n");
        accept(Method::GET, &text).keep_alive
    };
    assert!(keep("1", ""));
    assert!(keep("1", "connection: keep-alive, closed, x-close\r\n"));
    assert!(!keep("1", "connection: Close\r\n"));
    assert!(!keep("1", "connection: keep-alive ,\tCLOSE\r\n"));
    assert!(!keep("1", "connection: a\r\nconnection: b,close,\r\n"));
    assert!(!keep("0", ""));
    assert!(!keep("0", "connection: keep-alive\r\n"));
}

#[test]
fn header_lines_are_limited_to_their_number() {
    let text = |lines: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(lines));
    let parse = |lines, most| parse_head(&Bytes::from(text(lines)), &Method::GET, most);
    assert!(parse(10, 10).is_ok());
    assert_eq!(parse(11, 10).unwrap_err(), BadResponse::TooManyHeaders);
    assert!(parse(128, 1000).is_ok());
    assert_eq!(parse(129, 1000).unwrap_err(), BadResponse::TooManyHeaders);
}

#[test]
fn a_head_is_limited_to_its_bytes_before_its_end_is_seen() {
    let endless = [b"HTTP/1.1 200 OK\r\na: ".as_slice(), &[b'x'; 100]].concat();
    let mut scanner = LineScanner::default();
    assert_eq!(find_head(&mut scanner, &endless, 200), Ok(None));
    let refused = find_head(&mut scanner, &endless, 100);
    assert_eq!(refused, Err(BadResponse::HeadTooLarge));
    let whole = [endless.as_slice(), b"\r\n\r\n"].concat();
    let find = |most| find_head(&mut LineScanner::default(), &whole, most);
    assert_eq!(find(whole.len()), Ok(Some(whole.len())));
    assert_eq!(find(whole.len() - 1), Err(BadResponse::HeadTooLarge));
}

#[test]
fn header_values_are_slices_of_the_head() {
    let head = Bytes::from_static(b"HTTP/1.1 200 OK\r\nx-long-name: some value\r\nempty:\r\n\r\n");
    let Ok(Head::Final(parsed)) = parse_head(&head, &Method::GET, 128) else {
        panic!("a good head");
    };
    let value = parsed.headers["x-long-name"].as_bytes();
    assert!(head.as_ptr_range().contains(&value.as_ptr()));
    assert_eq!(value, b"some value");
    assert_eq!(parsed.headers["empty"], "");
}

#[test]
fn values_beyond_ascii_pass_as_they_are() {
    let head = parse_for(&Method::GET, b"HTTP/1.1 200 \xe4\r\na: \xff\xfe\r\n\r\n");
    let Ok(Head::Final(head)) = head else {
        panic!("{head:?}");
    };
    assert_eq!(head.headers["a"].as_bytes(), b"\xff\xfe");
}

proptest::proptest! {
    /// However a head arrives, its end is found where it is when it comes at once.
    #[test]
    fn a_split_head_ends_where_a_whole_one_does(cuts in proptest::collection::vec(0_usize..60, 0..8)) {
        let text = b"HTTP/1.1 200 OK\r\nserver: x\r\ncontent-length: 5\r\n\r\nhello\r\n\r\n";
        let whole = find_head(&mut LineScanner::default(), text, 1000).unwrap();
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut scanner = LineScanner::default();
        let mut found = None;
        for cut in cuts.into_iter().map(|cut| cut.min(text.len())).chain([text.len()]) {
            found = find_head(&mut scanner, &text[..cut], 1000).unwrap();
            if found.is_some() {
                break;
            }
        }
        proptest::prop_assert_eq!(found, whole);
    }

    /// No bytes make the parser panic, and what it accepts it accepts whole.
    #[test]
    fn hostile_bytes_never_panic(tail in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let text = [b"HTTP/1.1 200 OK\r\n".as_slice(), &tail].concat();
        if let Ok(Some(end)) = find_head(&mut LineScanner::default(), &text, 200) {
            proptest::prop_assert!(end <= 200);
            parse_head(&Bytes::copy_from_slice(&text[..end]), &Method::GET, 16).ok();
        }
    }
}
