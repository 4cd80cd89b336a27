//! Everything has a limit: heads, fields, silence, connections, HTTP/2 streams and their misuse. A limit answers or closes,
//! and the next client is served.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use herald_tests::client::{Client, Settings, open};
use herald_tests::h2::{CONTINUATION, HEADERS, RST_STREAM, Raw};
use herald_tests::herald::Herald;
use herald_tests::hpack::block;
use herald_tests::origin::describe;
use herald_tests::wait;
use herald_tests::world::{Ask, Connection, Protocol, World};

#[test]
fn a_head_beyond_its_limit_is_refused() {
    let world = World::new("optional");
    for protocol in Protocol::ALL {
        for (name, ask) in [
            (
                "a long value",
                Ask::get("/").header("X-Long", "a".repeat(70 * 1024)),
            ),
            (
                "many fields",
                (0..3000).fold(Ask::get("/"), |ask, n| {
                    ask.header(format!("X-{n}"), "a".repeat(30))
                }),
            ),
        ] {
            let answer = world.ask(protocol, None, &ask);
            let status = answer.as_ref().map_or(0, |answer| answer.status);
            // A reset stream is an answer too, and so is the end of a connection whose client does not stop sending.
            let refused = matches!(status, 0 | 400 | 413 | 431);
            assert!(refused, "{protocol:?}, {name}: {answer:?}");
            let seen = world.settle(None).unwrap();
            assert!(seen.is_empty(), "{protocol:?}, {name}: {}", describe(&seen));
        }
    }
}

#[test]
fn a_target_beyond_its_limit_is_refused() {
    let world = World::new("optional");
    let target = format!("/{}", "a".repeat(70 * 1024));
    let answer = world.ask(Protocol::H1, None, &Ask::get(&target)).unwrap();
    assert!(matches!(answer.status, 400 | 414 | 431), "{answer:?}");
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let fields = [
        FIELDS[0],
        FIELDS[1],
        FIELDS[2],
        (b":path", target.as_bytes()),
    ];
    let block = block(&fields);
    let (first, second) = block.split_at(16_000);
    raw.frame(HEADERS, herald_tests::h2::END_STREAM, 1, first)
        .unwrap();
    for (n, piece) in second.chunks(16_000).enumerate() {
        let last = (n + 1) * 16_000 >= second.len();
        let flags = if last {
            herald_tests::h2::END_HEADERS
        } else {
            0
        };
        raw.frame(CONTINUATION, flags, 1, piece).unwrap();
    }
    let answer = raw.answer(1);
    assert!(answer.status != Some(200), "{answer:?}");
    assert!(world.settle(None).unwrap().is_empty());
}

#[test]
fn a_head_within_its_limits_passes() {
    let world = World::new("optional");
    for protocol in Protocol::ALL {
        let long = Ask::get("/").header("X-Long", "a".repeat(30 * 1024));
        let many = (0..80).fold(Ask::get("/"), |ask, n| {
            ask.header(format!("X-{n}"), "a".repeat(30))
        });
        for ask in [long, many] {
            assert_eq!(
                world.ask(protocol, None, &ask).unwrap().status,
                200,
                "{protocol:?}"
            );
            let seen = world.origin.take_one();
            for (name, value) in &ask.headers.0 {
                let got: Vec<_> = seen
                    .headers
                    .all(std::str::from_utf8(name).unwrap())
                    .collect();
                assert_eq!(got, [&value[..]], "{protocol:?}");
            }
        }
    }
}

#[test]
fn trailers_without_end_are_refused_or_dropped() {
    let world = World::new("optional");
    for protocol in Protocol::ALL {
        let ask = (0..3000).fold(Ask::post("/", b"body"), |ask, n| {
            ask.trailer(format!("x-{n}"), "a".repeat(100))
        });
        let answer = world.ask(protocol, None, &ask);
        // All or nothing of them: the part that fits in a limit is no trailers.
        for seen in world.settle(None).unwrap() {
            let lines = seen.body.trailers.lines().len();
            assert_eq!(lines, 0, "{protocol:?}: {answer:?}");
        }
    }
}

/// Slowloris: half a head and then nothing, or a byte now and then.
#[test]
fn a_head_that_never_ends_is_cut_off_at_its_deadline() {
    let world = World::with("optional", |launch| launch.args(["--head-timeout", "1s"]));
    for drip in [false, true] {
        let mut client = Settings::default().connect(world.herald.address()).unwrap();
        let started = Instant::now();
        client
            .send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            .unwrap();
        let (_, closed) = if drip {
            drip_until_closed(&mut client)
        } else {
            client.tail(Duration::from_secs(5))
        };
        assert!(closed, "drip {drip}: open after {:?}", started.elapsed());
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "drip {drip}: {:?}",
            started.elapsed()
        );
    }
    assert!(world.settle(None).unwrap().is_empty());
}

#[test]
fn an_idle_connection_is_closed() {
    let world = World::with("optional", |launch| {
        launch.args(["--idle-timeout", "1s", "--head-timeout", "2s"])
    });
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
    let (rest, closed) = client.tail(Duration::from_secs(10));
    assert!(closed, "HTTP/1.1 is still open");
    assert!(
        rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"),
        "{rest:?}"
    );
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let answer = raw.ask(&FIELDS, None).unwrap();
    assert_eq!(answer.status, Some(200));
    let started = Instant::now();
    // No stream has this number: only the end of the connection ends the wait.
    let end = raw.answer(99);
    assert!(end.closed, "{end:?}");
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn connections_beyond_the_limit_wait_or_end_and_are_served_later() {
    let world = World::with("optional", |launch| launch.args(["--max-connections", "4"]));
    let connect = || Settings::default().connect(world.herald.address());
    let mut held: Vec<Client> = (0..4).map(|_| connect().unwrap()).collect();
    for client in &mut held {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let mut extra = open(world.herald.address()).unwrap();
    extra
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    extra.write_all(b"\x16\x03\x01\x00\x01\x01").unwrap();
    let mut answer = [0; 64];
    assert!(
        extra.read(&mut answer).map_or(true, |count| count == 0),
        "a fifth connection was served"
    );
    drop((held, extra));
    wait::until("a place to be free", || {
        connect().and_then(|mut client| client.get("/")).ok()
    });
}

/// CVE-2023-44487.
#[test]
fn rapid_resets_end_the_connection_and_nothing_else() {
    let mut world = World::new("optional");
    let before = world.herald.rss_kib();
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    for _ in 0..50_000 {
        let opened = raw
            .open(&FIELDS, true)
            .and_then(|stream| raw.frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        if opened.is_err() {
            break;
        }
    }
    let end = raw.answer(0x7FFF_FFFF);
    assert!(end.goaway.is_some() || end.closed, "{end:?}");
    unharmed(&mut world, before);
}

/// CVE-2024-27316 and its kin: a header block that never ends.
#[test]
fn a_header_block_without_end_ends_the_connection() {
    let mut world = World::new("optional");
    let before = world.herald.rss_kib();
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    raw.frame(HEADERS, 0, 1, &block(&FIELDS)).unwrap();
    let filler = block(&[(b"x-filler", &[b'a'; 1000])]);
    for _ in 0..100_000 {
        if raw.frame(CONTINUATION, 0, 1, &filler).is_err() {
            break;
        }
    }
    let end = raw.answer(0x7FFF_FFFF);
    assert!(end.goaway.is_some() || end.closed, "{end:?}");
    unharmed(&mut world, before);
}

/// An HPACK bomb: a field once in the table, then named many times by one byte each.
#[test]
fn a_header_block_that_unpacks_without_end_is_refused() {
    let mut world = World::new("optional");
    let before = world.herald.rss_kib();
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let mut payload = block(&FIELDS);
    // Literal with incremental indexing (RFC 7541 §6.2.1), a value of 3,000 bytes, then index 62 again and again.
    let mut literal = block(&[(b"x-bomb", &[b'a'; 3000])]);
    literal[0] = 0x40;
    payload.extend(literal);
    payload.extend(std::iter::repeat_n(0xBE, 12_000));
    raw.frame(
        HEADERS,
        herald_tests::h2::END_HEADERS | herald_tests::h2::END_STREAM,
        1,
        &payload,
    )
    .unwrap();
    let answer = raw.answer(1);
    assert!(answer.status != Some(200), "{answer:?}");
    assert!(world.settle(None).unwrap().is_empty());
    unharmed(&mut world, before);
}

#[test]
fn more_streams_than_allowed_are_refused_and_the_others_served() {
    let world = World::with("optional", |launch| {
        launch.args(["--http2-streams-max", "8"])
    });
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    // Open requests whose bodies do not come.
    let fields = [FIELDS[1], FIELDS[2], FIELDS[3], (b":method", b"POST")];
    let held: Vec<u32> = (0..8).map(|_| raw.open(&fields, false).unwrap()).collect();
    let extra = raw.open(&FIELDS, true).unwrap();
    let answer = raw.answer(extra);
    assert!(
        answer.reset.is_some() || answer.goaway.is_some(),
        "{answer:?}"
    );
    if !answer.closed && answer.goaway.is_none() {
        raw.frame(
            herald_tests::h2::DATA,
            herald_tests::h2::END_STREAM,
            held[0],
            b"",
        )
        .unwrap();
        assert_eq!(raw.answer(held[0]).status, Some(200));
    }
}

/// Silent clients cost a few KiB each once they have been put aside: a second after their last request.
#[test]
fn idle_connections_are_cheap() {
    let world = World::new("optional");
    let connect = |protocol: Protocol| {
        let mut connection = protocol
            .connect(&world.herald, &Settings::default())
            .unwrap();
        assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
        connection
    };
    let warm: Vec<Connection> = (0..20).map(|_| connect(Protocol::H1)).collect();
    let before = world.herald.rss_kib();
    let idle: Vec<Connection> = (0..300).map(|_| connect(Protocol::H1)).collect();
    let each = || world.herald.rss_kib().saturating_sub(before) / 300;
    println!("an HTTP/1.1 connection costs {} KiB", each());
    let idle_each = wait::until("memory to be given back", || {
        Some(each()).filter(|each| *each < 24)
    });
    println!("an idle one costs {idle_each} KiB");
    drop((warm, idle));
}

/// A byte every 200 ms until the server closes.
fn drip_until_closed(client: &mut Client) -> (Vec<u8>, bool) {
    for _ in 0..50 {
        if client.send(b"a").is_err() {
            return (Vec::new(), true);
        }
        let (rest, closed) = client.tail(Duration::from_millis(200));
        if closed {
            return (rest, true);
        }
    }
    (Vec::new(), false)
}

fn unharmed(world: &mut World, before: u64) {
    let herald: &mut Herald = &mut world.herald;
    assert!(herald.alive());
    let grown = herald.rss_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "herald grew by {grown} KiB");
    for protocol in Protocol::ALL {
        assert_eq!(
            world.ask(protocol, None, &Ask::get("/")).unwrap().status,
            200,
            "{protocol:?}"
        );
    }
}

const FIELDS: [(&[u8], &[u8]); 4] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"localhost"),
    (b":path", b"/"),
];
