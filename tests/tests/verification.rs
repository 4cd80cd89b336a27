//! Which certificates verify: purpose, CA bits, name constraints, path length (client-cert-headers.md §3.11).

use herald_tests::client::{Settings, Tls};
use herald_tests::forge::{Forgery, extension, wrap};
use herald_tests::herald::Launch;
use herald_tests::origin::Origin;
use herald_tests::pki::{Authority, Identity, Key, Pki, client_params, pem};
use herald_tests::table::{Table, check};
use herald_tests::world::{Ask, Protocol, World};
use rcgen::{
    BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    NameConstraints, SanType,
};

/// CVE-2022-21657: Envoy took any e-mail certificate of the CA for a TLS client's.
#[test]
fn only_certificates_for_client_authentication_verify() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, EmailProtection, ServerAuth};
    let rows: [(&str, &[ExtendedKeyUsagePurpose], bool); 8] = [
        ("clientAuth", &[ClientAuth], true),
        ("serverAuth and clientAuth", &[ServerAuth, ClientAuth], true),
        ("no extendedKeyUsage", &[], true),
        ("serverAuth", &[ServerAuth], false),
        ("emailProtection", &[EmailProtection], false),
        ("codeSigning", &[CodeSigning], false),
        (
            "emailProtection and serverAuth",
            &[EmailProtection, ServerAuth],
            false,
        ),
        ("anyExtendedKeyUsage", &[Any], false),
    ];
    let world = World::new("forward-failed");
    let mut table = Table::new("extendedKeyUsage");
    for (name, usages, verifies) in rows {
        let identity = Pki::shared().client(|params| params.extended_key_usages = usages.to_vec());
        // anyExtendedKeyUsage admits a TLS client neither with OpenSSL nor here.
        table.row(
            name,
            verdict_is(
                &world,
                &identity,
                verifies,
                "unsupported certificate purpose",
            ),
        );
    }
    table.finish();
}

#[test]
fn a_ca_certificate_is_no_client() {
    let identity =
        Pki::shared().client(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let world = World::new("forward-failed");
    verdict_is(&world, &identity, false, "").unwrap();
    let world = World::new("required");
    assert_eq!(
        world
            .ask(Protocol::H1, Some(&identity), &Ask::get("/"))
            .unwrap()
            .status,
        403
    );
    assert!(world.origin.take().is_empty());
}

#[test]
fn a_client_certificate_is_no_ca() {
    // A client that has a certificate could otherwise issue more.
    let pki = Pki::shared();
    let client = Authority {
        issuer: not_a_ca(&pki.ca),
    };
    let mut identity = client.issue(client_params(), Key::Ec);
    identity.chain.push(client.issuer.der().clone());
    let world = World::new("forward-failed");
    verdict_is(&world, &identity, false, "").unwrap();
}

#[test]
fn name_constraints_bind() {
    let constraints = |permitted: &[&str], excluded: &[&str]| {
        let subtrees = |names: &[&str]| {
            names
                .iter()
                .map(|&name| GeneralSubtree::DnsName(name.to_owned()))
                .collect()
        };
        Some(NameConstraints {
            permitted_subtrees: subtrees(permitted),
            excluded_subtrees: subtrees(excluded),
        })
    };
    let rows = [
        (
            "inside the permitted",
            constraints(&["example.org"], &[]),
            "a.example.org",
            true,
            "",
        ),
        (
            "outside the permitted",
            constraints(&["example.org"], &[]),
            "a.evil.test",
            false,
            "permitted subtree violation",
        ),
        (
            "inside the excluded",
            constraints(&[], &["evil.test"]),
            "a.evil.test",
            false,
            "excluded subtree violation",
        ),
        (
            "outside the excluded",
            constraints(&[], &["evil.test"]),
            "a.example.org",
            true,
            "",
        ),
    ];
    let world = World::new("forward-failed");
    let mut table = Table::new("name constraints");
    for (name, constraints, san, verifies, reason) in rows {
        let pki = Pki::shared();
        let authority = pki.ca.subordinate_with("Constrained", |params| {
            params.name_constraints = constraints
        });
        let mut params = client_params();
        params.subject_alt_names = vec![SanType::DnsName(san.try_into().unwrap())];
        let mut identity = authority.issue(params, Key::Ec);
        identity.chain.push(authority.issuer.der().clone());
        table.row(name, verdict_is(&world, &identity, verifies, reason));
    }
    table.finish();
}

#[test]
fn a_path_longer_than_allowed_fails() {
    let pki = Pki::shared();
    let short = pki.ca.subordinate_with("Short", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let below = short.subordinate("Below");
    let mut identity = below.issue(client_params(), Key::Ec);
    identity
        .chain
        .extend([below.issuer.der().clone(), short.issuer.der().clone()]);
    let world = World::new("forward-failed");
    verdict_is(&world, &identity, false, "").unwrap();
    let mut allowed = short.issue(client_params(), Key::Ec);
    allowed.chain.push(short.issuer.der().clone());
    verdict_is(&world, &allowed, true, "").unwrap();
}

#[test]
fn an_expired_intermediate_fails_the_chain() {
    let pki = Pki::shared();
    let old = pki.ca.subordinate_with("Old", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let mut identity = old.issue(client_params(), Key::Ec);
    identity.chain.push(old.issuer.der().clone());
    let world = World::new("forward-failed");
    verdict_is(&world, &identity, false, "certificate has expired").unwrap();
}

#[test]
fn an_unknown_critical_extension_fails_and_an_uncritical_one_does_not() {
    let world = World::new("forward-failed");
    for (critical, verifies) in [(true, false), (false, true)] {
        let identity = Pki::shared().client(|params| {
            let mut extension =
                CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            extension.set_criticality(critical);
            params.custom_extensions = vec![extension];
        });
        verdict_is(&world, &identity, verifies, "unhandled critical extension").unwrap();
    }
}

#[test]
fn a_tampered_certificate_fails() {
    let world = World::new("forward-failed");
    let mut identity = Pki::shared().good();
    let mut der = identity.chain[0].to_vec();
    let at = der
        .windows(11)
        .position(|window| window == b"James Royal")
        .unwrap();
    der[at] = b'j';
    identity.chain[0] = der.into();
    verdict_is(&world, &identity, false, "").unwrap();
}

/// A critical SAN or constraint that webpki can't read is a verdict, not a broken handshake.
#[test]
fn certificates_with_broken_extensions_are_failed_verdicts() {
    let oid = [0x55, 0x1D, 0x11];
    let rows = [
        ("a SAN that is no DER", extension(&oid, true, b"\xFF\xFF")),
        (
            "a SAN with trailing bytes",
            extension(
                &oid,
                false,
                &[wrap(0x30, &wrap(0x82, b"a.test")), vec![0]].concat(),
            ),
        ),
        (
            "basicConstraints that are no DER",
            extension(&[0x55, 0x1D, 0x13], true, b"\x30\x05"),
        ),
        (
            "an empty extendedKeyUsage",
            extension(&[0x55, 0x1D, 0x25], false, &wrap(0x30, b"")),
        ),
        (
            "the same extension twice",
            [
                extension(&oid, false, b"\x30\0"),
                extension(&oid, false, b"\x30\0"),
            ]
            .concat(),
        ),
    ];
    let world = World::new("forward-failed");
    let mut table = Table::new("broken extensions");
    for (name, broken) in rows {
        let forgery = Forgery {
            extensions: vec![broken],
            ..Forgery::named(&[b"broken"])
        };
        let identity = forgery.issue(&Pki::shared().ca);
        for version in Tls::ALL {
            let settings = Settings::new(Some(&identity)).version(version);
            let result = world
                .ask_with(Protocol::H1, &settings, &Ask::get("/"))
                .and_then(|answer| {
                    let seen = world.origin.take();
                    let verdicts: Vec<_> = seen
                        .iter()
                        .flat_map(|seen| seen.headers.texts("x-cert-verify"))
                        .collect();
                    // Which of them webpki reads is its business: there is one verdict, and it is said.
                    check(answer.status == 200 && verdicts.len() == 1, || {
                        format!("{}: {verdicts:?}", answer.status)
                    })
                });
            table.row(&format!("{name}, {version:?}"), result);
        }
    }
    table.finish();
}

/// Caddy fell open to the system's roots when its CA file was missing (CVE-2026-27586).
#[test]
fn a_trust_store_without_certificates_stops_the_start() {
    let pki = Pki::shared();
    let (_, key) = pki.server(Key::Ec);
    let cases: [(&str, &[u8]); 4] = [
        ("empty.pem", b""),
        ("text.pem", b"no certificate here\n"),
        (
            "broken.pem",
            b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        ),
        (
            "noder.pem",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
    ];
    let origin = Origin::echo();
    let refuse = |file: std::path::PathBuf| {
        let launch = Launch::new("required", origin.address()).client_ca([file.clone()]);
        let (status, log) = launch
            .try_start()
            .expect_err("it started without a trust store");
        assert_eq!(status.code(), Some(2), "{file:?}: {log}");
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(log.contains(name), "{name} is not named in:\n{log}");
    };
    for (name, content) in cases {
        std::fs::write(pki.path(name), content).unwrap();
        refuse(pki.path(name));
    }
    refuse(pki.path("missing.pem"));
    refuse(key);
    // A good certificate does not excuse a broken one behind it.
    let mixed = pem(pki.ca.issuer.der()) + std::str::from_utf8(cases[3].1).unwrap();
    std::fs::write(pki.path("mixed.pem"), mixed).unwrap();
    refuse(pki.path("mixed.pem"));
}

/// Asks with `identity` and compares the verdict: SUCCESS, or FAILED with `reason` (any when empty).
fn verdict_is(
    world: &World,
    identity: &Identity,
    verifies: bool,
    reason: &str,
) -> Result<(), String> {
    let answer = world.ask(Protocol::H1, Some(identity), &Ask::get("/"))?;
    let seen = world.origin.take();
    let verdicts: Vec<_> = seen
        .iter()
        .flat_map(|seen| seen.headers.texts("x-cert-verify"))
        .collect();
    let right = match &verdicts[..] {
        [one] if verifies => one == "SUCCESS",
        [one] if reason.is_empty() => one.starts_with("FAILED"),
        [one] => *one == format!("FAILED:{reason}"),
        _ => false,
    };
    check(right, || format!("got {} and {verdicts:?}", answer.status))
}

/// An end-entity certificate dressed as an issuer.
fn not_a_ca(authority: &Authority) -> rcgen::CertifiedIssuer<'static, rcgen::KeyPair> {
    let mut params = client_params();
    params.distinguished_name = herald_tests::pki::name("not a CA");
    rcgen::CertifiedIssuer::signed_by(params, Key::Ec.generate(), &authority.issuer).unwrap()
}
