//! Distinguished names as OpenSSL 3.0 prints them: RFC 2253 (`X509_NAME_print_ex` with
//! `XN_FLAG_RFC2253`) and the old slash form (`X509_NAME_oneline`), byte for byte.
//!
//! A value that OpenSSL refuses to parse (so that nginx never prints it) is dumped as `#` and its
//! encoding, which RFC 2253 §2.4 allows for any value. Nothing here is an error: hostile values print
//! as something that is visible ASCII, always.

use std::borrow::Cow;

use x509_parser::asn1_rs::Class;

use super::der::{self, Element, Reader};
use super::{encode, objects};

/// The attributes of a name, in the order of the certificate.
#[derive(Debug)]
pub(super) struct Name<'a>(Vec<Attribute<'a>>);

/// One attribute and the RDN it stands in.
#[derive(Debug)]
struct Attribute<'a> {
    rdn: usize,
    oid: &'a [u8],
    /// The universal type of a value in one piece; None for anything that OpenSSL refuses.
    kind: Option<u32>,
    /// The content, put together if the encoding was constructed.
    content: Cow<'a, [u8]>,
    /// The whole encoding.
    raw: &'a [u8],
}

impl<'a> Name<'a> {
    /// Reads the content of a `Name`. None if it is not a sequence of sets of type and value.
    pub(super) fn parse(content: &'a [u8]) -> Option<Self> {
        let mut attributes = Vec::new();
        let mut rdns = Reader::new(content);
        let mut rdn = 0;
        while !rdns.is_empty() {
            let mut inside = rdns.next(der::SET)?.inside();
            while !inside.is_empty() {
                let mut pair = inside.next(der::SEQUENCE)?.inside();
                let oid = pair.next(der::OBJECT_IDENTIFIER)?.content;
                let value = pair.any().filter(|_| pair.is_empty())?;
                attributes.push(Attribute::new(rdn, oid, value));
            }
            rdn += 1;
        }
        Some(Self(attributes))
    }

    /// `CN=James Royal,O=Access,C=US`; empty for an empty name.
    pub(super) fn rfc2253(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(USUAL);
        let mut previous = None;
        for attribute in self.0.iter().rev() {
            if let Some(rdn) = previous.replace(attribute.rdn) {
                out.push(if rdn == attribute.rdn { b'+' } else { b',' });
            }
            let known = objects::short_name(attribute.oid);
            attribute.write_type(&mut out, known);
            match attribute.text().filter(|_| known.is_some()) {
                Some(text) => escape_rfc2253(&mut out, &text),
                None => attribute.dump(&mut out),
            }
        }
        out
    }

    /// `/C=US/O=Access/CN=James Royal`; empty for an empty name.
    pub(super) fn legacy(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(USUAL);
        let mut previous = None;
        for attribute in &self.0 {
            let joined = previous.replace(attribute.rdn) == Some(attribute.rdn);
            out.push(if joined { b'+' } else { b'/' });
            attribute.write_type(&mut out, objects::short_name(attribute.oid));
            let data = attribute.data();
            let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'/' | b'+');
            if attribute.kind != Some(GENERAL_STRING) && data.iter().all(is_plain) {
                out.extend_from_slice(&data);
                continue;
            }
            // X509_NAME_oneline: a GeneralString that looks like UCS-4 shows every fourth byte.
            let wide = attribute.kind == Some(GENERAL_STRING)
                && data.len() % 4 == 0
                && data.chunks(4).all(|word| matches!(word, [0, 0, 0, _]));
            let step = if wide { 4 } else { 1 };
            for byte in data.iter().skip(step - 1).step_by(step) {
                match byte {
                    b'/' | b'+' => out.extend_from_slice(&[b'\\', *byte]),
                    b' '..=b'~' => out.push(*byte),
                    _ => {
                        out.extend_from_slice(b"\\x");
                        encode::hex_upper(&mut out, &[*byte]);
                    }
                }
            }
        }
        out
    }

    /// The text of the only common name. None with no or two of them (Google refuses those, HAProxy
    /// takes the first and Go the last), and where it is empty, undecodable or has control characters.
    pub(super) fn common_name(&self) -> Option<String> {
        let mut names = self
            .0
            .iter()
            .filter(|attribute| attribute.oid == COMMON_NAME);
        let only = names.next().filter(|_| names.next().is_none())?;
        let text = only.text()?;
        (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.into_owned())
    }
}

impl Name<'_> {
    /// The texts of all attributes of one type, in the order of the certificate. None if one of
    /// them is no text: half a list would be a different name.
    pub(super) fn texts(&self, oid: &[u8]) -> Option<Vec<String>> {
        let wanted = self.0.iter().filter(|attribute| attribute.oid == oid);
        wanted
            .map(|attribute| attribute.text().map(Cow::into_owned))
            .collect()
    }
}

impl<'a> Attribute<'a> {
    fn new(rdn: usize, oid: &'a [u8], value: Element<'a>) -> Self {
        let single = value.class == Class::Universal && value.tag <= 30;
        let (kind, content) = match value.tag {
            _ if !single => (None, Some(value.content.into())),
            // A SEQUENCE keeps its header (`asn1_d2i_ex_primitive`).
            der::SEQUENCE => (Some(der::SEQUENCE), Some(value.raw.into())),
            tag if value.constructed => (Some(tag), collect(&value, MAX_NEST).map(Cow::Owned)),
            tag => (Some(tag), Some(value.content.into())),
        };
        Self {
            rdn,
            oid,
            kind: kind.filter(|_| content.is_some()),
            content: content.unwrap_or(Cow::Borrowed(value.content)),
            raw: value.raw,
        }
    }

    fn write_type(&self, out: &mut Vec<u8>, known: Option<&str>) {
        match known {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => out.extend_from_slice(objects::dotted(self.oid).as_bytes()),
        }
        out.push(b'=');
    }

    /// The characters of a string type that `tag2nbyte` (OpenSSL a_strex.c) has a width for. None
    /// for other types and for values that are not valid in their type.
    fn text(&self) -> Option<Cow<'_, str>> {
        let content = &*self.content;
        match self.kind? {
            UTF8_STRING => str::from_utf8(content).ok().map(Cow::Borrowed),
            // T61String is taken for Latin-1, and so is everything else that is one byte wide.
            NUMERIC_STRING | PRINTABLE_STRING | T61_STRING | IA5_STRING | UTC_TIME
            | GENERALIZED_TIME | VISIBLE_STRING => Some(latin1(content)),
            BMP_STRING => {
                let (units, rest) = content.as_chunks::<2>();
                let chars = units
                    .iter()
                    .map(|unit| u32::from(u16::from_be_bytes(*unit)));
                rest.is_empty()
                    .then(|| chars.map(char::from_u32).collect())?
            }
            UNIVERSAL_STRING => {
                let (units, rest) = content.as_chunks::<4>();
                let chars = units.iter().map(|unit| u32::from_be_bytes(*unit));
                rest.is_empty()
                    .then(|| chars.map(char::from_u32).collect())?
            }
            _ => None,
        }
    }

    /// What OpenSSL keeps as the bytes of the value (`ASN1_STRING.data`).
    fn data(&self) -> Cow<'_, [u8]> {
        if self.kind != Some(der::BIT_STRING) {
            return Cow::Borrowed(&self.content);
        }
        // A BIT STRING loses the count of unused bits, and those bits (`c2i_ASN1_BIT_STRING`).
        let mut content = self.content.iter().copied();
        let unused = content.next().unwrap_or_default();
        let mut bits: Vec<u8> = content.collect();
        if let Some(last) = bits.last_mut() {
            *last &= 0xffu8.checked_shl(u32::from(unused)).unwrap_or(0);
        }
        Cow::Owned(bits)
    }

    /// `#` and the DER of the value, upper case. What came in another encoding is encoded anew, as
    /// `i2d_ASN1_TYPE` does.
    fn dump(&self, out: &mut Vec<u8>) {
        out.push(b'#');
        let tag = match self.kind.map(u8::try_from) {
            Some(Ok(tag)) if self.kind != Some(der::SEQUENCE) => tag,
            _ => return encode::hex_upper(out, self.raw),
        };
        let unused = self
            .content
            .first()
            .filter(|_| self.kind == Some(der::BIT_STRING));
        let data = self.data();
        let body: Vec<u8> = unused.into_iter().chain(data.iter()).copied().collect();
        encode::hex_upper(out, &[tag]);
        match u8::try_from(body.len()) {
            Ok(short) if short < 0x80 => encode::hex_upper(out, &[short]),
            _ => {
                let length = body.len().to_be_bytes();
                let zeros = length.iter().take_while(|byte| **byte == 0).count();
                let length = length.get(zeros..).unwrap_or_default();
                let count = u8::try_from(length.len()).unwrap_or_default();
                encode::hex_upper(out, &[0x80 | count]);
                encode::hex_upper(out, length);
            }
        }
        encode::hex_upper(out, &body);
    }
}

/// Bytes of which each is a character.
fn latin1(content: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(content).ok().filter(|text| text.is_ascii()) {
        Some(ascii) => Cow::Borrowed(ascii),
        None => content.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// The pieces of a string in BER's constructed form, of whatever types (`asn1_collect`).
fn collect(value: &Element<'_>, depth: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut pieces = value.inside();
    while !pieces.is_empty() {
        let piece = pieces.any()?;
        if piece.constructed {
            out.extend(collect(&piece, depth.checked_sub(1)?)?);
        } else {
            out.extend_from_slice(piece.content);
        }
    }
    Some(out)
}

/// `do_buf` and `do_esc_char` of OpenSSL's a_strex.c with the flags of RFC 2253.
fn escape_rfc2253(out: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: u8| {
        matches!(byte, b' '..=b'~')
            && !matches!(byte, b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';')
    };
    // Nearly every value.
    if text.bytes().all(is_plain) && !text.starts_with([' ', '#']) && !text.ends_with(' ') {
        return out.extend_from_slice(text.as_bytes());
    }
    let last = text.chars().count().saturating_sub(1);
    for (index, character) in text.chars().enumerate() {
        let escaped = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => index == 0 || index == last,
            // The only character counts as the last, not as the first.
            '#' => index == 0 && index != last,
            _ => false,
        };
        if escaped {
            out.push(b'\\');
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            if matches!(byte, b' '..=b'~') {
                out.push(byte);
            } else {
                out.push(b'\\');
                encode::hex_upper(out, &[byte]);
            }
        }
    }
}

/// Room for most names, in bytes.
const USUAL: usize = 64;
/// How deep constructed strings may nest (`ASN1_MAX_STRING_NEST`).
const MAX_NEST: usize = 5;
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const UTF8_STRING: u32 = 12;
const NUMERIC_STRING: u32 = 18;
const PRINTABLE_STRING: u32 = 19;
const T61_STRING: u32 = 20;
const IA5_STRING: u32 = 22;
const UTC_TIME: u32 = super::time::UTC_TIME;
const GENERALIZED_TIME: u32 = super::time::GENERALIZED_TIME;
const VISIBLE_STRING: u32 = 26;
const GENERAL_STRING: u32 = 27;
const UNIVERSAL_STRING: u32 = 28;
const BMP_STRING: u32 = 30;
