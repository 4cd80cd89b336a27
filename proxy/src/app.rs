//! The only wiring. Start order: configuration (validated before) → snapshot (keys, certificates,
//! trust, mapping: every mistake at once) → bind → workers → ready. Stop order: stop accepting →
//! finish (GOAWAY, `Connection: close`) → deadline → end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::config::{Config, Mistakes};
use crate::drain::{self, DrainTrigger};
use crate::listen;
use crate::snapshot::Snapshot;
use crate::telemetry::{LogError, Telemetry};
use crate::worker;

/// Why Herald did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration, or a file it names.
    #[error("{0}")]
    Config(Mistakes),
    /// A listening socket.
    #[error("can't listen on {address}: {error}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's answer.
        error: io::Error,
    },
    /// A log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A thread or a runtime.
    #[error("can't start: {0}")]
    Start(#[from] io::Error),
}

/// A running Herald.
#[derive(Debug)]
pub struct App {
    bound: Vec<SocketAddr>,
    workers: Vec<JoinHandle<()>>,
    drain: DrainTrigger,
    drain_timeout: Duration,
    telemetry: Arc<Telemetry>,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stopped {
    /// Every connection finished.
    Drained,
    /// The deadline passed with connections open.
    Forced,
}

impl App {
    /// Compiles `config`, binds, and starts the workers.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let snapshot = Arc::new(Snapshot::compile(config).map_err(StartError::Config)?);
        let telemetry = Telemetry::start(config)?;
        let (bound, sockets) = bind_all(&config.listen, config.workers)?;
        let (drain, watch) = drain::channel();
        let places = Arc::new(Semaphore::new(
            config.max_connections.min(Semaphore::MAX_PERMITS),
        ));
        let common = worker::Common {
            snapshot,
            places,
            telemetry: Arc::clone(&telemetry),
            drain: watch,
        };
        let workers = sockets
            .into_iter()
            .enumerate()
            .map(|(index, sockets)| worker::spawn(index, sockets, common.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        drop(common);
        telemetry.set_ready(true);
        for address in &bound {
            tracing::info!("listening on {address}");
        }
        tracing::info!(workers = workers.len(), "ready");
        Ok(Self {
            bound,
            workers,
            drain,
            drain_timeout: config.drain_timeout,
            telemetry,
        })
    }

    /// The addresses bound, in the order of the configuration, with real ports.
    pub fn bound(&self) -> &[SocketAddr] {
        &self.bound
    }

    /// Serves until SIGTERM or SIGINT, then stops gracefully; a second signal stops at once.
    pub fn run(self) -> io::Result<Stopped> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut asked = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            let mut rotated = signal(SignalKind::user_defined1())?;
            let telemetry = Arc::clone(&self.telemetry);
            drop(tokio::spawn(async move {
                while rotated.recv().await.is_some() {
                    telemetry.reopen_logs();
                }
            }));
            let signal = asked().await;
            tracing::info!(signal, "stopping: no new connections, finishing open ones");
            tokio::select! {
                stopped = self.stop() => Ok(stopped),
                signal = asked() => {
                    tracing::warn!(signal, "second signal: stopping at once");
                    Ok(Stopped::Forced)
                }
            }
        })
    }

    /// Stops accepting and waits for the connections, up to the configured deadline.
    pub async fn stop(mut self) -> Stopped {
        self.telemetry.set_ready(false);
        self.drain.start();
        match tokio::time::timeout(self.drain_timeout, self.drain.drained()).await {
            Ok(()) => {
                for worker in self.workers {
                    if worker.join().is_err() {
                        tracing::error!("a worker had panicked");
                    }
                }
                self.telemetry.stop_logs();
                tracing::info!("stopped: every connection finished");
                Stopped::Drained
            }
            Err(_elapsed) => {
                tracing::warn!("stopped: the drain timeout passed with connections open");
                Stopped::Forced
            }
        }
    }
}

type Sockets = Vec<std::net::TcpListener>;

/// Binds every address once a worker. Port 0 is resolved by the first bind and shared by the rest.
fn bind_all(
    addresses: &[SocketAddr],
    workers: usize,
) -> Result<(Vec<SocketAddr>, Vec<Sockets>), StartError> {
    let mut bound = Vec::with_capacity(addresses.len());
    let mut sockets: Vec<Sockets> = (0..workers).map(|_| Vec::new()).collect();
    for address in addresses {
        let mut actual = *address;
        for sockets in &mut sockets {
            let at = |error| StartError::Listen {
                address: *address,
                error,
            };
            let socket = listen::bind(actual).map_err(at)?;
            actual = socket.local_addr().map_err(at)?;
            sockets.push(socket);
        }
        bound.push(actual);
    }
    Ok((bound, sockets))
}
