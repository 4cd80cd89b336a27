//! Certificates: the bench's authority, its server and client, and as many callers as a load wants.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SerialNumber, date_time_ymd,
};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::Failure;

/// Client certificates shown in turn, one a handshake.
#[derive(Debug)]
pub struct Rota {
    identities: Vec<Arc<CertifiedKey>>,
    next: AtomicUsize,
}

impl Rota {
    /// Shows these, each in its turn.
    #[must_use]
    pub fn new(identities: Vec<Arc<CertifiedKey>>) -> Self {
        Self {
            identities,
            next: AtomicUsize::new(0),
        }
    }

    /// How often one was shown that had been shown before.
    #[must_use]
    pub fn repeats(&self) -> usize {
        let shown = self.next.load(Ordering::Relaxed);
        shown.saturating_sub(self.identities.len())
    }
}

impl ResolvesClientCert for Rota {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let chosen = turn.checked_rem(self.identities.len())?;
        self.identities.get(chosen).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.identities.is_empty()
    }
}

/// Writes `ca`, `server`, `server-rsa` and `client` (`.pem` and `.key`), and `server.both` (certificate and key
/// in one file, as HAProxy takes them) into a directory.
///
/// # Errors
/// Files that can't be written.
pub fn write_all(directory: &Path) -> Result<(), Failure> {
    let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let authority = authority();
    let certificate = authority.self_signed(&authority_key)?;
    fs::write(directory.join("ca.pem"), certificate.pem())?;
    fs::write(directory.join("ca.key"), authority_key.serialize_pem())?;
    let issuer = Issuer::from_params(&authority, &authority_key);

    let mut server = params("bench.test", 2);
    server.subject_alt_names = vec![rcgen::SanType::DnsName("bench.test".try_into()?)];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (name, kind, params) in [
        ("server", &PKCS_ECDSA_P256_SHA256, server.clone()),
        ("server-rsa", &PKCS_RSA_SHA256, server),
        ("client", &PKCS_ECDSA_P256_SHA256, caller(3)),
    ] {
        let key = KeyPair::generate_for(kind)?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        let key = key.serialize_pem();
        fs::write(directory.join(format!("{name}.pem")), &certificate)?;
        fs::write(directory.join(format!("{name}.key")), &key)?;
        fs::write(directory.join(format!("{name}.both")), certificate + &key)?;
    }
    Ok(())
}

/// As many client certificates as asked for, each with a key of its own, issued by `ca` of the
/// directory. Nobody has seen them before.
///
/// # Errors
/// Files that can't be read.
pub fn mint(directory: &Path, count: u32) -> Result<Vec<Arc<CertifiedKey>>, Failure> {
    let key = KeyPair::from_pem(&fs::read_to_string(directory.join("ca.key"))?)?;
    let issuer = Issuer::new(authority(), key);
    // Loads of one run must not show each other's certificates.
    let first = u64::from(std::process::id()) << 32;
    let mut minted = Vec::new();
    for number in 0..count {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = caller(first + u64::from(number)).signed_by(&key, &issuer)?;
        let signer = PrivatePkcs8KeyDer::from(key.serialize_der());
        minted.push(Arc::new(CertifiedKey::new(
            vec![CertificateDer::from(certificate)],
            aws_lc_rs::sign::any_ecdsa_type(&signer.into())?,
        )));
    }
    Ok(minted)
}

/// The one authority; only its key differs from run to run.
fn authority() -> CertificateParams {
    let mut authority = params("Bench CA", 1);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority
}

fn caller(serial: u64) -> CertificateParams {
    let mut caller = params(&format!("Caller {serial}"), serial);
    caller.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    caller
}

fn params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    for (kind, value) in [
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "Texas"),
        (DnType::LocalityName, "Austin"),
        (DnType::OrganizationName, "Bench"),
        (DnType::OrganizationalUnitName, "Access"),
        (DnType::CommonName, name),
    ] {
        params.distinguished_name.push(kind, value);
    }
    params.serial_number = Some(SerialNumber::from((1 << 62) | serial));
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2044, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}
