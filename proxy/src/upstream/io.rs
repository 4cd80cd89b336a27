//! A connection to an origin, whatever it runs over. An enum, so that each read and write costs a
//! branch and no dynamic call.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::net::PlainSocket;

/// A connection to an origin.
#[derive(Debug)]
pub enum OriginIo {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A Unix socket on this host.
    Unix(UnixStream),
    /// TLS over TCP. In a box: it is twenty times as large as a socket, and rare.
    Tls(Box<TlsStream<TcpStream>>),
}

impl OriginIo {
    /// The socket, if what it carries is what the origin sent: for those who move bytes in the
    /// kernel.
    pub fn plain(&self) -> Option<PlainSocket<'_>> {
        match self {
            Self::Tcp(stream) => Some(PlainSocket::Tcp(stream)),
            Self::Unix(stream) => Some(PlainSocket::Unix(stream)),
            Self::Tls(_) => None,
        }
    }
}

/// Calls one method of whichever stream it is.
macro_rules! dispatch {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            OriginIo::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            OriginIo::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            OriginIo::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for OriginIo {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        dispatch!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for OriginIo {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        dispatch!(self, stream => stream.poll_write(cx, bytes))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        dispatch!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        dispatch!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        dispatch!(self, stream => stream.poll_shutdown(cx))
    }
}
