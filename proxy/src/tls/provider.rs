//! The cryptography of connections: aws-lc, with the cipher suites of ring where those are faster.
//!
//! aws-lc has AES-GCM for AES-NI and for AVX-512. Between the two (AMD Zen 3, Intel Alder Lake) there is VAES with
//! AVX2, for which ring has code of its own: a record of 16 KiB takes 2.1 µs there and not 3.9, one of 300 B 0.17 and
//! not 0.21 (AES-128, AMD EPYC of 2021). A suite's hash comes with it. Key exchange and signatures are aws-lc's
//! everywhere.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::{CipherSuite, SupportedCipherSuite};

/// The one provider of all connections.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        if is_between() {
            for suite in &mut provider.cipher_suites {
                *suite = of_ring(*suite);
            }
        }
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

/// The same suite by ring, if it is one of TLS 1.3 with AES-GCM.
fn of_ring(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    if !AES_GCM.contains(&suite.suite()) {
        return suite;
    }
    let mut others = ring::ALL_CIPHER_SUITES.iter();
    let other = others.find(|other| other.suite() == suite.suite());
    other.copied().unwrap_or(suite)
}

/// Whether this processor has VAES for AVX2 and not for AVX-512.
#[cfg(target_arch = "x86_64")]
fn is_between() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("vaes") && has!("vpclmulqdq") && has!("avx2") && !has!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
const fn is_between() -> bool {
    false
}

const AES_GCM: [CipherSuite; 2] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
];

#[cfg(test)]
mod tests {
    use rustls::crypto::cipher::{
        AeadKey, InboundOpaqueMessage, Iv, OutboundChunks, OutboundPlainMessage,
    };
    use rustls::{ContentType, ProtocolVersion, Tls13CipherSuite};

    use super::*;

    /// The suites that are ring's, beside aws-lc's.
    fn pairs() -> Vec<(&'static Tls13CipherSuite, &'static Tls13CipherSuite)> {
        let suites = aws_lc_rs::ALL_CIPHER_SUITES.iter();
        let pairs = suites.filter_map(|suite| Some((suite.tls13()?, of_ring(*suite).tls13()?)));
        pairs
            .filter(|(ours, theirs)| !std::ptr::eq(*ours, *theirs))
            .collect()
    }

    #[test]
    fn only_aes_gcm_of_tls_1_3_is_another() {
        let names: Vec<_> = pairs().iter().map(|(ours, _)| ours.common.suite).collect();
        assert!(AES_GCM.iter().all(|name| names.contains(name)));
        assert_eq!(names.len(), AES_GCM.len());
        for (ours, theirs) in pairs() {
            assert_eq!(ours.common.suite, theirs.common.suite);
            assert_eq!(
                ours.common.confidentiality_limit,
                theirs.common.confidentiality_limit
            );
        }
        for suite in aws_lc_rs::ALL_CIPHER_SUITES {
            assert_eq!(of_ring(*suite).suite(), suite.suite());
        }
    }

    /// What one seals the other opens, so that either will do.
    #[test]
    fn records_are_the_same_whoever_seals_them() {
        // The only length that a key can be made of outside rustls.
        let pairs = pairs();
        let (ours, theirs) = pairs
            .iter()
            .find(|(ours, _)| ours.aead_alg.key_len() == 32)
            .unwrap();
        let key = || AeadKey::from([7; 32]);
        let mut seal = theirs.aead_alg.encrypter(key(), Iv::copy(&[1; 12]));
        let mut open = ours.aead_alg.decrypter(key(), Iv::copy(&[1; 12]));
        let message = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_3,
            payload: OutboundChunks::Single(b"a record"),
        };
        let mut sealed = seal.encrypt(message, 0).unwrap().encode();
        let record = InboundOpaqueMessage::new(
            ContentType::ApplicationData,
            ProtocolVersion::TLSv1_2,
            &mut sealed[5..],
        );
        assert_eq!(open.decrypt(record, 0).unwrap().payload, b"a record");
    }

    #[test]
    fn hashes_and_keys_are_the_same_whoever_derives_them() {
        for (ours, theirs) in pairs() {
            let digests = [ours, theirs].map(|suite| suite.common.hash_provider.hash(b"said"));
            assert_eq!(digests[0].as_ref(), digests[1].as_ref());
            let derived = [ours, theirs].map(|suite| {
                let mut key = [0; 32];
                let expander = suite
                    .hkdf_provider
                    .extract_from_secret(Some(b"salt"), b"secret");
                expander.expand_slice(&[b"info"], &mut key).unwrap();
                key
            });
            assert_eq!(derived[0], derived[1]);
        }
    }
}
