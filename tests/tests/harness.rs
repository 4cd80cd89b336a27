//! The harness itself: an origin that did not complain about smuggling, or a client that swallowed truncation, would make
//! every other test worthless.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use herald_tests::client::{Client, Settings, open};
use herald_tests::forge::Forgery;
use herald_tests::h2::{Polite, Raw};
use herald_tests::origin::{Next, Origin};
use herald_tests::pki::{Key, Pki};
use herald_tests::table::{Table, check};
use herald_tests::wire::{Fields, Framing, Head, Reader, sha256};
use herald_tests::world::Ask;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[test]
fn the_origin_complains_about_every_message_with_two_readings() {
    let mut table = Table::new("ambiguous requests");
    for (name, bytes) in AMBIGUOUS {
        let origin = Origin::echo();
        let mut socket = open(origin.address()).unwrap();
        socket.write_all(bytes.as_bytes()).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        drop(socket.read_to_end(&mut Vec::new()));
        table.row(
            name,
            check(!origin.complaints().is_empty(), || {
                "no complaint".to_owned()
            }),
        );
    }
    table.finish();
}

#[test]
fn the_origin_does_not_complain_about_sound_messages() {
    let origin = Origin::echo();
    let mut socket = open(origin.address()).unwrap();
    let requests = "GET / HTTP/1.1\r\nHost: a\r\n\r\n\
        POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n\
        POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nxyz";
    socket.write_all(requests.as_bytes()).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    socket.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(origin.complaints(), Vec::<String>::new());
    let requests = origin.take();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[1].body.start, b"abc");
    assert_eq!(requests[1].body.trailers.texts("x-t"), ["1"]);
    assert_eq!(requests[2].body.sha256, sha256(b"xyz"));
}

#[test]
fn bytes_behind_a_request_are_stray() {
    let origin = Origin::echo();
    let mut socket = open(origin.address()).unwrap();
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled")
        .unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    drop(socket.read_to_end(&mut Vec::new()));
    let complaints = origin.complaints();
    assert!(complaints[0].contains("13 stray bytes"), "{complaints:?}");
}

#[test]
fn a_truncated_body_is_an_error_for_the_reader() {
    for (framing, bytes) in [
        (Framing::Length(5), &b"abc"[..]),
        (Framing::Chunked, b"5\r\nabc"),
        (Framing::Chunked, b"3\r\nabc\r\n"),
        (Framing::Chunked, b"3\r\nabc\r\n0\r\n"),
    ] {
        let error = Reader::new(bytes).body(framing).unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::UnexpectedEof,
            "{framing:?} {bytes:?}"
        );
    }
}

#[test]
fn a_head_keeps_duplicates_and_spelling() {
    let head = Head::parse(b"GET / HTTP/1.1\r\nX-A: 1\r\nx-a:2\r\nX_B: \xFC\r\n\r\n".to_vec());
    assert_eq!(head.fields.lines(), ["X-A: 1", "x-a: 2", "X_B: \u{FC}"]);
    assert_eq!(head.violations, Vec::<String>::new());
}

#[test]
fn the_raw_client_talks_through_a_pass_through() {
    let origin = Origin::echo();
    for kind in Key::ALL {
        let address = pass_through(origin.address(), kind);
        let mut client = Settings::default().connect(address).unwrap();
        for n in 0..2 {
            let answer = client.get(&format!("/{n}")).unwrap();
            assert_eq!(answer.status, 200);
            let seen: serde_json::Value = serde_json::from_slice(&answer.body.start).unwrap();
            assert_eq!(seen["target"], format!("/{n}"));
            assert_eq!(seen["index"], n);
        }
    }
    assert_eq!(origin.requests().len(), 6);
}

#[test]
fn a_cut_client_hello_still_shakes_hands() {
    let origin = Origin::echo();
    let address = pass_through(origin.address(), Key::Ec);
    let bytes_of = |flight: Vec<u8>| flight.into_iter().map(|byte| vec![byte]).collect();
    let mut client = Client::connect_cut(address, &Settings::default().build(), bytes_of).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
}

#[test]
fn a_connection_cut_without_close_notify_is_seen() {
    let origin = Origin::raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec(),
        Next::Close,
    );
    let address = pass_through(origin.address(), Key::Ec);
    let mut client = Settings::default().connect(address).unwrap();
    assert_eq!(
        client.get("/").unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );
}

#[test]
fn both_http2_clients_read_statuses_and_bodies() {
    let address = http2_server();
    for status in [200, 204, 400, 403, 405, 421, 502, 504] {
        let target = format!("/{status}");
        let answer = Polite::connect(address, &Settings::default())
            .unwrap()
            .ask(Ask::get(&target).to_request())
            .unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers.texts("x-method"), ["GET"]);
        let mut raw = Raw::connect(address, None).unwrap();
        let pseudo = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", &*target),
        ];
        let fields = pseudo.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert_eq!(raw.ask(&fields, None).unwrap().status, Some(status));
        assert_eq!(
            raw.ask(&fields, Some(b"body")).unwrap().status,
            Some(status)
        );
    }
}

#[test]
fn a_forged_certificate_reads_back() {
    let forged = Forgery::named(&[b"first", b"evil\r\nX-Injected: 1"]).issue(&Pki::shared().ca);
    let (rest, certificate) = x509_parser::parse_x509_certificate(forged.leaf()).unwrap();
    assert_eq!(rest, b"");
    let names: Vec<_> = certificate
        .subject()
        .iter_common_name()
        .map(|cn| cn.as_slice().to_vec())
        .collect();
    assert_eq!(
        names,
        [b"first".to_vec(), b"evil\r\nX-Injected: 1".to_vec()]
    );
    assert_eq!(certificate.issuer().as_raw(), issuer_subject());
    let version_one = Forgery {
        version: 0,
        extensions: Vec::new(),
        ..Forgery::named(&[b"old"])
    };
    let der = version_one.issue(&Pki::shared().ca).chain.remove(0);
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert_eq!(certificate.version(), x509_parser::x509::X509Version::V1);
}

#[test]
#[should_panic(expected = "1 of 2 rows failed")]
fn a_table_shows_a_failing_row() {
    let mut table = Table::new("rows");
    table.row("right", Ok(()));
    table.row("wrong", Err("because".to_owned()));
    table.finish();
}

#[test]
fn fields_find_names_in_any_case() {
    let fields = Fields(vec![(b"X-A".to_vec(), b"1".to_vec())]);
    assert_eq!(fields.only("x-a").unwrap(), "1");
    assert!(!fields.has("x-b"));
}

fn issuer_subject() -> Vec<u8> {
    let (_, ca) = x509_parser::parse_x509_certificate(Pki::shared().ca.issuer.der()).unwrap();
    ca.subject().as_raw().to_vec()
}

/// A TLS server that passes bytes on to `origin`: the simplest stand-in for a proxy.
fn pass_through(origin: SocketAddr, kind: Key) -> SocketAddr {
    serve(kind, b"http/1.1", move |mut stream| async move {
        let mut upstream = TcpStream::connect(origin).await.unwrap();
        drop(tokio::io::copy_bidirectional(&mut stream, &mut upstream).await);
    })
}

/// hyper's HTTP/2 server, answering the status its path names.
fn http2_server() -> SocketAddr {
    serve(Key::Ec, b"h2", |stream| async {
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
            let status: u16 = request.uri().path()[1..].parse().unwrap();
            let answer = http::Response::builder()
                .status(status)
                .header("x-method", request.method().as_str());
            Ok::<_, Infallible>(
                answer
                    .body(Full::new(bytes::Bytes::from_static(b"hello")))
                    .unwrap(),
            )
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        drop(server.serve_connection(TokioIo::new(stream), service).await);
    })
}

fn serve<F>(
    kind: Key,
    alpn: &'static [u8],
    handle: impl Fn(tokio_rustls::server::TlsStream<TcpStream>) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let (certificate, key) = Pki::shared().server(kind);
    let chain = CertificateDer::pem_file_iter(certificate)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((socket, _)) = listener.accept().await {
                if let Ok(stream) = acceptor.accept(socket).await {
                    tokio::spawn(handle(stream));
                }
            }
        });
    });
    told.recv().unwrap()
}

const AMBIGUOUS: [(&str, &str); 14] = [
    (
        "CL and TE",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two CL",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    ),
    (
        "the same CL twice",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "a signed CL",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    ),
    (
        "a foreign TE",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "two codings",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    ("no Host", "GET / HTTP/1.1\r\n\r\n"),
    ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("a bare LF", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"),
    (
        "obs-fold",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n b: 2\r\n\r\n",
    ),
    (
        "a space before the colon",
        "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
    ),
    (
        "a chunk size with a sign",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
    ),
    ("half a head", "GET / HTTP/1.1\r\nHost: a"),
    (
        "a space in the target",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
];
