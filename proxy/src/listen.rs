//! Sockets that clients connect to: one per worker and address (SO_REUSEPORT), and the accept
//! loop with its limit on connections. Gives `Accepted`.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub mod sources;

use crate::sys::hops::set_least_hops;

use sources::{SourcePlace, Sources};

/// A client's connection, counted against the limits as long as it lives.
#[derive(Debug)]
pub struct Accepted {
    /// The client's socket, TCP_NODELAY set.
    pub tcp: TcpStream,
    /// The client's address.
    pub client: SocketAddr,
    /// Gives the places back on drop.
    pub place: Place,
}

/// A connection's place within the limits.
#[derive(Debug)]
pub struct Place {
    _among_all: OwnedSemaphorePermit,
    /// `None` where its source has as many as it may: the connection is to be closed.
    of_source: Option<SourcePlace>,
}

impl Place {
    /// Whether the connection's source may have it.
    pub fn is_granted(&self) -> bool {
        self.of_source.is_some()
    }
}

/// Binds one of several sockets that share `address`. It does not listen yet.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two listeners wherever Herald runs, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(true)?;
    }
    // Inherited by every connection (tcp(7)).
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// From here the kernel takes connections.
pub fn listen(socket: &std::net::TcpListener) -> io::Result<()> {
    SockRef::from(socket).listen(BACKLOG)
}

/// A worker's end of a listening socket.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    is_ipv6: bool,
    /// Whether new connections inherit a limit on hops: the last call was made.
    limits_hops: Cell<bool>,
    places: Places,
}

/// The limits on connections, shared by all workers.
#[derive(Clone, Debug)]
pub struct Places {
    /// All that there are.
    pub all: Arc<Semaphore>,
    /// Those of each source.
    pub sources: Arc<Sources>,
}

impl Acceptor {
    /// Takes a bound socket into the worker's runtime.
    pub fn new(listener: std::net::TcpListener, places: Places) -> io::Result<Self> {
        Ok(Self {
            is_ipv6: listener.local_addr()?.is_ipv6(),
            limits_hops: Cell::new(false),
            listener: TcpListener::from_std(listener)?,
            places,
        })
    }

    /// Begins the end of accepting and returns how long to accept on before [`Self::close`].
    ///
    /// Closing a listening socket resets every connection that waits in its queue or whose
    /// handshake is under way, though its client may believe it to be open. So new handshakes are
    /// turned away first, without an answer: the client repeats its SYN after a second (RFC 6298
    /// §2.1) and meets whoever listens then.
    pub fn last_call(&self) -> Duration {
        match self.turn_away() {
            Ok(()) => LAST_CALL,
            Err(error) => {
                tracing::warn!(%error, "new connections can't be turned away: some will be reset");
                Duration::ZERO
            }
        }
    }

    /// Lets the kernel drop what a SYN finds here, but not the ACK that ends a handshake.
    ///
    /// A filter says exactly that. Where it may not be attached (some kernels ask for a privilege
    /// that is gone by now), a limit on hops does nearly the same, since a listening socket's own
    /// packets are SYNs only: no sender starts at 255 but routers' own protocols (RFC 5082). The
    /// connections made meanwhile inherit the limit, which `admit` lifts.
    fn turn_away(&self) -> io::Result<()> {
        let Err(refused) = SockRef::from(&self.listener).attach_filter(&NO_SYN) else {
            return Ok(());
        };
        tracing::debug!(%refused, "no filter on the listening socket; a limit on hops instead");
        self.limit_hops()
    }

    fn limit_hops(&self) -> io::Result<()> {
        self.limits_hops.set(true);
        set_least_hops(self.listener.as_fd(), self.is_ipv6, HOPS_OF_NO_ONE)
    }

    /// Counts a new connection and makes its socket ready to serve.
    fn admit(
        &self,
        tcp: TcpStream,
        client: SocketAddr,
        among_all: OwnedSemaphorePermit,
    ) -> Accepted {
        if self.limits_hops.get()
            && let Err(error) = set_least_hops(tcp.as_fd(), self.is_ipv6, 0)
        {
            tracing::warn!(%client, %error, "the limit on hops stays: this client is not heard");
        }
        let place = Place {
            _among_all: among_all,
            of_source: self.places.sources.place(client.ip()),
        };
        Accepted { tcp, client, place }
    }

    /// Closes the socket; what waited in its queue, as far as the limit allows, is returned.
    pub fn close(self) -> io::Result<Vec<Accepted>> {
        let mut accepted = Vec::new();
        while let Ok(among_all) = Arc::clone(&self.places.all).try_acquire_owned() {
            match SockRef::from(&self.listener).accept() {
                Ok((tcp, client)) => {
                    tcp.set_nonblocking(true)?;
                    let tcp = TcpStream::from_std(tcp.into())?;
                    let client = client.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
                    accepted.push(self.admit(tcp, client, among_all));
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(accepted)
    }

    /// The next client. Waits while the limit is reached (the kernel's backlog holds the rest) and
    /// when descriptors or memory are short, which no retry at once would mend.
    pub async fn accept(&self) -> Option<Accepted> {
        loop {
            let among_all = Arc::clone(&self.places.all).acquire_owned().await.ok()?;
            match self.listener.accept().await {
                Ok((tcp, client)) => return Some(self.admit(tcp, client, among_all)),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accept fails; trying again in {PAUSE:?}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// accept(2): already-pending network errors of the new socket are passed on by Linux.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

/// Drops segments with SYN and without ACK, lets all others through: classic BPF on the TCP header,
/// whose byte 13 holds the flags (RFC 9293 §3.1).
const NO_SYN: [SockFilter; 5] = [
    SockFilter::new(BPF_LD_B_ABS, 0, 0, 13),
    SockFilter::new(BPF_AND_K, 0, 0, 0x12),
    SockFilter::new(BPF_JEQ_K, 0, 1, 0x02),
    SockFilter::new(BPF_RET_K, 0, 0, 0),
    SockFilter::new(BPF_RET_K, 0, 0, u32::MAX),
];
const BPF_LD_B_ABS: u16 = 0x30;
const BPF_AND_K: u16 = 0x54;
const BPF_JEQ_K: u16 = 0x15;
const BPF_RET_K: u16 = 0x06;

/// A handshake under way ends within a round trip; few are longer.
const LAST_CALL: Duration = Duration::from_millis(250);
/// Capped by net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// The greatest TTL there is, which senders' first packets do not have.
const HOPS_OF_NO_ONE: u8 = u8::MAX;
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const IPV4: &str = "127.0.0.1:0";
    const IPV6: &str = "[::1]:0";

    /// A client whose handshake ended before the close is served; one that comes after the last
    /// call is not answered at all, so that it tries again and meets another instance.
    #[tokio::test(flavor = "current_thread")]
    async fn the_last_call_loses_no_connection() {
        for address in [IPV4, IPV6] {
            let way = |acceptor: &Acceptor| assert_eq!(acceptor.last_call(), LAST_CALL);
            stop_with_a_client_in_the_queue(address, way).await;
        }
    }

    /// The same where the kernel wants a privilege for a filter, which is gone when a stop begins:
    /// connections were reset there.
    #[tokio::test(flavor = "current_thread")]
    async fn a_limit_on_hops_does_where_no_filter_may_be_attached() {
        for address in [IPV4, IPV6] {
            let way = |acceptor: &Acceptor| acceptor.limit_hops().unwrap();
            stop_with_a_client_in_the_queue(address, way).await;
        }
    }

    async fn stop_with_a_client_in_the_queue(address: &str, last_call: impl Fn(&Acceptor)) {
        let first = bind(address.parse().unwrap()).unwrap();
        listen(&first).unwrap();
        let address = first.local_addr().unwrap();
        let places = Places {
            all: Arc::new(Semaphore::new(8)),
            sources: Sources::new(None, &[]),
        };
        let acceptor = Acceptor::new(first, places.clone()).unwrap();
        let mut waiting = TcpStream::connect(address).await.unwrap();
        last_call(&acceptor);
        let late = tokio::spawn(TcpStream::connect(address));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(
            !late.is_finished(),
            "a SYN was answered after the last call"
        );
        let accepted = acceptor.close().unwrap();
        let clients: Vec<_> = accepted.iter().map(|accepted| accepted.client).collect();
        assert_eq!(clients, [waiting.local_addr().unwrap()]);
        waiting.write_all(b"x").await.unwrap();
        accepted[0].tcp.readable().await.unwrap();
        let second = bind(address).unwrap();
        listen(&second).unwrap();
        let acceptor = Acceptor::new(second, places).unwrap();
        let accepted = acceptor.accept().await.unwrap();
        let late = late.await.unwrap().unwrap();
        assert_eq!(accepted.client, late.local_addr().unwrap());
    }

    /// What a connection inherits from a listening socket after the last call does not deafen it.
    #[tokio::test(flavor = "current_thread")]
    async fn a_limit_on_hops_is_lifted_from_what_is_accepted() {
        for address in [IPV4, IPV6] {
            let socket = bind(address.parse().unwrap()).unwrap();
            listen(&socket).unwrap();
            let address = socket.local_addr().unwrap();
            let places = Places {
                all: Arc::new(Semaphore::new(8)),
                sources: Sources::new(None, &[]),
            };
            let acceptor = Acceptor::new(socket, places).unwrap();
            let mut client = TcpStream::connect(address).await.unwrap();
            acceptor.limits_hops.set(true);
            // As if it had been inherited: the limit is the connection's before it is admitted.
            let (tcp, peer) = acceptor.listener.accept().await.unwrap();
            set_least_hops(tcp.as_fd(), acceptor.is_ipv6, HOPS_OF_NO_ONE).unwrap();
            let place = Arc::clone(&acceptor.places.all).try_acquire_owned();
            let accepted = acceptor.admit(tcp, peer, place.unwrap());
            assert!(accepted.tcp.nodelay().unwrap());
            client.write_all(b"x").await.unwrap();
            let heard = tokio::time::timeout(LAST_CALL, accepted.tcp.readable()).await;
            heard.expect("the connection hears its client").unwrap();
        }
    }
}
