//! One TLS for everyone: TLS 1.3, AES-128-GCM, X25519 (or the hybrid where a row asks for it).
//!
//! The client offers nothing else, so every peer does the same work whatever it would prefer.

use std::path::Path;
use std::sync::Arc;

use rustls::client::{ClientSessionMemoryCache, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, client};

use crate::Failure;

/// The key exchange the client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyExchange {
    /// X25519 alone.
    X25519,
    /// X25519MLKEM768 alone.
    Hybrid,
}

/// The name the bench's server certificate is for.
///
/// # Errors
/// Never, as the name is one.
pub fn server_name() -> Result<ServerName<'static>, Failure> {
    Ok(ServerName::try_from("bench.test")?)
}

/// A provider with one suite and one group.
#[must_use]
pub fn provider(exchange: KeyExchange) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![match exchange {
            KeyExchange::X25519 => aws_lc_rs::kx_group::X25519,
            KeyExchange::Hybrid => aws_lc_rs::kx_group::X25519MLKEM768,
        }],
        ..aws_lc_rs::default_provider()
    }
}

/// A certificate chain and its key, from PEM files.
///
/// # Errors
/// A file that can't be read, or a key that is not the certificate's.
pub fn certified(chain: &Path, key: &Path) -> Result<CertifiedKey, Failure> {
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = provider(KeyExchange::X25519);
    Ok(CertifiedKey::from_der(chain, key, &provider)?)
}

/// A store of the certificates in a PEM file.
///
/// # Errors
/// A file that can't be read.
pub fn roots(file: &Path) -> Result<Arc<RootCertStore>, Failure> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        store.add(certificate?)?;
    }
    Ok(Arc::new(store))
}

/// A client's configuration with a session cache of its own, or none.
///
/// # Errors
/// An empty store.
pub fn client(
    roots: &Arc<RootCertStore>,
    identity: Option<Arc<dyn client::ResolvesClientCert>>,
    exchange: KeyExchange,
    resume: bool,
) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(provider(exchange));
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider))
            .build()?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_webpki_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    };
    config.resumption = if resume {
        Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)))
    } else {
        Resumption::disabled()
    };
    Ok(config)
}

/// The floor's side: a client certificate is required and verified, sessions are not resumed.
///
/// # Errors
/// Files that can't be read, or hold no certificate.
pub fn server(chain: &Path, key: &Path, authority: &Path) -> Result<ServerConfig, Failure> {
    let provider = Arc::new(provider(KeyExchange::X25519));
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(authority)?, Arc::clone(&provider))
            .build()?;
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<Vec<_>, _>>()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}
