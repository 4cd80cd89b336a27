//! A small DER writer (X.690). It writes what it is told, also what DER forbids.

/// An element of `tag` around `parts`.
pub fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    crate::forge::wrap(tag, &parts.concat())
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

/// An INTEGER of these content octets.
pub fn integer(octets: &[u8]) -> Vec<u8> {
    element(0x02, &[octets])
}

pub fn boolean(value: bool) -> Vec<u8> {
    element(0x01, &[&[if value { 0xFF } else { 0 }]])
}

/// An OBJECT IDENTIFIER from its dotted form.
pub fn oid(dotted: &str) -> Vec<u8> {
    element(0x06, &[&oid_content(dotted)])
}

/// The content octets of an OBJECT IDENTIFIER.
pub fn oid_content(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u128> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let first = arcs[0] * 40 + arcs[1];
    std::iter::once(first)
        .chain(arcs[2..].iter().copied())
        .flat_map(base_128)
        .collect()
}

fn base_128(mut arc: u128) -> Vec<u8> {
    let mut octets = vec![u8::try_from(arc & 0x7F).unwrap()];
    while arc > 0x7F {
        arc >>= 7;
        octets.insert(0, u8::try_from(arc & 0x7F).unwrap() | 0x80);
    }
    octets
}

/// A UTCTime of this text.
pub fn utc(text: &str) -> Vec<u8> {
    element(0x17, &[text.as_bytes()])
}

/// A GeneralizedTime of this text.
pub fn generalized(text: &str) -> Vec<u8> {
    element(0x18, &[text.as_bytes()])
}

pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
