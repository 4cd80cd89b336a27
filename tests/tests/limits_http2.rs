//! HTTP/2 clients that misuse what the protocol gives them: windows, resets, pings, settings, empty frames. Each connection
//! ends within its time; Herald's memory stays flat and others are served.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use herald_tests::h2::{DATA, HEADERS, PING, RST_STREAM, Raw, SETTINGS};
use herald_tests::hpack::block;
use herald_tests::origin::{Next, Origin};
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol, World};

const GET: [(&[u8], &[u8]); 4] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"localhost"),
    (b":path", b"/"),
];
const POST: [(&[u8], &[u8]); 4] = [(b":method", b"POST"), GET[1], GET[2], GET[3]];
const SLACK: Duration = Duration::from_secs(6);
/// No stream has this number: only the end of the connection ends the wait.
const NONE: u32 = 0x7FFF_FFFF;

fn unharmed(world: &mut World, before: u64) {
    assert!(world.herald.alive());
    let grown = world.herald.rss_kib().saturating_sub(before);
    assert!(grown < 24 * 1024, "herald grew by {grown} KiB");
    for protocol in Protocol::ALL {
        let answer = world.ask(protocol, None, &Ask::get("/")).unwrap();
        assert_eq!(answer.status, 200, "{protocol:?}");
    }
}

fn warm(world: &World) -> u64 {
    for protocol in Protocol::ALL {
        world.ask(protocol, None, &Ask::get("/")).unwrap();
    }
    world.herald.rss_kib()
}

/// The client reads every frame, and gives no window for more than the first 64 KiB.
#[test]
fn answers_for_which_no_window_is_given_end_the_connection() {
    let origin = Origin::scripted(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n")?;
        stream.write_all(&vec![b'a'; 1 << 20])?;
        Ok(Next::Keep)
    });
    let mut world = World::around(origin, "optional", |launch| {
        launch.args(["--write-timeout", "1s", "--idle-timeout", "60s"])
    });
    let (before, sockets) = (warm(&world), world.herald.descriptors());
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    for _ in 0..100 {
        raw.open(&GET, true).unwrap();
    }
    let started = Instant::now();
    let end = raw.answer(NONE);
    assert!(end.closed, "{end:?}");
    assert!(
        started.elapsed() < Duration::from_secs(3) + SLACK,
        "{:?}",
        started.elapsed()
    );
    wait::within(SLACK, "the origin's connections to be given back", || {
        (world.herald.descriptors() <= sockets + 1).then_some(())
    });
    unharmed(&mut world, before);
}

/// An origin that is silent for longer than a client may be slow is no fault of the client.
#[test]
fn an_answer_that_waits_for_its_origin_is_no_slow_reader() {
    let origin = Origin::scripted(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")?;
        thread::sleep(Duration::from_secs(4));
        stream.write_all(b"half")?;
        Ok(Next::Keep)
    });
    let world = World::around(origin, "optional", |launch| {
        launch.args(["--write-timeout", "1s", "--idle-timeout", "1s"])
    });
    let answer = world.ask(Protocol::H2, None, &Ask::get("/")).unwrap();
    assert_eq!(answer.body.start, b"halfhalf");
}

#[test]
fn a_body_that_stands_still_is_408_and_its_connection_goes_on() {
    let world = World::with("optional", |launch| launch.args(["--body-timeout", "1s"]));
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let stream = raw.open(&POST, false).unwrap();
    raw.frame(DATA, 0, stream, b"abc").unwrap();
    let started = Instant::now();
    let answer = raw.answer(stream);
    assert_eq!(answer.status, Some(408), "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(1) + SLACK);
    assert_eq!(raw.ask(&GET, None).unwrap().status, Some(200));
}

/// CVE-2023-44487 in slow motion: each request is let in, reaches the origin, and is broken off there. h2 counts only those
/// that it has not handed on yet.
#[test]
fn requests_broken_off_one_by_one_end_the_connection_at_their_limit() {
    let origin = Origin::scripted(|request, stream| {
        if request.method == "POST" {
            thread::sleep(Duration::from_secs(5));
            return Ok(Next::Close);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        Ok(Next::Keep)
    });
    let mut world = World::around(origin, "optional", |launch| {
        launch.args(["--http2-resets-max", "20"])
    });
    let before = warm(&world);
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let mut broken_off = 0;
    for _ in 0..100 {
        world.origin.take();
        let Ok(stream) = raw.open(&POST, true) else {
            break;
        };
        let arrived = wait::settled(|| {
            let arrived = !world.origin.requests().is_empty();
            (arrived, arrived)
        });
        if !arrived
            || raw
                .frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
                .is_err()
        {
            break;
        }
        broken_off += 1;
    }
    assert!(
        (20..=23).contains(&broken_off),
        "{broken_off} were broken off"
    );
    unharmed(&mut world, before);
}

#[test]
fn a_few_broken_off_requests_are_borne() {
    let world = World::with("optional", |launch| {
        launch.args(["--http2-resets-max", "20"])
    });
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    for _ in 0..15 {
        let stream = raw.open(&POST, false).unwrap();
        raw.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
            .unwrap();
    }
    assert_eq!(raw.ask(&GET, None).unwrap().status, Some(200));
}

/// CVE-2019-9512 and CVE-2019-9515: answers that the client does not read must not pile up.
#[test]
fn floods_that_want_an_answer_and_do_not_read_it_are_cut_off() {
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[])] {
        let mut world = World::with("optional", |launch| launch.args(["--write-timeout", "1s"]));
        let before = warm(&world);
        let mut raw = Raw::connect(world.herald.address(), None).unwrap();
        let started = Instant::now();
        let mut sent = 0_u64;
        while raw.flood(kind, payload, 500).is_ok() {
            sent += 500;
            let grown = world.herald.rss_kib().saturating_sub(before);
            assert!(grown < 24 * 1024, "{kind}: {grown} KiB after {sent}");
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{kind}: open after {sent} frames"
            );
        }
        println!(
            "frames of kind {kind} until the end: {sent}, {:?}",
            started.elapsed()
        );
        unharmed(&mut world, before);
    }
}

/// Pings are no requests: a connection of nothing else is idle, however busy.
#[test]
fn a_ping_flood_that_is_read_does_not_keep_its_connection_open() {
    let mut world = World::with("optional", |launch| launch.args(["--idle-timeout", "1s"]));
    let before = warm(&world);
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let started = Instant::now();
    let mut pings = 0;
    // One flight out, one back; any error is the end.
    while (0..50).all(|_| raw.frame(PING, 0, 0, &[1; 8]).is_ok())
        && (0..50).all(|_| raw.first_frame(PING).is_ok())
    {
        pings += 50;
        assert!(
            started.elapsed() < Duration::from_secs(3) + SLACK,
            "open after {pings} pings"
        );
    }
    println!("{pings} pings in {:?}", started.elapsed());
    unharmed(&mut world, before);
}

/// CVE-2019-9518: frames that carry nothing and cost something.
#[test]
fn empty_frames_without_end_end_the_connection_or_cost_nothing() {
    let mut world = World::with("optional", |launch| launch.args(["--body-timeout", "2s"]));
    let before = warm(&world);
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let stream = raw.open(&POST, false).unwrap();
    let started = Instant::now();
    let mut sent = 0;
    while raw.frame(DATA, 0, stream, b"").is_ok() && sent < 200_000 {
        sent += 1;
    }
    let end = raw.answer(stream);
    println!(
        "after {sent} empty frames in {:?}: {end:?}",
        started.elapsed()
    );
    assert!(end.closed || end.goaway.is_some() || end.reset.is_some() || end.status == Some(408));
    unharmed(&mut world, before);
}

/// RFC 9113 §6.5.2: what is beyond the list's limit is refused, and the connection goes on.
#[test]
fn a_field_list_beyond_its_limit_ends_its_stream_alone() {
    let world = World::with("optional", |launch| launch.args(["--head-max", "8KiB"]));
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let value = [b'a'; 12_000];
    let fields = [GET[0], GET[1], GET[2], GET[3], (b"x-long", &value[..])];
    let answer = raw.ask(&fields, None).unwrap();
    let refused = answer.status == Some(431) || answer.reset.is_some();
    assert!(refused, "{answer:?}");
    assert_eq!(raw.ask(&GET, None).unwrap().status, Some(200));
}

/// A stream that is opened and never ended holds no more than itself.
#[test]
fn heads_whose_end_never_comes_are_cut_off_with_the_connection() {
    let mut world = World::with("optional", |launch| {
        launch.args(["--idle-timeout", "1s", "--head-timeout", "1s"])
    });
    let before = warm(&world);
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    // END_HEADERS is missing: RFC 9113 §6.10 lets nothing else follow but CONTINUATION.
    raw.frame(HEADERS, 0, 1, &block(&GET)).unwrap();
    let started = Instant::now();
    // An acknowledgement of its SETTINGS would be a mistake of ours.
    assert!(raw.first_frame(0xEE).is_err());
    assert!(
        started.elapsed() < Duration::from_secs(3) + SLACK,
        "{:?}",
        started.elapsed()
    );
    unharmed(&mut world, before);
}
