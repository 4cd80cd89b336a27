//! Leaves issued straight by a root: serials, dates, versions, keys, extensions.

use rcgen::RsaKeySize;

use super::der::{BIT_STRING, element, generalized, integer, oid, sequence, utc};
use super::names::GOOD;
use super::{
    ANY_PURPOSE, BASIC_CONSTRAINTS, CERTIFICATE_POLICIES, CLIENT_AUTH, CODE_SIGNING, Case,
    DIGITAL_SIGNATURE, DNS, EMAIL, EMAIL_PROTECTION, EXTENDED_KEY_USAGE, IP, KEY_AGREEMENT,
    KEY_CERT_SIGN, KEY_ENCIPHERMENT, KEY_USAGE, Key, NON_REPUDIATION, SERVER_AUTH,
    SUBJECT_ALT_NAME, SUBJECT_KEY_ID, Spec, URI, World, alt_names, authority_key_id, ca_true,
    extension, key_usage, subject_key_id, usage,
};

/// The cases.
pub fn cases(world: &World) -> Vec<Case> {
    let mut cases = serials(world);
    cases.extend(dates(world));
    cases.extend(keys(world));
    cases.extend(versions(world));
    cases.extend(usages(world));
    cases.extend(extensions(world));
    cases
}

fn serials(world: &World) -> Vec<Case> {
    let serials: [(&str, Vec<u8>); 15] = [
        ("0", vec![0]),
        ("1", vec![1]),
        ("127", vec![0x7F]),
        ("128", vec![0, 0x80]),
        ("-1", vec![0xFF]),
        ("-128", vec![0x80]),
        ("-31", vec![0xE1]),
        ("-256", vec![0xFF, 0]),
        ("negative of 16 bytes", [vec![0x80], vec![0; 15]].concat()),
        ("leading zero nibble", vec![0x0A, 0x0B]),
        ("19 bytes", (1..20).collect()),
        ("20 bytes", (1..21).collect()),
        ("20 bytes and sign", [vec![0], vec![0x9F; 19]].concat()),
        ("21 bytes", (1..22).collect()),
        ("34 bytes", (1..35).collect()),
    ];
    let mut cases: Vec<Case> = serials
        .into_iter()
        .map(|(what, serial)| {
            let mut spec = Spec::client("serial", &world.key);
            spec.serial = serial;
            Case::leaf(format!("serial: {what}"), GOOD, &spec, &world.p256)
        })
        .collect();
    for (what, serial) in [
        ("padded", vec![0, 0, 5]),
        ("padded negative", vec![0xFF, 0xFF, 5]),
        ("empty", vec![]),
    ] {
        let mut spec = Spec::client("serial", &world.key);
        spec.serial = serial;
        let class = "serial that is not DER";
        cases.push(Case::leaf(
            format!("serial: {what}"),
            class,
            &spec,
            &world.p256,
        ));
    }
    cases
}

fn dates(world: &World) -> Vec<Case> {
    let good_start = utc("200101000000Z");
    let good_end = utc("491231235959Z");
    let dates: Vec<(&str, &'static str, Vec<u8>, Vec<u8>)> = vec![
        (
            "one digit days",
            GOOD,
            utc("200203040506Z"),
            utc("490809101112Z"),
        ),
        ("1970", GOOD, utc("700101000000Z"), good_end.clone()),
        (
            "generalized before 2050",
            GOOD,
            generalized("20200101000000Z"),
            generalized("20490101000000Z"),
        ),
        (
            "after 2049",
            GOOD,
            good_start.clone(),
            generalized("20500101000000Z"),
        ),
        (
            "9999",
            GOOD,
            good_start.clone(),
            generalized("99991231235959Z"),
        ),
        ("leap day", GOOD, utc("200229000000Z"), utc("480229235959Z")),
        (
            "1969",
            "begins before 1970",
            utc("691231235959Z"),
            good_end.clone(),
        ),
        (
            "1950",
            "begins before 1970",
            utc("500101000000Z"),
            good_end.clone(),
        ),
        (
            "1949",
            "begins before 1970",
            generalized("19490101000000Z"),
            good_end.clone(),
        ),
        (
            "1601",
            "begins before 1970",
            generalized("16010101000000Z"),
            good_end.clone(),
        ),
        (
            "0000",
            "begins before 1970",
            generalized("00000101000000Z"),
            good_end.clone(),
        ),
        (
            "expired",
            "expired",
            utc("000101000000Z"),
            utc("100101000000Z"),
        ),
        (
            "expired before 1970",
            "expired",
            utc("500101000000Z"),
            utc("690101000000Z"),
        ),
        (
            "not yet valid",
            "not yet valid",
            utc("480101000000Z"),
            good_end.clone(),
        ),
        (
            "not yet valid, long",
            "not yet valid",
            generalized("20600101000000Z"),
            generalized("20700101000000Z"),
        ),
        (
            "turned round, past",
            "ends before it begins",
            utc("100101000000Z"),
            utc("090101000000Z"),
        ),
        (
            "turned round, future",
            "ends before it begins",
            utc("480101000000Z"),
            utc("470101000000Z"),
        ),
        (
            "turned round, around now",
            "ends before it begins",
            utc("480101000000Z"),
            utc("100101000000Z"),
        ),
        (
            "no seconds",
            "date in another shape",
            utc("2001010000Z"),
            good_end.clone(),
        ),
        (
            "offset",
            "date in another shape",
            utc("200101000000+0100"),
            good_end.clone(),
        ),
        (
            "fraction",
            "date in another shape",
            generalized("20200101000000.5Z"),
            good_end.clone(),
        ),
        (
            "no Z",
            "date in another shape",
            generalized("20200101000000"),
            good_end.clone(),
        ),
        (
            "end without seconds",
            "date in another shape",
            good_start.clone(),
            utc("4912312359Z"),
        ),
        (
            "month 13",
            "date in another shape",
            utc("201301000000Z"),
            good_end.clone(),
        ),
        (
            "February 30",
            "date in another shape",
            utc("200230000000Z"),
            good_end.clone(),
        ),
        (
            "letters",
            "date in another shape",
            utc("abcdefghijklZ"),
            good_end.clone(),
        ),
        (
            "not a time",
            "date in another shape",
            element(0x0C, &[b"200101000000Z"]),
            good_end.clone(),
        ),
    ];
    dates
        .into_iter()
        .map(|(what, class, start, end)| {
            let mut spec = Spec::client("dates", &world.key);
            spec.validity = [start, end];
            Case::leaf(format!("dates: {what}"), class, &spec, &world.p256)
        })
        .collect()
}

fn keys(world: &World) -> Vec<Case> {
    let keys = [
        ("P-384", Key::p384()),
        ("P-521", Key::p521()),
        ("Ed25519", Key::ed25519()),
        ("RSA 2048", Key::rsa(RsaKeySize::_2048)),
        ("RSA 3072", Key::rsa(RsaKeySize::_3072)),
    ];
    let roots = [
        ("P-256", &world.p256),
        ("P-384", &world.p384),
        ("P-521", &world.p521),
        ("Ed25519", &world.ed25519),
        ("RSA", &world.rsa),
        ("RSA 3072", &world.rsa3072),
    ];
    let mut cases = Vec::new();
    for (kind, key) in &keys {
        for (root_kind, root) in roots {
            let spec = Spec::client(kind, key);
            cases.push(Case::leaf(
                format!("key: {kind} below {root_kind}"),
                GOOD,
                &spec,
                root,
            ));
        }
    }
    let client = Spec::client("weak", &world.key);
    let weak_key = Spec::client("weak", &Key::legacy_rsa(1024, "sha256"));
    cases.push(Case::leaf(
        "key: RSA 1024",
        "RSA key of 1024 bits",
        &weak_key,
        &world.p256,
    ));
    cases.push(Case::leaf(
        "signed with SHA-1",
        "signed with SHA-1",
        &client,
        &world.sha1,
    ));
    cases.push(Case::leaf(
        "signed with MD5",
        "signed with MD5",
        &client,
        &world.md5,
    ));
    cases.push(Case::leaf(
        "signed by 1024 bits",
        "signed by an RSA key of 1024 bits",
        &client,
        &world.rsa1024,
    ));
    cases
}

fn versions(world: &World) -> Vec<Case> {
    let class = "version 1 or 2";
    let mut cases = Vec::new();
    let mut add = |what: &str, class, version, extensions: bool, ids: &[u8]| {
        let mut spec = Spec::client("version", &world.key);
        spec.version = version;
        spec.unique_ids = ids.to_vec();
        if !extensions {
            spec.extensions.clear();
        }
        cases.push(Case::leaf(
            format!("version: {what}"),
            class,
            &spec,
            &world.p256,
        ));
    };
    let ids = [element(0x81, &[&[0, 1, 2]]), element(0x82, &[&[0, 3]])].concat();
    add("1", class, None, false, &[]);
    add("1, written", class, Some(0), false, &[]);
    add("1 with extensions", class, None, true, &[]);
    add("2", class, Some(1), false, &[]);
    add("2 with unique identifiers", class, Some(1), false, &ids);
    add(
        "3 with unique identifiers",
        "unique identifiers",
        Some(2),
        true,
        &ids,
    );
    add("3 without extensions", GOOD, Some(2), false, &[]);
    add("4", "version 4", Some(3), true, &[]);
    cases
}

fn usages(world: &World) -> Vec<Case> {
    let key_usages: [(&str, u8); 8] = [
        ("digitalSignature", DIGITAL_SIGNATURE),
        ("keyAgreement", KEY_AGREEMENT),
        ("both", DIGITAL_SIGNATURE | KEY_AGREEMENT),
        ("keyEncipherment", KEY_ENCIPHERMENT),
        ("nonRepudiation", NON_REPUDIATION),
        ("keyCertSign", KEY_CERT_SIGN),
        ("all but digitalSignature", 0x76),
        ("all", 0xFE),
    ];
    let purposes: [(&str, &[&str]); 9] = [
        ("serverAuth", &[SERVER_AUTH]),
        ("emailProtection", &[EMAIL_PROTECTION]),
        ("codeSigning", &[CODE_SIGNING]),
        ("any", &[ANY_PURPOSE]),
        ("any and serverAuth", &[ANY_PURPOSE, SERVER_AUTH]),
        ("both", &[SERVER_AUTH, CLIENT_AUTH]),
        ("unknown", &["1.2.3.4.5"]),
        ("unknown and clientAuth", &["1.2.3.4.5", CLIENT_AUTH]),
        ("none", &[]),
    ];
    let class = "usage";
    let mut cases = Vec::new();
    for (what, bits) in key_usages {
        let spec = Spec::client("usage", &world.key).only(&[key_usage(bits)]);
        cases.push(Case::leaf(
            format!("key usage: {what}"),
            class,
            &spec,
            &world.p256,
        ));
    }
    for (what, purposes) in purposes {
        let spec = Spec::client("usage", &world.key).only(&[usage(purposes)]);
        let class = if purposes.is_empty() {
            "empty extended key usage"
        } else {
            class
        };
        cases.push(Case::leaf(
            format!("purpose: {what}"),
            class,
            &spec,
            &world.p256,
        ));
    }
    for (what, bits) in [("SSL client", 0x80), ("SSL server", 0x40), ("S/MIME", 0x20)] {
        let value = element(BIT_STRING, &[&[5, bits]]);
        let spec = Spec::client("usage", &world.key).and(extension(NETSCAPE_TYPE, false, &value));
        cases.push(Case::leaf(
            format!("Netscape type: {what}"),
            class,
            &spec,
            &world.p256,
        ));
    }
    cases
}

fn extensions(world: &World) -> Vec<Case> {
    let null = [5_u8, 0];
    let policies = sequence(&[&sequence(&[&oid("1.2.3.4.6")])]);
    let malformed = "malformed extension";
    let dns: &[(u8, &[u8])] = &[
        (DNS, b"a.example"),
        (EMAIL, b"a@b.example"),
        (URI, b"spiffe://td/a"),
        (IP, &[10, 0, 0, 1]),
    ];
    let list: Vec<(&str, &'static str, Vec<Vec<u8>>)> = vec![
        ("unknown", GOOD, vec![extension("1.2.3.4.5", false, &null)]),
        (
            "unknown critical",
            "unknown critical extension",
            vec![extension("1.2.3.4.5", true, &null)],
        ),
        (
            "critical policies",
            "critical policy extension",
            vec![extension(CERTIFICATE_POLICIES, true, &policies)],
        ),
        (
            "policies",
            GOOD,
            vec![extension(CERTIFICATE_POLICIES, false, &policies)],
        ),
        (
            "critical key id",
            "critical key identifier",
            vec![extension(SUBJECT_KEY_ID, true, &element(4, &[b"id"]))],
        ),
        ("key id", GOOD, vec![subject_key_id(b"id")]),
        ("SAN of all kinds", GOOD, vec![alt_names(dns)]),
        (
            "SAN empty",
            "empty subject alternative name",
            vec![alt_names(&[])],
        ),
        (
            "SAN malformed",
            malformed,
            vec![extension(SUBJECT_ALT_NAME, false, b"\x30\x05abc")],
        ),
        (
            "SAN that is a string",
            malformed,
            vec![extension(SUBJECT_ALT_NAME, false, b"\x0C\x01a")],
        ),
        (
            "authority key id of another key",
            "authority key identifier of another key",
            vec![authority_key_id(&element(0x80, &[b"elsewhere"]))],
        ),
        (
            "basic constraints CA:FALSE",
            GOOD,
            vec![extension(BASIC_CONSTRAINTS, true, &sequence(&[]))],
        ),
        (
            "basic constraints written FALSE",
            "FALSE written out",
            vec![extension(BASIC_CONSTRAINTS, true, &sequence(&[&[1, 1, 0]]))],
        ),
        (
            "basic constraints with path length",
            GOOD,
            vec![extension(
                BASIC_CONSTRAINTS,
                true,
                &sequence(&[&integer(&[0])]),
            )],
        ),
        (
            "basic constraints malformed",
            malformed,
            vec![extension(BASIC_CONSTRAINTS, true, b"\x30\x01")],
        ),
        (
            "basic constraints negative length",
            malformed,
            vec![extension(
                BASIC_CONSTRAINTS,
                true,
                &sequence(&[&[1, 1, 0xFF], &integer(&[0x80])]),
            )],
        ),
        (
            "CA:TRUE",
            "CA certificate as a client's",
            vec![ca_true(None)],
        ),
        (
            "CA:TRUE with usages",
            "CA certificate as a client's",
            vec![ca_true(None), key_usage(DIGITAL_SIGNATURE | KEY_CERT_SIGN)],
        ),
        (
            "key usage empty",
            malformed,
            vec![extension(KEY_USAGE, true, b"\x03\x01\0")],
        ),
        (
            "key usage zero",
            malformed,
            vec![extension(KEY_USAGE, true, b"\x03\x02\0\0")],
        ),
        (
            "key usage malformed",
            malformed,
            vec![extension(KEY_USAGE, true, &null)],
        ),
        (
            "purpose malformed",
            malformed,
            vec![extension(EXTENDED_KEY_USAGE, false, &null)],
        ),
        (
            "the same twice",
            "extension twice",
            vec![usage(&[CLIENT_AUTH]), usage(&[CLIENT_AUTH])],
        ),
        (
            "unknown twice",
            "unknown extension twice",
            vec![
                extension("1.2.3.4.5", false, &null),
                extension("1.2.3.4.5", false, &null),
            ],
        ),
        (
            "proxy certificate",
            "proxy certificate",
            vec![extension(PROXY, true, &proxy_info())],
        ),
        (
            "proxy certificate, not critical",
            "proxy certificate, not critical",
            vec![extension(PROXY, false, &proxy_info())],
        ),
        (
            "large",
            GOOD,
            vec![extension("1.2.3.4.5", false, &element(4, &[&[7; 9000]]))],
        ),
    ];
    list.into_iter()
        .map(|(what, class, extensions)| {
            let spec = Spec::client("extensions", &world.key).only(&extensions);
            Case::leaf(format!("extension: {what}"), class, &spec, &world.p256)
        })
        .collect()
}

/// RFC 3820 §3.8: no path length, policy language "inherit all".
fn proxy_info() -> Vec<u8> {
    sequence(&[&sequence(&[&oid("1.3.6.1.5.5.7.21.1")])])
}

const NETSCAPE_TYPE: &str = "2.16.840.1.113730.1.1";
const PROXY: &str = "1.3.6.1.5.5.7.1.14";
