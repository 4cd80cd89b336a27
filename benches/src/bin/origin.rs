//! The origin of the bench: HTTP/1.1 keep-alive on one thread, answers and counts.
//!
//! `/b/N` answers N bytes, `/echo` the head as it arrived; any request's body is read and thrown
//! away. `/count` answers how many others were answered so far, and is not counted itself.
//! Anything but whole messages with `Content-Length` closes the connection.

use std::net::{SocketAddr, TcpListener as Listener};
use std::sync::LazyLock;

use clap::Parser;
use herald_benches::events::{self, BOTH, Found};
use herald_benches::{Failure, framing};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Options {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
}

struct Connection {
    socket: TcpStream,
    /// What has arrived of a head.
    head: Vec<u8>,
    /// Bytes of a request body still to come; the answer waits for them.
    incoming: u64,
    asked: Option<Asked>,
    /// Head (and small body) of the answer, from `written` on.
    answer: Vec<u8>,
    written: usize,
    /// Bytes of a large body still to write.
    outgoing: u64,
    writable: bool,
    closing: bool,
}

enum Asked {
    Bytes(u64),
    Echo(Vec<u8>),
    Count,
    Unknown,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    events::raise_file_limit()?;
    let mut poll = Poll::new()?;
    let listener = Listener::bind(options.listen)?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections = Slab::new();
    let mut scratch = vec![0; SCRATCH];
    let mut count = 0;
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(error.into());
            }
            _ => {}
        }
        for event in &events {
            let Some(slot) = events::slot(event.token()) else {
                accept(&listener, &poll, &mut connections)?;
                continue;
            };
            let Some(connection) = connections.get_mut(slot) else {
                continue;
            };
            connection.writable |= event.is_writable();
            connection.closing |= event.is_read_closed();
            let goes_on = serve(connection, event.is_readable(), &mut scratch, &mut count);
            if !goes_on.unwrap_or(false) {
                connections.remove(slot);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Slab<Connection>,
) -> Result<(), Failure> {
    loop {
        let mut socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        socket.set_nodelay(true)?;
        let entry = connections.vacant_entry();
        poll.registry()
            .register(&mut socket, events::token(entry.key()), BOTH)?;
        entry.insert(Connection {
            socket,
            head: Vec::new(),
            incoming: 0,
            asked: None,
            answer: Vec::new(),
            written: 0,
            outgoing: 0,
            writable: false,
            closing: false,
        });
    }
}

/// Whether the connection goes on.
fn serve(
    connection: &mut Connection,
    readable: bool,
    scratch: &mut [u8],
    count: &mut u64,
) -> std::io::Result<bool> {
    write_answer(connection)?;
    if !readable {
        return Ok(true);
    }
    loop {
        let (length, drained) =
            match events::read(&mut connection.socket, scratch, connection.closing)? {
                Found::End => return Ok(false),
                Found::More(length) => (length, false),
                Found::Drained(length) => (length, true),
            };
        take(connection, scratch.get(..length).unwrap_or_default(), count)?;
        write_answer(connection)?;
        if drained {
            return Ok(true);
        }
    }
}

/// Takes bytes of requests; one at a time, as no proxy pipelines.
fn take(connection: &mut Connection, mut bytes: &[u8], count: &mut u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        if connection.asked.is_none() {
            connection.head.extend_from_slice(bytes);
            let Some(head) = framing::head(&connection.head)? else {
                return Ok(());
            };
            let before = connection.head.len() - bytes.len();
            bytes = bytes.get(head.length - before..).unwrap_or_default();
            connection.head.truncate(head.length);
            connection.asked = Some(asked(&connection.head));
            connection.head.clear();
            connection.incoming = head.body;
        }
        let body = connection.incoming.min(bytes.len() as u64);
        connection.incoming -= body;
        bytes = bytes
            .get(usize::try_from(body).unwrap_or(usize::MAX)..)
            .unwrap_or_default();
        if connection.incoming == 0
            && let Some(asked) = connection.asked.take()
        {
            *count += u64::from(!matches!(asked, Asked::Count));
            answer(connection, asked, *count);
        }
    }
    Ok(())
}

fn asked(head: &[u8]) -> Asked {
    let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    match path {
        b"/echo" => Asked::Echo(head.to_vec()),
        b"/count" => Asked::Count,
        _ => path
            .strip_prefix(b"/b/")
            .and_then(|number| std::str::from_utf8(number).ok()?.parse().ok())
            .map_or(Asked::Unknown, Asked::Bytes),
    }
}

fn answer(connection: &mut Connection, asked: Asked, count: u64) {
    let (status, length, body) = match asked {
        Asked::Bytes(length) => ("200 OK", length, Vec::new()),
        Asked::Echo(head) => ("200 OK", head.len() as u64, head),
        Asked::Count => {
            let text = count.to_string().into_bytes();
            ("200 OK", text.len() as u64, text)
        }
        Asked::Unknown => ("404 Not Found", 0, Vec::new()),
    };
    let answer = &mut connection.answer;
    answer.extend_from_slice(
        format!(
            "HTTP/1.1 {status}\r\nServer: origin\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {length}\r\n\r\n"
        )
        .as_bytes(),
    );
    answer.extend_from_slice(&body);
    let rest = length - body.len() as u64;
    match PATTERN.get(..usize::try_from(rest).unwrap_or(usize::MAX)) {
        Some(small) if small.len() <= SMALL => answer.extend_from_slice(small),
        _ => connection.outgoing = rest,
    }
}

fn write_answer(connection: &mut Connection) -> std::io::Result<()> {
    while connection.writable {
        let head = connection
            .answer
            .get(connection.written..)
            .unwrap_or_default();
        let (piece, is_head) = if !head.is_empty() {
            (head, true)
        } else if connection.outgoing > 0 {
            let most = usize::try_from(connection.outgoing).unwrap_or(usize::MAX);
            (PATTERN.get(..most.min(SCRATCH)).unwrap_or_default(), false)
        } else {
            connection.answer.clear();
            connection.written = 0;
            return Ok(());
        };
        let written = events::write(&mut connection.socket, piece)?;
        connection.writable = written == piece.len();
        if is_head {
            connection.written += written;
        } else {
            connection.outgoing -= written as u64;
        }
    }
    Ok(())
}

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..SCRATCH)
        .map(|index| u8::try_from(index % 251).unwrap_or_default())
        .collect()
});

const LISTENER: Token = Token(0);
const SCRATCH: usize = 256 * 1024;
/// Bodies up to here go out in one write with their head.
const SMALL: usize = 16 * 1024;
