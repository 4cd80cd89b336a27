//! The trust store of the oracle: roots of every key kind and roots with something wrong, all loaded by both proxies.

use rcgen::RsaKeySize;

use super::constraints;
use super::der::{element, generalized, oid, sequence};
use super::names::{attribute, common_name, name, rdn};
use super::{
    Ca, DNS, KEY_CERT_SIGN, Key, NAME_CONSTRAINTS, SERVER_AUTH, Spec, ca_true, extension,
    general_names, key_usage, subject_key_id, usage,
};
use crate::pki;

/// The CAs and a key for leaves.
#[derive(Clone, Debug)]
pub struct World {
    /// The key most leaves have.
    pub key: Key,
    /// Roots in the store, by key kind.
    pub p256: Ca,
    pub p384: Ca,
    pub p521: Ca,
    pub ed25519: Ca,
    pub rsa: Ca,
    pub rsa3072: Ca,
    /// In the store: signs with SHA-1, with MD5, with 1024 bits.
    pub sha1: Ca,
    pub md5: Ca,
    pub rsa1024: Ca,
    /// In the store, with a fault of its own.
    pub expired: Ca,
    pub future: Ca,
    pub no_intermediates: Ca,
    pub server_only: Ca,
    pub critical: Ca,
    pub constrained: Ca,
    /// In the store, one for each set of `constraints::subtrees`.
    pub limited: Vec<Ca>,
    /// In the store, odd but sound.
    pub no_key_usage: Ca,
    pub with_key_id: Ca,
    pub nameless: Ca,
    pub odd_name: Ca,
    pub long_lived: Ca,
    /// In the store: two roots of the same name.
    pub twins: [Ca; 2],
    /// In the store: an intermediate whose root is not.
    pub intermediate: Ca,
    /// Not in the store.
    pub stranger: Ca,
}

impl World {
    pub fn new() -> Self {
        let key = Key::p256();
        let root = |name: &str, key: Key| Spec::ca(name, &key).self_signed();
        let with = |name: &str, extension: Vec<u8>| {
            Spec::ca(name, &Key::p256()).and(extension).self_signed()
        };
        let old = Spec::ca("Expired Root", &Key::p256()).valid("000101000000Z", "100101000000Z");
        let new = Spec::ca("Future Root", &Key::p256()).valid("480101000000Z", "491231235959Z");
        let stranger = root("Strange Root", Key::p256());
        let missing = root("Missing Root", Key::p256());
        let short = [ca_true(Some(0)), key_usage(KEY_CERT_SIGN)];
        let mut nameless = Spec::ca("", &Key::p256());
        nameless.subject = name(&[]);
        let mut odd_name = Spec::ca("", &Key::p256());
        odd_name.subject = odd();
        let mut long_lived = Spec::ca("Long Root", &Key::p256());
        long_lived.validity = [
            generalized("19700101000000Z"),
            generalized("99991231235959Z"),
        ];
        Self {
            p256: root("Root P-256", key.clone()),
            p384: root("Root P-384", Key::p384()),
            p521: root("Root P-521", Key::p521()),
            ed25519: root("Root Ed25519", Key::ed25519()),
            rsa: root("Root RSA", Key::rsa(RsaKeySize::_2048)),
            rsa3072: root("Root RSA 3072", Key::rsa(RsaKeySize::_3072)),
            sha1: root("Root SHA-1", Key::legacy_rsa(2048, "sha1")),
            md5: root("Root MD5", Key::legacy_rsa(2048, "md5")),
            rsa1024: root("Root RSA 1024", Key::legacy_rsa(1024, "sha256")),
            expired: old.self_signed(),
            future: new.self_signed(),
            no_intermediates: Spec::ca("Short Root", &Key::p256())
                .only(&short)
                .self_signed(),
            server_only: with("Server Root", usage(&[SERVER_AUTH])),
            critical: with("Critical Root", extension("1.2.3.4.5", true, &[5, 0])),
            constrained: with("Constrained Root", permitted_dns("example.test")),
            limited: constraints::subtrees()
                .iter()
                .map(|(what, _, subtrees)| {
                    let constraints = extension(NAME_CONSTRAINTS, true, &sequence(&[subtrees]));
                    with(&format!("Root, {what}"), constraints)
                })
                .collect(),
            no_key_usage: Spec::ca("Free Root", &Key::p256())
                .only(&[ca_true(None)])
                .self_signed(),
            with_key_id: with("Identified Root", subject_key_id(b"root key id")),
            nameless: nameless.self_signed(),
            odd_name: odd_name.self_signed(),
            long_lived: long_lived.self_signed(),
            twins: [
                root("Twin Root", Key::p256()),
                root("Twin Root", Key::p256()),
            ],
            intermediate: Spec::ca("Anchored Intermediate", &Key::p256()).below(&missing),
            stranger,
            key: Key::p256(),
        }
    }

    /// The PEM file both proxies get.
    pub fn pem(&self) -> String {
        let Self {
            twins: [twin, other],
            ..
        } = self;
        let roots = [
            &self.p256,
            &self.p384,
            &self.p521,
            &self.ed25519,
            &self.rsa,
            &self.rsa3072,
            &self.sha1,
            &self.md5,
            &self.rsa1024,
            &self.expired,
            &self.future,
            &self.no_intermediates,
            &self.server_only,
            &self.critical,
            &self.constrained,
            &self.no_key_usage,
            &self.with_key_id,
            &self.nameless,
            &self.odd_name,
            &self.long_lived,
            twin,
            other,
            &self.intermediate,
        ];
        let roots = roots.into_iter().chain(&self.limited);
        roots.map(|root| pki::pem(&root.der)).collect()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// nameConstraints that permit one DNS subtree.
pub fn permitted_dns(base: &str) -> Vec<u8> {
    let subtree = general_names(&[(DNS, base.as_bytes())]);
    extension(
        NAME_CONSTRAINTS,
        true,
        &sequence(&[&element(0xA0, &[&subtree])]),
    )
}

/// A name with a little of everything, as an issuer's.
fn odd() -> Vec<u8> {
    let unknown = sequence(&[
        &oid("1.3.6.1.4.1.55555.7"),
        &element(0x0C, &["Ünknown".as_bytes()]),
    ]);
    let pair = [
        attribute("2.5.4.11", 0x0C, b"Unit+1"),
        attribute("2.5.4.10", 0x13, b"Org/2"),
    ];
    name(&[
        rdn(&[attribute("2.5.4.6", 0x13, b"AT")]),
        rdn(&pair),
        rdn(&[unknown]),
        common_name("Odd, \"Root\"")[2..].to_vec(),
    ])
}
