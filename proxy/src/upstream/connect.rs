//! From an origin's name to a connection.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::UpstreamError;

/// Where an origin listens.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum UpstreamTarget {
    /// This address.
    Address(SocketAddr),
    /// The addresses of this name, asked for at every new connection.
    Name {
        /// A host name without a port.
        host: String,
        /// The TCP port.
        port: u16,
    },
}

/// A text that is no [`UpstreamTarget`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("expected `host:port`, `address:port` or `[address]:port`")]
pub struct BadTarget;

/// How connections to an origin are made. A trait so that tests can count system calls.
pub trait Connect {
    /// The connection.
    type Io: AsyncRead + AsyncWrite + Unpin;

    /// Makes one within `limit`.
    fn connect(&self, limit: Duration) -> impl Future<Output = Result<Self::Io, UpstreamError>>;
}

/// Connects over TCP, without Nagle's algorithm: heads are small and must not wait.
#[derive(Clone, Debug)]
pub struct TcpConnect(pub UpstreamTarget);

impl Connect for TcpConnect {
    type Io = TcpStream;

    async fn connect(&self, limit: Duration) -> Result<TcpStream, UpstreamError> {
        let deadline = Instant::now() + limit;
        match &self.0 {
            UpstreamTarget::Address(address) => connect_any(&[*address], deadline).await,
            UpstreamTarget::Name { host, port } => {
                let found = timeout_at(deadline, tokio::net::lookup_host((host.as_str(), *port)));
                let found = found.await.or(Err(UpstreamError::ConnectTimeout))?;
                let addresses: Vec<_> = found.map_err(UpstreamError::Resolve)?.collect();
                connect_any(&addresses, deadline).await
            }
        }
    }
}

/// Tries the addresses in order. Each gets its share of the time that is left, so that one that
/// never answers does not keep the next from being tried.
async fn connect_any(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, UpstreamError> {
    let no_address = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut failure = UpstreamError::Resolve(no_address);
    let mut untried = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for &address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / untried.max(1);
        untried = untried.saturating_sub(1);
        failure = match timeout(share, TcpStream::connect(address)).await {
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

impl FromStr for UpstreamTarget {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or(BadTarget)?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        if host.is_empty() || !host.bytes().all(is_name) || !is_port {
            return Err(BadTarget);
        }
        Ok(Self::Name {
            host: host.to_owned(),
            port: port.parse().or(Err(BadTarget))?,
        })
    }
}

impl fmt::Display for UpstreamTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
