//! What injection costs in allocations: nothing where Herald writes the HTTP/1.1 upstream head.

use bytes::{Bytes, BytesMut};
use herald::config::ClientAuth;
use herald::headers::mapping::Mapping;
use herald::headers::{Forwarding, Hygiene, Outbound, Way};
use herald::http::RequestHead;
use herald::identity::{self, Facts, OnFailure};
use herald::policy;
use herald::telemetry::RequestIds;
use herald::tls::{ReasonStyle, Verdict};
use http::{HeaderValue, Request};
use http_body_util::Empty;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

#[test]
fn injection_into_an_http1_head_allocates_nothing() {
    let mapping = Mapping::compile(&[], &[]).expect("the default mapping");
    let leaf = include_bytes!("../../tests/golden/plain.crt");
    let leaf = CertificateDer::from_pem_slice(leaf).expect("a certificate");
    let verdict = Verdict::None;
    let values = identity::values(
        &Facts {
            leaf: Some(&leaf),
            verdict: &verdict,
            style: ReasonStyle::Openssl1,
            on_failure: OnFailure::Send,
            now: 0,
        },
        mapping.wanted(),
    );
    let block = mapping.render(&values);
    let hygiene = Hygiene::new(mapping.names(), []);

    let request = Request::get("https://a.test/path?query")
        .header("user-agent", "allocation-test")
        .header("accept", "*/*")
        .header("x-forwarded-for", "203.0.113.9")
        .header("x-cert-verify", "SUCCESS")
        .header("x_cert_verify", "SUCCESS")
        .header("connection", "keep-alive")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    let (parts, body) = request.into_parts();
    let mut out = BytesMut::with_capacity(16 * 1024);
    let fallback = HeaderValue::from_static("fallback");

    // A trusted peer is the dearest: its lists are appended to.
    let forwarding = Forwarding {
        x_forwarded: true,
        forwarded: true,
        request_id: true,
        trusted: vec!["10.0.0.0/8".parse().expect("a network")],
    };
    let hop = forwarding.hop("10.1.2.3".parse().expect("an address"));
    let ids = RequestIds::new([0; 16]);

    let counted = allocation_counter::measure(|| {
        let id = hop.request_id(&parts.headers, &ids);
        let head = RequestHead::check(parts, &body, &fallback).expect("a sound head");
        let permit = policy::authorize(ClientAuth::Off, &Verdict::None).expect("a permit");
        let outbound = Outbound::new(head, permit, &hygiene, &block, Way { hop: &hop, id: &id })
            .expect("a clean request");
        outbound.write_http1_head(&mut out);
    });
    // `x_cert_verify` is no canonical name and not allowed: dropped without looking further.
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(
        out.ends_with(b"X-CERT-VERIFY: NONE\r\n\r\n")
            || out.windows(19).any(|w| w == b"X-CERT-VERIFY: NONE")
    );
}
