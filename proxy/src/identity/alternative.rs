//! Subject alternative names as header values: one list a type, and the SPIFFE ID.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::der::Element;
use super::encode;

/// The kinds of general names that are rendered, by their tag (RFC 5280 §4.2.1.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Email = 1,
    Dns = 2,
    Uri = 6,
    Ip = 7,
}

/// The entries of one kind, in certificate order, each percent-encoded, joined by `,`. The encoding
/// leaves no `,` inside an entry, so the list splits back exactly. None if an entry of the kind is not
/// a plain string or no address: half a list would be a different identity.
pub(super) fn list(names: &[Element<'_>], kind: Kind) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for (index, content) in of(names, kind)?.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if kind == Kind::Ip {
            out.extend_from_slice(address(content)?.as_bytes());
        } else {
            encode::percent(&mut out, content, encode::is_template_byte);
        }
    }
    Some(out)
}

/// The SPIFFE ID: the certificate's only URI, of the form the SPIFFE-ID standard (§2) gives: a trust
/// domain of lower-case letters, digits, `.`, `-`, `_`, and path segments that are not empty, `.` or
/// `..`. An X.509-SVID with another URI, or with two, must be refused (X.509-SVID §5.2).
pub(super) fn spiffe(names: &[Element<'_>]) -> Option<Vec<u8>> {
    let [only] = of(names, Kind::Uri)?[..] else {
        return None;
    };
    if only.len() > SPIFFE_MAX {
        return None;
    }
    let mut segments = only.strip_prefix(b"spiffe://")?.split(|byte| *byte == b'/');
    let domain = segments.next()?;
    let lower =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(byte);
    let either = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    let valid = !domain.is_empty()
        && domain.iter().all(lower)
        && segments
            .all(|segment| !matches!(segment, b"" | b"." | b"..") && segment.iter().all(either));
    valid.then(|| only.to_vec())
}

pub(super) fn of<'a>(names: &[Element<'a>], kind: Kind) -> Option<Vec<&'a [u8]>> {
    names
        .iter()
        .filter(|name| name.tag == kind as u32)
        .map(|name| (!name.constructed).then_some(name.content))
        .collect()
}

pub(super) fn address(content: &[u8]) -> Option<String> {
    if let Ok(octets) = <[u8; 4]>::try_from(content) {
        return Some(Ipv4Addr::from(octets).to_string());
    }
    let octets = <[u8; 16]>::try_from(content).ok()?;
    Some(Ipv6Addr::from(octets).to_string())
}

/// Longest SPIFFE ID, in bytes (SPIFFE-ID §2.3).
const SPIFFE_MAX: usize = 2048;
