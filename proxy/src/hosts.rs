//! The one reader of host names: SNI, `:authority`, `Host`, an absolute target and the names of the
//! configuration all become the same thing here, so that no two stages can disagree about which
//! application a name means. Case, one trailing dot and the port do not count.
//!
//! Takes names as bytes, gives the index that was stored with the most specific pattern. Refused:
//! whatever is not an IP address or a name of letters, digits, `-` and `_` in labels.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// Which hosts an application answers for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HostPattern {
    /// One name or address, canonical.
    Exact(Box<str>),
    /// All names below this one, at any depth, but not the name itself.
    Below(Box<str>),
    /// Every host that no other pattern names.
    Any,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("is not a host name")]
pub struct HostError;

/// Patterns, and what is stored with each.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    exact: Table,
    below: Table,
    any: Option<usize>,
}

type Table = HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>;

impl HostPattern {
    /// Reads `example.com`, `*.example.com`, `*`, an IP address; names beyond ASCII become their
    /// A-labels (UTS 46).
    ///
    /// # Errors
    /// For anything else, a port included: an application answers on every port.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        if let (Ok(address), false) = (name.parse::<Ipv6Addr>(), below) {
            return Ok(Self::Exact(format!("[{address}]").into()));
        }
        let ascii = idna::domain_to_ascii(name).map_err(|_invalid| HostError)?;
        let mut buffer = [0; NAME_MAX];
        let canonical = canonical(ascii.as_bytes(), &mut buffer).ok_or(HostError)?;
        // A port would be dropped without a word.
        if name.contains(':') && !(name.starts_with('[') && name.ends_with(']')) {
            return Err(HostError);
        }
        let canonical: Box<str> = str::from_utf8(canonical)
            .map_err(|_invalid| HostError)?
            .into();
        match below {
            true if canonical.starts_with('[') || canonical.parse::<Ipv4Addr>().is_ok() => {
                Err(HostError)
            }
            true => Ok(Self::Below(canonical)),
            false => Ok(Self::Exact(canonical)),
        }
    }
}

impl HostPattern {
    /// A host that this pattern is the most specific one for, unless another names that very host.
    pub fn example(&self) -> String {
        match self {
            Self::Exact(name) => name.to_string(),
            Self::Below(name) => format!("any-host-at-all.{name}"),
            Self::Any => "any-host-at-all.invalid".to_owned(),
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl Hosts {
    /// Stores `value` with `pattern`. Returns what was stored with it before, which stays.
    pub fn insert(&mut self, pattern: &HostPattern, value: usize) -> Option<usize> {
        let (table, name) = match pattern {
            HostPattern::Exact(name) => (&mut self.exact, name),
            HostPattern::Below(name) => (&mut self.below, name),
            HostPattern::Any => {
                let before = self.any;
                self.any = before.or(Some(value));
                return before;
            }
        };
        if let Some(before) = table.get(name.as_bytes()) {
            return Some(*before);
        }
        table.insert(name.as_bytes().into(), value);
        None
    }

    /// What is stored with the most specific pattern for a host with or without a port. Allocates
    /// nothing.
    pub fn find(&self, authority: &[u8]) -> Option<usize> {
        let mut buffer = [0; NAME_MAX];
        let name = canonical(authority, &mut buffer)?;
        if let Some(value) = self.exact.get(name) {
            return Some(*value);
        }
        if !self.below.is_empty() {
            let mut rest = name;
            while let Some(dot) = rest.iter().position(|byte| *byte == b'.') {
                rest = rest.get(dot + 1..).unwrap_or_default();
                if let Some(value) = self.below.get(rest) {
                    return Some(*value);
                }
            }
        }
        self.any
    }
}

/// The host of `authority` in its one spelling, without port and trailing dot; None if it is none.
fn canonical<'b>(authority: &[u8], buffer: &'b mut [u8; NAME_MAX]) -> Option<&'b [u8]> {
    if let [b'[', rest @ ..] = authority {
        let end = rest.iter().position(|byte| *byte == b']')?;
        let (address, port) = rest.split_at(end);
        let address: Ipv6Addr = str::from_utf8(address).ok()?.parse().ok()?;
        is_port(port.strip_prefix(b"]")?).then_some(())?;
        let mut free = &mut buffer[..];
        write!(free, "[{address}]").ok()?;
        let left = free.len();
        return buffer.get(..NAME_MAX - left);
    }
    let end = authority.iter().position(|byte| *byte == b':');
    let (host, port) = authority.split_at(end.unwrap_or(authority.len()));
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.is_empty() || host.len() > NAME_MAX || !is_port(port) {
        return None;
    }
    let mut previous = b'.';
    for (byte, slot) in host.iter().zip(buffer.iter_mut()) {
        let sound = match byte {
            b'.' => previous != b'.',
            _ => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        };
        if !sound {
            return None;
        }
        previous = *byte;
        *slot = byte.to_ascii_lowercase();
    }
    if previous == b'.' {
        return None;
    }
    buffer.get(..host.len())
}

/// Empty, or `:` and at most five digits.
fn is_port(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Longest name in its text form (RFC 1035 §2.3.4), in bytes.
const NAME_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(patterns: &[&str]) -> Hosts {
        let mut hosts = Hosts::default();
        for (index, pattern) in patterns.iter().enumerate() {
            let pattern = HostPattern::parse(pattern).unwrap();
            assert_eq!(hosts.insert(&pattern, index), None, "{pattern}");
        }
        hosts
    }

    /// Every spelling of a name that means the same application, and those that mean none.
    #[test]
    fn one_name_has_many_spellings() {
        let hosts = hosts(&["a.test", "bücher.test", "2001:db8::1", "192.0.2.7"]);
        for (spelling, found) in [
            ("a.test", Some(0)),
            ("A.TEST", Some(0)),
            ("a.test.", Some(0)),
            ("a.test:443", Some(0)),
            ("A.Test.:8443", Some(0)),
            ("a.test:", Some(0)),
            ("xn--bcher-kva.test", Some(1)),
            ("XN--BCHER-KVA.test:1", Some(1)),
            ("[2001:db8::1]", Some(2)),
            ("[2001:DB8:0:0:0:0:0:1]:443", Some(2)),
            ("192.0.2.7:443", Some(3)),
            ("a.test..", None),
            (".a.test", None),
            ("a..test", None),
            ("x.a.test", None),
            ("test", None),
            ("", None),
            (".", None),
            ("a.test:https", None),
            ("a.test:123456", None),
            ("%61.test", None),
            ("a.test@b.test", None),
            ("b\u{fc}cher.test", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]x", None),
            ("[a.test]", None),
        ] {
            assert_eq!(hosts.find(spelling.as_bytes()), found, "{spelling}");
        }
    }

    #[test]
    fn the_most_specific_pattern_wins_whatever_the_order() {
        let hosts = hosts(&["*", "*.test", "*.a.test", "x.a.test"]);
        for (name, found) in [
            ("x.a.test", 3),
            ("y.a.test", 2),
            ("z.y.a.test", 2),
            ("x.x.a.test", 2),
            ("a.test", 1),
            ("b.test", 1),
            ("test", 0),
            ("other", 0),
            ("[::1]", 0),
        ] {
            assert_eq!(hosts.find(name.as_bytes()), Some(found), "{name}");
        }
        assert_eq!(hosts.find(b"a b"), None);
    }

    #[test]
    fn a_pattern_belongs_to_one_application() {
        let mut hosts = hosts(&["a.test", "*"]);
        for pattern in ["A.test", "a.test."] {
            let pattern = HostPattern::parse(pattern).unwrap();
            assert_eq!(hosts.insert(&pattern, 7), Some(0));
        }
        assert_eq!(hosts.insert(&HostPattern::Any, 7), Some(1));
        assert_eq!(hosts.find(b"a.test"), Some(0));
    }

    #[test]
    fn odd_patterns_are_refused() {
        for text in [
            "",
            ".",
            "*.",
            "**",
            "*a.test",
            "a.*.test",
            "a.test:443",
            "a.test:",
            "a b",
            "a/b",
            "*.192.0.2.1",
            "*.[::1]",
            "[::1]:443",
            "a..b",
            "http://a",
            "u@a",
        ] {
            assert_eq!(HostPattern::parse(text), Err(HostError), "{text}");
        }
        for (text, shown) in [
            ("*.Example.COM.", "*.example.com"),
            ("::1", "[::1]"),
            ("a_b", "a_b"),
        ] {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_case_never_counts(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let hosts = hosts(&["*.test", "*"]);
            let found = hosts.find(&bytes);
            prop_assert_eq!(found, hosts.find(&bytes.to_ascii_uppercase()));
            if let Ok(text) = str::from_utf8(&bytes) {
                drop(HostPattern::parse(text));
            }
        }
    }
}
