//! Large bodies with flat memory, back-pressure, and soaks at full speed.

use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use herald_tests::client::Settings;
use herald_tests::gate;
use herald_tests::h2::stream;
use herald_tests::herald::{Herald, Launch};
use herald_tests::origin::{Next, Origin, Request};
use herald_tests::pki::Pki;
use herald_tests::soak::{self, Soak};
use herald_tests::wait;
use herald_tests::wire::{Framing, Reader, hex};
use herald_tests::world::{Protocol, World};
use sha2::{Digest as _, Sha256};

const GIB: u64 = 1 << 30;
const PIECE: usize = 64 * 1024;
/// How much Herald may grow while a GiB passes.
const GROWTH_KIB: u64 = 32 * 1024;

#[test]
fn a_gibibyte_down_keeps_memory_flat_over_http1() {
    let world = World::around(generous(), "required", |launch| launch);
    let mut client = Settings::new(Some(&Pki::shared().good()))
        .connect(world.herald.address())
        .unwrap();
    client.get("/warm").unwrap();
    for target in ["/length", "/chunked"] {
        let watch = Watch::start(&world.herald);
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
            .unwrap();
        let answer = client.response().unwrap();
        assert_eq!(
            (answer.body.length, &answer.body.sha256),
            (GIB, &expected_digest()),
            "{target}"
        );
        watch.finish(target);
    }
}

#[test]
fn a_gibibyte_down_keeps_memory_flat_over_http2() {
    let world = World::around(generous(), "required", |launch| launch);
    let settings = Settings::new(Some(&Pki::shared().good()));
    let mut client = stream::Client::connect(world.herald.address(), &settings).unwrap();
    for target in ["/length", "/chunked"] {
        let watch = Watch::start(&world.herald);
        let (status, length, sha256) = client.download(target).unwrap();
        assert_eq!(
            (status, length, sha256),
            (200, GIB, expected_digest()),
            "{target}"
        );
        watch.finish(target);
    }
}

#[test]
fn a_gibibyte_up_keeps_memory_flat_over_http1() {
    let world = World::new("required");
    let mut client = Settings::new(Some(&Pki::shared().good()))
        .connect(world.herald.address())
        .unwrap();
    client.get("/warm").unwrap();
    world.origin.take();
    let watch = Watch::start(&world.herald);
    client
        .send(
            format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {GIB}\r\n\r\n")
                .as_bytes(),
        )
        .unwrap();
    for piece in pieces() {
        client.send(&piece).unwrap();
    }
    assert_eq!(client.response().unwrap().status, 200);
    watch.finish("Content-Length");
    let watch = Watch::start(&world.herald);
    client
        .send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    for piece in pieces() {
        client
            .send(&[format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat())
            .unwrap();
    }
    assert_eq!(client.ask(b"0\r\n\r\n").unwrap().status, 200);
    watch.finish("chunked");
    uploaded(&world, 2);
}

#[test]
fn a_gibibyte_up_keeps_memory_flat_over_http2() {
    let world = World::new("required");
    let settings = Settings::new(Some(&Pki::shared().good()));
    let mut client = stream::Client::connect(world.herald.address(), &settings).unwrap();
    let watch = Watch::start(&world.herald);
    let status = client.upload("/", Box::new(pieces())).unwrap();
    assert_eq!(status, 200);
    watch.finish("HTTP/2");
    uploaded(&world, 1);
}

/// A client that does not read must stop the origin, not fill the proxy.
#[test]
fn a_client_that_does_not_read_stops_the_origin() {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let origin = Origin::scripted(move |_, stream| {
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n").as_bytes())?;
        for piece in pieces() {
            stream.write_all(&piece)?;
            count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Ok(Next::Keep)
    });
    let world = World::around(origin, "optional", |launch| launch);
    let before = world.herald.rss_kib();
    for protocol in Protocol::ALL {
        sent.store(0, Ordering::Relaxed);
        let mut idle = Idle::start(&world.herald, protocol);
        let stopped = stalled(&sent);
        let grown = world.herald.rss_kib().saturating_sub(before);
        assert!(
            stopped < 64 << 20,
            "{protocol:?}: the origin sent {stopped} bytes to nobody"
        );
        assert!(
            grown < GROWTH_KIB,
            "{protocol:?}: herald grew by {grown} KiB"
        );
        idle.stop();
    }
}

/// An origin that does not read must stop the client.
#[test]
fn an_origin_that_does_not_read_stops_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let held = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket
    });
    let herald = Launch::new("optional", address).start();
    let before = herald.rss_kib();
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let target = herald.address();
    std::thread::spawn(move || {
        let mut client = Settings::default().connect(target)?;
        client.send(
            format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {GIB}\r\n\r\n")
                .as_bytes(),
        )?;
        for piece in pieces() {
            client.send(&piece)?;
            count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        io::Result::Ok(())
    });
    let stopped = stalled(&sent);
    let grown = herald.rss_kib().saturating_sub(before);
    assert!(
        stopped < 64 << 20,
        "the client sent {stopped} bytes to nobody"
    );
    assert!(grown < GROWTH_KIB, "herald grew by {grown} KiB");
    drop(held.join());
}

#[test]
fn a_soak_over_http1_leaks_nothing() {
    soak("a_soak_over_http1_leaks_nothing", Protocol::H1);
}

#[test]
fn a_soak_over_http2_leaks_nothing() {
    soak("a_soak_over_http2_leaks_nothing", Protocol::H2);
}

/// The same in miniature, always run: connections come and go, and their descriptors go with them.
#[test]
fn connections_that_came_and_went_leave_no_descriptor() {
    let world = World::new("required");
    let settings = Settings::new(Some(&Pki::shared().good()));
    let round = || {
        for protocol in Protocol::ALL {
            let connect = || protocol.connect(&world.herald, &settings).unwrap();
            let mut connections: Vec<_> = (0..20).map(|_| connect()).collect();
            for connection in &mut connections {
                assert_eq!(
                    connection
                        .ask(&herald_tests::world::Ask::get("/"))
                        .unwrap()
                        .status,
                    200
                );
            }
        }
    };
    round();
    let before = settled_descriptors(&world.herald);
    for _ in 0..4 {
        round();
    }
    // Upstream connections stay in the pool, as many as the first round left.
    let after = settled_descriptors(&world.herald);
    assert!(after <= before + 4, "{before} descriptors became {after}");
}

fn soak(test: &str, protocol: Protocol) {
    if !gate::long(test) {
        return;
    }
    let origin = Origin::scripted(|_: &Request, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Next::Keep)
    });
    let herald = Launch::new("required", origin.address()).workers(2).start();
    let idle = herald.descriptors();
    let soak = Soak::start(
        herald.address(),
        &Settings::new(Some(&Pki::shared().good())),
        protocol,
        soak::CONNECTIONS,
    );
    // The origin forgets, so that the test's own memory stays flat too.
    let forget = |limit: Duration| {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            origin.take();
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    forget(Duration::from_secs(20));
    let early = herald.rss_kib();
    forget(Duration::from_secs(40));
    let late = herald.rss_kib();
    let report = soak.finish();
    println!(
        "{protocol:?}: {} requests, RSS {early} KiB at 20 s, {late} KiB at 60 s",
        report.requests
    );
    assert_eq!(report.errors, Vec::<String>::new());
    assert!(report.requests > 10_000, "{} requests", report.requests);
    assert!(
        late <= early + early / 20,
        "RSS {early} KiB at 20 s, {late} KiB at 60 s"
    );
    wait::until("the descriptors to be closed", || {
        // What is left are pooled upstream connections, and those the origin accepted are still open there.
        (herald.descriptors() <= idle + origin.connections()).then_some(())
    });
    let strays = origin.complaints();
    assert!(strays.is_empty(), "{strays:?}");
}

/// Watches resident memory while something passes.
struct Watch {
    before: u64,
    highest: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Watch {
    fn start(herald: &Herald) -> Self {
        let (before, pid) = (herald.rss_kib(), herald.pid());
        let highest = Arc::new(AtomicU64::new(before));
        let done = Arc::new(AtomicBool::new(false));
        let (seen, stop) = (Arc::clone(&highest), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Some(now) = herald_tests::herald::rss_kib_of(pid) {
                    seen.fetch_max(now, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self {
            before,
            highest,
            done,
            thread,
        }
    }

    fn finish(self, what: &str) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let grown = self
            .highest
            .load(Ordering::Relaxed)
            .saturating_sub(self.before);
        println!("{what}: RSS {} KiB, grew by {grown} KiB", self.before);
        assert!(
            grown < GROWTH_KIB,
            "{what}: herald grew by {grown} KiB from {} KiB",
            self.before
        );
    }
}

/// A client that asked and does not read.
enum Idle {
    H1(Box<herald_tests::client::Client>),
    H2(Box<stream::Client>),
}

impl Idle {
    fn start(herald: &Herald, protocol: Protocol) -> Self {
        match protocol {
            Protocol::H1 => {
                let mut client = Settings::default().connect(herald.address()).unwrap();
                client
                    .send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    .unwrap();
                Self::H1(Box::new(client))
            }
            Protocol::H2 => {
                let mut client =
                    stream::Client::connect(herald.address(), &Settings::default()).unwrap();
                client.start("/").unwrap();
                Self::H2(Box::new(client))
            }
        }
    }

    fn stop(&mut self) {
        match self {
            Self::H1(client) => drop(client.stream().sock.shutdown(std::net::Shutdown::Both)),
            Self::H2(client) => client.abandon(),
        }
    }
}

/// An origin that sends a GiB at `/length` and `/chunked`.
fn generous() -> Origin {
    Origin::scripted(|request, stream| {
        match &*request.target {
            "/length" => {
                stream.write_all(
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n").as_bytes(),
                )?;
                pieces().try_for_each(|piece| stream.write_all(&piece))?;
            }
            "/chunked" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                for piece in pieces() {
                    stream.write_all(
                        &[format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat(),
                    )?;
                }
                stream.write_all(b"0\r\n\r\n")?;
            }
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?,
        }
        Ok(Next::Keep)
    })
}

/// A GiB in pieces of which no two neighbours are alike, so that a lost or swapped piece shows.
fn pieces() -> impl Iterator<Item = Vec<u8>> + Send + 'static {
    let base: Vec<u8> = (0..PIECE).map(|n| u8::try_from(n % 253).unwrap()).collect();
    (0..GIB / PIECE as u64).map(move |number| {
        let mut piece = base.clone();
        piece[..8].copy_from_slice(&number.to_be_bytes());
        piece
    })
}

fn expected_digest() -> String {
    static DIGEST: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let digest = || {
        let mut digest = Sha256::new();
        pieces().for_each(|piece| digest.update(&piece));
        hex(&digest.finalize())
    };
    DIGEST.get_or_init(digest).clone()
}

fn uploaded(world: &World, times: usize) {
    let seen = world.origin.take();
    assert_eq!(seen.len(), times);
    for request in seen {
        assert_eq!(
            (request.body.length, request.body.sha256),
            (GIB, expected_digest())
        );
    }
}

/// The count once it has not moved for half a second.
fn stalled(count: &AtomicU64) -> u64 {
    let mut last = (0, Instant::now());
    wait::until("the sender to be stopped", || {
        let now = count.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.0 > 0 && last.1.elapsed() > Duration::from_millis(500)).then_some(last.0)
    })
}

/// Open descriptors once the number has not moved for 200 ms.
fn settled_descriptors(herald: &Herald) -> usize {
    let mut last = (0, Instant::now());
    wait::until("the descriptors to settle", || {
        let now = herald.descriptors();
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(200)).then_some(now)
    })
}

/// The reader of the harness must itself be able to see a lost piece.
#[test]
fn the_digest_notices_a_lost_piece() {
    let whole: Vec<u8> = pieces().take(3).flatten().collect();
    let holed: Vec<u8> = pieces()
        .take(4)
        .enumerate()
        .filter(|(n, _)| *n != 1)
        .flat_map(|(_, piece)| piece)
        .collect();
    assert_eq!(whole.len(), holed.len());
    let digest = |bytes: &[u8]| {
        Reader::new(bytes.take(u64::MAX))
            .body(Framing::Close)
            .unwrap()
            .sha256
    };
    assert_ne!(digest(&whole), digest(&holed));
}
