//! The practical limit: what any proxy of this TLS library must at least spend.
//!
//! Terminates TLS, requires and verifies a client certificate, and copies bytes between each
//! client connection and an origin connection of its own: one epoll, one thread, no HTTP.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener as Listener};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use herald_benches::events::{self, BOTH, Found};
use herald_benches::{Failure, tls};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::{ServerConfig, ServerConnection};
use slab::Slab;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Options {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The origin.
    #[arg(long)]
    upstream: SocketAddr,
    /// The directory `pki` wrote.
    #[arg(long)]
    pki: PathBuf,
}

/// One client and its origin connection.
struct Pair {
    client: TcpStream,
    tls: ServerConnection,
    origin: Option<TcpStream>,
    /// For the origin, from `sent` on.
    upwards: Vec<u8>,
    sent: usize,
    client_readable: bool,
    client_writable: bool,
    origin_readable: bool,
    origin_writable: bool,
    client_closing: bool,
    origin_closing: bool,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    events::raise_file_limit()?;
    let config = Arc::new(tls::server(
        &options.pki.join("server.pem"),
        &options.pki.join("server.key"),
        &options.pki.join("ca.pem"),
    )?);
    let mut poll = Poll::new()?;
    let listener = Listener::bind(options.listen)?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut pairs: Slab<Pair> = Slab::new();
    let mut scratch = vec![0; SCRATCH];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            let Some(number) = events::slot(event.token()) else {
                accept(&listener, &poll, &mut pairs, &config)?;
                continue;
            };
            let slot = number / 2;
            let Some(pair) = pairs.get_mut(slot) else {
                continue;
            };
            if number.is_multiple_of(2) {
                pair.client_readable |= event.is_readable();
                pair.client_closing |= event.is_read_closed();
                pair.client_writable |= event.is_writable();
            } else {
                pair.origin_readable |= event.is_readable();
                pair.origin_closing |= event.is_read_closed();
                pair.origin_writable |= event.is_writable();
            }
            let goes_on = shuttle(pair, &mut scratch).and_then(|open| {
                let up = !pair.tls.is_handshaking() && pair.origin.is_none();
                if open && up {
                    connect(pair, &poll, slot, options.upstream)?;
                }
                Ok(open)
            });
            if !goes_on.unwrap_or(false) {
                pairs.remove(slot);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    pairs: &mut Slab<Pair>,
    config: &Arc<ServerConfig>,
) -> Result<(), Failure> {
    loop {
        let mut client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        client.set_nodelay(true)?;
        let entry = pairs.vacant_entry();
        poll.registry()
            .register(&mut client, events::token(entry.key() * 2), BOTH)?;
        entry.insert(Pair {
            client,
            tls: ServerConnection::new(Arc::clone(config))?,
            origin: None,
            upwards: Vec::new(),
            sent: 0,
            client_readable: false,
            client_writable: false,
            origin_readable: false,
            origin_writable: false,
            client_closing: false,
            origin_closing: false,
        });
    }
}

fn connect(pair: &mut Pair, poll: &Poll, slot: usize, to: SocketAddr) -> io::Result<()> {
    let mut origin = TcpStream::connect(to)?;
    origin.set_nodelay(true)?;
    poll.registry()
        .register(&mut origin, events::token(slot * 2 + 1), BOTH)?;
    pair.origin = Some(origin);
    Ok(())
}

/// Moves what can be moved both ways; whether the pair goes on.
fn shuttle(pair: &mut Pair, scratch: &mut [u8]) -> io::Result<bool> {
    let client_open = upwards(pair, scratch)?;
    let origin_open = downwards(pair, scratch)?;
    Ok(client_open && origin_open)
}

fn upwards(pair: &mut Pair, scratch: &mut [u8]) -> io::Result<bool> {
    loop {
        if !write_upwards(pair)? || !pair.client_readable {
            return Ok(true);
        }
        let length = match events::read(&mut pair.client, scratch, pair.client_closing)? {
            Found::End => return Ok(false),
            Found::More(length) => length,
            Found::Drained(length) => {
                pair.client_readable = false;
                length
            }
        };
        let mut bytes = scratch.get(..length).unwrap_or_default();
        while !bytes.is_empty() {
            pair.tls.read_tls(&mut bytes)?;
            let state = pair.tls.process_new_packets();
            // An alert that says why must go out before the connection ends.
            flush(pair)?;
            let state = state.map_err(io::Error::other)?;
            let start = pair.upwards.len();
            let end = start + state.plaintext_bytes_to_read();
            pair.upwards.resize(end, 0);
            let room = pair.upwards.get_mut(start..).unwrap_or_default();
            pair.tls.reader().read_exact(room)?;
            if state.peer_has_closed() {
                return Ok(false);
            }
        }
    }
}

/// Whether all of it went.
fn write_upwards(pair: &mut Pair) -> io::Result<bool> {
    while let Some(rest) = pair.upwards.get(pair.sent..)
        && !rest.is_empty()
    {
        let Some(origin) = pair.origin.as_mut().filter(|_| pair.origin_writable) else {
            return Ok(false);
        };
        let written = events::write(origin, rest)?;
        pair.origin_writable = written == rest.len();
        pair.sent += written;
    }
    pair.upwards.clear();
    pair.sent = 0;
    Ok(true)
}

fn downwards(pair: &mut Pair, scratch: &mut [u8]) -> io::Result<bool> {
    loop {
        flush(pair)?;
        if pair.tls.wants_write() || !pair.origin_readable {
            return Ok(true);
        }
        let Some(origin) = pair.origin.as_mut() else {
            return Ok(true);
        };
        let length = match events::read(origin, scratch, pair.origin_closing)? {
            Found::End => return Ok(false),
            Found::More(length) => length,
            Found::Drained(length) => {
                pair.origin_readable = false;
                length
            }
        };
        let bytes = scratch.get(..length).unwrap_or_default();
        pair.tls.writer().write_all(bytes)?;
    }
}

fn flush(pair: &mut Pair) -> io::Result<()> {
    while pair.client_writable && pair.tls.wants_write() {
        match pair.tls.write_tls(&mut pair.client) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                pair.client_writable = false;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

const LISTENER: Token = Token(0);
/// As much as rustls holds unsent by default, so that one read can always be written.
const SCRATCH: usize = 64 * 1024;
