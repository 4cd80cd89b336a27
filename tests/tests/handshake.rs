//! Who gets through the handshake, and with which verdict.

use herald_tests::client::{Client, Settings, Tls, alert, client_hello, handshake_record};
use herald_tests::forge::Forgery;
use herald_tests::origin::{Request, describe};
use herald_tests::pki::{Identity, Key, Pki};
use herald_tests::table::{Table, check};
use herald_tests::world::{Ask, Protocol, World};
use rustls::AlertDescription;

/// the design's table: mode, who calls, and the verdict the origin reads, or `None` for 403 and no word to the origin.
const MODES: [(&str, &str, Option<&str>); 28] = [
    ("required", "nobody", None),
    ("required", "good", Some("SUCCESS")),
    ("required", "via an intermediate", Some("SUCCESS")),
    ("required", "expired", None),
    ("required", "not yet valid", None),
    ("required", "self-signed", None),
    ("required", "wrong CA", None),
    ("optional", "nobody", Some("NONE")),
    ("optional", "good", Some("SUCCESS")),
    ("optional", "via an intermediate", Some("SUCCESS")),
    ("optional", "expired", None),
    ("optional", "not yet valid", None),
    ("optional", "self-signed", None),
    ("optional", "wrong CA", None),
    ("forward-failed", "nobody", Some("NONE")),
    ("forward-failed", "good", Some("SUCCESS")),
    ("forward-failed", "via an intermediate", Some("SUCCESS")),
    (
        "forward-failed",
        "expired",
        Some("FAILED:certificate has expired"),
    ),
    (
        "forward-failed",
        "not yet valid",
        Some("FAILED:certificate is not yet valid"),
    ),
    (
        "forward-failed",
        "self-signed",
        Some("FAILED:self signed certificate"),
    ),
    (
        "forward-failed",
        "wrong CA",
        Some("FAILED:unable to verify the first certificate"),
    ),
    ("off", "nobody", Some("NONE")),
    ("off", "good", Some("NONE")),
    ("off", "via an intermediate", Some("NONE")),
    ("off", "expired", Some("NONE")),
    ("off", "not yet valid", Some("NONE")),
    ("off", "self-signed", Some("NONE")),
    ("off", "wrong CA", Some("NONE")),
];

#[test]
fn every_mode_treats_every_caller_as_its_table_says() {
    let mut table = Table::new("modes");
    let worlds =
        ["required", "optional", "forward-failed", "off"].map(|mode| (mode, World::new(mode)));
    for (mode, caller, verdict) in MODES {
        let (_, world) = worlds.iter().find(|(name, _)| *name == mode).unwrap();
        let identity = caller_named(caller);
        for version in Tls::ALL {
            for protocol in Protocol::ALL {
                let settings = Settings::new(identity.as_ref()).version(version);
                let answer = world.ask_with(protocol, &settings, &Ask::get("/"));
                let status = answer.map(|answer| answer.status);
                let result = status.and_then(|status| judge(status, &world.origin.take(), verdict));
                table.row(
                    &format!("{mode}, {caller}, {version:?}, {protocol:?}"),
                    result,
                );
            }
        }
    }
    table.finish();
}

#[test]
fn a_reject_at_tls_is_an_alert_and_nothing_else() {
    let mut table = Table::new("--reject-at-tls");
    for (mode, caller, admitted) in [
        ("required", "nobody", false),
        ("required", "good", true),
        ("required", "expired", false),
        ("required", "not yet valid", false),
        ("required", "self-signed", false),
        ("required", "wrong CA", false),
    ] {
        let world = World::with(mode, |launch| launch.args(["--reject-at-tls"]));
        for version in Tls::ALL {
            let settings = Settings::new(caller_named(caller).as_ref()).version(version);
            let answer = settings
                .connect(world.herald.address())
                .and_then(|mut client| client.get("/"));
            let result = match answer {
                Ok(answer) => check(admitted && answer.status == 200, || {
                    format!("got {}", answer.start)
                }),
                Err(error) => check(!admitted && alert(&error).is_some(), || {
                    format!("{error:?}")
                }),
            };
            let seen = world.origin.take().len();
            let silent = check(admitted || seen == 0, || {
                format!("the origin saw {seen} requests")
            });
            table.row(
                &format!("{mode}, {caller}, {version:?}"),
                result.and(silent),
            );
        }
    }
    table.finish();
}

#[test]
fn a_missing_certificate_gets_the_alert_that_says_so() {
    let world = World::with("required", |launch| launch.args(["--reject-at-tls"]));
    let settings = Settings::default().version(Tls::V13);
    let error = settings
        .connect(world.herald.address())
        .and_then(|mut client| client.get("/"))
        .unwrap_err();
    assert_eq!(
        alert(&error),
        Some(AlertDescription::CertificateRequired),
        "{error:?}"
    );
}

#[test]
fn every_kind_of_server_and_client_key_works_in_both_versions() {
    let mut table = Table::new("keys");
    for server in Key::ALL {
        let world = World::with("required", |launch| launch.server_key(server));
        for client in Key::ALL {
            let identity = Pki::shared().good_with(client);
            for version in Tls::ALL {
                let settings = Settings::new(Some(&identity)).version(version);
                let status = world
                    .ask_with(Protocol::H1, &settings, &Ask::get("/"))
                    .map(|answer| answer.status);
                let result =
                    status.and_then(|status| judge(status, &world.origin.take(), Some("SUCCESS")));
                table.row(
                    &format!("server {server:?}, client {client:?}, {version:?}"),
                    result,
                );
            }
        }
    }
    table.finish();
}

#[test]
fn several_cas_are_an_or() {
    let pki = Pki::shared();
    for files in [
        vec![pki.path("both.pem")],
        vec![pki.path("ca.pem"), pki.path("other.pem")],
    ] {
        let world = World::with("required", |launch| launch.client_ca(files));
        for identity in [pki.good(), pki.wrong_ca(), pki.via_intermediate()] {
            let answer = world
                .ask(Protocol::H1, Some(&identity), &Ask::get("/"))
                .unwrap();
            judge(answer.status, &world.origin.take(), Some("SUCCESS")).unwrap();
        }
        let answer = world
            .ask(Protocol::H1, Some(&pki.self_signed()), &Ask::get("/"))
            .unwrap();
        judge(answer.status, &world.origin.take(), None).unwrap();
    }
}

#[test]
fn a_chain_without_its_intermediate_fails_and_with_a_stranger_in_it_too() {
    let world = World::new("forward-failed");
    let pki = Pki::shared();
    let mut stranger = pki.without_its_intermediate();
    stranger.chain.push(pki.other.issuer.der().clone());
    for identity in [pki.without_its_intermediate(), stranger] {
        let answer = world
            .ask(Protocol::H1, Some(&identity), &Ask::get("/"))
            .unwrap();
        assert_eq!(answer.status, 200);
        let seen = world.origin.take_one();
        let verdict = seen.headers.only("x-cert-verify").unwrap();
        assert!(verdict.starts_with("FAILED:unable to"), "{verdict}");
    }
}

#[test]
fn ca_names_are_sent_where_they_help_and_not_where_failures_are_forwarded() {
    let pki = Pki::shared();
    let name = |der: &[u8]| {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
        certificate.subject().as_raw().to_vec()
    };
    let both = vec![name(pki.ca.issuer.der()), name(pki.other.issuer.der())];
    for (mode, expected) in [
        ("required", Some(both.clone())),
        ("optional", Some(both)),
        ("forward-failed", Some(Vec::new())),
        ("off", None),
    ] {
        let world = World::with(mode, |launch| {
            launch.client_ca((mode != "off").then(|| pki.path("both.pem")))
        });
        for version in Tls::ALL {
            let settings = Settings::new(Some(&pki.good())).version(version);
            let asked = settings.asked();
            assert_eq!(
                world
                    .ask_with(Protocol::H1, &settings, &Ask::get("/"))
                    .unwrap()
                    .status,
                200
            );
            let mut asked = asked.lock().unwrap().clone();
            asked.iter_mut().for_each(|names| names.sort());
            let mut expected = expected.clone();
            expected.iter_mut().for_each(|names| names.sort());
            assert_eq!(asked, expected, "{mode} {version:?}");
        }
    }
}

/// Whoever copied a certificate from a log can present it. Only the CertificateVerify signature shows that he has the key;
/// a proxy whose verifier just says yes, so that it can forward failures, believes everybody.
#[test]
fn a_stolen_certificate_breaks_the_handshake_in_every_mode() {
    let pki = Pki::shared();
    let thieves = [
        ("good", pki.good().stolen()),
        ("with an intermediate", pki.via_intermediate().stolen()),
        ("expired", pki.expired().stolen()),
        ("self-signed", pki.self_signed().stolen()),
        ("wrong CA", pki.wrong_ca().stolen()),
        ("version 1", version_one().stolen()),
        ("RSA, signed by an EC key", pki.good_with(Key::Rsa).stolen()),
    ];
    let mut table = Table::new("stolen certificates");
    for mode in ["required", "optional", "forward-failed"] {
        let world = World::new(mode);
        for (name, thief) in &thieves {
            for version in Tls::ALL {
                let settings = Settings::new(Some(thief)).version(version);
                let answer = world.ask_with(Protocol::H1, &settings, &Ask::get("/"));
                let seen = world.origin.take();
                let result = check(answer.is_err() && seen.is_empty(), || {
                    format!("answered {answer:?}, the origin saw {}", describe(&seen))
                });
                table.row(&format!("{mode}, {name}, {version:?}"), result);
            }
        }
    }
    table.finish();
}

/// webpki reads version 3 only; a version 1 certificate broke the handshake before a verdict could be forwarded.
#[test]
fn a_version_1_certificate_is_a_failed_verdict_and_not_a_broken_handshake() {
    let identity = version_one();
    for (mode, status) in [
        ("forward-failed", 200),
        ("optional", 403),
        ("required", 403),
    ] {
        let world = World::new(mode);
        for version in Tls::ALL {
            let settings = Settings::new(Some(&identity)).version(version);
            let answer = world
                .ask_with(Protocol::H1, &settings, &Ask::get("/"))
                .unwrap();
            assert_eq!(answer.status, status, "{mode} {version:?}");
            let verdicts: Vec<_> = world
                .origin
                .take()
                .iter()
                .map(|seen| seen.headers.only("x-cert-verify").unwrap())
                .collect();
            assert_eq!(verdicts.len(), usize::from(status == 200));
            assert!(
                verdicts.iter().all(|verdict| verdict.starts_with("FAILED")),
                "{verdicts:?}"
            );
        }
    }
}

/// CVE-2026-32305: a ClientHello in pieces was read as one without SNI, and the connection got the default options, which
/// asked for no certificate.
#[test]
fn a_client_hello_cut_at_any_byte_is_the_same_handshake() {
    let world = World::new("required");
    let identity = Pki::shared().good();
    let length = hello_length(&identity);
    assert!(length > 100, "a ClientHello of {length} bytes");
    let mut table = Table::new("cut ClientHello");
    for at in 1..length {
        for (name, cut) in [
            ("segments", cut_segment as fn(&[u8], usize) -> Vec<Vec<u8>>),
            ("records", cut_record),
        ] {
            let result = greet(&world, &identity, |flight| cut(&flight, at));
            table.row(&format!("two {name}, cut at {at}"), result);
        }
    }
    table.row(
        "segments of one byte",
        greet(&world, &identity, |flight| pieces(&flight, 1)),
    );
    table.row(
        "records of one byte",
        greet(&world, &identity, |flight| vec![tiny_records(&flight)]),
    );
    table.row(
        "records of one byte in segments of one byte",
        greet(&world, &identity, |flight| {
            pieces(&tiny_records(&flight), 1)
        }),
    );
    table.finish();
}

#[test]
fn alpn_offers_h2_and_http_1_1_and_nothing_else() {
    let world = World::new("optional");
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&["h2"], Some(b"h2")),
        (&[], None),
    ] {
        let client = Settings::default()
            .alpn(offered)
            .connect(world.herald.address())
            .unwrap();
        assert_eq!(client.alpn(), chosen, "{offered:?}");
    }
    // RFC 7301 §3.2: no overlap is a fatal no_application_protocol.
    let settings = Settings::default().alpn(&["h3", "spdy/3"]);
    let error = settings
        .connect(world.herald.address())
        .and_then(|mut client| client.get("/"))
        .unwrap_err();
    assert_eq!(
        alert(&error),
        Some(AlertDescription::NoApplicationProtocol),
        "{error:?}"
    );
}

/// The row's verdict: 200 and the right word at the origin, or 403 and silence.
fn judge(status: u16, seen: &[Request], verdict: Option<&str>) -> Result<(), String> {
    let words: Vec<_> = seen
        .iter()
        .flat_map(|request| request.headers.texts("x-cert-verify"))
        .collect();
    let right = match verdict {
        Some(verdict) => status == 200 && seen.len() == 1 && words == [verdict],
        None => status == 403 && seen.is_empty(),
    };
    check(right, || {
        format!(
            "expected {verdict:?}, got {status}, the origin saw {}",
            describe(seen)
        )
    })
}

fn caller_named(name: &str) -> Option<Identity> {
    let pki = Pki::shared();
    Some(match name {
        "nobody" => return None,
        "good" => pki.good(),
        "via an intermediate" => pki.via_intermediate(),
        "expired" => pki.expired(),
        "not yet valid" => pki.not_yet_valid(),
        "self-signed" => pki.self_signed(),
        "wrong CA" => pki.wrong_ca(),
        _ => unreachable!("{name}"),
    })
}

fn version_one() -> Identity {
    let forgery = Forgery {
        version: 0,
        extensions: Vec::new(),
        ..Forgery::named(&[b"version one"])
    };
    forgery.issue(&Pki::shared().ca)
}

/// A handshake with a cut first flight, and a request that must be known as the certificate's.
fn greet(
    world: &World,
    identity: &Identity,
    cut: impl FnOnce(Vec<u8>) -> Vec<Vec<u8>>,
) -> Result<(), String> {
    let config = Settings::new(Some(identity)).build();
    let answer = Client::connect_cut(world.herald.address(), &config, cut)
        .and_then(|mut client| client.get("/"));
    let status = answer.map_err(|error| error.to_string())?.status;
    judge(status, &world.origin.take(), Some("SUCCESS"))
}

/// Bytes of the ClientHello's record payload.
fn hello_length(identity: &Identity) -> usize {
    client_hello(Some(identity)).len() - RECORD_HEAD
}

fn cut_segment(flight: &[u8], at: usize) -> Vec<Vec<u8>> {
    vec![flight[..at].to_vec(), flight[at..].to_vec()]
}

fn cut_record(flight: &[u8], at: usize) -> Vec<Vec<u8>> {
    let (first, second) = flight[RECORD_HEAD..].split_at(at);
    vec![handshake_record(first), handshake_record(second)]
}

fn tiny_records(flight: &[u8]) -> Vec<u8> {
    flight[RECORD_HEAD..]
        .iter()
        .flat_map(|&byte| handshake_record(&[byte]))
        .collect()
}

fn pieces(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    bytes.chunks(size).map(<[u8]>::to_vec).collect()
}

const RECORD_HEAD: usize = 5;
