//! A throw-away CA, a server certificate and the callers' certificates, as PEM files in one folder.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, SanType, date_time_ymd};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::DemoError;
use crate::trial::{Authority, Own, pki};

/// What the callers have.
#[derive(Debug)]
pub(super) struct Pki {
    /// Whom the server's certificate leads to.
    pub(super) roots: Arc<RootCertStore>,
    owns: Vec<(Presents, Own)>,
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
    fn file(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Good => "good",
            Self::Expired => "expired",
            Self::NotYetValid => "future",
            Self::SelfSigned => "self-signed",
            Self::WrongCa => "wrong-ca",
        }
    }
}

impl Pki {
    /// Makes everything anew.
    pub(super) fn make(folder: &Path) -> Result<Self, DemoError> {
        let ca = Authority::new(ORGANIZATION, "Herald Demo CA")?;
        let other = Authority::new(ORGANIZATION, "Somebody Else's CA")?;
        fs::write(folder.join("ca.crt"), &ca.pem)?;

        let mut server = pki::client(ORGANIZATION, "localhost");
        let address = std::net::IpAddr::from([127, 0, 0, 1]);
        server.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(address),
        ];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        ca.issue(&server)?.write(folder, "server")?;

        let good = pki::client(ORGANIZATION, "device-42");
        let mut expired = pki::client(ORGANIZATION, "device-41");
        (expired.not_before, expired.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        let mut future = pki::client(ORGANIZATION, "device-43");
        (future.not_before, future.not_after) =
            (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
        let admin = pki::client(ORGANIZATION, "admin");
        let owns = vec![
            (Presents::Good, ca.issue(&good)?),
            (Presents::Expired, ca.issue(&expired)?),
            (Presents::NotYetValid, ca.issue(&future)?),
            (Presents::SelfSigned, Own::self_signed(&admin)?),
            (Presents::WrongCa, other.issue(&good)?),
        ];
        for (presents, own) in &owns {
            own.write(folder, presents.file())?;
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.pem.as_bytes()) {
            roots
                .add(certificate.map_err(std::io::Error::other)?)
                .map_err(std::io::Error::other)?;
        }
        Ok(Self {
            roots: Arc::new(roots),
            owns,
        })
    }

    /// What a caller presents.
    pub(super) fn own(&self, presents: Presents) -> Option<&Own> {
        let own = self.owns.iter().find(|(whose, _)| *whose == presents);
        own.map(|(_, own)| own)
    }
}

const ORGANIZATION: &str = "Herald Demo";
