//! A client, Herald and an origin: the usual scene, with one way to ask over HTTP/1.1 and HTTP/2.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::client::{Client, Response, Settings};
use crate::h2::{self, Polite};
use crate::herald::{Herald, Launch};
use crate::origin::{Origin, Request};
use crate::pki::Identity;
use crate::wait;
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

    /// Connects.
    ///
    /// # Errors
    ///
    /// Those of TCP and TLS.
    pub fn connect(self, herald: &Herald, settings: &Settings) -> io::Result<Connection> {
        self.connect_with(herald, &self.offered(settings))
    }

    /// `settings` with this protocol's ALPN, as a configuration whose connections may resume each other.
    pub fn offered(self, settings: &Settings) -> Arc<ClientConfig> {
        let name = match self {
            Self::H1 => "http/1.1",
            Self::H2 => "h2",
        };
        settings.clone().alpn(&[name]).build()
    }

    /// Connects with a configuration of [`Protocol::offered`].
    ///
    /// # Errors
    ///
    /// Those of TCP and TLS.
    pub fn connect_with(
        self,
        herald: &Herald,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Connection> {
        Ok(match self {
            Self::H1 => Connection::H1(Box::new(Client::connect(herald.address(), config)?)),
            Self::H2 => Connection::H2(Polite::connect_with(herald.address(), config)?),
        })
    }
}

/// An open connection of either protocol.
#[derive(Debug)]
pub enum Connection {
    /// HTTP/1.1 by hand.
    H1(Box<Client>),
    /// HTTP/2 by hyper.
    H2(Polite),
}

impl Connection {
    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    ///
    /// Those of the exchange.
    pub fn ask(&mut self, ask: &Ask) -> io::Result<Response> {
        match self {
            Self::H1(client) => {
                // A server may answer and close before it read everything: its answer counts.
                let sent = client.send(&ask.to_bytes());
                client
                    .response_to(ask.method)
                    .map_err(|error| sent.err().unwrap_or(error))
            }
            Self::H2(polite) => polite.ask(ask.to_request()),
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
            bytes.extend(b"\r\n");
            // A chunk of no bytes would be the last one.
            if !self.body.is_empty() {
                bytes.extend(format!("{:x}\r\n", self.body.len()).into_bytes());
                bytes.extend(&self.body);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n");
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

    /// Asks on a new connection.
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
        self.ask_with(protocol, &Settings::new(identity), ask)
    }

    /// As [`World::ask`] with other settings.
    ///
    /// # Errors
    ///
    /// A description when there was no answer.
    pub fn ask_with(
        &self,
        protocol: Protocol,
        settings: &Settings,
        ask: &Ask,
    ) -> Result<Response, String> {
        protocol
            .connect(&self.herald, settings)
            .and_then(|mut connection| connection.ask(ask))
            .map_err(|error| format!("no answer: {error}"))
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
        // A connection that Herald just gave up needs a moment to be noticed as ended.
        let complaints = wait::settled(|| {
            let complaints = self.origin.complaints();
            (complaints.is_empty(), complaints)
        });
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

/// The names of the default mapping.
pub const DEFAULT_NAMES: [&str; 10] = [
    "X-CERT-ISSUER-DN",
    "X-CERT-SUBJECT-DN",
    "X-CERT-ISSUER-DN-L",
    "X-CERT-SUBJECT-DN-L",
    "X-CERT-SERIAL",
    "X-CERT-FINGER",
    "X-CERT-VERIFY",
    "X-CERT-NOTBE",
    "X-CERT-NOTAF",
    "X-CERT-PRESENTED",
];

/// The lines of the default mapping's names, lower case and sorted.
pub fn certificate_lines(request: &Request) -> Vec<String> {
    let mut lines: Vec<String> = request
        .headers
        .0
        .iter()
        .filter(|(name, _)| name.to_ascii_lowercase().starts_with(b"x-cert-"))
        .map(|(name, value)| format!("{}: {}", text(name).to_ascii_lowercase(), text(value)))
        .collect();
    lines.sort();
    lines
}
