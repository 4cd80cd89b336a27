//! Odd client certificates for the nginx oracle: every string type, attribute, serial, date, extension and chain shape
//! that a peer can send, written byte by byte (RFC 5280, X.690).
//!
//! The list of cases and their contents is the same on every run; keys and signatures are new each time.

pub mod chains;
pub mod constraints;
pub mod dates;
pub mod der;
pub mod extensions;
pub mod intermediates;
pub mod keys;
pub mod leaves;
pub mod names;
pub mod roots;
pub mod strangers;

use rustls::pki_types::CertificateDer;

use self::der::{OCTET_STRING, SEQUENCE, boolean, element, integer, oid, sequence};
pub use self::keys::Key;
use self::names::common_name;
pub use self::roots::World;

/// A client to present to both proxies.
#[derive(Clone, Debug)]
pub struct Case {
    /// Names it in reports; unique.
    pub name: String,
    /// The row of docs/validation.md it belongs to where the proxies differ.
    pub class: &'static str,
    /// Leaf first, as sent.
    pub chain: Vec<CertificateDer<'static>>,
    /// Signs CertificateVerify.
    pub key: Key,
    /// The serial has more than 20 bytes, which Herald caps.
    pub long_serial: bool,
}

/// A certificate in the making. All parts are DER and are written as they stand.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The version field: 2 is version 3, nothing is version 1.
    pub version: Option<u8>,
    /// Content octets of the serial number.
    pub serial: Vec<u8>,
    /// The subject's Name; the issuer's is the CA's.
    pub subject: Vec<u8>,
    /// The two times.
    pub validity: [Vec<u8>; 2],
    /// Between key and extensions: unique identifiers.
    pub unique_ids: Vec<u8>,
    /// Each a whole Extension.
    pub extensions: Vec<Vec<u8>>,
    /// The key certified.
    pub key: Key,
    /// The signature algorithm written inside, where it is to differ from the one outside.
    pub inner_algorithm: Option<Vec<u8>>,
}

/// A certificate that issues others.
#[derive(Clone, Debug)]
pub struct Ca {
    /// Its own certificate.
    pub der: CertificateDer<'static>,
    /// Its Name.
    pub name: Vec<u8>,
    /// Its key.
    pub key: Key,
}

/// Every case, for the CAs of `world`.
pub fn cases(world: &World) -> Vec<Case> {
    [
        names::cases(world),
        leaves::cases(world),
        dates::cases(world),
        extensions::cases(world),
        chains::cases(world),
        intermediates::cases(world),
        strangers::cases(world),
        constraints::cases(world),
    ]
    .concat()
}

impl Case {
    /// A leaf alone.
    pub fn leaf(name: impl Into<String>, class: &'static str, spec: &Spec, ca: &Ca) -> Self {
        Self {
            name: name.into(),
            class,
            chain: vec![spec.sign(ca)],
            key: spec.key.clone(),
            long_serial: spec.serial.len() > 20,
        }
    }

    /// A leaf, then others.
    #[must_use]
    pub fn with(mut self, others: &[&Ca]) -> Self {
        self.chain.extend(others.iter().map(|ca| ca.der.clone()));
        self
    }
}

impl Spec {
    /// An ordinary client certificate of version 3.
    pub fn client(name: &str, key: &Key) -> Self {
        Self {
            version: Some(2),
            serial: vec![0x12, 0x34, 0x56, 0x78],
            subject: common_name(name),
            validity: [der::utc("200101000000Z"), der::utc("491231235959Z")],
            unique_ids: Vec::new(),
            extensions: vec![usage(&[CLIENT_AUTH])],
            key: key.clone(),
            inner_algorithm: None,
        }
    }

    /// An ordinary CA certificate.
    pub fn ca(name: &str, key: &Key) -> Self {
        let mut spec = Self::client(name, key);
        spec.extensions = vec![ca_true(None), key_usage(KEY_CERT_SIGN | CRL_SIGN)];
        spec
    }

    /// Adds an extension.
    #[must_use]
    pub fn and(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Has these extensions and no others.
    #[must_use]
    pub fn only(mut self, extensions: &[Vec<u8>]) -> Self {
        self.extensions = extensions.to_vec();
        self
    }

    /// Is valid from `start` to `end`, UTCTime.
    #[must_use]
    pub fn valid(mut self, start: &str, end: &str) -> Self {
        self.validity = [der::utc(start), der::utc(end)];
        self
    }

    /// The certificate, signed by `ca`.
    pub fn sign(&self, ca: &Ca) -> CertificateDer<'static> {
        self.sign_as(&ca.name, &ca.key)
    }

    /// The certificate, signed by its own key in its own name.
    pub fn self_signed(&self) -> Ca {
        Ca {
            der: self.sign_as(&self.subject, &self.key),
            name: self.subject.clone(),
            key: self.key.clone(),
        }
    }

    /// The certificate as a CA below `ca`.
    pub fn below(&self, ca: &Ca) -> Ca {
        Ca {
            der: self.sign(ca),
            name: self.subject.clone(),
            key: self.key.clone(),
        }
    }

    fn sign_as(&self, issuer: &[u8], key: &Key) -> CertificateDer<'static> {
        let algorithm = key.signature_algorithm();
        let version = self
            .version
            .map(|number| element(0xA0, &[&integer(&[number])]))
            .unwrap_or_default();
        let extensions = if self.extensions.is_empty() {
            Vec::new()
        } else {
            element(0xA3, &[&sequence(&[&self.extensions.concat()])])
        };
        let tbs = sequence(&[
            &version,
            &integer(&self.serial),
            self.inner_algorithm.as_ref().unwrap_or(&algorithm),
            issuer,
            &sequence(&[&self.validity.concat()]),
            &self.subject,
            &self.key.public(),
            &self.unique_ids,
            &extensions,
        ]);
        let signature = [vec![0], key.sign(&tbs)].concat();
        sequence(&[&tbs, &algorithm, &element(der::BIT_STRING, &[&signature])]).into()
    }
}

/// An extension.
pub fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { boolean(true) } else { Vec::new() };
    sequence(&[&oid(id), &critical, &element(OCTET_STRING, &[value])])
}

/// basicConstraints with CA:TRUE.
pub fn ca_true(path_len: Option<u8>) -> Vec<u8> {
    let path_len = path_len.map(|n| integer(&[n])).unwrap_or_default();
    let value = sequence(&[&boolean(true), &path_len]);
    extension(BASIC_CONSTRAINTS, true, &value)
}

/// keyUsage with these bits of its first octet.
pub fn key_usage(bits: u8) -> Vec<u8> {
    let unused = u8::try_from(bits.trailing_zeros()).unwrap().min(7);
    let value = element(der::BIT_STRING, &[&[unused, bits]]);
    extension(KEY_USAGE, true, &value)
}

/// extendedKeyUsage.
pub fn usage(purposes: &[&str]) -> Vec<u8> {
    let purposes: Vec<u8> = purposes.iter().flat_map(|id| oid(id)).collect();
    extension(EXTENDED_KEY_USAGE, false, &sequence(&[&purposes]))
}

/// subjectAltName of GeneralNames, each a tag and content.
pub fn alt_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    extension(SUBJECT_ALT_NAME, false, &general_names(names))
}

/// A SEQUENCE OF GeneralName.
pub fn general_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<u8> = names
        .iter()
        .flat_map(|(tag, body)| element(*tag, &[body]))
        .collect();
    element(SEQUENCE, &[&names])
}

/// subjectKeyIdentifier.
pub fn subject_key_id(id: &[u8]) -> Vec<u8> {
    extension(SUBJECT_KEY_ID, false, &element(OCTET_STRING, &[id]))
}

/// authorityKeyIdentifier from parts that are DER already.
pub fn authority_key_id(parts: &[u8]) -> Vec<u8> {
    extension(AUTHORITY_KEY_ID, false, &sequence(&[parts]))
}

pub const SUBJECT_KEY_ID: &str = "2.5.29.14";
pub const KEY_USAGE: &str = "2.5.29.15";
pub const SUBJECT_ALT_NAME: &str = "2.5.29.17";
pub const BASIC_CONSTRAINTS: &str = "2.5.29.19";
pub const NAME_CONSTRAINTS: &str = "2.5.29.30";
pub const CERTIFICATE_POLICIES: &str = "2.5.29.32";
pub const AUTHORITY_KEY_ID: &str = "2.5.29.35";
pub const POLICY_CONSTRAINTS: &str = "2.5.29.36";
pub const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
pub const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
pub const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
pub const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
pub const EMAIL_PROTECTION: &str = "1.3.6.1.5.5.7.3.4";
pub const ANY_PURPOSE: &str = "2.5.29.37.0";
pub const DIGITAL_SIGNATURE: u8 = 0x80;
pub const NON_REPUDIATION: u8 = 0x40;
pub const KEY_ENCIPHERMENT: u8 = 0x20;
pub const KEY_AGREEMENT: u8 = 0x08;
pub const KEY_CERT_SIGN: u8 = 0x04;
pub const CRL_SIGN: u8 = 0x02;
pub const EMAIL: u8 = 0x81;
pub const DNS: u8 = 0x82;
pub const DIRECTORY: u8 = 0xA4;
pub const URI: u8 = 0x86;
pub const IP: u8 = 0x87;
