//! Cleaning an origin's response: hop-by-hop fields, protected names, and `Vary` on them.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::hop::HopList;
use super::names::{Hygiene, is_connection_field};

/// Removes what a client may not learn or be misled by. Framing is hyper's: the body it is given
/// decides, so `Transfer-Encoding` goes and a `Content-Length` that framed the body stays.
pub fn clean_response(headers: &mut HeaderMap, hygiene: &Hygiene) {
    // One look at every name, since most answers have none of what follows.
    let seen = Seen::of(headers, hygiene);
    if seen.connection {
        remove_listed(headers);
    }
    if seen.kept_back {
        remove_kept_back(headers, hygiene);
    }
    if let Some(date) = headers.get_mut(header::DATE) {
        // New every second: indexed by HTTP/2 it would only push better entries out of each
        // connection's table, and hold 60 heads in memory there (RFC 7541 §6.2.3).
        date.set_sensitive(true);
    }
    if seen.vary && varies_on_protected(headers, hygiene) {
        // RFC 9440 §2.4: the client never sent the field, so no cache below can select on it.
        headers.insert(header::VARY, HeaderValue::from_static("*"));
    }
    if seen.trailer && headers.contains_key(header::TRAILER) {
        clean_announcement(headers, hygiene);
    }
}

/// Which fields a response has, of those that need a second look.
#[derive(Default)]
struct Seen {
    connection: bool,
    kept_back: bool,
    trailer: bool,
    vary: bool,
}

impl Seen {
    fn of(headers: &HeaderMap, hygiene: &Hygiene) -> Self {
        let mut seen = Self::default();
        for name in headers.keys() {
            seen.connection |= name == header::CONNECTION;
            seen.trailer |= name == header::TRAILER;
            seen.vary |= name == header::VARY;
            seen.kept_back |= is_kept_back(name, hygiene);
        }
        seen
    }
}

fn remove_listed(headers: &mut HeaderMap) {
    let hop = HopList::of_response(headers);
    for name in hop.iter() {
        // Removing these would change what the message is, whatever the origin says.
        if !matches!(name, b"content-length" | b"date" | b"set-cookie") {
            headers.remove(HeaderName::from_bytes(name).unwrap_or(header::CONNECTION));
        }
    }
}

fn remove_kept_back(headers: &mut HeaderMap, hygiene: &Hygiene) {
    while let Some(name) = headers
        .keys()
        .find(|name| is_kept_back(name, hygiene))
        .cloned()
    {
        headers.remove(name);
    }
}

/// Says on a cleaned 101 which protocol follows (RFC 9110 §7.8).
pub fn announce_switch(headers: &mut HeaderMap, protocol: &str) {
    if let Ok(protocol) = HeaderValue::from_str(protocol) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

fn is_kept_back(name: &HeaderName, hygiene: &Hygiene) -> bool {
    let name = name.as_str().as_bytes();
    is_connection_field(name) || hygiene.is_protected(name)
}

fn varies_on_protected(headers: &HeaderMap, hygiene: &Hygiene) -> bool {
    headers
        .get_all(header::VARY)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|name| hygiene.is_protected(name.trim_ascii()))
}

fn clean_announcement(headers: &mut HeaderMap, hygiene: &Hygiene) {
    let kept: Vec<_> = super::trailers::announced(headers, hygiene).collect();
    let line = kept.join(&b", "[..]);
    match HeaderValue::from_bytes(&line) {
        Ok(value) if !line.is_empty() => drop(headers.insert(header::TRAILER, value)),
        _ => drop(headers.remove(header::TRAILER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let hygiene = Hygiene::new(["X-Device"], []);
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        clean_response(&mut headers, &hygiene);
        headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect()
    }

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn hop_by_hop_fields_of_every_connection_line_go() {
        assert_eq!(
            cleaned(&[
                ("connection", "close, X-One"),
                ("connection", "x-two\u{e9}, X-Two"),
                ("x-one", "1"),
                ("x-two", "2"),
                ("keep-alive", "timeout=5"),
                ("upgrade", "h2c"),
                ("content-length", "3"),
            ]),
            pairs(&[("content-length", "3")])
        );
    }

    #[test]
    fn protected_names_do_not_leak_to_the_client() {
        assert_eq!(
            cleaned(&[
                ("x-device", "1"),
                ("X_Device", "1"),
                ("client-cert", ":AA==:"),
                ("etag", "x")
            ]),
            pairs(&[("etag", "x")])
        );
    }

    #[test]
    fn vary_on_a_protected_name_becomes_a_star() {
        assert_eq!(
            cleaned(&[("vary", "accept, X-DEVICE")]),
            pairs(&[("vary", "*")])
        );
        assert_eq!(
            cleaned(&[("vary", "accept"), ("vary", "client-cert")]),
            pairs(&[("vary", "*")])
        );
        assert_eq!(cleaned(&[("vary", "accept")]), pairs(&[("vary", "accept")]));
    }

    #[test]
    fn announced_trailers_are_filtered() {
        assert_eq!(
            cleaned(&[("trailer", "x-device, x-sum")]),
            pairs(&[("trailer", "x-sum")])
        );
        assert_eq!(cleaned(&[("trailer", "x-device")]), pairs(&[]));
    }
}
