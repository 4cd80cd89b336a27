//! Throw-away certificates: worthless two days from now, and so is whoever trusts their CAs.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A CA.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub pem: String,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Own {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    /// A CA of this name.
    ///
    /// # Errors
    /// A key that could not be made.
    pub fn new(organization: &str, name: &str) -> Result<Self, rcgen::Error> {
        let mut params = named(organization, DnValue::from(name));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// A certificate by this CA.
    ///
    /// # Errors
    /// A key that could not be made.
    pub fn issue(&self, params: &CertificateParams) -> Result<Own, rcgen::Error> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Own::new(&certificate, key))
    }
}

impl Own {
    /// A certificate by itself.
    ///
    /// # Errors
    /// A key that could not be made.
    pub fn self_signed(params: &CertificateParams) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self::new(&certificate, key))
    }

    fn new(certificate: &rcgen::Certificate, key: KeyPair) -> Self {
        Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key,
        }
    }

    /// The key, as rustls takes it.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// Writes both: `NAME.crt`, `NAME.key`.
    ///
    /// # Errors
    /// The folder's.
    pub fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        fs::write(folder.join(format!("{name}.crt")), &self.pem)?;
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(folder.join(format!("{name}.key")))?
            .write_all(self.key.serialize_pem().as_bytes())
    }
}

/// A client's certificate of this name.
pub fn client(organization: &str, name: impl Into<DnValue>) -> CertificateParams {
    let mut params = named(organization, name.into());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn named(organization: &str, name: DnValue) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, name);
    // Valid long enough for what it is for, short enough to be worthless after it.
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::days(2);
    params.not_after = now + time::Duration::days(2);
    params
}
