//! Callers. They write HTTP/1.1 byte by byte, since an honest client library would not send most of
//! it; HTTP/2 goes through hyper.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pki::Own;
use crate::tls;

/// Who calls, and how it connects.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The server name it sends, if it sends one.
    pub server_name: Option<&'a str>,
    /// What it presents, if it is asked for a certificate.
    pub own: Option<&'a Own>,
    /// Whom the server's certificate must lead to; anybody, if left out.
    pub roots: Option<&'a Arc<RootCertStore>>,
    /// Its address.
    pub from: Ipv4Addr,
}

/// What it sends.
#[derive(Clone, Debug)]
pub enum Question {
    /// Raw bytes.
    Http1(Vec<u8>),
    /// A request, with fields in lower case.
    Http2 {
        /// `https://HOST/PATH`.
        target: String,
        /// Its fields.
        fields: Vec<(String, String)>,
        /// Fields behind its body, if it has one.
        trailers: Option<HeaderMap>,
    },
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The fields; names as they came.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// Whether the TLS session was one that began on another connection.
    pub is_resumed: bool,
}

impl Caller<'_> {
    /// Makes a connection, asks once and reads to the end.
    ///
    /// # Errors
    /// Where no whole answer comes, in time.
    pub async fn ask(&self, address: SocketAddr, question: &Question) -> io::Result<Answer> {
        let config = self.config()?;
        self.ask_with(config, address, question).await
    }

    /// Asks `first` as one who sends the server name `other`, and then offers the session tickets that
    /// came of it under its own name.
    ///
    /// # Errors
    /// As [`Caller::ask`]; [`io::ErrorKind::NotFound`] where no ticket came.
    pub async fn ask_with_tickets_of(
        &self,
        other: Option<&str>,
        first: &Question,
        address: SocketAddr,
        question: &Question,
    ) -> io::Result<Answer> {
        let tickets = Arc::new(Pooled::default());
        let mut config = self.config()?;
        config.resumption = Resumption::store(Arc::clone(&tickets) as Arc<dyn ClientSessionStore>);
        let earlier = Caller {
            server_name: other,
            own: self.own,
            roots: self.roots,
            from: self.from,
        };
        earlier.ask_with(config.clone(), address, first).await?;
        if tickets.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no session ticket came",
            ));
        }
        self.ask_with(config, address, question).await
    }

    async fn ask_with(
        &self,
        config: ClientConfig,
        address: SocketAddr,
        question: &Question,
    ) -> io::Result<Answer> {
        let asked = async {
            let is_http2 = matches!(question, Question::Http2 { .. });
            let tls = self.connect(config, address, is_http2).await?;
            let is_resumed = tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
            let answer = match question {
                Question::Http1(bytes) => ask_http1(tls, bytes).await,
                Question::Http2 {
                    target,
                    fields,
                    trailers,
                } => {
                    let body = body(trailers.clone());
                    ask_http2(tls, target, fields, body).await
                }
            };
            answer.map(|answer| Answer {
                is_resumed,
                ..answer
            })
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn config(&self) -> io::Result<ClientConfig> {
        let config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let config = match self.roots {
            Some(roots) => config.with_root_certificates(Arc::clone(roots)),
            None => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody)),
        };
        match self.own {
            None => Ok(config.with_no_client_auth()),
            Some(own) => config
                .with_client_auth_cert(vec![own.certificate.clone()], own.key())
                .map_err(io::Error::other),
        }
    }

    async fn connect(
        &self,
        mut config: ClientConfig,
        address: SocketAddr,
        is_http2: bool,
    ) -> io::Result<TlsStream<TcpStream>> {
        if is_http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        config.enable_sni = self.server_name.is_some();
        let name = self.server_name.unwrap_or("localhost").to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let socket = TcpSocket::new_v4()?;
        socket.bind((IpAddr::V4(self.from), 0).into())?;
        let tcp = socket.connect(address).await?;
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
    }
}

async fn ask_http1(mut tls: TlsStream<TcpStream>, bytes: &[u8]) -> io::Result<Answer> {
    tls.write_all(bytes).await?;
    tls.flush().await?;
    let mut answer = Vec::new();
    // An answer without close_notify ends in an error, the bytes before it still count.
    let end = tls.take(ANSWER_MAX).read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    let head_and_body = answer.split_once("\r\n\r\n");
    let parsed = head_and_body.and_then(|(head, body)| {
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let field = |line: &str| {
            line.split_once(": ")
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        Some(Answer {
            status,
            fields: lines.filter_map(field).collect(),
            body: body.to_owned(),
            is_resumed: false,
        })
    });
    parsed.ok_or_else(|| {
        end.err()
            .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
    })
}

type Body = BoxBody<Bytes, std::convert::Infallible>;

fn body(trailers: Option<HeaderMap>) -> Body {
    match trailers {
        None => Empty::new().boxed(),
        Some(trailers) => Full::new(Bytes::from_static(b"hi"))
            .with_trailers(std::future::ready(Some(Ok(trailers))))
            .boxed(),
    }
}

async fn ask_http2(
    tls: TlsStream<TcpStream>,
    target: &str,
    fields: &[(String, String)],
    body: Body,
) -> io::Result<Answer> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
            .await
            .map_err(io::Error::other)?;
    let driver = tokio::spawn(connection);
    let method = match body.is_end_stream() {
        true => Method::GET,
        false => Method::POST,
    };
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(name, value);
    }
    let request = request.body(body).map_err(io::Error::other)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    driver.abort();
    let fields = parts.headers.iter();
    let fields = fields.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.as_str().to_owned(), value.into_owned())
    });
    Ok(Answer {
        status: parts.status.as_u16(),
        fields: fields.collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
        is_resumed: false,
    })
}

/// Tickets of all servers in one place: an honest client would offer none to another name.
#[derive(Debug, Default)]
struct Pooled(Mutex<Tickets>);

#[derive(Debug, Default)]
struct Tickets {
    of_tls12: Option<Tls12ClientSessionValue>,
    of_tls13: Vec<Tls13ClientSessionValue>,
}

impl Pooled {
    fn is_empty(&self) -> bool {
        let tickets = self.tickets();
        tickets.of_tls12.is_none() && tickets.of_tls13.is_empty()
    }

    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Pooled {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.tickets().of_tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tickets().of_tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.tickets().of_tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let tickets = &mut self.tickets().of_tls13;
        if tickets.len() < TICKETS_MAX {
            tickets.push(value);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tickets().of_tls13.pop()
    }
}

/// Takes any server for the right one: it is this process, on loopback.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = tls::provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// More than the origin answers.
const ANSWER_MAX: u64 = 256 * 1024;
/// More than one connection is given.
const TICKETS_MAX: usize = 8;
/// For one question, from connect to the answer's end.
const PATIENCE: Duration = Duration::from_secs(10);
