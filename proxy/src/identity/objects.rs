//! Short names of object identifiers, from OpenSSL's whole object table: any identifier it knows
//! may be an attribute type of a name, and is then printed by its short name.
//!
//! `objects.tsv` (DER in hexadecimal, tab, short name, sorted) is written by
//! `tests/golden/openssl.py objects` from the local OpenSSL 3.0.

use std::collections::HashMap;
use std::sync::LazyLock;

/// OpenSSL's short name (`OBJ_nid2sn`) of the identifier with this DER content, or None where
/// `OBJ_obj2nid` does not know it.
pub(super) fn short_name(oid: &[u8]) -> Option<&'static str> {
    TABLE.get(oid).copied()
}

/// `OBJ_obj2txt` of an unknown identifier into `char[80]`, as both name printers call it: dotted
/// decimals cut after 79 characters, nothing if the content is over 586 bytes (RFC 2578 §3.5) or no
/// identifier.
pub(super) fn dotted(oid: &[u8]) -> String {
    let mut text = String::new();
    if oid.len() > MAX_CONTENT || oid.last().is_none_or(|last| last & 0x80 != 0) {
        return text;
    }
    for (index, arc) in oid.split_inclusive(|byte| byte & 0x80 == 0).enumerate() {
        let mut arc = Arc::new(arc);
        if index == 0 {
            let first = arc.split_first();
            text.push_str(&first.to_string());
        }
        text.push('.');
        arc.write(&mut text);
        if text.len() >= MAX_TEXT {
            break;
        }
    }
    text.truncate(MAX_TEXT);
    text
}

/// One component of any size: little-endian limbs in base 10^9.
struct Arc(Vec<u32>);

impl Arc {
    fn new(base128: &[u8]) -> Self {
        let mut limbs = vec![0];
        // Four septets at a time: a long component costs a quarter of the passes.
        for group in base128.chunks(4) {
            let (mut carry, mut scale) = (0, 1);
            for septet in group {
                carry = carry << 7 | u64::from(septet & 0x7f);
                scale <<= 7;
            }
            for limb in &mut limbs {
                carry += u64::from(*limb) * scale;
                *limb = low_limb(carry);
                carry /= LIMB;
            }
            while carry > 0 {
                limbs.push(low_limb(carry));
                carry /= LIMB;
            }
        }
        Self(limbs)
    }

    /// Takes the first component out of the first subidentifier (X.690 §8.19.4).
    fn split_first(&mut self) -> u32 {
        let small = match self.0.as_slice() {
            [only] if *only < 80 => *only / 40,
            _ => 2,
        };
        let mut borrow = small * 40;
        for limb in &mut self.0 {
            let (value, under) = limb.overflowing_sub(borrow);
            *limb = if under {
                value.wrapping_add(1_000_000_000)
            } else {
                value
            };
            borrow = u32::from(under);
        }
        small
    }

    fn write(&self, text: &mut String) {
        let mut limbs = self.0.iter().rev().skip_while(|limb| **limb == 0);
        text.push_str(&limbs.next().unwrap_or(&0).to_string());
        for limb in limbs {
            text.push_str(&format!("{limb:09}"));
        }
    }
}

fn low_limb(value: u64) -> u32 {
    (value % LIMB) as u32
}

const LIMB: u64 = 1_000_000_000;
const MAX_CONTENT: usize = 586;
const MAX_TEXT: usize = 79;

/// Bytes of a row's hexadecimal.
fn content(hex: &str) -> Option<Vec<u8>> {
    let (pairs, _) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}

/// By content. Every new certificate asks for a dozen.
static TABLE: LazyLock<HashMap<Vec<u8>, &'static str>> = LazyLock::new(|| {
    let rows = include_str!("objects.tsv").lines();
    let rows = rows.filter_map(|line| line.split_once('\t'));
    rows.filter_map(|(oid, name)| Some((content(oid)?, name)))
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_printable() {
        let lines = include_str!("objects.tsv").lines();
        assert_eq!(lines.count(), TABLE.len());
        assert!(TABLE.len() > 1000);
        assert!(
            TABLE
                .values()
                .all(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()))
        );
        assert_eq!(short_name(&[0x55, 4, 3]), Some("CN"));
        assert_eq!(short_name(&[0x55, 4, 3, 0]), None);
        assert_eq!(short_name(&[]), None);
    }

    #[test]
    fn dotted_decimals() {
        assert_eq!(dotted(&[0x2a, 3, 4]), "1.2.3.4");
        assert_eq!(dotted(&[0x88, 0x37, 1]), "2.999.1");
        assert_eq!(dotted(&[0x50]), "2.0");
        assert_eq!(dotted(&[]), "");
        assert_eq!(dotted(&[0x2a, 0x81]), "");
    }
}
