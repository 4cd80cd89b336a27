//! From an origin to a connection: the socket, and TLS over it where the origin speaks TLS, within
//! one deadline. Gives the connection and the protocol to be spoken on it; names are resolved
//! elsewhere (`resolve.rs`).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use proxy_common::TcpProfile;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::error::UpstreamError;
use super::io::OriginIo;
use super::resolve::Resolver;
use super::target::{Origin, Speaks, UpstreamTarget};
use crate::sys::marks::Marks;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// How connections to an origin are made. A trait so that tests can count system calls.
pub trait Connect {
    /// The connection.
    type Io: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Makes one within `limit`; with `http1`, agrees on HTTP/1.1 where there is a choice.
    fn connect(
        &self,
        limit: Duration,
        http1: bool,
    ) -> impl Future<Output = Result<(Self::Io, Version), UpstreamError>>;

    /// The scheme of requests over HTTP/2; `None` where that is never spoken.
    fn http2(&self) -> Option<Scheme>;

    /// What the origin is called where no client names it.
    fn authority(&self) -> String;
}

/// Connects to one [`Origin`].
#[derive(Debug)]
pub struct OriginConnect {
    origin: Origin,
    resolver: Resolver,
    marking: Marking,
}

/// Where sockets are marked, and what they are to be set to; `None`: the kernel's own settings.
pub(super) type Marking = Option<(Marks, TcpProfile)>;

impl OriginConnect {
    pub(super) fn new(origin: Origin, marking: Marking) -> Self {
        Self {
            resolver: Resolver::new(&origin.target),
            origin,
            marking,
        }
    }

    pub(super) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    async fn tcp(&self, deadline: Instant) -> Result<TcpStream, UpstreamError> {
        let addresses = self.resolver.addresses(deadline).await?;
        let turn = self.resolver.turn();
        connect_any(&addresses, turn, &self.marking, deadline).await
    }
}

impl Connect for OriginConnect {
    type Io = OriginIo;

    async fn connect(
        &self,
        limit: Duration,
        http1: bool,
    ) -> Result<(OriginIo, Version), UpstreamError> {
        let deadline = Instant::now() + limit;
        if let UpstreamTarget::Unix(path) = &self.origin.target {
            let connecting = timeout_at(deadline, UnixStream::connect(path));
            let stream = connecting.await.or(Err(UpstreamError::ConnectTimeout))?;
            let stream = stream.map_err(|source| UpstreamError::ConnectUnix {
                path: path.clone(),
                source,
            })?;
            let version = match self.origin.speaks {
                Speaks::Http2 => Version::Http2,
                Speaks::Http1 | Speaks::Tls(_) => Version::Http1,
            };
            return Ok((OriginIo::Unix(stream), version));
        }
        let stream = self.tcp(deadline).await?;
        match &self.origin.speaks {
            Speaks::Http1 => Ok((OriginIo::Tcp(stream), Version::Http1)),
            Speaks::Http2 => Ok((OriginIo::Tcp(stream), Version::Http2)),
            Speaks::Tls(tls) if http1 => secure(&tls.http1, &tls.name, stream, deadline).await,
            Speaks::Tls(tls) => secure(&tls.config, &tls.name, stream, deadline).await,
        }
    }

    fn http2(&self) -> Option<Scheme> {
        match self.origin.speaks {
            Speaks::Http1 => None,
            Speaks::Http2 => Some(Scheme::HTTP),
            Speaks::Tls(_) => Some(Scheme::HTTPS),
        }
    }

    fn authority(&self) -> String {
        match &self.origin.target {
            UpstreamTarget::Unix(_) => "localhost".to_owned(),
            target => target.to_string(),
        }
    }
}

/// The TLS handshake; ALPN decides what is spoken (RFC 7301), HTTP/1.1 where it says nothing.
async fn secure(
    config: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    stream: TcpStream,
    deadline: Instant,
) -> Result<(OriginIo, Version), UpstreamError> {
    let connector = TlsConnector::from(Arc::clone(config));
    let shaking = timeout_at(deadline, connector.connect(name.clone(), stream));
    let shaken = shaking.await.or(Err(UpstreamError::ConnectTimeout))?;
    let stream = shaken.map_err(UpstreamError::Tls)?;
    let version = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Version::Http2,
        _ => Version::Http1,
    };
    Ok((OriginIo::Tls(Box::new(stream)), version))
}

/// Tries the addresses, beginning with number `first`. Each gets its share of the time that is
/// left, so that one that never answers does not keep the next from being tried. Without Nagle's
/// algorithm: heads are small and must not wait.
async fn connect_any(
    addresses: &[SocketAddr],
    first: usize,
    marking: &Marking,
    deadline: Instant,
) -> Result<TcpStream, UpstreamError> {
    let no_address = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut failure = UpstreamError::Resolve(no_address);
    let mut untried = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let start = first.checked_rem(addresses.len()).unwrap_or(0);
    for &address in addresses.iter().cycle().skip(start).take(addresses.len()) {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / untried.max(1);
        untried = untried.saturating_sub(1);
        failure = match timeout(share, connect_to(address, marking)).await {
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(source) => UpstreamError::Connect { address, source },
            },
            Ok(Err(source)) => UpstreamError::Connect { address, source },
            Err(_elapsed) => UpstreamError::ConnectTimeout,
        };
    }
    Err(failure)
}

/// A mark has to be on the socket before it connects.
async fn connect_to(address: SocketAddr, marking: &Marking) -> io::Result<TcpStream> {
    let Some((marks, profile)) = marking.as_ref().filter(|(marks, _)| marks.are_read()) else {
        return TcpStream::connect(address).await;
    };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    marks.mark(&socket, *profile);
    socket.connect(address).await
}
