//! HTTP/2 requests that would be two requests, or another request, once they are HTTP/1.1 (client-cert-headers.md §3.7).

use herald_tests::h2::{DATA, END_STREAM, RST_STREAM, Raw};
use herald_tests::origin::describe;
use herald_tests::table::{Table, check};
use herald_tests::wire::sha256;
use herald_tests::world::World;

type Field = (&'static str, &'static str);

const METHOD: Field = (":method", "GET");
const SCHEME: Field = (":scheme", "https");
const AUTHORITY: Field = (":authority", "localhost");
const PATH: Field = (":path", "/");
const SMUGGLED: &str =
    "GET /smuggled HTTP/1.1\r\nHost: localhost\r\nX-CERT-VERIFY: SUCCESS\r\n\r\n";

#[test]
fn a_sound_request_made_by_hand_passes() {
    let world = World::new("optional");
    let answer = ask(&world, &[METHOD, SCHEME, AUTHORITY, PATH], None);
    assert_eq!(answer.status, Some(200));
    let seen = world.settle(None).unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].headers.texts("host"), ["localhost"]);
}

#[test]
fn malformed_pseudo_headers_and_names_are_refused() {
    let world = World::new("optional");
    let mut table = Table::new("malformed HTTP/2 requests");
    for (name, fields) in MALFORMED {
        for body in [None, Some(SMUGGLED.as_bytes())] {
            let answer = ask(&world, fields, body);
            let result = world.settle(None).and_then(|seen| {
                let refused = answer.status != Some(200) && seen.is_empty();
                check(refused, || {
                    format!("{answer:?}, the origin saw {}", describe(&seen))
                })
            });
            table.row(name, result);
        }
    }
    table.finish();
}

#[test]
fn lengths_that_lie_are_refused() {
    let world = World::new("optional");
    let mut table = Table::new("HTTP/2 lengths");
    let rows: [(&str, &[&str]); 10] = [
        ("shorter than the body", &["5"]),
        ("zero", &["0"]),
        ("longer than the body", &["1000"]),
        ("two", &["5", "72"]),
        ("a list", &["5, 72"]),
        ("a plus", &["+72"]),
        ("no number", &["x"]),
        ("empty", &[""]),
        ("a minus", &["-1"]),
        ("beyond 64 bits", &["18446744073709551688"]),
    ];
    for (name, lengths) in rows {
        let mut fields = vec![(":method", "POST"), SCHEME, AUTHORITY, PATH];
        fields.extend(lengths.iter().map(|&length| ("content-length", length)));
        let answer = ask(&world, &fields, Some(SMUGGLED.as_bytes()));
        let result = world.settle(None).and_then(|seen| {
            let refused = answer.status != Some(200) && seen.is_empty();
            check(refused, || {
                format!("{answer:?}, the origin saw {}", describe(&seen))
            })
        });
        table.row(name, result);
    }
    table.finish();
}

#[test]
fn authority_and_the_same_host_are_one_host() {
    let world = World::new("optional");
    for fields in [
        &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "localhost")][..],
        &[METHOD, SCHEME, ("host", "localhost"), PATH],
        &[METHOD, SCHEME, PATH, ("host", "localhost")],
    ] {
        let answer = ask(&world, fields, None);
        let seen = world.settle(None).unwrap();
        // A field before a pseudo-header is malformed; Host alone is allowed (RFC 9113 §8.3.1).
        if fields[2].0 == "host" {
            assert!(seen.is_empty(), "{answer:?}");
            continue;
        }
        assert_eq!(answer.status, Some(200), "{fields:?}");
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].headers.texts("host"), ["localhost"]);
    }
}

#[test]
fn data_frames_become_one_body() {
    let world = World::new("optional");
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let fields = bytes(&[(":method", "POST"), SCHEME, AUTHORITY, PATH]);
    let stream = raw.open(&borrow(&fields), false).unwrap();
    for piece in SMUGGLED.as_bytes().chunks(7) {
        raw.frame(DATA, 0, stream, piece).unwrap();
    }
    raw.frame(DATA, END_STREAM, stream, b"").unwrap();
    assert_eq!(raw.answer(stream).status, Some(200));
    let seen = world.settle(None).unwrap();
    assert_eq!(seen.len(), 1, "{}", describe(&seen));
    assert_eq!(seen[0].body.sha256, sha256(SMUGGLED.as_bytes()));
}

#[test]
fn a_stream_reset_in_its_body_never_completes_at_the_origin() {
    let world = World::new("optional");
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    let fields = bytes(&[(":method", "POST"), SCHEME, AUTHORITY, (":path", "/broken")]);
    let stream = raw.open(&borrow(&fields), false).unwrap();
    raw.frame(DATA, 0, stream, b"half").unwrap();
    raw.frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
        .unwrap();
    for _ in 0..3 {
        let seen = world.settle(None).unwrap();
        assert!(seen.is_empty(), "{}", describe(&seen));
    }
}

fn ask(world: &World, fields: &[Field], body: Option<&[u8]>) -> herald_tests::h2::Answer {
    let mut raw = Raw::connect(world.herald.address(), None).unwrap();
    raw.ask(&borrow(&bytes(fields)), body).unwrap()
}

fn bytes(fields: &[Field]) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

fn borrow(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<(&[u8], &[u8])> {
    fields
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect()
}

const MALFORMED: [(&str, &[Field]); 27] = [
    (
        "authority and another Host",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "evil.test")],
    ),
    (
        "authority and two Hosts",
        &[
            METHOD,
            SCHEME,
            AUTHORITY,
            PATH,
            ("host", "localhost"),
            ("host", "evil.test"),
        ],
    ),
    ("no authority and no Host", &[METHOD, SCHEME, PATH]),
    (
        "two authorities",
        &[METHOD, SCHEME, AUTHORITY, (":authority", "evil.test"), PATH],
    ),
    (
        "userinfo in authority",
        &[METHOD, SCHEME, (":authority", "evil@localhost"), PATH],
    ),
    (
        "a slash in authority",
        &[METHOD, SCHEME, (":authority", "localhost/evil"), PATH],
    ),
    (
        "a space in authority",
        &[METHOD, SCHEME, (":authority", "local host"), PATH],
    ),
    (
        "CRLF in authority",
        &[
            METHOD,
            SCHEME,
            (":authority", "localhost\r\nX-CERT-VERIFY: SUCCESS"),
            PATH,
        ],
    ),
    (
        "CRLF in path",
        &[
            METHOD,
            SCHEME,
            AUTHORITY,
            (":path", "/ HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled"),
        ],
    ),
    (
        "a space in path",
        &[METHOD, SCHEME, AUTHORITY, (":path", "/a HTTP/1.1")],
    ),
    (
        "NUL in path",
        &[METHOD, SCHEME, AUTHORITY, (":path", "/\0")],
    ),
    ("no path", &[METHOD, SCHEME, AUTHORITY]),
    ("an empty path", &[METHOD, SCHEME, AUTHORITY, (":path", "")]),
    (
        "a path without slash",
        &[METHOD, SCHEME, AUTHORITY, (":path", "evil.test/x")],
    ),
    (
        "two paths",
        &[METHOD, SCHEME, AUTHORITY, PATH, (":path", "/smuggled")],
    ),
    ("no method", &[SCHEME, AUTHORITY, PATH]),
    (
        "two methods",
        &[METHOD, (":method", "POST"), SCHEME, AUTHORITY, PATH],
    ),
    (
        "a request as method",
        &[
            (":method", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET"),
            SCHEME,
            AUTHORITY,
            PATH,
        ],
    ),
    (
        "a space in method",
        &[(":method", "GET /smuggled"), SCHEME, AUTHORITY, PATH],
    ),
    (
        "an empty method",
        &[(":method", ""), SCHEME, AUTHORITY, PATH],
    ),
    ("no scheme", &[METHOD, AUTHORITY, PATH]),
    (
        "two schemes",
        &[METHOD, SCHEME, (":scheme", "http"), AUTHORITY, PATH],
    ),
    (
        "CRLF in scheme",
        &[METHOD, (":scheme", "https\r\nX: 1"), AUTHORITY, PATH],
    ),
    (
        "an unknown pseudo-header",
        &[
            METHOD,
            SCHEME,
            AUTHORITY,
            PATH,
            (":x-cert-verify", "SUCCESS"),
        ],
    ),
    (
        "a pseudo-header of responses",
        &[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")],
    ),
    (
        "a pseudo-header behind a field",
        &[METHOD, SCHEME, ("x-a", "1"), AUTHORITY, PATH],
    ),
    (
        "upper case",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("X-A", "1")],
    ),
];
