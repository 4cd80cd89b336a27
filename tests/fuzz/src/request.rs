//! Request rewriting, the heart of the matter: no protected name and no name that the client's
//! `Connection` lists reaches the origin, ours arrive once, and the head has one reading.
//!
//! The first byte chooses between bytes on the wire, through hyper as in production, and a request
//! made of fields as HTTP/2 gives them.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, thread_local};

use bytes::{Bytes, BytesMut};
use herald::config::ClientAuth;
use herald::headers::{Forwarding, HeaderBlock, Hygiene, Mapping, Outbound, Way, family_names};
use herald::http::{ClientBody, Endings, RequestHead, limits, serve};
use herald::identity::{self, Facts, OnFailure};
use herald::net::Awaited;
use herald::telemetry::RequestIds;
use herald::tls::{ReasonStyle, Verdict};
use herald::{drain, policy};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Body;
use http_body_util::{Empty, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

use crate::fields::{connection_options, folded, lines, map};
use crate::input::Input;

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if input.byte() & 1 == 0 {
        on_the_wire(input.rest());
    } else {
        in_fields(&mut input);
    }
}

fn on_the_wire(bytes: &[u8]) {
    let io = TokioIo::new(Wire(Bytes::copy_from_slice(bytes)));
    let (_trigger, drain) = drain::channel();
    let endings = Endings {
        drain,
        withdrawal: Rc::default(),
    };
    let exchange = |request: Request<ClientBody>| async move {
        rewrite(request);
        Response::new(Empty::<Bytes>::new())
    };
    RUNTIME.with(|runtime| {
        let served = serve::serve(io, serve::Protocol::Http1, &LIMITS, endings, exchange);
        drop(runtime.block_on(served));
    });
}

fn in_fields(input: &mut Input<'_>) {
    let choice = input.byte();
    let method = ["GET", "POST", "OPTIONS", "CONNECT"][usize::from(choice % 4)];
    let version =
        [Version::HTTP_2, Version::HTTP_11, Version::HTTP_10][usize::from(choice / 4 % 3)];
    let target = String::from_utf8_lossy(input.piece()).into_owned();
    let body = Bytes::copy_from_slice(input.piece());
    let Ok(mut request) = Request::builder()
        .method(method)
        .version(version)
        .uri(target)
        .body(Full::new(body))
    else {
        return;
    };
    *request.headers_mut() = map(input.rest());
    rewrite(request);
}

/// Rewrites as the driver does, and reads the outcome as an origin would.
fn rewrite<B: Body>(request: Request<B>) {
    let (parts, body) = request.into_parts();
    let given = parts.headers.clone();
    let Ok(head) = RequestHead::check(parts, &body, &HeaderValue::from_static("fallback")) else {
        return;
    };
    let permit = policy::authorize(ClientAuth::Off, &Verdict::None).unwrap();
    let hop = FORWARDING.hop(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let id = RequestIds::new([7; 16]).next();
    let way = Way { hop: &hop, id: &id };
    let Ok(outbound) = Outbound::new(head, permit, &HYGIENE, &BLOCK, way) else {
        return;
    };
    let mut out = BytesMut::new();
    outbound.write_http1_head(&mut out);
    judge(&out, &given, id.as_bytes());
}

fn judge(head: &[u8], given: &HeaderMap, id: &[u8]) {
    let head = head
        .strip_suffix(b"\r\n")
        .expect("a head ends with an empty line");
    let end = head
        .windows(2)
        .position(|pair| pair == b"\r\n")
        .expect("a request line");
    let request_line = &head[..end];
    assert_eq!(
        request_line.iter().filter(|byte| **byte == b' ').count(),
        2,
        "three parts"
    );
    assert!(request_line.ends_with(b" HTTP/1.1"));
    let fields = lines(&head[end + 2..]);
    let options = connection_options(given);
    options
        .iter()
        .for_each(|option| was_rightly_admitted(option));
    let mut ours = lines(&BLOCK.http1);
    let mut framing = 0;
    let mut hosts = 0;
    for (name, value) in fields {
        if let Some(at) = ours.iter().position(|field| *field == (name, value)) {
            ours.swap_remove(at);
            continue;
        }
        let key = folded(name);
        assert!(
            !PROTECTED.contains(&key),
            "protected: {}",
            name.escape_ascii()
        );
        assert!(
            *name == key || name == b"x_plain",
            "odd: {}",
            name.escape_ascii()
        );
        assert!(!key.starts_with(b"x-forwarded-") && key != b"forwarded");
        match name {
            b"host" => hosts += 1,
            b"content-length" | b"transfer-encoding" => framing += 1,
            b"te" => assert_eq!(value, b"trailers"),
            b"connection" => assert_eq!(value, b"te"),
            // A stranger's id is replaced.
            b"x-request-id" => assert_eq!(value, id),
            _ => {
                assert!(
                    !HOP_BY_HOP.contains(&name),
                    "hop-by-hop: {}",
                    name.escape_ascii()
                );
                let listed = options.iter().any(|option| *option == name);
                assert!(!listed, "listed in Connection: {}", name.escape_ascii());
                let known = given.keys().any(|given| given.as_str().as_bytes() == name);
                assert!(known, "invented: {}", name.escape_ascii());
            }
        }
        if name == b"trailer" {
            announces_nothing_protected(value);
        }
    }
    assert!(ours.is_empty(), "ours arrive, once each");
    assert!(hosts == 1 && framing <= 1);
}

/// A head whose `Connection` lists what must not be removed is refused.
fn was_rightly_admitted(option: &[u8]) {
    let key = folded(option);
    assert!(
        !PROTECTED.contains(&key),
        "an option that names a protected field"
    );
    assert!(
        !INDISPENSABLE.contains(&&*key),
        "an option that names framing"
    );
}

fn announces_nothing_protected(trailer: &[u8]) {
    for name in trailer.split(|byte| *byte == b',') {
        assert!(!PROTECTED.contains(&folded(name.trim_ascii())));
    }
}

/// All bytes at once, then the end; what is written is thrown away.
struct Wire(Bytes);

impl Awaited for Wire {
    fn poll_awaited(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = buffer.remaining().min(self.0.len());
        buffer.put_slice(&self.0.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
}

static LIMITS: LazyLock<limits::Limits> = LazyLock::new(|| limits::Limits {
    head_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(60),
    drain_idle_timeout: Duration::from_secs(1),
    verdict_grace: Duration::from_secs(1),
    head_bytes_max: 16 * 1024,
    head_fields_max: 100,
    http2_streams_max: 8,
    http2_resets_max: 20,
    write_timeout: Duration::from_secs(10),
    http2_stream_window: 65_535,
    http2_connection_window: 65_535,
});

/// Nothing is told of the way, and nobody is trusted.
static FORWARDING: Forwarding = Forwarding {
    x_forwarded: false,
    forwarded: false,
    request_id: true,
    trusted: Vec::new(),
};

static MAPPING: LazyLock<Mapping> = LazyLock::new(|| {
    Mapping::compile(
        &[],
        &[("X-Device".to_owned(), "{certPresented}".to_owned())],
    )
    .unwrap()
});

static HYGIENE: LazyLock<Hygiene> =
    LazyLock::new(|| Hygiene::new(MAPPING.names(), ["x_plain", "x_device", "x_forwarded_for"]));

static PROTECTED: LazyLock<HashSet<Vec<u8>>> = LazyLock::new(|| {
    let names = family_names().chain(MAPPING.names());
    names.map(|name| folded(name.as_bytes())).collect()
});

static BLOCK: LazyLock<HeaderBlock> = LazyLock::new(|| {
    let facts = Facts {
        leaf: None,
        verdict: &Verdict::None,
        style: ReasonStyle::Openssl1,
        on_failure: OnFailure::Omit,
        now: 0,
    };
    MAPPING.render(&identity::values(&facts, MAPPING.wanted()))
});

const HOP_BY_HOP: [&[u8]; 8] = [
    b"expect",
    b"http2-settings",
    b"keep-alive",
    b"proxy",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"upgrade",
];

const INDISPENSABLE: [&[u8]; 5] = [
    b"authorization",
    b"content-length",
    b"cookie",
    b"host",
    b"transfer-encoding",
];
