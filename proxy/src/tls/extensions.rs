//! The extensions that decide a verdict, read leniently the way OpenSSL caches them
//! (`ossl_x509v3_cache_extensions`): what cannot be read marks the certificate as invalid
//! instead of stopping the reading.

use super::der::{
    self, BIT_STRING, BOOLEAN, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, explicit, implicit,
};
use super::name::CanonicalName;

/// The extensions of one certificate.
#[derive(Clone, Debug, Default)]
pub(super) struct Extensions {
    pub(super) basic_constraints: Option<BasicConstraints>,
    /// Bits as OpenSSL holds them: first octet low, second octet high.
    pub(super) key_usage: Option<u16>,
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
    /// Netscape's certificate type, first octet.
    pub(super) netscape_type: Option<u8>,
    pub(super) subject_key_id: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<AuthorityKeyId>,
    pub(super) alt_names: Vec<GeneralName>,
    pub(super) name_constraints: Option<NameConstraints>,
    /// RFC 3820 proxyCertInfo is there.
    pub(super) proxy: bool,
    /// A critical extension that OpenSSL does not process.
    pub(super) unknown_critical: bool,
    /// An extension of a kind read here is malformed, empty where that is forbidden, or twice there.
    pub(super) invalid: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BasicConstraints {
    pub(super) ca: bool,
    pub(super) path_len: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ExtendedKeyUsage {
    pub(super) client_auth: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct AuthorityKeyId {
    pub(super) key_id: Option<Vec<u8>>,
    /// Content octets of the issuer's serial INTEGER.
    pub(super) serial: Option<Vec<u8>>,
    /// The first directoryName among the issuer's names.
    pub(super) issuer: Option<CanonicalName>,
}

/// A GeneralName: its context tag and content octets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct GeneralName {
    pub(super) tag: u8,
    pub(super) body: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct NameConstraints {
    pub(super) permitted: Vec<Subtree>,
    pub(super) excluded: Vec<Subtree>,
}

#[derive(Clone, Debug)]
pub(super) struct Subtree {
    pub(super) base: GeneralName,
    /// The base's name where it is a directoryName that can be read.
    pub(super) directory: Option<CanonicalName>,
    /// `minimum` other than 0, or any `maximum`: RFC 5280 §4.2.1.10 forbids both.
    pub(super) has_distance: bool,
}

impl Extensions {
    /// Reads the content of the SEQUENCE OF Extension.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut found = Self::default();
        let mut seen = Vec::new();
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            let Some(extension) = reader.expect(SEQUENCE).and_then(|e| fields(e.body)) else {
                found.invalid = true;
                break;
            };
            if extension.critical && !PROCESSED.contains(&extension.id) {
                found.unknown_critical = true;
            }
            if READ.contains(&extension.id) {
                if seen.contains(&extension.id) {
                    found.invalid = true;
                    continue;
                }
                seen.push(extension.id);
                if found.remember(extension.id, extension.value).is_none() {
                    found.invalid = true;
                }
            }
        }
        found
    }

    /// Files one extension's value; nothing where it is malformed.
    fn remember(&mut self, id: &[u8], value: &[u8]) -> Option<()> {
        match id {
            BASIC_CONSTRAINTS => self.basic_constraints = Some(basic_constraints(value)?),
            KEY_USAGE => {
                let bits = bits(value)?;
                self.key_usage = Some(bits);
                // RFC 5280 §4.2.1.3: at least one of the bits MUST be set.
                if bits == 0 {
                    return None;
                }
            }
            EXTENDED_KEY_USAGE => self.extended_key_usage = Some(extended_key_usage(value)?),
            NETSCAPE_TYPE => self.netscape_type = Some(bits(value)?.to_le_bytes()[0]),
            SUBJECT_KEY_ID => self.subject_key_id = Some(der::only(value, OCTET_STRING)?.to_vec()),
            AUTHORITY_KEY_ID => self.authority_key_id = Some(authority_key_id(value)?),
            SUBJECT_ALT_NAME => self.alt_names = general_names(der::only(value, SEQUENCE)?)?,
            NAME_CONSTRAINTS => self.name_constraints = Some(name_constraints(value)?),
            PROXY_CERT_INFO => self.proxy = true,
            _ => {}
        }
        Some(())
    }
}

struct Extension<'a> {
    id: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

fn fields(body: &[u8]) -> Option<Extension<'_>> {
    let mut reader = Reader::new(body);
    let id = reader.expect(OID)?.body;
    let critical = match reader.optional(BOOLEAN)? {
        Some(flag) => boolean(flag.body)?,
        None => false,
    };
    let value = reader.expect(OCTET_STRING)?.body;
    reader.is_empty().then_some(Extension {
        id,
        critical,
        value,
    })
}

fn boolean(body: &[u8]) -> Option<bool> {
    match body {
        [octet] => Some(*octet != 0),
        _ => None,
    }
}

fn basic_constraints(value: &[u8]) -> Option<BasicConstraints> {
    let mut reader = Reader::new(der::only(value, SEQUENCE)?);
    let ca = match reader.optional(BOOLEAN)? {
        Some(flag) => boolean(flag.body)?,
        None => false,
    };
    let path_len = match reader.optional(INTEGER)? {
        Some(number) => Some(small_natural(number.body)?),
        None => None,
    };
    reader
        .is_empty()
        .then_some(BasicConstraints { ca, path_len })
}

/// A non-negative INTEGER; what exceeds `usize` is as good as the largest.
fn small_natural(body: &[u8]) -> Option<usize> {
    if body.first()? & 0x80 != 0 {
        return None;
    }
    let value = body.iter().fold(0_usize, |value, octet| {
        value
            .saturating_mul(256)
            .saturating_add(usize::from(*octet))
    });
    Some(value)
}

/// The first sixteen bits of a BIT STRING, first octet low.
fn bits(value: &[u8]) -> Option<u16> {
    let (unused, octets) = der::only(value, BIT_STRING)?.split_first()?;
    if *unused > 7 || (octets.is_empty() && *unused != 0) {
        return None;
    }
    let octet = |index: usize| octets.get(index).copied().unwrap_or(0);
    Some(u16::from_le_bytes([octet(0), octet(1)]))
}

fn extended_key_usage(value: &[u8]) -> Option<ExtendedKeyUsage> {
    let mut reader = Reader::new(der::only(value, SEQUENCE)?);
    let mut usage = ExtendedKeyUsage::default();
    while !reader.is_empty() {
        usage.client_auth |= reader.expect(OID)?.body == CLIENT_AUTH;
    }
    Some(usage)
}

fn authority_key_id(value: &[u8]) -> Option<AuthorityKeyId> {
    let mut reader = Reader::new(der::only(value, SEQUENCE)?);
    let key_id = reader.optional(implicit(0))?.map(|id| id.body.to_vec());
    let issuer = match reader.optional(explicit(1))? {
        Some(names) => general_names(names.body)?
            .into_iter()
            .find(|name| name.tag == DIRECTORY_NAME)
            .and_then(|name| name.directory()),
        None => None,
    };
    let serial = reader
        .optional(implicit(2))?
        .map(|number| number.body.to_vec());
    reader.is_empty().then_some(AuthorityKeyId {
        key_id,
        serial,
        issuer,
    })
}

impl GeneralName {
    /// The name inside a directoryName, canonical.
    pub(super) fn directory(&self) -> Option<CanonicalName> {
        CanonicalName::read(der::only(&self.body, SEQUENCE)?)
    }
}

fn general_names(body: &[u8]) -> Option<Vec<GeneralName>> {
    let mut reader = Reader::new(body);
    let mut names = Vec::new();
    while !reader.is_empty() {
        let name = reader.read()?;
        if name.tag & 0xc0 != 0x80 {
            return None;
        }
        names.push(GeneralName {
            tag: name.tag,
            body: name.body.to_vec(),
        });
    }
    Some(names)
}

fn name_constraints(value: &[u8]) -> Option<NameConstraints> {
    let mut reader = Reader::new(der::only(value, SEQUENCE)?);
    let mut subtrees_of = |number| match reader.optional(explicit(number))? {
        Some(list) => subtrees(list.body),
        None => Some(Vec::new()),
    };
    let permitted = subtrees_of(0)?;
    let excluded = subtrees_of(1)?;
    reader.is_empty().then_some(NameConstraints {
        permitted,
        excluded,
    })
}

fn subtrees(body: &[u8]) -> Option<Vec<Subtree>> {
    let mut reader = Reader::new(body);
    let mut list = Vec::new();
    while !reader.is_empty() {
        let mut subtree = Reader::new(reader.expect(SEQUENCE)?.body);
        let base = subtree.read()?;
        let minimum = subtree.optional(implicit(0))?;
        let maximum = subtree.optional(implicit(1))?;
        if base.tag & 0xc0 != 0x80 || !subtree.is_empty() {
            return None;
        }
        let base = GeneralName {
            tag: base.tag,
            body: base.body.to_vec(),
        };
        list.push(Subtree {
            directory: (base.tag == DIRECTORY_NAME)
                .then(|| base.directory())
                .flatten(),
            base,
            has_distance: maximum.is_some() || minimum.is_some_and(|m| m.body != [0]),
        });
    }
    Some(list)
}

/// Key usage bits (RFC 5280 §4.2.1.3) in the layout of [`Extensions::key_usage`].
pub(super) const DIGITAL_SIGNATURE: u16 = 0x80;
pub(super) const KEY_AGREEMENT: u16 = 0x08;
pub(super) const KEY_CERT_SIGN: u16 = 0x04;
pub(super) const CRL_SIGN: u16 = 0x02;
/// Netscape certificate type bits.
pub(super) const NETSCAPE_SSL_CLIENT: u8 = 0x80;
pub(super) const NETSCAPE_SSL_CA: u8 = 0x04;
pub(super) const NETSCAPE_ANY_CA: u8 = 0x07;
/// GeneralName tags.
pub(super) const OTHER_NAME: u8 = 0xa0;
pub(super) const EMAIL: u8 = 0x81;
pub(super) const DNS: u8 = 0x82;
pub(super) const DIRECTORY_NAME: u8 = 0xa4;
pub(super) const URI: u8 = 0x86;
pub(super) const IP_ADDRESS: u8 = 0x87;

const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 14];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];
const CERTIFICATE_POLICIES: &[u8] = &[0x55, 0x1d, 32];
const POLICY_MAPPINGS: &[u8] = &[0x55, 0x1d, 33];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
const POLICY_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 36];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const INHIBIT_ANY_POLICY: &[u8] = &[0x55, 0x1d, 54];
/// 2.16.840.1.113730.1.1
const NETSCAPE_TYPE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 0x01];
/// 1.3.6.1.5.5.7.1.7, .8, .14 and 1.3.6.1.5.5.7.48.1.5
const IP_ADDRESS_BLOCKS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 7];
const AUTONOMOUS_SYSTEMS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 8];
const PROXY_CERT_INFO: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 14];
const OCSP_NO_CHECK: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 5];
/// 1.3.6.1.5.5.7.3.2
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

/// OpenSSL's `X509_supported_extension`: others may not be critical.
const PROCESSED: [&[u8]; 15] = [
    NETSCAPE_TYPE,
    KEY_USAGE,
    SUBJECT_ALT_NAME,
    BASIC_CONSTRAINTS,
    CERTIFICATE_POLICIES,
    CRL_DISTRIBUTION_POINTS,
    EXTENDED_KEY_USAGE,
    IP_ADDRESS_BLOCKS,
    AUTONOMOUS_SYSTEMS,
    OCSP_NO_CHECK,
    POLICY_CONSTRAINTS,
    PROXY_CERT_INFO,
    NAME_CONSTRAINTS,
    POLICY_MAPPINGS,
    INHIBIT_ANY_POLICY,
];

/// Those whose value is read here, so that a malformed or repeated one is noticed.
const READ: [&[u8]; 9] = [
    BASIC_CONSTRAINTS,
    KEY_USAGE,
    EXTENDED_KEY_USAGE,
    NETSCAPE_TYPE,
    SUBJECT_KEY_ID,
    AUTHORITY_KEY_ID,
    SUBJECT_ALT_NAME,
    NAME_CONSTRAINTS,
    PROXY_CERT_INFO,
];
