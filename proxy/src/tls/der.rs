//! A strict walk over DER (X.690 §10): tag, length, value, nothing copied. It takes bytes a peer
//! chose and yields slices of them; indefinite and non-minimal lengths, tags above 30 and
//! truncated values end the walk. Every reading starts at a fixed position, so that two readers
//! of the same certificate cannot disagree about which bytes are its key.

/// One element: identifier octet, content, and the whole with its header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tlv<'a> {
    pub(super) tag: u8,
    pub(super) body: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// What is left to read of a constructed element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, or nothing where the bytes are not DER or have ended.
    pub(super) fn read(&mut self) -> Option<Tlv<'a>> {
        let (&tag, after_tag) = self.rest.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, after_first) = after_tag.split_first()?;
        let (length, content) = match first {
            0..=0x7f => (usize::from(first), after_first),
            0x81..=0x84 => {
                let (octets, content) = after_first.split_at_checked(usize::from(first & 0x7f))?;
                let length = octets
                    .iter()
                    .fold(0_usize, |value, octet| (value << 8) | usize::from(*octet));
                // X.690 §10.1: the length is written in the fewest octets that hold it.
                if octets.first() == Some(&0) || length < 0x80 {
                    return None;
                }
                (length, content)
            }
            _ => return None,
        };
        let (body, rest) = content.split_at_checked(length)?;
        let whole = self.rest.get(..self.rest.len() - rest.len())?;
        self.rest = rest;
        Some(Tlv { tag, body, whole })
    }

    /// The next element, which must carry `tag`.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Tlv<'a>> {
        self.read().filter(|tlv| tlv.tag == tag)
    }

    /// The next element if it carries `tag`; otherwise nothing is consumed.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Option<Tlv<'a>>> {
        if self.rest.first() == Some(&tag) {
            self.read().map(Some)
        } else {
            Some(None)
        }
    }
}

/// The content of the one element that `bytes` consist of.
pub(super) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let tlv = reader.expect(tag)?;
    reader.is_empty().then_some(tlv.body)
}

/// The octets of a BIT STRING's content that has no unused bits.
pub(super) fn whole_octets(bit_string: &[u8]) -> Option<&[u8]> {
    match bit_string.split_first()? {
        (0, octets) => Some(octets),
        _ => None,
    }
}

/// The length octets of a content of `length` octets.
pub(super) fn length(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short @ ..0x80) => vec![short],
        _ => {
            let octets = length.to_be_bytes();
            let significant = octets.iter().skip_while(|octet| **octet == 0);
            let mut written: Vec<u8> = significant.copied().collect();
            // At most eight.
            let count = u8::try_from(written.len()).unwrap_or_default();
            written.insert(0, 0x80 | count);
            written
        }
    }
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[n]`, constructed, as in EXPLICIT tagging.
pub(super) const fn explicit(number: u8) -> u8 {
    0xa0 | number
}
/// `[n]`, primitive, as in IMPLICIT tagging of a string or number.
pub(super) const fn implicit(number: u8) -> u8 {
    0x80 | number
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{INTEGER, OCTET_STRING, Reader, SEQUENCE, length, only};

    #[test]
    fn a_written_length_is_read_again() {
        for size in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let body = vec![7; size];
            let whole = [&[OCTET_STRING][..], &length(size), &body].concat();
            assert_eq!(only(&whole, OCTET_STRING), Some(&body[..]));
        }
    }

    #[test]
    fn only_minimal_definite_lengths_are_read() {
        assert_eq!(only(&[0x02, 0x01, 0x05], INTEGER), Some(&[5_u8][..]));
        assert_eq!(only(&[0x02, 0x81, 0x01, 0x05], INTEGER), None);
        assert_eq!(only(&[0x30, 0x80, 0x00, 0x00], SEQUENCE), None);
        assert_eq!(only(&[0x02, 0x02, 0x05], INTEGER), None);
        assert_eq!(only(&[0x02, 0x01, 0x05, 0x00], INTEGER), None);
        assert_eq!(only(&[0x30, 0x85, 1, 0, 0, 0, 0], SEQUENCE), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end_the_walk_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            let mut read = 0;
            while let Some(tlv) = reader.read() {
                read += tlv.whole.len();
                prop_assert!(tlv.whole.ends_with(tlv.body));
            }
            prop_assert!(read <= bytes.len());
        }
    }
}
