//! Proof that the peer holds the private key of the certificate it sent (CertificateVerify, RFC
//! 8446 §4.4.3 and RFC 5246 §7.4.8), also for certificates that webpki cannot parse.
//!
//! Where webpki parses the certificate, rustls checks the signature and its answer is final. Where
//! webpki does not, the same algorithms check it against the SubjectPublicKeyInfo at its one place
//! in the DER. Which way is taken depends on the certificate's bytes alone and never on the
//! outcome of a signature check, so that no signature gets a second reading. Everything else is an
//! error that ends the handshake.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{self, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};
use webpki::{EndEntityCert, RawPublicKeyEntity};

use super::der::{self, BIT_STRING, INTEGER, Reader, SEQUENCE, explicit};

/// Checks a TLS 1.3 CertificateVerify over `message`.
///
/// # Errors
/// A signature that is not the certificate's key's, a scheme that was not offered or does not
/// suit the key, a certificate in which no key can be found.
pub fn verify_tls13_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    match raw_key_if_unparseable(cert)? {
        None => crypto::verify_tls13_signature(message, cert, dss, supported),
        Some(key) => crypto::verify_tls13_signature_with_raw_key(message, &key, dss, supported),
    }
}

/// Checks a TLS 1.2 CertificateVerify over `message`.
///
/// # Errors
/// As [`verify_tls13_signature`].
pub fn verify_tls12_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    match raw_key_if_unparseable(cert)? {
        None => crypto::verify_tls12_signature(message, cert, dss, supported),
        Some(key) => verify_tls12_signature_with_raw_key(message, &key, dss, supported),
    }
}

/// The key of a certificate that webpki cannot parse; nothing where it can.
fn raw_key_if_unparseable<'a>(
    cert: &'a CertificateDer<'_>,
) -> Result<Option<SubjectPublicKeyInfoDer<'a>>, Error> {
    // rustls's own functions start with exactly this parse, so after an `Ok` they cannot fail for
    // any reason but the signature and its scheme.
    if EndEntityCert::try_from(cert).is_ok() {
        return Ok(None);
    }
    match subject_public_key_info(cert) {
        Some(key) => Ok(Some(SubjectPublicKeyInfoDer::from(key))),
        None => Err(CertificateError::BadEncoding.into()),
    }
}

/// The SubjectPublicKeyInfo of a certificate, header included: the seventh field of the TBS, or the
/// sixth where no version is written (RFC 5280 §4.1). All that comes before must have its type, the
/// certificate must be all there is, and its frame must be complete.
pub(super) fn subject_public_key_info(certificate: &[u8]) -> Option<&[u8]> {
    let mut frame = Reader::new(der::only(certificate, SEQUENCE)?);
    let mut tbs = Reader::new(frame.expect(SEQUENCE)?.body);
    let _algorithm = frame.expect(SEQUENCE)?;
    let _signature = frame.expect(BIT_STRING)?;
    if !frame.is_empty() {
        return None;
    }
    let _version = tbs.optional(explicit(0))?;
    let _serial = tbs.expect(INTEGER)?;
    for _field in ["signature", "issuer", "validity", "subject"] {
        tbs.expect(SEQUENCE)?;
    }
    tbs.expect(SEQUENCE).map(|key| key.whole)
}

/// What rustls does for TLS 1.2 with a certificate, with a bare key: the scheme must be one TLS 1.2
/// knows and we offered; of the algorithms it stands for, the one for this kind of key decides.
fn verify_tls12_signature_with_raw_key(
    message: &[u8],
    key: &SubjectPublicKeyInfoDer<'_>,
    dss: &DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let offered = supported
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == dss.scheme);
    let Some((_, algorithms)) = offered.filter(|_| is_known_in_tls12(dss.scheme)) else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let Ok(entity) = RawPublicKeyEntity::try_from(key) else {
        return Err(CertificateError::BadEncoding.into());
    };
    for algorithm in *algorithms {
        match entity.verify_signature(*algorithm, message, dss.signature()) {
            Ok(()) => return Ok(HandshakeSignatureValid::assertion()),
            // The algorithm is for another kind of key: no signature was checked.
            Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(webpki::Error::InvalidSignatureForPublicKey) => {
                return Err(CertificateError::BadSignature.into());
            }
            Err(_unreadable_key) => return Err(CertificateError::BadEncoding.into()),
        }
    }
    Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
}

/// The schemes rustls gives a TLS 1.2 meaning to (RFC 5246 §7.4.1.4.1, RFC 8446 §4.2.3, RFC 8422).
fn is_known_in_tls12(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
            | SignatureScheme::RSA_PSS_SHA256
            | SignatureScheme::RSA_PSS_SHA384
            | SignatureScheme::RSA_PSS_SHA512
            | SignatureScheme::ECDSA_NISTP256_SHA256
            | SignatureScheme::ECDSA_NISTP384_SHA384
            | SignatureScheme::ECDSA_NISTP521_SHA512
            | SignatureScheme::ED25519
    )
}

#[cfg(test)]
mod tests;
