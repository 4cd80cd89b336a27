//! Ways out of the request-response path that stay shut: h2c, CONNECT, extended CONNECT, a 101 nobody asked for
//! (client-cert-headers.md §3.13). The one that opens is in tunnels.rs.

use herald_tests::client::Settings;
use herald_tests::h2::{Raw, SETTINGS};
use herald_tests::origin::{Next, Origin, describe};
use herald_tests::pki::Pki;
use herald_tests::world::{Protocol, World, certificate_lines};

/// `Upgrade: h2c` made proxies open a tunnel through which requests went past every filter.
#[test]
fn an_h2c_upgrade_is_not_honoured_and_not_forwarded() {
    let world = World::new("optional");
    let identity = Pki::shared().good();
    for lines in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: upgrade\r\nUpgrade: H2C, websocket",
    ] {
        let mut client = Settings::new(Some(&identity))
            .connect(world.herald.address())
            .unwrap();
        for _ in 0..2 {
            let bytes = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n");
            let answer = client.ask(bytes.as_bytes()).unwrap();
            assert_eq!(
                (answer.status, &answer.start[..8]),
                (200, "HTTP/1.1"),
                "{lines:?}"
            );
            let seen = world.settle(None).unwrap();
            assert_eq!(seen.len(), 1);
            for name in ["upgrade", "http2-settings"] {
                assert!(!seen[0].headers.has(name), "{}", describe(&seen));
            }
            assert_eq!(certificate_lines(&seen[0]).len(), 10);
        }
    }
}

#[test]
fn connect_is_refused() {
    let world = World::new("optional");
    let identity = Pki::shared().good();
    for caller in [Some(&identity), None] {
        for target in ["evil.test:443", "localhost:443", "/", "https://evil.test/"] {
            let mut client = Settings::new(caller)
                .connect(world.herald.address())
                .unwrap();
            let bytes = format!(
                "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
            );
            let status = client
                .ask(bytes.as_bytes())
                .map(|answer| answer.status)
                .unwrap();
            let expected: &[u16] = if target.ends_with(":443") {
                &[405]
            } else {
                &[400, 405]
            };
            assert!(expected.contains(&status), "CONNECT {target}: {status}");
            let seen = world.settle(None).unwrap();
            assert!(seen.is_empty(), "CONNECT {target}: {}", describe(&seen));
        }
    }
}

#[test]
fn connect_on_http2_is_refused() {
    let world = World::new("optional");
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let answer = raw
        .ask(
            &[(b":method", b"CONNECT"), (b":authority", b"evil.test:443")],
            Some(b"tunnel"),
        )
        .unwrap();
    assert!(
        answer.status == Some(405) || answer.reset.is_some(),
        "{answer:?}"
    );
    let seen = world.settle(None).unwrap();
    assert!(seen.is_empty(), "{}", describe(&seen));
}

/// RFC 8441 §3: a server that did not send SETTINGS_ENABLE_CONNECT_PROTOCOL does not speak it.
#[test]
fn extended_connect_is_refused() {
    let world = World::new("optional");
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let fields: [(&[u8], &[u8]); 6] = [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":authority", b"localhost"),
        (b":path", b"/chat"),
        (b"sec-websocket-version", b"13"),
    ];
    let answer = raw.ask(&fields, Some(b"tunnel")).unwrap();
    assert!(!matches!(answer.status, Some(100..400)), "{answer:?}");
    let seen = world.settle(None).unwrap();
    assert!(seen.is_empty(), "{}", describe(&seen));
}

#[test]
fn extended_connect_is_not_offered() {
    let world = World::new("optional");
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let settings = raw.first_frame(SETTINGS).unwrap();
    let offered = settings
        .chunks(6)
        .find(|setting| setting[..2] == [0, 8])
        .map(|setting| setting[2..].to_vec());
    assert!(
        matches!(offered.as_deref(), None | Some([0, 0, 0, 0])),
        "{offered:?}"
    );
}

/// Pingora passed bytes through as a tunnel before the origin had answered (CVE-2026-2833); an origin's 101 to a request
/// without Upgrade opened one too.
#[test]
fn a_101_nobody_asked_for_is_502() {
    for upgrade in ["", "Upgrade: websocket\r\nConnection: Upgrade\r\n"] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n");
        for protocol in Protocol::ALL {
            let origin = Origin::raw(answer.clone(), Next::Keep);
            let world = World::around(origin, "optional", |launch| launch);
            let answer = world
                .ask(protocol, None, &herald_tests::world::Ask::get("/"))
                .unwrap();
            assert_eq!(answer.status, 502, "{protocol:?} {upgrade:?}");
        }
    }
}
