//! A pipe through which body bytes go from one socket to another inside the kernel. It is filled
//! only while empty, so that the bytes in it and the bytes promised to the client are the same
//! number. A worker keeps a few empty ones; one that was left with bytes in it is closed.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::sys::void;

/// A pipe and the number of bytes in it.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

thread_local! {
    static IDLE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

impl Pipe {
    /// An idle pipe of this worker, or a new one.
    pub(super) fn take() -> io::Result<Self> {
        if let Some(pipe) = IDLE.with_borrow_mut(Vec::pop) {
            return Ok(pipe);
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller one works as well: pages of pipes are limited by user (pipe(7)).
        let _enlarged = fcntl_setpipe_size(&write, CAPACITY);
        Ok(Self {
            read,
            write,
            held: 0,
        })
    }

    /// Keeps an empty pipe for later; closes any other.
    pub(super) fn give_back(self) {
        if self.held == 0 {
            IDLE.with_borrow_mut(|idle| {
                if idle.len() < IDLE_MAX {
                    idle.push(self);
                }
            });
        }
    }

    /// Bytes in the pipe.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Moves up to `most` bytes from a socket into the empty pipe; 0 at the end of the stream.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>, most: u64) -> io::Result<usize> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(FILL_MAX);
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let count = splice(socket, None, &self.write, None, most, flags)?;
        self.held += count;
        Ok(count)
    }

    /// Moves up to `most` bytes of the pipe into a socket.
    pub(super) fn drain(&mut self, socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let count = splice(&self.read, None, socket, None, most.min(self.held), flags)?;
        self.held = self.held.saturating_sub(count);
        Ok(count)
    }

    /// Takes all bytes back into userspace.
    pub(super) fn rescue(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.held];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::read(self.read.as_fd(), rest)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        self.held = 0;
        Ok(bytes)
    }
}

/// Idle pipes that a worker keeps.
const IDLE_MAX: usize = 16;
/// The pipe's capacity in bytes, if the kernel allows it.
const CAPACITY: usize = 256 * 1024;
/// Bytes moved at once; a slice of nothing can stand for so many.
const FILL_MAX: usize = CAPACITY;
const _: () = assert!(FILL_MAX <= void::LENGTH_MAX);

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn bytes_pass_or_are_rescued_and_a_used_pipe_is_not_kept() {
        let (mut origin, near) = UnixStream::pair().unwrap();
        let (far, mut client) = UnixStream::pair().unwrap();
        origin.write_all(b"0123456789").unwrap();
        let mut pipe = Pipe::take().unwrap();
        assert_eq!(pipe.fill(near.as_fd(), 8).unwrap(), 8);
        assert_eq!(pipe.held(), 8);
        assert_eq!(pipe.drain(far.as_fd(), 3).unwrap(), 3);
        let mut got = [0; 3];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"012");
        assert_eq!(pipe.rescue().unwrap(), b"34567");
        assert_eq!(pipe.held(), 0);
        assert_eq!(pipe.fill(near.as_fd(), 8).unwrap(), 2);
        pipe.give_back();
        assert_eq!(IDLE.with_borrow(Vec::len), 0, "it held bytes");
        Pipe::take().unwrap().give_back();
        assert_eq!(IDLE.with_borrow(Vec::len), 1);
    }

    #[test]
    fn an_empty_socket_blocks_and_a_closed_one_ends() {
        let (origin, near) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut pipe = Pipe::take().unwrap();
        let blocked = pipe.fill(near.as_fd(), 8).unwrap_err();
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
        drop(origin);
        assert_eq!(pipe.fill(near.as_fd(), 8).unwrap(), 0);
    }
}
