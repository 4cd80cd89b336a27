//! A client must not be able to say who it is in headers: plain spoofing in all spellings, malformed lines, duplicates,
//! trailers, and certificates whose content tries to become headers (client-cert-headers.md §3.1 to §3.3, §3.5, §3.6).

use std::time::Duration;

use herald_tests::client::{Client, Response, Settings};
use herald_tests::forge::{COMMON_NAME, Forgery, UNIT, UTF8};
use herald_tests::h2::Raw;
use herald_tests::herald::Launch;
use herald_tests::origin::{Origin, Request, describe};
use herald_tests::pki::{Identity, Pki};
use herald_tests::table::{Table, check};
use herald_tests::wire::text;
use herald_tests::world::{Ask, Connection, DEFAULT_NAMES, Protocol, World, certificate_lines};

/// The default mapping and a free one.
const MAPPINGS: [&str; 4] = [
    "--preset",
    "cloudflare-worker",
    "--header",
    "X-Device={certSubjectCN}",
];

/// What every spoofed header says, so that it is found wherever it turns up.
const MARK: &str = "spoofed-by-client";

/// The names of the families beside the default mapping: presets that are not in use are protected all the same, since the
/// origin may have been moved from one to another (§3.1).
const OTHER_NAMES: [&str; 25] = [
    "cf-cert-revoked",
    "cf-cert-verified",
    "cf-cert-presented",
    "cf-cert-issuer-dn",
    "cf-cert-subject-dn",
    "cf-cert-issuer-dn-rfc2253",
    "cf-cert-subject-dn-rfc2253",
    "cf-cert-issuer-dn-legacy",
    "cf-cert-subject-dn-legacy",
    "cf-cert-serial",
    "cf-cert-issuer-serial",
    "cf-cert-fingerprint-sha256",
    "cf-cert-fingerprint-sha1",
    "cf-cert-not-before",
    "cf-cert-not-after",
    "cf-cert-ski",
    "cf-cert-issuer-ski",
    "Cf-Client-Cert-Der-Base64",
    "Cf-Client-Cert-Sha256",
    "Client-Cert",
    "Client-Cert-Chain",
    // The free mapping of these tests.
    "X-Device",
    // Not identity, but as dangerous: dropped unless the peer is trusted.
    "X-Forwarded-For",
    "Forwarded",
    "X-Real-IP",
];

#[test]
fn no_spelling_of_a_protected_name_reaches_the_origin() {
    let mut table = Table::new("spoofed names");
    let identity = Pki::shared().good();
    for (who, caller) in [
        ("with a certificate", Some(&identity)),
        ("without a certificate", None),
    ] {
        let world = World::with("optional", |launch| launch.args(MAPPINGS));
        for protocol in Protocol::ALL {
            let mut connection = protocol
                .connect(&world.herald, &Settings::new(caller))
                .unwrap();
            let clean = ours(&ask_once(&world, &mut connection, &Ask::get("/")).unwrap());
            for name in DEFAULT_NAMES.into_iter().chain(OTHER_NAMES) {
                for spelling in spellings(name) {
                    let ask = Ask::get("/").header(&spelling, MARK);
                    let result = ask_once(&world, &mut connection, &ask)
                        .and_then(|seen| unspoofed(&seen, &clean));
                    table.row(&format!("{spelling}, {who}, {protocol:?}"), result);
                }
            }
        }
    }
    table.finish();
}

#[test]
fn no_spelling_reaches_the_origin_in_any_mode() {
    let pki = Pki::shared();
    for (mode, caller) in [
        ("required", Some(pki.good())),
        ("forward-failed", Some(pki.expired())),
        ("forward-failed", Some(pki.self_signed())),
        ("forward-failed", None),
        ("off", None),
    ] {
        let world = World::with(mode, |launch| launch.args(["--head-fields-max", "1000"]));
        for protocol in Protocol::ALL {
            let mut connection = protocol
                .connect(&world.herald, &Settings::new(caller.as_ref()))
                .unwrap();
            let clean = ours(&ask_once(&world, &mut connection, &Ask::get("/")).unwrap());
            let all = DEFAULT_NAMES.iter().flat_map(|name| spellings(name));
            let ask = all.fold(Ask::get("/"), |ask, spelling| ask.header(spelling, MARK));
            let seen = ask_once(&world, &mut connection, &ask).unwrap();
            unspoofed(&seen, &clean).unwrap();
        }
    }
}

#[test]
fn names_with_odd_bytes_are_dropped_and_plain_ones_pass() {
    let world = World::new("optional");
    for protocol in Protocol::ALL {
        let ask = Ask::get("/")
            .header("X-Plain", "kept")
            .header("x-request-note", "kept")
            .header("X_Under", MARK)
            .header("X.Dot", MARK)
            .header("X~Tilde", MARK)
            .header("X!Bang", MARK);
        assert_eq!(world.ask(protocol, None, &ask).unwrap().status, 200);
        let seen = world.origin.take_one();
        assert_eq!(seen.headers.texts("x-plain"), ["kept"]);
        assert_eq!(seen.headers.texts("x-request-note"), ["kept"]);
        assert!(!text(&seen.raw).contains(MARK), "{}", describe(&[seen]));
    }
}

#[test]
fn an_allowed_odd_name_passes_but_never_a_protected_one() {
    let world = World::with("optional", |launch| {
        launch.args(["--allow-header-name", "X_Under"])
    });
    for protocol in Protocol::ALL {
        let ask = Ask::get("/")
            .header("X_Under", "kept")
            .header("X_Other", MARK)
            .header("X_CERT_VERIFY", MARK);
        assert_eq!(world.ask(protocol, None, &ask).unwrap().status, 200);
        let seen = world.origin.take_one();
        assert_eq!(seen.headers.texts("x_under"), ["kept"]);
        assert!(!text(&seen.raw).contains(MARK), "{}", describe(&[seen]));
    }
}

#[test]
fn allowing_a_protected_name_is_refused_or_without_effect() {
    let mut table = Table::new("allowed names");
    for spelling in spellings("X-CERT-VERIFY") {
        let origin = Origin::echo();
        let launch =
            Launch::new("optional", origin.address()).args(["--allow-header-name", &spelling]);
        let Ok(herald) = launch.try_start() else {
            table.row(&spelling, Ok(()));
            continue;
        };
        let world = World { origin, herald };
        for protocol in Protocol::ALL {
            let result = world
                .ask(protocol, None, &Ask::get("/").header(&spelling, MARK))
                .and_then(|answer| {
                    let seen = world.origin.take();
                    let clean = seen
                        .iter()
                        .all(|request| !text(&request.raw).contains(MARK));
                    check(clean && answer.status == 200, || {
                        format!("{}: {}", answer.status, describe(&seen))
                    })
                });
            table.row(&format!("{spelling}, {protocol:?}"), result);
        }
    }
    table.finish();
}

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

#[test]
fn duplicates_become_one_header_of_ours() {
    let world = World::new("required");
    let identity = Pki::shared().good();
    for protocol in Protocol::ALL {
        let mut connection = protocol
            .connect(&world.herald, &Settings::new(Some(&identity)))
            .unwrap();
        let clean = ours(&ask_once(&world, &mut connection, &Ask::get("/")).unwrap());
        for name in DEFAULT_NAMES {
            let ask = Ask::get("/")
                .header(name, MARK)
                .header("X-Between", "1")
                .header(name, MARK)
                .header(name, "");
            let seen = ask_once(&world, &mut connection, &ask).unwrap();
            unspoofed(&seen, &clean).unwrap();
            assert_eq!(seen.headers.texts(name).len(), 1, "{name} {protocol:?}");
        }
    }
}

/// Some origins merge trailers into headers.
#[test]
fn trailers_with_protected_names_are_dropped_and_others_pass() {
    let mut table = Table::new("trailers");
    let world = World::with("optional", |launch| launch.args(MAPPINGS));
    let identity = Pki::shared().good();
    for (who, caller) in [("with a certificate", Some(&identity)), ("without", None)] {
        for protocol in Protocol::ALL {
            let mut connection = protocol
                .connect(&world.herald, &Settings::new(caller))
                .unwrap();
            for name in DEFAULT_NAMES.into_iter().chain(OTHER_NAMES) {
                let mut ask = Ask::post("/", b"body").trailer("x-checksum", "kept");
                for spelling in spellings(name) {
                    ask = ask.trailer(spelling.to_ascii_lowercase(), MARK);
                }
                let result = ask_once(&world, &mut connection, &ask).and_then(|seen| {
                    let trailers = seen.body.trailers.lines();
                    check(trailers == ["x-checksum: kept"], || format!("{trailers:?}"))
                });
                table.row(&format!("{name}, {who}, {protocol:?}"), result);
            }
        }
    }
    assert_eq!(world.origin.complaints(), Vec::<String>::new());
    table.finish();
}

#[test]
fn framing_and_routing_names_in_trailers_are_dropped() {
    let world = World::new("optional");
    for protocol in Protocol::ALL {
        let ask = Ask::post("/", b"body")
            .trailer("x-checksum", "kept")
            .trailer("content-length", "5")
            .trailer("host", "evil.test")
            .trailer("authorization", "Basic eDp4")
            .trailer("x_under", "1");
        let status = world.ask(protocol, None, &ask).map(|answer| answer.status);
        let seen = world.settle(None).unwrap();
        for request in &seen {
            assert_eq!(
                request.body.trailers.lines(),
                ["x-checksum: kept"],
                "{protocol:?} {status:?}"
            );
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
            let ask = Ask::get("/").header("X-Device", MARK);
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
        let fields = [
            (&b":method"[..], &b"GET"[..]),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", b"/"),
            (field, value),
        ];
        let answer = raw.ask(&fields, None).unwrap();
        let result = world.settle(None).and_then(|seen| {
            check(seen.is_empty() && answer.status != Some(200), || {
                format!("{answer:?}, {}", describe(&seen))
            })
        });
        table.row(name, result);
    }
    table.finish();
}

/// The spellings that CGI, WSGI, PHP, nginx and others fold into the same variable (§3.2).
fn spellings(name: &str) -> Vec<String> {
    let replaced = |with: &str| name.replace('-', with);
    let first_only = name.replacen('-', "_", 1);
    let last_only = name
        .rsplit_once('-')
        .map_or_else(String::new, |(head, tail)| format!("{head}_{tail}"));
    let alternating: String = name
        .chars()
        .enumerate()
        .map(|(n, letter)| {
            if n % 2 == 0 {
                letter.to_ascii_lowercase()
            } else {
                letter.to_ascii_uppercase()
            }
        })
        .collect();
    let mut all = vec![
        name.to_owned(),
        name.to_ascii_lowercase(),
        name.to_ascii_uppercase(),
        alternating,
    ];
    if name.contains('-') {
        all.extend(
            [
                "_", ".", "~", "!", "*", "'", "^", "`", "|", "+", "%", "#", "$", "&",
            ]
            .map(replaced),
        );
        all.extend([
            first_only,
            last_only,
            replaced("_").to_ascii_uppercase(),
            replaced("_").to_ascii_lowercase(),
        ]);
    }
    all
}

/// The lines of protected names by canonical key, sorted: what only Herald may send.
fn ours(seen: &Request) -> Vec<String> {
    let protected: Vec<String> = DEFAULT_NAMES
        .into_iter()
        .chain(OTHER_NAMES)
        .map(|name| key(name.as_bytes()))
        .collect();
    let mut lines: Vec<String> = seen
        .headers
        .0
        .iter()
        .filter(|(name, _)| protected.contains(&key(name)))
        .map(|(name, value)| format!("{}: {}", text(name), text(value)))
        .collect();
    lines.sort();
    lines
}

/// the design's canonical key.
fn key(name: &[u8]) -> String {
    let fold = |byte: &u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte.to_ascii_lowercase())
        } else {
            '-'
        }
    };
    name.iter().map(fold).collect()
}

fn unspoofed(seen: &Request, clean: &[String]) -> Result<(), String> {
    let marked =
        text(&seen.raw).contains(MARK) || seen.body.trailers.lines().join("").contains(MARK);
    check(!marked && ours(seen) == clean, || {
        format!("the origin saw {:#?}", seen.headers.lines())
    })
}

fn ask_once(world: &World, connection: &mut Connection, ask: &Ask) -> Result<Request, String> {
    let answer = connection.ask(ask).map_err(|error| error.to_string())?;
    let mut seen = world.origin.take();
    match (answer.status, seen.len()) {
        (200, 1) => Ok(seen.remove(0)),
        (status, _) => Err(format!("got {status}, the origin saw {}", describe(&seen))),
    }
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
