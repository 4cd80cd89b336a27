//! The one form of a path that rules are matched against, and that is then forwarded: two spellings
//! of one resource must not meet two rules (RFC 3986 §6.2.2).
//!
//! Unreserved bytes are decoded, other escapes get upper-case digits, slashes are merged, dot segments
//! resolved. Refused is what origins resolve differently: an encoded slash or backslash, a raw
//! backslash, NUL, a dot segment with a parameter, `..` above the root, an escape that is none.

use std::borrow::Cow;

use thiserror::Error;

/// The path has no form that all origins agree about.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the path can be read in more than one way")]
pub struct AmbiguousPath;

/// The canonical form of an absolute path, or of `*`.
pub fn canonical(path: &[u8]) -> Result<Cow<'_, [u8]>, AmbiguousPath> {
    if path == b"*" || is_canonical(path) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    let mut out: Vec<u8> = Vec::with_capacity(decoded.len());
    let mut segments = decoded.split(|byte| *byte == b'/').peekable();
    // What stands before the first slash.
    if segments.next() != Some(b"") {
        return Err(AmbiguousPath);
    }
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let (name, parameter) = match segment.iter().position(|byte| *byte == b';') {
            Some(at) => segment.split_at(at),
            None => (segment, &b""[..]),
        };
        match name {
            b"." | b".." if !parameter.is_empty() => return Err(AmbiguousPath),
            b".." => {
                // `out` is empty or starts with a slash.
                let parent = out.iter().rposition(|byte| *byte == b'/');
                out.truncate(parent.ok_or(AmbiguousPath)?);
            }
            b"." => {}
            b"" if parameter.is_empty() => {}
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        if is_last {
            out.push(b'/');
        }
    }
    if out.is_empty() {
        return Err(AmbiguousPath);
    }
    Ok(Cow::Owned(out))
}

/// Most paths are what they should be already: no escape, no empty or dotted segment.
fn is_canonical(path: &[u8]) -> bool {
    let mut previous = 0;
    for byte in path {
        let starts_segment = previous == b'/';
        if matches!(byte, b'%' | b'\\' | 0) || starts_segment && matches!(byte, b'/' | b'.') {
            return false;
        }
        previous = *byte;
    }
    path.first() == Some(&b'/')
}

fn decode(path: &[u8]) -> Result<Vec<u8>, AmbiguousPath> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' | 0 => return Err(AmbiguousPath),
            b'%' => {
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                match high << 4 | low {
                    b'/' | b'\\' | 0 => return Err(AmbiguousPath),
                    plain if plain.is_ascii_alphanumeric() || b"-._~".contains(&plain) => {
                        out.push(plain);
                    }
                    other => out.extend(format!("%{other:02X}").into_bytes()),
                }
            }
            _ => out.push(*byte),
        }
    }
    Ok(out)
}

fn digit(byte: Option<&u8>) -> Result<u8, AmbiguousPath> {
    let digit = byte.and_then(|byte| char::from(*byte).to_digit(16));
    digit
        .and_then(|digit| u8::try_from(digit).ok())
        .ok_or(AmbiguousPath)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All spellings in one place: what a client sends, what rules see and the origin gets.
    const SPELLINGS: &[(&str, Option<&str>)] = &[
        ("/", Some("/")),
        ("*", Some("*")),
        ("/admin", Some("/admin")),
        ("/admin/", Some("/admin/")),
        ("/%61dmin", Some("/admin")),
        ("/%41dmin", Some("/Admin")),
        ("//admin", Some("/admin")),
        ("/./admin", Some("/admin")),
        ("/x/../admin", Some("/admin")),
        ("/x/%2e%2e/admin", Some("/admin")),
        ("/x/.%2E/admin", Some("/admin")),
        ("/x//..//admin", Some("/admin")),
        ("/admin/.", Some("/admin/")),
        ("/admin/x/..", Some("/admin/")),
        ("/admin//", Some("/admin/")),
        ("/a%7eb", Some("/a~b")),
        ("/a%3fb", Some("/a%3Fb")),
        ("/a%20b%c3%bc", Some("/a%20b%C3%BC")),
        ("/%252e%252e/admin", Some("/%252e%252e/admin")),
        ("/...", Some("/...")),
        ("/.well-known/x", Some("/.well-known/x")),
        ("/a;b=c/d", Some("/a;b=c/d")),
        ("/;/a", Some("/;/a")),
        ("/x/..;/admin", None),
        ("/x/.;a/admin", None),
        ("/x/%2e%2e;/admin", None),
        ("/..", None),
        ("/x/../../admin", None),
        ("/%2e%2e/admin", None),
        ("/x%2fadmin", None),
        ("/x%2Fadmin", None),
        ("/x%5cadmin", None),
        ("/x\\admin", None),
        ("/admin%00", None),
        ("/admin%", None),
        ("/admin%4", None),
        ("/admin%zz", None),
        ("/admin%+1", None),
        ("admin", None),
        ("", None),
    ];

    #[test]
    fn every_spelling_has_one_form_or_none() {
        for (sent, form) in SPELLINGS {
            let found = canonical(sent.as_bytes()).ok();
            assert_eq!(found.as_deref(), form.map(str::as_bytes), "{sent}");
        }
    }

    proptest! {
        #[test]
        fn the_form_is_its_own_form(path in "/[a-c./%;2eEfF\\\\]{0,24}") {
            if let Ok(form) = canonical(path.as_bytes()) {
                let again = canonical(&form).map(Cow::into_owned);
                prop_assert_eq!(again.as_deref(), Ok(&*form));
                let text = str::from_utf8(&form).unwrap();
                prop_assert!(text.starts_with('/') && !text.contains("//") && !text.contains("/../"));
            }
        }
    }
}
