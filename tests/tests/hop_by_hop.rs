//! Hop-by-hop fields: a client's Connection list must never take Herald's headers away, and nothing meant for one hop
//! reaches the next (client-cert-headers.md §3.4, RFC 9110 §7.6.1).

use herald_tests::client::Settings;
use herald_tests::h2::Raw;
use herald_tests::origin::{Request, describe};
use herald_tests::pki::{Identity, Pki};
use herald_tests::table::{Table, check};
use herald_tests::wire::text;
use herald_tests::world::{Ask, DEFAULT_NAMES, World, certificate_lines};

/// httpd 2.4.71 still answers to it: `Connection: X-CERT-VERIFY` took away the header that the proxy itself had set, and an
/// origin that reads "no header" as "internal" let everybody in. HAProxy passes the list on to a second proxy that does.
#[test]
fn a_connection_token_naming_one_of_ours_or_a_framing_field_is_400() {
    let identity = Pki::shared().good();
    let mut table = Table::new("forbidden Connection tokens");
    let named = [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Authorization",
        "Cookie",
    ];
    for (who, caller) in [
        ("with a certificate", Some(&identity)),
        ("without a certificate", None),
    ] {
        let world = World::new("optional");
        for name in DEFAULT_NAMES.into_iter().chain(named) {
            let (lower, upper) = (name.to_ascii_lowercase(), name.to_ascii_uppercase());
            for lines in [
                format!("Connection: {name}"),
                format!("Connection: {lower}"),
                format!("connection: {upper}"),
                format!("Connection: close, {name}"),
                format!("Connection: keep-alive,{lower} , close"),
                format!("Connection: ,,\t{name}\t,"),
                format!("Connection: keep-alive\r\nConnection: {name}"),
                format!("Connection: {name}\r\nConnection: close"),
                format!("Connection: keep-alive\r\nX-Between: 1\r\nCONNECTION: x-other, {lower}"),
            ] {
                let result = refused(&world, caller, &lines);
                table.row(&format!("{lines:?} {who}"), result);
            }
        }
    }
    table.finish();
}

/// A free mapping's name is one of ours too.
#[test]
fn a_connection_token_naming_a_free_mapping_is_400() {
    let world = World::with("optional", |launch| {
        launch.args(["--header", "X-Device={certSubjectCN}"])
    });
    refused(
        &world,
        Some(&Pki::shared().good()),
        "Connection: close, x-device",
    )
    .unwrap();
}

/// Spellings that are not quite the name: whether refused or not, our headers arrive whole.
#[test]
fn no_connection_list_takes_our_headers_away() {
    let identity = Pki::shared().good();
    let world = World::new("optional");
    let mut table = Table::new("Connection lists");
    for lines in [
        "Connection: x_cert_verify",
        "Connection: X.CERT.VERIFY",
        "Connection: \"x-cert-verify\"",
        "Connection: x-cert-verify;q=1",
        "Connection: x-cert-verify x-cert-presented",
        "Connection: x-cert-verify\t,",
        "Connection: \u{e9}, x-cert-verify",
        "Connection: x-cert-verify\u{e9}",
        "Proxy-Connection: x-cert-verify",
        "Keep-Alive: x-cert-verify",
        "X_Connection: x-cert-verify",
        "Connection_: x-cert-verify",
    ] {
        let mut client = Settings::new(Some(&identity))
            .connect(world.herald.address())
            .unwrap();
        let answer = client.ask(&head(lines));
        let result = world.settle(Some(&identity)).and_then(|seen| {
            let whole = seen
                .iter()
                .all(|request| certificate_lines(request).len() == DEFAULT_NAMES.len());
            check(whole && answer.is_ok() && seen.len() < 2, || {
                format!("{answer:?}, {}", describe(&seen))
            })
        });
        table.row(lines, result);
    }
    table.finish();
}

/// `http`'s `remove` returns the first of several values, and three respected proxies looked at that one only.
#[test]
fn names_on_every_connection_line_are_removed() {
    let world = World::new("optional");
    for (lines, removed) in [
        ("Connection: x-one\r\nX-One: 1", &["x-one"][..]),
        (
            "Connection: x-one, x-two\r\nX-One: 1\r\nX-Two: 2",
            &["x-one", "x-two"],
        ),
        (
            "Connection: x-one\r\nConnection: x-two\r\nX-One: 1\r\nX-Two: 2",
            &["x-one", "x-two"],
        ),
        (
            "X-Two: 2\r\nConnection: keep-alive\r\nX-One: 1\r\nConnection: X-TWO,X-ONE",
            &["x-one", "x-two"],
        ),
        (
            "Connection: close\r\nConnection: x-one\r\nX-One: 1\r\nX-One: again",
            &["x-one"],
        ),
        ("Connection: , ,x-one,\r\nX-One: 1", &["x-one"]),
    ] {
        let seen = passed(&world, lines);
        for name in removed {
            assert!(
                !seen.headers.has(name),
                "{lines:?}: {}",
                describe(std::slice::from_ref(&seen))
            );
        }
        assert_eq!(seen.headers.texts("x-kept"), ["1"], "{lines:?}");
        assert_eq!(seen.headers.texts("x-cert-verify"), ["NONE"], "{lines:?}");
        no_connection_list(&seen);
    }
}

/// `to_str` fails on a byte above 0x7F, and code that used it then removed nothing of the list.
#[test]
fn a_byte_above_0x7f_in_a_connection_list_does_not_switch_it_off() {
    let world = World::new("optional");
    let lists: [&[u8]; 5] = [
        b"Connection: x-one, \xE9",
        b"Connection: \xE9, x-one",
        b"Connection: \xFF\r\nConnection: x-one",
        b"Connection: x-one\r\nConnection: \xC3\xA9",
        b"Connection: x-two\x80,x-one",
    ];
    for list in lists {
        let bytes = [
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX-One: 1\r\n",
            list,
            b"\r\n\r\n",
        ]
        .concat();
        let mut client = Settings::default().connect(world.herald.address()).unwrap();
        let status = client.ask(&bytes).unwrap().status;
        let seen = world.settle(None).unwrap();
        assert!(
            matches!((status, seen.len()), (400, 0) | (200, 1)),
            "{status}, {}",
            describe(&seen)
        );
        assert!(
            !seen.iter().any(|request| request.headers.has("x-one")),
            "{:?}: {}",
            text(list),
            describe(&seen)
        );
    }
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop() {
    let world = World::new("optional");
    for (lines, name, left) in [
        ("Keep-Alive: timeout=5", "keep-alive", &[][..]),
        ("Proxy-Connection: keep-alive", "proxy-connection", &[]),
        ("Proxy-Connection: close", "proxy-connection", &[]),
        ("TE: gzip", "te", &[]),
        ("TE: trailers", "te", &["trailers"]),
        ("TE: trailers, gzip;q=0.5", "te", &["trailers"]),
        ("TE: gzip\r\nTE: Trailers", "te", &["trailers"]),
        ("TE: x-trailers", "te", &[]),
        ("Connection: TE\r\nTE: trailers", "te", &["trailers"]),
        ("Upgrade: foo/2", "upgrade", &[]),
        ("Connection: upgrade\r\nUpgrade: foo/2", "upgrade", &[]),
        (
            "Connection: http2-settings\r\nHTTP2-Settings: AAMAAABk",
            "http2-settings",
            &[],
        ),
    ] {
        let seen = passed(&world, lines);
        let values: Vec<_> = seen
            .headers
            .texts(name)
            .iter()
            .map(|value| value.to_ascii_lowercase())
            .collect();
        assert_eq!(values, left, "{lines:?}");
        assert_eq!(seen.headers.texts("x-kept"), ["1"], "{lines:?}");
        no_connection_list(&seen);
    }
}

#[test]
fn the_trailer_field_survives_less_our_names() {
    let world = World::new("optional");
    for (list, left) in [
        ("X-Checksum", vec!["x-checksum"]),
        ("X-Checksum, X-CERT-VERIFY", vec!["x-checksum"]),
        (
            "x_cert_verify, X-Checksum, cf-cert-verified,X-Other",
            vec!["x-checksum", "x-other"],
        ),
        ("X-CERT-VERIFY", vec![]),
        (
            "X-Checksum\r\nTrailer: x.cert.verify\r\nTrailer: X-Other",
            vec!["x-checksum", "x-other"],
        ),
    ] {
        let ask = Ask::post("/", b"body")
            .header("Trailer", list)
            .trailer("X-Checksum", "1");
        let mut client = Settings::default().connect(world.herald.address()).unwrap();
        assert_eq!(client.ask(&ask.to_bytes()).unwrap().status, 200);
        let seen = world.origin.take_one();
        let mut names: Vec<String> = seen
            .headers
            .texts("trailer")
            .iter()
            .flat_map(|value| value.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        names.sort();
        assert_eq!(names, left, "{list:?}");
        assert_eq!(seen.body.trailers.lines().len(), 1);
    }
}

#[test]
fn the_clients_wish_to_close_is_its_own() {
    let world = World::new("optional");
    for lines in ["Connection: close", "Connection: Close, x-one"] {
        let mut client = Settings::default().connect(world.herald.address()).unwrap();
        assert_eq!(client.ask(&head(lines)).unwrap().status, 200);
        assert_eq!(client.rest().unwrap(), b"", "closed after {lines}");
    }
    let seen = world.origin.take();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        seen[0].connection, seen[1].connection,
        "the upstream connection was kept"
    );
}

/// RFC 9113 §8.2.2: a message with connection-specific fields is malformed.
#[test]
fn connection_specific_fields_on_http2_are_refused() {
    let world = World::new("optional");
    let mut table = Table::new("HTTP/2 connection fields");
    let rows: [(&str, &str); 7] = [
        ("connection", "x-cert-verify"),
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
    ];
    for (name, value) in rows {
        let mut raw = Raw::connect(world.herald.address(), None).unwrap();
        let answer = raw.get_with(name.as_bytes(), value.as_bytes()).unwrap();
        let result = world.settle(None).and_then(|seen| {
            let refused = answer.status != Some(200) && seen.is_empty();
            check(refused, || format!("{answer:?}, {}", describe(&seen)))
        });
        table.row(&format!("{name}: {value}"), result);
    }
    table.finish();
}

#[test]
fn te_trailers_on_http2_survives() {
    let world = World::new("optional");
    let ask = Ask::get("/").header("te", "trailers");
    world
        .ask(herald_tests::world::Protocol::H2, None, &ask)
        .unwrap();
    assert_eq!(world.origin.take_one().headers.texts("te"), ["trailers"]);
}

fn head(lines: &str) -> Vec<u8> {
    // Latin-1: a character is a byte.
    let lines: Vec<u8> = lines
        .chars()
        .map(|letter| u8::try_from(u32::from(letter)).unwrap())
        .collect();
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Kept: 1\r\n",
        &lines[..],
        b"\r\n\r\n",
    ]
    .concat()
}

fn passed(world: &World, lines: &str) -> Request {
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    let answer = client.ask(&head(lines)).unwrap();
    assert_eq!(answer.status, 200, "{lines:?}");
    world.origin.take_one()
}

fn refused(world: &World, caller: Option<&Identity>, lines: &str) -> Result<(), String> {
    let mut client = Settings::new(caller)
        .connect(world.herald.address())
        .map_err(|error| error.to_string())?;
    let answer = client
        .ask(&head(lines))
        .map_err(|error| format!("no answer: {error}"))?;
    let seen = world.origin.take();
    check(answer.status == 400 && seen.is_empty(), || {
        format!("got {}, {}", answer.start, describe(&seen))
    })
}

/// What Herald says about its own connection may only be keep-alive, close or te.
fn no_connection_list(seen: &Request) {
    for value in seen.headers.texts("connection") {
        for token in value.split(',') {
            let token = token.trim().to_ascii_lowercase();
            assert!(
                ["keep-alive", "close", "te"].contains(&&*token),
                "Connection: {value}"
            );
        }
    }
}
