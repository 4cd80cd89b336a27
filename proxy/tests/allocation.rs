//! What injection costs in allocations: nothing where Herald writes the HTTP/1.1 upstream head, and
//! towards an HTTP/2 origin no growth of the map that the head is, which is made once in its size.
#![expect(
    clippy::expect_used,
    reason = "what fails here in preparation fails the test"
)]

use std::sync::Arc;

use allocation_counter::AllocationInfo;
use bytes::{Bytes, BytesMut};
use herald::config::ClientAuth;
use herald::headers::mapping::Mapping;
use herald::headers::{Forwarding, HeaderBlock, Hygiene, Outbound, Way};
use herald::http::RequestHead;
use herald::identity::{self, Facts, OnFailure};
use herald::policy;
use herald::telemetry::RequestIds;
use herald::tls::{ReasonStyle, Verdict};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Empty;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Runs `write` on a request that was cleaned and has the headers of a certificate, or of none at
/// all, and counts what all of that allocates.
fn measure(
    block: &HeaderBlock,
    hygiene: &Hygiene,
    write: impl Fn(&Outbound<'_>),
) -> AllocationInfo {
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
    allocation_counter::measure(|| {
        let id = hop.request_id(&parts.headers, &ids);
        let head = RequestHead::check(parts, &body, &fallback).expect("a sound head");
        let permit = policy::authorize(ClientAuth::Off, &Verdict::None).expect("a permit");
        let way = Way { hop: &hop, id: &id };
        let outbound = Outbound::new(head, permit, hygiene, block, way).expect("a clean request");
        write(&outbound);
    })
}

/// The name tables and the header block of the default mapping.
fn scene() -> (Hygiene, HeaderBlock) {
    let mapping = Mapping::compile(&[], &[]).expect("the default mapping");
    let leaf = include_bytes!("../../tests/golden/plain.crt");
    let leaf = CertificateDer::from_pem_slice(leaf).expect("a certificate");
    let facts = Facts {
        leaf: Some(&leaf),
        verdict: &Verdict::None,
        style: ReasonStyle::Openssl1,
        on_failure: OnFailure::Send,
        now: 0,
    };
    let block = mapping.render(&identity::values(&facts, mapping.wanted()));
    (Hygiene::new(mapping.names(), []), block)
}

#[test]
fn injection_into_an_http1_head_allocates_nothing() {
    let (hygiene, block) = scene();
    let out = std::cell::RefCell::new(BytesMut::with_capacity(16 * 1024));
    let counted = measure(&block, &hygiene, |outbound| {
        outbound.write_http1_head(&mut out.borrow_mut());
    });
    // `x_cert_verify` is no canonical name and not allowed: dropped without looking further.
    assert_eq!(counted.count_total, 0, "{counted:?}");
    let head = out.into_inner();
    assert!(
        head.windows(19)
            .any(|window| window == b"X-CERT-VERIFY: NONE")
    );
}

#[test]
fn injection_into_an_http2_head_makes_one_map_and_never_grows_it() {
    let (hygiene, block) = scene();
    // They are made with the first request of a caller.
    assert!(block.pairs().len() >= 2, "{block:?}");
    let nothing = HeaderBlock::new(Bytes::new(), Arc::default());
    let write = |outbound: &Outbound<'_>| {
        let request = outbound.http2_request(Scheme::HTTP).expect("a request");
        drop(request);
    };
    let with = measure(&block, &hygiene, write);
    let without = measure(&nothing, &hygiene, write);
    let map = allocation_counter::measure(|| drop(HeaderMap::<HeaderValue>::with_capacity(20)));
    // With our headers and without: the map alone, each time in one size.
    assert_eq!(with.count_total, without.count_total, "{with:?}");
    let rest = with.count_total - map.count_total;
    // Beside it the two parts of the target, whose bytes, taken from a string, become shared when they
    // are first cloned; those hyper parsed are. And one buffer, shared, for the way the request came.
    assert!(rest <= 4, "{with:?} {map:?}");
}
