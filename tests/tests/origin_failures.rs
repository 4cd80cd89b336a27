//! Origins that fail: what is no response, comes too late or breaks off is told as such, and no other request pays for it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use herald_tests::client::Settings;
use herald_tests::herald::Launch;
use herald_tests::origin::{Next, Origin};
use herald_tests::table::{Table, check};
use herald_tests::world::{Ask, Protocol, World};

#[test]
fn malformed_responses_are_502() {
    let mut table = Table::new("malformed responses");
    for (name, bytes) in MALFORMED {
        for protocol in Protocol::ALL {
            let world = World::around(Origin::raw(*bytes, Next::Close), "optional", |launch| {
                launch
            });
            let result = match world.ask(protocol, None, &Ask::get("/")) {
                Ok(answer) => check(answer.status == 502, || {
                    format!("{} {:?}", answer.status, answer.headers.lines())
                }),
                Err(error) => Err(error),
            };
            table.row(&format!("{name}, {protocol:?}"), result);
        }
    }
    table.finish();
}

/// A response behind the response would answer somebody else's request.
#[test]
fn bytes_behind_a_response_never_answer_another_request() {
    let extra = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
    let origin = Origin::scripted(move |request, stream| {
        let bytes = if request.target == "/extra" {
            extra.as_bytes()
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"
        };
        stream.write_all(bytes)?;
        Ok(Next::Keep)
    });
    let world = World::around(origin, "optional", |launch| launch);
    for protocol in Protocol::ALL {
        let mut connection = protocol
            .connect(&world.herald, &Settings::default())
            .unwrap();
        for _ in 0..5 {
            let first = connection.ask(&Ask::get("/extra")).unwrap();
            assert_eq!(first.body.start, b"ok");
            let second = connection.ask(&Ask::get("/")).unwrap();
            assert_eq!(
                (second.status, &*second.body.start),
                (200, &b"right"[..]),
                "{protocol:?}"
            );
        }
    }
}

#[test]
fn a_dead_origin_is_502_and_comes_back() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let herald = Launch::new("optional", address).start();
    for protocol in Protocol::ALL {
        let mut connection = protocol.connect(&herald, &Settings::default()).unwrap();
        assert_eq!(
            connection.ask(&Ask::get("/")).unwrap().status,
            502,
            "{protocol:?}"
        );
        assert_eq!(
            connection.ask(&Ask::post("/", b"body")).unwrap().status,
            502,
            "{protocol:?}"
        );
    }
    let origin = TcpListener::bind(address).unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = origin.accept().unwrap();
        let mut buffer = [0; 4096];
        assert!(socket.read(&mut buffer).unwrap() > 0);
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    });
    let mut client = Settings::default().connect(herald.address()).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
    server.join().unwrap();
}

#[test]
fn an_origin_that_closes_without_a_word_is_502() {
    for protocol in Protocol::ALL {
        let world = World::around(Origin::raw("", Next::Close), "optional", |launch| launch);
        assert_eq!(
            world.ask(protocol, None, &Ask::get("/")).unwrap().status,
            502,
            "{protocol:?}"
        );
        assert_eq!(
            world
                .ask(protocol, None, &Ask::post("/", b"body"))
                .unwrap()
                .status,
            502,
            "{protocol:?}"
        );
    }
}

/// A kept connection that the origin closes while idle must not fail the next request.
#[test]
fn a_kept_connection_closed_by_the_origin_is_no_error_for_the_next_request() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Next::Close,
    );
    let world = World::around(origin, "optional", |launch| launch);
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    for n in 0..50 {
        let answer = client.get("/").unwrap();
        assert_eq!(
            (answer.status, &*answer.body.start),
            (200, &b"ok"[..]),
            "request {n}"
        );
    }
}

/// A kept connection that dies under a request before any byte of an answer: what has no effect of its
/// own is sent once more, anything else never twice (RFC 9110 §9.2.2).
#[test]
fn only_an_idempotent_request_is_sent_again() {
    let origin = Origin::scripted(|request, stream| {
        // Every second request of a connection is read and gets no word.
        if request.index % 2 == 1 {
            return Ok(Next::Close);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Next::Keep)
    });
    let world = World::around(origin, "optional", |launch| launch);
    for (ask, status, times) in [
        (Ask::get("/again"), 200, 2),
        (Ask::post("/once", b""), 502, 1),
        (Ask::post("/once", b"body"), 502, 1),
    ] {
        let mut client = Settings::default().connect(world.herald.address()).unwrap();
        let mut say = |ask: &Ask| client.ask(&ask.to_bytes()).unwrap().status;
        assert_eq!(say(&Ask::get("/first")), 200);
        world.origin.take();
        assert_eq!(say(&ask), status, "{ask:?}");
        let seen = world.origin.take();
        assert_eq!(seen.len(), times, "{ask:?}: {seen:?}");
    }
}

#[test]
fn a_truncated_body_is_seen_as_truncated() {
    let mut table = Table::new("truncation");
    for (name, bytes) in [
        (
            "Content-Length",
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        ),
        (
            "chunked, inside a chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc",
        ),
        (
            "chunked, between chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ),
        (
            "chunked, before the last line",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        ),
        (
            "a malformed chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "a chunk too long",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        for protocol in Protocol::ALL {
            let world = World::around(Origin::raw(bytes, Next::Close), "optional", |launch| launch);
            let result = match world.ask(protocol, None, &Ask::get("/")) {
                Err(_) => Ok(()),
                // Seen before the head was sent, it may be a 502 as well.
                Ok(answer) => check(answer.status == 502, || {
                    format!("{}: {:?}", answer.status, answer.body)
                }),
            };
            table.row(&format!("{name}, {protocol:?}"), result);
        }
    }
    table.finish();
}

#[test]
fn a_slow_origin_is_504() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let herald = Launch::new("optional", address)
        .args(["--upstream-response-timeout", "1s"])
        .start();
    for protocol in Protocol::ALL {
        let mut connection = protocol.connect(&herald, &Settings::default()).unwrap();
        let started = std::time::Instant::now();
        assert_eq!(
            connection.ask(&Ask::get("/")).unwrap().status,
            504,
            "{protocol:?}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{:?}",
            started.elapsed()
        );
    }
}

const MALFORMED: &[(&str, &str)] = &[
    ("no HTTP", "hello\r\n\r\n"),
    ("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("no status", "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
    (
        "a status of two digits",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "a status of four digits",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    ("status 099", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    (
        "two different CL",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    ),
    (
        "a CL list",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!",
    ),
    (
        "a signed CL",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    ),
    (
        "an empty CL",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok",
    ),
    (
        "a CL beyond 64 bits",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok",
    ),
    (
        "CL and TE",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "TE gzip",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    ),
    (
        "TE gzip, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "TE chunked twice",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE on HTTP/1.0",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "a fold",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "a space before the colon",
        "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "a NUL in a value",
        "HTTP/1.1 200 OK\r\nX-A: 1\0\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "a bare CR in a value",
        "HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "a line without colon",
        "HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("a head that ends early", "HTTP/1.1 200 OK\r\nContent-Le"),
];
