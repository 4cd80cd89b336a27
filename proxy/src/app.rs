//! The only wiring. Start order: configuration (validated before) → snapshot (keys, certificates,
//! trust, mapping: every mistake at once) → kernel programs → bind → give up privileges → logs →
//! workers → ready. Stop order: stop accepting → finish (GOAWAY, `Connection: close`) → deadline →
//! end.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use sd_notify::NotifyState;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::admin::{Admin, Subject};
use crate::config::{AdminAddr, Config, Mistakes};
use crate::drain::{self, DrainTrigger};
use crate::handover::{Handover, HandoverError};
use crate::listen::sources::Sources;
use crate::listen::{self, Places};
use crate::privilege::{self, PrivilegeError};
use crate::reload::watch::Watch;
use crate::reload::{CALLS_MAX, Reloader, Source};
use crate::snapshot::Snapshot;
use crate::steering::{CloseEvents, Required, Steering};
use crate::telemetry::features::EBPF_STEERING;
use crate::telemetry::ledger::FLUSH_AFTER;
use crate::telemetry::{Feature, LogError, Telemetry};
use crate::worker;

/// Why Herald did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration, or a file it names.
    #[error("{0}")]
    Config(Mistakes),
    /// Privileges that could not be given up.
    #[error("can't give up privileges: {0}")]
    Privilege(#[from] PrivilegeError),
    /// A listening socket.
    #[error("can't listen on {address}: {error}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's answer.
        error: io::Error,
    },
    /// The admin address.
    #[error("can't serve the admin address {address}: {error}")]
    Admin {
        /// The address asked for.
        address: AdminAddr,
        /// The kernel's answer.
        error: io::Error,
    },
    /// A kernel program.
    #[error("can't start: {0}")]
    Steering(#[from] Required),
    /// The folder of the handover.
    #[error("can't hand over: {0}")]
    Handover(#[from] HandoverError),
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
    snapshots: watch::Receiver<Arc<Snapshot>>,
    admin: Option<Admin>,
    handover: Option<Handover>,
    /// What the kernel tells of the end of connections.
    ends: Option<CloseEvents>,
    reloader: Option<Reloader>,
    /// What is attached goes with this.
    steering: Arc<Steering>,
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
    /// Compiles `config`, binds, gives up all privileges, and starts the workers. Nothing after
    /// that may need a privilege; no thread may have been started before.
    /// `source` is where the configuration came from.
    pub fn start(config: &Config, source: Source) -> Result<Self, StartError> {
        let bound = Bound::bind(config, &source)?;
        privilege::give_up(config)?;
        bound.serve(config, source)
    }

    /// As [`App::start`], with the privileges of the process left alone: for a demonstration inside
    /// a process that does other things.
    pub fn start_as_is(config: &Config) -> Result<Self, StartError> {
        let source = Source::default();
        Bound::bind(config, &source)?.serve(config, source)
    }

    /// The kernel's help with new connections.
    pub fn steering(&self) -> &Steering {
        &self.steering
    }

    /// The addresses bound, in the order of the configuration, with real ports.
    pub fn bound(&self) -> &[SocketAddr] {
        &self.bound
    }

    /// Serves until SIGTERM or SIGINT, then stops gracefully; a second signal stops at once.
    pub fn run(mut self) -> io::Result<Stopped> {
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
            let (calls, called) = mpsc::channel(CALLS_MAX);
            if let Some(reloader) = self.reloader.take() {
                let hangup = signal(SignalKind::hangup())?;
                drop(tokio::spawn(reloader.run(hangup, called)));
            }
            // Signals are listened to: from here on a stop is a graceful one.
            self.tell_ready();
            if let Some(admin) = self.admin.take() {
                let subject = Subject {
                    telemetry: Arc::clone(&self.telemetry),
                    reloads: calls,
                    listeners: self.bound.clone(),
                    snapshots: self.snapshots.clone(),
                };
                drop(tokio::spawn(admin.serve(Arc::new(subject))));
            }
            if let Some(ends) = self.ends.take() {
                drop(tokio::spawn(forward(ends, Arc::clone(&self.telemetry))));
            }
            tell_manager(NotifyState::Ready);
            let successor = succeeded(self.handover.take());
            let signal = tokio::select! {
                signal = asked() => signal,
                () = successor => "handover",
            };
            tell_manager(NotifyState::Stopping);
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

    fn tell_ready(&self) {
        for address in &self.bound {
            tracing::info!("listening on {address}");
        }
        if let Some(address) = self.admin.as_ref().and_then(|admin| admin.address().ok()) {
            tracing::info!("admin on {address}");
        }
        tracing::info!(workers = self.workers.len(), "ready");
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
                // Records of what was over by now are handed over by the workers, which go on.
                tokio::time::sleep(2 * FLUSH_AFTER).await;
                tracing::warn!("stopped: the drain timeout passed with connections open");
                Stopped::Forced
            }
        }
    }
}

/// Takes over from the instance before, then waits for the next one to do the same.
async fn succeeded(handover: Option<Handover>) {
    if let Some(handover) = handover {
        match handover.take_over().await {
            Ok(standby) => return standby.asked().await,
            // It serves, and so may the other: an operator has to say who stops.
            Err(error) => tracing::error!(%error, "handover failed: no other instance was stopped"),
        }
    }
    std::future::pending().await
}

/// Hands the kernel's word of the end of connections to their workers.
async fn forward(ends: CloseEvents, telemetry: Arc<Telemetry>) {
    let inboxes = telemetry.inboxes();
    let give = |worker: usize, events: &mut Vec<_>| {
        if let Some(inbox) = inboxes.get(worker) {
            inbox.give(events);
        }
    };
    if let Err(error) = ends.forward(inboxes.len(), give).await {
        tracing::error!(%error, "the kernel's word of how connections end is lost");
    }
}

/// Tells the service manager, if one listens (sd_notify(3)).
fn tell_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}

/// What needed files, privileged ports and the kernel's leave, before any thread runs.
struct Bound {
    snapshot: Arc<Snapshot>,
    addresses: Vec<SocketAddr>,
    sockets: Vec<Sockets>,
    steering: Steering,
    admin: Option<Admin>,
    watch: Option<Watch>,
}

impl Bound {
    fn bind(config: &Config, source: &Source) -> Result<Self, StartError> {
        let files = &source.files;
        let snapshot = Snapshot::compile(config, files, None).map_err(StartError::Config)?;
        let snapshot = Arc::new(snapshot);
        if snapshot.kernel_tls.falls_short() {
            tracing::warn!("{}", snapshot.kernel_tls.told());
        } else {
            tracing::info!("{}", snapshot.kernel_tls.told());
        }
        // Before any socket: each belongs to the control group in which it is made.
        let mut steering = Steering::start(config)?;
        let (addresses, sockets) = bind_all(&config.listen, config.workers, &mut steering)?;
        steering.demand(config)?;
        let admin = Admin::bind(&config.observe.admin).map_err(|error| StartError::Admin {
            address: config.observe.admin.clone(),
            error,
        })?;
        Ok(Self {
            snapshot,
            addresses,
            sockets,
            steering,
            admin,
            watch: begin_watch(config, source),
        })
    }

    /// Opens the logs, with no more rights than there are to reopen them, and starts the workers.
    fn serve(self, config: &Config, source: Source) -> Result<App, StartError> {
        let handover = config.handover.as_deref().map(Handover::open).transpose()?;
        let telemetry = Telemetry::start(config)?;
        tell(&self.steering, &self.snapshot, &telemetry);
        let (drain, watch) = drain::channel();
        let most = config.max_connections.min(Semaphore::MAX_PERMITS);
        let places = Places {
            all: Arc::new(Semaphore::new(most)),
            sources: Sources::new(
                NonZeroUsize::new(config.client.max_connections_per_source),
                &config.client.trusted_proxy,
            ),
        };
        let (publisher, snapshots) = watch::channel(self.snapshot);
        let shown = snapshots.clone();
        let common = worker::Common {
            snapshots,
            places,
            telemetry: Arc::clone(&telemetry),
            drain: watch,
        };
        let mut steering = self.steering;
        steering.tell();
        let ends = steering.close_events(config);
        let ends = ends.inspect(|_| telemetry.expect_close_events());
        let workers = self
            .sockets
            .into_iter()
            .enumerate()
            .map(|(index, listeners)| {
                let load = steering.slot(index);
                let seat = worker::Seat {
                    index,
                    listeners,
                    load,
                    marks: steering.marks(index),
                };
                worker::spawn(seat, common.clone())
            })
            .collect::<io::Result<Vec<_>>>()?;
        drop(common);
        let steering = Arc::new(steering);
        have_asked(&steering, &telemetry);
        telemetry.set_ready(true);
        Ok(App {
            bound: self.addresses,
            workers,
            drain,
            drain_timeout: config.drain_timeout,
            snapshots: shown,
            telemetry: Arc::clone(&telemetry),
            admin: self.admin,
            handover,
            ends,
            reloader: Some(Reloader::new(
                config, source, publisher, telemetry, self.watch,
            )),
            steering,
        })
    }
}

/// Begins to watch the files, if that is wanted and can be.
fn begin_watch(config: &Config, source: &Source) -> Option<Watch> {
    if !config.observe.watch || source.load.is_none() {
        return None;
    }
    Watch::new(&source.files)
        .map_err(
            |error| tracing::warn!(%error, "files are not watched: a reload must be asked for"),
        )
        .ok()
}

type Sockets = Vec<std::net::TcpListener>;

/// Logs which kernel programs are in use, and shows it and kernel TLS in the status.
fn tell(steering: &Steering, snapshot: &Snapshot, telemetry: &Telemetry) {
    snapshot.kernel_tls.report(telemetry);
    for (program, standing) in steering.report().programs() {
        match standing.is_missing() {
            true => tracing::warn!(program, "ebpf: {standing}"),
            false => tracing::info!(program, "ebpf: {standing}"),
        }
        let name = format!("{EBPF_STEERING}: {program}");
        let active = standing.is_attached();
        telemetry.report(Feature::new(&name, active, standing.to_string()));
    }
}

/// Whom the telemetry asks for what the kernel programs count, as long as they are there.
fn have_asked(steering: &Arc<Steering>, telemetry: &Telemetry) {
    let asked = Arc::downgrade(steering);
    telemetry
        .kernel
        .ask(move || asked.upgrade().map_or_else(Vec::new, |it| it.counts()));
    let asked = Arc::downgrade(steering);
    telemetry
        .kernel_sources
        .ask(move || asked.upgrade()?.sources());
}

/// Binds every address once a worker. Port 0 is resolved by the first bind and shared by the rest.
fn bind_all(
    addresses: &[SocketAddr],
    workers: usize,
    steering: &mut Steering,
) -> Result<(Vec<SocketAddr>, Vec<Sockets>), StartError> {
    let mut bound = Vec::with_capacity(addresses.len());
    let mut sockets: Vec<Sockets> = (0..workers).map(|_| Vec::new()).collect();
    for (service, address) in addresses.iter().enumerate() {
        let at = |error| StartError::Listen {
            address: *address,
            error,
        };
        let mut actual = *address;
        for (worker, sockets) in sockets.iter_mut().enumerate() {
            let socket = listen::bind(actual).map_err(at)?;
            actual = socket.local_addr().map_err(at)?;
            steering.bound(socket.as_fd(), service, worker);
            listen::listen(&socket).map_err(at)?;
            sockets.push(socket);
        }
        let of_address: Vec<_> = sockets
            .iter()
            .filter_map(|sockets| sockets.last().map(AsFd::as_fd))
            .collect();
        steering.listening(actual, &of_address, service);
        if steering.needs_anchor(service)
            && let Some(sockets) = sockets.first_mut()
        {
            let anchor = listen::bind(actual).map_err(at)?;
            steering.bound(anchor.as_fd(), service, 0);
            listen::listen(&anchor).map_err(at)?;
            steering.anchored(anchor.as_fd(), service);
            sockets.push(anchor);
        }
        bound.push(actual);
    }
    Ok((bound, sockets))
}
