//! Restart without loss: a Herald that is started beside a running one, with the same `handover`
//! folder, tells it to drain as soon as it serves itself. Both listen meanwhile (SO_REUSEPORT), so
//! no client finds nobody. The folder must be its user's alone, and both ends ask the kernel who
//! the other is. What can't be reached is nobody: after a `kill -9` there is nothing to clear away.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

#[cfg(test)]
mod tests;

/// Why nothing can be taken over.
#[derive(Debug, Error)]
pub enum HandoverError {
    /// The folder or a file in it.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// Somebody else may write into the folder.
    #[error("{0} must be a folder of Herald's own user with mode 0700")]
    Shared(PathBuf),
    /// The socket is another user's.
    #[error("the other end belongs to user {0}")]
    Stranger(u32),
    /// It is there and says something else, or nothing.
    #[error("the running instance did not answer: {0}")]
    Silent(io::Error),
    /// Others are being started without end.
    #[error("another start has been under way for {WAIT_MAX:?}")]
    Busy,
}

/// The folder by which instances find each other.
#[derive(Debug)]
pub struct Handover {
    folder: PathBuf,
}

/// An instance that the next one can ask to drain.
#[derive(Debug)]
pub struct Standby(UnixListener);

impl Handover {
    /// Makes the folder if there is none; with the rights that Herald keeps.
    ///
    /// # Errors
    /// A folder that can't be made, or that is open to others.
    pub fn open(folder: &Path) -> Result<Self, HandoverError> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(at(folder))?,
        }
        let found = fs::symlink_metadata(folder).map_err(at(folder))?;
        let is_own = found.is_dir() && found.uid() == geteuid().as_raw();
        if !is_own || found.mode() & 0o077 != 0 {
            return Err(HandoverError::Shared(folder.to_owned()));
        }
        let folder = folder.to_owned();
        Ok(Self { folder })
    }

    /// Once this instance serves: tells the one before, if there is one, to drain, and takes its
    /// place. Instances that start at the same time follow one another.
    ///
    /// # Errors
    /// An instance that is there and does not drain; nothing is changed then.
    pub async fn take_over(&self) -> Result<Standby, HandoverError> {
        let _turn = self.turn().await?;
        let path = self.folder.join(SOCKET);
        let answered = tokio::time::timeout(ANSWER_MAX, ask(&path));
        let answered = answered
            .await
            .unwrap_or_else(|_elapsed| Err(HandoverError::Silent(io::ErrorKind::TimedOut.into())));
        match answered? {
            Some(pid) => tracing::info!(pid, "took over: the instance before drains"),
            None => tracing::debug!("no instance to take over from"),
        }
        // Renamed into place, so that there is no moment without a socket.
        let fresh = self.folder.join(FRESH);
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(at(&fresh))?,
        }
        let listener = UnixListener::bind(&fresh).map_err(at(&fresh))?;
        fs::rename(&fresh, &path).map_err(at(&path))?;
        Ok(Standby(listener))
    }

    /// Locks out other starts; the kernel unlocks when the file is closed, however that happens.
    async fn turn(&self) -> Result<File, HandoverError> {
        let path = self.folder.join(LOCK);
        let file = File::create(&path).map_err(at(&path))?;
        let steps = WAIT_MAX.as_millis() / WAIT_STEP.as_millis();
        for _ in 0..steps {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(WAIT_STEP).await,
                Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
            }
        }
        Err(HandoverError::Busy)
    }
}

impl Standby {
    /// Returns when a successor serves and asks for the drain, and has been told that it begins.
    pub async fn asked(&self) {
        loop {
            let answered = match self.0.accept().await {
                Ok((stream, _)) => tokio::time::timeout(ANSWER_MAX, answer(stream)).await,
                Err(error) => {
                    tracing::warn!(%error, "handover: accept fails; trying again in {WAIT_STEP:?}");
                    tokio::time::sleep(WAIT_STEP).await;
                    continue;
                }
            };
            match answered {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::warn!(%error, "handover: refused"),
                Err(_elapsed) => tracing::warn!("handover: the other end says nothing"),
            }
        }
    }
}

/// Asks whoever listens at `path`; its process id, or nothing if nobody does.
async fn ask(path: &Path) -> Result<Option<i32>, HandoverError> {
    let mut stream = match UnixStream::connect(path).await {
        Err(error) if is_nobody(&error) => return Ok(None),
        connected => connected.map_err(at(path))?,
    };
    let pid = known(&stream)?;
    let asked = async {
        stream.write_all(REQUEST).await?;
        expect(&mut stream, ANSWER).await
    };
    asked.await.map_err(HandoverError::Silent)?;
    Ok(Some(pid))
}

async fn answer(mut stream: UnixStream) -> Result<(), HandoverError> {
    known(&stream)?;
    let heard = async {
        expect(&mut stream, REQUEST).await?;
        stream.write_all(ANSWER).await
    };
    heard.await.map_err(HandoverError::Silent)
}

/// The process at the other end, if it is of the same user (SO_PEERCRED, unix(7)).
fn known(stream: &UnixStream) -> Result<i32, HandoverError> {
    let peer = stream.peer_cred().map_err(HandoverError::Silent)?;
    match peer.uid() == geteuid().as_raw() {
        true => Ok(peer.pid().unwrap_or(0)),
        false => Err(HandoverError::Stranger(peer.uid())),
    }
}

async fn expect(stream: &mut UnixStream, words: &[u8]) -> io::Result<()> {
    let mut heard = vec![0; words.len()];
    stream.read_exact(&mut heard).await?;
    match heard == words {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// No socket, or one that a process left behind.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn at(path: &Path) -> impl Fn(io::Error) -> HandoverError + '_ {
    move |error| HandoverError::File {
        path: path.to_owned(),
        error,
    }
}

const SOCKET: &str = "handover.sock";
const FRESH: &str = "handover.sock.new";
const LOCK: &str = "lock";
const REQUEST: &[u8] = b"herald 1: drain\n";
const ANSWER: &[u8] = b"herald 1: draining\n";
const ANSWER_MAX: Duration = Duration::from_secs(5);
const WAIT_MAX: Duration = Duration::from_secs(10);
const WAIT_STEP: Duration = Duration::from_millis(20);
