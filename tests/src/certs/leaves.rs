//! Leaves issued straight by a root: serials, dates, versions, keys, extensions.

use rcgen::RsaKeySize;

use super::der::{BIT_STRING, element};
use super::names::GOOD;
use super::{
    ANY_PURPOSE, CLIENT_AUTH, CODE_SIGNING, Case, DIGITAL_SIGNATURE, EMAIL_PROTECTION,
    KEY_AGREEMENT, KEY_CERT_SIGN, KEY_ENCIPHERMENT, Key, NON_REPUDIATION, SERVER_AUTH, Spec, World,
    extension, key_usage, usage,
};

/// The cases.
pub fn cases(world: &World) -> Vec<Case> {
    let mut cases = serials(world);
    cases.extend(keys(world));
    cases.extend(versions(world));
    cases.extend(usages(world));
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

const NETSCAPE_TYPE: &str = "2.16.840.1.113730.1.1";
