//! Header lines as an origin reads them, by code that shares nothing with Herald's.

use herald::headers::{HeaderBlock, Mapping};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What many origins make of a name: CGI, WSGI and PHP fold it like this.
pub(crate) fn folded(name: &[u8]) -> Vec<u8> {
    name.iter()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                byte.to_ascii_lowercase()
            } else {
                b'-'
            }
        })
        .collect()
}

/// Splits lines into names and values. Each ends with CRLF and holds no other CR, LF or NUL.
pub(crate) fn lines(section: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut fields = Vec::new();
    let mut rest = section;
    while !rest.is_empty() {
        let end = rest
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .expect("lines end with CRLF");
        let line = &rest[..end];
        rest = &rest[end + 2..];
        assert!(
            !line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)),
            "one line is one line"
        );
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .expect("a field has a colon");
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        assert!(
            !name.is_empty() && name.iter().all(token),
            "a name is a token"
        );
        fields.push((name, value));
    }
    fields
}

/// The block has each name of its mapping at most once, in both of its forms alike.
pub(crate) fn is_sound(block: &HeaderBlock, mapping: &Mapping) {
    let fields = lines(&block.http1);
    assert_eq!(fields.len(), block.pairs().len());
    let mut left: Vec<_> = mapping.names().map(str::to_ascii_lowercase).collect();
    for ((name, value), (pair_name, pair_value)) in fields.into_iter().zip(block.pairs()) {
        assert!(pair_name.as_str().as_bytes().eq_ignore_ascii_case(name));
        assert_eq!(pair_value.as_bytes(), value);
        assert!(!value.is_empty(), "absent means absent");
        let at = left.iter().position(|left| *left == pair_name.as_str());
        left.swap_remove(at.expect("a name of the mapping, once"));
    }
}

/// A map of lines `name:value` that are legal; others are left out.
pub(crate) fn map(text: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n').take(64) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.trim_ascii()),
        ) {
            map.append(name, value);
        }
    }
    map
}

/// The options of all `Connection` lines, in lower case, `close` and `keep-alive` apart.
pub(crate) fn connection_options(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let lines = headers.get_all("connection").into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|option| option.trim_ascii().to_ascii_lowercase())
        .filter(|option| !matches!(&**option, b"" | b"close" | b"keep-alive"))
        .collect()
}
