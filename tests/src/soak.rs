//! Many connections at full speed: hyper's clients, one request at a time each.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::client::Settings;
use crate::h2;
use crate::world::Protocol;

/// How many connections a soak holds.
pub const CONNECTIONS: usize = 256;

/// A soak under way.
#[derive(Debug)]
pub struct Soak {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    thread: JoinHandle<Vec<String>>,
}

/// What a soak did.
#[derive(Clone, Debug)]
pub struct Report {
    /// Answered requests.
    pub requests: u64,
    /// What went wrong, the first of each connection.
    pub errors: Vec<String>,
}

impl Soak {
    /// Opens `connections` and keeps each busy. Every answer must be `200` with the body `ok`.
    pub fn start(
        address: SocketAddr,
        settings: &Settings,
        protocol: Protocol,
        connections: usize,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(AtomicU64::new(0));
        let config = protocol.offered(settings);
        let (halt, count) = (Arc::clone(&stop), Arc::clone(&requests));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for _ in 0..connections {
                    let busy = Busy {
                        address,
                        config: Arc::clone(&config),
                        stop: Arc::clone(&halt),
                        requests: Arc::clone(&count),
                    };
                    tasks.spawn(busy.run(protocol));
                }
                let results = tasks.join_all().await;
                results
                    .into_iter()
                    .filter_map(|result| result.err().map(|error| error.to_string()))
                    .collect()
            })
        });
        Self {
            stop,
            requests,
            thread,
        }
    }

    /// Stops after the requests under way.
    pub fn finish(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let errors = self.thread.join().unwrap();
        Report {
            requests: self.requests.load(Ordering::Relaxed),
            errors,
        }
    }
}

/// One busy connection.
struct Busy {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
}

impl Busy {
    async fn run(self, protocol: Protocol) -> io::Result<()> {
        match protocol {
            Protocol::H1 => {
                let mut sender = h2::handshake_h1(self.address, Arc::clone(&self.config)).await?;
                while !self.stop.load(Ordering::Relaxed) {
                    sender.ready().await.map_err(io::Error::other)?;
                    let answer = sender
                        .send_request(request("/"))
                        .await
                        .map_err(io::Error::other)?;
                    self.check(answer).await?;
                }
            }
            Protocol::H2 => {
                let mut sender = h2::handshake(self.address, Arc::clone(&self.config)).await?;
                while !self.stop.load(Ordering::Relaxed) {
                    sender.ready().await.map_err(io::Error::other)?;
                    let request = request("https://localhost/");
                    let answer = sender
                        .send_request(request)
                        .await
                        .map_err(io::Error::other)?;
                    self.check(answer).await?;
                }
            }
        }
        Ok(())
    }

    async fn check(&self, answer: http::Response<Incoming>) -> io::Result<()> {
        expect_ok(answer).await?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Reads an answer to its end; an error if it is not the test origin's `ok`.
pub async fn expect_ok(answer: http::Response<Incoming>) -> io::Result<()> {
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    if status != 200 || body != "ok" {
        return Err(io::Error::other(format!("{status}: {body:?}")));
    }
    Ok(())
}

fn request(uri: &str) -> http::Request<BoxBody<Bytes, io::Error>> {
    let body = BoxBody::new(Empty::new().map_err(|never| match never {}));
    http::Request::builder()
        .uri(uri)
        .header("host", "localhost")
        .body(body)
        .unwrap()
}
