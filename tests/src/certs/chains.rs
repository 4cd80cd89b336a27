//! Chains: of every length, with more or fewer certificates than the path needs, below roots with faults.

use super::der::element;
use super::names::GOOD;
use super::{Ca, Case, DIRECTORY, Key, Spec, World, authority_key_id, general_names};

/// The cases.
pub fn cases(world: &World) -> Vec<Case> {
    let mut cases = lengths(world);
    cases.extend(company(world));
    cases.extend(roots(world));
    cases.extend(identified(world));
    cases
}

/// A CA to be put below a root.
pub(super) fn middle(what: &str) -> Spec {
    Spec::ca(&format!("Intermediate {what}"), &Key::p256())
}

/// The leaf of most chains.
pub(super) fn client(world: &World) -> Spec {
    Spec::client("chain client", &world.key)
}

/// A line of `length` intermediates below the root, the one nearest the leaf first.
fn line(world: &World, length: usize) -> Vec<Ca> {
    let mut line: Vec<Ca> = Vec::new();
    for depth in 0..length {
        let issuer = line.first().unwrap_or(&world.p256);
        let next = middle(&format!("{depth} of {length}")).below(issuer);
        line.insert(0, next);
    }
    line
}

fn lengths(world: &World) -> Vec<Case> {
    [1, 2, 3, 6, 7, 8, 9, 10, 12]
        .into_iter()
        .map(|length| {
            let line = line(world, length);
            let class = match length {
                0..=6 => GOOD,
                7..=9 => "seven to nine intermediates",
                _ => "ten or more intermediates",
            };
            let all: Vec<&Ca> = line.iter().collect();
            Case::leaf(
                format!("chain: {length} intermediates"),
                class,
                &client(world),
                &line[0],
            )
            .with(&all)
        })
        .collect()
}

/// Chains with more, less or other certificates than the path needs.
fn company(world: &World) -> Vec<Case> {
    let line = line(world, 2);
    let [low, high] = &line[..] else {
        unreachable!()
    };
    let leaf = |what: &str, class| Case::leaf(format!("chain: {what}"), class, &client(world), low);
    let mut twice = leaf("leaf twice", GOOD);
    twice.chain.push(twice.chain[0].clone());
    let below_root =
        |what: &str| Case::leaf(format!("chain: {what}"), GOOD, &client(world), &world.p256);
    let strangers: Vec<Ca> = (0..7)
        .map(|n| Spec::ca(&format!("Other {n}"), &world.key).self_signed())
        .collect();
    let crowd: Vec<&Ca> = strangers.iter().collect();
    vec![
        leaf("other order", GOOD).with(&[high, low]),
        leaf("intermediates twice", GOOD).with(&[low, high, low, high]),
        leaf("root included", GOOD).with(&[low, high, &world.p256]),
        leaf("root twice", GOOD).with(&[low, &world.p256, high, &world.p256]),
        leaf("stranger included", GOOD).with(&[low, high, &world.stranger]),
        leaf("stranger first", GOOD).with(&[&world.stranger, low, high]),
        twice.with(&[low, high]),
        leaf("upper missing", "missing intermediate").with(&[low]),
        leaf("lower missing", "missing intermediate").with(&[high]),
        leaf("both missing", "missing intermediate"),
        leaf("both missing, root there", "missing intermediate").with(&[&world.p256]),
        below_root("root alone included").with(&[&world.p256]),
        below_root("seven strangers").with(&crowd),
        below_root("another root included").with(&[&world.rsa]),
    ]
}

/// Leaves below roots with something about them.
fn roots(world: &World) -> Vec<Case> {
    let leaf =
        |what: &str, class, ca: &Ca| Case::leaf(format!("root: {what}"), class, &client(world), ca);
    let short = middle("below short").below(&world.no_intermediates);
    let odd = middle("below critical").below(&world.critical);
    let anchored = "anchor that is not self-signed";
    let twin = "namesake before the issuer";
    vec![
        leaf("expired", FAULT, &world.expired),
        leaf("not yet valid", FAULT, &world.future),
        leaf("path length 0", GOOD, &world.no_intermediates),
        leaf("path length 0, exceeded", FAULT, &short).with(&[&short]),
        leaf("for servers", FAULT, &world.server_only),
        leaf("unknown critical", FAULT, &world.critical),
        leaf("unknown critical, farther", FAULT, &odd).with(&[&odd]),
        leaf("no key usage", GOOD, &world.no_key_usage),
        leaf("without a name", GOOD, &world.nameless),
        leaf("with an odd name", GOOD, &world.odd_name),
        leaf("valid till 9999", GOOD, &world.long_lived),
        // Which of the two nginx finds first is the C library's sort's choice.
        leaf("first twin", twin, &world.twins[0]),
        leaf("second twin", twin, &world.twins[1]),
        leaf("an intermediate as anchor", anchored, &world.intermediate),
    ]
}

/// Leaves with an authority key identifier, and roots presented as clients.
fn identified(world: &World) -> Vec<Case> {
    let leaf = |what: &str, class, id: Vec<u8>, ca: &Ca| {
        let spec = client(world).and(authority_key_id(&id));
        Case::leaf(format!("root: {what}"), class, &spec, ca)
    };
    let by_key = |id: &[u8]| element(0x80, &[id]);
    let issuer = general_names(&[(DIRECTORY, &world.p256.name)]);
    let by_serial =
        |serial: &[u8]| [element(0xA1, &[&issuer[2..]]), element(0x82, &[serial])].concat();
    let own = |what: &str, ca: &Ca| Case {
        name: format!("root: {what}"),
        class: "CA certificate as a client's",
        chain: vec![ca.der.clone()],
        key: ca.key.clone(),
        long_serial: false,
    };
    let other = "authority key identifier of another key";
    let key_id = &world.with_key_id;
    let serial = by_serial(&[0x12, 0x34, 0x56, 0x78]);
    vec![
        leaf("key id matching", GOOD, by_key(b"root key id"), key_id),
        leaf("key id differing", other, by_key(b"another id"), key_id),
        leaf("serial matching", GOOD, serial, &world.p256),
        leaf("serial differing", other, by_serial(&[9]), &world.p256),
        own("as a client", &world.p256),
        own("as a client, no key usage", &world.no_key_usage),
    ]
}

const FAULT: &str = "root with a fault";
