//! Distinguished names in the form OpenSSL compares them in (`asn1_string_canon`): strings as
//! UTF-8, ASCII letters in lower case, white space trimmed and collapsed. Used only to explain
//! refusals and to refuse more; which names chain together for `SUCCESS` is decided by webpki,
//! byte for byte.

use std::borrow::Cow;

use super::der::{OID, Reader, SEQUENCE, SET};

/// A name whose equality is OpenSSL's `X509_NAME_cmp`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct CanonicalName {
    /// One entry an RDN: its attributes, sorted, each as OID, type and value with lengths.
    rdns: Vec<Vec<Vec<u8>>>,
}

impl CanonicalName {
    /// Reads the content of a `Name`'s SEQUENCE; nothing where it or a string in it is malformed.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut rdns = Vec::new();
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            let mut attributes = Vec::new();
            let mut set = Reader::new(reader.expect(SET)?.body);
            while !set.is_empty() {
                attributes.push(attribute(set.expect(SEQUENCE)?.body)?);
            }
            attributes.sort_unstable();
            rdns.push(attributes);
        }
        Some(Self { rdns })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rdns.is_empty()
    }

    /// Whether `base` is this name or one above it (RFC 5280 §4.2.1.10, directoryName).
    pub(super) fn is_within(&self, base: &Self) -> bool {
        self.rdns.starts_with(&base.rdns)
    }

    /// Whether this is `base` and one RDN more, of a single attribute of type `oid` (content
    /// octets), as RFC 3820 §3.4 has it for proxy certificates.
    pub(super) fn extends_by(&self, base: &Self, oid: &[u8]) -> bool {
        let Some((last, front)) = self.rdns.split_last() else {
            return false;
        };
        let is_of_type = |attribute: &Vec<u8>| {
            Reader::new(attribute)
                .read()
                .is_some_and(|id| id.body == oid)
        };
        front == base.rdns && !front.is_empty() && last.len() == 1 && last.iter().all(is_of_type)
    }

    /// The number of attributes, which name constraints cost by.
    pub(super) fn attribute_count(&self) -> usize {
        self.rdns.iter().map(Vec::len).sum()
    }
}

/// The values of every attribute of type `oid` (content octets) with their string tag.
pub(super) fn attribute_values<'a>(name: &'a [u8], oid: &[u8]) -> Vec<(u8, &'a [u8])> {
    let mut values = Vec::new();
    let mut reader = Reader::new(name);
    while let Some(rdn) = reader.read() {
        let mut set = Reader::new(rdn.body);
        while let Some(attribute) = set.read() {
            let mut fields = Reader::new(attribute.body);
            if let (Some(id), Some(value)) = (fields.read(), fields.read())
                && id.body == oid
            {
                values.push((value.tag, value.body));
            }
        }
    }
    values
}

/// The string as UTF-8, as `ASN1_STRING_to_UTF8` gives it: T61, IA5, Printable and Visible
/// strings are read as Latin-1.
pub(super) fn utf8(tag: u8, body: &[u8]) -> Option<Cow<'_, str>> {
    let ascii = || str::from_utf8(body).ok().filter(|text| text.is_ascii());
    match tag {
        UTF8_STRING => str::from_utf8(body).ok().map(Cow::Borrowed),
        PRINTABLE_STRING | T61_STRING | IA5_STRING | VISIBLE_STRING => Some(match ascii() {
            Some(ascii) => Cow::Borrowed(ascii),
            None => body.iter().map(|byte| char::from(*byte)).collect(),
        }),
        BMP_STRING => {
            let (units, rest) = body.as_chunks::<2>();
            if !rest.is_empty() {
                return None;
            }
            units
                .iter()
                .map(|unit| char::from_u32(u32::from(u16::from_be_bytes(*unit))))
                .collect()
        }
        UNIVERSAL_STRING => {
            let (units, rest) = body.as_chunks::<4>();
            if !rest.is_empty() {
                return None;
            }
            units
                .iter()
                .map(|unit| char::from_u32(u32::from_be_bytes(*unit)))
                .collect()
        }
        _ => None,
    }
}

fn attribute(body: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Reader::new(body);
    let id = fields.expect(OID)?;
    let value = fields.read()?;
    if !fields.is_empty() {
        return None;
    }
    let mut canonical = Vec::with_capacity(id.whole.len() + value.whole.len());
    canonical.extend_from_slice(id.whole);
    if CANONICAL_TYPES.contains(&value.tag) {
        canonical.push(UTF8_STRING);
        fold(&mut canonical, &utf8(value.tag, value.body)?);
    } else {
        canonical.extend_from_slice(value.whole);
    }
    Some(canonical)
}

/// Appends `text` with white space trimmed and collapsed and ASCII letters in lower case.
fn fold(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let words = text.as_bytes().split(is_space);
    for word in words.filter(|word| !word.is_empty()) {
        if out.len() > start {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
    if let Some(folded) = out.get_mut(start..) {
        folded.make_ascii_lowercase();
    }
}

pub(super) const IA5_STRING: u8 = 0x16;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const T61_STRING: u8 = 0x14;
const VISIBLE_STRING: u8 = 0x1a;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;
/// OpenSSL's `ASN1_MASK_CANON`: other types are compared as they stand.
const CANONICAL_TYPES: [u8; 7] = [
    UTF8_STRING,
    BMP_STRING,
    UNIVERSAL_STRING,
    PRINTABLE_STRING,
    T61_STRING,
    IA5_STRING,
    VISIBLE_STRING,
];

#[cfg(test)]
mod tests {
    use super::CanonicalName;

    fn name(tag: u8, value: &[u8]) -> Option<CanonicalName> {
        let mut attribute = vec![
            0x06,
            0x03,
            0x55,
            0x04,
            0x03,
            tag,
            u8::try_from(value.len()).unwrap(),
        ];
        attribute.extend_from_slice(value);
        let length = u8::try_from(attribute.len()).unwrap();
        let mut body = vec![0x31, length + 2, 0x30, length];
        body.extend(attribute);
        CanonicalName::read(&body)
    }

    #[test]
    fn case_space_and_string_type_do_not_tell_names_apart() {
        let plain = name(0x0c, b"a root");
        assert!(plain.is_some());
        assert_eq!(name(0x13, b"  A \t Root "), plain);
        assert_eq!(name(0x1e, b"\0a\0 \0R\0o\0o\0t"), plain);
        assert_ne!(name(0x12, b"a root"), plain);
        assert_ne!(name(0x0c, b"aroot"), plain);
    }

    /// RDNs of common names, as a `Name`'s content.
    fn of(rdns: &[&[&[u8]]]) -> CanonicalName {
        let tlv = |tag: u8, body: &[u8]| [&[tag, u8::try_from(body.len()).unwrap()], body].concat();
        let attribute = |value: &&[u8]| {
            let id = tlv(0x06, &[0x55, 4, 3]);
            tlv(0x30, &[id, tlv(0x0c, value)].concat())
        };
        let rdn = |rdn: &&[&[u8]]| {
            let attributes: Vec<_> = rdn.iter().map(attribute).collect();
            tlv(0x31, &attributes.concat())
        };
        let body: Vec<_> = rdns.iter().map(rdn).collect();
        CanonicalName::read(&body.concat()).unwrap()
    }

    #[test]
    fn the_attributes_of_an_rdn_have_no_order_and_rdns_have() {
        assert_eq!(of(&[&[b"b", b"aa", b"a"]]), of(&[&[b"a", b"b", b"aa"]]));
        assert_ne!(of(&[&[b"a"], &[b"b"]]), of(&[&[b"b"], &[b"a"]]));
        assert_ne!(of(&[&[b"a", b"b"]]), of(&[&[b"a"], &[b"b"]]));
        assert_eq!(of(&[&[b"a", b"b"], &[b"c"]]).attribute_count(), 3);
    }

    #[test]
    fn a_name_is_within_those_it_begins_with() {
        let name = of(&[&[b"a"], &[b"b", b"c"], &[b"d"]]);
        for base in [
            &[][..],
            &[&[b"a".as_slice()][..]],
            &[&[b"a"], &[b"c", b"b"]],
        ] {
            assert!(name.is_within(&of(base)));
        }
        assert!(name.is_within(&name));
        assert!(!name.is_within(&of(&[&[b"a"], &[b"b"]])));
        assert!(!name.is_within(&of(&[&[b"b", b"c"]])));
        assert!(name.extends_by(&of(&[&[b"a"], &[b"b", b"c"]]), &[0x55, 4, 3]));
        assert!(!name.extends_by(&of(&[&[b"a"], &[b"b", b"c"]]), &[0x55, 4, 4]));
        assert!(!name.extends_by(&of(&[&[b"a"]]), &[0x55, 4, 3]));
        assert!(!of(&[&[b"a"]]).extends_by(&of(&[]), &[0x55, 4, 3]));
        assert!(!of(&[&[b"a"], &[b"b", b"c"]]).extends_by(&of(&[&[b"a"]]), &[0x55, 4, 3]));
    }

    #[test]
    fn malformed_strings_make_no_name() {
        assert_eq!(name(0x0c, b"\xff"), None);
        assert_eq!(name(0x1e, b"\0a\0"), None);
        assert_eq!(name(0x1c, b"\xff\xff\xff\xff"), None);
    }
}
