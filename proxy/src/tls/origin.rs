//! Compiles the rustls configuration by which origins are verified: by the operator's CAs and no
//! others, with Herald's own certificate where one is given.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use super::provider::provider;

/// Herald's own certificate towards origins, PEM.
#[derive(Debug)]
pub struct OwnCertificate {
    /// The chain, leaf first.
    pub chain_pem: Vec<u8>,
    /// Its private key.
    pub key_pem: Vec<u8>,
}

/// Why origins can't be verified, or Herald can't present itself to them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OriginTlsError {
    /// File number `file` of the CAs.
    #[error("no certificate can be read: {error}")]
    Authority {
        /// Its number, from 0.
        file: usize,
        /// What is wrong with it.
        error: rustls::pki_types::pem::Error,
    },
    /// File number `file` of the CAs holds no certificate: nothing could ever be verified by it.
    #[error("there is no CERTIFICATE block in it")]
    AuthorityEmpty {
        /// Its number, from 0.
        file: usize,
    },
    /// A certificate of file number `file` is none that can be trusted.
    #[error("a certificate in it can't be used as a CA: {error}")]
    AuthorityUnusable {
        /// Its number, from 0.
        file: usize,
        /// What is wrong with it.
        error: rustls::Error,
    },
    /// The own chain.
    #[error("no certificate can be read: {0}")]
    Chain(rustls::pki_types::pem::Error),
    /// The own key.
    #[error("no private key can be read: {0}")]
    Key(rustls::pki_types::pem::Error),
    /// Chain and key do not belong together, or can't be used.
    #[error("certificate and key can't be used: {0}")]
    Pair(rustls::Error),
}

/// `config`, offering HTTP/1.1 alone.
pub fn http1_alone(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session is resumed with the protocol that it was made for.
    config.resumption = Resumption::default();
    Arc::new(config)
}

/// Trusts the certificates of `authorities` (PEM files), at least one, and nothing else; offers
/// HTTP/2 before HTTP/1.1 (RFC 7301).
///
/// # Errors
/// The first [`OriginTlsError`].
pub fn client_config(
    authorities: &[Vec<u8>],
    own: Option<OwnCertificate>,
) -> Result<Arc<ClientConfig>, OriginTlsError> {
    let mut roots = RootCertStore::empty();
    for (file, pem) in authorities.iter().enumerate() {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| OriginTlsError::Authority { file, error })?;
            roots
                .add(certificate)
                .map_err(|error| OriginTlsError::AuthorityUnusable { file, error })?;
        }
        if roots.len() == before {
            return Err(OriginTlsError::AuthorityEmpty { file });
        }
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(OriginTlsError::Pair)?
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::pem_slice_iter(&own.chain_pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(OriginTlsError::Chain)?;
            let key = PrivateKeyDer::from_pem_slice(&own.key_pem).map_err(OriginTlsError::Key)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(OriginTlsError::Pair)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
