//! Tunnels: opened by the origin's 101 to a question that was asked validly and by somebody who may pass, and by nothing
//! else; bytes both ways, each side ending by itself; cut when silent, when the caller's certificate ends, when Herald does.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use herald_tests::client::{Client, Settings, Tls};
use herald_tests::origin::{Next, Origin, describe};
use herald_tests::pki::Pki;
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol, World, certificate_lines};

const QUESTION: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Cert-Verify: SUCCESS\r\n\r\n";

/// An origin that switches, sends `early` in the same write, and then does as `then` says.
fn switching(
    early: &'static str,
    then: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> Origin {
    Origin::scripted(move |request, stream| {
        if !request.headers.has("upgrade") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(Next::Keep);
        }
        stream.write_all(format!("{ANSWER}{early}").as_bytes())?;
        then(stream)?;
        Ok(Next::Close)
    })
}

/// Sends back what comes, until the end, and then a last word.
fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.write_all(b"last word"),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

fn open(world: &World) -> Client {
    open_with(world, &Settings::default())
}

fn open_with(world: &World, settings: &Settings) -> Client {
    let mut client = settings.connect(world.herald.address()).unwrap();
    let answer = client.ask(QUESTION.as_bytes()).unwrap();
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.headers.only("upgrade").unwrap(), "websocket");
    assert_eq!(answer.headers.only("connection").unwrap(), "upgrade");
    assert!(answer.headers.has("sec-websocket-accept"));
    assert!(!answer.headers.has("x-cert-verify"), "{answer:?}");
    client
}

fn read_exactly(client: &mut Client, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    let mut filled = client.unread(&mut got);
    while filled < got.len() {
        match client.stream().read(&mut got[filled..]).unwrap() {
            0 => panic!("ended after {:?}", &got[..filled]),
            count => filled += count,
        }
    }
    assert!(got == expected);
}

#[test]
fn bytes_pass_both_ways_and_each_side_ends_by_itself() {
    for version in Tls::ALL {
        let world = World::around(switching("early down ", echo), "optional", |launch| launch);
        let identity = Pki::shared().good();
        let settings = Settings::new(Some(&identity)).version(version);
        let mut client = open_with(&world, &settings);
        let seen = world.origin.take_one();
        assert_eq!(certificate_lines(&seen).len(), 10);
        assert_eq!(seen.headers.only("upgrade").unwrap(), "websocket");
        read_exactly(&mut client, b"early down ");
        client.send(b"hello").unwrap();
        read_exactly(&mut client, b"hello");
        // The client ends first; what the origin says afterwards still arrives, and then its end.
        client.half_close().unwrap();
        assert_eq!(client.rest().unwrap(), b"last word", "{version:?}");
    }
}

#[test]
fn an_origin_that_ends_first_still_hears_the_client() {
    let (heard, told) = std::sync::mpsc::channel();
    let origin = switching("", move |stream| {
        stream.shutdown(Shutdown::Write)?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest)?;
        heard.send(rest).map_err(io::Error::other)
    });
    let world = World::around(origin, "optional", |launch| launch);
    let mut client = open(&world);
    assert_eq!(
        client.stream().read(&mut [0; 8]).unwrap(),
        0,
        "close_notify"
    );
    client.send(b"still here").unwrap();
    client.half_close().unwrap();
    let rest = told.recv_timeout(wait::PATIENCE).unwrap();
    assert_eq!(rest, b"still here");
}

/// Bytes that a client sends without waiting for the answer belong to the tunnel, if it opens.
#[test]
fn bytes_sent_ahead_of_the_answer_come_first() {
    let world = World::around(switching("", echo), "optional", |launch| launch);
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    client.send(format!("{QUESTION}ahead ").as_bytes()).unwrap();
    assert_eq!(client.response().unwrap().status, 101);
    client.send(b"after").unwrap();
    read_exactly(&mut client, b"ahead after");
}

/// ... and are HTTP, if it does not: the known way to smuggle through a tunnel that a proxy opened too early
/// (CVE-2026-2833).
#[test]
fn bytes_sent_ahead_of_a_refusal_are_requests_like_any_other() {
    let world = World::new("optional");
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    let forged = "GET /forged HTTP/1.1\r\nHost: localhost\r\nX-Cert-Verify: SUCCESS\r\n\r\n";
    client
        .send(format!("{QUESTION}{forged}").as_bytes())
        .unwrap();
    assert_eq!(client.response().unwrap().status, 200);
    assert_eq!(client.response().unwrap().status, 200);
    assert_eq!(client.get("/after").unwrap().status, 200);
    let seen = world.settle(None).unwrap();
    assert_eq!(seen.len(), 3, "{}", describe(&seen));
    for request in &seen {
        assert_eq!(request.headers.only("x-cert-verify").unwrap(), "NONE");
    }
}

#[test]
fn an_answer_that_is_not_the_one_asked_for_opens_nothing() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
        "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let origin = Origin::raw(format!("{answer}secret"), Next::Keep);
        let world = World::around(origin, "optional", |launch| launch);
        let mut client = Settings::default().connect(world.herald.address()).unwrap();
        let got = client.ask(QUESTION.as_bytes()).unwrap();
        assert_eq!(got.status, 502, "{answer:?}");
        assert!(!got.headers.has("upgrade"));
        assert!(!got.body.start.windows(6).any(|bytes| bytes == b"secret"));
    }
}

#[test]
fn a_caller_without_permission_is_refused_like_any_request() {
    let world = World::around(switching("", echo), "required", |launch| launch);
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    assert_eq!(client.ask(QUESTION.as_bytes()).unwrap().status, 403);
    assert!(world.origin.take().is_empty());
}

/// What is no valid question for a listed protocol is a request without one.
#[test]
fn an_invalid_question_is_not_passed_on() {
    let world = World::around(switching("", echo), "optional", |launch| launch);
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for (what, bytes) in [
        (
            "no option",
            QUESTION.replace("Connection: Upgrade", "Connection: keep-alive"),
        ),
        ("POST", QUESTION.replace("GET ", "POST ")),
        (
            "a body",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 1\r\n\r\nx"),
        ),
        (
            "HTTP/1.0",
            format!("GET / HTTP/1.0\r\nHost: a\r\n{fields}\r\n"),
        ),
        (
            "two lines",
            QUESTION.replace("\r\n\r\n", "\r\nUpgrade: websocket\r\n\r\n"),
        ),
        (
            "two protocols",
            QUESTION.replace("websocket", "websocket, foo"),
        ),
        ("another protocol", QUESTION.replace("websocket", "foo")),
    ] {
        let mut client = Settings::default().connect(world.herald.address()).unwrap();
        assert_eq!(client.ask(bytes.as_bytes()).unwrap().status, 200, "{what}");
        let seen = world.origin.take_one();
        assert!(
            !seen.headers.has("upgrade"),
            "{what}: {}",
            describe(&[seen])
        );
    }
    let ask = Ask::get("/").header("upgrade", "websocket");
    let answer = world.ask(Protocol::H2, None, &ask);
    assert!(!matches!(answer, Ok(answer) if answer.status == 101));
    let seen = world.settle(None).unwrap();
    assert!(seen.iter().all(|seen| !seen.headers.has("upgrade")));
}

#[test]
fn other_protocols_are_listed_or_none_is() {
    let answer = ANSWER.replace("websocket", "custom/2");
    let origin = || {
        let answer = answer.clone();
        Origin::scripted(move |request, stream| {
            let asked = request.headers.has("upgrade");
            let plain = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            let text = if asked { &*answer } else { plain };
            stream.write_all(text.as_bytes())?;
            Ok(if asked { Next::Close } else { Next::Keep })
        })
    };
    let question = QUESTION.replace("websocket", "custom/2");
    for (upgrade, question, status) in [
        (&["--upgrade", "custom/2"][..], &*question, 101),
        (&["--upgrade", "custom/2"], QUESTION, 200),
        (
            &["--upgrade", "websocket", "--upgrade", "custom/2"],
            &question,
            101,
        ),
        (&["--upgrade", "off"], QUESTION, 200),
        (&[], &question, 200),
    ] {
        let world = World::around(origin(), "optional", |launch| launch.args(upgrade));
        let mut client = Settings::default().connect(world.herald.address()).unwrap();
        let got = client.ask(question.as_bytes()).unwrap().status;
        assert_eq!(got, status, "{upgrade:?}");
    }
}

#[test]
fn what_carries_http_cannot_be_listed() {
    let origin = Origin::echo();
    for upgrade in ["h2c", "HTTP/2.0", "TLS/1.2", "a b", ""] {
        let launch = herald_tests::herald::Launch::new("optional", origin.address());
        let (status, log) = launch.args(["--upgrade", upgrade]).try_start().unwrap_err();
        assert_eq!(status.code(), Some(2), "{upgrade}: {log}");
        assert!(log.contains("--upgrade"), "{log}");
    }
}

#[test]
fn a_silent_tunnel_is_cut_and_a_talking_one_is_not() {
    let world = World::around(switching("", echo), "optional", |launch| {
        launch.args([
            "--tunnel-idle-timeout",
            "1s",
            "--idle-timeout",
            "1s",
            "--head-timeout",
            "1s",
        ])
    });
    let mut client = open(&world);
    for _ in 0..8 {
        client.send(b"x").unwrap();
        read_exactly(&mut client, b"x");
        std::thread::sleep(Duration::from_millis(400));
    }
    let started = Instant::now();
    let (rest, closed) = client.tail(Duration::from_secs(10));
    assert!(closed && rest.is_empty(), "{rest:?}");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

/// The certificate's last second is the tunnel's: it makes no further request at which it could be judged.
#[test]
fn a_tunnel_ends_with_its_callers_certificate() {
    let world = World::around(switching("", echo), "required", |launch| launch);
    let identity = Pki::shared().expiring_in(3);
    let mut client = open_with(&world, &Settings::new(Some(&identity)));
    client.send(b"x").unwrap();
    read_exactly(&mut client, b"x");
    let started = Instant::now();
    let (_, closed) = client.tail(Duration::from_secs(10));
    assert!(closed, "open after {:?}", started.elapsed());
    assert!(
        started.elapsed() < Duration::from_secs(6),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_tunnel_outlives_the_start_of_the_drain_and_ends_at_its_deadline() {
    let mut world = World::around(switching("", echo), "optional", |launch| {
        launch.args(["--drain-timeout", "2s"])
    });
    let mut client = open(&world);
    world.herald.signal_termination();
    let started = Instant::now();
    client.send(b"draining").unwrap();
    read_exactly(&mut client, b"draining");
    let (_, closed) = client.tail(Duration::from_secs(10));
    assert!(closed);
    let took = started.elapsed();
    assert!(
        (Duration::from_millis(1500)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    assert_eq!(world.herald.terminate().code(), Some(3));
}

#[test]
fn a_drain_ends_with_its_last_tunnel() {
    let mut world = World::around(switching("", echo), "optional", |launch| launch);
    let mut client = open(&world);
    world.herald.signal_termination();
    client.half_close().unwrap();
    assert_eq!(client.rest().unwrap(), b"last word");
    drop(client);
    assert_eq!(world.herald.terminate().code(), Some(0));
}

#[test]
fn a_quarter_of_a_gigabyte_both_ways_keeps_memory_flat() {
    const PIECES: usize = 1024;
    let world = World::around(switching("", echo), "optional", |launch| launch);
    let mut client = open(&world);
    let piece = vec![7; 256 * 1024];
    client.send(&piece).unwrap();
    read_exactly(&mut client, &piece);
    let before = world.herald.rss_kib();
    for _ in 0..PIECES {
        client.send(&piece).unwrap();
        read_exactly(&mut client, &piece);
    }
    let grown = world.herald.rss_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "herald grew by {grown} KiB");
}

/// hyper forgets to end a connection on which an upgrade was ever asked for: no close_notify, and no lingering.
#[test]
fn a_connection_whose_question_was_refused_ends_properly() {
    let world = World::new("optional");
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    assert_eq!(client.ask(QUESTION.as_bytes()).unwrap().status, 200);
    let last = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(client.ask(last.as_bytes()).unwrap().status, 200);
    assert_eq!(client.rest().unwrap(), b"", "a proper close_notify");
}
