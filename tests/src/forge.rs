//! Certificates that no sound library would make: version 1, two common names, line breaks and NUL in a name, serials of
//! any length. Written byte by byte (X.690 DER, RFC 5280 §4.1).

use std::sync::Arc;

use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use rustls::pki_types::CertificateDer;

use crate::pki::{Authority, Identity, Key};

/// What to put into a forged certificate.
#[derive(Clone, Debug)]
pub struct Forgery {
    /// 0 for version 1 (no extensions then), 2 for version 3.
    pub version: u8,
    /// The content bytes of the serial's INTEGER.
    pub serial: Vec<u8>,
    /// RDNs of the subject, each one attribute: DER of the OID's content, string tag, value.
    pub subject: Vec<(Vec<u8>, u8, Vec<u8>)>,
    /// DER of each extension (the whole SEQUENCE).
    pub extensions: Vec<Vec<u8>>,
}

impl Forgery {
    /// An ordinary version 3 client certificate with these common names.
    pub fn named(common_names: &[&[u8]]) -> Self {
        let mut subject = vec![(COUNTRY.to_vec(), PRINTABLE, b"US".to_vec())];
        subject.extend(
            common_names
                .iter()
                .map(|cn| (COMMON_NAME.to_vec(), UTF8, cn.to_vec())),
        );
        Self {
            version: 2,
            serial: vec![0x0A, 0x0B],
            subject,
            extensions: vec![client_auth()],
        }
    }

    /// Signs it with `authority`'s key, valid from 2026 to 2049.
    pub fn issue(&self, authority: &Authority) -> Identity {
        let key = Key::Ec.generate();
        let der = self.sign(
            &key,
            issuer_name(authority.issuer.der()),
            authority.issuer.key(),
        );
        Identity {
            chain: vec![der],
            key: Arc::new(key),
        }
    }

    fn sign(&self, key: &KeyPair, issuer: Vec<u8>, signer: &KeyPair) -> CertificateDer<'static> {
        let mut body = Vec::new();
        if self.version > 0 {
            body.extend(wrap(0xA0, &wrap(INTEGER, &[self.version])));
        }
        body.extend(wrap(INTEGER, &self.serial));
        body.extend(ecdsa_sha256());
        body.extend(issuer);
        let dates = [
            wrap(UTC_TIME, b"260102030405Z"),
            wrap(UTC_TIME, b"491130010203Z"),
        ]
        .concat();
        body.extend(wrap(SEQUENCE, &dates));
        body.extend(self.name());
        body.extend(key.subject_public_key_info());
        if !self.extensions.is_empty() {
            body.extend(wrap(0xA3, &wrap(SEQUENCE, &self.extensions.concat())));
        }
        let body = wrap(SEQUENCE, &body);
        let mut bits = vec![0];
        bits.extend(signer.sign(&body).unwrap());
        let parts = [body, ecdsa_sha256(), wrap(BIT_STRING, &bits)].concat();
        CertificateDer::from(wrap(SEQUENCE, &parts))
    }

    fn name(&self) -> Vec<u8> {
        let mut rdns = Vec::new();
        for (oid, tag, value) in &self.subject {
            let attribute = [wrap(OID, oid), wrap(*tag, value)].concat();
            rdns.extend(wrap(SET, &wrap(SEQUENCE, &attribute)));
        }
        wrap(SEQUENCE, &rdns)
    }
}

/// One DER element.
pub fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match content.len() {
        short @ 0..=0x7F => element.push(u8::try_from(short).unwrap()),
        long => {
            let bytes = long.to_be_bytes();
            let digits: Vec<u8> = bytes.into_iter().skip_while(|&byte| byte == 0).collect();
            element.push(0x80 | u8::try_from(digits.len()).unwrap());
            element.extend(digits);
        }
    }
    element.extend(content);
    element
}

/// An extension: OID content, critical or not, DER of the value.
pub fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let mut content = wrap(OID, oid);
    if critical {
        content.extend(wrap(0x01, &[0xFF]));
    }
    content.extend(wrap(0x04, value));
    wrap(SEQUENCE, &content)
}

/// extendedKeyUsage: clientAuth.
pub fn client_auth() -> Vec<u8> {
    let usage = wrap(OID, &[0x2B, 6, 1, 5, 5, 7, 3, 2]);
    extension(&[0x55, 0x1D, 0x25], false, &wrap(SEQUENCE, &usage))
}

/// The DER of a certificate's subject, which is the issuer of what it signs.
fn issuer_name(der: &[u8]) -> Vec<u8> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
    certificate.subject().as_raw().to_vec()
}

/// AlgorithmIdentifier ecdsa-with-SHA256, without parameters (RFC 5758 §3.2).
fn ecdsa_sha256() -> Vec<u8> {
    wrap(
        SEQUENCE,
        &wrap(OID, &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2]),
    )
}

/// 2.5.4.3
pub const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// 2.5.4.6
pub const COUNTRY: &[u8] = &[0x55, 4, 6];
/// 2.5.4.11
pub const UNIT: &[u8] = &[0x55, 4, 11];
/// UTF8String.
pub const UTF8: u8 = 0x0C;
/// PrintableString.
pub const PRINTABLE: u8 = 0x13;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
