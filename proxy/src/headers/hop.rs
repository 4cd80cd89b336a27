//! Hop-by-hop fields: what a message's `Connection` lines name (RFC 9110 §7.6.1).
//!
//! All lines are read, byte by byte: `HeaderMap::remove` hands out one value of several, and
//! `to_str` skips a line with a byte ≥ 0x80; either way a listed field would travel on.

use http::HeaderMap;
use http::header::CONNECTION;

use super::Refusal;
use super::names::{Hygiene, canonical_key};

/// More options than any honest client sends; more is an attempt to make us work.
const OPTIONS_MAX: usize = 32;

/// The lower-case names that a message's `Connection` lines list, `close` and `keep-alive` apart.
#[derive(Debug, Default)]
pub(super) struct HopList(Vec<Box<[u8]>>);

impl HopList {
    /// Reads a request's `Connection` lines. Refused: bytes that are no token, too many options,
    /// and options naming a field whose removal would change meaning or erase a verdict.
    pub(super) fn of_request(headers: &HeaderMap, hygiene: &Hygiene) -> Result<Self, Refusal> {
        let mut names = Vec::new();
        for option in options(headers) {
            if !option.iter().all(|byte| is_token(*byte)) {
                return Err(Refusal::ConnectionBytes);
            }
            if is_connection_state(option) {
                continue;
            }
            if is_indispensable(option) || hygiene.is_protected(option) {
                return Err(Refusal::ConnectionNamesProtected);
            }
            if names.len() == OPTIONS_MAX {
                return Err(Refusal::ConnectionTooLong);
            }
            names.push(option.to_ascii_lowercase().into());
        }
        Ok(Self(names))
    }

    /// Reads a response's `Connection` lines; an option that is no token can name no field.
    pub(super) fn of_response(headers: &HeaderMap) -> Self {
        Self(
            options(headers)
                .filter(|option| !is_connection_state(option))
                .take(OPTIONS_MAX)
                .map(|option| option.to_ascii_lowercase().into())
                .collect(),
        )
    }

    /// Whether the lower-case `name` is listed.
    pub(super) fn names(&self, name: &[u8]) -> bool {
        self.0.iter().any(|listed| **listed == *name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|name| &**name)
    }
}

/// All comma-separated options of all `Connection` lines, blanks trimmed, empty ones left out.
fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(CONNECTION)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.is_empty())
}

fn is_connection_state(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
}

/// Fields no client may have removed: routing, framing and the caller's own credentials.
fn is_indispensable(option: &[u8]) -> bool {
    matches!(
        &*canonical_key(option),
        b"host" | b"content-length" | b"transfer-encoding" | b"authorization" | b"cookie"
    )
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
