//! The handshake, under a deadline and a size limit, and its result: a stream, and a peer that has
//! proved possession of the key of whatever certificate it presented.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The limits of one handshake.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeLimits {
    /// From accept to Finished.
    pub deadline: Duration,
    /// Most bytes the client may send until then.
    pub bytes_max: usize,
}

/// A connection whose handshake is complete.
#[derive(Debug)]
pub struct Handshaken {
    /// The client's stream.
    pub io: TlsStream<Metered>,
    /// Who is at the other end.
    pub peer: VerifiedPeer,
}

/// What a completed handshake established. Made only here: the signature of CertificateVerify has
/// been checked, now or in the handshake that a resumed session goes back to.
#[derive(Debug)]
pub struct VerifiedPeer {
    chain: Option<Vec<CertificateDer<'static>>>,
    /// Whether ALPN chose HTTP/2.
    pub http2: bool,
    /// Whether the session was resumed.
    pub resumed: bool,
    /// Protocol version, for records.
    pub version: Option<ProtocolVersion>,
    /// The name the client asked for, if any.
    pub server_name: Option<String>,
}

impl VerifiedPeer {
    /// The certificates the client presented, leaf first; never empty if present.
    pub fn chain(&self) -> Option<&[CertificateDer<'static>]> {
        self.chain.as_deref()
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

/// Completes the handshake on `tcp`.
pub async fn handshake(
    config: Arc<ServerConfig>,
    tcp: TcpStream,
    limits: HandshakeLimits,
) -> Result<Handshaken, HandshakeError> {
    let metered = Metered {
        tcp,
        left: Some(limits.bytes_max),
    };
    let accept = TlsAcceptor::from(config).accept(metered);
    let mut io = tokio::time::timeout(limits.deadline, accept)
        .await
        .map_err(|_elapsed| HandshakeError::Deadline(limits.deadline))?
        .map_err(|error| classify(error, limits))?;
    let (metered, connection) = io.get_mut();
    metered.left = None;
    let peer = VerifiedPeer {
        chain: connection
            .peer_certificates()
            .filter(|chain| !chain.is_empty())
            .map(<[CertificateDer<'static>]>::to_vec),
        http2: connection.alpn_protocol() == Some(b"h2"),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        version: connection.protocol_version(),
        server_name: connection.server_name().map(str::to_owned),
    };
    Ok(Handshaken { io, peer })
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

/// The client's socket, with a budget of bytes to read while the handshake lasts.
#[derive(Debug)]
pub struct Metered {
    tcp: TcpStream,
    left: Option<usize>,
}

impl Metered {
    /// The socket itself.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

#[derive(Debug, Error)]
#[error("handshake too large")]
struct TooLarge;

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.tcp).poll_read(cx, buf);
        if let Some(left) = &mut self.left {
            match left.checked_sub(buf.filled().len() - before) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Err(io::Error::other(TooLarge))),
            }
        }
        result
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}
