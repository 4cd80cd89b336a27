//! A throw-away CA, a server certificate and the callers' certificates, as PEM files in one folder.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::DemoError;

/// Where the certificates lie.
#[derive(Debug)]
pub(super) struct Pki {
    folder: PathBuf,
}

/// The certificate a caller presents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Presents {
    Nothing,
    Good,
    Expired,
    NotYetValid,
    SelfSigned,
    WrongCa,
}

impl Presents {
    /// The name of its files, if it has any.
    pub(super) fn file(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Good => Some("good"),
            Self::Expired => Some("expired"),
            Self::NotYetValid => Some("future"),
            Self::SelfSigned => Some("self-signed"),
            Self::WrongCa => Some("wrong-ca"),
        }
    }
}

impl Pki {
    /// Makes everything anew.
    pub(super) fn make(folder: &Path) -> Result<Self, DemoError> {
        let pki = Self {
            folder: folder.to_owned(),
        };
        let ca = authority("Herald Demo CA")?;
        let other = authority("Somebody Else's CA")?;
        pki.write("ca", &ca.1, None)?;

        let mut server = leaf("localhost", &["localhost", "127.0.0.1"])?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        pki.issue("server", server, Some(&ca.0))?;

        pki.issue("good", leaf("device-42", &[])?, Some(&ca.0))?;
        let mut expired = leaf("device-41", &[])?;
        (expired.not_before, expired.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        pki.issue("expired", expired, Some(&ca.0))?;
        let mut future = leaf("device-43", &[])?;
        (future.not_before, future.not_after) =
            (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
        pki.issue("future", future, Some(&ca.0))?;
        pki.issue("self-signed", leaf("admin", &[])?, None)?;
        pki.issue("wrong-ca", leaf("device-42", &[])?, Some(&other.0))?;
        Ok(pki)
    }

    /// The bytes of one of the files.
    pub(super) fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        fs::read(self.folder.join(file))
    }

    fn issue(
        &self,
        file: &str,
        params: CertificateParams,
        issuer: Option<&Issuer<'_, KeyPair>>,
    ) -> Result<(), DemoError> {
        let key = KeyPair::generate()?;
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, issuer)?,
            None => params.self_signed(&key)?,
        };
        self.write(file, &certificate.pem(), Some(&key.serialize_pem()))?;
        Ok(())
    }

    fn write(&self, file: &str, certificate: &str, key: Option<&str>) -> io::Result<()> {
        fs::write(self.folder.join(format!("{file}.crt")), certificate)?;
        if let Some(key) = key {
            let path = self.folder.join(format!("{file}.key"));
            let mut options = fs::OpenOptions::new();
            options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?
                .write_all(key.as_bytes())?;
        }
        Ok(())
    }
}

/// A CA: what signs, and its certificate as PEM.
fn authority(name: &str) -> Result<(Issuer<'static, KeyPair>, String), rcgen::Error> {
    let mut params = named(name)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn leaf(name: &str, alternative_names: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = named(name)?;
    for alternative in alternative_names {
        let san = match alternative.parse() {
            Ok(address) => rcgen::SanType::IpAddress(address),
            Err(_) => rcgen::SanType::DnsName((*alternative).try_into()?),
        };
        params.subject_alt_names.push(san);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn named(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Herald Demo");
    params.distinguished_name.push(DnType::CommonName, name);
    // Valid long enough for a demonstration, short enough to be worthless after it.
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::days(2);
    params.not_after = now + time::Duration::days(2);
    Ok(params)
}
