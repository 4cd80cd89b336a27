//! An element of Envoy's `x-forwarded-client-cert` in its two formats, byte for byte as Envoy 1.40
//! writes it of an ordinary certificate. What could end a string or begin another field there is
//! percent-encoded, or escaped as RFC 2253 and JSON escape it.

use sha2::{Digest as _, Sha256};

use super::alternative::{self, Kind};
use super::{Leaf, encode};

/// What begins an element before the certificate that Herald itself shows: its URIs. Empty without one,
/// as Envoy's is.
#[derive(Clone, Debug, Default)]
pub struct XfccBy {
    /// `By=URI;` for each.
    pub text: Box<[u8]>,
    /// `"by":["URI"],`.
    pub json: Box<[u8]>,
}

impl XfccBy {
    /// Of the certificate that Herald shows.
    pub fn of(own: &[u8]) -> Self {
        let read = || {
            let names = Leaf::new(own).certificate()?.alternative_names()?;
            let uris = alternative::of(&names, Kind::Uri)?;
            let (mut text, mut json) = (Vec::new(), Vec::new());
            for uri in &uris {
                text.extend_from_slice(b"By=");
                put_quoted(&mut text, uri);
                text.push(b';');
            }
            if !uris.is_empty() {
                put_list(&mut json, "by", &uris);
                json.push(b',');
            }
            Some(Self {
                text: text.into(),
                json: json.into(),
            })
        };
        read().unwrap_or_default()
    }
}

/// The text format. Envoy quotes Subject always, and others where they hold its separators.
/// `chain` is told too if there is one: the leaf, and what leads to its anchor.
pub(super) fn text(leaf: &Leaf<'_>, chain: &[&[u8]]) -> Option<Vec<u8>> {
    let mut out = b"Hash=".to_vec();
    encode::hex_lower(&mut out, &Sha256::digest(leaf.der));
    if !chain.is_empty() {
        out.extend_from_slice(b";Cert=\"");
        out.extend(encode::escaped_pem(leaf.der));
        out.extend_from_slice(b"\";Chain=\"");
        chain
            .iter()
            .for_each(|der| out.extend(encode::escaped_pem(der)));
        out.push(b'"');
    }
    // RFC 2253 has a backslash before each quote and each backslash: nothing closes the string early.
    out.extend_from_slice(b";Subject=\"");
    out.extend(leaf.subject()?.rfc2253());
    out.push(b'"');
    let names = leaf.certificate()?.alternative_names().unwrap_or_default();
    let uris = alternative::of(&names, Kind::Uri)?;
    if uris.is_empty() {
        // Envoy 1.40 has the key all the same.
        out.extend_from_slice(b";URI=");
    }
    for uri in uris {
        out.extend_from_slice(b";URI=");
        put_quoted(&mut out, uri);
    }
    for name in alternative::of(&names, Kind::Dns)? {
        out.extend_from_slice(b";DNS=");
        put_quoted(&mut out, name);
    }
    Some(out)
}

/// The JSON format: one object in an array, lists for alternative names, no empty key.
pub(super) fn json(leaf: &Leaf<'_>, chain: &[&[u8]]) -> Option<Vec<u8>> {
    let mut out = b"[{\"hash\":\"".to_vec();
    encode::hex_lower(&mut out, &Sha256::digest(leaf.der));
    out.push(b'"');
    if !chain.is_empty() {
        out.extend_from_slice(b",\"cert\":");
        put_pem(&mut out, leaf.der);
        for (index, der) in chain.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b",\"chain\":[" } else { b"," });
            put_pem(&mut out, der);
        }
        out.push(b']');
    }
    out.extend_from_slice(b",\"subject\":\"");
    for byte in leaf.subject()?.rfc2253() {
        if b"\"\\".contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    let names = leaf.certificate()?.alternative_names().unwrap_or_default();
    for (key, kind) in [("uri", Kind::Uri), ("dns", Kind::Dns)] {
        let entries = alternative::of(&names, kind)?;
        if !entries.is_empty() {
            out.push(b',');
            put_list(&mut out, key, &entries);
        }
    }
    out.extend_from_slice(b"}]");
    Some(out)
}

fn put_quoted(out: &mut Vec<u8>, text: &[u8]) {
    let quotes = text.iter().any(|byte| b",;=".contains(byte));
    if quotes {
        out.push(b'"');
    }
    encode::percent(out, text, is_plain);
    if quotes {
        out.push(b'"');
    }
}

/// A key of an object and its strings.
fn put_list(out: &mut Vec<u8>, key: &str, entries: &[&[u8]]) {
    out.extend([b"\"", key.as_bytes(), b"\":["].concat());
    for (index, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
        encode::percent(out, entry, is_plain);
        out.push(b'"');
    }
    out.push(b']');
}

/// PEM as a JSON string.
fn put_pem(out: &mut Vec<u8>, der: &[u8]) {
    out.push(b'"');
    for byte in encode::pem(der, b'\n') {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Visible, and neither ends nor escapes within a quoted string.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"\\".contains(&byte)
}
