//! The fields of a certificate that are rendered, found in its DER. Only the frame must be sound: an
//! odd name, serial number, time or extension is kept as bytes for the printer of that field, because
//! OpenSSL accepts and prints certificates that stricter parsers refuse (negative serials, version 1
//! with extensions, years past 2049 in UTCTime ...), and an origin must see them as nginx shows them.

use super::der::{self, Element, Reader};

/// Borrowed fields of one certificate.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    /// Content of the serial number's INTEGER.
    pub(super) serial: &'a [u8],
    /// Content of the issuer's Name.
    pub(super) issuer: &'a [u8],
    /// Content of the subject's Name.
    pub(super) subject: &'a [u8],
    /// The issuer's whole Name.
    pub(super) issuer_raw: &'a [u8],
    /// The subject's whole Name.
    pub(super) subject_raw: &'a [u8],
    /// Start of validity, of any type.
    pub(super) not_before: Element<'a>,
    /// End of validity, of any type.
    pub(super) not_after: Element<'a>,
    /// The whole SubjectPublicKeyInfo.
    pub(super) spki: &'a [u8],
    /// Content of the SEQUENCE of extensions; empty without one.
    extensions: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Finds the fields. None if `der` is not the frame of a certificate (RFC 5280 §4.1).
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut tbs = Reader::new(der)
            .next(der::SEQUENCE)?
            .inside()
            .next(der::SEQUENCE)?
            .inside();
        tbs.next_if(|element| element.is_context(0));
        let serial = tbs.next(der::INTEGER)?.content;
        tbs.next(der::SEQUENCE)?;
        let issuer = tbs.next(der::SEQUENCE)?;
        let mut validity = tbs.next(der::SEQUENCE)?.inside();
        let not_before = validity.any()?;
        let not_after = validity.any()?;
        let subject = tbs.next(der::SEQUENCE)?;
        let spki = tbs.next(der::SEQUENCE)?.raw;
        tbs.next_if(|element| element.is_context(1));
        tbs.next_if(|element| element.is_context(2));
        let extensions = match tbs.next_if(|element| element.is_context(3)) {
            Some(explicit) => explicit.inside().next(der::SEQUENCE)?.content,
            None => b"",
        };
        Some(Self {
            serial,
            issuer: issuer.content,
            subject: subject.content,
            issuer_raw: issuer.raw,
            subject_raw: subject.raw,
            not_before,
            not_after,
            spki,
            extensions,
        })
    }

    /// All extensions, type and value, in order. None if one is malformed or a type occurs twice.
    pub(super) fn extensions(&self) -> Option<Vec<(&'a [u8], &'a [u8])>> {
        let mut found = Vec::new();
        let mut list = Reader::new(self.extensions);
        while !list.is_empty() {
            let mut extension = list.next(der::SEQUENCE)?.inside();
            let kind = extension.next(der::OBJECT_IDENTIFIER)?.content;
            extension.next_if(|element| element.is(der::BOOLEAN));
            let value = extension.next(der::OCTET_STRING)?.content;
            found.push((kind, value));
        }
        let mut kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
        kinds.sort_unstable();
        let count = kinds.len();
        kinds.dedup();
        (kinds.len() == count).then_some(found)
    }

    /// The value of the only extension of this type. None if there is none, if there are two (no
    /// one can say which of them counts; `X509_get_ext_d2i` answers the same), or if the list of
    /// extensions is malformed.
    pub(super) fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        let mut found = None;
        let mut list = Reader::new(self.extensions);
        while !list.is_empty() {
            let mut extension = list.next(der::SEQUENCE)?.inside();
            let kind = extension.next(der::OBJECT_IDENTIFIER)?.content;
            extension.next_if(|element| element.is(der::BOOLEAN));
            let value = extension.next(der::OCTET_STRING)?.content;
            if kind == oid && found.replace(value).is_some() {
                return None;
            }
        }
        found
    }

    /// The subject key identifier (RFC 5280 §4.2.1.2).
    pub(super) fn subject_key_id(&self) -> Option<&'a [u8]> {
        let mut value = Reader::new(self.extension(SUBJECT_KEY_ID)?);
        let id = value.next(der::OCTET_STRING)?.content;
        value.is_empty().then_some(id)
    }

    /// The general names of the subject (RFC 5280 §4.2.1.6), in order; None as in
    /// [`Certificate::extension`] and where any entry is malformed.
    pub(super) fn alternative_names(&self) -> Option<Vec<Element<'a>>> {
        let mut value = Reader::new(self.extension(SUBJECT_ALT_NAME)?);
        let mut entries = value.next(der::SEQUENCE)?.inside();
        let mut names = Vec::new();
        while !entries.is_empty() {
            names.push(entries.any().filter(|entry| entry.is_context(entry.tag))?);
        }
        value.is_empty().then_some(names)
    }
}

const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 14];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
