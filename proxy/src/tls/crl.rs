//! One certificate revocation list (RFC 5280 §5), read strictly: a list that says less than its
//! operator thinks lets revoked clients in. Refused are delta lists, indirect lists, lists of
//! attribute certificates, those without nextUpdate and those with critical extensions that are not
//! known here. A list for some distribution points or reasons counts for what it lists.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rustls::pki_types::SignatureVerificationAlgorithm;
use sha2::{Digest, Sha256};

use super::der::{
    self, BIT_STRING, BOOLEAN, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, explicit, implicit,
};
use super::facts::{Facts, Signed};
use super::name::CanonicalName;
use super::time::unix_seconds;

/// A list, and what is known of who signed it.
#[derive(Debug)]
pub(super) struct Crl {
    pub(super) issuer: CanonicalName,
    /// Unix seconds.
    pub(super) this_update: i64,
    pub(super) next_update: i64,
    /// The issuing distribution point as it stands; lists with the same one follow each other.
    scope: Vec<u8>,
    /// Serial numbers without leading zeros.
    serials: HashSet<Box<[u8]>>,
    signed: Signed,
    /// Keys that were asked about, by the digest of their SubjectPublicKeyInfo. A signature over a
    /// large list is not checked for every caller.
    known: Mutex<Vec<([u8; 32], bool)>>,
}

impl Crl {
    /// Reads a list in DER.
    ///
    /// # Errors
    /// What is wrong with it, for its operator.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let unreadable = "not a certificate revocation list";
        let list = der::only(bytes, SEQUENCE).ok_or(unreadable)?;
        let (tbs, signed) = read_signed(list).ok_or(unreadable)?;
        if !signed.is_consistent() {
            return Err("a list whose two signature algorithms differ");
        }
        let mut fields = Reader::new(tbs);
        match fields.optional(INTEGER).ok_or(unreadable)? {
            None => {}
            Some(version) if version.body == [1] => {}
            Some(_) => return Err("a list of an unknown version"),
        }
        fields.expect(SEQUENCE).ok_or(unreadable)?;
        let issuer = fields.expect(SEQUENCE).ok_or(unreadable)?.body;
        let issuer = CanonicalName::read(issuer).ok_or(unreadable)?;
        let this_update = fields.read().and_then(unix_seconds).ok_or(unreadable)?;
        let mut next = fields.read();
        let next_update = next.and_then(unix_seconds);
        let next_update =
            next_update.ok_or("a list without nextUpdate, which RFC 5280 §5.1.2.5 demands")?;
        next = fields.read();
        let mut serials = HashSet::new();
        if let Some(entries) = next.filter(|field| field.tag == SEQUENCE) {
            read_entries(entries.body, &mut serials)?;
            next = fields.read();
        }
        let scope = match next {
            Some(extensions) if extensions.tag == explicit(0) => {
                let list = der::only(extensions.body, SEQUENCE).ok_or(unreadable)?;
                read_extensions(list)?
            }
            Some(_) => return Err(unreadable),
            None => Vec::new(),
        };
        if !fields.is_empty() {
            return Err(unreadable);
        }
        Ok(Self {
            issuer,
            this_update,
            next_update,
            scope,
            serials,
            signed,
            known: Mutex::default(),
        })
    }

    /// Whether the list names this certificate; its issuer is the caller's to compare.
    pub(super) fn names(&self, certificate: &Facts) -> bool {
        self.serials.contains(bare(&certificate.serial))
    }

    /// Whether `issuer`'s key signed it.
    pub(super) fn is_by(
        &self,
        issuer: &Facts,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let key: [u8; 32] = Sha256::digest(&issuer.spki).into();
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, is_by)) = lock().iter().find(|(known, _)| *known == key) {
            return *is_by;
        }
        let is_by = self.signed.is_by(&issuer.key, algorithms) == Some(true);
        let mut known = lock();
        if known.len() >= KEYS_MAX {
            known.remove(0);
        }
        known.push((key, is_by));
        is_by
    }

    /// Whether `other` takes this list's place.
    pub(super) fn is_superseded_by(&self, other: &Self) -> bool {
        self.scope == other.scope && other.this_update > self.this_update
    }

    /// How many certificates it lists.
    pub(super) fn len(&self) -> usize {
        self.serials.len()
    }
}

fn read_signed(list: &[u8]) -> Option<(&[u8], Signed)> {
    let mut list = Reader::new(list);
    let tbs = list.expect(SEQUENCE)?;
    let outer = list.expect(SEQUENCE)?.body;
    let signature = der::whole_octets(list.expect(BIT_STRING)?.body)?;
    let mut fields = Reader::new(tbs.body);
    fields.optional(INTEGER)?;
    let inner = fields.expect(SEQUENCE)?.body;
    list.is_empty()
        .then(|| (tbs.body, Signed::new(tbs.whole, (outer, inner), signature)))
}

fn read_entries(body: &[u8], serials: &mut HashSet<Box<[u8]>>) -> Result<(), &'static str> {
    let mut entries = Reader::new(body);
    while !entries.is_empty() {
        let entry = entries
            .expect(SEQUENCE)
            .ok_or("a list with a broken entry")?;
        let mut fields = Reader::new(entry.body);
        let serial = fields.expect(INTEGER).ok_or("a list with a broken entry")?;
        fields
            .read()
            .and_then(unix_seconds)
            .ok_or("a list with a broken entry")?;
        if let Some(extensions) = fields.optional(SEQUENCE).flatten() {
            each_extension(extensions.body, |id, is_critical, _| match id {
                CERTIFICATE_ISSUER => Err("an indirect list: it names certificates of other CAs"),
                REASON | INVALIDITY_DATE => Ok(()),
                _ if is_critical => Err("a list with an unknown critical extension of an entry"),
                _ => Ok(()),
            })?;
        }
        if !fields.is_empty() {
            return Err("a list with a broken entry");
        }
        serials.insert(bare(serial.body).into());
    }
    Ok(())
}

/// The issuing distribution point, if there is one.
fn read_extensions(body: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut scope = Vec::new();
    each_extension(body, |id, is_critical, value| match id {
        DELTA => Err("a delta list; the complete one is needed"),
        ISSUING_POINT => {
            scope = value.to_vec();
            read_issuing_point(value)
        }
        AUTHORITY_KEY | NUMBER | FRESHEST => Ok(()),
        _ if is_critical => Err("a list with an unknown critical extension"),
        _ => Ok(()),
    })?;
    Ok(scope)
}

/// RFC 5280 §5.2.5
fn read_issuing_point(value: &[u8]) -> Result<(), &'static str> {
    let broken = "a list with a broken issuing distribution point";
    let mut fields = Reader::new(der::only(value, SEQUENCE).ok_or(broken)?);
    while !fields.is_empty() {
        let field = fields.read().ok_or(broken)?;
        if field.tag == implicit(4) && field.body != [0] {
            return Err("an indirect list: it names certificates of other CAs");
        }
        if field.tag == implicit(5) && field.body != [0] {
            return Err("a list of attribute certificates");
        }
    }
    Ok(())
}

fn each_extension(
    body: &[u8],
    mut take: impl FnMut(&[u8], bool, &[u8]) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let mut list = Reader::new(body);
    while !list.is_empty() {
        let extension = list.expect(SEQUENCE).and_then(|each| extension(each.body));
        let (id, is_critical, value) = extension.ok_or("a list with a broken extension")?;
        take(id, is_critical, value)?;
    }
    Ok(())
}

fn extension(body: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let mut fields = Reader::new(body);
    let id = fields.expect(OID)?.body;
    let is_critical = fields
        .optional(BOOLEAN)?
        .is_some_and(|flag| flag.body != [0]);
    let value = fields.expect(OCTET_STRING)?.body;
    fields.is_empty().then_some((id, is_critical, value))
}

/// A number without leading zeros: CAs disagree about them.
fn bare(serial: &[u8]) -> &[u8] {
    let start = serial.iter().position(|octet| *octet != 0);
    start
        .and_then(|start| serial.get(start..))
        .unwrap_or_default()
}

/// Keys that a list remembers: those of CAs that share its issuer's name.
const KEYS_MAX: usize = 16;
/// 2.5.29.N
const NUMBER: &[u8] = &[0x55, 0x1d, 20];
const REASON: &[u8] = &[0x55, 0x1d, 21];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 24];
const DELTA: &[u8] = &[0x55, 0x1d, 27];
const ISSUING_POINT: &[u8] = &[0x55, 0x1d, 28];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 35];
const FRESHEST: &[u8] = &[0x55, 0x1d, 46];
