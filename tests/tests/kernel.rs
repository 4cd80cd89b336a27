//! What depends on the kernel below: the guests of `cargo xtask vm` run all of it; a native run
//! shows that userspace does the same where the kernel cannot. How connections end is in `kernel_ends.rs`, what keeps them
//! in userspace in `kernel_refusals.rs`, what they cost in `kernel_counts.rs`.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use herald_tests::bulk::{
    HEAD_READ_MAX, LARGE, by_length, by_length_unix, bytes, client, digest, expect_body,
    expect_sealed, good, is_before_splice, listener, proxy_end, request, sealed, told, world,
};
use herald_tests::gate;
use herald_tests::h2::Raw;
use herald_tests::herald::{self, Launch};
use herald_tests::kernel::{self, CAP_BPF, CAP_NET_ADMIN};
use herald_tests::lookup::Lookup;
use herald_tests::pki::{Key, Pki};
use herald_tests::records::Folder;
use herald_tests::wire::sha256;
use herald_tests::world::{Ask, Protocol, World};
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustls::CipherSuite;

/// Body lengths around the sizes at which TLS records, HTTP/2 frames and pipes end.
const LENGTHS: [usize; 9] = [
    0, 1, 16_375, 16_384, 16_385, 65_536, 131_072, 1_000_003, 4_194_304,
];
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
        let world = world(level, &[]);
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

/// The log, `herald check` and the status give one account, and where it is not the highest level, why.
#[test]
fn the_level_and_its_reason_are_told_alike_everywhere() {
    let folder = Folder::default();
    for level in ["off", "auto", "tx", "splice"] {
        let world = World::around(by_length(), "required", |launch: Launch| {
            folder.launch(launch).args(["--ktls", level])
        });
        let told = told(&world.herald);
        let (_, sentence) = told.split_once("Kernel TLS is ").unwrap();
        let has_reason = sentence.contains("not more because");
        let is_most = sentence.starts_with("splice") || sentence.starts_with(level);
        assert_eq!(has_reason, !is_most, "{told}");
        let (_, status) = folder.ask("/status");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let features = status["features"].as_array().unwrap();
        let feature = features
            .iter()
            .find(|feature| feature["name"] == "kernel TLS");
        let feature = feature.unwrap();
        assert_eq!(feature["active"], !sentence.starts_with("off"), "{feature}");
        if level != "off" {
            assert_eq!(feature["reason"], sentence.trim_end_matches('.'), "{level}");
        }
        let (certificate, key) = Pki::shared().server(Key::Ec);
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let ca = path(&Pki::shared().path("ca.pem"));
        let (certificate, key) = (path(&certificate), path(&key));
        let output = herald::run(&[
            "check",
            "--listen",
            "127.0.0.1:0",
            "--cert",
            &certificate,
            "--key",
            &key,
            "--client-ca",
            &ca,
            "--upstream",
            "http://127.0.0.1:1",
            "--ktls",
            level,
        ]);
        let checked = String::from_utf8(output.stdout).unwrap();
        assert!(
            checked.contains(&format!("Kernel TLS is {sentence}")),
            "{checked}"
        );
    }
}

#[test]
fn bodies_of_every_size_arrive_whole() {
    for level in ["off", "tx", "splice"] {
        let world = world(level, &[]);
        for protocol in Protocol::ALL {
            let before = sealed();
            let mut connection = protocol.connect(&world.herald, &good()).unwrap();
            for length in LENGTHS {
                let answer = connection.ask(&Ask::get(&format!("/{length}"))).unwrap();
                assert_eq!(answer.status, 200, "{protocol:?} {length}");
                let expected = (length as u64, digest(length));
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

/// Each body's length is drawn log-uniformly, so that the hand-over falls between requests of all sizes.
#[test]
fn a_connection_carries_200_bodies_with_every_cipher() {
    // Each protocol as far in the kernel as it goes: HTTP/2 is never spliced, and by an old kernel nothing is.
    carry(200, |level, protocol| {
        let is_spliced = protocol == Protocol::H1 && !is_before_splice();
        is_spliced == (level == "splice")
    });
}

#[test]
fn a_connection_carries_1000_bodies_with_every_cipher() {
    if gate::long("a_connection_carries_1000_bodies_with_every_cipher") {
        carry(1000, |_, _| true);
    }
}

/// Both protocols at both levels; HTTP/2 is not spliced, and with that level stays in userspace.
fn carry(requests: usize, is_wanted: fn(&str, Protocol) -> bool) {
    let pairs = ["splice", "tx"].map(|level| Protocol::ALL.map(|protocol| (level, protocol)));
    let pairs = pairs.into_iter().flatten();
    for (level, protocol) in pairs.filter(|(level, protocol)| is_wanted(level, *protocol)) {
        let world = world(level, &[]);
        let is_sealed = protocol == Protocol::H1 || level == "tx" || is_before_splice();
        for suite in SUITES {
            let before = sealed();
            let mut random = 0x2545_f491_4f6c_dd1d_u64;
            let settings = good().suite(suite);
            let mut connection = protocol.connect(&world.herald, &settings).unwrap();
            for number in 0..requests {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // The first quarter is below the least length for a hand-over, which so falls in the middle.
                let bits = if number < requests / 4 { 17 } else { 22 };
                let length = (random >> 11) as usize % (1 << (1 + random % bits));
                let answer = connection.ask(&Ask::get(&format!("/{length}"))).unwrap();
                let got = (answer.body.length, answer.body.sha256.clone());
                let expected = (length as u64, digest(length));
                assert_eq!(got, expected, "{level} {suite:?} {protocol:?} {number}");
                if number == 0 {
                    expect_sealed(before, 0, "not yet");
                }
            }
            let what = format!("{level} {suite:?} {protocol:?}");
            expect_sealed(before, u64::from(is_sealed), &what);
        }
    }
}

#[test]
fn a_body_of_64_mib_arrives_whole() {
    const LENGTH: usize = 64 << 20;
    // Made beforehand: a guest is slow.
    let expected = digest(LENGTH);
    // One, as far in the kernel as it can go.
    let world = world("splice", &[]);
    let before = sealed();
    let mut client = client(&world.herald);
    client.patience(Duration::from_secs(120));
    let answer = client.get(&format!("/{LENGTH}")).unwrap();
    assert_eq!(answer.body.sha256, expected);
    expect_sealed(before, 1, "64 MiB");
}

#[test]
fn bodies_from_a_unix_socket_are_moved_too() {
    let folder = Folder::default();
    let path = folder.path("origin.sock");
    by_length_unix(&path);
    for level in ["off", "splice"] {
        let launch = Launch::toward("required", [format!("unix:{}", path.display())]);
        let herald = folder.launch(launch).args(["--ktls", level]).start();
        let before = sealed();
        let mut client = client(&herald);
        for length in [1, LARGE, 4 << 20, 200_000] {
            expect_body(&mut client, length);
        }
        expect_sealed(before, u64::from(level == "splice"), level);
        let spliced = folder.metric("herald_ktls_spliced_bytes_total");
        if level == "splice" && gate::is_guest() && !is_before_splice() {
            // All but what was read with each head.
            let whole = (LARGE + (4 << 20) + 200_000) as u64;
            assert!(spliced >= whole - 3 * HEAD_READ_MAX, "{spliced} of {whole}");
        } else {
            assert_eq!(spliced, 0, "{level}");
        }
    }
}

#[test]
fn http2_frames_fill_one_record_each() {
    for level in ["off", "tx"] {
        let world = world(level, &[]);
        let mut raw = Raw::connect(world.herald.address(), Some(&Pki::shared().good())).unwrap();
        raw.widen().unwrap();
        let fields: [(&[u8], &[u8]); 4] = [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", b"/1000003"),
        ];
        let stream = raw.open(&fields, true).unwrap();
        let (mut got, mut longest) = (Vec::new(), 0);
        let mut is_last = false;
        while !is_last {
            let payload;
            (payload, is_last) = raw.data(stream).unwrap();
            longest = longest.max(payload.len());
            got.extend(payload);
        }
        assert_eq!(sha256(&got), digest(LARGE), "{level}");
        assert_eq!(longest, 16_384 - 9, "{level}");
    }
}

/// The kernel doubles the 4 KiB for its own book-keeping (socket(7)).
#[test]
fn a_slow_reader_and_a_send_buffer_of_4_kib_lose_nothing() {
    const LENGTH: usize = 1 << 20;
    for level in ["off", "tx", "splice"] {
        let world = world(level, &[]);
        let mut client = client(&world.herald);
        let end = proxy_end(&world.herald, &client.stream().sock);
        set_socket_send_buffer_size(&end, 4096).unwrap();
        drop(end);
        request(&mut client, &format!("/{LENGTH}"));
        // The socket's buffers fill, and the proxy has to wait again and again.
        std::thread::sleep(Duration::from_millis(300));
        let mut got = Vec::new();
        let mut piece = vec![0; 10_000];
        let mut whole = usize::MAX;
        while got.len() < whole {
            let count = client.stream().read(&mut piece).unwrap();
            assert_ne!(count, 0, "{level}: ended after {}", got.len());
            got.extend_from_slice(&piece[..count]);
            if whole == usize::MAX {
                let head = got.windows(4).position(|window| window == b"\r\n\r\n");
                whole = head.map_or(usize::MAX, |head| head + 4 + LENGTH);
            }
            if got.len() % 7 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert_eq!(got[whole - LENGTH..], bytes(LENGTH), "{level}");
    }
}

/// Listeners that programs choose among hand out sockets that take keys like any other.
#[test]
fn a_connection_that_a_program_steered_is_taken_over() {
    if !gate::guest("a_connection_that_a_program_steered_is_taken_over") {
        return;
    }
    let folder = Folder::default();
    let world = World::around(by_length(), "required", |launch: Launch| {
        let launch = folder.launch(launch.workers(2));
        launch.args(["--ktls=tx", "--ebpf=require", "--refuse-rate=100000"])
    });
    let before = sealed();
    for _ in 0..4 {
        expect_body(&mut client(&world.herald), LARGE);
    }
    expect_sealed(before, 4, "steered");
    assert_eq!(folder.metric("herald_ktls_offloads_total"), 4);
    for decision in ["chosen", "lookup_passed"] {
        let series = format!("herald_kernel_decisions_total{{decision=\"{decision}\"}}");
        assert!(folder.metric(&series) >= 4, "{decision}");
    }
}

/// A listener in the sockmap from which `sk_lookup` gives away connections: what it hands out is in no sockmap itself, and
/// takes keys like any other.
#[test]
fn a_connection_that_sk_lookup_gave_to_a_listener_is_taken_over() {
    let may = kernel::may(&[CAP_BPF, CAP_NET_ADMIN]);
    let test = "a_connection_that_sk_lookup_gave_to_a_listener_is_taken_over";
    if !gate::require(test, "CAP_BPF and CAP_NET_ADMIN", may) {
        return;
    }
    for level in ["tx", "splice"] {
        let world = world(level, &[]);
        let unbound = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 77), 4433);
        let lookup = Lookup::assign(unbound, &listener(&world.herald));
        let before = sealed();
        for _ in 0..4 {
            let mut client = good().connect(unbound.into()).unwrap();
            expect_body(&mut client, LARGE);
            expect_body(&mut client, 200_000);
        }
        expect_sealed(before, 4, level);
        assert!(lookup.assigned() >= 4);
        drop(lookup);
        good().connect(unbound.into()).unwrap_err();
    }
}
