//! `x-forwarded-client-cert` of a trusted forwarder: the single exception to "what comes in is never
//! sent on" (Envoy's APPEND_FORWARD). Takes the fields of a request whose own certificate verified
//! and is a forwarder's; gives the elements that Herald's own follows, in the format they came in, as
//! Envoy does. What is neither of Envoy's formats is refused: left out, the forwarder would seem to ask
//! for itself, with rights that its client lacks.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::Refusal;
use crate::identity::{self, Values, Variable, XfccBy};

mod json;
#[cfg(test)]
mod tests;

/// The name, in lower case.
pub(super) const NAME: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// How it is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Elements between `,`, of pairs between `;`.
    Text,
    /// An array of objects.
    Json,
}

/// What a forwarder says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forwarded {
    /// Herald's element has the same.
    pub format: Format,
    /// The elements as they came, up to where another begins.
    pub before: Box<[u8]>,
}

/// The value that Herald itself makes, among the lines of a block.
#[derive(Clone, Debug)]
pub struct Element {
    /// Where it is in the lines.
    pub span: Range<usize>,
    text: Option<Bytes>,
    json: Option<Bytes>,
}

/// A set of facts that an element has, as two variables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    text: Variable,
    json: Variable,
}

impl Forwarded {
    /// All elements of the request's fields; nothing without a field.
    ///
    /// # Errors
    /// More than is taken, or something that is no element.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut lines = headers
            .get_all(NAME)
            .iter()
            .map(|value| value.as_bytes().trim_ascii());
        let Some(first) = lines.next() else {
            return Ok(None);
        };
        // No element of the text format begins so.
        if !first.starts_with(b"[") {
            let before = text(std::iter::once(first).chain(lines))?;
            return Ok(Some(Self {
                format: Format::Text,
                before,
            }));
        }
        if first.len() >= BYTES_MAX {
            return Err(Refusal::ForwardedTooLong);
        }
        // Two arrays are no list, and Envoy's reader would be at a loss.
        if lines.next().is_some() || !json::is_sound(first) {
            return Err(Refusal::ForwardedMalformed);
        }
        let open = first
            .strip_suffix(b"]")
            .ok_or(Refusal::ForwardedMalformed)?;
        Ok(Some(Self {
            format: Format::Json,
            before: [open, b","].concat().into(),
        }))
    }
}

impl Element {
    /// What comes behind a forwarder's elements in this format; nothing where it is too large for one.
    pub fn behind(&self, format: Format) -> Option<&Bytes> {
        match format {
            Format::Text => self.text.as_ref(),
            Format::Json => self.json.as_ref(),
        }
    }

    /// How much memory both take.
    pub fn bytes(&self) -> usize {
        [&self.text, &self.json]
            .into_iter()
            .flatten()
            .map(Bytes::len)
            .sum()
    }
}

impl Told {
    /// All there are.
    pub(super) const ALL: [Self; 2] = [
        Self {
            text: Variable::Xfcc,
            json: Variable::XfccJson,
        },
        Self {
            text: Variable::XfccCert,
            json: Variable::XfccCertJson,
        },
    ];

    /// Its variables, with the formats they are in.
    pub(super) fn variables(self) -> [(Variable, Format); 2] {
        [(self.text, Format::Text), (self.json, Format::Json)]
    }

    /// The whole value of a request that brings none.
    pub(super) fn value(self, format: Format, values: &Values, by: &XfccBy) -> Option<Vec<u8>> {
        let (variable, begin, by): (_, &[u8], _) = match format {
            Format::Text => (self.text, b"", &by.text),
            Format::Json => (self.json, b"[{", &by.json),
        };
        let value = values.get(variable)?;
        let rest = value
            .strip_prefix(begin)
            .filter(|_| value != identity::TOO_LARGE);
        Some(match rest {
            Some(rest) => [begin, by, rest].concat(),
            None => value.to_vec(),
        })
    }

    /// What comes behind a forwarder's elements.
    pub(super) fn element(self, span: Range<usize>, values: &Values, by: &XfccBy) -> Element {
        let whole = |format| {
            self.value(format, values, by)
                .filter(|value| value != identity::TOO_LARGE)
        };
        let json = whole(Format::Json);
        Element {
            span,
            text: whole(Format::Text).map(Bytes::from),
            json: json.and_then(|json| Some(Bytes::copy_from_slice(json.strip_prefix(b"[")?))),
        }
    }
}

/// The elements of all lines, each followed by `,`.
fn text<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Box<[u8]>, Refusal> {
    let mut elements = Vec::new();
    for value in lines {
        if elements.len() + value.len() >= BYTES_MAX {
            return Err(Refusal::ForwardedTooLong);
        }
        let line = elements.len();
        elements.extend_from_slice(value);
        elements.push(b',');
        // Each line by itself: no quote is open at its end.
        if !elements.get(line..).is_some_and(is_sound) {
            return Err(Refusal::ForwardedMalformed);
        }
    }
    Ok(elements.into())
}

/// Whether these are elements, each with its `,`: pairs of a known key and a value between `;`, the
/// values bare or quoted (Envoy: docs, "x-forwarded-client-cert").
fn is_sound(mut rest: &[u8]) -> bool {
    let mut separator = b',';
    while !rest.is_empty() {
        let Some(read) = pair(rest) else {
            return false;
        };
        (separator, rest) = read;
    }
    separator == b','
}

/// Reads a pair to its separator; gives that and what follows.
fn pair(text: &[u8]) -> Option<(u8, &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (key, value) = text.split_at_checked(equals)?;
    if !KEYS.iter().any(|known| known.eq_ignore_ascii_case(key)) {
        return None;
    }
    let value = value.get(1..)?;
    let end = match value.strip_prefix(b"\"") {
        Some(quoted) => 1 + end_of_quoted(quoted)?,
        None => {
            let is_bare = |byte: &&u8| byte.is_ascii_graphic() && !b",;=\"\\".contains(*byte);
            value.iter().take_while(is_bare).count()
        }
    };
    let (separator, after) = value.get(end..)?.split_first()?;
    b",;".contains(separator).then_some((*separator, after))
}

/// How long a quoted value is with its closing quote: visible bytes and spaces, `\` before any.
fn end_of_quoted(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate() {
        match byte {
            _ if !byte.is_ascii_graphic() && *byte != b' ' => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// Envoy's keys.
const KEYS: [&[u8]; 8] = [
    b"By", b"Hash", b"Cert", b"Chain", b"Subject", b"URI", b"DNS", b"Issuer",
];
/// A few hops with their chains; an origin takes no larger heads anyway.
const BYTES_MAX: usize = 16 * 1024;
