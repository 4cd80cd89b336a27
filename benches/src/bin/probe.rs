//! Sends one request over TLS and prints what comes back, for the checks before a run.
//!
//! Exit code 0 if a whole response came, whatever its status; 1 with the reason if the peer
//! refused the handshake or closed without an answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use herald_benches::identities::Rota;
use herald_benches::tls::{self, KeyExchange};
use herald_benches::{Failure, framing};
use rustls::client::ResolvesClientCert;
use rustls::{ClientConnection, StreamOwned};

#[derive(Debug, Parser)]
struct Options {
    /// The peer.
    #[arg(long)]
    to: SocketAddr,
    /// The directory `pki` wrote.
    #[arg(long)]
    pki: PathBuf,
    /// Shows no certificate.
    #[arg(long)]
    anonymous: bool,
    /// Adds a header line. Repeatable.
    #[arg(long)]
    header: Vec<String>,
    /// What to ask for.
    #[arg(long, default_value = "/echo")]
    path: String,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let identity: Option<Arc<dyn ResolvesClientCert>> = if options.anonymous {
        None
    } else {
        let pki = &options.pki;
        let client = tls::certified(&pki.join("client.pem"), &pki.join("client.key"))?;
        Some(Arc::new(Rota::new(vec![Arc::new(client)])))
    };
    let roots = tls::roots(&options.pki.join("ca.pem"))?;
    let config = Arc::new(tls::client(&roots, identity, KeyExchange::X25519, false)?);
    let socket = TcpStream::connect_timeout(&options.to, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let connection = ClientConnection::new(config, tls::server_name()?)?;
    let mut stream = StreamOwned::new(connection, socket);
    let mut request = format!("GET {} HTTP/1.1\r\nHost: bench.test\r\n", options.path);
    for header in &options.header {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    let response = response(&mut stream)?;
    io::stdout().write_all(&response)?;
    Ok(())
}

fn response(stream: &mut impl Read) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Err("closed without a whole response".into());
        }
        all.extend_from_slice(piece.get(..length).unwrap_or_default());
        if let Some(head) = framing::head(&all)?
            && (all.len() - head.length) as u64 >= head.body
        {
            return Ok(all);
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
