//! Name constraints, on anchors and on intermediates.

use rcgen::{DistinguishedName, GeneralSubtree, NameConstraints, SanType};

use super::*;

/// Constraints on directory names and e-mail addresses bind below an anchor and below an intermediate alike, whose others
/// bind as ever.
#[test]
fn constraints_on_directory_names_and_addresses_bind() {
    for row in constrained_rows() {
        let Row(organization, names, permitted, excluded, offence) = &row;
        let constrained = |name| {
            let mut params = ca_params(name);
            params.distinguished_name = within("Here", name);
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: permitted.clone(),
                excluded_subtrees: excluded.clone(),
            });
            params
        };
        let client = |by: &Issuer| {
            let mut params = params("leaf");
            params.distinguished_name = within(organization, "leaf");
            params.subject_alt_names.clone_from(names);
            leaf(params, by)
        };
        let anchor = root(constrained("root"));
        let verdict = store_of(&[&anchor]).judge(&[client(&anchor)], NOW).verdict;
        match (offence, &verdict) {
            (None, Verdict::Success(_)) => {}
            (Some(wanted), Verdict::Failed(reason)) if wanted == reason => {}
            _ => panic!("{row:?}: {verdict:?}"),
        }
        let top = root(ca_params("top"));
        let middle = intermediate(constrained("middle"), &top);
        let lower = intermediate(ca_params_within(organization, "lower"), &middle);
        let [middle_der, lower_der] = [&middle, &lower].map(|issuer| issuer.der().clone());
        for chain in [
            vec![client(&middle), middle_der.clone()],
            vec![client(&lower), middle_der.clone(), lower_der.clone()],
        ] {
            let verdict = store_of(&[&top]).judge(&chain, NOW).verdict;
            match (offence, &verdict) {
                (None, Verdict::Success(path)) => {
                    assert_eq!(path.intermediates.len(), chain.len() - 1, "{row:?}");
                    assert_eq!(path.intermediates.last(), Some(&middle_der), "{row:?}");
                    assert_eq!(*path.anchor, *top.der());
                }
                (Some(wanted), Verdict::Failed(reason)) if wanted == reason => {}
                _ => panic!("{row:?}: {verdict:?}"),
            }
        }
    }
}

fn ca_params_within(organization: &str, name: &str) -> CertificateParams {
    let mut params = ca_params(name);
    params.distinguished_name = within(organization, name);
    params
}

/// Only `Here` below it.
fn bound(name: &str) -> CertificateParams {
    let mut params = ca_params_within("Here", name);
    params.name_constraints = Some(here(vec![]));
    params
}

fn here(more: Vec<GeneralSubtree>) -> NameConstraints {
    let mut here = DistinguishedName::new();
    here.push(DnType::OrganizationName, "Here");
    let permitted = [vec![GeneralSubtree::DirectoryName(here)], more].concat();
    NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: vec![],
    }
}

fn client_within(organization: &str, by: &Issuer) -> CertificateDer<'static> {
    let mut params = params("leaf");
    params.distinguished_name = within(organization, "leaf");
    leaf(params, by)
}

/// What is asked of every intermediate is asked of one with constraints and of one above it, which webpki does not see.
#[test]
fn a_constrained_intermediate_must_be_sound_otherwise() {
    type Spoil = fn(&mut CertificateParams);
    let spoiled: [(&str, Spoil); 8] = [
        ("nothing", |_| {}),
        ("expired", |p| p.not_after = date_time_ymd(2026, 7, 1)),
        ("not begun", |p| p.not_before = date_time_ymd(2026, 12, 1)),
        ("no CA", |p| p.is_ca = IsCa::ExplicitNoCa),
        ("signs lists alone", |p| {
            p.key_usages = vec![KeyUsagePurpose::CrlSign];
        }),
        ("for servers", |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
        ("has a path length", |p| {
            p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        }),
        ("insists on something", |p| {
            let id = [1, 3, 6, 1, 4, 1, 99999, 1];
            let mut unknown = rcgen::CustomExtension::from_oid_content(&id, vec![5, 0]);
            unknown.set_criticality(true);
            p.custom_extensions.push(unknown);
        }),
    ];
    for (what, spoil) in spoiled {
        for place in ["above", "itself"] {
            let params = |name, params: fn(&str) -> CertificateParams| {
                let mut params = params(name);
                if name == place {
                    spoil(&mut params);
                }
                params
            };
            let top = root(ca_params("top"));
            let above = intermediate(params("above", ca_params), &top);
            let itself = intermediate(params("itself", bound), &above);
            let below = intermediate(ca_params_within("Here", "below"), &itself);
            let chain = [
                client_within("Here", &below),
                below.der().clone(),
                itself.der().clone(),
                above.der().clone(),
            ];
            let verdict = store_of(&[&top]).judge(&chain, NOW).verdict;
            let succeeds = matches!(verdict, Verdict::Success(_));
            assert_eq!(succeeds, what == "nothing", "{place} {what}: {verdict:?}");
        }
    }
}

/// One below another: both bind.
#[test]
fn constraints_of_several_intermediates_add_up() {
    let top = root(ca_params("top"));
    let upper = intermediate(bound("upper"), &top);
    for (organization, succeeds) in [("Here", true), ("There", false)] {
        let mut params = ca_params_within("Here", "lower");
        let address = GeneralSubtree::Rfc822Name("good.example".to_owned());
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![address],
            excluded_subtrees: vec![],
        });
        let lower = intermediate(params, &upper);
        let chain = [
            client_within(organization, &lower),
            lower.der().clone(),
            upper.der().clone(),
        ];
        let verdict = store_of(&[&top]).judge(&chain, NOW).verdict;
        let does = matches!(verdict, Verdict::Success(_));
        assert_eq!(does, succeeds, "{organization}: {verdict:?}");
    }
}

/// webpki does not see the constraints of what stands above, so that nothing which it should evaluate may be among them.
#[test]
fn hosts_are_not_constrained_above_a_constrained_intermediate() {
    let top = root(ca_params("top"));
    let mut upper = bound("upper");
    upper.name_constraints = Some(here(vec![GeneralSubtree::DnsName("x.example".to_owned())]));
    let upper = intermediate(upper, &top);
    let store = store_of(&[&top]);
    let direct = [client_within("Here", &upper), upper.der().clone()];
    let verdict = store.judge(&direct, NOW).verdict;
    assert!(matches!(verdict, Verdict::Success(_)), "{verdict:?}");
    let lower = intermediate(bound("lower"), &upper);
    let chain = [
        client_within("Here", &lower),
        lower.der().clone(),
        upper.der().clone(),
    ];
    assert_eq!(refusal(&store, &chain), Reason::PermittedViolation);
}

/// An anchor's, which webpki does not see either then, are evaluated here, whatever kind they are.
#[test]
fn hosts_that_an_anchor_permits_bind_below_a_constrained_intermediate() {
    let mut top = ca_params("top");
    top.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("good.example".to_owned())],
        excluded_subtrees: vec![],
    });
    let top = root(top);
    let middle = intermediate(bound("middle"), &top);
    for (host, succeeds) in [("a.good.example", true), ("a.bad.example", false)] {
        let mut params = params("leaf");
        params.distinguished_name = within("Here", "leaf");
        params.subject_alt_names = vec![SanType::DnsName(host.try_into().unwrap())];
        let chain = [leaf(params, &middle), middle.der().clone()];
        let verdict = store_of(&[&top]).judge(&chain, NOW).verdict;
        let does = matches!(verdict, Verdict::Success(_));
        assert_eq!(does, succeeds, "{host}: {verdict:?}");
    }
}

/// A peer's own certificates lead nowhere, whatever names they bear.
#[test]
fn a_forged_intermediate_with_constraints_is_none() {
    let (ours, theirs) = (root(ca_params("root")), root(ca_params("root")));
    for by in [&theirs, &ours] {
        let middle = intermediate(bound("middle"), by);
        let mut der = middle.der().to_vec();
        if std::ptr::eq(by, &raw const ours) {
            // In the signature.
            let last = der.len() - 1;
            der[last] ^= 1;
        }
        let chain = [client_within("Here", &middle), CertificateDer::from(der)];
        assert_eq!(
            refusal(&store_of(&[&ours]), &chain),
            Reason::SignatureFailure
        );
    }
}

#[test]
fn a_path_through_constraints_is_no_longer_than_another() {
    let top = root(ca_params("top"));
    for (length, succeeds) in [(6, true), (7, false)] {
        let mut issuers = vec![intermediate(bound("bound"), &top)];
        for number in 1..length {
            let params = ca_params_within("Here", &number.to_string());
            issuers.push(intermediate(params, &issuers[number - 1]));
        }
        let client = client_within("Here", &issuers[length - 1]);
        let others = issuers.iter().map(|issuer| issuer.der().clone());
        let chain: Vec<_> = std::iter::once(client).chain(others).collect();
        let verdict = store_of(&[&top]).judge(&chain, NOW).verdict;
        let does = matches!(verdict, Verdict::Success(_));
        assert_eq!(does, succeeds, "{length}: {verdict:?}");
    }
}

/// Nine that the CA did certify, under three names, each naming the next as its issuer too: a partner's whole set of
/// certificates, and a client that none of them issued.
#[test]
fn many_constrained_intermediates_cost_little() {
    let top = root(ca_params("top"));
    let names = ["a", "b", "c"];
    let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
    let issuers =
        std::array::from_fn::<_, 3, _>(|at| rcgen::Issuer::new(bound(names[at]), &keys[at]));
    let mut chain = vec![client_within("Here", &intermediate(bound("a"), &top))];
    for at in 0..3 {
        let params = || bound(names[at]);
        let by_top = params().signed_by(&keys[at], &top).unwrap();
        let crossed = [1, 2].map(|other| &issuers[(at + other) % 3]);
        let crossed = crossed.map(|issuer| params().signed_by(&keys[at], issuer).unwrap());
        chain.push(by_top.der().clone());
        chain.extend(crossed.map(|certificate| certificate.der().clone()));
    }
    let store = store_of(&[&top]);
    let start = std::time::Instant::now();
    let reason = refusal(&store, &chain);
    let took = start.elapsed();
    println!("{reason:?} after {took:?}");
    assert!(took < Duration::from_millis(500), "took {took:?}");
}

fn within(organization: &str, name: &str) -> DistinguishedName {
    let mut whole = DistinguishedName::new();
    whole.push(DnType::OrganizationName, organization);
    whole.push(DnType::CommonName, name);
    whole
}

/// The leaf's organization and alternative names, what is permitted and excluded, and what is said.
#[derive(Debug)]
struct Row(
    &'static str,
    Vec<SanType>,
    Vec<GeneralSubtree>,
    Vec<GeneralSubtree>,
    Option<Reason>,
);

fn constrained_rows() -> Vec<Row> {
    use GeneralSubtree::{DirectoryName, DnsName, Rfc822Name};
    let mut here = DistinguishedName::new();
    here.push(DnType::OrganizationName, "Here");
    let here = || vec![DirectoryName(here.clone())];
    let address = || vec![Rfc822Name("good.example".to_owned())];
    let dns = || vec![DnsName("good.example".to_owned())];
    let email = |text: &str| vec![SanType::Rfc822Name(text.try_into().unwrap())];
    let host = |text: &str| vec![SanType::DnsName(text.try_into().unwrap())];
    let (good, bad) = (|| email("a@good.example"), || email("a@bad.example"));
    let outside = Some(Reason::PermittedViolation);
    let inside = Some(Reason::ExcludedViolation);
    let all = || [here(), dns(), address()].concat();
    vec![
        Row("Here", vec![], here(), vec![], None),
        Row("There", vec![], here(), vec![], outside),
        Row("Here", vec![], vec![], here(), inside),
        Row("There", vec![], vec![], here(), None),
        Row("x", good(), address(), vec![], None),
        Row("x", bad(), address(), vec![], outside),
        Row("x", [good(), bad()].concat(), address(), vec![], outside),
        Row("x", good(), vec![], address(), inside),
        Row("x", bad(), vec![], address(), None),
        Row(
            "Here",
            [host("a.good.example"), good()].concat(),
            all(),
            vec![],
            None,
        ),
        Row("Here", host("bad.example"), all(), vec![], outside),
    ]
}
