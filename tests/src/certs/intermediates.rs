//! Chains through one intermediate with something about it, and through two of the same name.

use super::chains::{client, middle};
use super::der::{boolean, integer, oid, sequence, utc};
use super::names::GOOD;
use super::{
    ANY_PURPOSE, BASIC_CONSTRAINTS, CERTIFICATE_POLICIES, CLIENT_AUTH, CRL_SIGN, Ca, Case,
    KEY_CERT_SIGN, Key, SERVER_AUTH, SUBJECT_ALT_NAME, Spec, World, ca_true, extension, key_usage,
    usage,
};

/// The cases.
pub fn cases(world: &World) -> Vec<Case> {
    let mut cases: Vec<Case> = [no_cas(), usages(), others()]
        .concat()
        .into_iter()
        .map(|(what, class, spec)| through(what, class, &spec.below(&world.p256), world))
        .collect();
    cases.extend(pairs(world));
    cases
}

/// What, class, the intermediate.
type Row = (&'static str, &'static str, Spec);

fn through(what: &str, class: &'static str, ca: &Ca, world: &World) -> Case {
    Case::leaf(format!("intermediate: {what}"), class, &client(world), ca).with(&[ca])
}

fn no_cas() -> Vec<Row> {
    let signer = key_usage(KEY_CERT_SIGN);
    let not_ca = extension(BASIC_CONSTRAINTS, true, &sequence(&[]));
    let mut version_1 = middle("v1").only(&[]);
    version_1.version = None;
    let ends_here = Spec::client("Intermediate no CA", &Key::p256());
    vec![
        ("a client", NO_CA, ends_here),
        (
            "CA:FALSE",
            NO_CA,
            middle("false").only(&[not_ca, signer.clone()]),
        ),
        ("no extensions", NO_CA, middle("none").only(&[])),
        ("key usage only", NO_CA, middle("ku").only(&[signer])),
        ("version 1", "intermediate of version 1", version_1),
    ]
}

fn usages() -> Vec<Row> {
    let crl_only = [ca_true(None), key_usage(CRL_SIGN)];
    vec![
        ("may not sign", BAD, middle("crl").only(&crl_only)),
        ("no key usage", GOOD, middle("free").only(&[ca_true(None)])),
        (
            "for servers",
            BAD,
            middle("server").and(usage(&[SERVER_AUTH])),
        ),
        (
            "for clients",
            GOOD,
            middle("clients").and(usage(&[CLIENT_AUTH])),
        ),
        ("for any", BAD, middle("any").and(usage(&[ANY_PURPOSE]))),
    ]
}

fn others() -> Vec<Row> {
    let past = middle("past").valid("000101000000Z", "100101000000Z");
    let future = middle("future").valid("480101000000Z", "491231235959Z");
    let policy = sequence(&[&sequence(&[&oid("1.2.3.4.6")])]);
    let policies = extension(CERTIFICATE_POLICIES, true, &policy);
    let unknown = extension("1.2.3.4.5", true, &[5, 0]);
    let malformed = extension(SUBJECT_ALT_NAME, false, &[5, 0]);
    let signer = key_usage(KEY_CERT_SIGN);
    let long = sequence(&[&boolean(true), &integer(&[1, 44])]);
    let long = [extension(BASIC_CONSTRAINTS, true, &long), signer.clone()];
    let zero = [ca_true(Some(0)), signer];
    let weak = Spec::ca("Intermediate weak", &Key::legacy_rsa(1024, "sha256"));
    let sha1 = Spec::ca("Intermediate SHA-1", &Key::legacy_rsa(2048, "sha1"));
    let on_policies = "intermediate with a critical policy extension";
    vec![
        ("expired", BAD, past),
        ("not yet valid", BAD, future),
        ("unknown critical", BAD, middle("odd").and(unknown)),
        ("malformed extension", BAD, middle("broken").and(malformed)),
        ("policies", on_policies, middle("policy").and(policies)),
        ("path length 0", GOOD, middle("zero").only(&zero)),
        (
            "path length 300",
            "path length above 255",
            middle("300").only(&long),
        ),
        ("weak key", BAD, weak),
        ("signing with SHA-1", BAD, sha1),
    ]
}

/// Two intermediates.
fn pairs(world: &World) -> Vec<Case> {
    let zero = [ca_true(Some(0)), key_usage(KEY_CERT_SIGN)];
    let zero = middle("zero above").only(&zero).below(&world.p256);
    let under = middle("under zero").below(&zero);
    let past = middle("renewed").valid("000101000000Z", "100101000000Z");
    let renewed = Spec {
        validity: [utc("200101000000Z"), utc("491231235959Z")],
        ..past.clone()
    };
    let (past, renewed) = (past.below(&world.p256), renewed.below(&world.p256));
    let expired = client(world).valid("000101000000Z", "100101000000Z");
    let namesake = || middle("namesake").below(&world.p256);
    let (issuer, impostor) = (namesake(), namesake());
    let leaf = |what: &str, class, spec: &Spec, ca: &Ca| {
        Case::leaf(format!("intermediate: {what}"), class, spec, ca)
    };
    let good = client(world);
    let first = "namesake before the issuer";
    vec![
        leaf("path length exceeded", BAD, &good, &under).with(&[&under, &zero]),
        leaf("expired and renewed", GOOD, &good, &past).with(&[&past, &renewed]),
        leaf("expired, as the leaf", BAD, &expired, &past).with(&[&past]),
        leaf("namesake first", first, &good, &issuer).with(&[&impostor, &issuer]),
        leaf("namesake last", GOOD, &good, &issuer).with(&[&issuer, &impostor]),
    ]
}

const BAD: &str = "bad intermediate";
const NO_CA: &str = "intermediate that is no CA";
