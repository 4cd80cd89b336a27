//! Chains: intermediates good, missing and bad, roots with faults, strangers, signatures that do not fit, constraints.

use super::der::{element, integer, oid, sequence, utc};
use super::names::{GOOD, attribute, common_name, name, rdn};
use super::roots::permitted_dns;
use super::{
    ANY_PURPOSE, CERTIFICATE_POLICIES, CLIENT_AUTH, CRL_SIGN, Ca, Case, DIRECTORY, DNS, EMAIL, IP,
    KEY_CERT_SIGN, Key, NAME_CONSTRAINTS, SERVER_AUTH, Spec, URI, World, alt_names,
    authority_key_id, ca_true, extension, general_names, key_usage, subject_key_id, usage,
};

/// The cases.
pub fn cases(world: &World) -> Vec<Case> {
    let mut cases = lengths(world);
    cases.extend(company(world));
    cases.extend(bad_intermediates(world));
    cases.extend(roots(world));
    cases.extend(strangers(world));
    cases.extend(signatures(world));
    cases.extend(constraints(world));
    cases
}

fn middle(what: &str) -> Spec {
    Spec::ca(&format!("Intermediate {what}"), &Key::p256())
}

fn client(world: &World) -> Spec {
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

fn bad_intermediates(world: &World) -> Vec<Case> {
    let null = [5_u8, 0];
    let policies = sequence(&[&sequence(&[&oid("1.2.3.4.6")])]);
    let signer = key_usage(KEY_CERT_SIGN);
    let mut version_1 = middle("v1");
    version_1.version = None;
    version_1.extensions.clear();
    let specs: Vec<(&str, &'static str, Spec)> = vec![
        (
            "expired",
            "bad intermediate",
            middle("expired").valid("000101000000Z", "100101000000Z"),
        ),
        (
            "not yet valid",
            "bad intermediate",
            middle("future").valid("480101000000Z", "491231235959Z"),
        ),
        (
            "not a CA",
            "intermediate that is no CA",
            Spec::client("Intermediate no CA", &Key::p256()),
        ),
        (
            "CA:FALSE",
            "intermediate that is no CA",
            middle("false").only(&[extension("2.5.29.19", true, &sequence(&[])), signer.clone()]),
        ),
        (
            "no basic constraints",
            "intermediate that is no CA",
            middle("nobc").only(&[]),
        ),
        (
            "key usage only",
            "intermediate that is no CA",
            middle("ku").only(std::slice::from_ref(&signer)),
        ),
        ("version 1", "intermediate of version 1", version_1),
        (
            "may not sign",
            "bad intermediate",
            middle("crl").only(&[ca_true(None), key_usage(CRL_SIGN)]),
        ),
        ("no key usage", GOOD, middle("free").only(&[ca_true(None)])),
        (
            "for servers",
            "bad intermediate",
            middle("server").and(usage(&[SERVER_AUTH])),
        ),
        (
            "for clients",
            GOOD,
            middle("clients").and(usage(&[CLIENT_AUTH])),
        ),
        (
            "for any",
            "bad intermediate",
            middle("any").and(usage(&[ANY_PURPOSE])),
        ),
        (
            "unknown critical",
            "bad intermediate",
            middle("odd").and(extension("1.2.3.4.5", true, &null)),
        ),
        (
            "critical policies",
            "intermediate with a critical policy extension",
            middle("policy").and(extension(CERTIFICATE_POLICIES, true, &policies)),
        ),
        (
            "path length 0",
            GOOD,
            middle("zero").only(&[ca_true(Some(0)), signer.clone()]),
        ),
        (
            "path length 300",
            "path length above 255",
            middle("300").only(&[
                extension(
                    "2.5.29.19",
                    true,
                    &sequence(&[&[1, 1, 0xFF], &integer(&[1, 44])]),
                ),
                signer.clone(),
            ]),
        ),
        (
            "weak key",
            "intermediate with an RSA key of 1024 bits",
            Spec::ca("Intermediate weak", &Key::legacy_rsa(1024, "sha256")),
        ),
        (
            "signing with SHA-1",
            "leaf signed with SHA-1 by an intermediate",
            Spec::ca("Intermediate SHA-1", &Key::legacy_rsa(2048, "sha1")),
        ),
        (
            "malformed extension",
            "bad intermediate",
            middle("broken").and(extension("2.5.29.17", false, &null)),
        ),
    ];
    let mut cases: Vec<Case> = specs
        .into_iter()
        .map(|(what, class, spec)| {
            let ca = spec.below(&world.p256);
            Case::leaf(format!("intermediate: {what}"), class, &client(world), &ca).with(&[&ca])
        })
        .collect();
    let zero = middle("zero above")
        .only(&[ca_true(Some(0)), signer])
        .below(&world.p256);
    let under = middle("under zero").below(&zero);
    cases.push(
        Case::leaf(
            "intermediate: path length exceeded",
            "bad intermediate",
            &client(world),
            &under,
        )
        .with(&[&under, &zero]),
    );
    let old = middle("expired").valid("000101000000Z", "100101000000Z");
    let renewed = Spec {
        validity: [utc("200101000000Z"), utc("491231235959Z")],
        ..old.clone()
    };
    let (old, renewed) = (old.below(&world.p256), renewed.below(&world.p256));
    let expired = client(world).valid("000101000000Z", "100101000000Z");
    cases.push(
        Case::leaf(
            "intermediate: expired and renewed",
            GOOD,
            &client(world),
            &old,
        )
        .with(&[&old, &renewed]),
    );
    cases.push(
        Case::leaf(
            "intermediate: expired, and the leaf too",
            "bad intermediate",
            &expired,
            &old,
        )
        .with(&[&old]),
    );
    let impostor = Spec {
        key: Key::p256(),
        ..renewed_spec()
    };
    let (true_one, impostor) = (
        renewed_spec().below(&world.p256),
        impostor.below(&world.p256),
    );
    cases.push(
        Case::leaf(
            "intermediate: namesake first",
            "namesake before the issuer",
            &client(world),
            &true_one,
        )
        .with(&[&impostor, &true_one]),
    );
    cases.push(
        Case::leaf(
            "intermediate: namesake last",
            GOOD,
            &client(world),
            &true_one,
        )
        .with(&[&true_one, &impostor]),
    );
    cases
}

fn renewed_spec() -> Spec {
    middle("namesake")
}

fn roots(world: &World) -> Vec<Case> {
    let under =
        |what: &str, class, ca: &Ca| Case::leaf(format!("root: {what}"), class, &client(world), ca);
    let short = middle("below short").below(&world.no_intermediates);
    let served = middle("below critical").below(&world.critical);
    let own = |what: &str, class, ca: &Ca| Case {
        name: format!("root: {what}"),
        class,
        chain: vec![ca.der.clone()],
        key: ca.key.clone(),
        long_serial: false,
    };
    let identified = |what: &str, class, id: &[u8]| {
        let spec = client(world).and(authority_key_id(&element(0x80, &[id])));
        Case::leaf(format!("root: {what}"), class, &spec, &world.with_key_id)
    };
    let issuer = element(
        0xA1,
        &[&general_names(&[(DIRECTORY, &world.p256.name)])[2..]],
    );
    let by_serial = |what: &str, class, serial: &[u8]| {
        let id = [issuer.clone(), element(0x82, &[serial])].concat();
        Case::leaf(
            format!("root: {what}"),
            class,
            &client(world).and(authority_key_id(&id)),
            &world.p256,
        )
    };
    let fault = "root with a fault";
    vec![
        under("expired", fault, &world.expired),
        under("not yet valid", fault, &world.future),
        under(
            "no intermediates allowed, none there",
            GOOD,
            &world.no_intermediates,
        ),
        Case::leaf(
            "root: no intermediates allowed, one there",
            fault,
            &client(world),
            &short,
        )
        .with(&[&short]),
        under("for servers", fault, &world.server_only),
        under("unknown critical", fault, &world.critical),
        Case::leaf(
            "root: unknown critical, through an intermediate",
            fault,
            &client(world),
            &served,
        )
        .with(&[&served]),
        under("no key usage", GOOD, &world.no_key_usage),
        under("without a name", GOOD, &world.nameless),
        under("with an odd name", GOOD, &world.odd_name),
        under("valid till 9999", GOOD, &world.long_lived),
        under("first twin", GOOD, &world.twins[0]),
        under("second twin", "namesake before the issuer", &world.twins[1]),
        under(
            "an intermediate as anchor",
            "anchor that is not self-signed",
            &world.intermediate,
        ),
        identified("key identifier matching", GOOD, b"root key id"),
        identified(
            "key identifier differing",
            "authority key identifier of another key",
            b"another id",
        ),
        by_serial(
            "issuer and serial matching",
            GOOD,
            &[0x12, 0x34, 0x56, 0x78],
        ),
        by_serial(
            "issuer and serial differing",
            "authority key identifier of another key",
            &[9],
        ),
        own("as a client", "CA certificate as a client's", &world.p256),
        own(
            "as a client, without key usage",
            "CA certificate as a client's",
            &world.no_key_usage,
        ),
    ]
}

fn strangers(world: &World) -> Vec<Case> {
    let class = "unknown issuer";
    let old = |spec: Spec| spec.valid("000101000000Z", "100101000000Z");
    let alone = |what: &str, ca: &Ca| Case {
        name: format!("stranger: {what}"),
        class,
        chain: vec![ca.der.clone()],
        key: world.key.clone(),
        long_serial: false,
    };
    let low = middle("strange").below(&world.stranger);
    let by_stranger = |what: &str| {
        Case::leaf(
            format!("stranger: {what}"),
            class,
            &client(world),
            &world.stranger,
        )
    };
    let below = |what: &str| Case::leaf(format!("stranger: {what}"), class, &client(world), &low);
    let server = client(world).only(&[usage(&[SERVER_AUTH])]);
    let named_like_root = Ca {
        name: world.p256.name.clone(),
        ..world.stranger.clone()
    };
    let mimic = Spec::ca("Root P-256", &world.key).self_signed();
    let by_mimic = Case::leaf(
        "stranger: root of the same name",
        "namesake of a root",
        &client(world),
        &mimic,
    );
    let lower = Ca {
        name: common_name("root p-256"),
        ..world.p256.clone()
    };
    let printable = name(&[rdn(&[attribute("2.5.4.3", 0x13, b"Root P-256")])]);
    let printable = Ca {
        name: printable,
        ..world.p256.clone()
    };
    vec![
        alone("self-signed", &client(world).self_signed()),
        alone(
            "self-signed CA",
            &Spec::ca("own CA", &world.key).self_signed(),
        ),
        alone("self-signed, expired", &old(client(world)).self_signed()),
        alone("self-signed, for servers", &server.self_signed()),
        alone("mimic of a root", &mimic),
        by_stranger("leaf alone"),
        by_stranger("with its root").with(&[&world.stranger]),
        Case::leaf(
            "stranger: leaf alone, expired",
            class,
            &old(client(world)),
            &world.stranger,
        ),
        Case::leaf("stranger: for servers", class, &server, &world.stranger),
        Case::leaf(
            "stranger: expired, with its root",
            class,
            &old(client(world)),
            &world.stranger,
        )
        .with(&[&world.stranger]),
        below("intermediate").with(&[&low]),
        below("intermediate and root").with(&[&low, &world.stranger]),
        below("intermediate missing").with(&[&world.stranger]),
        Case::leaf(
            "stranger: named like our root",
            "namesake of a root",
            &client(world),
            &named_like_root,
        ),
        by_mimic.clone(),
        Case {
            name: "stranger: root of the same name, included".to_owned(),
            ..by_mimic
        }
        .with(&[&mimic]),
        Case::leaf(
            "stranger: issuer in other case",
            "issuer's name in another spelling",
            &client(world),
            &lower,
        ),
        Case::leaf(
            "stranger: issuer in another string type",
            "issuer's name in another spelling",
            &client(world),
            &printable,
        ),
        Case::leaf(
            "stranger: self-issued",
            class,
            &Spec::client("Strange Root", &world.key),
            &world.stranger,
        ),
    ]
}

fn signatures(world: &World) -> Vec<Case> {
    let class = "bad signature";
    let mut bent = Case::leaf("signature: bent", class, &client(world), &world.rsa);
    let mut bytes = bent.chain[0].to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bent.chain = vec![bytes.into()];
    let mut bent_ec = Case::leaf("signature: bent, EC", class, &client(world), &world.p256);
    let mut bytes = bent_ec.chain[0].to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bent_ec.chain = vec![bytes.into()];
    let mut inner = client(world);
    inner.inner_algorithm = Some(Key::p384().signature_algorithm());
    let mut inner_rsa = client(world);
    inner_rsa.inner_algorithm = Some(world.rsa.key.signature_algorithm());
    let middle = middle("signature").below(&world.p256);
    let forged = Ca {
        key: Key::p256(),
        ..middle.clone()
    };
    let misfit = Ca {
        key: world.rsa.key.clone(),
        ..world.p256.clone()
    };
    vec![
        bent,
        bent_ec,
        Case::leaf(
            "signature: inner algorithm differs",
            "signature algorithms differ",
            &inner,
            &world.p256,
        ),
        Case::leaf(
            "signature: inner algorithm of another kind",
            "signature algorithms differ",
            &inner_rsa,
            &world.p256,
        ),
        Case::leaf(
            "signature: below an intermediate",
            class,
            &client(world),
            &forged,
        )
        .with(&[&middle]),
        Case::leaf(
            "signature: of another kind of key",
            "signed by another kind of key",
            &client(world),
            &misfit,
        ),
    ]
}

/// A Name under test, as SAN or subject, below an intermediate with these subtrees.
fn constraints(world: &World) -> Vec<Case> {
    let subtrees = |tag: u8, names: &[(u8, &[u8])]| {
        let list: Vec<u8> = names
            .iter()
            .flat_map(|name| general_names(&[*name]))
            .collect();
        element(tag, &[&list])
    };
    let constrained = |what: &str, value: &[u8]| {
        middle(what)
            .and(extension(NAME_CONSTRAINTS, true, &sequence(&[value])))
            .below(&world.p256)
    };
    let only_here = name(&[rdn(&[attribute("2.5.4.10", 0x0C, b"Here")])]);
    let sets: Vec<(&str, &'static str, Vec<u8>)> = vec![
        (
            "DNS permitted",
            "name constraint on DNS",
            subtrees(0xA0, &[(DNS, b"good.example")]),
        ),
        (
            "DNS excluded",
            "name constraint on DNS",
            subtrees(0xA1, &[(DNS, b"bad.example")]),
        ),
        (
            "e-mail permitted",
            "name constraint on e-mail",
            subtrees(0xA0, &[(EMAIL, b"good.example")]),
        ),
        (
            "e-mail excluded",
            "name constraint on e-mail",
            subtrees(0xA1, &[(EMAIL, b"a@bad.example")]),
        ),
        (
            "URI permitted",
            "name constraint on URI",
            subtrees(0xA0, &[(URI, b"good.example")]),
        ),
        (
            "URI excluded",
            "name constraint on URI",
            subtrees(0xA1, &[(URI, b".bad.example")]),
        ),
        (
            "IP permitted",
            "name constraint on IP",
            subtrees(0xA0, &[(IP, &[10, 0, 0, 0, 255, 0, 0, 0])]),
        ),
        (
            "IP excluded",
            "name constraint on IP",
            subtrees(0xA1, &[(IP, &[10, 0, 0, 0, 255, 0, 0, 0])]),
        ),
        (
            "directory permitted",
            "name constraint on directory names",
            subtrees(0xA0, &[(DIRECTORY, &only_here)]),
        ),
        (
            "directory excluded",
            "name constraint on directory names",
            subtrees(0xA1, &[(DIRECTORY, &only_here)]),
        ),
    ];
    let san = |tag: u8, body: &[u8]| client(world).and(alt_names(&[(tag, body)]));
    let mut email_subject = client(world);
    email_subject.subject = name(&[rdn(&[attribute(
        "1.2.840.113549.1.9.1",
        0x16,
        b"a@bad.example",
    )])]);
    let mut here = client(world);
    here.subject = [
        only_here[2..].to_vec(),
        rdn(&[attribute("2.5.4.3", 0x0C, b"x")]),
    ]
    .concat();
    here.subject = element(0x30, &[&here.subject]);
    let subjects: Vec<(&str, Spec)> = vec![
        ("plain", client(world)),
        ("good DNS", san(DNS, b"www.good.example")),
        ("bad DNS", san(DNS, b"bad.example")),
        (
            "CN like bad DNS",
            Spec::client("www.bad.example", &world.key),
        ),
        ("bad e-mail", san(EMAIL, b"a@bad.example")),
        ("bad e-mail in the subject", email_subject),
        ("bad URI", san(URI, b"https://www.bad.example/x")),
        ("good IP", san(IP, &[10, 1, 2, 3])),
        ("O=Here", here),
    ];
    let mut cases = Vec::new();
    for (what, class, value) in sets {
        let ca = constrained(what, &value);
        for (subject, spec) in &subjects {
            cases.push(
                Case::leaf(format!("constraint: {what}: {subject}"), class, spec, &ca).with(&[&ca]),
            );
        }
    }
    let on_root = "name constraint on DNS";
    let below_root = |what: &str, spec: &Spec| {
        Case::leaf(
            format!("constraint: on the root: {what}"),
            on_root,
            spec,
            &world.constrained,
        )
    };
    cases.push(below_root("good", &san(DNS, b"a.example.test")));
    cases.push(below_root("bad", &san(DNS, b"a.example")));
    cases.push(below_root("CN", &Spec::client("a.example", &world.key)));
    cases.push(below_root("no host", &client(world)));
    let twice = middle("twice constrained")
        .and(permitted_dns("a.test"))
        .and(subject_key_id(b"k"))
        .below(&world.p256);
    cases.push(
        Case::leaf(
            "constraint: single label CN",
            on_root,
            &Spec::client("host", &world.key),
            &twice,
        )
        .with(&[&twice]),
    );
    cases
}
