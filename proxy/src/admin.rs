//! Where an operator and a monitor look in: `/metrics`, `/livez`, `/readyz` and `/status` on a Unix
//! socket for its owner alone, or on a loopback address. Read-only but for `POST /reload`, which the
//! Unix socket alone takes. Served by the control thread;
//! no request of a client passes through it. Bound before privileges go, served after.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use crate::config::AdminAddr;

pub mod client;
mod routes;
pub mod status;
pub mod table;

pub use status::Subject;

/// A bound admin address.
#[derive(Debug)]
pub struct Admin(Bound);

#[derive(Debug)]
enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// The name of a Unix socket, removed on drop unless another process has put its own there.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Admin {
    /// Binds `address`; `None` if it is off.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn bind(address: &AdminAddr) -> io::Result<Option<Self>> {
        Ok(match address {
            AdminAddr::Off => None,
            AdminAddr::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Some(Self(Bound::Tcp(listener)))
            }
            AdminAddr::Unix(path) => {
                let (listener, file) = bind_unix(path)?;
                Some(Self(Bound::Unix(listener, file)))
            }
        })
    }

    /// The address, with its real port.
    pub fn address(&self) -> io::Result<AdminAddr> {
        Ok(match &self.0 {
            Bound::Tcp(listener) => AdminAddr::Tcp(listener.local_addr()?),
            Bound::Unix(_, file) => AdminAddr::Unix(file.path.clone()),
        })
    }

    /// Answers questions about `subject` for as long as it is polled.
    ///
    /// # Errors
    /// A runtime without IO.
    pub async fn serve(self, subject: Arc<Subject>) -> io::Result<()> {
        let listener = match self.0 {
            Bound::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener, file) => Listener::Unix(UnixListener::from_std(listener)?, file),
        };
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return Ok(());
            };
            match listener.accept().await {
                Ok(stream) => {
                    let (subject, is_tcp) = (Arc::clone(&subject), listener.is_tcp());
                    drop(tokio::spawn(async move {
                        let _place = place;
                        converse(stream, subject, is_tcp).await;
                    }));
                }
                Err(error) => {
                    tracing::warn!(%error, "admin: accept fails; trying again in {PAUSE:?}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "removed on drop")] SocketFile,
    ),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener, _) => Box::new(listener.accept().await?.0),
        })
    }

    fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

async fn converse(stream: Box<dyn Stream>, subject: Arc<Subject>, is_tcp: bool) {
    let service = service_fn(move |request| {
        let subject = Arc::clone(&subject);
        async move {
            let answer = match routes::asks_for_reload(&request, is_tcp) {
                true => routes::reload(&subject).await,
                false => routes::answer(&request, &subject, is_tcp),
            };
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A monitor that breaks off harms itself alone; none may stay for ever.
    drop(tokio::time::timeout(CONNECTION_MAX, connection).await);
}

/// Makes the socket under another name and renames it: nobody can connect before its mode is set,
/// and the socket of a process that went before, or is just going, is replaced at once.
fn bind_unix(path: &Path) -> io::Result<(std::os::unix::net::UnixListener, SocketFile)> {
    if fs::symlink_metadata(path).is_ok_and(|found| !is_socket(&found)) {
        let message = "there is something that is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let bound = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&temporary)?)?;
        // Until it listens, connecting is refused.
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        fs::rename(&temporary, path)?;
        Ok(socket)
    };
    let socket = bound().inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    let found = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: (found.dev(), found.ino()),
    };
    Ok((socket.into(), file))
}

fn is_socket(found: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&found.file_type())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.inode);
        if ours {
            // If it can't be removed, the next start replaces it.
            drop(fs::remove_file(&self.path));
        }
    }
}

const BACKLOG: i32 = 32;
/// Questions at a time.
const CONNECTIONS_MAX: usize = 32;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest life of a connection; a scraper makes another.
const CONNECTION_MAX: Duration = Duration::from_secs(300);
const BUFFER_MAX: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(50);
