//! What each event loop of the bench needs: a socket read to its end, a socket written until full.

use std::io::{self, Read, Write};

use mio::{Interest, Token};

/// Reads and writes, edge-triggered: registered once, never changed.
pub const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// Tokens below this are a program's own; connections come after.
pub const FIRST_CONNECTION: usize = 8;

/// The token of the connection in a slab's `slot`.
#[must_use]
pub fn token(slot: usize) -> Token {
    Token(slot + FIRST_CONNECTION)
}

/// The slot of a token; `None` for a program's own.
#[must_use]
pub fn slot(token: Token) -> Option<usize> {
    token.0.checked_sub(FIRST_CONNECTION)
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// So many bytes, and there may be more.
    More(usize),
    /// So many bytes (perhaps none), and nothing more until the next event. epoll(7): a short
    /// read of a stream tells that it is drained.
    Drained(usize),
    /// The other side has finished.
    End,
}

/// One `read`. If the event said that the other side has finished (`closing`), a short read is no
/// proof of anything: the end that follows it comes with no event of its own.
///
/// # Errors
/// The socket's, except that it would block.
pub fn read(socket: &mut impl Read, buffer: &mut [u8], closing: bool) -> io::Result<Found> {
    loop {
        match socket.read(buffer) {
            Ok(0) => return Ok(Found::End),
            Ok(length) if length < buffer.len() && !closing => return Ok(Found::Drained(length)),
            Ok(length) => return Ok(Found::More(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Found::Drained(0));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// One `write`; 0 if the socket is full.
///
/// # Errors
/// The socket's, except that it would block.
pub fn write(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Allows as many open files as the system lets this process have.
///
/// # Errors
/// The system's.
pub fn raise_file_limit() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_came_with_the_last_bytes_is_found_though_no_event_follows() {
        // The origin once kept every connection whose FIN arrived together with its request.
        let mut buffer = [0; 8];
        let mut stream: &[u8] = b"abc";
        let first = read(&mut stream, &mut buffer, true).unwrap();
        assert_eq!(first, Found::More(3));
        let second = read(&mut stream, &mut buffer, true).unwrap();
        assert_eq!(second, Found::End);
        let mut open: &[u8] = b"abc";
        let only = read(&mut open, &mut buffer, false).unwrap();
        assert_eq!(only, Found::Drained(3));
    }
}
