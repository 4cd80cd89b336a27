//! Who is refused by the kernel programs, through the binary, and who never is.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use aya::maps::{Array, HashMap};
use herald_tests::lookup::{key, prefix_of};
use herald_tests::netns;
use herald_tests::programs::Programs;
use herald_tests::steering::{Scene, connect, may};
use proxy_common::rate::PREFIXES_MAX;
use proxy_common::{Address, Counter, Prefix, Rate, RateLimits};
use socket2::{Domain, Protocol, Socket, Type};

#[test]
fn a_source_over_its_rate_is_refused_and_nobody_else() {
    if !may("a_source_over_its_rate_is_refused_and_nobody_else") {
        return;
    }
    let scene = Scene::new(
        2,
        &[
            "--refuse-rate=5",
            "--refuse-burst=10",
            "--refuse-exempt=127.0.0.4",
        ],
    );
    let address = scene.herald.address();
    let from = |last| Some(IpAddr::from([127, 0, 0, last]));
    let passed = (0..40)
        .filter(|_| connect(address, from(2)).is_ok())
        .count();
    assert!((10..=12).contains(&passed), "{passed} of 40 passed");
    let refused = connect(address, from(2)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    connect(address, from(3)).unwrap();
    for _ in 0..40 {
        connect(address, from(4)).unwrap();
    }
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    connect(other.local_addr().unwrap(), from(2)).unwrap();
    assert!(scene.decided(Counter::Refused) >= 28);
    assert!(scene.decided(Counter::LookupForeign) >= 1);
    assert_eq!(scene.decided(Counter::LookupAssigned), 0);
    // Who is refused isn't charged: after a second, five have been earned.
    thread::sleep(Duration::from_secs(1));
    let passed = (0..40)
        .filter(|_| connect(address, from(2)).is_ok())
        .count();
    assert!((4..=7).contains(&passed), "{passed} passed a second later");
}

#[test]
fn addresses_of_one_ipv6_network_share_a_rate() {
    if !may("addresses_of_one_ipv6_network_share_a_rate") {
        return;
    }
    let arguments = ["--refuse-rate=1", "--listen=[::1]:0"];
    let scene = Scene::new(1, &arguments);
    let address = scene.herald.addresses()[1];
    let passed = (0..20).filter(|_| connect(address, None).is_ok()).count();
    assert!((2..=3).contains(&passed), "{passed} of 20 passed");
    assert!(scene.decided(Counter::LookupPassed) >= passed as u64);
    // Another's port is not Herald's to refuse anybody at.
    let other = TcpListener::bind("[::1]:0").unwrap();
    connect(other.local_addr().unwrap(), None).unwrap();
    // One worker: nobody chooses, and sockops counts for the limit alone.
    assert_eq!(scene.decided(Counter::Chosen), 0);
    assert!(scene.decided(Counter::Refused) >= 17);
}

#[test]
fn a_limit_above_what_comes_refuses_nobody() {
    if !may("a_limit_above_what_comes_refuses_nobody") {
        return;
    }
    let scene = Scene::new(2, &["--refuse-rate=100000"]);
    for _ in 0..200 {
        connect(scene.herald.address(), None).unwrap();
    }
    assert_eq!(scene.decided(Counter::Refused), 0);
    assert!(scene.decided(Counter::LookupPassed) >= 200);
}

/// SYNs are nobody's to be charged with: their sender may be forged. Here 300 come in the name of an address that never
/// sent one, which then may take its whole burst.
#[test]
fn forged_packets_lock_nobody_out() {
    if !may("forged_packets_lock_nobody_out") {
        return;
    }
    netns::within(|| {
        let scene = Scene::new(1, &["--refuse-rate=1", "--refuse-burst=3"]);
        let address = scene.herald.address();
        let victim = Ipv4Addr::new(127, 0, 0, 9);
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).unwrap();
        raw.bind(&SocketAddr::from((victim, 0)).into()).unwrap();
        for source_port in 20_000..20_300 {
            let syn = syn(victim, source_port, address);
            raw.send_to(&syn, &address.into()).unwrap();
        }
        // Each was looked up, and answered as far as a forger can have it answered.
        assert!(scene.decided(Counter::LookupPassed) >= 300);
        assert_eq!(scene.decided(Counter::ClientEstablished), 0);
        for _ in 0..3 {
            connect(address, Some(victim.into())).unwrap();
        }
        let refused = connect(address, Some(victim.into())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(scene.decided(Counter::Refused), 1);
    });
}

/// The table of sources has an end. Who is given up owes nothing, and nobody is refused for want of a place. (Who was
/// refused lately is the last to be given up.)
#[test]
fn a_source_that_the_table_gives_up_is_not_refused() {
    if !may("a_source_that_the_table_gives_up_is_not_refused") {
        return;
    }
    netns::within(|| {
        for address in ["2001:db8::1/128", "2001:db8:0:9::1/128"] {
            netns::address(address);
        }
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(|it| TcpListener::bind(it).unwrap());
        let addresses = listeners.each_ref().map(|it| it.local_addr().unwrap());
        let mut programs = Programs::load(1);
        limit_and_guard(&mut programs, &addresses);
        let parse = |it: &str| it.parse::<IpAddr>().unwrap();
        let early = ["127.0.0.2", "2001:db8::1"].map(parse);
        let late = ["127.0.0.3", "2001:db8:0:9::1"].map(parse);
        let mut table: HashMap<_, Prefix, Rate> = programs.map("RATES");
        for source in early.into_iter().chain(late) {
            table.insert(prefix_of(source), OWES, 0).unwrap();
        }
        for (address, source) in addresses.into_iter().zip(early) {
            let refused = connect(address, Some(source)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        let mut table: HashMap<_, Prefix, Rate> = programs.map("RATES");
        for number in 0..2 * PREFIXES_MAX {
            let source = Ipv4Addr::from_bits(0x0a00_0000 + number);
            table.insert(prefix_of(source.into()), OWES, 0).unwrap();
        }
        for (address, source) in addresses.into_iter().zip(late) {
            connect(address, Some(source)).unwrap();
            connect(address, None).unwrap();
        }
        assert_eq!(programs.count(Counter::Refused), 2);
    });
}

/// A limit of one connection a second, at these addresses.
fn limit_and_guard(programs: &mut Programs, addresses: &[SocketAddr]) {
    let second = 1_000_000_000;
    let limits = RateLimits {
        interval_ns: second,
        burst_ns: second,
        wide_interval_ns: second,
        wide_burst_ns: second,
    };
    let mut table: Array<_, RateLimits> = programs.map("LIMITS");
    table.set(0, limits, 0).unwrap();
    for address in addresses {
        let mut table: HashMap<_, Address, u32> = programs.map("ADDRESSES");
        // The kernel finds the listener by itself.
        table.insert(key(*address), u32::MAX, 0).unwrap();
    }
    programs.look_up().unwrap();
}

/// A TCP header (RFC 9293 §3.1) that asks for a connection.
fn syn(source: Ipv4Addr, source_port: u16, to: SocketAddr) -> [u8; 20] {
    let mut header = [0; 20];
    header[..2].copy_from_slice(&source_port.to_be_bytes());
    header[2..4].copy_from_slice(&to.port().to_be_bytes());
    // Five words long; SYN; a window.
    header[12..16].copy_from_slice(&[0x50, 0x02, 0xff, 0xff]);
    let SocketAddr::V4(to) = to else {
        panic!("{to} is IPv6");
    };
    let words = |octets: [u8; 4]| {
        let [a, b, c, d] = octets;
        u32::from(u16::from_be_bytes([a, b])) + u32::from(u16::from_be_bytes([c, d]))
    };
    // The pseudo header's protocol and length, and all words.
    let mut sum = words(source.octets()) + words(to.ip().octets()) + 6 + 20;
    for pair in header.as_chunks::<2>().0 {
        sum += u32::from(u16::from_be_bytes(*pair));
    }
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    header[16..18].copy_from_slice(&(!folded).to_be_bytes());
    header
}

/// A debt that no time pays.
const OWES: Rate = Rate {
    paid_until_ns: u64::MAX / 2,
};
