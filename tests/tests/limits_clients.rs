//! Clients that are slow, silent or too many, on HTTP/1.1 and below it: each is cut off within its time, answered where
//! that is possible, and costs neither memory nor other clients anything.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use herald_tests::client::{Settings, open};
use herald_tests::origin::{Next, Origin};
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol, World};

/// How long after its limit a connection may still be open: the machine may be busy.
const SLACK: Duration = Duration::from_secs(6);

/// An origin that sends `size` bytes as fast as they are taken.
fn large(size: usize) -> Origin {
    Origin::scripted(move |_, stream| {
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes())?;
        let piece = vec![b'a'; 64 * 1024];
        let mut left = size;
        while left > 0 {
            let count = left.min(piece.len());
            stream.write_all(&piece[..count])?;
            left -= count;
        }
        Ok(Next::Keep)
    })
}

#[test]
fn a_body_that_stands_still_is_408() {
    let world = World::with("optional", |launch| launch.args(["--body-timeout", "1s"]));
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        for part in ["", "3\r\nabc\r\n"] {
            let mut client = Settings::default().connect(world.herald.address()).unwrap();
            let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n{part}");
            let started = Instant::now();
            let answer = client.ask(head.as_bytes()).unwrap();
            assert_eq!(answer.status, 408, "{framing} {part:?}");
            assert_eq!(answer.headers.only("connection").unwrap(), "close");
            assert!(answer.headers.has("x-request-id"));
            assert!(started.elapsed() < Duration::from_secs(1) + SLACK);
            let (_, closed) = client.tail(SLACK);
            assert!(closed, "{framing} {part:?}");
        }
    }
    assert_eq!(world.settle(None).unwrap().len(), 0);
}

#[test]
fn a_body_that_moves_may_take_longer_than_its_limit() {
    let world = World::with("optional", |launch| launch.args(["--body-timeout", "1s"]));
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    client
        .send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n")
        .unwrap();
    for _ in 0..8 {
        thread::sleep(Duration::from_millis(400));
        client.send(b"x").unwrap();
    }
    assert_eq!(client.response().unwrap().status, 200);
    assert_eq!(world.origin.take_one().body.length, 8);
}

/// The body's limit is not the answer's: an origin may think for longer than a client may pause.
#[test]
fn a_slow_origin_is_not_a_slow_body() {
    let origin = Origin::scripted(|_, stream| {
        thread::sleep(Duration::from_secs(3));
        stream.write_all(b"HTTP/1.1 204 Late\r\n\r\n")?;
        Ok(Next::Keep)
    });
    let world = World::around(origin, "optional", |launch| {
        launch.args(["--body-timeout", "1s"])
    });
    for protocol in Protocol::ALL {
        for ask in [Ask::get("/"), Ask::post("/", b"all of it")] {
            let answer = world.ask(protocol, None, &ask).unwrap();
            assert_eq!(answer.status, 204, "{protocol:?} {}", ask.method);
        }
    }
}

#[test]
fn a_client_that_reads_nothing_is_cut_off_and_costs_little() {
    let size = 256 << 20;
    let world = World::around(large(size), "optional", |launch| {
        launch.args(["--write-timeout", "1s", "--idle-timeout", "60s"])
    });
    assert_eq!(
        world
            .ask(Protocol::H1, None, &Ask::get("/"))
            .unwrap()
            .body
            .length,
        size as u64
    );
    let (before, sockets) = (world.herald.rss_kib(), world.herald.descriptors());
    let mut slow: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Settings::default().connect(world.herald.address()).unwrap();
            client
                .send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .unwrap();
            client
        })
        .collect();
    wait::until("all to be open", || {
        (world.herald.descriptors() >= sockets + 20).then_some(())
    });
    wait::within(Duration::from_secs(1) + SLACK, "all to be cut off", || {
        (world.herald.descriptors() <= sockets).then_some(())
    });
    let grown = world.herald.rss_kib().saturating_sub(before);
    assert!(
        grown < 24 * 1024,
        "herald grew by {grown} KiB for 20 clients"
    );
    // What they got is no whole answer.
    let cut = slow[0].response();
    assert!(cut.is_err(), "{cut:?}");
}

#[test]
fn a_client_that_reads_a_little_now_and_then_is_served() {
    let size = 16 << 20;
    let world = World::around(large(size), "optional", |launch| {
        launch.args(["--write-timeout", "3s"])
    });
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    client
        .send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut piece = vec![0; 512 * 1024];
    let mut got = 0;
    while got < size {
        client.stream().read_exact(&mut piece).unwrap();
        got += piece.len();
        if got < size / 2 {
            thread::sleep(Duration::from_millis(300));
        }
    }
}

#[test]
fn an_answer_in_which_nothing_moves_is_broken_off() {
    let origin = Origin::scripted(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")?;
        thread::sleep(Duration::from_secs(8));
        Ok(Next::Close)
    });
    let world = World::around(origin, "optional", |launch| {
        launch.args(["--exchange-idle-timeout", "1s"])
    });
    for protocol in Protocol::ALL {
        let started = Instant::now();
        let answer = world.ask(protocol, None, &Ask::get("/"));
        assert!(answer.is_err(), "{protocol:?}: {answer:?}");
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(900), "{protocol:?}: {took:?}");
        assert!(took < Duration::from_secs(7), "{protocol:?}: {took:?}");
    }
}

/// Server-sent events: the client is silent, the origin speaks now and then.
#[test]
fn an_answer_that_moves_now_and_then_goes_on() {
    let origin = Origin::scripted(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")?;
        for _ in 0..6 {
            thread::sleep(Duration::from_millis(500));
            stream.write_all(b"x\n")?;
        }
        Ok(Next::Keep)
    });
    let world = World::around(origin, "optional", |launch| {
        launch.args([
            "--exchange-idle-timeout",
            "1s",
            "--idle-timeout",
            "1s",
            "--head-timeout",
            "1s",
        ])
    });
    for protocol in Protocol::ALL {
        let answer = world.ask(protocol, None, &Ask::get("/")).unwrap();
        assert_eq!(answer.body.length, 12, "{protocol:?}");
    }
}

#[test]
fn stalled_handshakes_end_in_time_while_others_are_served() {
    let world = World::with("optional", |launch| {
        launch.args(["--handshake-timeout", "1s"])
    });
    let mut stalled: Vec<_> = (0..100)
        .map(|n| {
            let mut socket = open(world.herald.address()).unwrap();
            let hello: &[u8] = if n % 2 == 0 {
                b""
            } else {
                b"\x16\x03\x01\x02\x00\x01\x00"
            };
            socket.write_all(hello).unwrap();
            socket
        })
        .collect();
    assert_eq!(
        world
            .ask(Protocol::H1, None, &Ask::get("/"))
            .unwrap()
            .status,
        200
    );
    let started = Instant::now();
    for socket in &mut stalled {
        let ended = socket.read(&mut [0; 64]).map_or(true, |count| count == 0);
        assert!(ended, "after {:?}", started.elapsed());
    }
    assert!(started.elapsed() < Duration::from_secs(1) + SLACK);
}

#[test]
fn one_source_has_its_share_of_connections_and_no_more() {
    let world = World::with("optional", |launch| {
        launch
            .args(["--max-connections-per-source", "3"])
            .workers(2)
    });
    let connect = || {
        let mut client = Settings::default().connect(world.herald.address())?;
        client.get("/").map(|answer| (client, answer.status))
    };
    let held: Vec<_> = (0..3).map(|_| connect().unwrap()).collect();
    for _ in 0..5 {
        let started = Instant::now();
        assert!(connect().is_err(), "a fourth connection was served");
        assert!(started.elapsed() < SLACK, "it waited");
    }
    drop(held);
    let again = wait::until("a place to be free", || connect().ok());
    assert_eq!(again.1, 200);
}

#[test]
fn a_trusted_proxy_stands_for_many() {
    let world = World::with("optional", |launch| {
        let share = ["--max-connections-per-source", "1"];
        launch.args(share).args(["--trusted-proxy", "127.0.0.0/8"])
    });
    let held: Vec<_> = (0..5)
        .map(|_| {
            let mut client = Settings::default().connect(world.herald.address()).unwrap();
            assert_eq!(client.get("/").unwrap().status, 200);
            client
        })
        .collect();
    assert_eq!(held.len(), 5);
}
