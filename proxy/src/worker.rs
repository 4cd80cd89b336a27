//! A worker: one thread, one current-thread runtime, its own listening sockets and its own
//! connections to the origins. Nothing is shared on a request's way but the immutable snapshot.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::clock;
use crate::connection::{Worker, connection};
use crate::drain::{self, DrainWatch};
use crate::headers::clean_trailers;
use crate::listen::Acceptor;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::OriginState;
use crate::telemetry::{RequestIds, Telemetry};
use crate::tls::context;
use crate::upstream::{TrailerFilter, TrailerFilters, Upstream};

/// What all workers are given.
#[derive(Clone, Debug)]
pub struct Common {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// The limit on connections.
    pub places: Arc<Semaphore>,
    /// What all threads report to.
    pub telemetry: Arc<Telemetry>,
    /// Starts the drain.
    pub drain: DrainWatch,
}

/// Starts worker `index` on its sockets. It ends when the drain has started and its last
/// connection is done.
pub fn spawn(
    index: usize,
    listeners: Vec<TcpListener>,
    common: Common,
) -> io::Result<JoinHandle<()>> {
    let runtime_builder = || -> io::Result<LocalRuntime> {
        Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build_local(LocalOptions::default())
    };
    std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let served = runtime_builder()
                .and_then(|runtime| runtime.block_on(serve(index, listeners, common)));
            if let Err(error) = served {
                tracing::error!(%error, worker = index, "worker could not start");
            }
        })
}

async fn serve(index: usize, listeners: Vec<TcpListener>, common: Common) -> io::Result<()> {
    let Common {
        snapshot,
        places,
        telemetry,
        mut drain,
    } = common;
    let hygiene = Rc::new(snapshot.hygiene.clone());
    let names = Rc::clone(&hygiene);
    let trailers: TrailerFilter = Rc::new(move |trailers| clean_trailers(trailers, &names));
    let filters = TrailerFilters {
        request: Rc::clone(&trailers),
        response: trailers,
    };
    let worker = Rc::new(Worker {
        hygiene,
        request_ids: Rc::new(RequestIds::new(random()?)),
        upstreams: upstreams(&snapshot, &filters),
        snapshot,
        ledger: telemetry.ledger(index),
        telemetry,
    });
    drop(tokio::task::spawn_local(sweep(Rc::clone(&worker))));
    if worker.upstreams.iter().any(|upstream| upstream.has_names()) {
        drop(tokio::task::spawn_local(resolve(Rc::clone(&worker))));
    }
    drop(tokio::task::spawn_local(publish(Rc::clone(&worker))));
    let flushing = Rc::clone(&worker.ledger).keep_flushing();
    drop(tokio::task::spawn_local(flushing));
    // The worker's own drain: it is over when this thread's connections are.
    let (mut local_trigger, local_drain) = drain::channel();
    for listener in listeners {
        let acceptor = Acceptor::new(listener, Arc::clone(&places))?;
        let task = accept(acceptor, Rc::clone(&worker), local_drain.clone());
        drop(tokio::task::spawn_local(task));
    }
    drop(local_drain);
    drain.started().await;
    local_trigger.start();
    local_trigger.drained().await;
    worker.ledger.flush();
    Ok(())
}

fn upstreams(snapshot: &Snapshot, filters: &TrailerFilters) -> Rc<[Rc<Upstream>]> {
    let applications = snapshot.applications().iter();
    applications
        .map(|application| {
            let settings = application.upstream.clone();
            Upstream::new(&application.origins, settings, filters)
        })
        .collect()
}

/// Random bytes, from the one cryptographic library.
fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let filled = context::provider().secure_random.fill(&mut bytes);
    filled.map_err(|_unnamed| io::Error::other("no random bytes to be had"))?;
    Ok(bytes)
}

/// Closes what has been idle for too long, so that no socket waits for a request that never comes.
async fn sweep(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let now = Instant::now();
        worker
            .upstreams
            .iter()
            .for_each(|upstream| upstream.sweep(now));
    }
}

/// Keeps the addresses of origins fresh, off the request path.
async fn resolve(worker: Rc<Worker>) {
    loop {
        for upstream in worker
            .upstreams
            .iter()
            .filter(|upstream| upstream.has_names())
        {
            upstream.resolve().await;
        }
        tokio::time::sleep(worker.snapshot.resolve_interval).await;
    }
}

/// Tells the control thread what only this thread knows, and that it lives.
async fn publish(worker: Rc<Worker>) {
    let board = &worker.ledger.board;
    loop {
        board.beat.set(clock::monotonic_coarse());
        let now = Instant::now();
        let endpoints = worker
            .upstreams
            .iter()
            .flat_map(|upstream| upstream.endpoints(now));
        let states = endpoints.map(|endpoint| OriginState {
            label: endpoint.label.to_owned(),
            healthy: Some(!endpoint.health.ejected),
            idle: endpoint.idle as u64,
            opened: endpoint.stats.opened,
            reused: endpoint.stats.reused,
            retried: endpoint.stats.retried,
            discarded: endpoint.stats.discarded,
        });
        board.publish(states.collect());
        tokio::time::sleep(PUBLISH_INTERVAL).await;
    }
}

async fn accept(acceptor: Acceptor, worker: Rc<Worker>, drain: DrainWatch) {
    let mut stop = drain.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.started() => return,
            accepted = acceptor.accept() => accepted,
        };
        let Some(accepted) = accepted else { return };
        drop(tokio::task::spawn_local(connection(
            accepted,
            Rc::clone(&worker),
            drain.clone(),
        )));
    }
}

/// How old what the control thread shows may be.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
