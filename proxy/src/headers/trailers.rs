//! Trailers, in both directions: an origin may merge them into the headers (RFC 9110 §6.5.1), so
//! nothing that is protected or that steers a message may arrive in them.

use http::header::{HeaderMap, HeaderName, TRAILER};

use super::names::{Hygiene, is_connection_field};

/// Removes from trailers what may not be merged into headers.
pub fn clean_trailers(trailers: &mut HeaderMap, hygiene: &Hygiene) {
    while let Some(name) = trailers
        .keys()
        .find(|name| !may_trail(name, hygiene))
        .cloned()
    {
        trailers.remove(name);
    }
}

/// The names that all `Trailer` lines announce and that may arrive.
pub(super) fn announced<'a>(
    headers: &'a HeaderMap,
    hygiene: &'a Hygiene,
) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(TRAILER)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| HeaderName::from_bytes(name).is_ok_and(|name| may_trail(&name, hygiene)))
}

fn may_trail(name: &HeaderName, hygiene: &Hygiene) -> bool {
    let name = name.as_str().as_bytes();
    !steers(name) && !is_connection_field(name) && !hygiene.is_withheld(name)
}

/// Framing, routing, authentication, request modifiers and content format (RFC 9110 §6.5.1).
fn steers(name: &[u8]) -> bool {
    matches!(
        name,
        b"authorization"
            | b"cache-control"
            | b"content-encoding"
            | b"content-length"
            | b"content-range"
            | b"content-type"
            | b"cookie"
            | b"host"
            | b"max-forwards"
            | b"range"
            | b"set-cookie"
            | b"trailer"
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn protected_and_steering_names_never_arrive_as_trailers() {
        let hygiene = Hygiene::new(["X-Device"], []);
        let mut trailers = HeaderMap::new();
        for name in [
            "x-device",
            "x_device",
            "client-cert",
            "host",
            "content-length",
            "transfer-encoding",
            "grpc-status",
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            trailers.append(&name, HeaderValue::from_static("1"));
            trailers.append(&name, HeaderValue::from_static("2"));
        }
        clean_trailers(&mut trailers, &hygiene);
        assert_eq!(
            trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["grpc-status"]
        );
        assert_eq!(trailers.get_all("grpc-status").iter().count(), 2);
    }

    #[test]
    fn announced_names_are_filtered_over_all_lines() {
        let hygiene = Hygiene::new(["X-Device"], []);
        let mut headers = HeaderMap::new();
        headers.append(TRAILER, HeaderValue::from_static("X-Device, Grpc-Status"));
        headers.append(TRAILER, HeaderValue::from_static("x_device,,a b, X-Sum"));
        assert_eq!(
            announced(&headers, &hygiene).collect::<Vec<_>>(),
            [&b"Grpc-Status"[..], b"X-Sum"]
        );
    }
}
