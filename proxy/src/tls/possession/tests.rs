use proptest::prelude::*;
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use rustls::internal::msgs::codec::{Codec, Reader};

use super::*;

const MESSAGE: &[u8] = b"what CertificateVerify signs";

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![tag];
    match u8::try_from(body.len()) {
        Ok(length @ 0..0x80) => bytes.push(length),
        Ok(length) => bytes.extend([0x81, length]),
        Err(_) => {
            bytes.push(0x82);
            bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        }
    }
    bytes.extend(body);
    bytes
}

/// A version 1 certificate of `key`, which webpki does not parse. Its own signature is rubbish:
/// possession is about the key alone.
fn version_1(key: &KeyPair) -> CertificateDer<'static> {
    let algorithm = element(0x30, &[&[0x06, 3, 0x2b, 0x65, 0x70]]);
    let name = element(0x30, &[]);
    let times = element(0x30, &[b"\x17\x0d260101000000Z", b"\x17\x0d270101000000Z"]);
    let spki = key.subject_public_key_info();
    let tbs = element(0x30, &[&[2, 1, 1], &algorithm, &name, &times, &name, &spki]);
    element(0x30, &[&tbs, &algorithm, &[0x03, 2, 0, 0]]).into()
}

/// A version 3 certificate of `key` with a critical extension nobody knows.
fn odd_critical(key: &KeyPair) -> CertificateDer<'static> {
    let mut params = rcgen::CertificateParams::default();
    let mut odd = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    odd.set_criticality(true);
    params.custom_extensions = vec![odd];
    params.self_signed(key).unwrap().der().clone()
}

fn signed(scheme: SignatureScheme, signature: &[u8]) -> DigitallySignedStruct {
    let mut bytes = u16::from(scheme).to_be_bytes().to_vec();
    bytes.extend(u16::try_from(signature.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(signature);
    DigitallySignedStruct::read(&mut Reader::init(&bytes)).unwrap()
}

fn supported() -> WebPkiSupportedAlgorithms {
    crypto::aws_lc_rs::default_provider().signature_verification_algorithms
}

fn keys() -> [(KeyPair, SignatureScheme); 3] {
    let key = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    [
        (key(&rcgen::PKCS_ED25519), SignatureScheme::ED25519),
        (
            key(&rcgen::PKCS_ECDSA_P256_SHA256),
            SignatureScheme::ECDSA_NISTP256_SHA256,
        ),
        (
            key(&rcgen::PKCS_ECDSA_P384_SHA384),
            SignatureScheme::ECDSA_NISTP384_SHA384,
        ),
    ]
}

type Check = fn(
    &[u8],
    &CertificateDer<'_>,
    &DigitallySignedStruct,
    &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error>;

const BOTH: [Check; 2] = [verify_tls12_signature, verify_tls13_signature];

#[test]
fn the_key_of_an_unparseable_certificate_proves_possession() {
    for (key, scheme) in keys() {
        let dss = signed(scheme, &key.sign(MESSAGE).unwrap());
        for cert in [version_1(&key), odd_critical(&key)] {
            assert!(EndEntityCert::try_from(&cert).is_err());
            for check in BOTH {
                check(MESSAGE, &cert, &dss, &supported()).unwrap();
            }
        }
    }
}

#[test]
fn another_key_or_message_proves_nothing() {
    for ((key, scheme), (other, _)) in keys().into_iter().zip(keys()) {
        let dss = signed(scheme, &other.sign(MESSAGE).unwrap());
        let genuine = signed(scheme, &key.sign(MESSAGE).unwrap());
        let parseable = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap();
        for cert in [version_1(&key), odd_critical(&key), parseable.der().clone()] {
            for check in BOTH {
                let bad = Error::InvalidCertificate(CertificateError::BadSignature);
                assert_eq!(check(MESSAGE, &cert, &dss, &supported()).unwrap_err(), bad);
                assert_eq!(
                    check(b"else", &cert, &genuine, &supported()).unwrap_err(),
                    bad
                );
            }
        }
    }
}

#[test]
fn a_scheme_for_another_kind_of_key_proves_nothing() {
    let [(ed, _), (p256, _), _] = keys();
    let dss = signed(SignatureScheme::ED25519, &ed.sign(MESSAGE).unwrap());
    for check in BOTH {
        assert!(check(MESSAGE, &version_1(&p256), &dss, &supported()).is_err());
        // RFC 8446 §4.2.3: neither offered nor known schemes outside the list.
        for scheme in [0x0201_u16, 0x0203, 0xfe00] {
            let dss = signed(SignatureScheme::from(scheme), &p256.sign(MESSAGE).unwrap());
            assert!(check(MESSAGE, &version_1(&p256), &dss, &supported()).is_err());
        }
    }
}

#[test]
fn pkcs1_signatures_stay_out_of_tls13() {
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
    let rsa = rsa.unwrap();
    let dss = signed(
        SignatureScheme::RSA_PKCS1_SHA256,
        &rsa.sign(MESSAGE).unwrap(),
    );
    let cert = version_1(&rsa);
    verify_tls12_signature(MESSAGE, &cert, &dss, &supported()).unwrap();
    assert!(verify_tls13_signature(MESSAGE, &cert, &dss, &supported()).is_err());
}

#[test]
fn a_certificate_without_its_frame_has_no_key() {
    let (key, scheme) = keys().into_iter().next().unwrap();
    let dss = signed(scheme, &key.sign(MESSAGE).unwrap());
    let good = version_1(&key);
    let trailing = [&good[..], &[0]].concat();
    let truncated = good[..good.len() - 1].to_vec();
    for bytes in [trailing, truncated, Vec::new(), vec![0x30, 0]] {
        for check in BOTH {
            let error = check(MESSAGE, &bytes.clone().into(), &dss, &supported()).unwrap_err();
            assert_eq!(
                error,
                Error::InvalidCertificate(CertificateError::BadEncoding)
            );
        }
    }
}

proptest! {
    /// Whatever is changed in certificate and signature: possession is proved only while the
    /// certificate still holds the very key and the signature is whole.
    #[test]
    fn changed_bytes_never_prove_possession_of_another_key(
        at in 0_usize..10_000,
        flip in 1_u8..,
        in_signature in any::<bool>(),
    ) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut cert = version_1(&key).to_vec();
        let mut signature = key.sign(MESSAGE).unwrap();
        let target = if in_signature { &mut signature } else { &mut cert };
        let at = at % target.len();
        target[at] ^= flip;
        let dss = signed(SignatureScheme::ED25519, &signature);
        let spki = key.subject_public_key_info();
        for check in BOTH {
            if check(MESSAGE, &cert.clone().into(), &dss, &supported()).is_ok() {
                prop_assert!(!in_signature);
                prop_assert_eq!(subject_public_key_info(&cert), Some(&spki[..]));
            }
        }
    }

    #[test]
    fn any_bytes_as_certificate_end_in_an_error(
        cert in proptest::collection::vec(any::<u8>(), 0..300),
        signature in proptest::collection::vec(any::<u8>(), 0..80),
        scheme in any::<u16>(),
    ) {
        let dss = signed(SignatureScheme::from(scheme), &signature);
        for check in BOTH {
            prop_assert!(check(MESSAGE, &cert.clone().into(), &dss, &supported()).is_err());
        }
    }
}
