//! How connections that the kernel may have taken over change keys, break and end.
//! In the guests of `cargo xtask vm` the kernel seals; natively userspace does the same.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use herald_tests::bulk::{
    LARGE, answer, bytes, can_rekey, client, digest, expect_body, expect_sealed, held, request,
    sealed, settled, watched, watched_before, world,
};
use herald_tests::client::{Client, alert};
use herald_tests::gate;
use herald_tests::origin::{Next, Origin};
use herald_tests::sealing::SealingClient;
use herald_tests::wait;
use herald_tests::world::World;
use rustls::AlertDescription;

#[test]
fn a_client_may_update_its_keys_before_during_and_after_the_hand_over() {
    for level in ["tx", "splice"] {
        let world = world(level, &[]);
        // Before: the keys are not the first ones any more, so the connection stays in userspace.
        let before = sealed();
        let mut early = client(&world.herald);
        early.stream().conn.refresh_traffic_keys().unwrap();
        expect_body(&mut early, LARGE);
        expect_body(&mut early, LARGE);
        expect_sealed(before, 0, "updated before");

        let mut late = client(&world.herald);
        expect_body(&mut late, LARGE);
        expect_sealed(before, 1, "handed over");
        for _ in 0..40 {
            late.stream().conn.refresh_traffic_keys().unwrap();
            request(&mut late, "/200000");
            let answer = late.response();
            if can_rekey() {
                assert_eq!(answer.unwrap().body.sha256, digest(200_000));
                continue;
            }
            // Before 6.14 a connection ends gracefully: what was begun is whole.
            match answer {
                Ok(answer) => assert_eq!(answer.body.sha256, digest(200_000)),
                Err(_) => break,
            }
        }
        // During: the update arrives while a body is on its way.
        let mut during = client(&world.herald);
        expect_body(&mut during, LARGE);
        request(&mut during, "/4194304");
        std::thread::sleep(Duration::from_millis(50));
        during.stream().conn.refresh_traffic_keys().unwrap();
        during.stream().flush().unwrap();
        let answer = during.response().unwrap();
        assert_eq!(answer.body.sha256, digest(4_194_304), "{level}");
    }
}

#[test]
fn a_flood_of_key_updates_ends_the_connection_and_nothing_else() {
    for level in ["tx", "splice"] {
        let mut world = world(level, &[]);
        let mut client = client(&world.herald);
        expect_body(&mut client, LARGE);
        for _ in 0..1000 {
            let updated = client.stream().conn.refresh_traffic_keys();
            if updated.is_err() || client.stream().flush().is_err() {
                break;
            }
        }
        let outcome = client.get("/1");
        assert!(outcome.is_err(), "{level}: {outcome:?}");
        assert!(world.herald.alive());
        expect_body(&mut self::client(&world.herald), LARGE);
    }
}

#[test]
fn a_broken_record_is_answered_with_an_alert() {
    for level in ["off", "tx", "splice"] {
        let world = world(level, &[]);
        let mut client = client(&world.herald);
        expect_body(&mut client, LARGE);
        let mut record = vec![23, 3, 3, 0, 40];
        record.extend([0x5a; 40]);
        client.stream().sock.write_all(&record).unwrap();
        let error = client.rest().unwrap_err();
        assert_eq!(
            alert(&error),
            Some(AlertDescription::BadRecordMac),
            "{level}: {error}"
        );
    }
}

#[test]
fn a_connection_that_ends_well_says_close_notify() {
    for level in ["off", "tx", "splice"] {
        let world = world(level, &[]);
        let mut client = client(&world.herald);
        let answer = client
            .ask(
                format!("GET /{LARGE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            )
            .unwrap();
        assert_eq!(answer.body.sha256, digest(LARGE), "{level}");
        // An end without close_notify would be an error here.
        assert_eq!(client.rest().unwrap(), b"", "{level}");
    }
}

#[test]
fn an_origin_that_dies_is_a_cut_and_never_an_end() {
    for level in ["off", "tx", "splice"] {
        let world = world(level, &[]);
        for warm in [false, true] {
            let mut client = client(&world.herald);
            if warm {
                expect_body(&mut client, LARGE);
            }
            request(&mut client, "/die");
            let answer = client.response();
            assert!(answer.is_err(), "{level} {warm}: {answer:?}");
        }
    }
}

#[test]
fn a_client_that_dies_leaves_nothing_behind() {
    for level in ["off", "tx", "splice"] {
        let (folder, world) = watched(level);
        expect_body(&mut client(&world.herald), LARGE);
        // The origin's connections and a worker's pipes are kept; they are bounded.
        let quiet = settled(&world.herald);
        for round in 0..32 {
            let mut client = client(&world.herald);
            request(&mut client, "/4194304");
            let mut piece = [0; 40_000];
            client.stream().read_exact(&mut piece).unwrap();
            match round % 4 {
                // Unread bytes make this a reset.
                0 => client.stream().sock.shutdown(Shutdown::Read).unwrap(),
                // A FIN without close_notify, and nobody reads on.
                1 => client.stream().sock.shutdown(Shutdown::Write).unwrap(),
                2 => alert_fatally(&mut client),
                _ => {}
            }
            drop(client);
        }
        let open = || folder.metric("herald_connections_open{worker=\"0\"}");
        wait::until("no connection to be open", || (open() == 0).then_some(()));
        let after = settled(&world.herald);
        assert!(after <= quiet + 4, "{level}: {quiet} then {after}");
        expect_body(&mut client(&world.herald), LARGE);
    }
}

/// Has rustls find a broken record, and sends the alert that it answers with.
fn alert_fatally(client: &mut Client) {
    let stream = client.stream();
    let mut record = vec![23, 3, 3, 0, 40];
    record.extend([0x5a; 40]);
    // Behind the rest of a record that was read in part, so that it is found in one of these.
    while stream.conn.process_new_packets().is_ok() {
        let taken = stream.conn.read_tls(&mut record.as_slice()).unwrap();
        assert_ne!(taken, 0);
    }
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut stream.sock).unwrap();
    }
}

/// The client's own answer to a KeyUpdate asks for none back. rustls sends no such record unasked, so it is sealed by
/// hand here, and so is what follows under the next key (RFC 8446 §4.6.3, §7.2).
#[test]
fn a_key_update_that_asks_for_no_answer_changes_nothing_for_the_kernel() {
    for level in ["tx", "splice"] {
        let world = world(level, &[]);
        let before = sealed();
        // The hand-over comes after the first update, and the second after the hand-over.
        let mut client = SealingClient::connect(&world.herald);
        for round in 0..40 {
            client.update_keys(NOT_REQUESTED);
            client.expect_body(if round == 0 { 1000 } else { 200_000 });
        }
        expect_sealed(before, 1, level);
        // One that asks for an answer, by the same hand, to know that the hand is right.
        client.update_keys(REQUESTED);
        client.expect_body(200_000);
    }
}

/// A KeyUpdate that comes while a body moves, of either kind: in a body that userspace seals, before the body that has the
/// connection handed over, and in one that the kernel seals. The origin holds half of each body back, so that the
/// update is there before the rest.
#[test]
fn a_key_update_within_a_body_loses_nothing() {
    for level in ["tx", "splice"] {
        let (origin, go) = held();
        let (folder, world) = watched_before(origin, level);
        for request in [NOT_REQUESTED, REQUESTED] {
            let before = sealed();
            let mut early = SealingClient::connect(&world.herald);
            let part = early.begin("/held/100000", 40_000);
            early.update_keys(request);
            go.send(()).unwrap();
            part.finish(early.reader(), 100_000);
            expect_sealed(before, 0, "small");
            early.expect_body(LARGE);
            // An answer of rustls' changed its keys: the kernel could not go on from there.
            let handed_over = u64::from(request == NOT_REQUESTED);
            expect_sealed(before, handed_over, "updated before");

            let before = sealed();
            let mut between = SealingClient::connect(&world.herald);
            let part = between.begin("/late/1000003", 0);
            between.update_keys(request);
            part.finish(between.reader(), LARGE);
            expect_sealed(before, handed_over, "updated before the hand-over");

            let before = sealed();
            let mut late = SealingClient::connect(&world.herald);
            late.expect_body(LARGE);
            let part = late.begin("/held/4194304", 1_000_000);
            for _ in 0..3 {
                late.update_keys(request);
            }
            go.send(()).unwrap();
            part.finish(late.reader(), 4 << 20);
            expect_sealed(before, 1, "updated after");
        }
        let rekeys = folder.metric("herald_ktls_rekeys_total");
        let is_replaced = gate::is_guest() && can_rekey();
        assert_eq!(rekeys > 0, is_replaced, "{level}: {rekeys}");
    }
}

/// `close_notify` behind a request, a bare FIN, and both: the answer is what it is without kernel TLS.
#[test]
fn a_client_that_ends_its_half_is_answered_as_without_kernel_tls() {
    let mut worlds = ["off", "tx", "splice"].map(|level| world(level, &[]));
    for end in [End::Notify, End::Fin, End::Both] {
        for is_warm in [false, true] {
            let whole = worlds.each_mut().map(|world| {
                let mut client = client(&world.herald);
                if is_warm {
                    expect_body(&mut client, LARGE);
                }
                // The origin begins to answer long after Herald has seen the end.
                request(&mut client, "/late/200000");
                end.apply(&mut client);
                let answer = client.response();
                assert!(world.herald.alive());
                answer
                    .map(|answer| assert_eq!(answer.body.sha256, digest(200_000)))
                    .is_ok()
            });
            assert_eq!(whole, [whole[0]; 3], "{end:?} {is_warm}");
        }
    }
}

/// The same while a body stands still in full buffers: what comes is the body or a cut, and the connection ends.
#[test]
fn a_client_that_ends_its_half_within_a_body_gets_it_or_a_cut() {
    for level in ["off", "tx", "splice"] {
        let (folder, world) = watched(level);
        for end in [End::Notify, End::Fin, End::Both] {
            let mut client = client(&world.herald);
            request(&mut client, "/4194304");
            std::thread::sleep(Duration::from_millis(200));
            end.apply(&mut client);
            if let Ok(answer) = client.response() {
                assert_eq!(answer.body.sha256, digest(4 << 20), "{level} {end:?}");
            }
        }
        let open = || folder.metric("herald_connections_open{worker=\"0\"}");
        wait::until("no connection to be open", || (open() == 0).then_some(()));
    }
}

/// A tunnel on a connection that the kernel seals: `close_notify` ends the client's half, and what the origin says
/// afterwards still arrives, and then its end.
#[test]
fn a_tunnel_goes_on_after_close_notify() {
    const QUESTION: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for level in ["off", "tx", "splice"] {
        let origin = Origin::scripted(|request, stream| {
            if !request.headers.has("upgrade") {
                return answer(&request.target, stream);
            }
            stream.write_all(ANSWER.as_bytes())?;
            let mut said = Vec::new();
            stream.read_to_end(&mut said)?;
            assert_eq!(said, bytes(300_000));
            stream.write_all(&bytes(LARGE))?;
            Ok(Next::Close)
        });
        let world = World::around(origin, "required", |launch| launch.args(["--ktls", level]));
        let before = sealed();
        let mut client = client(&world.herald);
        expect_body(&mut client, LARGE);
        expect_sealed(before, u64::from(level != "off"), level);
        assert_eq!(client.ask(QUESTION.as_bytes()).unwrap().status, 101);
        client.send(&bytes(300_000)).unwrap();
        client.half_close().unwrap();
        // An end without close_notify would be an error here.
        assert_eq!(client.rest().unwrap(), bytes(LARGE), "{level}");
    }
}

/// How a client's half of a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Notify,
    Fin,
    Both,
}

impl End {
    fn apply(self, client: &mut Client) {
        if matches!(self, Self::Notify | Self::Both) {
            client.half_close().unwrap();
        }
        if matches!(self, Self::Fin | Self::Both) {
            client.stream().sock.shutdown(Shutdown::Write).unwrap();
        }
    }
}

/// KeyUpdateRequest (RFC 8446 §4.6.3).
const NOT_REQUESTED: u8 = 0;
const REQUESTED: u8 = 1;
