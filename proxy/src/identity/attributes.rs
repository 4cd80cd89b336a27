//! What rules may ask of a certificate that verified: parsed attributes, never printed names. A kind of
//! attribute that holds an odd entry (not text, or with control characters) is left out whole, so that
//! no rule is met by half of an identity.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::alternative::{self, Kind};
use super::certificate::Certificate;
use super::name::Name;
use super::{encode, usage};
use crate::tls::ValidPath;

/// The attributes of one caller, as texts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attributes {
    /// The only common name; none with two of them.
    pub common_name: Vec<String>,
    /// Countries of the subject.
    pub country: Vec<String>,
    /// States or provinces of the subject.
    pub state: Vec<String>,
    /// Localities of the subject.
    pub locality: Vec<String>,
    /// Domain components of the subject.
    pub domain_component: Vec<String>,
    /// User identifiers of the subject.
    pub user_id: Vec<String>,
    /// Organizations of the subject.
    pub organization: Vec<String>,
    /// Organizational units of the subject.
    pub organizational_unit: Vec<String>,
    /// The issuer's only common name.
    pub issuer_common_name: Vec<String>,
    /// Organizations of the issuer.
    pub issuer_organization: Vec<String>,
    /// Organizational units of the issuer.
    pub issuer_organizational_unit: Vec<String>,
    /// DNS names, lower case.
    pub san_dns: Vec<String>,
    /// URIs.
    pub san_uri: Vec<String>,
    /// E-mail addresses.
    pub san_email: Vec<String>,
    /// IP addresses.
    pub san_ip: Vec<String>,
    /// The SPIFFE ID, if it is the only URI.
    pub spiffe: Vec<String>,
    /// SHA-1 and SHA-256 of the certificate, lower-case hexadecimal.
    pub fingerprint: Vec<String>,
    /// SHA-256 of the SubjectPublicKeyInfo, lower-case hexadecimal.
    pub spki: Vec<String>,
    /// Serial number, upper-case hexadecimal.
    pub serial: Vec<String>,
    /// Subject key identifier of the issuer, upper-case hexadecimal.
    pub issuer_ski: Vec<String>,
    /// Purposes of the key, dotted; only those the certificate names.
    pub eku: Vec<String>,
    /// Certificate policies, dotted.
    pub policy_oid: Vec<String>,
    /// All extensions, `1.2.3=HEX`: dotted, and their DER in lower-case hexadecimal.
    pub extension: Vec<String>,
    /// The kind of key, and with its size or curve: `rsa` and `rsa-2048`.
    pub key_type: Vec<String>,
    /// Seconds between the first and the last second of validity.
    pub lifetime: Option<u64>,
    /// The name of the trust store that verified the certificate.
    pub trust_store: Vec<String>,
    /// SHA-256 of the CA certificate that it leads to, lower-case hexadecimal.
    pub root: Vec<String>,
}

impl Attributes {
    /// Those of the certificate `der`, which leads along `path`. A certificate that cannot be read
    /// has only its digests and its store.
    pub fn of(der: &[u8], path: &ValidPath) -> Self {
        let mut attributes = Self {
            fingerprint: vec![
                hex(&Sha1::digest(der), encode::hex_lower),
                hex(&Sha256::digest(der), encode::hex_lower),
            ],
            trust_store: vec![path.store.to_string()],
            root: vec![hex(&Sha256::digest(&*path.anchor), encode::hex_lower)],
            ..Self::default()
        };
        let issuer = path.intermediates.first().unwrap_or(&path.anchor);
        if let Some(ski) = Certificate::parse(issuer)
            .as_ref()
            .and_then(Certificate::subject_key_id)
        {
            attributes.issuer_ski = vec![hex(ski, encode::hex_upper)];
        }
        if let Some(certificate) = Certificate::parse(der) {
            attributes.read(&certificate);
        }
        attributes
    }

    fn read(&mut self, certificate: &Certificate<'_>) {
        if let Some(subject) = Name::parse(certificate.subject) {
            self.common_name = subject.common_name().into_iter().collect();
            self.organization = texts(&subject, ORGANIZATION);
            self.organizational_unit = texts(&subject, ORGANIZATIONAL_UNIT);
            self.country = texts(&subject, COUNTRY);
            self.state = texts(&subject, STATE);
            self.locality = texts(&subject, LOCALITY);
            self.domain_component = texts(&subject, DOMAIN_COMPONENT);
            self.user_id = texts(&subject, USER_ID);
        }
        if let Some(issuer) = Name::parse(certificate.issuer) {
            self.issuer_common_name = issuer.common_name().into_iter().collect();
            self.issuer_organization = texts(&issuer, ORGANIZATION);
            self.issuer_organizational_unit = texts(&issuer, ORGANIZATIONAL_UNIT);
        }
        self.eku = usage::purposes(certificate).unwrap_or_default();
        self.policy_oid = usage::policies(certificate).unwrap_or_default();
        self.extension = usage::extensions(certificate).unwrap_or_default();
        self.key_type = usage::key_type(certificate.spki).unwrap_or_default();
        self.lifetime = usage::lifetime(certificate);
        self.spki = vec![hex(&Sha256::digest(certificate.spki), encode::hex_lower)];
        let serial =
            encode::serial(certificate.serial).and_then(|text| String::from_utf8(text).ok());
        self.serial = serial.into_iter().collect();
        let Some(names) = certificate.alternative_names() else {
            return;
        };
        let plain = |kind| {
            let entries = alternative::of(&names, kind)?.into_iter();
            let entries = entries.map(|entry| {
                let visible = entry.iter().all(u8::is_ascii_graphic);
                visible
                    .then(|| str::from_utf8(entry).ok().map(str::to_owned))
                    .flatten()
            });
            entries.collect::<Option<Vec<String>>>()
        };
        self.san_dns = plain(Kind::Dns).unwrap_or_default();
        self.san_dns
            .iter_mut()
            .for_each(|name| name.make_ascii_lowercase());
        self.san_uri = plain(Kind::Uri).unwrap_or_default();
        self.san_email = plain(Kind::Email).unwrap_or_default();
        let addresses = alternative::of(&names, Kind::Ip)
            .unwrap_or_default()
            .into_iter();
        let addresses: Option<Vec<String>> = addresses.map(alternative::address).collect();
        self.san_ip = addresses.unwrap_or_default();
        let spiffe = alternative::spiffe(&names).and_then(|id| String::from_utf8(id).ok());
        self.spiffe = spiffe.into_iter().collect();
    }
}

fn texts(name: &Name<'_>, oid: &[u8]) -> Vec<String> {
    let texts = name.texts(oid).unwrap_or_default();
    match texts.iter().any(|text| text.chars().any(char::is_control)) {
        true => Vec::new(),
        false => texts,
    }
}

fn hex(bytes: &[u8], write: fn(&mut Vec<u8>, &[u8])) -> String {
    let mut out = Vec::with_capacity(2 * bytes.len());
    write(&mut out, bytes);
    String::from_utf8(out).unwrap_or_default()
}

const COUNTRY: &[u8] = &[0x55, 4, 6];
const LOCALITY: &[u8] = &[0x55, 4, 7];
const STATE: &[u8] = &[0x55, 4, 8];
const DOMAIN_COMPONENT: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25];
const USER_ID: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const ORGANIZATIONAL_UNIT: &[u8] = &[0x55, 4, 11];
