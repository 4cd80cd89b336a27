//! What the origin is told about a certificate, byte for byte, by the default mapping, presets and free templates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use herald_tests::client::Settings;
use herald_tests::origin::{Request, describe};
use herald_tests::pki::{Identity, Pki};
use herald_tests::table::{Table, check};
use herald_tests::wire::{hex, sha256};
use herald_tests::world::{Ask, Protocol, World, certificate_lines};
use rcgen::SanType;
use sha1::{Digest as _, Sha1};

const ISSUER: &str = "CN=Testing CA A,OU=Access Admins,O=Access,L=Austin,ST=Texas,C=US";
const ISSUER_LEGACY: &str = "/C=US/ST=Texas/L=Austin/O=Access/OU=Access Admins/CN=Testing CA A";
const SUBJECT: &str = "CN=James Royal,OU=Access Admins,O=Access,L=Austin,ST=Texas,C=US";
const SUBJECT_LEGACY: &str = "/C=US/ST=Texas/L=Austin/O=Access/OU=Access Admins/CN=James Royal";
const NOT_BEFORE: &str = "Jan  2 00:00:00 2026 GMT";
const NOT_AFTER: &str = "Nov 30 00:00:00 2049 GMT";

#[test]
fn a_good_certificate_gives_the_ten_default_headers_exactly() {
    let world = World::new("required");
    let identity = Pki::shared().good();
    for protocol in Protocol::ALL {
        let seen = seen(&world, protocol, Some(&identity));
        assert_eq!(
            certificate_lines(&seen),
            default_lines(&identity, "SUCCESS"),
            "{protocol:?}"
        );
    }
}

#[test]
fn no_certificate_gives_an_explicit_verdict_and_nothing_empty() {
    for mode in ["optional", "forward-failed", "off"] {
        let world = World::new(mode);
        for protocol in Protocol::ALL {
            let seen = seen(&world, protocol, None);
            let expected = ["x-cert-presented: 0", "x-cert-verify: NONE"];
            assert_eq!(certificate_lines(&seen), expected, "{mode} {protocol:?}");
        }
    }
}

#[test]
fn a_failed_certificate_is_named_only_where_the_configuration_says_so() {
    let pki = Pki::shared();
    let verdict = "FAILED:certificate has expired";
    for (arguments, named) in [
        (&[][..], false),
        (&["--identity-on-failure", "omit"], false),
        (&["--identity-on-failure", "send"], true),
    ] {
        let world = World::with("forward-failed", |launch| {
            launch.args(arguments.iter().copied())
        });
        let identity = pki.expired();
        for protocol in Protocol::ALL {
            let lines = certificate_lines(&seen(&world, protocol, Some(&identity)));
            if named {
                let fingerprint = format!("x-cert-finger: {}", hex(&Sha1::digest(identity.leaf())));
                assert_eq!(lines.len(), 10, "{lines:?}");
                assert!(lines.contains(&fingerprint), "{lines:?}");
                assert!(
                    lines.contains(&format!("x-cert-subject-dn: {SUBJECT}")),
                    "{lines:?}"
                );
                assert!(
                    lines.contains(&format!("x-cert-verify: {verdict}")),
                    "{lines:?}"
                );
            } else {
                let expected = [
                    "x-cert-presented: 1".to_owned(),
                    format!("x-cert-verify: {verdict}"),
                ];
                assert_eq!(lines, expected, "{arguments:?} {protocol:?}");
            }
        }
    }
}

#[test]
fn every_request_of_a_connection_carries_the_headers_once() {
    let world = World::new("required");
    let identity = Pki::shared().good();
    let expected = default_lines(&identity, "SUCCESS");
    for protocol in Protocol::ALL {
        let mut connection = protocol
            .connect(&world.herald, &Settings::new(Some(&identity)))
            .unwrap();
        for n in 0..20 {
            let ask = if n % 2 == 0 {
                Ask::get("/")
            } else {
                Ask::post("/", b"body")
            };
            assert_eq!(connection.ask(&ask).unwrap().status, 200);
            assert_eq!(
                certificate_lines(&world.origin.take_one()),
                expected,
                "{protocol:?}, request {n}"
            );
        }
    }
}

#[test]
fn two_callers_on_one_upstream_pool_never_share_an_identity() {
    let world = World::new("forward-failed");
    let pki = Pki::shared();
    let other =
        pki.client(|params| params.distinguished_name = herald_tests::pki::name("Somebody Else"));
    let callers = [Some(pki.good()), Some(other), None];
    let mut connections: Vec<_> = callers
        .iter()
        .flat_map(|caller| {
            let settings = Settings::new(caller.as_ref());
            Protocol::ALL
                .map(|protocol| (caller, protocol.connect(&world.herald, &settings).unwrap()))
        })
        .collect();
    for _ in 0..10 {
        for (caller, connection) in &mut connections {
            assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
            let seen = world.origin.take_one();
            let fingerprint = caller
                .as_ref()
                .map(|identity| hex(&Sha1::digest(identity.leaf())));
            assert_eq!(seen.headers.only("x-cert-finger"), fingerprint);
        }
    }
}

#[test]
fn the_reasons_are_spelled_as_asked() {
    let pki = Pki::shared();
    for (style, expected) in [
        ("openssl1", "FAILED:self signed certificate"),
        ("openssl3", "FAILED:self-signed certificate"),
    ] {
        let world = World::with("forward-failed", |launch| {
            launch.args(["--reason-style", style])
        });
        let seen = seen(&world, Protocol::H1, Some(&pki.self_signed()));
        assert_eq!(seen.headers.only("x-cert-verify").unwrap(), expected);
    }
}

#[test]
fn the_cloudflare_managed_preset_sends_its_names_and_booleans() {
    let world = World::with("forward-failed", |launch| {
        launch.args(["--preset", "cloudflare-managed"])
    });
    let identity = Pki::shared().good();
    let good = seen(&world, Protocol::H1, Some(&identity));
    for (name, value) in [
        ("cf-cert-presented", "true".to_owned()),
        ("cf-cert-verified", "true".to_owned()),
        ("cf-cert-revoked", "false".to_owned()),
        ("cf-cert-issuer-dn", ISSUER.to_owned()),
        ("cf-cert-subject-dn", SUBJECT.to_owned()),
        ("cf-cert-issuer-dn-rfc2253", ISSUER.to_owned()),
        ("cf-cert-subject-dn-rfc2253", SUBJECT.to_owned()),
        ("cf-cert-issuer-dn-legacy", ISSUER_LEGACY.to_owned()),
        ("cf-cert-subject-dn-legacy", SUBJECT_LEGACY.to_owned()),
        ("cf-cert-serial", "0A0B".to_owned()),
        ("cf-cert-fingerprint-sha256", sha256(identity.leaf())),
        (
            "cf-cert-fingerprint-sha1",
            hex(&Sha1::digest(identity.leaf())),
        ),
        ("cf-cert-not-before", NOT_BEFORE.to_owned()),
        ("cf-cert-not-after", NOT_AFTER.to_owned()),
        ("cf-cert-issuer-serial", issuer_serial()),
    ] {
        assert_eq!(
            good.headers.only(name),
            Some(value),
            "{name}: {}",
            describe(std::slice::from_ref(&good))
        );
    }
    let nobody = seen(&world, Protocol::H1, None);
    assert_eq!(nobody.headers.only("cf-cert-presented").unwrap(), "false");
    assert_eq!(nobody.headers.only("cf-cert-verified").unwrap(), "false");
    assert!(!nobody.headers.has("cf-cert-subject-dn"));
    let expired = seen(&world, Protocol::H1, Some(&Pki::shared().expired()));
    assert_eq!(expired.headers.only("cf-cert-presented").unwrap(), "true");
    assert_eq!(expired.headers.only("cf-cert-verified").unwrap(), "false");
    assert!(!expired.headers.has("cf-cert-subject-dn"));
}

#[test]
fn the_cloudflare_forward_preset_sends_on_every_request() {
    let world = World::with("required", |launch| {
        launch.args(["--preset", "cloudflare-forward"])
    });
    let identity = Pki::shared().good();
    for protocol in Protocol::ALL {
        let mut connection = protocol
            .connect(&world.herald, &Settings::new(Some(&identity)))
            .unwrap();
        // Cloudflare sends them on the first request of a connection only: the trap Herald avoids.
        for _ in 0..3 {
            connection.ask(&Ask::get("/")).unwrap();
            let seen = world.origin.take_one();
            let der = seen.headers.only("cf-client-cert-der-base64");
            assert_eq!(der, Some(STANDARD.encode(identity.leaf())), "{protocol:?}");
            assert_eq!(
                seen.headers.only("cf-client-cert-sha256"),
                Some(sha256(identity.leaf()))
            );
        }
    }
}

#[test]
fn the_rfc9440_preset_sends_leaf_and_validated_chain() {
    let world = World::with("optional", |launch| launch.args(["--preset", "rfc9440"]));
    let pki = Pki::shared();
    for protocol in Protocol::ALL {
        let mut identity = pki.via_intermediate();
        // What is sent along but is no part of the validated path does not count (RFC 9440 §2.3).
        identity.chain.push(pki.other.issuer.der().clone());
        let with_chain = seen(&world, protocol, Some(&identity));
        assert_eq!(
            with_chain.headers.only("client-cert"),
            Some(byte_sequence(identity.leaf()))
        );
        let chain = byte_sequence(pki.intermediate.issuer.der());
        assert_eq!(with_chain.headers.only("client-cert-chain"), Some(chain));
        let direct = seen(&world, protocol, Some(&pki.good()));
        assert!(direct.headers.has("client-cert"));
        assert_eq!(
            direct.headers.only("client-cert-chain"),
            None,
            "there is no chain between leaf and anchor"
        );
        let nobody = seen(&world, protocol, None);
        assert!(!nobody.headers.has("client-cert") && !nobody.headers.has("client-cert-chain"));
    }
}

#[test]
fn free_mappings_and_templates_render_values() {
    let identity = Pki::shared().client(|params| {
        params.subject_alt_names = vec![
            SanType::DnsName("device.example".try_into().unwrap()),
            SanType::URI("spiffe://example.org/ns/a/sa/b".try_into().unwrap()),
            SanType::DnsName("second.example".try_into().unwrap()),
            SanType::Rfc822Name("james@example.org".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
        ];
    });
    let table_rows = [
        ("X-Device", "{certSubjectCN}", "James Royal".to_owned()),
        (
            "X-Mixed",
            "cn={certSubjectCN};serial={certSerial}",
            "cn=James%20Royal;serial=0A0B".to_owned(),
        ),
        (
            "X-San-Dns",
            "{certSANDNS}",
            "device.example,second.example".to_owned(),
        ),
        (
            "X-San-Uri",
            "{certSANURI}",
            "spiffe://example.org/ns/a/sa/b".to_owned(),
        ),
        (
            "X-San-Email",
            "{certSANEmail}",
            "james@example.org".to_owned(),
        ),
        ("X-San-Ip", "{certSANIP}", "192.0.2.7".to_owned()),
        (
            "X-Spiffe",
            "{certSPIFFE}",
            "spiffe://example.org/ns/a/sa/b".to_owned(),
        ),
        (
            "X-Sha256",
            "{certFingerprintSHA256}",
            sha256(identity.leaf()),
        ),
        ("X-Spki", "{certSPKISHA256}", sha256(&spki(identity.leaf()))),
        ("X-Der", "{certDER}", STANDARD.encode(identity.leaf())),
        ("X-Verdict", "{certVerified}", "SUCCESS".to_owned()),
        ("X-Subject", "{certSubjectDNRFC2253}", SUBJECT.to_owned()),
        ("X-Presented", "{certPresented}", "1".to_owned()),
        ("X-Revoked", "{certRevoked}", "0".to_owned()),
    ];
    let mappings: Vec<String> = table_rows
        .iter()
        .flat_map(|(name, value, _)| ["--header".to_owned(), format!("{name}={value}")])
        .collect();
    let world = World::with("required", |launch| launch.args(mappings));
    let mut table = Table::new("free mappings");
    for protocol in Protocol::ALL {
        let seen = seen(&world, protocol, Some(&identity));
        for (name, template, expected) in &table_rows {
            let got = seen.headers.texts(name);
            let right = got == [expected.clone()];
            table.row(
                &format!("{name}={template}, {protocol:?}"),
                check(right, || format!("{got:?}, not {expected}")),
            );
        }
    }
    table.finish();
}

#[test]
fn a_free_mapping_replaces_an_incoming_header_with_and_without_a_certificate() {
    let world = World::with("optional", |launch| {
        launch.args(["--header", "X-Device={certSubjectCN}"])
    });
    for protocol in Protocol::ALL {
        for (identity, expected) in [
            (Some(Pki::shared().good()), vec!["James Royal"]),
            (None, Vec::new()),
        ] {
            let ask = Ask::get("/")
                .header("X-Device", "spoofed")
                .header("x_device", "spoofed");
            world.ask(protocol, identity.as_ref(), &ask).unwrap();
            let seen = world.origin.take_one();
            assert_eq!(seen.headers.texts("x-device"), expected, "{protocol:?}");
            assert!(!seen.headers.has("x_device"), "{protocol:?}");
        }
    }
}

#[test]
fn the_worker_preset_is_the_nine_of_cloudflares_example() {
    let world = World::with("required", |launch| {
        launch.args(["--preset", "cloudflare-worker"])
    });
    let identity = Pki::shared().good();
    let lines = certificate_lines(&seen(&world, Protocol::H1, Some(&identity)));
    let expected: Vec<_> = default_lines(&identity, "SUCCESS");
    assert!(
        expected
            .iter()
            .filter(|line| !line.starts_with("x-cert-presented"))
            .all(|line| lines.contains(line))
    );
}

fn seen(world: &World, protocol: Protocol, identity: Option<&Identity>) -> Request {
    assert_eq!(
        world
            .ask(protocol, identity, &Ask::get("/"))
            .unwrap()
            .status,
        200
    );
    world.origin.take_one()
}

/// The default mapping of the usual certificate, sorted by name.
fn default_lines(identity: &Identity, verdict: &str) -> Vec<String> {
    vec![
        format!("x-cert-finger: {}", hex(&Sha1::digest(identity.leaf()))),
        format!("x-cert-issuer-dn-l: {ISSUER_LEGACY}"),
        format!("x-cert-issuer-dn: {ISSUER}"),
        format!("x-cert-notaf: {NOT_AFTER}"),
        format!("x-cert-notbe: {NOT_BEFORE}"),
        "x-cert-presented: 1".to_owned(),
        "x-cert-serial: 0A0B".to_owned(),
        format!("x-cert-subject-dn-l: {SUBJECT_LEGACY}"),
        format!("x-cert-subject-dn: {SUBJECT}"),
        format!("x-cert-verify: {verdict}"),
    ]
}

/// RFC 8941 §3.3.5.
fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

fn spki(der: &[u8]) -> Vec<u8> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
    certificate.public_key().raw.to_vec()
}

/// The serial of the issuer's own certificate, upper hex without a sign byte.
fn issuer_serial() -> String {
    let der = Pki::shared().ca.issuer.der();
    let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
    hex(&certificate.tbs_certificate.serial.to_bytes_be()).to_uppercase()
}
