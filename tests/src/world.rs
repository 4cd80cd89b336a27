//! A client, Herald and an origin: the usual scene, with one way to ask over HTTP/1.1 and HTTP/2.

use std::io;

use crate::client::{Response, Settings};
use crate::h2::{self, Polite};
use crate::herald::{Herald, Launch};
use crate::origin::{Origin, Request};
use crate::pki::Identity;
use crate::wire::{Fields, text};

/// An origin and the herald before it.
#[derive(Debug)]
pub struct World {
    /// What Herald forwards to.
    pub origin: Origin,
    /// The program under test.
    pub herald: Herald,
}

/// The protocols towards clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

/// A request, the same for both protocols.
#[derive(Clone, Debug)]
pub struct Ask {
    /// GET, POST...
    pub method: &'static str,
    /// An origin-form target.
    pub target: String,
    /// Fields beside Host and framing.
    pub headers: Fields,
    /// The body; sent chunked when there are trailers.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: Fields,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::H1, Self::H2];

    /// Sends `ask` on a new connection.
    ///
    /// # Errors
    ///
    /// Those of connecting and of the exchange.
    pub fn ask(self, herald: &Herald, settings: &Settings, ask: &Ask) -> io::Result<Response> {
        match self {
            Self::H1 => {
                let mut client = settings.connect(herald.address())?;
                client.send(&ask.to_bytes())?;
                client.response_to(ask.method)
            }
            Self::H2 => Polite::connect(herald.address(), settings)?.ask(ask.to_request()),
        }
    }
}

impl Ask {
    /// `GET target`.
    pub fn get(target: &str) -> Self {
        Self {
            method: "GET",
            target: target.to_owned(),
            headers: Fields::default(),
            body: Vec::new(),
            trailers: Fields::default(),
        }
    }

    /// `POST target` with a body.
    pub fn post(target: &str, body: &[u8]) -> Self {
        Self {
            method: "POST",
            body: body.to_vec(),
            ..Self::get(target)
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .0
            .push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Adds a trailer.
    #[must_use]
    pub fn trailer(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.trailers
            .0
            .push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// As HTTP/1.1.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!(
            "{} {} HTTP/1.1\r\nHost: localhost\r\n",
            self.method, self.target
        )
        .into_bytes();
        let mut line =
            |name: &[u8], value: &[u8]| bytes.extend([name, b": ", value, b"\r\n"].concat());
        for (name, value) in &self.headers.0 {
            line(name, value);
        }
        if !self.trailers.0.is_empty() {
            line(b"Transfer-Encoding", b"chunked");
            bytes.extend(format!("\r\n{:x}\r\n", self.body.len()).into_bytes());
            bytes.extend(&self.body);
            bytes.extend(b"\r\n0\r\n");
            for (name, value) in &self.trailers.0 {
                bytes.extend([name, &b": "[..], value, b"\r\n"].concat());
            }
            bytes.extend(b"\r\n");
            return bytes;
        }
        if !self.body.is_empty() {
            line(b"Content-Length", self.body.len().to_string().as_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }

    /// As HTTP/2, for [`Polite`].
    pub fn to_request(
        &self,
    ) -> http::Request<http_body_util::combinators::BoxBody<bytes::Bytes, io::Error>> {
        let headers = Fields(
            self.headers
                .0
                .iter()
                .map(|(k, v)| (k.to_ascii_lowercase(), v.clone()))
                .collect(),
        );
        h2::request(
            self.method,
            &self.target,
            &headers,
            &self.body,
            &self.trailers,
        )
    }
}

impl World {
    /// An echoing origin behind a herald in `mode`.
    pub fn new(mode: &str) -> Self {
        Self::with(mode, |launch| launch)
    }

    /// An echoing origin behind a herald in `mode` with a changed command line.
    pub fn with(mode: &str, change: impl FnOnce(Launch) -> Launch) -> Self {
        Self::around(Origin::echo(), mode, change)
    }

    /// `origin` behind a herald in `mode` with a changed command line.
    pub fn around(origin: Origin, mode: &str, change: impl FnOnce(Launch) -> Launch) -> Self {
        let herald = change(Launch::new(mode, origin.address())).start();
        Self { origin, herald }
    }

    /// Asks on a new connection; what the origin saw of it.
    ///
    /// # Errors
    ///
    /// A description when there was no answer.
    pub fn ask(
        &self,
        protocol: Protocol,
        identity: Option<&Identity>,
        ask: &Ask,
    ) -> Result<Response, String> {
        let settings = Settings::new(identity);
        protocol
            .ask(&self.herald, &settings, ask)
            .map_err(|error| format!("{protocol:?}: no answer: {error}"))
    }

    /// All that the origin saw, after a well-formed request was seen to come through behind it: whatever was smuggled
    /// earlier has arrived by then. Complaints of the origin are an error.
    ///
    /// # Errors
    ///
    /// What was wrong with the bytes the origin got.
    pub fn settle(&self, identity: Option<&Identity>) -> Result<Vec<Request>, String> {
        let mut client = Settings::new(identity)
            .connect(self.herald.address())
            .map_err(|error| error.to_string())?;
        let answer = client
            .get(SENTINEL)
            .map_err(|error| format!("the sentinel got no answer: {error}"))?;
        if answer.status != 200 {
            return Err(format!("the sentinel got {}", answer.start));
        }
        let complaints = self.origin.complaints();
        let requests = self.origin.take();
        if !complaints.is_empty() {
            return Err(format!("the origin complains: {complaints:#?}"));
        }
        if requests.last().is_none_or(|last| last.target != SENTINEL) {
            let targets: Vec<_> = requests.iter().map(|request| text(&request.raw)).collect();
            return Err(format!(
                "the sentinel was answered by another request's response; the origin saw {targets:#?}"
            ));
        }
        Ok(requests
            .into_iter()
            .filter(|request| request.target != SENTINEL)
            .collect())
    }
}

const SENTINEL: &str = "/sentinel";
