//! What depends on the kernel below: the guests of `cargo xtask vm` run all of it; a native run
//! shows that userspace does the same where the kernel cannot.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

use herald_tests::client::{Client, Settings, alert};
use herald_tests::gate;
use herald_tests::herald::{Herald, Launch};
use herald_tests::origin::{Next, Origin, Request};
use herald_tests::pki::Pki;
use herald_tests::wait;
use herald_tests::wire::sha256;
use herald_tests::world::{Ask, Protocol, World};
use rustls::{AlertDescription, CipherSuite, ClientConnection, StreamOwned};

/// Body lengths around the sizes at which TLS records, HTTP/2 frames and pipes end.
const LENGTHS: [usize; 9] = [
    0, 1, 16_375, 16_384, 16_385, 65_536, 131_072, 1_000_003, 4_194_304,
];
const LARGE: usize = 1_000_003;
const SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

#[test]
fn a_guest_has_kernel_tls() {
    if !gate::guest("a_guest_has_kernel_tls") {
        return;
    }
    let protocols = fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp").unwrap();
    assert!(
        protocols.split_whitespace().any(|name| name == "tls"),
        "{protocols}"
    );
    for level in ["tx", "splice"] {
        let world = world(level);
        let told = told(&world.herald);
        let expected = if level == "splice" && is_before_splice() {
            "Kernel TLS is tx on"
        } else {
            &format!("Kernel TLS is {level} on")
        };
        assert!(told.contains(expected), "{told}");
        assert!(
            told.contains("AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305"),
            "{told}"
        );
    }
}

#[test]
fn bodies_of_every_size_arrive_whole() {
    for level in ["off", "tx", "splice"] {
        let world = world(level);
        for protocol in Protocol::ALL {
            let before = sealed();
            let mut connection = protocol.connect(&world.herald, &good()).unwrap();
            for length in LENGTHS {
                let answer = connection.ask(&Ask::get(&format!("/{length}"))).unwrap();
                assert_eq!(answer.status, 200, "{protocol:?} {length}");
                let expected = (length as u64, sha256(&body(length)));
                let got = (answer.body.length, answer.body.sha256.clone());
                assert_eq!(got, expected, "{level} {protocol:?} {length}");
            }
            let offloads = u64::from(match (level, protocol) {
                ("off", _) => false,
                ("splice", Protocol::H2) => is_before_splice(),
                _ => true,
            });
            expect_sealed(before, offloads, &format!("{level} {protocol:?}"));
        }
    }
}

/// Each body's length is drawn log-uniformly, so that the hand-over falls between requests of all
/// sizes.
#[test]
fn a_connection_carries_many_bodies_with_every_cipher() {
    carry(12);
}

#[test]
fn a_connection_carries_1000_bodies_with_every_cipher() {
    if gate::long("a_connection_carries_1000_bodies_with_every_cipher") {
        carry(1000);
    }
}

fn carry(requests: usize) {
    for level in ["tx", "splice"] {
        let world = world(level);
        for suite in SUITES {
            for protocol in Protocol::ALL {
                let before = sealed();
                let mut random = 0x2545_f491_4f6c_dd1d_u64;
                let settings = good().suite(suite);
                let mut connection = protocol.connect(&world.herald, &settings).unwrap();
                // The last is large, so that every connection is handed over where it can be.
                for number in 0..requests {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let length = match number + 1 == requests {
                        true => LARGE,
                        false => (random >> 11) as usize % (1 << (1 + random % 21)),
                    };
                    let answer = connection.ask(&Ask::get(&format!("/{length}"))).unwrap();
                    let expected = (length as u64, sha256(&body(length)));
                    let got = (answer.body.length, answer.body.sha256.clone());
                    assert_eq!(got, expected, "{level} {suite:?} {protocol:?} {number}");
                }
                let offloads = level == "tx" || protocol == Protocol::H1 || is_before_splice();
                expect_sealed(before, u64::from(offloads), &format!("{level} {suite:?}"));
            }
        }
    }
}

#[test]
fn a_slow_reader_with_small_buffers_gets_everything() {
    for level in ["tx", "splice"] {
        let world = world(level);
        let mut client = client(&world.herald);
        client
            .stream()
            .sock
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        request(&mut client, "/4194304");
        // The socket's buffers fill, and the proxy has to wait again and again.
        std::thread::sleep(Duration::from_millis(300));
        let mut got = Vec::new();
        let mut piece = vec![0; 10_000];
        while got.len() < 4_194_304 {
            let count = client.stream().read(&mut piece).unwrap();
            assert_ne!(count, 0, "{level}: ended after {}", got.len());
            got.extend_from_slice(&piece[..count]);
            if got.len() % 7 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let head = got.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        while got.len() < head + 4_194_304 {
            let count = client.stream().read(&mut piece).unwrap();
            got.extend_from_slice(&piece[..count]);
        }
        assert_eq!(sha256(&got[head..]), sha256(&body(4_194_304)), "{level}");
    }
}

#[test]
fn a_client_may_update_its_keys_before_during_and_after_the_hand_over() {
    for level in ["tx", "splice"] {
        let world = world(level);
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
                assert_eq!(answer.unwrap().body.sha256, sha256(&body(200_000)));
                continue;
            }
            // Before 6.14 a connection ends gracefully: what was begun is whole.
            match answer {
                Ok(answer) => assert_eq!(answer.body.sha256, sha256(&body(200_000))),
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
        assert_eq!(answer.body.sha256, sha256(&body(4_194_304)), "{level}");
    }
}

#[test]
fn a_flood_of_key_updates_ends_the_connection_and_nothing_else() {
    for level in ["tx", "splice"] {
        let mut world = world(level);
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
        let world = world(level);
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
        let world = world(level);
        let mut client = client(&world.herald);
        let answer = client
            .ask(
                format!("GET /{LARGE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            )
            .unwrap();
        assert_eq!(answer.body.sha256, sha256(&body(LARGE)), "{level}");
        // An end without close_notify would be an error here.
        assert_eq!(client.rest().unwrap(), b"", "{level}");
    }
}

#[test]
fn an_origin_that_dies_is_a_cut_and_never_an_end() {
    for level in ["off", "tx", "splice"] {
        let world = world(level);
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
        let world = world(level);
        expect_body(&mut client(&world.herald), LARGE);
        // The origin's connections and a worker's pipes are kept; they are bounded.
        let quiet = settled(&world.herald);
        for round in 0..30 {
            let mut client = client(&world.herald);
            request(&mut client, "/4194304");
            let mut piece = [0; 40_000];
            client.stream().read_exact(&mut piece).unwrap();
            let socket: &TcpStream = &client.stream().sock;
            if round % 2 == 0 {
                // Unread bytes make this a reset.
                socket.shutdown(Shutdown::Read).unwrap();
            }
            drop(client);
        }
        let after = settled(&world.herald);
        assert!(after <= quiet + 4, "{level}: {quiet} then {after}");
        expect_body(&mut client(&world.herald), LARGE);
    }
}

#[test]
fn without_the_module_userspace_serves_and_says_so() {
    if gate::guest("without_the_module_userspace_serves_and_says_so") {
        let removed = Command::new("rmmod").arg("tls").status().unwrap();
        assert!(removed.success());
    }
    let world = world("splice");
    let told = told(&world.herald);
    let before = sealed();
    expect_body(&mut client(&world.herald), LARGE);
    if gate::guest("without_the_module_userspace_serves_and_says_so") {
        let module = fs::read_dir("/modules")
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().ends_with("-tls.ko"))
            .unwrap();
        let loaded = Command::new("insmod").arg(module).status().unwrap();
        assert!(loaded.success());
        assert!(told.contains("Kernel TLS is off"), "{told}");
        assert!(told.contains("is the module `tls` loaded?"), "{told}");
        assert!(told.contains("WARN"), "{told}");
    }
    expect_sealed(before, 0, "no module");
}

/// One virtual CPU whose nanosecond is one instruction: what the scheduler says of the proxy's
/// threads is the number of instructions they ran.
#[test]
fn instructions_for_each_level() {
    if !gate::counting("instructions_for_each_level") {
        return;
    }
    for (length, requests) in [(1 << 10, 200), (1 << 16, 60), (1 << 20, 16), (1 << 26, 1)] {
        for level in ["off", "tx", "splice"] {
            let world = World::around(by_length(), "required", |launch: Launch| {
                launch.args(["--ktls", level, "--ktls-min-body", "64KiB"])
            });
            let mut client = client(&world.herald);
            // Handshake, first connection to the origin and hand-over are not a request's.
            expect_length(&mut client, 1 << 20);
            expect_length(&mut client, length);
            let before = cpu_nanoseconds(world.herald.pid());
            for _ in 0..requests {
                expect_length(&mut client, length);
            }
            let each = (cpu_nanoseconds(world.herald.pid()) - before) / requests;
            println!("COUNT {} {length} {each}", effective(&world.herald));
        }
    }
}

fn expect_length(client: &mut Client, length: usize) {
    let answer = client.get(&format!("/zero/{length}")).unwrap();
    assert_eq!(answer.body.length, length as u64);
}

/// The level in force: a kernel may not have the one that was asked for.
fn effective(herald: &Herald) -> String {
    let told = told(herald);
    let (_, rest) = told.split_once("Kernel TLS is ").unwrap();
    rest.split([' ', '.']).next().unwrap().to_owned()
}

fn cpu_nanoseconds(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .map(|task| {
            let path = task.unwrap().path().join("schedstat");
            let text = fs::read_to_string(path).unwrap();
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        })
        .sum()
}

fn world(level: &str) -> World {
    World::around(by_length(), "required", |launch: Launch| {
        launch.args(["--ktls", level, "--log-level", "debug"])
    })
}

fn good() -> Settings {
    Settings::new(Some(&Pki::shared().good()))
}

fn client(herald: &Herald) -> Client {
    good().connect(herald.address()).unwrap()
}

fn request(client: &mut Client, target: &str) {
    let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let stream: &mut StreamOwned<ClientConnection, TcpStream> = client.stream();
    stream.write_all(head.as_bytes()).unwrap();
    stream.flush().unwrap();
}

fn expect_body(client: &mut Client, length: usize) {
    let answer = client.get(&format!("/{length}")).unwrap();
    assert_eq!(answer.body.sha256, sha256(&body(length)));
}

/// The line in which Herald says what the kernel does.
fn told(herald: &Herald) -> String {
    let log = herald.log();
    let line = log.lines().find(|line| line.contains("Kernel TLS is"));
    line.unwrap_or_else(|| panic!("nothing said:\n{log}"))
        .to_owned()
}

/// Descriptors once their number stands still.
fn settled(herald: &Herald) -> usize {
    let mut last = usize::MAX;
    wait::until("descriptors to settle", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = herald.descriptors();
        let is_settled = now == last;
        last = now;
        is_settled.then_some(now)
    })
}

/// Connections whose sending half this guest's kernel has taken over so far
/// (Documentation/networking/tls.rst), without those of Herald's own probe: it counts three.
fn sealed() -> u64 {
    let text = fs::read_to_string("/proc/net/tls_stat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("TlsTxSw"));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

/// In a guest the kernel has taken over exactly so many connections; elsewhere none.
fn expect_sealed(before: u64, number: u64, what: &str) {
    let expected = if gate::is_guest() { number } else { 0 };
    assert_eq!(sealed() - before, expected, "{what}");
}

/// The guest's kernel is older than 6.5, where bodies are not moved.
fn is_before_splice() -> bool {
    release() < (6, 5)
}

/// The kernel takes a second key, or userspace does everything.
fn can_rekey() -> bool {
    !gate::is_guest() || release() >= (6, 14)
}

fn release() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Answers `GET /N` with N bytes; `/die` with less than it declared.
fn by_length() -> Origin {
    Origin::scripted(|request: &Request, stream| {
        if request.target == "/die" {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n")?;
            stream.write_all(&body(1_500_000))?;
            return Ok(Next::Close);
        }
        let (length, is_zero) = match request.target.strip_prefix("/zero/") {
            Some(length) => (length, true),
            None => (&request.target[1..], false),
        };
        let length = length.parse().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let bytes = if is_zero {
            vec![0; length]
        } else {
            body(length)
        };
        stream.write_all(&bytes)?;
        Ok(Next::Keep)
    })
}

/// Bytes that tell their place: a piece lost, doubled or moved changes the digest.
fn body(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut word = 0_u64;
    while bytes.len() < length {
        word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bytes.extend((word ^ (word >> 29)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
