//! The rustls client verifier. It asks for a certificate and always checks the proof of
//! possession (CertificateVerify); the verdict on the chain is reached after the handshake, by
//! `TrustStores::judge`, so that resumed sessions and open connections are judged the same way.
//! Only `--reject-at-tls` judges here as well and answers with an alert.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::possession;
use super::reason::Reason;
use super::stores::TrustStores;
use super::verdict::Verdict;

/// What the verifier does with a chain at handshake time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AtHandshake {
    /// Complete the handshake whatever the verdict will be.
    Complete,
    /// Demand a certificate that verifies, with a TLS alert otherwise.
    Reject,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct ClientVerifier {
    stores: Arc<TrustStores>,
    hints: Vec<DistinguishedName>,
    at_handshake: AtHandshake,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    /// `name_authorities` sends the stores' CA names in the CertificateRequest; without them
    /// clients offer certificates of any CA.
    pub fn new(
        stores: Arc<TrustStores>,
        at_handshake: AtHandshake,
        name_authorities: bool,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        let hints = if name_authorities {
            stores.subjects()
        } else {
            Vec::new()
        };
        Self {
            stores,
            hints,
            at_handshake,
            algorithms,
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.at_handshake == AtHandshake::Reject
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.at_handshake == AtHandshake::Reject {
            let mut chain = Vec::with_capacity(intermediates.len() + 1);
            chain.push(end_entity.clone());
            chain.extend_from_slice(intermediates);
            match self.stores.judge(&chain, now.as_secs()).verdict {
                Verdict::Success(_) => {}
                Verdict::Failed(reason) => return Err(alert(reason).into()),
                Verdict::None => return Err(CertificateError::UnknownIssuer.into()),
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        possession::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        possession::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The error whose TLS alert tells the client best what is wrong (RFC 8446 §6.2).
fn alert(reason: Reason) -> CertificateError {
    match reason {
        Reason::Expired => CertificateError::Expired,
        Reason::NotYetValid => CertificateError::NotValidYet,
        Reason::Revoked => CertificateError::Revoked,
        Reason::SignatureFailure => CertificateError::BadSignature,
        Reason::InvalidPurpose => CertificateError::InvalidPurpose,
        _ => CertificateError::UnknownIssuer,
    }
}
