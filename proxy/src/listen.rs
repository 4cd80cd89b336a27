//! Sockets that clients connect to: one per worker and address (SO_REUSEPORT), and the accept
//! loop with its limit on connections. Gives `Accepted`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub mod sources;

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
        match SockRef::from(&self.listener).attach_filter(&NO_SYN) {
            Ok(()) => LAST_CALL,
            Err(error) => {
                tracing::warn!(%error, "new connections can't be turned away: some will be reset");
                Duration::ZERO
            }
        }
    }

    /// Closes the socket; what waited in its queue, as far as the limit allows, is returned.
    pub fn close(self) -> io::Result<Vec<Accepted>> {
        let listener = self.listener.into_std()?;
        let mut accepted = Vec::new();
        while let Ok(among_all) = Arc::clone(&self.places.all).try_acquire_owned() {
            match listener.accept() {
                Ok((tcp, client)) => {
                    tcp.set_nonblocking(true)?;
                    let tcp = TcpStream::from_std(tcp)?;
                    // An error means that the client is gone, which its handshake will find.
                    drop(tcp.set_nodelay(true));
                    let place = Place {
                        _among_all: among_all,
                        of_source: self.places.sources.place(client.ip()),
                    };
                    accepted.push(Accepted { tcp, client, place });
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
                Ok((tcp, client)) => {
                    if let Err(error) = tcp.set_nodelay(true) {
                        tracing::debug!(%client, %error, "TCP_NODELAY refused: the client is gone");
                        continue;
                    }
                    let place = Place {
                        _among_all: among_all,
                        of_source: self.places.sources.place(client.ip()),
                    };
                    return Some(Accepted { tcp, client, place });
                }
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
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    /// A client whose handshake ended before the close is served; one that comes after the last
    /// call is not answered at all, so that it tries again and meets another instance.
    #[tokio::test(flavor = "current_thread")]
    async fn the_last_call_loses_no_connection() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let places = Places {
            all: Arc::new(Semaphore::new(8)),
            sources: Sources::new(None, &[]),
        };
        let acceptor = Acceptor::new(first, places.clone()).unwrap();
        let waiting = TcpStream::connect(address).await.unwrap();
        assert!(acceptor.last_call() > Duration::ZERO);
        let late = tokio::spawn(TcpStream::connect(address));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(
            !late.is_finished(),
            "a SYN was answered after the last call"
        );
        let accepted = acceptor.close().unwrap();
        let clients: Vec<_> = accepted.iter().map(|accepted| accepted.client).collect();
        assert_eq!(clients, [waiting.local_addr().unwrap()]);
        let second = bind(address).unwrap();
        let acceptor = Acceptor::new(second, places).unwrap();
        let accepted = acceptor.accept().await.unwrap();
        let late = late.await.unwrap().unwrap();
        assert_eq!(accepted.client, late.local_addr().unwrap());
    }
}
