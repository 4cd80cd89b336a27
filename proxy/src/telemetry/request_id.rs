//! The id of a request: what the origin is told in `X-Request-Id`, what the access log shows and
//! what a page of Herald's own names. Takes no system call, no lock and no allocation.

use std::cell::Cell;
use std::fmt;

use http::HeaderValue;

/// One request's id: 32 hexadecimal digits, or what a trusted peer had given the request before.
#[derive(Clone, Debug)]
pub enum RequestId {
    /// Herald's own.
    Own([u8; 32]),
    /// A trusted peer's, checked by [`Self::given`].
    Given(HeaderValue),
}

/// Where one worker's ids come from: a random half that no other worker or process has, and a
/// count, scrambled so that an id does not tell how many requests came before.
#[derive(Debug)]
pub struct RequestIds {
    prefix: u64,
    key: u64,
    count: Cell<u64>,
}

impl RequestIds {
    /// Ids under 16 random bytes.
    pub fn new(seed: [u8; 16]) -> Self {
        let seed = u128::from_be_bytes(seed);
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        Self {
            prefix: half(seed >> 64),
            key: half(seed),
            count: Cell::new(0),
        }
    }

    /// The next id. Unique within the worker, as `scramble` gives no two numbers the same.
    pub fn next(&self) -> RequestId {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let mut id = [0; 32];
        let (prefix, suffix) = id.split_at_mut(16);
        put_hex(prefix, self.prefix);
        put_hex(suffix, scramble(count ^ self.key));
        RequestId::Own(id)
    }
}

impl RequestId {
    /// A peer's id, unless it is empty, longer than 128 bytes, or has bytes that a log, a URL or a
    /// shell would have to quote.
    pub fn given(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
        let is_sound = (1..=GIVEN_MAX).contains(&bytes.len()) && bytes.iter().all(is_plain);
        is_sound.then(|| Self::Given(value.clone()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // Both are ASCII by construction.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The id's bytes, ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Own(id) => id,
            Self::Given(value) => value.as_bytes(),
        }
    }

    /// The id as a header's value.
    pub fn to_value(&self) -> Option<HeaderValue> {
        match self {
            Self::Own(id) => HeaderValue::from_bytes(id).ok(),
            Self::Given(value) => Some(value.clone()),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A bijection on 64 bits (the finaliser of splitmix64): xor-shifts and odd factors undo.
fn scramble(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn put_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        let nibble = usize::try_from(number & 0xf).unwrap_or_default();
        *digit = HEX.get(nibble).copied().unwrap_or(b'0');
        number >>= 4;
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
/// Longest id taken from a peer, bytes.
const GIVEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_do_not_count() {
        let ids = RequestIds::new([7; 16]);
        let others = RequestIds::new([8; 16]);
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            for id in [ids.next(), others.next()] {
                let text = id.to_string();
                assert_eq!(text.len(), 32);
                assert!(text.bytes().all(|byte| byte.is_ascii_hexdigit()));
                assert!(seen.insert(text));
            }
        }
        let (first, second) = (ids.next().to_string(), ids.next().to_string());
        assert_eq!(first[..16], second[..16]);
        assert_ne!(first[16..24], second[16..24], "neighbours look alike");
    }

    #[test]
    fn a_given_id_is_short_and_plain() {
        for (text, sound) in [
            ("c0ffee-1", true),
            ("Root=1-67891233-abcdef012345678912345678", true),
            ("", false),
            ("two words", false),
            ("\"quoted\"", false),
            ("a\u{e9}", false),
            ("a,b", false),
        ] {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            assert_eq!(RequestId::given(&value).is_some(), sound, "{text}");
        }
        let long = HeaderValue::from_str(&"a".repeat(129)).unwrap();
        assert!(RequestId::given(&long).is_none());
    }
}
