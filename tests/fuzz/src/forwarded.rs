//! What a trusted forwarder says of its own client's certificate: whatever is taken, Herald's element
//! is the last one, whole and by itself, for readers that share nothing with Herald's.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use bytes::{Bytes, BytesMut};
use herald::config::ClientAuth;
use herald::headers::{Forwarding, HeaderBlock, Hygiene, Mapping, Outbound, Preset, Way};
use herald::http::RequestHead;
use herald::identity::{self, Facts, OnFailure, XfccBy};
use herald::policy;
use herald::telemetry::RequestIds;
use herald::tls::{ReasonStyle, ValidPath, Verdict};
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Request};
use http_body_util::Empty;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

const NAME: &str = "x-forwarded-client-cert";

/// Each line is the value of a field.
pub(crate) fn run(bytes: &[u8]) {
    let values = bytes.split(|byte| *byte == b'\n').take(8);
    let values: Vec<_> = values
        .filter_map(|value| HeaderValue::from_bytes(value).ok())
        .collect();
    for block in &*BLOCKS {
        let mut request = Request::new(Empty::<Bytes>::new());
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("localhost"));
        for value in &values {
            request.headers_mut().append(NAME, value.clone());
        }
        if let Some(sent) = sent(request, block) {
            judge(&sent, &values);
        }
    }
}

/// What the origin gets, over both protocols alike. Nothing if the request is refused.
fn sent(request: Request<Empty<Bytes>>, block: &HeaderBlock) -> Option<Vec<u8>> {
    let (parts, body) = request.into_parts();
    let head = RequestHead::check(parts, &body, &HeaderValue::from_static("fallback")).unwrap();
    let permit = policy::authorize(ClientAuth::Off, &Verdict::None).unwrap();
    let hop = Forwarding::default().hop(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let id = RequestIds::new([7; 16]).next();
    let way = Way { hop: &hop, id: &id };
    let mut outbound = Outbound::new(head, permit, &HYGIENE, block, way).unwrap();
    outbound.append_to_forwarded().ok()?;
    let mut out = BytesMut::new();
    outbound.write_http1_head(&mut out);
    let start = out.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    let lines = crate::fields::lines(&out[start..out.len() - 2]);
    let mut values = lines
        .iter()
        .filter(|(name, _)| crate::fields::folded(name) == NAME.as_bytes());
    let (_, value) = values.next().expect("Herald's own is there");
    assert!(values.next().is_none(), "one field");
    let request = outbound.http2_request(Scheme::HTTPS).unwrap();
    let mut over_http2 = request.headers().get_all(NAME).iter();
    assert_eq!(over_http2.next().unwrap().as_bytes(), *value);
    assert!(over_http2.next().is_none(), "one field");
    Some(value.to_vec())
}

fn judge(sent: &[u8], given: &[HeaderValue]) {
    let (elements, own) = match sent.starts_with(b"[") {
        true => (objects(sent), &OWN[1]),
        false => (pairs(sent), &OWN[0]),
    };
    let (last, before) = elements.split_last().expect("Herald's own");
    assert_eq!(last, own, "Herald's is the last");
    assert!(
        before.iter().all(|element| element.len() > 2),
        "no empty one"
    );
    assert_eq!(before.is_empty(), given.is_empty(), "nothing is left out");
}

/// The text format: `,` outside of quotes is between elements.
fn pairs(list: &[u8]) -> Vec<Vec<u8>> {
    let (mut elements, mut quoted, mut escaped) = (vec![Vec::new()], false, false);
    for byte in list {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                elements.push(Vec::new());
                continue;
            }
            _ => {}
        }
        elements.last_mut().unwrap().push(*byte);
    }
    assert!(!quoted, "a quote is open at the end");
    elements
}

/// The JSON format: the objects of an array.
fn objects(list: &[u8]) -> Vec<Vec<u8>> {
    let (mut elements, mut open, mut quoted, mut escaped) = (Vec::new(), Vec::new(), false, false);
    for (at, byte) in list.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => open.push(at),
            b']' | b'}' => {
                let start = open.pop().expect("something to close");
                if open.len() == 1 {
                    elements.push(list[start..=at].to_vec());
                }
            }
            _ => {}
        }
    }
    assert!(open.is_empty() && !quoted, "the array is whole");
    elements
}

/// Herald's element in the text format and in JSON.
static OWN: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let [text, json] = &*BLOCKS;
    let value = |block: &HeaderBlock| block.pairs()[0].1.as_bytes().to_vec();
    [value(text), objects(&value(json)).remove(0)]
});

/// The same caller in both formats.
static BLOCKS: LazyLock<[HeaderBlock; 2]> = LazyLock::new(|| {
    [Preset::EnvoyXfcc, Preset::EnvoyXfccJson].map(|preset| {
        let leaf = CertificateDer::from_pem_slice(include_bytes!("../../golden/special.crt"));
        let leaf = leaf.unwrap();
        let path = ValidPath {
            intermediates: Vec::new(),
            anchor: Arc::new(leaf.clone()),
            store: Arc::from("store"),
        };
        let mapping = Mapping::compile(&[preset], &[]).unwrap();
        let mapping = mapping.by(&XfccBy::default(), true);
        let facts = Facts {
            leaf: Some(&leaf),
            verdict: &Verdict::Success(Arc::new(path)),
            style: ReasonStyle::Openssl1,
            on_failure: OnFailure::Omit,
            now: 1_795_000_000,
        };
        mapping.render(&identity::values(&facts, mapping.wanted()))
    })
});

static HYGIENE: LazyLock<Hygiene> = LazyLock::new(|| Hygiene::new([NAME], []));
