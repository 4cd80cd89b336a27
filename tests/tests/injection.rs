//! Bytes that would become header lines of their own: malformed lines, line breaks in HTTP/2 fields, and what a CA lets an
//! applicant write into a certificate (client-cert-headers.md §3.3, §3.5, §3.6).

use std::time::Duration;

use herald_tests::client::{Client, Response, Settings};
use herald_tests::forge::{COMMON_NAME, Forgery, UNIT, UTF8};
use herald_tests::h2::Raw;
use herald_tests::origin::{Request, describe};
use herald_tests::pki::{Identity, Pki};
use herald_tests::table::{Table, check};
use herald_tests::wire::text;
use herald_tests::world::{Ask, DEFAULT_NAMES, Protocol, World, certificate_lines};

/// §3.3: a line that one parser skips and another reads is a hole. All of these are 400 and the connection closes.
#[test]
fn malformed_lines_are_refused_and_the_connection_closes() {
    let rows: [(&str, &[u8]); 20] = [
        ("a space before the colon", b"X-CERT-VERIFY : SUCCESS"),
        ("a tab before the colon", b"X-CERT-VERIFY\t: SUCCESS"),
        ("a fold", b"X-A: 1\r\n X-CERT-VERIFY: SUCCESS"),
        ("a fold with a tab", b"X-A: 1\r\n\tX-CERT-VERIFY: SUCCESS"),
        ("a leading space", b" X-CERT-VERIFY: SUCCESS"),
        ("a leading tab", b"\tX-CERT-VERIFY: SUCCESS"),
        ("a bare CR as line end", b"X-A: 1\rX-CERT-VERIFY: SUCCESS"),
        ("a bare CR in a value", b"X-A: 1\r2"),
        ("a bare CR in a name", b"X-CERT\r-VERIFY: SUCCESS"),
        ("NUL in a name", b"X-CERT-VERIFY\0: SUCCESS"),
        ("NUL in a value", b"X-A: 1\0X-CERT-VERIFY: SUCCESS"),
        ("a vertical tab in a name", b"X-CERT-VERIFY\x0b: SUCCESS"),
        ("a form feed in a name", b"X-CERT-VERIFY\x0c: SUCCESS"),
        ("DEL in a name", b"X-CERT-VERIFY\x7f: SUCCESS"),
        ("a byte above 0x7F in a name", b"X-CERT-VERIFY\xE9: SUCCESS"),
        (
            "an overlong hyphen in a name",
            b"X\xC0\xADCERT-VERIFY: SUCCESS",
        ),
        ("an empty name", b": SUCCESS"),
        ("no colon", b"X-CERT-VERIFY"),
        ("a space in a name", b"X-CERT VERIFY: SUCCESS"),
        ("brackets in a name", b"X-CERT[VERIFY]: SUCCESS"),
    ];
    let identity = Pki::shared().good();
    let mut table = Table::new("malformed lines");
    for (who, caller) in [
        ("with a certificate", Some(&identity)),
        ("without a certificate", None),
    ] {
        let world = World::new("optional");
        for (name, line) in rows {
            for (place, bytes) in placed(line) {
                let result = refused(&world, caller, &bytes);
                table.row(&format!("{name}, {place}, {who}"), result);
            }
        }
    }
    table.finish();
}

/// A bare LF ends a line for some parsers (RFC 9112 §2.2 allows it): then what follows is a header and is stripped.
#[test]
fn a_bare_line_feed_hides_nothing() {
    let world = World::new("optional");
    for line in [
        &b"X-A: 1\nX-CERT-VERIFY: spoofed-by-client"[..],
        b"X-A: 1\n\nX-CERT-VERIFY: spoofed-by-client",
    ] {
        for (_, bytes) in placed(line) {
            let mut client = Settings::default().connect(world.herald.address()).unwrap();
            // The request behind is served too, or the connection closes: nothing is under way then.
            if client.ask(&bytes).is_ok_and(|answer| answer.status == 200) {
                drop(client.response());
            }
            for seen in world.settle(None).unwrap() {
                assert_eq!(
                    seen.headers.texts("x-cert-verify"),
                    ["NONE"],
                    "{}",
                    text(&seen.raw)
                );
            }
        }
    }
}

/// What it is, common names, subject.
type HostileName = (&'static str, &'static [&'static [u8]], Option<&'static str>);

/// Common names in a certificate (country US, then these) and the subject that OpenSSL prints for them.
const HOSTILE_NAMES: [HostileName; 9] = [
    (
        "a line break",
        &[b"evil\r\nX-Injected: 1"],
        Some("CN=evil\\0D\\0AX-Injected: 1,C=US"),
    ),
    (
        "NUL",
        &[b"admin\0.evil.com"],
        Some("CN=admin\\00.evil.com,C=US"),
    ),
    ("a tab and DEL", &[b"a\tb\x7f"], Some("CN=a\\09b\\7F,C=US")),
    ("UTF-8", &[b"J\xC3\xBCrgen"], Some("CN=J\\C3\\BCrgen,C=US")),
    ("broken UTF-8", &[b"J\xFCrgen"], None),
    (
        "two common names",
        &[b"first", b"second"],
        Some("CN=second,CN=first,C=US"),
    ),
    ("specials", &[b"a,b+c\"d"], Some("CN=a\\,b\\+c\\\"d,C=US")),
    ("an endless name", &[&[b'A'; 20_000]], None),
    ("no common name", &[], Some("C=US")),
];

/// §3.6: what a CA lets an applicant write into a certificate must not become a header, an attribute or a line.
#[test]
fn the_content_of_a_certificate_stays_inside_its_header() {
    let mut rows: Vec<_> = HOSTILE_NAMES
        .iter()
        .map(|(name, common_names, subject)| (*name, Forgery::named(common_names), *subject))
        .collect();
    let attribute = |oid: &[u8], value: &[u8]| (oid.to_vec(), UTF8, value.to_vec());
    let subject = vec![
        attribute(COMMON_NAME, b"mallory"),
        attribute(UNIT, b"x,CN=admin"),
    ];
    let forgery = Forgery {
        subject,
        ..Forgery::named(&[])
    };
    rows.push((
        "a common name inside a unit",
        forgery,
        Some("OU=x\\,CN=admin,CN=mallory"),
    ));
    rows.push((
        "an empty subject",
        Forgery {
            subject: Vec::new(),
            ..Forgery::named(&[])
        },
        None,
    ));
    for (name, serial) in [
        ("a serial of 40 bytes", vec![0x5A; 40]),
        ("a serial of 36 bytes", vec![0x5A; 36]),
        ("a negative serial", vec![0xE1]),
        ("serial zero", vec![0]),
    ] {
        rows.push((
            name,
            Forgery {
                serial,
                ..Forgery::named(&[b"serial"])
            },
            None,
        ));
    }
    let world = World::with("forward-failed", |launch| {
        launch.args(["--identity-on-failure", "send"])
    });
    let mut table = Table::new("hostile certificates");
    for (name, forgery, subject) in rows {
        let identity = forgery.issue(&Pki::shared().ca);
        for protocol in Protocol::ALL {
            let result = world
                .ask(protocol, Some(&identity), &Ask::get("/"))
                .and_then(|answer| {
                    let seen = world.settle(None)?;
                    contained(&answer, &seen, subject)
                });
            table.row(&format!("{name}, {protocol:?}"), result);
        }
    }
    table.finish();
}

#[test]
fn an_ambiguous_common_name_is_left_out() {
    let world = World::with("forward-failed", |launch| {
        launch.args([
            "--identity-on-failure",
            "send",
            "--header",
            "X-Device={certSubjectCN}",
        ])
    });
    for (names, expected) in [
        (&[&b"one"[..]][..], Some("one")),
        (&[b"first", b"second"], None),
        (&[b"admin\0.evil.com"], None),
    ] {
        let identity = Forgery::named(names).issue(&Pki::shared().ca);
        for protocol in Protocol::ALL {
            let ask = Ask::get("/").header("X-Device", "spoofed-by-client");
            assert_eq!(
                world.ask(protocol, Some(&identity), &ask).unwrap().status,
                200
            );
            assert_eq!(
                world.origin.take_one().headers.only("x-device").as_deref(),
                expected,
                "{names:?}"
            );
        }
    }
}

/// HTTP/2 has no lines, so a client can put line breaks into names and values; an HTTP/1.1 origin would read them as lines.
#[test]
fn http2_fields_with_line_breaks_are_refused() {
    let world = World::new("optional");
    let mut table = Table::new("HTTP/2 injection");
    let rows: [(&str, &[u8], &[u8]); 10] = [
        (
            "CRLF in a value",
            b"x-a",
            b"1\r\nX-CERT-VERIFY: spoofed-by-client",
        ),
        (
            "LF in a value",
            b"x-a",
            b"1\nX-CERT-VERIFY: spoofed-by-client",
        ),
        (
            "CR in a value",
            b"x-a",
            b"1\rX-CERT-VERIFY: spoofed-by-client",
        ),
        ("NUL in a value", b"x-a", b"1\0spoofed-by-client"),
        (
            "CRLF in a name",
            b"x-a: 1\r\nx-cert-verify",
            b"spoofed-by-client",
        ),
        (
            "a colon in a name",
            b"x-cert-verify: spoofed-by-client\r\nx",
            b"1",
        ),
        ("a space in a name", b"x-cert-verify ", b"spoofed-by-client"),
        ("upper case", b"X-CERT-VERIFY", b"spoofed-by-client"),
        ("a NUL in a name", b"x-cert-verify\0", b"spoofed-by-client"),
        ("an empty name", b"", b"spoofed-by-client"),
    ];
    for (name, field, value) in rows {
        let mut raw = Raw::connect(world.herald.address(), None).unwrap();
        let answer = raw.get_with(field, value).unwrap();
        let result = world.settle(None).and_then(|seen| {
            check(seen.is_empty() && answer.status != Some(200), || {
                format!("{answer:?}, {}", describe(&seen))
            })
        });
        table.row(name, result);
    }
    table.finish();
}

/// A line as the first, the middle and the last of a head, with a request behind it that must not be served.
fn placed(line: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let request = |before: &[u8], after: &[u8]| {
        let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
        [
            &b"GET / HTTP/1.1\r\n"[..],
            before,
            line,
            b"\r\n",
            after,
            b"\r\n",
            smuggled,
        ]
        .concat()
    };
    [
        ("first", request(b"", b"Host: localhost\r\nX-B: 1\r\n")),
        (
            "in the middle",
            request(b"Host: localhost\r\n", b"X-B: 1\r\n"),
        ),
        ("last", request(b"Host: localhost\r\nX-B: 1\r\n", b"")),
    ]
}

fn refused(world: &World, caller: Option<&Identity>, bytes: &[u8]) -> Result<(), String> {
    // What an earlier row left behind is that row's failure.
    world.origin.take();
    let mut client: Client = Settings::new(caller)
        .connect(world.herald.address())
        .map_err(|error| error.to_string())?;
    let answer = client
        .ask(bytes)
        .map_err(|error| format!("no answer: {error}"))?;
    check(answer.status == 400, || format!("got {}", answer.start))?;
    let (rest, closed) = client.tail(Duration::from_secs(5));
    check(closed && rest.is_empty(), || {
        format!("closed: {closed}, more came: {:?}", text(&rest))
    })?;
    let seen = world.settle(None)?;
    check(seen.is_empty(), || describe(&seen))
}

/// A hostile certificate changed nothing but the values of its own headers.
fn contained(answer: &Response, seen: &[Request], subject: Option<&str>) -> Result<(), String> {
    check(answer.status == 200 && seen.len() == 1, || {
        format!("got {}, {}", answer.status, describe(seen))
    })?;
    let seen = &seen[0];
    let lines = certificate_lines(seen);
    for (name, value) in &seen.headers.0 {
        let visible = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
        check(visible, || {
            format!("{}: {:?} is not visible ASCII", text(name), text(value))
        })?;
    }
    check(!seen.headers.has("x-injected"), || {
        format!("a header was injected: {lines:#?}")
    })?;
    let serial = seen.headers.only("x-cert-serial").unwrap_or_default();
    check(serial.len() <= 64, || {
        format!("a serial of {} characters", serial.len())
    })?;
    let twice = DEFAULT_NAMES
        .iter()
        .find(|name| seen.headers.all(name).count() > 1);
    check(twice.is_none(), || {
        format!("{twice:?} is there twice: {lines:#?}")
    })?;
    match subject {
        Some(subject) => {
            let got = seen.headers.texts("x-cert-subject-dn");
            check(got == [subject], || {
                format!("subject {got:?}, not {subject:?}")
            })
        }
        None => Ok(()),
    }
}
