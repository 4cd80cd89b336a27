//! The network's own notions: networks whose peers are trusted, the sources that connections are
//! counted by, streams that end one way, sockets whose bytes can be moved without looking at them.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::io::{AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

/// A network such as `10.0.0.0/8` or `fd00::/8`; a lone address is a network of one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Address and length as an IPv6 network; IPv4 is mapped (RFC 4291 §2.5.5.2).
    pub fn as_ipv6(&self) -> ([u8; 16], u32) {
        let length = u32::from(self.0.prefix_len());
        match self.0.addr() {
            IpAddr::V4(address) => (address.to_ipv6_mapped().octets(), length + 96),
            IpAddr::V6(address) => (address.octets(), length),
        }
    }
}

impl FromStr for Network {
    type Err = String;

    /// Refused besides nonsense: an address with bits beyond the prefix, of which nobody can say
    /// whether the address or the prefix is the mistake.
    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = || "a network such as 10.0.0.0/8 or fd00::/8, or an address".to_owned();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.into()));
        }
        let network: IpNet = text.parse().map_err(|_unnamed| allowed())?;
        if network.addr() != network.network() {
            return Err(format!(
                "{}, without bits beyond the prefix",
                network.trunc()
            ));
        }
        Ok(Self(network))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one party is counted by: an IPv4 address, or the /64 of an IPv6 address, since that is
/// what a single host is given (RFC 6177) and can choose addresses from at will.
pub fn source_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

/// A stream that can say that nothing follows and go on reading. With TLS that is the alert
/// `close_notify` alone (RFC 8446 §6.1); `AsyncWrite::poll_shutdown` of a client's stream ends the
/// socket as well.
pub trait HalfClose: AsyncWrite {
    /// Ready when the peer has been told.
    fn poll_half_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A stream that can be waited for without reading from it, so that whoever waits needs no buffer.
pub trait Awaited {
    /// Ready when a read may find something: bytes, an end or an error. Perhaps it finds nothing.
    fn poll_awaited(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Ready once the peer has ended its side, or broken it, and nothing that it sent before that waits
    /// to be read. What comes meanwhile is kept for the next read.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl<S: Awaited> Awaited for TokioIo<S> {
    fn poll_awaited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner_mut().poll_awaited(cx)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner_mut().poll_gone(cx)
    }
}

/// A socket that carries what its peer wrote, and nothing around it.
#[derive(Clone, Copy, Debug)]
pub enum PlainSocket<'a> {
    /// TCP.
    Tcp(&'a TcpStream),
    /// A Unix socket.
    Unix(&'a UnixStream),
}

impl PlainSocket<'_> {
    /// Ready when there may be something to read.
    ///
    /// # Errors
    /// The runtime's end.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(cx),
            Self::Unix(socket) => socket.poll_read_ready(cx),
        }
    }

    /// Calls `read`; its `WouldBlock` ends the readiness.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn try_read<T>(&self, read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(socket) => socket.try_io(Interest::READABLE, read),
            Self::Unix(socket) => socket.try_io(Interest::READABLE, read),
        }
    }
}

impl AsFd for PlainSocket<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_they_say() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("fd00::/8", "fdff::1", "fe80::1"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network}");
            assert!(!network.contains(outside.parse().unwrap()), "{network}");
        }
    }

    #[test]
    fn what_may_be_a_slip_is_refused() {
        for text in [
            "",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10/8",
            "host",
            "::1/64",
            "10.0.0.0/8 ",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_with_many_addresses_is_one_source() {
        let source = |text: &str| source_of(text.parse().unwrap()).to_string();
        assert_eq!(source("192.0.2.7"), "192.0.2.7");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
