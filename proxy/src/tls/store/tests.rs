use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    SanType, date_time_ymd,
};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// 2026-08-01T00:00:00Z, inside every validity below that does not say otherwise.
const NOW: u64 = 1_785_542_400;
/// 2026-12-01T00:00:00Z
const DECEMBER: u64 = 1_796_083_200;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn root(params: CertificateParams) -> Issuer {
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn intermediate(params: CertificateParams, by: &Issuer) -> Issuer {
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), by).unwrap()
}

fn leaf(params: CertificateParams, by: &Issuer) -> CertificateDer<'static> {
    params
        .signed_by(&KeyPair::generate().unwrap(), by)
        .unwrap()
        .der()
        .clone()
}

fn store_of(roots: &[&Issuer]) -> TrustStore {
    let pem: String = roots.iter().map(|root| root.pem()).collect();
    TrustStore::load("test", &[("ca.pem".into(), pem.into_bytes())]).unwrap()
}

fn failure(judgement: &Judgement) -> Reason {
    match &judgement.verdict {
        Verdict::Failed(reason) => *reason,
        other => panic!("not a failure: {other:?}"),
    }
}

fn refusal(store: &TrustStore, chain: &[CertificateDer<'_>]) -> Reason {
    failure(&store.judge(chain, NOW))
}

fn load(pem: &str) -> String {
    TrustStore::load("s", &[("dir/ca.pem".into(), pem.as_bytes().to_vec())])
        .map(|store| store.len())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_good_chain_succeeds_until_its_first_certificate_ends() {
    let mut root_params = ca_params("root");
    root_params.not_after = date_time_ymd(2036, 1, 1);
    let root = root(root_params);
    let mut middle_params = ca_params("middle");
    middle_params.not_after = date_time_ymd(2026, 12, 1);
    let middle = intermediate(middle_params, &root);
    let chain = [leaf(params("leaf"), &middle), middle.der().clone()];

    let judgement = store_of(&[&root]).judge(&chain, NOW);
    assert_eq!(judgement.holds_until, DECEMBER);
    let Verdict::Success(path) = judgement.verdict else {
        panic!("{judgement:?}")
    };
    assert_eq!(path.intermediates, [middle.der().clone()]);
    assert_eq!(path.anchor, *root.der());
    assert_eq!(&*path.store, "test");

    let at_the_end = store_of(&[&root]).judge(&chain, DECEMBER);
    assert!(
        matches!(at_the_end.verdict, Verdict::Failed(_)),
        "{at_the_end:?}"
    );
}

#[test]
fn unrelated_and_repeated_certificates_do_not_spoil_a_chain() {
    let (root, stranger) = (root(ca_params("root")), root(ca_params("stranger")));
    let middle = intermediate(ca_params("middle"), &root);
    let leaf = leaf(params("leaf"), &middle);
    let mut chain = vec![leaf, stranger.der().clone()];
    chain.extend(vec![middle.der().clone(); 7]);
    let judgement = store_of(&[&root]).judge(&chain, NOW);
    let Verdict::Success(path) = judgement.verdict else {
        panic!("{judgement:?}")
    };
    assert_eq!(path.intermediates.len(), 1);
}

#[test]
fn no_certificate_is_none_for_ever() {
    let judgement = store_of(&[&root(ca_params("root"))]).judge(&[], NOW);
    assert!(matches!(judgement.verdict, Verdict::None));
    assert_eq!(judgement.holds_until, u64::MAX);
}

#[test]
fn an_anchors_own_dates_count() {
    // webpki takes an anchor for a name and a key; OpenSSL and we read the whole certificate.
    let mut old = ca_params("root");
    old.not_after = date_time_ymd(2026, 7, 1);
    let old = root(old);
    assert_eq!(
        refusal(&store_of(&[&old]), &[leaf(params("leaf"), &old)]),
        Reason::Expired
    );
    let mut new = ca_params("root");
    new.not_before = date_time_ymd(2026, 12, 1);
    let new = root(new);
    let judgement = store_of(&[&new]).judge(&[leaf(params("leaf"), &new)], NOW);
    assert_eq!(failure(&judgement), Reason::NotYetValid);
    assert_eq!(judgement.holds_until, DECEMBER);
}

#[test]
fn a_leaf_not_yet_valid_is_asked_again_when_it_begins() {
    let root = root(ca_params("root"));
    let mut future = params("leaf");
    future.not_before = date_time_ymd(2026, 12, 1);
    let chain = [leaf(future, &root)];
    let store = store_of(&[&root]);
    let judgement = store.judge(&chain, NOW);
    assert_eq!(failure(&judgement), Reason::NotYetValid);
    assert_eq!(judgement.holds_until, DECEMBER);
    assert!(matches!(
        store.judge(&chain, DECEMBER).verdict,
        Verdict::Success(_)
    ));
    assert!(matches!(
        store.judge(&chain, DECEMBER - 1).verdict,
        Verdict::Failed(_)
    ));
}

#[test]
fn an_expired_leaf_stays_expired() {
    let root = root(ca_params("root"));
    let mut past = params("leaf");
    past.not_after = date_time_ymd(2026, 7, 1);
    let judgement = store_of(&[&root]).judge(&[leaf(past, &root)], DECEMBER * 2);
    assert_eq!(failure(&judgement), Reason::Expired);
    assert_eq!(judgement.holds_until, u64::MAX);
}

#[test]
fn unknown_issuers_are_told_apart_as_openssl_does() {
    let (ours, theirs) = (root(ca_params("ours")), root(ca_params("theirs")));
    let store = store_of(&[&ours]);
    let foreign = leaf(params("leaf"), &theirs);
    assert_eq!(
        refusal(&store, std::slice::from_ref(&foreign)),
        Reason::UnableToVerifyLeaf
    );
    assert_eq!(
        refusal(&store, &[foreign, theirs.der().clone()]),
        Reason::SelfSignedInChain
    );
    let middle = intermediate(ca_params("middle"), &theirs);
    let chain = [leaf(params("leaf"), &middle), middle.der().clone()];
    assert_eq!(refusal(&store, &chain), Reason::UnableToGetIssuerLocally);
    let own = KeyPair::generate().unwrap();
    let own = params("self").self_signed(&own).unwrap().der().clone();
    assert_eq!(refusal(&store, &[own]), Reason::SelfSigned);
}

#[test]
fn a_certificate_of_the_right_name_and_wrong_key_is_a_signature_failure() {
    let ours = root(ca_params("root"));
    let theirs = root(ca_params("root"));
    let reason = refusal(&store_of(&[&ours]), &[leaf(params("leaf"), &theirs)]);
    // rcgen gives authority key identifiers only when asked, so the names alone lead to our root.
    assert_eq!(reason, Reason::SignatureFailure);
}

#[test]
fn usages_that_exclude_tls_clients_fail() {
    let root = root(ca_params("root"));
    let store = store_of(&[&root]);
    let mut server = params("leaf");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert_eq!(
        refusal(&store, &[leaf(server, &root)]),
        Reason::InvalidPurpose
    );
    let mut encipher = params("leaf");
    encipher.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    // webpki does not look at key usage; OpenSSL and we do.
    assert_eq!(
        refusal(&store, &[leaf(encipher, &root)]),
        Reason::InvalidPurpose
    );
    let mut client = params("leaf");
    client.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert!(matches!(
        store.judge(&[leaf(client, &root)], NOW).verdict,
        Verdict::Success(_)
    ));
}

#[test]
fn issuers_must_be_cas_that_may_sign() {
    let root = root(ca_params("root"));
    let store = store_of(&[&root]);
    let no_ca = intermediate(params("middle"), &root);
    let chain = [leaf(params("leaf"), &no_ca), no_ca.der().clone()];
    assert_eq!(refusal(&store, &chain), Reason::InvalidPurpose);
    let mut crl_only = ca_params("middle");
    crl_only.key_usages = vec![KeyUsagePurpose::CrlSign];
    let crl_only = intermediate(crl_only, &root);
    let chain = [leaf(params("leaf"), &crl_only), crl_only.der().clone()];
    assert!(matches!(
        store.judge(&chain, NOW).verdict,
        Verdict::Failed(_)
    ));
}

#[test]
fn path_lengths_count_the_anchors_too() {
    let mut short = ca_params("root");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = root(short);
    let middle = intermediate(ca_params("middle"), &root);
    let chain = [leaf(params("leaf"), &middle), middle.der().clone()];
    assert_eq!(
        refusal(&store_of(&[&root]), &chain),
        Reason::PathLengthExceeded
    );
}

/// Constraints on directory names and e-mail addresses bind below an anchor, whose others bind as ever. Below an
/// intermediate they are refused unread: webpki evaluates neither, and takes what it can't evaluate for an offence.
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
        let chain = [client(&middle), middle.der().clone()];
        let reason = refusal(&store_of(&[&top]), &chain);
        let wanted = offence.unwrap_or(Reason::PermittedViolation);
        assert_eq!(reason, wanted, "{row:?}");
    }
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

/// A critical extension that nobody knows, wherever in the path it stands.
#[test]
fn unknown_critical_extensions_fail_everywhere_in_the_path() {
    let insists = |mut params: CertificateParams, does: bool| {
        let mut extension =
            rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.extend(does.then_some(extension));
        params
    };
    for place in 0..4 {
        let root = root(insists(ca_params("root"), place == 2));
        let middle = intermediate(insists(ca_params("middle"), place == 1), &root);
        let client = leaf(insists(params("leaf"), place == 0), &middle);
        let verdict = store_of(&[&root])
            .judge(&[client, middle.der().clone()], NOW)
            .verdict;
        match (place, &verdict) {
            (3, Verdict::Success(_)) | (_, Verdict::Failed(Reason::UnhandledCriticalExtension)) => {
            }
            _ => panic!("{place}: {verdict:?}"),
        }
    }
}

#[test]
fn an_intermediate_may_be_an_anchor() {
    let root = root(ca_params("root"));
    let middle = intermediate(ca_params("middle"), &root);
    let judgement = store_of(&[&middle]).judge(&[leaf(params("leaf"), &middle)], NOW);
    assert!(
        matches!(judgement.verdict, Verdict::Success(_)),
        "{judgement:?}"
    );
}

#[test]
fn long_and_large_chains_are_not_looked_at() {
    let root = root(ca_params("root"));
    let store = store_of(&[&root]);
    let leaf = leaf(params("leaf"), &root);
    assert_eq!(
        refusal(&store, &vec![leaf.clone(); CHAIN_MAX + 1]),
        Reason::ChainTooLong
    );
    let large = CertificateDer::from(vec![0; CHAIN_BYTES_MAX]);
    assert_eq!(refusal(&store, &[leaf, large]), Reason::ChainTooLong);
}

#[test]
fn few_certificates_of_one_subject_are_tried() {
    let root = root(ca_params("root"));
    let same: Vec<_> = (0..9).map(|_| leaf(ca_params("same"), &root)).collect();
    assert_eq!(issuer_candidates(&same).len(), SAME_SUBJECT_MAX);
    let different: Vec<_> = (0..9)
        .map(|n| leaf(ca_params(&n.to_string()), &root))
        .collect();
    assert_eq!(issuer_candidates(&different).len(), 9);
}

/// The issuer itself may come third among its namesakes; behind more it is not looked for.
#[test]
fn an_issuer_behind_too_many_namesakes_is_not_found() {
    let root = root(ca_params("root"));
    let store = store_of(&[&root]);
    let issuer = intermediate(ca_params("same"), &root);
    let client = leaf(params("client"), &issuer);
    let chain = |namesakes: usize| {
        let namesakes = (0..namesakes).map(|_| leaf(ca_params("same"), &root));
        let behind: Vec<_> = namesakes.chain([issuer.der().clone()]).collect();
        [std::slice::from_ref(&client), &behind].concat()
    };
    let within = store.judge(&chain(SAME_SUBJECT_MAX - 1), NOW).verdict;
    assert!(matches!(within, Verdict::Success(_)), "{within:?}");
    let beyond = refusal(&store, &chain(SAME_SUBJECT_MAX));
    assert_eq!(beyond, Reason::SignatureFailure);
}

/// One CA key, certified by an old root and by a new one, as while roots are replaced: whichever of the two is trusted, in
/// whatever order the chain comes, and also where both stand in it beside a third that expired.
#[test]
fn a_cross_signed_ca_leads_to_whichever_root_is_trusted() {
    let (old, new) = (root(ca_params("old root")), root(ca_params("new root")));
    let key = KeyPair::generate().unwrap();
    let certified = |by: &Issuer, end| {
        let mut params = ca_params("cross-signed");
        params.not_after = date_time_ymd(end, 1, 1);
        params.signed_by(&key, by).unwrap().der().clone()
    };
    let (by_old, by_new, ended) = (
        certified(&old, 2027),
        certified(&new, 2027),
        certified(&new, 2026),
    );
    let issuer = rcgen::Issuer::new(ca_params("cross-signed"), &key);
    let client = params("client")
        .signed_by(&KeyPair::generate().unwrap(), &issuer)
        .unwrap()
        .der()
        .clone();
    for trusted in [&old, &new] {
        let store = store_of(&[trusted]);
        for others in [
            vec![&by_old, &by_new],
            vec![&by_new, &by_old],
            vec![&ended, &by_old, &by_new],
        ] {
            let chain: Vec<_> = std::iter::once(&client).chain(others).cloned().collect();
            let Verdict::Success(path) = store.judge(&chain, NOW).verdict else {
                panic!("{:?}", store.judge(&chain, NOW));
            };
            assert_eq!(path.anchor, *trusted.der());
            assert_eq!(path.intermediates.len(), 1);
        }
    }
}

#[test]
fn bytes_that_are_no_certificate_fail_without_a_reason() {
    let store = store_of(&[&root(ca_params("root"))]);
    for bytes in [
        &b""[..],
        b"\x30\x00",
        b"hello",
        &[0x30, 0x03, 0x02, 0x01, 0x00],
    ] {
        assert_eq!(
            refusal(&store, &[CertificateDer::from(bytes)]),
            Reason::Unspecified
        );
    }
}

#[test]
fn every_single_byte_change_of_a_good_leaf_fails() {
    let root = root(ca_params("root"));
    let store = store_of(&[&root]);
    let good = leaf(params("leaf"), &root);
    assert!(matches!(
        store.judge(std::slice::from_ref(&good), NOW).verdict,
        Verdict::Success(_)
    ));
    for at in 0..good.len() {
        for bit in [0x01_u8, 0x80] {
            let mut bytes = good.to_vec();
            bytes[at] ^= bit;
            let verdict = store.judge(&[CertificateDer::from(bytes)], NOW).verdict;
            assert!(
                matches!(verdict, Verdict::Failed(_)),
                "byte {at}: {verdict:?}"
            );
        }
    }
}

#[test]
fn loading_names_the_file_and_block_at_fault() {
    let good = root(ca_params("root")).pem();
    let no_ca = leaf(params("leaf"), &root(ca_params("root")));
    let no_ca = CertificateDer::from(no_ca.to_vec());
    let encoded = pem_of(&no_ca);
    assert_eq!(
        load(&format!("{good}{encoded}")),
        "dir/ca.pem: block 2: not a CA certificate (basicConstraints does not say CA:TRUE)"
    );
    assert_eq!(load(""), "dir/ca.pem: no PEM certificate in this file");
    assert_eq!(
        load("a comment\n"),
        "dir/ca.pem: no PEM certificate in this file"
    );
    assert!(
        load(&good.replacen("MI", "M!", 1)).starts_with("dir/ca.pem: block 1: not readable as PEM")
    );
    assert!(load(&good[..good.len() / 2]).starts_with("dir/ca.pem: block 1: not readable as PEM"));
    let indented = format!("{good}\n  {good}");
    assert!(load(&indented).starts_with("dir/ca.pem: block 2: not readable as PEM"));
    let key = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(
        load(&format!("{good}{key}")),
        "dir/ca.pem: block 2: a PRIVATE KEY, where only CERTIFICATE is expected"
    );
    assert_eq!(
        TrustStore::load("clients", &[]).unwrap_err().to_string(),
        "trust store clients: no CA file is named"
    );
}

#[test]
fn a_ca_that_may_not_sign_is_no_anchor() {
    let mut crl_only = ca_params("root");
    crl_only.key_usages = vec![KeyUsagePurpose::CrlSign];
    assert_eq!(
        load(&root(crl_only).pem()),
        "dir/ca.pem: block 1: a CA certificate whose key usage lacks keyCertSign"
    );
}

#[test]
fn the_digest_is_of_the_set_of_anchors() {
    let (a, b) = (root(ca_params("a")), root(ca_params("b")));
    let both = store_of(&[&a, &b, &a]);
    assert_eq!(both.len(), 2);
    assert_eq!(both.digest(), store_of(&[&b, &a]).digest());
    assert_ne!(both.digest(), store_of(&[&a]).digest());
    assert_eq!(both.subjects().len(), 2);
}

fn pem_of(der: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

#[test]
fn chains_made_to_cost_time_are_refused_quickly() {
    // Nine certificates that each name each other as issuer, and nine under three names in a
    // ring. webpki tries the orders of such certificates, up to 200 000 steps of nine parsings.
    let store = store_of(&[&root(ca_params("root"))]);
    for ring in [&["a"][..], &["a", "b", "c"]] {
        let issuers: Vec<Issuer> = ring.iter().map(|name| root(ca_params(name))).collect();
        let mut chain = vec![leaf(params("leaf"), &issuers[0])];
        for at in 0..9 {
            let issuer = &issuers[(at + 1) % ring.len()];
            chain.push(leaf(ca_params(ring[at % ring.len()]), issuer));
        }
        let start = std::time::Instant::now();
        let reason = refusal(&store, &chain);
        let took = start.elapsed();
        println!("{reason:?} after {took:?}");
        assert!(took < Duration::from_millis(250), "{ring:?} took {took:?}");
    }
}
