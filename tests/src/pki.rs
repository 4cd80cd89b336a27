//! A throw-away PKI: CAs, server certificates of every key kind and client certificates good and bad, in a directory of
//! their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList,
    CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

/// The CAs and server certificates one test process shares.
#[derive(Debug)]
pub struct Pki {
    dir: TempDir,
    /// The CA whose certificates Herald is told to trust.
    pub ca: Authority,
    /// A second CA, trusted only where a test says so.
    pub other: Authority,
    /// An intermediate below [`Pki::ca`].
    pub intermediate: Authority,
}

/// A certification authority.
#[derive(Debug)]
pub struct Authority {
    /// Signs certificates.
    pub issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate chain with the key of its leaf.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Leaf first, as sent in the handshake.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key that signs CertificateVerify.
    pub key: Arc<KeyPair>,
}

/// The kinds of keys the product supports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Key {
    /// NIST P-256.
    Ec,
    /// RSA, 2048 bits.
    Rsa,
    /// Ed25519.
    Ed25519,
}

impl Pki {
    /// The PKI of this test process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Pki> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    fn new() -> Self {
        let ca = Authority::root("Testing CA A");
        let other = Authority::root("Testing CA B");
        let intermediate = ca.subordinate("Testing Intermediate A1");
        let dir = tempfile::Builder::new()
            .prefix("herald-tests-")
            .tempdir()
            .unwrap();
        fs::write(dir.path().join("ca.pem"), ca.issuer.pem()).unwrap();
        fs::write(dir.path().join("other.pem"), other.issuer.pem()).unwrap();
        fs::write(
            dir.path().join("both.pem"),
            ca.issuer.pem() + &other.issuer.pem(),
        )
        .unwrap();
        Self {
            dir,
            ca,
            other,
            intermediate,
        }
    }

    /// A path in the PKI's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Server certificate and key files for `kind`, made on first use; valid for `localhost` and `127.0.0.1`.
    pub fn server(&self, kind: Key) -> (PathBuf, PathBuf) {
        static MADE: [OnceLock<(PathBuf, PathBuf)>; 3] = [const { OnceLock::new() }; 3];
        MADE[kind as usize]
            .get_or_init(|| {
                let mut params =
                    CertificateParams::new(names(&["localhost", "127.0.0.1", "app.test"])).unwrap();
                params.distinguished_name = name("herald server");
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                lifetime(&mut params, DAY, 365 * DAY);
                self.ca
                    .issue(params, kind)
                    .write(self.dir.path(), &format!("server-{kind:?}"))
            })
            .clone()
    }

    /// A client certificate of the trusted CA that verifies.
    pub fn good(&self) -> Identity {
        self.client(|_| ())
    }

    /// As [`Pki::good`], with a key of `kind`.
    pub fn good_with(&self, kind: Key) -> Identity {
        self.ca.issue(client_params(), kind)
    }

    /// A client certificate of the trusted CA after `change` was made to its parameters.
    pub fn client(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = client_params();
        change(&mut params);
        self.ca.issue(params, Key::Ec)
    }

    /// Expired yesterday.
    pub fn expired(&self) -> Identity {
        self.client(|params| {
            params.not_before = (SystemTime::now() - 30 * DAY).into();
            params.not_after = (SystemTime::now() - DAY).into();
        })
    }

    /// Valid from tomorrow.
    pub fn not_yet_valid(&self) -> Identity {
        self.client(|params| {
            params.not_before = (SystemTime::now() + DAY).into();
            params.not_after = (SystemTime::now() + 30 * DAY).into();
        })
    }

    /// Valid until `seconds` from now, rounded down to a whole second.
    pub fn expiring_in(&self, seconds: u64) -> Identity {
        self.client(|params| {
            params.not_after = (SystemTime::now() + Duration::from_secs(seconds)).into()
        })
    }

    /// Signed by its own key.
    pub fn self_signed(&self) -> Identity {
        let key = Key::Ec.generate();
        let certificate = client_params().self_signed(&key).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: Arc::new(key),
        }
    }

    /// Issued by the CA that is not trusted.
    pub fn wrong_ca(&self) -> Identity {
        self.other.issue(client_params(), Key::Ec)
    }

    /// Issued by the intermediate, which is sent along.
    pub fn via_intermediate(&self) -> Identity {
        let mut identity = self.intermediate.issue(client_params(), Key::Ec);
        identity.chain.push(self.intermediate.issuer.der().clone());
        identity
    }

    /// Issued by the intermediate, which is not sent.
    pub fn without_its_intermediate(&self) -> Identity {
        self.intermediate.issue(client_params(), Key::Ec)
    }
}

impl Authority {
    /// A new self-signed CA.
    pub fn root(common_name: &str) -> Self {
        Self::root_with(common_name, |_| ())
    }

    /// A new self-signed CA after `change` was made to its parameters.
    pub fn root_with(common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority_params(common_name);
        change(&mut params);
        Self {
            issuer: CertifiedIssuer::self_signed(params, Key::Ec.generate()).unwrap(),
        }
    }

    /// A CA below this one.
    pub fn subordinate(&self, common_name: &str) -> Self {
        self.subordinate_with(common_name, |_| ())
    }

    /// A CA below this one after `change` was made to its parameters.
    pub fn subordinate_with(
        &self,
        common_name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let mut params = authority_params(common_name);
        change(&mut params);
        Self {
            issuer: CertifiedIssuer::signed_by(params, Key::Ec.generate(), &self.issuer).unwrap(),
        }
    }

    /// A revocation list of this CA, from an hour ago until `next_update`.
    pub fn revoke(&self, serials: &[&[u8]], next_update: SystemTime) -> CertificateRevocationList {
        self.revoke_with(serials, next_update, |_| ())
    }

    /// As [`Authority::revoke`], after `change` was made to its parameters.
    pub fn revoke_with(
        &self,
        serials: &[&[u8]],
        next_update: SystemTime,
        change: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> CertificateRevocationList {
        let entry = |serial: &&[u8]| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: (SystemTime::now() - Duration::from_secs(60)).into(),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let mut params = CertificateRevocationListParams {
            this_update: (SystemTime::now() - Duration::from_secs(3600)).into(),
            next_update: next_update.into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        params.signed_by(&self.issuer).unwrap()
    }

    /// Issues a certificate for a new key.
    pub fn issue(&self, params: CertificateParams, kind: Key) -> Identity {
        let key = kind.generate();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: Arc::new(key),
        }
    }
}

impl Identity {
    /// The leaf's DER.
    pub fn leaf(&self) -> &[u8] {
        &self.chain[0]
    }

    /// The same chain with somebody else's key: whoever presents it can't prove possession.
    pub fn stolen(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: Arc::new(Key::Ec.generate()),
        }
    }

    /// The key's PKCS#8. OpenSSL 3.0 does not read version 2 (RFC 5958), in which Ed25519 keys come here, so that those
    /// are written anew as version 1 (RFC 8410 §7).
    fn key_pem(&self) -> String {
        if !self.key.is_compatible(&rcgen::PKCS_ED25519) {
            return self.key.serialize_pem();
        }
        let der = self.key.serialize_der();
        let seed = der
            .windows(4)
            .position(|bytes| bytes == [0x04, 0x22, 0x04, 0x20])
            .unwrap()
            + 4;
        let head = [
            &[0x30, 0x2E, 2, 1, 0][..],
            &[0x30, 5, 6, 3, 0x2B, 0x65, 0x70],
            &[4, 0x22, 4, 0x20],
        ]
        .concat();
        armour("PRIVATE KEY", &[&head, &der[seed..seed + 32]].concat())
    }

    /// Writes `{stem}.pem` and `{stem}.key` into `dir`.
    pub fn write(&self, dir: &Path, stem: &str) -> (PathBuf, PathBuf) {
        let certificate = dir.join(format!("{stem}.pem"));
        let key = dir.join(format!("{stem}.key"));
        let chain: String = self.chain.iter().map(|der| pem(der)).collect();
        fs::write(&certificate, chain).unwrap();
        fs::write(&key, self.key_pem()).unwrap();
        (certificate, key)
    }
}

impl Key {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Ec, Self::Rsa, Self::Ed25519];

    /// A new key of this kind.
    pub fn generate(self) -> KeyPair {
        KeyPair::generate_for(self.algorithm()).unwrap()
    }

    fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::Ec => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::Rsa => &rcgen::PKCS_RSA_SHA256,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
        }
    }
}

/// The parameters of the usual client certificate: fixed subject, serial and dates, so that its headers are known.
pub fn client_params() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = name("James Royal");
    params.serial_number = Some(SerialNumber::from_slice(&[0x0A, 0x0B]));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = rcgen::date_time_ymd(2026, 1, 2);
    params.not_after = rcgen::date_time_ymd(2049, 11, 30);
    params
}

/// `C=US,ST=Texas,L=Austin,O=Access,OU=Access Admins,CN=common_name`, in that DER order.
pub fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "US");
    name.push(DnType::StateOrProvinceName, "Texas");
    name.push(DnType::LocalityName, "Austin");
    name.push(DnType::OrganizationName, "Access");
    name.push(DnType::OrganizationalUnitName, "Access Admins");
    name.push(DnType::CommonName, common_name);
    name
}

fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = name(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    lifetime(&mut params, 365 * DAY, 3650 * DAY);
    params
}

fn lifetime(params: &mut CertificateParams, before: Duration, after: Duration) {
    params.not_before = (SystemTime::now() - before).into();
    params.not_after = (SystemTime::now() + after).into();
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

/// PEM of one certificate.
pub fn pem(der: &[u8]) -> String {
    armour("CERTIFICATE", der)
}

fn armour(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

const DAY: Duration = Duration::from_secs(86_400);

/// A client of `authority` with this serial number.
pub fn client_of(authority: &Authority, serial: &[u8]) -> Identity {
    let mut params = client_params();
    params.serial_number = Some(SerialNumber::from_slice(serial));
    authority.issue(params, Key::Ec)
}

/// When what lasts a day from now ends.
pub fn tomorrow() -> SystemTime {
    SystemTime::now() + Duration::from_secs(86_400)
}

/// Ten minutes ago.
pub fn past() -> SystemTime {
    SystemTime::now() - Duration::from_secs(600)
}
