//! What bytes that are no whole handshake do: silence, drips, messages without end, other protocols.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use herald_tests::client::{Settings, Tls, client_hello, handshake_record, open};
use herald_tests::herald::{Launch, before};
use herald_tests::origin::Origin;
use herald_tests::pki::Pki;
use herald_tests::world::{Ask, Protocol, World};

#[test]
fn a_silent_or_dripping_handshake_ends_at_its_deadline() {
    let origin = Origin::echo();
    let herald = Launch::new("required", origin.address())
        .args(["--handshake-timeout", "3s"])
        .start();
    let address = herald.address();
    let hello = client_hello(None);
    let half = hello[..hello.len() / 2].to_vec();
    thread::scope(|scope| {
        let cases = [
            (
                "silence",
                scope.spawn(move || closed_after(address, &[], false)),
            ),
            (
                "half a ClientHello",
                scope.spawn(move || closed_after(address, &half, false)),
            ),
            (
                "a dripping ClientHello",
                scope.spawn(move || closed_after(address, &hello, true)),
            ),
        ];
        for (name, case) in cases {
            let elapsed = case.join().unwrap();
            assert!(
                elapsed < HANDSHAKE_DEADLINE,
                "{name} was borne for {elapsed:?}"
            );
        }
    });
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_handshake_message_without_end_is_cut_off() {
    let origin = Origin::echo();
    let herald = before(&origin, "required");
    let mut socket = open(herald.address()).unwrap();
    // A ClientHello that announces 2^24 - 1 bytes, in records of 16 KiB.
    let mut first = vec![1, 0xFF, 0xFF, 0xFF, 3, 3];
    first.resize(16 * 1024, 0);
    let started = Instant::now();
    let mut sent = 0;
    let mut payload = first;
    while sent < 4 << 20 && socket.write_all(&handshake_record(&payload)).is_ok() {
        sent += payload.len();
        payload = vec![0; 16 * 1024];
    }
    drop(socket.read_to_end(&mut Vec::new()));
    let elapsed = started.elapsed();
    assert!(
        elapsed < Duration::from_secs(3),
        "it took {elapsed:?} to be refused"
    );
}

#[test]
fn a_certificate_chain_without_end_is_refused_and_does_no_harm() {
    let world = World::new("forward-failed");
    let mut identity = Pki::shared().good();
    let leaf = identity.chain[0].clone();
    identity.chain.extend(std::iter::repeat_n(leaf, 1000));
    for version in Tls::ALL {
        let settings = Settings::new(Some(&identity)).version(version);
        let answer = world.ask_with(Protocol::H1, &settings, &Ask::get("/"));
        assert!(answer.is_err(), "{version:?}: {answer:?}");
    }
    assert_eq!(world.origin.take().len(), 0);
    serves_others(&world);
}

#[test]
fn what_is_no_tls_is_closed_and_does_no_harm() {
    let world = World::new("required");
    let junk: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
        &[0xFF; 1024],
        b"\x15\x03\x03\x00\x02\x02\x28",
    ];
    for bytes in junk {
        let mut socket = open(world.herald.address()).unwrap();
        socket.write_all(bytes).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer));
        assert!(
            !answer.starts_with(b"HTTP"),
            "{bytes:?} was answered in plain text"
        );
    }
    serves_others(&world);
}

/// Whatever it was sent, it has done no harm.
fn serves_others(world: &World) {
    let good = Pki::shared().good();
    let answer = world.ask(Protocol::H1, Some(&good), &Ask::get("/"));
    assert_eq!(answer.unwrap().status, 200);
}

/// How long the server kept a connection that sent `bytes`, all at once or a byte at a time, never completing.
fn closed_after(address: SocketAddr, bytes: &[u8], drip: bool) -> Duration {
    let started = Instant::now();
    let mut socket = open(address).unwrap();
    let step = Duration::from_millis(500);
    if drip {
        socket.set_read_timeout(Some(step)).unwrap();
        for byte in bytes {
            if socket.write_all(&[*byte]).is_err() || !waits(socket.read(&mut [0; 64])) {
                return started.elapsed();
            }
        }
        return Duration::MAX;
    }
    socket.write_all(bytes).unwrap();
    socket.set_read_timeout(Some(HANDSHAKE_DEADLINE)).unwrap();
    drop(socket.read_to_end(&mut Vec::new()));
    started.elapsed()
}

/// True while the server neither answered nor closed.
fn waits(read: io::Result<usize>) -> bool {
    read.is_err_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        )
    })
}

/// Above the 3 s that these tests ask for.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(6);
