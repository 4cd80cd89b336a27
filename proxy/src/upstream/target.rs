//! Where an origin is and what it speaks: plain values that the snapshot compiles and each worker
//! makes its endpoints of.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

/// Where an origin listens.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum UpstreamTarget {
    /// This address.
    Address(SocketAddr),
    /// The addresses of this name.
    Name {
        /// A host name without a port.
        host: String,
        /// The TCP port.
        port: u16,
    },
    /// A Unix socket on this host.
    Unix(PathBuf),
}

/// One origin.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Where it is.
    pub target: UpstreamTarget,
    /// What is spoken there.
    pub speaks: Speaks,
}

/// What is spoken on a connection to an origin.
#[derive(Clone, Debug)]
pub enum Speaks {
    /// HTTP/1.1 in the clear.
    Http1,
    /// HTTP/2 in the clear, by prior knowledge (RFC 9113 §3.3).
    Http2,
    /// TLS, and in it what ALPN chooses.
    Tls(TlsOrigin),
}

/// How an origin is spoken to over TLS.
#[derive(Clone, Debug)]
pub struct TlsOrigin {
    /// Trust, own certificate and ALPN.
    pub config: Arc<ClientConfig>,
    /// The name its certificate must be for.
    pub name: ServerName<'static>,
}

impl From<UpstreamTarget> for Origin {
    /// HTTP/1.1 in the clear.
    fn from(target: UpstreamTarget) -> Self {
        Self {
            target,
            speaks: Speaks::Http1,
        }
    }
}

impl fmt::Display for UpstreamTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.target, &self.speaks) {
            (UpstreamTarget::Unix(_), _) => self.target.fmt(f),
            (target, Speaks::Http1) => write!(f, "http://{target}"),
            (target, Speaks::Http2) => write!(f, "h2c://{target}"),
            (target, Speaks::Tls(_)) => write!(f, "https://{target}"),
        }
    }
}
