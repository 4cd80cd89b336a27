//! The handshake, under a deadline and a size limit, and its result: a stream, and a peer that has
//! proved possession of the key of whatever certificate it presented.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::server::Acceptor;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::kernel::{self, Gate, KernelTls, Keys, Sender};
use super::socket::{ClientSocket, TooLarge};
use super::stream::{ClientStream, Socket, poll_write_tls};
use crate::telemetry::Wire;
use crate::telemetry::reason::HandshakeFailure;

/// The limits of one handshake.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeLimits {
    /// From accept to Finished.
    pub deadline: Duration,
    /// Most bytes the client may send until then.
    pub bytes_max: usize,
}

/// From a server name to the number of an application and its configuration.
pub type Choose<'a> = dyn Fn(Option<&str>) -> (usize, Arc<ServerConfig>) + 'a;

/// What a client is shown, and asked for: the same for all, or chosen by the name it asks for.
pub enum Server<'a> {
    /// One application for every name.
    Only(Arc<ServerConfig>),
    /// Asked with the server name of the ClientHello, or with none if it has no usable one.
    ByName(&'a Choose<'a>),
}

impl std::fmt::Debug for Server<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Only(_) => "Only",
            Self::ByName(_) => "ByName",
        })
    }
}

/// A connection whose handshake is complete.
#[derive(Debug)]
pub struct Handshaken {
    /// The number of the application whose configuration was used; 0 for the only one.
    pub application: usize,
    /// The client's stream.
    pub io: ClientStream,
    /// Who is at the other end.
    pub peer: VerifiedPeer,
}

/// What a completed handshake established. Made only here: the signature of CertificateVerify has
/// been checked, now or in the handshake that a resumed session goes back to.
#[derive(Debug)]
pub struct VerifiedPeer {
    chain: Arc<[CertificateDer<'static>]>,
    /// Whether ALPN chose HTTP/2.
    pub http2: bool,
    /// Whether the session was resumed.
    pub resumed: bool,
    /// Protocol version, for records.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite's name, for records.
    pub cipher: Option<&'static str>,
    /// The name the client asked for, if any.
    pub server_name: Option<String>,
}

impl VerifiedPeer {
    /// The certificates the client presented, leaf first; none if it presented none.
    pub fn into_chain(self) -> Arc<[CertificateDer<'static>]> {
        self.chain
    }
}

/// Why a handshake did not complete.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The client took too long.
    #[error("not complete within {0:?}")]
    Deadline(Duration),
    /// The client sent too much.
    #[error("the client sent more than {0} bytes")]
    TooLarge(usize),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(io::Error),
    /// TLS failed; the alert has been sent.
    #[error("{0}")]
    Tls(rustls::Error),
}

impl HandshakeError {
    /// Its class, for records and metrics.
    pub fn class(&self) -> HandshakeFailure {
        match self {
            Self::Deadline(_) => HandshakeFailure::Timeout,
            Self::TooLarge(_) => HandshakeFailure::TooLarge,
            Self::Io(_) => HandshakeFailure::Io,
            Self::Tls(error) => match error {
                rustls::Error::AlertReceived(_) => HandshakeFailure::ClientAlert,
                rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => {
                    HandshakeFailure::Incompatible
                }
                rustls::Error::InvalidCertificate(_)
                | rustls::Error::NoCertificatesPresented
                | rustls::Error::UnsupportedNameType => HandshakeFailure::Certificate,
                rustls::Error::PeerMisbehaved(_)
                | rustls::Error::InappropriateMessage { .. }
                | rustls::Error::InappropriateHandshakeMessage { .. }
                | rustls::Error::InvalidMessage(_)
                | rustls::Error::PeerSentOversizedRecord
                | rustls::Error::DecryptError => HandshakeFailure::Protocol,
                _ => HandshakeFailure::Other,
            },
        }
    }
}

/// Completes the handshake on `tcp`; with `kernel` the connection may be handed to the kernel later;
/// `wire` learns how many bytes pass.
pub async fn handshake(
    server: Server<'_>,
    tcp: TcpStream,
    limits: HandshakeLimits,
    kernel: Option<&Arc<KernelTls>>,
    wire: Option<Rc<Wire>>,
) -> Result<Handshaken, HandshakeError> {
    let socket = Gate::new(
        ClientSocket::new(tcp, limits.bytes_max, wire),
        kernel.is_some(),
    );
    let accept = pin!(accept(server, socket, kernel.is_some()));
    let accept = kernel::catch(accept);
    let (accepted, secret) = tokio::time::timeout(limits.deadline, accept)
        .await
        .map_err(|_elapsed| HandshakeError::Deadline(limits.deadline))?;
    let (application, mut gate, connection) = accepted.map_err(|error| classify(error, limits))?;
    gate.socket().lift_budget();
    let keys = connection
        .negotiated_cipher_suite()
        .zip(secret)
        .and_then(|(suite, secret)| Keys::new(suite, secret));
    let sender = kernel.and_then(|kernel| Sender::new(kernel, keys?));
    let peer = VerifiedPeer {
        chain: connection.peer_certificates().unwrap_or_default().into(),
        http2: connection.alpn_protocol() == Some(b"h2"),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        version: connection.protocol_version(),
        cipher: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str()),
        server_name: connection.server_name().map(str::to_owned),
    };
    Ok(Handshaken {
        application,
        io: ClientStream::new(gate, connection, sender),
        peer,
    })
}

/// rustls puts a fragmented ClientHello together before it is asked for its name: the empty name of
/// a first fragment never chooses (CVE-2026-32305). With `flushes` nothing is left to be sent.
async fn accept(
    server: Server<'_>,
    socket: Gate<ClientSocket>,
    flushes: bool,
) -> io::Result<(usize, Gate<ClientSocket>, ServerConnection)> {
    let (application, mut socket, mut tls) = begin(server, socket).await?;
    poll_fn(|cx| poll_complete(&mut socket, &mut tls, cx)).await?;
    if flushes {
        poll_fn(|cx| poll_write_tls(&mut socket, &mut tls, cx)).await?;
    }
    Ok((application, socket, tls))
}

/// A connection with the configuration that its client is to have.
async fn begin(
    server: Server<'_>,
    socket: Gate<ClientSocket>,
) -> io::Result<(usize, Gate<ClientSocket>, ServerConnection)> {
    let choose = match server {
        Server::Only(config) => {
            let tls = ServerConnection::new(config).map_err(io::Error::other)?;
            return Ok((0, socket, tls));
        }
        Server::ByName(choose) => choose,
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
    let (application, config) = choose(start.client_hello().server_name());
    let mut socket = start.io;
    match start.accepted.into_connection(config) {
        Ok(tls) => Ok((application, socket, tls)),
        Err((error, mut alert)) => {
            // An alert is smaller than any socket's buffer: what is not taken at once never is.
            poll_fn(|cx| Poll::Ready(alert.write(&mut Socket(&mut socket, cx))))
                .await
                .ok();
            Err(io::Error::new(io::ErrorKind::InvalidData, error))
        }
    }
}

/// Reads and answers until the handshake is complete. What rustls has to send then waits for the
/// first answer, or until the client says nothing more (`stream.rs`): a session ticket is worth no
/// packet of its own.
fn poll_complete(
    socket: &mut Gate<ClientSocket>,
    tls: &mut ServerConnection,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while tls.is_handshaking() {
        ready!(poll_write_tls(socket, tls, cx))?;
        match tls.read_tls(&mut Socket(socket, cx)) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
        if let Err(error) = tls.process_new_packets() {
            // With its alert, as far as the socket takes it.
            drop(poll_write_tls(socket, tls, cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
    }
    Poll::Ready(Ok(()))
}

fn classify(error: io::Error, limits: HandshakeLimits) -> HandshakeError {
    if error.get_ref().is_some_and(|inner| inner.is::<TooLarge>()) {
        return HandshakeError::TooLarge(limits.bytes_max);
    }
    match error.downcast::<rustls::Error>() {
        Ok(tls) => HandshakeError::Tls(tls),
        Err(error) => HandshakeError::Io(error),
    }
}
