use bytes::Bytes;
use http::Request;
use http_body_util::{Empty, Full};
use proptest::prelude::*;

use super::*;
use crate::config::ClientAuth;
use crate::headers::Forwarding;
use crate::headers::names::canonical_key;
use crate::policy;
use crate::telemetry::RequestIds;
use crate::tls::Verdict;

fn block() -> HeaderBlock {
    let names = ["x-cert-presented", "x-cert-verify"].map(HeaderName::from_static);
    let lines = Bytes::from_static(b"X-CERT-PRESENTED: 0\r\nX-CERT-VERIFY: NONE\r\n");
    HeaderBlock::new(lines, names.into())
}

fn hygiene() -> Hygiene {
    Hygiene::new(
        ["X-CERT-PRESENTED", "X-CERT-VERIFY", "X-Device"],
        ["x_plain", "x_device"],
    )
}

fn rewrite<B: http_body::Body>(request: Request<B>) -> Result<String, Refusal> {
    let (parts, body) = request.into_parts();
    let head = RequestHead::check(parts, &body, &HeaderValue::from_static("fallback")).unwrap();
    let permit = policy::authorize(ClientAuth::Off, &Verdict::None).unwrap();
    let (hygiene, block) = (hygiene(), block());
    let hop = Forwarding::default().hop(std::net::Ipv4Addr::LOCALHOST.into());
    let id = RequestIds::new([0; 16]).next();
    let way = Way { hop: &hop, id: &id };
    let outbound = Outbound::new(head, permit, &hygiene, &block, way)?;
    let mut out = BytesMut::new();
    outbound.write_http1_head(&mut out);
    let text = String::from_utf8(out.to_vec()).unwrap();
    assert_eq!(http2_lines(&outbound), http1_lines(&text));
    Ok(text)
}

/// What every head says over HTTP/1.1, sorted, without what HTTP/2 says otherwise: HTTP/2 heads
/// must say the same.
fn http1_lines(head: &str) -> Vec<String> {
    let mut lines: Vec<String> = head
        .trim_end()
        .lines()
        .skip(1)
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            format!("{}: {value}", name.to_lowercase())
        })
        .filter(|line| {
            !["host", "connection", "transfer-encoding"]
                .iter()
                .any(|name| line.starts_with(&format!("{name}: ")))
        })
        .flat_map(|line| match line.strip_prefix("cookie: ") {
            Some(cookies) => cookies
                .split("; ")
                .map(|c| format!("cookie: {c}"))
                .collect(),
            None => vec![line],
        })
        .collect();
    lines.sort();
    lines
}

fn http2_lines(outbound: &Outbound<'_>) -> Vec<String> {
    let request = outbound.http2_request(http::uri::Scheme::HTTPS).unwrap();
    let authority = request.uri().authority().unwrap().as_str();
    assert_eq!(authority.as_bytes(), outbound.head.authority());
    let target = request.uri().path_and_query().unwrap().as_str();
    assert_eq!(target.as_bytes(), outbound.head.target());
    let fields = request.headers().iter();
    let mut lines: Vec<String> = fields
        .flat_map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).unwrap();
            let values: Vec<_> = match *name {
                header::COOKIE => value.split("; ").collect(),
                _ => vec![value],
            };
            let lines = values.into_iter().map(|value| format!("{name}: {value}"));
            lines.collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    lines
}

/// All callers share an HTTP/2 connection's compression table.
#[test]
fn secrets_and_identity_are_never_indexed() {
    let request = get(&[
        ("authorization", "Basic x"),
        ("cookie", "a=1"),
        ("accept", "a"),
    ]);
    let (parts, body) = request.into_parts();
    let head = RequestHead::check(parts, &body, &HeaderValue::from_static("fallback")).unwrap();
    let permit = policy::authorize(ClientAuth::Off, &Verdict::None).unwrap();
    let (hygiene, block) = (hygiene(), block());
    let hop = Forwarding::default().hop(std::net::Ipv4Addr::LOCALHOST.into());
    let id = RequestIds::new([0; 16]).next();
    let way = Way { hop: &hop, id: &id };
    let outbound = Outbound::new(head, permit, &hygiene, &block, way).unwrap();
    let request = outbound.http2_request(http::uri::Scheme::HTTP).unwrap();
    let fields = request.headers().iter();
    let indexed: Vec<_> = fields
        .filter(|(_, value)| !value.is_sensitive())
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(indexed, ["accept"]);
}

fn get(fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::get("/p?q").header("host", "a.test");
    for (name, value) in fields {
        let value: String = (*value).into();
        request = request.header(
            *name,
            HeaderValue::from_maybe_shared(Bytes::from(value)).unwrap(),
        );
    }
    request.body(Empty::new()).unwrap()
}

const INJECTED: &str = "X-CERT-PRESENTED: 0\r\nX-CERT-VERIFY: NONE\r\n\r\n";

fn expect(fields: &[(&str, &str)], travels: &str) {
    assert_eq!(
        rewrite(get(fields)).unwrap(),
        format!("GET /p?q HTTP/1.1\r\nhost: a.test\r\n{travels}{INJECTED}"),
        "{fields:?}"
    );
}

#[test]
fn ordinary_headers_travel_in_order_and_ours_come_once() {
    expect(
        &[
            ("accept", "a"),
            ("x-b", "1"),
            ("accept", "b"),
            ("x_plain", "ok"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ],
        "accept: a\r\naccept: b\r\nx-b: 1\r\nx_plain: ok\r\ncookie: a=1\r\ncookie: b=2\r\n",
    );
}

#[test]
fn what_only_herald_may_say_goes_in_every_spelling() {
    for name in [
        "x-cert-verify",
        "x_cert_verify",
        "x.cert.verify",
        "x-cert_verify",
        "client-cert",
        "x_device",
        "x~device",
    ] {
        expect(&[(name, "SUCCESS"), (name, "again")], "");
    }
}

#[test]
fn every_connection_line_is_obeyed() {
    expect(
        &[
            ("connection", "close, X-One"),
            ("connection", "X-Two"),
            ("x-one", "1"),
            ("x-two", "2"),
        ],
        "",
    );
    expect(
        &[
            ("connection", "keep-alive, upgrade"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
        ],
        "",
    );
    expect(
        &[
            ("proxy-connection", "x"),
            ("keep-alive", "x"),
            ("proxy", "x"),
            ("expect", "100-continue"),
        ],
        "",
    );
}

#[test]
fn a_connection_line_may_not_take_a_verdict_or_a_credential_away() {
    for option in [
        "x-cert-verify",
        "X_CERT_VERIFY",
        "client-cert",
        "host",
        "content-length",
        "Transfer-Encoding",
        "authorization",
        "cookie",
        "x-device",
    ] {
        assert_eq!(
            rewrite(get(&[("connection", option)])),
            Err(Refusal::ConnectionNamesProtected),
            "{option}"
        );
        let second_line = [("connection", "close"), ("connection", option)];
        assert_eq!(
            rewrite(get(&second_line)),
            Err(Refusal::ConnectionNamesProtected),
            "{option}"
        );
    }
}

#[test]
fn connection_bytes_that_are_no_token_are_refused() {
    // A `to_str` that fails on one byte ≥ 0x80 must not let the rest of the line pass unread.
    assert_eq!(
        rewrite(get(&[("connection", "x-one, \u{e9}")])),
        Err(Refusal::ConnectionBytes)
    );
    let many = vec!["x-a"; 33].join(",");
    assert_eq!(
        rewrite(get(&[("connection", &many)])),
        Err(Refusal::ConnectionTooLong)
    );
}

#[test]
fn te_keeps_trailers_and_trailer_keeps_harmless_names() {
    expect(
        &[("te", "gzip, Trailers"), ("connection", "te")],
        "te: trailers\r\nconnection: te\r\n",
    );
    expect(&[("te", "gzip")], "");
    expect(
        &[("trailer", "X-Sum, X-CERT-VERIFY, x_device")],
        "trailer: X-Sum\r\n",
    );
}

#[test]
fn framing_is_made_anew() {
    let request = Request::post("/")
        .header("host", "a")
        .header("content-length", "3");
    let head = rewrite(request.body(Full::new(Bytes::from_static(b"abc"))).unwrap()).unwrap();
    assert!(
        head.ends_with("X-CERT-VERIFY: NONE\r\ncontent-length: 3\r\n\r\n"),
        "{head}"
    );
    assert_eq!(head.matches("content-length").count(), 1);
}

#[test]
fn http2_cookies_become_one_line() {
    let mut request = get(&[("cookie", "a=1"), ("cookie", "b=2")]);
    *request.version_mut() = Version::HTTP_2;
    let head = rewrite(request).unwrap();
    assert!(head.contains("\r\ncookie: a=1; b=2\r\n"), "{head}");
    assert_eq!(head.matches("cookie").count(), 1);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9!#$%&'*+.^_`|~-]{1,12}",
        "x[-_.~]cert[-_.|]verify",
        "(connection|te|trailer|upgrade|keep-alive|x-forwarded-for|cookie|client[-_]cert|x_plain|x_device)",
    ]
}

proptest! {
    /// The property hygiene stands for: no protected and no Connection-listed name survives.
    #[test]
    fn nothing_protected_or_listed_survives(
        fields in proptest::collection::vec((name(), "[ -~\u{80}-\u{ff}]{0,20}"), 0..12),
        listed in proptest::collection::vec(name(), 0..4),
    ) {
        let mut fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let options = listed.join(", ");
        fields.push(("connection", &options));
        let fields: Vec<_> = fields.into_iter().filter(|(name, _)| *name != "host").collect();
        let Ok(head) = rewrite(get(&fields)) else { return Ok(()) };
        let lines: Vec<&str> = head.strip_suffix("\r\n\r\n").unwrap().split("\r\n").skip(1).collect();
        let hygiene = hygiene();
        let ours = ["X-CERT-PRESENTED: 0", "X-CERT-VERIFY: NONE"];
        for line in &lines {
            let (name, value) = line.split_once(": ").unwrap();
            prop_assert!(!hygiene.is_protected(name.as_bytes()) || ours.contains(line), "{line}");
            let kept_option = (name == "connection" && value == "te") || name == "te";
            let listed = listed.iter().any(|option| canonical_key(option.as_bytes()) == canonical_key(name.as_bytes()) && option == name);
            prop_assert!(!listed || kept_option || name == "close", "{line} was listed");
        }
        for our in ours {
            prop_assert_eq!(lines.iter().filter(|line| **line == our).count(), 1);
        }
    }
}
