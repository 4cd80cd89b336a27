//! Request smuggling: whatever the bytes, the origin sees one request or none, with one reading, and nothing behind it
//! (client-cert-headers.md §3.7). A smuggled request would carry certificate headers of the attacker's choice.
//!
//! Every row's bytes hide `GET /smuggled` with spoofed headers behind or inside the request.

use std::time::Duration;

use herald_tests::attacks::Fate::{self, Either, Once, Refused};
use herald_tests::attacks::{Attacks, SMUGGLED};
use herald_tests::client::Settings;
use herald_tests::origin::describe;
use herald_tests::pki::Pki;
use herald_tests::wire::{sha256, text};
use herald_tests::world::{Ask, Protocol, World, certificate_lines};

/// Heads of a POST whose body is `0CRLFCRLF` (the end of a chunked body, and five bytes) and then a request.
#[test]
fn two_lengths_have_one_reading() {
    let mut attacks = Attacks::new("two lengths");
    for (name, lines, fate) in LENGTHS {
        let head =
            format!("POST / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        // Where Content-Length alone frames the body, what follows is an honest pipelined request: the tail is left out.
        let framed = fate != Refused && !lines.to_ascii_lowercase().contains("transfer-encoding");
        let bytes = if framed {
            head.replace(SMUGGLED, "")
        } else {
            head
        };
        attacks.h1(name, bytes.as_bytes(), fate);
    }
    attacks.finish();
}

#[test]
fn a_content_length_that_ends_early_leaves_the_rest_to_the_client_connection() {
    // The tail is a request of its own, on the client's side: it is served as one, with our headers and not with its own.
    let world = World::new("optional");
    let identity = Pki::shared().good();
    let mut client = Settings::new(Some(&identity))
        .connect(world.herald.address())
        .unwrap();
    let bytes = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}"
    );
    client.send(bytes.as_bytes()).unwrap();
    assert_eq!(client.response().unwrap().status, 200);
    assert_eq!(client.response().unwrap().status, 200);
    let seen = world.settle(None).unwrap();
    assert_eq!(seen.len(), 2, "{}", describe(&seen));
    assert_eq!(certificate_lines(&seen[0]), certificate_lines(&seen[1]));
    assert_eq!(certificate_lines(&seen[1]).len(), 10);
}

#[test]
fn transfer_encoding_on_http_1_0_frames_nothing() {
    let mut attacks = Attacks::new("HTTP/1.0");
    for (name, lines, fate) in [
        ("TE", "Transfer-Encoding: chunked", Refused),
        (
            "TE and keep-alive",
            "Transfer-Encoding: chunked\r\nConnection: keep-alive",
            Refused,
        ),
        (
            "TE and CL",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            Either("0\r\n\r\n"),
        ),
        ("no length", "X: 1", Either("")),
        ("CL", "Content-Length: 5", Once("0\r\n\r\n")),
    ] {
        let bytes =
            format!("POST / HTTP/1.0\r\nHost: localhost\r\n{lines}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        attacks.h1(name, bytes.as_bytes(), fate);
    }
    attacks.finish();
}

#[test]
fn odd_chunks_are_refused_or_framed_anew() {
    let mut attacks = Attacks::new("chunks");
    for (name, body, fate) in CHUNKS {
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        // A sound body is followed by nothing: a request behind it would be an honest one.
        let tail = if fate == Refused { SMUGGLED } else { "" };
        attacks.h1(name, format!("{head}{body}{tail}").as_bytes(), fate);
    }
    attacks.finish();
}

#[test]
fn pipelined_requests_each_get_clean_headers_in_order() {
    let world = World::new("optional");
    let identity = Pki::shared().good();
    for caller in [Some(&identity), None] {
        let mut client = Settings::new(caller)
            .connect(world.herald.address())
            .unwrap();
        let mut bytes = Vec::new();
        for n in 0..10 {
            let ask = if n % 2 == 0 {
                Ask::get(&format!("/{n}"))
            } else {
                Ask::post(&format!("/{n}"), b"body")
            };
            bytes.extend(
                ask.header("X-CERT-VERIFY", "FAILED:spoofed")
                    .header("x_cert_verify", "SUCCESS")
                    .to_bytes(),
            );
        }
        client.send(&bytes).unwrap();
        for n in 0..10 {
            let answer = client.response().unwrap();
            let seen: serde_json::Value = serde_json::from_slice(&answer.body.start).unwrap();
            assert_eq!(seen["target"], format!("/{n}"));
        }
        let seen = world.settle(None).unwrap();
        assert_eq!(seen.len(), 10);
        let expected = if caller.is_some() { 10 } else { 2 };
        for request in &seen {
            assert_eq!(certificate_lines(request), certificate_lines(&seen[0]));
            assert_eq!(certificate_lines(request).len(), expected);
            assert!(
                !text(&request.raw).contains("spoofed") && !request.headers.has("x_cert_verify")
            );
        }
    }
}

/// hyper's `pipeline_flush` holds answers back while bytes of another request lie in its buffer: half a request behind a
/// whole one, and the client waits for its answer as long as the server waits for the other half.
#[test]
fn half_a_request_behind_does_not_hold_back_the_answer() {
    let world = World::new("optional");
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    client.patience(Duration::from_secs(5));
    let first = client.ask(b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /2 HTTP/1.1\r\nHo");
    assert_eq!(first.expect("the first request's answer").status, 200);
    assert_eq!(client.ask(b"st: localhost\r\n\r\n").unwrap().status, 200);
}

#[test]
fn a_body_that_looks_like_a_request_stays_a_body() {
    let world = World::new("optional");
    for protocol in Protocol::ALL {
        for method in ["POST", "GET", "DELETE", "PUT"] {
            for ask in [
                Ask {
                    method,
                    ..Ask::post("/", SMUGGLED.as_bytes())
                },
                Ask {
                    method,
                    ..Ask::post("/", SMUGGLED.as_bytes()).trailer("x-checksum", "1")
                },
            ] {
                assert_eq!(
                    world.ask(protocol, None, &ask).unwrap().status,
                    200,
                    "{protocol:?} {method}"
                );
                let seen = world.settle(None).unwrap();
                assert_eq!(seen.len(), 1, "{protocol:?} {method}: {}", describe(&seen));
                assert_eq!(
                    seen[0].body.sha256,
                    sha256(SMUGGLED.as_bytes()),
                    "{protocol:?} {method}"
                );
            }
        }
    }
}

/// A request that breaks off must not leave half a body on an upstream connection that somebody else gets next.
#[test]
fn a_request_that_breaks_off_never_completes_at_the_origin() {
    let world = World::new("optional");
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let mut client = Settings::default().connect(world.herald.address()).unwrap();
        let bytes =
            format!("POST /broken HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n5\r\nabcde\r\n");
        client.send(bytes.as_bytes()).unwrap();
        drop(client);
        for _ in 0..3 {
            let seen = world.settle(None).unwrap();
            assert!(seen.is_empty(), "{head}: {}", describe(&seen));
        }
    }
}

const LENGTHS: [(&str, &str, Fate); 32] = [
    (
        "CL then TE",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        Either(""),
    ),
    (
        "TE then CL",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        Either(""),
    ),
    (
        "CL over all, TE",
        "Content-Length: 73\r\nTransfer-Encoding: chunked",
        Either(""),
    ),
    (
        "TE, CL 0",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        Either(""),
    ),
    (
        "CL, TE in another case",
        "Content-Length: 5\r\ntransfer-encoding: CHUNKED",
        Either(""),
    ),
    (
        "CL, TE with a tab",
        "Content-Length: 5\r\nTransfer-Encoding:\tchunked",
        Either(""),
    ),
    (
        "two different CL",
        "Content-Length: 5\r\nContent-Length: 73",
        Refused,
    ),
    (
        "two different CL, turned",
        "Content-Length: 73\r\nContent-Length: 5",
        Refused,
    ),
    (
        "the same CL twice",
        "Content-Length: 5\r\nContent-Length: 5",
        Either("0\r\n\r\n"),
    ),
    ("a CL list", "Content-Length: 5, 73", Refused),
    (
        "a CL list of one number",
        "Content-Length: 5, 5",
        Either("0\r\n\r\n"),
    ),
    ("a plus", "Content-Length: +5", Refused),
    ("a minus", "Content-Length: -5", Refused),
    ("hex", "Content-Length: 0x5", Refused),
    ("two numbers", "Content-Length: 5 73", Refused),
    ("a fraction", "Content-Length: 5.0", Refused),
    ("a letter behind", "Content-Length: 5a", Refused),
    ("an empty CL", "Content-Length: ", Refused),
    (
        "a CL beyond 64 bits",
        "Content-Length: 18446744073709551621",
        Refused,
    ),
    (
        "leading zeros",
        "Content-Length: 00000005",
        Either("0\r\n\r\n"),
    ),
    ("TE gzip", "Transfer-Encoding: gzip", Refused),
    ("TE identity", "Transfer-Encoding: identity", Refused),
    (
        "TE identity and CL",
        "Transfer-Encoding: identity\r\nContent-Length: 5",
        Refused,
    ),
    (
        "TE chunked, gzip",
        "Transfer-Encoding: chunked, gzip",
        Refused,
    ),
    (
        "TE gzip, chunked",
        "Transfer-Encoding: gzip, chunked",
        Refused,
    ),
    (
        "TE chunked, chunked",
        "Transfer-Encoding: chunked, chunked",
        Refused,
    ),
    (
        "TE xchunked",
        "Transfer-Encoding: xchunked\r\nContent-Length: 5",
        Refused,
    ),
    (
        "TE with a parameter",
        "Transfer-Encoding: chunked;q=1\r\nContent-Length: 5",
        Refused,
    ),
    (
        "TE quoted",
        "Transfer-Encoding: \"chunked\"\r\nContent-Length: 5",
        Refused,
    ),
    (
        "two TE, identity last",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        Refused,
    ),
    (
        "two TE, identity first",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        Refused,
    ),
    (
        "TE with an underscore",
        "Transfer_Encoding: chunked\r\nContent-Length: 5",
        Once("0\r\n\r\n"),
    ),
];

const CHUNKS: [(&str, &str, Fate); 24] = [
    ("plain", "3\r\nabc\r\n0\r\n\r\n", Once("abc")),
    (
        "upper hex",
        "A\r\nabcdefghij\r\n0\r\n\r\n",
        Once("abcdefghij"),
    ),
    ("leading zeros", "0003\r\nabc\r\n0\r\n\r\n", Either("abc")),
    ("many last zeros", "3\r\nabc\r\n000\r\n\r\n", Either("abc")),
    ("an extension", "3;a=b\r\nabc\r\n0\r\n\r\n", Either("abc")),
    (
        "a quoted extension",
        "3;a=\"b\"\r\nabc\r\n0\r\n\r\n",
        Either("abc"),
    ),
    (
        "a space behind the size",
        "3 \r\nabc\r\n0\r\n\r\n",
        Either("abc"),
    ),
    ("hex with 0x", "0x3\r\nabc\r\n0\r\n\r\n", Refused),
    ("a plus", "+3\r\nabc\r\n0\r\n\r\n", Refused),
    ("a minus", "-3\r\nabc\r\n0\r\n\r\n", Refused),
    ("an underscore", "0_3\r\nabc\r\n0\r\n\r\n", Refused),
    ("an empty size", "\r\nabc\r\n0\r\n\r\n", Refused),
    ("no hex", "g\r\nabc\r\n0\r\n\r\n", Refused),
    ("a space before the size", " 3\r\nabc\r\n0\r\n\r\n", Refused),
    (
        "beyond 64 bits",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "a chunk too long for its data",
        "5\r\nabc\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "a chunk too short for its data",
        "2\r\nabc\r\n0\r\n\r\n",
        Refused,
    ),
    ("no line end behind the data", "3\r\nabc0\r\n\r\n", Refused),
    (
        "a bare LF behind the size",
        "3\nabc\r\n0\r\n\r\n",
        Either("abc"),
    ),
    ("a bare CR behind the size", "3\rabc\r\n0\r\n\r\n", Refused),
    (
        "a bare LF in an extension",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "a bare CR in an extension",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        Either("abc"),
    ),
    (
        "a malformed trailer",
        "3\r\nabc\r\n0\r\nX-CERT-VERIFY : SUCCESS\r\n\r\n",
        Either("abc"),
    ),
    (
        "a folded trailer",
        "3\r\nabc\r\n0\r\nX-A: 1\r\n X-CERT-VERIFY: SUCCESS\r\n\r\n",
        Either("abc"),
    ),
];
