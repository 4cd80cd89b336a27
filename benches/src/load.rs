//! The load: what it asks for, how fast, and what it reports.
//!
//! A load runs until its standard input ends. Each line it reads is answered by one line of JSON
//! with the totals so far, so that whoever measures chooses the window; a last line comes at the
//! end. Closed loop: every connection asks again as soon as it is answered. Open loop: requests
//! are due at a fixed rate, and latency counts from when one was due, not from when a connection
//! was free to send it (no coordinated omission).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use rustls::client::ResolvesClientCert;
use rustls::{ClientConfig, RootCertStore};

use crate::Failure;
use crate::identities::{self, Rota};
use crate::tls::{self, KeyExchange};

mod arrivals;
mod control;
mod h1;
mod h2;
mod handshakes;
mod link;
mod report;
mod requests;
mod timer;
mod visit;

/// What to do to a peer.
#[derive(Args, Debug)]
pub struct Options {
    /// The peer.
    #[arg(long)]
    to: SocketAddr,
    /// The directory `pki` wrote.
    #[arg(long)]
    pki: PathBuf,
    /// Requests over lasting connections, or connections.
    #[arg(long, value_enum, default_value = "requests")]
    kind: Kind,
    /// Connections at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Speaks HTTP/2 with so many streams a connection; 0 is HTTP/1.1.
    #[arg(long, default_value_t = 0)]
    streams: usize,
    /// What to ask for.
    #[arg(long, default_value = "/b/256")]
    path: String,
    /// Sends a body of so many bytes (HTTP/1.1), by POST.
    #[arg(long)]
    post: Option<u64>,
    /// Requests (or bursts of connections) a second, open loop; without it closed loop.
    #[arg(long)]
    rate: Option<f64>,
    /// Connections that come at once (open loop).
    #[arg(long, default_value_t = 1)]
    burst: u64,
    /// Percent of the requests that ask to hold their worker, which takes a build for it; their
    /// latency does not count (churn, open loop).
    #[arg(long, default_value_t = 0)]
    stalls: u64,
    /// Seconds from when a connection was due to when it has failed (open loop).
    #[arg(long, default_value_t = 10.0)]
    patience: f64,
    /// Seconds before latencies count.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Shows so many freshly made certificates in turn; 0 shows `client`.
    #[arg(long, default_value_t = 0)]
    identities: u32,
    /// The key exchange.
    #[arg(long, value_enum, default_value = "x25519")]
    exchange: KeyExchange,
    /// Resumes sessions where the peer lets it.
    #[arg(long)]
    resume: bool,
}

/// What is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Requests over connections that stay.
    Requests,
    /// One request a connection, which then stays open and idle.
    Idle,
    /// Connections: handshake, then an orderly end.
    Handshakes,
    /// Connections: handshake, one request, then an orderly end.
    Churn,
}

/// Runs a load until standard input ends.
///
/// # Errors
/// What keeps a load from starting. What goes wrong later is counted and reported.
pub fn run(options: &Options) -> Result<(), Failure> {
    crate::events::raise_file_limit()?;
    let tls = Tls::new(options)?;
    match options.kind {
        Kind::Requests | Kind::Idle => requests::run(options, &tls),
        Kind::Handshakes | Kind::Churn if options.rate.is_some() => arrivals::run(options, &tls),
        Kind::Handshakes | Kind::Churn => handshakes::run(options, &tls),
    }
}

/// Who the load is.
struct Tls {
    roots: Arc<RootCertStore>,
    rota: Arc<Rota>,
    exchange: KeyExchange,
    resume: bool,
    alpn: &'static [u8],
}

impl Tls {
    fn new(options: &Options) -> Result<Self, Failure> {
        let pki = &options.pki;
        let identities = if options.identities == 0 {
            let client = tls::certified(&pki.join("client.pem"), &pki.join("client.key"))?;
            vec![Arc::new(client)]
        } else {
            identities::mint(pki, options.identities)?
        };
        Ok(Self {
            roots: tls::roots(&pki.join("ca.pem"))?,
            rota: Arc::new(Rota::new(identities)),
            exchange: options.exchange,
            resume: options.resume,
            alpn: if options.streams > 0 {
                b"h2"
            } else {
                b"http/1.1"
            },
        })
    }

    /// A configuration with a session cache of its own: connections that run at the same time
    /// must not take each other's tickets.
    fn config(&self) -> Result<Arc<ClientConfig>, Failure> {
        let rota: Arc<dyn ResolvesClientCert> = Arc::<Rota>::clone(&self.rota);
        let mut config = tls::client(&self.roots, Some(rota), self.exchange, self.resume)?;
        config.alpn_protocols = vec![self.alpn.to_vec()];
        Ok(Arc::new(config))
    }
}
