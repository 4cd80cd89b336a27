//! A TLS client that sends any bytes: HTTP/1.1 by hand, cut handshakes, stolen certificates.

use std::fmt;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion,
    RootCertStore, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};

use crate::pki::{Identity, Pki};
use crate::wire::{Body, Fields, Framing, Reader};

/// What a client offers and presents.
#[derive(Clone, Debug)]
pub struct Settings {
    identity: Option<Identity>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    suite: Option<CipherSuite>,
    asked: Asked,
}

/// What the server's CertificateRequest said, if there was one: the DER names of the CAs.
pub type Asked = Arc<Mutex<Option<Vec<Vec<u8>>>>>;

/// A connection.
#[derive(Debug)]
pub struct Client {
    reader: Reader<StreamOwned<ClientConnection, TcpStream>>,
}

/// A final response; interim ones are counted in `interim`.
#[derive(Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// HTTP/1.1's status line.
    pub start: String,
    /// Header lines in order.
    pub headers: Fields,
    /// The body.
    pub body: Body,
    /// Status codes of interim responses.
    pub interim: Vec<u16>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?}, {} bytes",
            self.status,
            self.headers.lines(),
            self.body.length
        )
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Settings {
    /// TLS 1.3 and 1.2, `http/1.1`, with `identity`.
    pub fn new(identity: Option<&Identity>) -> Self {
        let identity = identity.cloned();
        Self {
            identity,
            versions: rustls::ALL_VERSIONS.to_vec(),
            alpn: vec![b"http/1.1".to_vec()],
            suite: None,
            asked: Asked::default(),
        }
    }

    /// Only this version.
    #[must_use]
    pub fn version(mut self, version: Tls) -> Self {
        self.versions = match version {
            Tls::V12 => vec![&rustls::version::TLS12],
            Tls::V13 => vec![&rustls::version::TLS13],
        };
        self
    }

    /// Offers these protocols.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        self
    }

    /// Only this cipher suite.
    #[must_use]
    pub fn suite(mut self, suite: CipherSuite) -> Self {
        self.suite = Some(suite);
        self
    }

    /// Where the CertificateRequest is written down.
    pub fn asked(&self) -> Asked {
        Arc::clone(&self.asked)
    }

    /// The configuration. Connections made from the same one may resume each other's sessions.
    pub fn build(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(Pki::shared().ca.issuer.der().clone()).unwrap();
        let mut provider = aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .retain(|suite| self.suite.is_none_or(|only| suite.suite() == only));
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&self.versions)
            .unwrap();
        let resolver = Presenting {
            key: self.identity.as_ref().map(certified),
            asked: self.asked(),
        };
        let mut config = builder
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(resolver));
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = Resumption::in_memory_sessions(16);
        Arc::new(config)
    }

    /// Connects with a configuration of its own.
    ///
    /// # Errors
    ///
    /// See [`Client::connect`].
    pub fn connect(&self, address: SocketAddr) -> io::Result<Client> {
        Client::connect(address, &self.build())
    }
}

/// The TLS versions of the product.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tls {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

impl Tls {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V12, Self::V13];
}

impl Client {
    /// Connects and finishes the handshake as far as a client sees it: with TLS 1.3 a refusal comes with the first read.
    ///
    /// # Errors
    ///
    /// Those of TCP and rustls; see [`alert`].
    pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        Self::connect_cut(address, config, |flight| vec![flight])
    }

    /// As [`Client::connect`], the first flight cut into the TCP segments `cut` returns.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub fn connect_cut(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        cut: impl FnOnce(Vec<u8>) -> Vec<Vec<u8>>,
    ) -> io::Result<Self> {
        Self::connect_to(address, "localhost", config, cut)
    }

    /// As [`Client::connect`], asking for `name` and accepting a certificate of that name only.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub fn connect_as(
        address: SocketAddr,
        name: &str,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        Self::connect_to(address, name, config, |flight| vec![flight])
    }

    fn connect_to(
        address: SocketAddr,
        name: &str,
        config: &Arc<ClientConfig>,
        cut: impl FnOnce(Vec<u8>) -> Vec<Vec<u8>>,
    ) -> io::Result<Self> {
        let mut socket = open(address)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut flight = Vec::new();
        session.write_tls(&mut flight)?;
        for segment in cut(flight) {
            socket.write_all(&segment)?;
        }
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self {
            reader: Reader::new(StreamOwned::new(session, socket)),
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.inner.write_all(bytes)?;
        self.reader.inner.flush()
    }

    /// The next final response to a request with a body allowed in the answer.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when there is none or it is truncated.
    pub fn response(&mut self) -> io::Result<Response> {
        self.response_to("GET")
    }

    /// The next final response to a request of `method`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when there is none or it is truncated, `InvalidData` when it is malformed.
    pub fn response_to(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let mut head = self.reader.head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status: u16 = match head.start.split(' ').collect::<Vec<_>>()[..] {
                ["HTTP/1.1" | "HTTP/1.0", status, ..] => {
                    status.parse().map_err(io::Error::other)?
                }
                _ => return Err(malformed(&head.start)),
            };
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let framing = match (status, method) {
                (101 | 204 | 304, _) | (_, "HEAD") => Framing::Empty,
                _ => head.framing(Framing::Close),
            };
            if !head.violations.is_empty() {
                return Err(malformed(&head.violations));
            }
            let body = self.reader.body(framing)?;
            return Ok(Response {
                status,
                start: head.start,
                headers: head.fields,
                body,
                interim,
            });
        }
    }

    /// Sends bytes and reads one response.
    ///
    /// # Errors
    ///
    /// As [`Client::send`] and [`Client::response`].
    pub fn ask(&mut self, bytes: &[u8]) -> io::Result<Response> {
        // A server may answer and close before it read everything: its answer counts.
        let sent = self.send(bytes);
        self.response().map_err(|error| sent.err().unwrap_or(error))
    }

    /// Sends `GET path`.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    }

    /// What comes until the server closes. `Ok` only after a proper close_notify.
    ///
    /// # Errors
    ///
    /// Those of the stream; `UnexpectedEof` when TCP ended without close_notify.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        self.reader.rest()
    }

    /// What still comes within `limit`, and whether the server closed, properly or not.
    pub fn tail(&mut self, limit: Duration) -> (Vec<u8>, bool) {
        self.patience(limit);
        match self.reader.rest() {
            Ok(rest) => (rest, true),
            Err(error) => {
                let open = matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                );
                (self.reader.unread().to_vec(), !open)
            }
        }
    }

    /// What the handshake was.
    pub fn session(&self) -> (Option<ProtocolVersion>, Option<HandshakeKind>) {
        let session = &self.reader.inner.conn;
        (session.protocol_version(), session.handshake_kind())
    }

    /// The protocol chosen by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.reader.inner.conn.alpn_protocol()
    }

    /// The server's leaf certificate.
    pub fn server_certificate(&self) -> Vec<u8> {
        self.reader.inner.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Sets how long a read waits.
    pub fn patience(&mut self, limit: Duration) {
        self.reader
            .inner
            .sock
            .set_read_timeout(Some(limit))
            .unwrap();
    }

    /// Says that nothing follows (TLS `close_notify`), and goes on reading.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.reader.inner.conn.send_close_notify();
        self.reader.inner.flush()
    }

    /// Takes what was read behind the last response; how many bytes of `into` were filled.
    pub fn unread(&mut self, into: &mut [u8]) -> usize {
        self.reader.take_unread(into)
    }

    /// The stream, for other protocols; see [`Client::unread`].
    pub fn stream(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        &mut self.reader.inner
    }
}

/// A TCP connection with timeouts, so that a hanging peer fails a test instead of stopping it.
///
/// # Errors
///
/// Those of TCP.
pub fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(crate::wait::PATIENCE))?;
    socket.set_write_timeout(Some(crate::wait::PATIENCE))?;
    Ok(socket)
}

/// The alert that ended a connection.
pub fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

fn certified(identity: &Identity) -> Arc<CertifiedKey> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    // `new` does not compare key and certificate, which is what the theft tests need.
    Arc::new(CertifiedKey::new(identity.chain.clone(), key))
}

fn malformed(what: &impl fmt::Debug) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("malformed response: {what:?}"),
    )
}

/// Presents its certificate whatever the server asks for, and notes what that was.
#[derive(Debug)]
struct Presenting {
    key: Option<Arc<CertifiedKey>>,
    asked: Asked,
}

impl ResolvesClientCert for Presenting {
    fn resolve(&self, names: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.asked.lock().unwrap() = Some(names.iter().map(|name| name.to_vec()).collect());
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

/// The first flight of a client with this certificate: its ClientHello, in one record.
pub fn client_hello(identity: Option<&Identity>) -> Vec<u8> {
    let config = Settings::new(identity).build();
    let mut session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut flight = Vec::new();
    session.write_tls(&mut flight).unwrap();
    flight
}

/// A plaintext record of handshake messages (RFC 8446 §5.1).
pub fn handshake_record(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x16, 3, 1][..], &length, payload].concat()
}
