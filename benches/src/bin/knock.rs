//! Connects again and again, one connection at a time, from one thread: what an attempt costs is
//! measured from outside. The same program meets a closed port, a peer that refuses, one that
//! accepts and closes, and one that completes the handshake; told to listen, it is the third itself.
//!
//! Each line of standard input is answered by one of JSON with the counts so far, and its end too.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use herald_benches::Failure;
use herald_benches::identities::Rota;
use herald_benches::tls::{self, KeyExchange};
use rustls::{ClientConfig, ClientConnection};
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Options {
    /// Whom to connect to.
    #[arg(long, required_unless_present = "listen", requires = "pki")]
    to: Option<SocketAddr>,
    /// The directory `pki` wrote.
    #[arg(long)]
    pki: Option<PathBuf>,
    /// Completes the handshake where it can; else it only waits for the peer to close.
    #[arg(long)]
    handshake: bool,
    /// Accepts and closes here instead.
    #[arg(long, conflicts_with = "to")]
    listen: Option<SocketAddr>,
}

/// What became of the attempts.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Told {
    attempts: u64,
    /// RST in answer to the SYN.
    refused: u64,
    /// Accepted, and closed without a byte.
    closed: u64,
    /// Handshakes that were completed and orderly ended.
    completed: u64,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if let Some(address) = options.listen {
        let listener = TcpListener::bind(address)?;
        loop {
            drop(listener.accept()?);
        }
    }
    let (Some(to), Some(pki)) = (options.to, options.pki) else {
        return Err("needs --to and --pki".into());
    };
    let client = tls::certified(&pki.join("client.pem"), &pki.join("client.key"))?;
    let rota = Arc::new(Rota::new(vec![Arc::new(client)]));
    let roots = tls::roots(&pki.join("ca.pem"))?;
    let config = tls::client(&roots, Some(rota), KeyExchange::X25519, false)?;
    let config = options.handshake.then(|| Arc::new(config));
    let asked = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(AtomicBool::new(false));
    thread::spawn({
        let (asked, ended) = (Arc::clone(&asked), Arc::clone(&ended));
        move || listen_to_stdin(&asked, &ended)
    });
    let mut told = Told::default();
    while !ended.load(Ordering::Relaxed) {
        told.attempt(to, config.as_ref())?;
        if asked.swap(false, Ordering::Relaxed) {
            told.print()?;
        }
    }
    told.print()?;
    Ok(())
}

/// Each line asks for the counts so far; the end of it all is asked for by its end.
fn listen_to_stdin(asked: &AtomicBool, ended: &AtomicBool) {
    for line in io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        asked.store(true, Ordering::Relaxed);
    }
    ended.store(true, Ordering::Relaxed);
}

impl Told {
    fn attempt(
        &mut self,
        to: SocketAddr,
        handshake: Option<&Arc<ClientConfig>>,
    ) -> Result<(), Failure> {
        self.attempts += 1;
        match TcpStream::connect(to) {
            Ok(mut socket) => {
                socket.set_read_timeout(Some(PATIENCE))?;
                if let Some(config) = handshake {
                    complete(&mut socket, config)?;
                    self.completed += 1;
                } else {
                    self.closed += 1;
                }
                await_end(&mut socket)?;
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.refused += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn print(&self) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(self)?)?;
        out.flush()?;
        Ok(())
    }
}

fn complete(socket: &mut TcpStream, config: &Arc<ClientConfig>) -> Result<(), Failure> {
    socket.set_nodelay(true)?;
    let mut tls = ClientConnection::new(Arc::clone(config), tls::server_name()?)?;
    while tls.is_handshaking() {
        tls.complete_io(socket)?;
    }
    tls.send_close_notify();
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(socket.shutdown(Shutdown::Write)?)
}

/// The server has verified the certificate when it closes (RFC 8446, section 2).
fn await_end(socket: &mut TcpStream) -> Result<(), Failure> {
    let mut scratch = [0; 4096];
    loop {
        match socket.read(&mut scratch) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
