//! Leaves with one extension or two: known and unknown, critical, repeated, malformed.

use super::der::{boolean, element, integer, oid, sequence};
use super::names::GOOD;
use super::{
    BASIC_CONSTRAINTS, CERTIFICATE_POLICIES, CLIENT_AUTH, Case, DIGITAL_SIGNATURE, DNS, EMAIL,
    EXTENDED_KEY_USAGE, IP, KEY_CERT_SIGN, KEY_USAGE, SUBJECT_ALT_NAME, SUBJECT_KEY_ID, Spec, URI,
    World, alt_names, authority_key_id, ca_true, extension, key_usage, subject_key_id, usage,
};

/// The cases.
pub fn cases(world: &World) -> Vec<Case> {
    [general(), names_and_ids(), basic(), usages(), proxies()]
        .concat()
        .into_iter()
        .map(|(what, class, extensions)| {
            let spec = Spec::client("extensions", &world.key).only(&extensions);
            Case::leaf(format!("extension: {what}"), class, &spec, &world.p256)
        })
        .collect()
}

/// What, class, the extensions.
type Row = (&'static str, &'static str, Vec<Vec<u8>>);

fn general() -> Vec<Row> {
    let plain = extension(UNKNOWN, false, NULL);
    let critical = extension(UNKNOWN, true, NULL);
    let large = extension(UNKNOWN, false, &element(4, &[&[7; 9000]]));
    let policy = sequence(&[&sequence(&[&oid("1.2.3.4.6")])]);
    let policies = |critical| vec![extension(CERTIFICATE_POLICIES, critical, &policy)];
    let twice = vec![plain.clone(), plain.clone()];
    let purposes = vec![usage(&[CLIENT_AUTH]); 2];
    vec![
        ("unknown", GOOD, vec![plain]),
        ("critical", "unknown critical extension", vec![critical]),
        ("unknown twice", "unknown extension twice", twice),
        ("large", GOOD, vec![large]),
        ("policies", GOOD, policies(false)),
        (
            "critical policies",
            "critical policy extension",
            policies(true),
        ),
        ("the same twice", "extension twice", purposes),
    ]
}

fn names_and_ids() -> Vec<Row> {
    let names: &[(u8, &[u8])] = &[
        (DNS, b"a.example"),
        (EMAIL, b"a@b.example"),
        (URI, b"spiffe://td/a"),
        (IP, &[10, 0, 0, 1]),
    ];
    let names_of = |value: &[u8]| vec![extension(SUBJECT_ALT_NAME, false, value)];
    let critical_id = extension(SUBJECT_KEY_ID, true, &element(4, &[b"id"]));
    let elsewhere = authority_key_id(&element(0x80, &[b"elsewhere"]));
    let other_key = "authority key identifier of another key";
    vec![
        ("SAN of all kinds", GOOD, vec![alt_names(names)]),
        ("SAN empty", "no alternative name", vec![alt_names(&[])]),
        ("SAN malformed", MALFORMED, names_of(b"\x30\x05abc")),
        ("SAN a string", MALFORMED, names_of(b"\x0C\x01a")),
        ("key id", GOOD, vec![subject_key_id(b"id")]),
        ("critical id", "critical key identifier", vec![critical_id]),
        ("other key's id", other_key, vec![elsewhere]),
    ]
}

fn basic() -> Vec<Row> {
    let basic = |parts: &[&[u8]]| vec![extension(BASIC_CONSTRAINTS, true, &sequence(parts))];
    let broken = vec![extension(BASIC_CONSTRAINTS, true, b"\x30\x01")];
    let negative = basic(&[&boolean(true), &integer(&[0x80])]);
    let usages = key_usage(DIGITAL_SIGNATURE | KEY_CERT_SIGN);
    let ca = "CA certificate as a client's";
    vec![
        ("CA:FALSE", GOOD, basic(&[])),
        (
            "CA:FALSE written",
            "FALSE written out",
            basic(&[&boolean(false)]),
        ),
        ("CA:FALSE and path length", GOOD, basic(&[&integer(&[0])])),
        ("basic constraints malformed", MALFORMED, broken),
        ("negative path length", MALFORMED, negative),
        ("CA:TRUE", ca, vec![ca_true(None)]),
        ("CA:TRUE with usages", ca, vec![ca_true(None), usages]),
    ]
}

fn usages() -> Vec<Row> {
    let usage = |value: &[u8]| vec![extension(KEY_USAGE, true, value)];
    let purpose = vec![extension(EXTENDED_KEY_USAGE, false, NULL)];
    vec![
        ("key usage empty", MALFORMED, usage(b"\x03\x01\0")),
        ("key usage zero", MALFORMED, usage(b"\x03\x02\0\0")),
        ("key usage malformed", MALFORMED, usage(NULL)),
        ("purpose malformed", MALFORMED, purpose),
    ]
}

/// RFC 3820 §3.8: no path length, policy language "inherit all".
fn proxies() -> Vec<Row> {
    let info = sequence(&[&sequence(&[&oid("1.3.6.1.5.5.7.21.1")])]);
    let proxy = |critical| vec![extension("1.3.6.1.5.5.7.1.14", critical, &info)];
    vec![
        ("proxy certificate", "proxy certificate", proxy(true)),
        ("proxy, not critical", "proxy certificate", proxy(false)),
    ]
}

const NULL: &[u8] = &[5, 0];
const UNKNOWN: &str = "1.2.3.4.5";
const MALFORMED: &str = "malformed extension";
