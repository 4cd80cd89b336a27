//! hyper's HTTP/2 client with bodies that are too large to hold: digested as they come, made as they go.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;

use crate::client::Settings;
use crate::wire::hex;

/// One connection.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    sender: SendRequest<BoxBody<Bytes, io::Error>>,
    held: Option<http::Response<Incoming>>,
}

/// The pieces of a body.
pub type Pieces = Box<dyn Iterator<Item = Vec<u8>> + Send>;

impl Client {
    /// Connects with ALPN `h2`.
    ///
    /// # Errors
    ///
    /// Those of TCP, TLS and the HTTP/2 preface.
    pub fn connect(address: SocketAddr, settings: &Settings) -> io::Result<Self> {
        let runtime = super::runtime();
        let config = settings.clone().alpn(&["h2"]).build();
        let sender = runtime.block_on(super::handshake(address, config))?;
        Ok(Self {
            runtime,
            sender,
            held: None,
        })
    }

    /// GETs `target`: the status, the body's length and its SHA-256.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn download(&mut self, target: &str) -> io::Result<(u16, u64, String)> {
        let response = self.send("GET", target, BoxBody::new(nothing()))?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let digest = async {
            let (mut length, mut digest) = (0, Sha256::new());
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                    length += data.len() as u64;
                    digest.update(&data);
                }
            }
            Ok((status, length, hex(&digest.finalize())))
        };
        self.runtime.block_on(digest)
    }

    /// POSTs `pieces`: the status.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn upload(&mut self, target: &str, pieces: Pieces) -> io::Result<u16> {
        let response = self.send("POST", target, BoxBody::new(Made(Mutex::new(pieces))))?;
        let status = response.status().as_u16();
        self.runtime
            .block_on(response.into_body().collect())
            .map_err(io::Error::other)?;
        Ok(status)
    }

    /// GETs `target` and holds the answer without reading its body.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn start(&mut self, target: &str) -> io::Result<()> {
        self.held = Some(self.send("GET", target, BoxBody::new(nothing()))?);
        Ok(())
    }

    /// Reads a piece of the body that [`Client::start`] holds.
    ///
    /// # Errors
    ///
    /// Those of the stream, and its end.
    pub fn taste(&mut self) -> io::Result<()> {
        let held = self.held.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let frame = self.runtime.block_on(held.body_mut().frame());
        let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)?;
        frame.map(drop).map_err(io::Error::other)
    }

    /// Gives up what [`Client::start`] holds.
    pub fn abandon(&mut self) {
        self.held = None;
    }

    fn send(
        &mut self,
        method: &str,
        target: &str,
        body: BoxBody<Bytes, io::Error>,
    ) -> io::Result<http::Response<Incoming>> {
        let uri = format!("https://localhost{target}");
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(body)
            .unwrap();
        let sender = &mut self.sender;
        let exchange = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        self.runtime.block_on(exchange).map_err(io::Error::other)
    }
}

/// A body made piece by piece. The lock is never contended: it makes the iterator `Sync`.
struct Made(Mutex<Pieces>);

impl Body for Made {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.0.lock().unwrap().next();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from(piece)))))
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made")
    }
}

fn nothing() -> impl Body<Data = Bytes, Error = io::Error> + Send + Sync + 'static {
    Empty::new().map_err(|never| match never {})
}
