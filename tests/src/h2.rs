//! HTTP/2 twice: hyper's client for what is well-formed, and frames by hand for what hyper refuses to send.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame};
use hyper::client::conn::http1;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Client, Response, Settings};
use crate::hpack::{block, status};
use crate::pki::Identity;
use crate::wire::{self, Fields, sha256};

pub mod stream;

/// hyper's client on one connection, driven synchronously.
#[derive(Debug)]
pub struct Polite {
    runtime: Runtime,
    sender: SendRequest<BoxBody<Bytes, io::Error>>,
}

/// Frames by hand on one connection.
#[derive(Debug)]
pub struct Raw {
    client: Client,
    next_stream: u32,
}

/// What came back on one stream of [`Raw`].
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Answer {
    /// `:status`.
    pub status: Option<u16>,
    /// DATA.
    pub body: Vec<u8>,
    /// The error code of RST_STREAM.
    pub reset: Option<u32>,
    /// The error code of GOAWAY.
    pub goaway: Option<u32>,
    /// The connection ended without an answer.
    pub closed: bool,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status,
            body,
            reset,
            goaway,
            closed,
        } = self;
        let length = body.len();
        write!(
            f,
            "status {status:?}, {length} bytes, reset {reset:?}, goaway {goaway:?}, closed {closed}"
        )
    }
}

impl Polite {
    /// Connects with ALPN `h2`.
    ///
    /// # Errors
    ///
    /// Those of TCP, TLS and the HTTP/2 preface.
    pub fn connect(address: SocketAddr, settings: &Settings) -> io::Result<Self> {
        Self::connect_with(address, &settings.clone().alpn(&["h2"]).build())
    }

    /// Connects with a configuration whose ALPN is `h2`.
    ///
    /// # Errors
    ///
    /// As [`Polite::connect`].
    pub fn connect_with(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let runtime = runtime();
        let sender = runtime.block_on(handshake(address, Arc::clone(config)))?;
        Ok(Self { runtime, sender })
    }

    /// Sends a request with fields of any spelling `http` accepts and reads the whole answer.
    ///
    /// # Errors
    ///
    /// Those of the stream: a reset, a GOAWAY, truncation.
    pub fn ask(
        &mut self,
        request: http::Request<BoxBody<Bytes, io::Error>>,
    ) -> io::Result<Response> {
        let sender = &mut self.sender;
        let exchange = async {
            sender.ready().await.map_err(io::Error::other)?;
            let (head, body) = sender
                .send_request(request)
                .await
                .map_err(io::Error::other)?
                .into_parts();
            let body = body.collect().await.map_err(io::Error::other)?;
            let trailers = body.trailers().map(fields).unwrap_or_default();
            let bytes = body.to_bytes();
            let (length, sha256) = (bytes.len() as u64, sha256(&bytes));
            let body = wire::Body {
                start: bytes.to_vec(),
                length,
                sha256,
                trailers,
            };
            let (status, headers) = (head.status.as_u16(), fields(&head.headers));
            Ok(Response {
                status,
                start: String::new(),
                headers,
                body,
                interim: Vec::new(),
            })
        };
        let limited = async { tokio::time::timeout(crate::wait::PATIENCE, exchange).await };
        self.runtime
            .block_on(limited)
            .unwrap_or_else(|elapsed| Err(io::Error::other(elapsed)))
    }
}

impl Raw {
    /// Connects with ALPN `h2` and sends the preface. The peer's HPACK encoder is told to use no dynamic table.
    ///
    /// # Errors
    ///
    /// Those of TCP and TLS.
    pub fn connect(address: SocketAddr, identity: Option<&Identity>) -> io::Result<Self> {
        Self::over(Settings::new(identity).alpn(&["h2"]).connect(address)?)
    }

    /// Sends the preface on a connection whose ALPN chose `h2`.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn over(client: Client) -> io::Result<Self> {
        let mut raw = Self {
            client,
            next_stream: 1,
        };
        raw.client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        raw.frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0])?;
        Ok(raw)
    }

    /// Sends one frame.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.client.send(&frame)
    }

    /// Sends the same frame `count` times at once.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn flood(&mut self, kind: u8, payload: &[u8], count: usize) -> io::Result<()> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 0]);
        frame.extend(payload);
        self.client.send(&frame.repeat(count))
    }

    /// Opens a stream with exactly these fields, ends it after `body`, and reads the answer.
    ///
    /// # Errors
    ///
    /// Those of sending; what ends the reading is part of the answer.
    pub fn ask(&mut self, fields: &[(&[u8], &[u8])], body: Option<&[u8]>) -> io::Result<Answer> {
        let stream = self.open(fields, body.is_none())?;
        if let Some(body) = body {
            self.frame(DATA, END_STREAM, stream, body)?;
        }
        Ok(self.answer(stream))
    }

    /// The same for `GET /` with one field more.
    ///
    /// # Errors
    ///
    /// As for [`Self::ask`].
    pub fn get_with(&mut self, name: &[u8], value: &[u8]) -> io::Result<Answer> {
        let fields = [
            (&b":method"[..], &b"GET"[..]),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", b"/"),
            (name, value),
        ];
        self.ask(&fields, None)
    }

    /// Opens a stream.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn open(&mut self, fields: &[(&[u8], &[u8])], end: bool) -> io::Result<u32> {
        let stream = self.next_stream;
        self.next_stream += 2;
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, stream, &block(fields))?;
        Ok(stream)
    }

    /// Sends trailers.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn trailers(&mut self, stream: u32, fields: &[(&[u8], &[u8])]) -> io::Result<()> {
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields))
    }

    /// Reads until `stream` or the connection ends.
    pub fn answer(&mut self, stream: u32) -> Answer {
        let mut answer = Answer::default();
        loop {
            let Ok((kind, flags, id, payload)) = self.read_frame() else {
                answer.closed = true;
                return answer;
            };
            match kind {
                SETTINGS if flags & ACK == 0 => drop(self.frame(SETTINGS, ACK, 0, &[])),
                PING if flags & ACK == 0 => drop(self.frame(PING, ACK, 0, &payload)),
                GOAWAY => {
                    answer.goaway = Some(number(&payload[4..8]));
                    if answer.goaway != Some(0) {
                        return answer;
                    }
                }
                RST_STREAM if id == stream => {
                    answer.reset = Some(number(&payload[..4]));
                    return answer;
                }
                HEADERS if id == stream && answer.status.is_none() => {
                    answer.status = status(&payload).filter(|&status| status >= 200);
                }
                DATA if id == stream => answer.body.extend(&payload),
                _ => {}
            }
            if matches!(kind, HEADERS | DATA) && id == stream && flags & END_STREAM != 0 {
                return answer;
            }
        }
    }

    /// The payload of the first frame of `kind`; frames before it are skipped.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn first_frame(&mut self, kind: u8) -> io::Result<Vec<u8>> {
        loop {
            let (found, _, _, payload) = self.read_frame()?;
            if found == kind {
                return Ok(payload);
            }
        }
    }

    /// Lets the peer send as much as it likes, on the connection and on streams opened from now on.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn widen(&mut self) -> io::Result<()> {
        const MOST: u32 = (1 << 31) - 1;
        let mut settings = vec![0, 4];
        settings.extend(MOST.to_be_bytes());
        self.frame(SETTINGS, 0, 0, &settings)?;
        self.frame(WINDOW_UPDATE, 0, 0, &(MOST - 65_535).to_be_bytes())
    }

    /// The next DATA frame of `stream`: its payload, and whether it is the last. Settings are acknowledged.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn data(&mut self, stream: u32) -> io::Result<(Vec<u8>, bool)> {
        loop {
            match self.read_frame()? {
                (SETTINGS, flags, _, _) if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[])?,
                (DATA, flags, id, payload) if id == stream => {
                    return Ok((payload, flags & END_STREAM != 0));
                }
                _ => {}
            }
        }
    }

    /// The next frame: its type, flags, stream and payload.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn read_frame(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        let stream = self.client.stream();
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = number(&[0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload)?;
        stream.flush()?;
        Ok((head[3], head[4], number(&head[5..9]) & 0x7FFF_FFFF, payload))
    }
}

/// A request for [`Polite::ask`] with a body of one piece.
///
/// # Panics
///
/// When `http` refuses a name or a value: use [`Raw`] for those.
pub fn request(
    method: &str,
    target: &str,
    headers: &Fields,
    body: &[u8],
    trailers: &Fields,
) -> http::Request<BoxBody<Bytes, io::Error>> {
    let uri = format!("https://localhost{target}");
    let mut builder = http::Request::builder()
        .method(method)
        .uri(uri)
        .version(http::Version::HTTP_2);
    builder.headers_mut().unwrap().extend(map(headers));
    let mut frames = VecDeque::new();
    if !body.is_empty() {
        frames.push_back(Frame::data(Bytes::copy_from_slice(body)));
    }
    if !trailers.0.is_empty() {
        frames.push_back(Frame::trailers(map(trailers)));
    }
    builder.body(BoxBody::new(Frames(frames))).unwrap()
}

/// Frames that are there already. Without a size hint, so that hyper adds no Content-Length: with one, a proxy towards
/// HTTP/1.1 has no place for trailers.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// Connects as HTTP/2 with a client of hyper.
///
/// # Errors
///
/// Those of TCP, TLS, ALPN and the preface.
pub async fn handshake(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<SendRequest<BoxBody<Bytes, io::Error>>> {
    let stream = TokioIo::new(secure(address, config, b"h2").await?);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        // The sender learns of a failure by itself.
        drop(connection.await);
    });
    Ok(sender)
}

/// Connects as HTTP/1.1 with a client of hyper.
///
/// # Errors
///
/// Those of TCP, TLS and ALPN.
pub async fn handshake_h1(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<http1::SendRequest<BoxBody<Bytes, io::Error>>> {
    let stream = TokioIo::new(secure(address, config, b"http/1.1").await?);
    let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // The sender learns of a failure by itself.
        drop(connection.await);
    });
    Ok(sender)
}

async fn secure(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    protocol: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(config).connect(name, socket).await?;
    if stream.get_ref().1.alpn_protocol() != Some(protocol) {
        return Err(io::Error::other("the server chose another protocol"));
    }
    Ok(stream)
}

/// The connection's task runs on a thread of its own, so that it goes on while the test does not wait for it.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn map(fields: &Fields) -> http::HeaderMap {
    let pairs = fields.0.iter().map(|(name, value)| {
        let name = http::HeaderName::from_bytes(name).unwrap();
        (name, http::HeaderValue::from_bytes(value).unwrap())
    });
    let mut map = http::HeaderMap::new();
    for (name, value) in pairs {
        map.append(name, value);
    }
    map
}

fn fields(map: &http::HeaderMap) -> Fields {
    Fields(
        map.iter()
            .map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect(),
    )
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

/// Frame types (RFC 9113 §6).
pub const DATA: u8 = 0;
/// HEADERS.
pub const HEADERS: u8 = 1;
/// RST_STREAM.
pub const RST_STREAM: u8 = 3;
/// SETTINGS.
pub const SETTINGS: u8 = 4;
/// PING.
pub const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// CONTINUATION.
pub const CONTINUATION: u8 = 9;
/// Flags.
pub const END_STREAM: u8 = 1;
const ACK: u8 = 1;
/// END_HEADERS.
pub const END_HEADERS: u8 = 4;
