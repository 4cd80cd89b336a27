//! What a certificate is for, and of what kind it is: purposes, policies, extensions, key, lifetime,
//! as texts that rules compare. Takes a parsed certificate; `None` where that part of it is malformed,
//! so that no rule is met by half of a list.

use super::certificate::Certificate;
use super::der::{self, Reader};
use super::time::Time;
use super::{encode, objects};

/// The purposes of the key (RFC 5280 §4.2.1.12), dotted. Without the extension there are none: that a
/// key may be used for anything is not that it was certified for this.
pub(super) fn purposes(certificate: &Certificate<'_>) -> Option<Vec<String>> {
    let mut value = Reader::new(certificate.extension(EXTENDED_KEY_USAGE)?);
    let mut entries = value.next(der::SEQUENCE)?.inside();
    let mut purposes = Vec::new();
    while !entries.is_empty() {
        purposes.push(dotted(entries.next(der::OBJECT_IDENTIFIER)?.content)?);
    }
    value.is_empty().then_some(purposes)
}

/// The certificate policies (RFC 5280 §4.2.1.4), dotted.
pub(super) fn policies(certificate: &Certificate<'_>) -> Option<Vec<String>> {
    let mut value = Reader::new(certificate.extension(CERTIFICATE_POLICIES)?);
    let mut entries = value.next(der::SEQUENCE)?.inside();
    let mut policies = Vec::new();
    while !entries.is_empty() {
        let mut entry = entries.next(der::SEQUENCE)?.inside();
        policies.push(dotted(entry.next(der::OBJECT_IDENTIFIER)?.content)?);
    }
    value.is_empty().then_some(policies)
}

/// All extensions as `1.2.3=HEX`, the DER of their values.
pub(super) fn extensions(certificate: &Certificate<'_>) -> Option<Vec<String>> {
    let extensions = certificate.extensions()?.into_iter();
    let texts = extensions.map(|(kind, value)| {
        let mut text = dotted(kind)?.into_bytes();
        text.push(b'=');
        encode::hex_lower(&mut text, value);
        String::from_utf8(text).ok()
    });
    texts.collect()
}

/// The kind of a key (SubjectPublicKeyInfo), alone and with its size or curve.
pub(super) fn key_type(spki: &[u8]) -> Option<Vec<String>> {
    let mut info = Reader::new(spki).next(der::SEQUENCE)?.inside();
    let mut algorithm = info.next(der::SEQUENCE)?.inside();
    let kind = algorithm.next(der::OBJECT_IDENTIFIER)?.content;
    let key = info.next(der::BIT_STRING)?.content;
    let (kind, detail) = match kind {
        RSA => {
            // RSAPublicKey (RFC 8017 §A.1.1), behind the count of unused bits.
            let mut numbers = Reader::new(key.strip_prefix(&[0])?)
                .next(der::SEQUENCE)?
                .inside();
            let modulus = numbers.next(der::INTEGER)?.content;
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let modulus = modulus.get(zeros..)?;
            let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
            ("rsa", bits.to_string())
        }
        EC => {
            let curve = algorithm.next(der::OBJECT_IDENTIFIER)?.content;
            let known = CURVES.iter().find(|(oid, _)| *oid == curve);
            ("ec", known.map(|(_, name)| (*name).to_owned())?)
        }
        ED25519 => return Some(vec!["ed25519".to_owned()]),
        _ => return None,
    };
    Some(vec![kind.to_owned(), format!("{kind}-{detail}")])
}

/// What a certificate is signed with: the algorithm beside the signature (RFC 5280 §4.1.1.2).
pub(super) fn signature_algorithm(certificate: &[u8]) -> Option<String> {
    let mut parts = Reader::new(certificate).next(der::SEQUENCE)?.inside();
    parts.next(der::SEQUENCE)?;
    let mut algorithm = parts.next(der::SEQUENCE)?.inside();
    let oid = algorithm.next(der::OBJECT_IDENTIFIER)?.content;
    let known = SIGNATURES.iter().find(|(known, _)| *known == oid);
    known.map_or_else(|| dotted(oid), |(_, name)| Some((*name).to_owned()))
}

/// Seconds from the first to the last second of validity; none if the last comes first.
pub(super) fn lifetime(certificate: &Certificate<'_>) -> Option<u64> {
    let [from, to] = [&certificate.not_before, &certificate.not_after].map(Time::parse);
    u64::try_from(to?.unix().checked_sub(from?.unix())?).ok()
}

fn dotted(oid: &[u8]) -> Option<String> {
    let text = objects::dotted(oid);
    // Longer ones are cut by its printer: no two types may become the same text.
    (!text.is_empty() && text.len() < OID_MAX).then_some(text)
}

const OID_MAX: usize = 79;
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const CERTIFICATE_POLICIES: &[u8] = &[0x55, 0x1d, 32];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const CURVES: &[(&[u8], &str)] = &[
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], "p256"),
    (&[0x2b, 0x81, 4, 0, 34], "p384"),
    (&[0x2b, 0x81, 4, 0, 35], "p521"),
];

/// Names as OpenSSL prints them (RFC 8017 §A.2, RFC 5758 §3.2, RFC 8410 §3).
const SIGNATURES: &[(&[u8], &str)] = &[
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5],
        "sha1WithRSAEncryption",
    ),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10], "rsassaPss"),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11],
        "sha256WithRSAEncryption",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12],
        "sha384WithRSAEncryption",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13],
        "sha512WithRSAEncryption",
    ),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], "ecdsa-with-SHA1"),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
        "ecdsa-with-SHA256",
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
        "ecdsa-with-SHA384",
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4],
        "ecdsa-with-SHA512",
    ),
    (&[0x2b, 0x65, 0x70], "ED25519"),
];

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyPair,
        PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    };

    use super::*;

    fn with(
        algorithm: &'static rcgen::SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 31);
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn what_a_certificate_says_of_its_use() {
        // certificatePolicies: one without, one with a qualifier.
        let policies = [
            0x30, 0x15, 0x30, 0x05, 0x06, 0x03, 0x2a, 0x03, 0x04, 0x30, 0x0c, 0x06, 0x03, 0x2a,
            0x03, 0x05, 0x30, 0x05, 0x06, 0x03, 0x2a, 0x03, 0x06,
        ];
        let der = with(&PKCS_ECDSA_P384_SHA384, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.custom_extensions = vec![
                CustomExtension::from_oid_content(&[2, 5, 29, 32], policies.to_vec()),
                CustomExtension::from_oid_content(&[1, 2, 3, 4, 5], vec![0x0c, 1, 0x61]),
            ];
        });
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(purposes(&certificate).unwrap(), ["1.3.6.1.5.5.7.3.2"]);
        assert_eq!(
            super::policies(&certificate).unwrap(),
            ["1.2.3.4", "1.2.3.5"]
        );
        let extensions = extensions(&certificate).unwrap();
        assert!(
            extensions.contains(&"1.2.3.4.5=0c0161".to_owned()),
            "{extensions:?}"
        );
        assert_eq!(key_type(certificate.spki).unwrap(), ["ec", "ec-p384"]);
        assert_eq!(lifetime(&certificate), Some(30 * 86_400));
    }

    #[test]
    fn absent_and_repeated_extensions_say_nothing() {
        let der = with(&PKCS_ED25519, |params| {
            let twice = CustomExtension::from_oid_content(&[1, 2, 3, 4, 5], vec![5, 0]);
            params.custom_extensions = vec![twice.clone(), twice];
        });
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(purposes(&certificate), None);
        assert_eq!(policies(&certificate), None);
        assert_eq!(extensions(&certificate), None);
        assert_eq!(key_type(certificate.spki).unwrap(), ["ed25519"]);
        assert_eq!(signature_algorithm(&der).unwrap(), "ED25519");
    }

    /// RFC 8017: a modulus has a sign byte, and its size is that of the number.
    #[test]
    fn sizes_of_rsa_keys() {
        let spki = |modulus: &[u8]| {
            let wrap = |tag: u8, parts: &[&[u8]]| {
                let content = parts.concat();
                let length = u8::try_from(content.len()).unwrap();
                [&[tag, length][..], &content].concat()
            };
            let numbers = wrap(0x30, &[&wrap(2, &[modulus]), &wrap(2, &[&[3]])]);
            let algorithm = wrap(0x30, &[&wrap(6, &[RSA]), &[5, 0]]);
            wrap(0x30, &[&algorithm, &wrap(3, &[&[0], &numbers])])
        };
        for (modulus, wanted) in [
            (&[0, 0xff][..], Some("rsa-8")),
            (&[0x7f, 0xff], Some("rsa-15")),
            (&[0], None),
            (&[], None),
        ] {
            let found = key_type(&spki(modulus));
            assert_eq!(
                found.as_ref().map(|types| types[1].as_str()),
                wanted,
                "{modulus:?}"
            );
        }
        assert_eq!(key_type(b""), None);
        assert_eq!(key_type(&[0x30, 0]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_key_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            drop(key_type(&bytes));
            drop(signature_algorithm(&bytes));
        }
    }
}
