//! Sockets that clients connect to: one per worker and address (SO_REUSEPORT), and the accept
//! loop with its limit on connections. Gives `Accepted`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A client's connection, counted against the listener's limit as long as it lives.
#[derive(Debug)]
pub struct Accepted {
    /// The client's socket, TCP_NODELAY set.
    pub tcp: TcpStream,
    /// The client's address.
    pub client: SocketAddr,
    /// Gives the place back on drop.
    pub place: OwnedSemaphorePermit,
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
    places: Arc<Semaphore>,
}

impl Acceptor {
    /// Takes a bound socket into the worker's runtime; `places` is the limit on connections.
    pub fn new(listener: std::net::TcpListener, places: Arc<Semaphore>) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::from_std(listener)?,
            places,
        })
    }

    /// The next client. Waits while the limit is reached (the kernel's backlog holds the rest) and
    /// when descriptors or memory are short, which no retry at once would mend.
    pub async fn accept(&self) -> Option<Accepted> {
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
            match self.listener.accept().await {
                Ok((tcp, client)) => {
                    if let Err(error) = tcp.set_nodelay(true) {
                        tracing::debug!(%client, %error, "TCP_NODELAY refused: the client is gone");
                        continue;
                    }
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

/// Capped by net.core.somaxconn.
const BACKLOG: i32 = 4096;
const PAUSE: Duration = Duration::from_millis(50);
