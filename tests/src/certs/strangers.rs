//! Certificates of CAs that nobody trusts, of CAs that claim a trusted name, and with signatures that do not fit.

use super::chains::{client, middle};
use super::names::{attribute, common_name, name, rdn};
use super::{Ca, Case, Key, SERVER_AUTH, Spec, World, usage};

/// The cases.
pub fn cases(world: &World) -> Vec<Case> {
    [
        alone(world),
        issued(world),
        namesakes(world),
        signatures(world),
    ]
    .concat()
}

/// Leaves that are their own issuers.
fn alone(world: &World) -> Vec<Case> {
    let alone = |what: &str, spec: &Spec| Case {
        name: format!("stranger: {what}"),
        class: UNKNOWN,
        chain: vec![spec.self_signed().der],
        key: world.key.clone(),
        long_serial: false,
    };
    let ca = Spec::ca("own CA", &world.key);
    let mimic = Spec::ca("Root P-256", &world.key);
    vec![
        alone("self-signed", &client(world)),
        alone("self-signed CA", &ca),
        alone("self-signed, expired", &expired(client(world))),
        alone("self-signed, for servers", &for_servers(world)),
        alone("mimic of a root", &mimic),
    ]
}

/// Leaves of a strange root.
fn issued(world: &World) -> Vec<Case> {
    let root = &world.stranger;
    let low = middle("strange").below(root);
    let leaf = |what: &str, spec: &Spec, ca: &Ca| {
        Case::leaf(format!("stranger: {what}"), UNKNOWN, spec, ca)
    };
    let (good, old) = (client(world), expired(client(world)));
    let self_issued = Spec::client("Strange Root", &world.key);
    vec![
        leaf("leaf alone", &good, root),
        leaf("with its root", &good, root).with(&[root]),
        leaf("leaf alone, expired", &old, root),
        leaf("for servers", &for_servers(world), root),
        leaf("expired, with its root", &old, root).with(&[root]),
        leaf("self-issued", &self_issued, root),
        leaf("intermediate", &good, &low).with(&[&low]),
        leaf("intermediate and root", &good, &low).with(&[&low, root]),
        leaf("intermediate missing", &good, &low).with(&[root]),
    ]
}

/// Leaves whose issuer is called as a root of the store is.
fn namesakes(world: &World) -> Vec<Case> {
    let renamed = |name: Vec<u8>, of: &Ca| Ca { name, ..of.clone() };
    let like_root = renamed(world.p256.name.clone(), &world.stranger);
    let mimic = Spec::ca("Root P-256", &world.key).self_signed();
    let lower = renamed(common_name("root p-256"), &world.p256);
    let printable = name(&[rdn(&[attribute("2.5.4.3", 0x13, b"Root P-256")])]);
    let printable = renamed(printable, &world.p256);
    let leaf = |what: &str, class, ca: &Ca| {
        Case::leaf(format!("stranger: {what}"), class, &client(world), ca)
    };
    let namesake = "namesake of a root";
    let spelling = "issuer's name in another spelling";
    vec![
        leaf("named like our root", namesake, &like_root),
        leaf("mimic's leaf", namesake, &mimic),
        leaf("mimic's leaf, with it", namesake, &mimic).with(&[&mimic]),
        leaf("issuer in other case", spelling, &lower),
        leaf("issuer in another string type", spelling, &printable),
    ]
}

fn signatures(world: &World) -> Vec<Case> {
    let bent = |what: &str, ca: &Ca| {
        let mut case = Case::leaf(what, BAD, &client(world), ca);
        let mut bytes = case.chain[0].to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        case.chain = vec![bytes.into()];
        case
    };
    let inner = |algorithm: Vec<u8>| Spec {
        inner_algorithm: Some(algorithm),
        ..client(world)
    };
    let other_digest = inner(Key::p384().signature_algorithm());
    let other_kind = inner(world.rsa.key.signature_algorithm());
    let middle = middle("signature").below(&world.p256);
    let rekeyed = |key: &Key, ca: &Ca| Ca {
        key: key.clone(),
        ..ca.clone()
    };
    let forged = rekeyed(&Key::p256(), &middle);
    let misfit = rekeyed(&world.rsa.key, &world.p256);
    let leaf = |what: &str, class, spec: &Spec, ca: &Ca| {
        Case::leaf(format!("signature: {what}"), class, spec, ca)
    };
    let differ = "signature algorithms differ";
    let kind = "signed by another kind of key";
    vec![
        bent("signature: bent", &world.rsa),
        bent("signature: bent, EC", &world.p256),
        leaf("inner digest differs", differ, &other_digest, &world.p256),
        leaf("inner key differs", differ, &other_kind, &world.p256),
        leaf("below", BAD, &client(world), &forged).with(&[&middle]),
        leaf("of another kind of key", kind, &client(world), &misfit),
    ]
}

fn expired(spec: Spec) -> Spec {
    spec.valid("000101000000Z", "100101000000Z")
}

fn for_servers(world: &World) -> Spec {
    client(world).only(&[usage(&[SERVER_AUTH])])
}

const UNKNOWN: &str = "unknown issuer";
const BAD: &str = "bad signature";
