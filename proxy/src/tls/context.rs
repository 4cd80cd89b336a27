//! Compiles the rustls server configuration of one application.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, danger::ClientCertVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use thiserror::Error;

use super::kernel::KeyTap;
use super::provider::provider;

/// What the configuration is made of.
#[derive(Debug)]
pub struct Settings {
    /// The server's chain, PEM, leaf first.
    pub chain_pem: Vec<u8>,
    /// The server's private key, PEM (PKCS #8, PKCS #1 or SEC 1).
    pub key_pem: Vec<u8>,
    /// Asks clients for a certificate; `None` asks for none.
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Whether TLS 1.2 is spoken beside 1.3.
    pub tls12: bool,
    /// Whether sessions are resumed, by tickets that each connection is given.
    pub resumption: bool,
    /// Whether the kernel may be given the sending half's keys.
    pub taps_keys: bool,
}

/// Why the server's own certificate can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The chain file.
    #[error("no certificate can be read: {0}")]
    Chain(rustls::pki_types::pem::Error),
    /// The chain file holds no certificate.
    #[error("there is no CERTIFICATE block in it")]
    ChainEmpty,
    /// The key file.
    #[error("no private key can be read: {0}")]
    Key(rustls::pki_types::pem::Error),
    /// The two do not belong together, or the key is of a kind rustls can't use.
    #[error("certificate and key can't be used: {0}")]
    Pair(rustls::Error),
}

/// Compiles `settings`. Early data stays off: replayable, and on resumption unverified.
pub fn server_config(settings: Settings) -> Result<ServerConfig, ContextError> {
    let chain = CertificateDer::pem_slice_iter(&settings.chain_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(ContextError::Chain)?;
    if chain.is_empty() {
        return Err(ContextError::ChainEmpty);
    }
    let key = PrivateKeyDer::from_pem_slice(&settings.key_pem).map_err(ContextError::Key)?;
    let versions: &[&SupportedProtocolVersion] = if settings.tls12 {
        &[&version::TLS13, &version::TLS12]
    } else {
        &[&version::TLS13]
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(ContextError::Pair)?;
    let builder = match settings.verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(ContextError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    if settings.taps_keys {
        config.key_log = Arc::new(KeyTap);
    }
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = match settings.resumption {
        true => TICKETS,
        false => 0,
    };
    Ok(config)
}

/// Tickets a TLS 1.3 handshake: each is used once and each resumption brings a new one.
const TICKETS: usize = 1;
