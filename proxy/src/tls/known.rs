//! The keys of a store's CAs, read once. The library reads a key anew for each signature, and checks that
//! it lies on its curve: with P-256 that is some 2 µs of 60.

use std::collections::HashMap;

use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey};
use bytes::Bytes;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use super::facts::PublicKey;

/// The algorithms of webpki, of which those of two kinds of CA know the store's keys.
#[derive(Debug)]
pub(super) struct KnownKeys {
    of_kinds: [Known; 2],
    others: &'static [&'static dyn SignatureVerificationAlgorithm],
}

/// An algorithm that has some keys at hand, and reads all others as `algorithm` does.
#[derive(Debug)]
struct Known {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    ours: &'static EcdsaVerificationAlgorithm,
    keys: HashMap<Bytes, ParsedPublicKey>,
}

impl KnownKeys {
    pub(super) fn new(others: &'static [&'static dyn SignatureVerificationAlgorithm]) -> Self {
        use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ECDSA_P384_SHA384};
        let known = |algorithm, ours| Known {
            algorithm,
            ours,
            keys: HashMap::new(),
        };
        Self {
            of_kinds: [
                known(ECDSA_P256_SHA256, &signature::ECDSA_P256_SHA256_ASN1),
                known(ECDSA_P384_SHA384, &signature::ECDSA_P384_SHA384_ASN1),
            ],
            others,
        }
    }

    /// Adds a CA's key. One that can't be read is left to those who say so, and so is one in any form but
    /// the uncompressed (RFC 5480 §2.2): the library would read some that webpki refuses.
    pub(super) fn add(&mut self, key: &PublicKey) {
        if key.octets.first() != Some(&UNCOMPRESSED) {
            return;
        }
        let suits = |known: &&mut Known| *known.algorithm.public_key_alg_id() == *key.algorithm;
        for known in self.of_kinds.iter_mut().filter(suits) {
            if let Ok(parsed) = ParsedPublicKey::new(known.ours, &key.octets) {
                known.keys.insert(key.octets.clone(), parsed);
            }
        }
    }

    /// All algorithms; webpki takes the first that suits.
    pub(super) fn algorithms(&self) -> Vec<&dyn SignatureVerificationAlgorithm> {
        let mut all = Vec::with_capacity(self.of_kinds.len() + self.others.len());
        for known in &self.of_kinds {
            all.push(known as &dyn SignatureVerificationAlgorithm);
        }
        all.extend_from_slice(self.others);
        all
    }
}

impl SignatureVerificationAlgorithm for Known {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        match self.keys.get(public_key) {
            Some(key) => key
                .verify_sig(message, signature)
                .map_err(|_unspecified| InvalidSignature),
            None => self
                .algorithm
                .verify_signature(public_key, message, signature),
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.algorithm.fips()
    }
}

/// First octet of a point with both coordinates (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
    use rcgen::{PublicKeyData as _, SigningKey as _};
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::super::facts::Facts;
    use super::*;

    fn known() -> KnownKeys {
        KnownKeys::new(default_provider().signature_verification_algorithms.all)
    }

    fn public(key: &KeyPair) -> PublicKey {
        let certificate = CertificateParams::default().self_signed(key).unwrap();
        Facts::read(certificate.der()).unwrap().key
    }

    #[test]
    fn a_known_key_decides_as_an_unknown_one() {
        for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
            let [own, other] = [(); 2].map(|()| KeyPair::generate_for(kind).unwrap());
            let mut known = known();
            known.add(&public(&own));
            let kept = known.of_kinds.iter().map(|kind| kind.keys.len());
            assert_eq!(kept.sum::<usize>(), 1);
            for (key, forger) in [(&own, &other), (&other, &own)] {
                let public = public(key);
                let all = known.algorithms();
                let mut suitable = all.iter();
                let algorithm = suitable
                    .find(|algorithm| *algorithm.public_key_alg_id() == *public.algorithm)
                    .unwrap();
                let says = |message, signature: &[u8]| {
                    let said = algorithm.verify_signature(&public.octets, message, signature);
                    said.is_ok()
                };
                assert!(says(b"said", &key.sign(b"said").unwrap()));
                assert!(!says(b"sold", &key.sign(b"said").unwrap()));
                assert!(!says(b"said", &forger.sign(b"said").unwrap()));
                assert!(!says(b"said", &[]));
            }
        }
    }

    /// aws-lc-rs takes a whole SubjectPublicKeyInfo for a key, which webpki does not.
    #[test]
    fn a_key_in_a_form_that_webpki_refuses_stays_refused() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut odd = public(&key);
        odd.octets = Bytes::from(key.subject_public_key_info());
        assert!(ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, &odd.octets).is_ok());
        let mut known = known();
        known.add(&odd);
        let signature = key.sign(b"said").unwrap();
        for algorithm in known.algorithms() {
            let said = algorithm.verify_signature(&odd.octets, b"said", &signature);
            assert!(said.is_err(), "{algorithm:?}");
        }
    }

    /// webpki chooses by the two names.
    #[test]
    fn each_kind_stands_for_one_of_the_librarys() {
        let known = known();
        for kind in &known.of_kinds {
            let same = known.others.iter().filter(|other| {
                other.public_key_alg_id() == kind.public_key_alg_id()
                    && other.signature_alg_id() == kind.signature_alg_id()
            });
            assert_eq!(same.count(), 1);
        }
        assert_eq!(known.algorithms().len(), known.others.len() + 2);
    }
}
