//! Names below CAs with name constraints, as alternative names and in the subject.

use super::chains::{client, middle};
use super::der::{element, sequence};
use super::names::{attribute, common_name, name, rdn};
use super::roots::permitted_dns;
use super::{
    Case, DIRECTORY, DNS, EMAIL, IP, NAME_CONSTRAINTS, Spec, URI, World, alt_names, extension,
    general_names,
};

/// The cases: each name below each set of subtrees.
pub fn cases(world: &World) -> Vec<Case> {
    let mut cases = on_the_root(world);
    for (what, class, subtrees) in subtrees() {
        let constraints = extension(NAME_CONSTRAINTS, true, &sequence(&[&subtrees]));
        let ca = middle(what).and(constraints).below(&world.p256);
        for (subject, spec) in subjects(world) {
            let name = format!("constraint: {what}: {subject}");
            cases.push(Case::leaf(name, class, &spec, &ca).with(&[&ca]));
        }
    }
    for ((what, class, _), root) in subtrees().into_iter().zip(&world.limited) {
        // Below an anchor Herald evaluates what webpki can't.
        let class = match class {
            ON_DIRECTORY | ON_EMAIL => "name constraint on the root",
            other => other,
        };
        for (subject, spec) in subjects(world) {
            let name = format!("constraint: {what}, on the root: {subject}");
            cases.push(Case::leaf(name, class, &spec, root));
        }
    }
    cases
}

/// What, class, the permitted (`[0]`) or excluded (`[1]`) subtrees.
pub(super) fn subtrees() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let permitted = |tag, base: &[u8]| element(0xA0, &[&general_names(&[(tag, base)])]);
    let excluded = |tag, base: &[u8]| element(0xA1, &[&general_names(&[(tag, base)])]);
    let net = [10, 0, 0, 0, 255, 0, 0, 0];
    let here = here();
    let uri = "name constraint on URI";
    let ip = "name constraint on IP";
    vec![
        ("DNS permitted", ON_DNS, permitted(DNS, b"good.example")),
        ("DNS excluded", ON_DNS, excluded(DNS, b"bad.example")),
        (
            "e-mail permitted",
            ON_EMAIL,
            permitted(EMAIL, b"good.example"),
        ),
        (
            "e-mail excluded",
            ON_EMAIL,
            excluded(EMAIL, b"a@bad.example"),
        ),
        ("URI permitted", uri, permitted(URI, b"good.example")),
        ("URI excluded", uri, excluded(URI, b".bad.example")),
        ("IP permitted", ip, permitted(IP, &net)),
        ("IP excluded", ip, excluded(IP, &net)),
        (
            "directory permitted",
            ON_DIRECTORY,
            permitted(DIRECTORY, &here),
        ),
        (
            "directory excluded",
            ON_DIRECTORY,
            excluded(DIRECTORY, &here),
        ),
    ]
}

/// What, the leaf.
fn subjects(world: &World) -> Vec<(&'static str, Spec)> {
    let san = |tag, body: &[u8]| client(world).and(alt_names(&[(tag, body)]));
    let named = |subject: Vec<u8>| Spec {
        subject,
        ..client(world)
    };
    let address = attribute("1.2.840.113549.1.9.1", 0x16, b"a@bad.example");
    let below_here = [&here()[2..], &common_name("x")[2..]].concat();
    vec![
        ("plain", client(world)),
        ("good DNS", san(DNS, b"www.good.example")),
        ("bad DNS", san(DNS, b"bad.example")),
        ("CN like bad DNS", named(common_name("www.bad.example"))),
        ("good e-mail", san(EMAIL, b"a@good.example")),
        ("bad e-mail", san(EMAIL, b"a@bad.example")),
        ("bad e-mail in the subject", named(name(&[rdn(&[address])]))),
        ("good URI", san(URI, b"https://good.example/x")),
        ("bad URI", san(URI, b"https://www.bad.example/x")),
        ("good IP", san(IP, &[10, 1, 2, 3])),
        ("O=Here", named(element(0x30, &[&below_here]))),
    ]
}

fn on_the_root(world: &World) -> Vec<Case> {
    let below = |what: &str, spec: &Spec| {
        let name = format!("constraint: on the root: {what}");
        Case::leaf(name, ON_DNS, spec, &world.constrained)
    };
    let san = |name: &[u8]| client(world).and(alt_names(&[(DNS, name)]));
    let host = middle("single label")
        .and(permitted_dns("a.test"))
        .below(&world.p256);
    let single = Spec::client("host", &world.key);
    vec![
        below("good", &san(b"a.example.test")),
        below("bad", &san(b"a.example")),
        below("CN", &Spec::client("a.example", &world.key)),
        below("no host", &client(world)),
        Case::leaf("constraint: single label CN", ON_DNS, &single, &host).with(&[&host]),
    ]
}

/// The Name O=Here.
fn here() -> Vec<u8> {
    name(&[rdn(&[attribute("2.5.4.10", 0x0C, b"Here")])])
}

const ON_DNS: &str = "name constraint on DNS";
const ON_EMAIL: &str = "name constraint on e-mail";
const ON_DIRECTORY: &str = "name constraint on directory names";
