//! What depends on the kernel below: the guests of `cargo xtask vm` run all of it, a native run
//! what needs no particular kernel.

use std::fs;

use herald_tests::client::Settings;
use herald_tests::gate;
use herald_tests::origin::{Next, Origin, Request};
use herald_tests::pki::Pki;
use herald_tests::wire::sha256;
use herald_tests::world::{Ask, Protocol, World};

/// Body lengths around the sizes at which TLS records, HTTP/2 frames and pipes end.
const LENGTHS: [usize; 9] = [
    0, 1, 16_375, 16_384, 16_385, 65_536, 131_072, 1_000_003, 4_194_304,
];

#[test]
fn bodies_of_every_size_arrive_whole() {
    let world = World::around(by_length(), "required", |launch| launch);
    let settings = Settings::new(Some(&Pki::shared().good()));
    for protocol in Protocol::ALL {
        let mut connection = protocol.connect(&world.herald, &settings).unwrap();
        for length in LENGTHS {
            let answer = connection.ask(&Ask::get(&format!("/{length}"))).unwrap();
            assert_eq!(answer.status, 200, "{protocol:?} {length}");
            let expected = (length as u64, sha256(&body(length)));
            let got = (answer.body.length, answer.body.sha256.clone());
            assert_eq!(got, expected, "{protocol:?} {length}");
        }
    }
}

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
}

/// Answers `GET /N` with N bytes.
fn by_length() -> Origin {
    use std::io::Write as _;
    Origin::scripted(|request: &Request, stream| {
        let length = request.target[1..].parse().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body(length))?;
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
