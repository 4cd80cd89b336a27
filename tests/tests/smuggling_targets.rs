//! Request smuggling by hosts and targets: one reading of who is asked for what, or none (client-cert-headers.md §3.7).

use herald_tests::attacks::Fate::{self, Either, Once, Refused};
use herald_tests::attacks::{Attacks, SMUGGLED};
use herald_tests::client::Settings;
use herald_tests::world::World;

#[test]
fn hosts_and_targets_have_one_reading() {
    let mut attacks = Attacks::new("hosts and targets");
    for (name, request, fate) in TARGETS {
        let bytes: Vec<u8> = request
            .chars()
            .map(|letter| u8::try_from(u32::from(letter)).unwrap())
            .collect();
        // A refused request closes the connection, so that a request behind it is not served.
        let tail = if fate == Refused {
            SMUGGLED.as_bytes()
        } else {
            b""
        };
        attacks.h1(name, &[&bytes, tail].concat(), fate);
    }
    attacks.finish();
}

/// RFC 9112 §3.2.2: the authority of an absolute-form target replaces Host. An origin must never see one in the line and
/// another in Host.
#[test]
fn an_absolute_form_never_disagrees_with_host_at_the_origin() {
    let world = World::new("optional");
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    let status = client
        .ask(b"GET https://evil.test/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap()
        .status;
    for seen in world.settle(None).unwrap() {
        assert_eq!(seen.target, "/x", "origin-form towards the origin");
        assert_eq!(seen.headers.texts("host"), ["evil.test"], "{status}");
    }
}

const TARGETS: [(&str, &str, Fate); 45] = [
    ("no Host", "GET / HTTP/1.1\r\n\r\n", Refused),
    (
        "two Hosts",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n\r\n",
        Refused,
    ),
    (
        "the same Host twice",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "two Hosts in one",
        "GET / HTTP/1.1\r\nHost: localhost, evil.test\r\n\r\n",
        Refused,
    ),
    (
        "a space in Host",
        "GET / HTTP/1.1\r\nHost: local host\r\n\r\n",
        Refused,
    ),
    (
        "a slash in Host",
        "GET / HTTP/1.1\r\nHost: localhost/evil\r\n\r\n",
        Refused,
    ),
    (
        "userinfo in Host",
        "GET / HTTP/1.1\r\nHost: evil@localhost\r\n\r\n",
        Refused,
    ),
    (
        "a fragment in Host",
        "GET / HTTP/1.1\r\nHost: localhost#evil\r\n\r\n",
        Refused,
    ),
    (
        "a query in Host",
        "GET / HTTP/1.1\r\nHost: localhost?evil\r\n\r\n",
        Refused,
    ),
    (
        "a bad port in Host",
        "GET / HTTP/1.1\r\nHost: localhost:80:80\r\n\r\n",
        Refused,
    ),
    (
        "letters as port in Host",
        "GET / HTTP/1.1\r\nHost: localhost:evil\r\n\r\n",
        Refused,
    ),
    (
        "an empty Host",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        Either(""),
    ),
    (
        "a byte above 0x7F in Host",
        "GET / HTTP/1.1\r\nHost: \u{e9}.test\r\n\r\n",
        Refused,
    ),
    (
        "absolute-form of the same",
        "GET https://localhost/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Once(""),
    ),
    (
        "absolute-form of another",
        "GET https://evil.test/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Either(""),
    ),
    (
        "absolute-form of another port",
        "GET https://localhost:1/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Either(""),
    ),
    (
        "absolute-form with userinfo",
        "GET https://evil@localhost/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "absolute-form without Host",
        "GET https://localhost/x HTTP/1.1\r\n\r\n",
        Either(""),
    ),
    (
        "absolute-form, ftp",
        "GET ftp://localhost/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Either(""),
    ),
    (
        "authority-form",
        "GET localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "a target without slash",
        "GET x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "asterisk on GET",
        "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "asterisk on OPTIONS",
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Either(""),
    ),
    (
        "two slashes",
        "GET //evil.test/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Once(""),
    ),
    (
        "a space in the target",
        "GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "an encoded request in the target",
        "GET /%20HTTP/1.1%0d%0aX:%201 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Once(""),
    ),
    (
        "a fragment in the target",
        "GET /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Either(""),
    ),
    (
        "a tab in the request line",
        "GET\t/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "two spaces in the request line",
        "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Either(""),
    ),
    (
        "a space behind the version",
        "GET / HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "a NUL in the target",
        "GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "a bare CR in the target",
        "GET /\rX HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "DEL in the target",
        "GET /\x7f HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Either(""),
    ),
    (
        "a byte above 0x7F in the target",
        "GET /\u{e9} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Either(""),
    ),
    (
        "a quote in the target",
        "GET /\"a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Either(""),
    ),
    ("HTTP/0.9", "GET /\r\n\r\n", Refused),
    (
        "HTTP/2.0",
        "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "HTTP/1.2",
        "GET / HTTP/1.2\r\nHost: localhost\r\n\r\n",
        Either(""),
    ),
    (
        "HTTP/1.10",
        "GET / HTTP/1.10\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "http in lower case",
        "GET / http/1.1\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "a bracket in the method",
        "G(T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "a method of our own",
        "BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Once(""),
    ),
    (
        "an empty line before",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Either(""),
    ),
    (
        "a space before",
        " GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Refused,
    ),
    (
        "a TLS record as request",
        "\x16\x03\x01\x00\x05\r\n\r\n",
        Refused,
    ),
];
