//! The cryptography of connections: aws-lc, with the record ciphers of ring where those are faster.
//!
//! aws-lc has AES-GCM for AES-NI and for AVX-512. Between the two (AMD Zen 3, Intel Alder Lake) there is VAES with
//! AVX2, for which ring has code of its own: a record of 16 KiB takes 2.1 µs there and not 3.9, one of 300 B 0.17 and
//! not 0.21 (AES-128, AMD EPYC of 2021). Key exchange, signatures and hashes are aws-lc's everywhere.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::{CipherSuite, CipherSuiteCommon, SupportedCipherSuite, Tls13CipherSuite};

/// The one provider of all connections.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        if is_between() {
            for suite in &mut provider.cipher_suites {
                *suite = with_records_of_ring(*suite);
            }
        }
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

/// The same suite of TLS 1.3 over ring's AES-GCM; every other as it is.
fn with_records_of_ring(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    static SUITES: LazyLock<Vec<Tls13CipherSuite>> = LazyLock::new(|| {
        let ours = aws_lc_rs::ALL_CIPHER_SUITES.iter();
        let ours = ours.filter_map(SupportedCipherSuite::tls13);
        ours.filter_map(|ours| {
            let name = ours.common.suite;
            let mut others = ring::ALL_CIPHER_SUITES.iter();
            let other = others.find(|other| AES_GCM.contains(&name) && other.suite() == name)?;
            Some(Tls13CipherSuite {
                common: CipherSuiteCommon {
                    suite: name,
                    hash_provider: ours.common.hash_provider,
                    confidentiality_limit: ours.common.confidentiality_limit,
                },
                hkdf_provider: ours.hkdf_provider,
                aead_alg: other.tls13()?.aead_alg,
                quic: None,
            })
        })
        .collect()
    });
    let mut suites = SUITES.iter();
    suites
        .find(|faster| faster.common.suite == suite.suite())
        .map_or(suite, SupportedCipherSuite::Tls13)
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
    use rustls::{ContentType, ProtocolVersion};

    use super::*;

    /// What one seals the other opens, so that either will do.
    #[test]
    fn records_are_the_same_whoever_seals_them() {
        let mut seen = 0;
        for suite in aws_lc_rs::ALL_CIPHER_SUITES {
            let other = with_records_of_ring(*suite);
            assert_eq!(other.suite(), suite.suite());
            let (Some(ours), Some(theirs)) = (suite.tls13(), other.tls13()) else {
                continue;
            };
            // The only length that a key can be made of outside rustls.
            if ours.aead_alg.key_len() != 32 {
                continue;
            }
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
            seen += 1;
        }
        assert_eq!(seen, 2);
    }

    #[test]
    fn only_the_record_cipher_is_another() {
        for suite in aws_lc_rs::ALL_CIPHER_SUITES
            .iter()
            .filter_map(SupportedCipherSuite::tls13)
        {
            let other = with_records_of_ring(SupportedCipherSuite::Tls13(suite));
            let other = other.tls13().unwrap();
            assert_eq!(
                AES_GCM.contains(&suite.common.suite),
                !std::ptr::eq(suite, other)
            );
            assert!(std::ptr::addr_eq(suite.hkdf_provider, other.hkdf_provider));
            assert_eq!(
                suite.common.confidentiality_limit,
                other.common.confidentiality_limit
            );
        }
    }
}
