//! What a trust store is made of, and what stops its loading.

use super::*;

fn load(pem: &str) -> String {
    TrustStore::load("s", &[("dir/ca.pem".into(), pem.as_bytes().to_vec())])
        .map(|store| store.len())
        .unwrap_err()
        .to_string()
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
