use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Empty;

use super::*;

fn all(trusted: &[&str]) -> Forwarding {
    Forwarding {
        x_forwarded: true,
        forwarded: true,
        request_id: true,
        trusted: trusted.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn written(hop: &ClientHop, fields: &[(&'static str, &str)]) -> String {
    let mut request = Request::get("/").header("host", "a.test:8443");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (parts, body) = request.body(Empty::<Bytes>::new()).unwrap().into_parts();
    let id = hop.request_id(&parts.headers, &RequestIds::new([1; 16]));
    let head = RequestHead::check(parts, &body, &HeaderValue::from_static("fallback")).unwrap();
    let mut out = BytesMut::new();
    hop.put(&head, &id, |_| true, &mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

const CLAIMS: [(&str, &str); 6] = [
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-for", "198.51.100.1, 198.51.100.2"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "public.test"),
    ("forwarded", "for=203.0.113.9;proto=http"),
    ("x-request-id", "given-1"),
];

#[test]
fn a_stranger_is_told_of_as_seen() {
    let hop = all(&["10.0.0.0/8"]).hop("192.0.2.7".parse().unwrap());
    let told = written(&hop, &CLAIMS);
    let (told, id) = told.rsplit_once("x-request-id: ").unwrap();
    assert_eq!(
        told,
        "x-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: https\r\nx-forwarded-host: a.test:8443\r\n\
         forwarded: for=192.0.2.7;proto=https;host=\"a.test:8443\"\r\n"
    );
    assert_eq!(id.trim_end().len(), 32);
}

#[test]
fn a_trusted_peers_lists_are_appended_to_and_its_words_kept() {
    let hop = all(&["10.0.0.0/8"]).hop("10.1.2.3".parse().unwrap());
    // What is kept as it is travels with the client's own fields.
    assert_eq!(
        written(&hop, &CLAIMS),
        "x-forwarded-for: 203.0.113.9, 198.51.100.1, 198.51.100.2, 10.1.2.3\r\n\
         forwarded: for=203.0.113.9;proto=http, for=10.1.2.3;proto=https;host=\"a.test:8443\"\r\n\
         x-request-id: given-1\r\n"
    );
    let told = written(&hop, &[]);
    assert!(told.starts_with(
        "x-forwarded-for: 10.1.2.3\r\nx-forwarded-proto: https\r\nx-forwarded-host: a.test:8443\r\n"
    ));
}

#[test]
fn an_unsound_or_repeated_id_is_replaced() {
    let hop = all(&["10.1.2.3"]).hop("10.1.2.3".parse().unwrap());
    for fields in [
        &[("x-request-id", "a b")][..],
        &[("x-request-id", "one"), ("x-request-id", "two")],
    ] {
        let told = written(&hop, fields);
        let (_, id) = told.rsplit_once("x-request-id: ").unwrap();
        assert_eq!(id.trim_end().len(), 32, "{told}");
    }
}

#[test]
fn an_ipv6_address_is_bracketed_where_rfc_7239_wants_it() {
    let hop = all(&[]).hop("2001:db8::1".parse().unwrap());
    let told = written(&hop, &[]);
    assert!(told.contains("x-forwarded-for: 2001:db8::1\r\n"), "{told}");
    assert!(
        told.contains("forwarded: for=\"[2001:db8::1]\";proto="),
        "{told}"
    );
}

#[test]
fn what_is_off_is_not_told() {
    let hop = Forwarding::default().hop("192.0.2.7".parse().unwrap());
    assert_eq!(written(&hop, &CLAIMS), "");
}
