//! How connections that the kernel may have taken over change keys, break and end, and what keeps them in userspace.
//! In the guests of `cargo xtask vm` the kernel seals; natively userspace does the same.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::process::Command;
use std::time::Duration;

use aya::maps::{Map, MapData, SockMap};
use herald_tests::bulk::{
    LARGE, Part, answer, by_length, bytes, can_rekey, client, digest, expect_body, expect_sealed,
    good, held, is_before_splice, proxy_end, request, sealed, settled, told, world,
};
use herald_tests::client::{Client, alert};
use herald_tests::gate;
use herald_tests::herald::{Herald, Launch};
use herald_tests::origin::{Next, Origin};
use herald_tests::records::Folder;
use herald_tests::sealing::SealingClient;
use herald_tests::wait;
use herald_tests::world::World;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use rustls::{AlertDescription, CipherSuite};

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

#[test]
fn without_the_module_userspace_serves_and_says_so() {
    if !gate::guest("without_the_module_userspace_serves_and_says_so") {
        return;
    }
    module("rmmod", "tls");
    let world = world("splice", &[]);
    let told = told(&world.herald);
    expect_body(&mut client(&world.herald), LARGE);
    assert_eq!(sealed(), 0);
    module("insmod", "tls");
    for part in ["Kernel TLS is off", "is the module `tls` loaded?", "WARN"] {
        assert!(told.contains(part), "{told}");
    }
    expect_body(&mut client(&world.herald), LARGE);
    assert_eq!(sealed(), 0, "found at the start, or not at all");
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

/// What a splice is refused: to write into what is open for appending (`do_splice` in the kernel's fs/splice.c), which
/// `write` to a socket does not look at. The pipe holds bytes by then; they are taken back, and the rest is copied.
#[test]
fn a_splice_that_is_refused_within_a_body_is_followed_by_copying() {
    for stuck in [false, true] {
        let (origin, go) = held();
        let (folder, world) = watched_before(origin, "splice");
        let spliced = || folder.metric("herald_ktls_spliced_bytes_total");
        let before = sealed();
        let mut client = client(&world.herald);
        expect_body(&mut client, LARGE);
        let end = proxy_end(&world.herald, &client.stream().sock);
        let target = if stuck { "/4194304" } else { "/held/4194304" };
        if stuck {
            set_socket_recv_buffer_size(&client.stream().sock, 64 << 10).unwrap();
            set_socket_send_buffer_size(&end, 64 << 10).unwrap();
        }
        request(&mut client, target);
        let part = Part::of(&mut client, 1_000_000);
        if stuck {
            // All buffers fill, and the pipe is left half emptied.
            settle(&spliced);
        }
        let flags = fcntl_getfl(&end).unwrap();
        fcntl_setfl(&end, flags | OFlags::APPEND).unwrap();
        if !stuck {
            go.send(()).unwrap();
        }
        part.finish(&mut client, 4 << 20);
        let in_kernel = gate::is_guest() && !is_before_splice();
        let given_up = folder.metric("herald_ktls_unspliced_total");
        assert_eq!(given_up, u64::from(in_kernel), "{stuck}");
        let moved = spliced();
        assert_eq!(moved > LARGE as u64, in_kernel, "{stuck}: {moved}");
        assert!(moved < (LARGE + (3 << 20)) as u64, "{stuck}: {moved}");
        // For good, also when it could be had again; and other connections have it.
        fcntl_setfl(&end, flags).unwrap();
        expect_body(&mut client, LARGE);
        assert_eq!(spliced(), moved, "{stuck}");
        expect_sealed(before, 1, "it is still sealed by the kernel");
        expect_body(&mut self::client(&world.herald), LARGE);
        assert_eq!(spliced() > moved, in_kernel, "{stuck}");
    }
}

/// Where no pipe can be had the body is copied: here because the process may open nothing more.
#[test]
fn without_a_pipe_bodies_are_copied() {
    let (folder, world) = watched("splice");
    let before = sealed();
    let mut client = client(&world.herald);
    expect_body(&mut client, 1);
    let pid = Pid::from_raw(i32::try_from(world.herald.pid()).unwrap());
    let none = Rlimit {
        current: Some(0),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let usual = prlimit(pid, Resource::Nofile, none).unwrap();
    expect_body(&mut client, LARGE);
    prlimit(pid, Resource::Nofile, usual).unwrap();
    expect_body(&mut client, LARGE);
    expect_sealed(before, 1, "sealed by the kernel all the same");
    assert_eq!(folder.metric("herald_ktls_spliced_bytes_total"), 0);
    let in_kernel = gate::is_guest() && !is_before_splice();
    let given_up = folder.metric("herald_ktls_unspliced_total");
    assert_eq!(given_up, u64::from(in_kernel));
}

/// Waits until a number stands still.
fn settle(number: &impl Fn() -> u64) {
    let mut last = u64::MAX;
    wait::until("a number to stand still", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = number();
        let is_still = now == last;
        last = now;
        is_still.then_some(())
    });
}

/// `close_notify` behind a request, a bare FIN, and both: the answer is what it is without kernel TLS.
#[test]
fn a_client_that_ends_its_half_is_answered_as_without_kernel_tls() {
    for end in [End::Notify, End::Fin, End::Both] {
        for is_warm in [false, true] {
            let whole = ["off", "tx", "splice"].map(|level| {
                let mut world = world(level, &[]);
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

/// A socket in a sockmap takes no keys (CVE-2026-93824): the connection stays in userspace, and that is counted each
/// time and said once.
#[test]
fn a_socket_in_a_sockmap_is_served_from_userspace() {
    if !gate::guest("a_socket_in_a_sockmap_is_served_from_userspace") {
        return;
    }
    let (folder, world) = watched("splice");
    let object = aya_obj::Map::new_from_params(SOCKMAP, 4, 4, 2, 0);
    let data = MapData::create(object, "tests", None).unwrap();
    let mut map = SockMap::try_from(Map::SockMap(data)).unwrap();
    let before = sealed();
    for index in 0..2 {
        let mut client = client(&world.herald);
        let end = proxy_end(&world.herald, &client.stream().sock);
        map.set(index, &end, 0).unwrap();
        drop(end);
        expect_body(&mut client, LARGE);
        expect_body(&mut client, LARGE);
    }
    expect_sealed(before, 0, "in a sockmap");
    expect_refused(&folder, &world.herald, "keys_refused", 2);
    expect_body(&mut client(&world.herald), LARGE);
    expect_sealed(before, 1, "in none");
}

/// Without one of the ciphers its connections stay in userspace and the others do not, whether it was missing at the
/// start or went later.
#[test]
fn without_a_cipher_its_connections_are_served_from_userspace() {
    if !gate::guest("without_a_cipher_its_connections_are_served_from_userspace") {
        return;
    }
    let chacha20 = good().suite(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    let (folder, world) = watched("tx");
    module("rmmod", "chacha20poly1305");
    let before = sealed();
    for _ in 0..2 {
        expect_body(
            &mut chacha20.connect(world.herald.address()).unwrap(),
            LARGE,
        );
    }
    expect_sealed(before, 0, "it went later");
    expect_refused(&folder, &world.herald, "keys_refused", 2);
    let (folder, world) = watched("tx");
    assert!(!told(&world.herald).contains("ChaCha20"));
    let before = sealed();
    for _ in 0..2 {
        expect_body(
            &mut chacha20.connect(world.herald.address()).unwrap(),
            LARGE,
        );
    }
    expect_sealed(before, 0, "it never was");
    expect_refused(&folder, &world.herald, "cipher_missing", 2);
    expect_body(&mut client(&world.herald), LARGE);
    expect_sealed(before, 1, "another cipher");
    module("insmod", "chacha20poly1305");
}

/// A client that updates its keys first leaves an answer of rustls behind that the kernel could not go on from.
#[test]
fn a_refusal_is_counted_each_time_and_said_once() {
    let (folder, world) = watched("tx");
    for _ in 0..3 {
        let mut client = client(&world.herald);
        client.stream().conn.refresh_traffic_keys().unwrap();
        expect_body(&mut client, LARGE);
    }
    if gate::is_guest() {
        expect_refused(&folder, &world.herald, "keys_changed", 3);
    }
}

/// A world whose metrics can be asked for.
fn watched(level: &str) -> (Folder, World) {
    watched_before(by_length(), level)
}

/// The same before another origin.
fn watched_before(origin: Origin, level: &str) -> (Folder, World) {
    let folder = Folder::default();
    let world = World::around(origin, "required", |launch: Launch| {
        folder.launch(launch).args(["--ktls", level])
    });
    (folder, world)
}

fn expect_refused(folder: &Folder, herald: &Herald, reason: &str, number: u64) {
    let series = format!("herald_ktls_refusals_total{{reason=\"{reason}\"}}");
    assert_eq!(folder.metric(&series), number, "{reason}");
    // The count may be here before the line is.
    let log = wait::until("the line about it", || {
        let log = herald.log();
        log.contains("kernel TLS refused").then_some(log)
    });
    assert_eq!(log.matches("kernel TLS refused").count(), 1, "{log}");
    assert!(log.contains(reason), "{log}");
}

/// `rmmod` or `insmod` of a module that the guest has loaded at its start.
fn module(tool: &str, name: &str) {
    let file = fs::read_dir("/modules")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(&format!("-{name}.ko")))
        .unwrap();
    let argument = if tool == "insmod" {
        file.as_os_str()
    } else {
        name.as_ref()
    };
    let status = Command::new(tool).arg(argument).status().unwrap();
    assert!(status.success(), "{tool} {name}");
}

/// The type of a sockmap (linux/bpf.h).
const SOCKMAP: u32 = 15;
/// KeyUpdateRequest (RFC 8446 §4.6.3).
const NOT_REQUESTED: u8 = 0;
const REQUESTED: u8 = 1;
