use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::*;

mod constraints;
mod loading;
mod search;

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
    assert_eq!(*path.anchor, *root.der());
    assert_eq!(&*path.store, "test");

    let at_the_end = store_of(&[&root]).judge(&chain, DECEMBER);
    assert!(
        matches!(at_the_end.verdict, Verdict::Failed(_)),
        "{at_the_end:?}"
    );
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
