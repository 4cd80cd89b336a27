//! A worker: one thread, one current-thread runtime, its own listening sockets and its own
//! connections to the origins. Nothing is shared on a request's way but the immutable snapshot.

use std::io;
use std::net::TcpListener;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use proxy_common::load::HEARTBEAT_INTERVAL_NS;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock;
use crate::connection::{OpenConnections, Worker, connection};
use crate::drain::{self, DrainWatch};
use crate::listen::{Acceptor, Places};
use crate::snapshot::serving::APPLICATIONS_AT_A_TIME;
use crate::snapshot::{Current, Snapshot, Succeeded};
use crate::sys::load::LoadSlot;
use crate::sys::marks::Marks;
use crate::sys::memory;
use crate::telemetry::metrics::{Board, OriginState};
use crate::telemetry::{RequestIds, Telemetry};
use crate::tls;
use crate::upstream::{HealthCheck, Upstream};

/// What all workers are given.
#[derive(Clone, Debug)]
pub struct Common {
    /// The configuration, and each that takes its place.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The limits on connections.
    pub places: Places,
    /// What all threads report to.
    pub telemetry: Arc<Telemetry>,
    /// Starts the drain.
    pub drain: DrainWatch,
}

/// What one worker is given.
#[derive(Debug)]
pub struct Seat {
    /// Its number.
    pub index: usize,
    /// Its sockets, at least one an address.
    pub listeners: Vec<TcpListener>,
    /// Where it tells how busy it is.
    pub load: LoadSlot,
    /// Where it marks its connections to origins.
    pub marks: Marks,
}

/// Starts a worker on its sockets. It ends when the drain has started and its last connection is
/// done.
pub fn spawn(seat: Seat, common: Common) -> io::Result<JoinHandle<()>> {
    let index = seat.index;
    // Until the thread runs, its sockets are as good as any.
    seat.load.beat(clock::monotonic());
    std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let served =
                runtime(&seat.load).and_then(|runtime| runtime.block_on(serve(seat, common)));
            if let Err(error) = served {
                tracing::error!(%error, worker = index, "worker could not start");
            }
        })
}

/// A runtime that tells when it works and when it waits, if anybody reads that.
fn runtime(load: &LoadSlot) -> io::Result<LocalRuntime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_io().enable_time();
    if load.is_read() {
        let (parking, unparked) = (load.clone(), load.clone());
        builder
            .on_thread_park(move || parking.idle())
            .on_thread_unpark(move || unparked.busy(clock::monotonic()));
    }
    builder.build_local(LocalOptions::default())
}

async fn serve(seat: Seat, common: Common) -> io::Result<()> {
    let Seat {
        index,
        listeners,
        load,
        marks,
    } = seat;
    let Common {
        mut snapshots,
        places,
        telemetry,
        mut drain,
    } = common;
    let snapshot = Arc::clone(&snapshots.borrow_and_update());
    let count = snapshot.applications().len();
    let worker = Rc::new(Worker {
        current: Current::new(snapshot, marks),
        open: OpenConnections::default(),
        request_ids: Rc::new(RequestIds::new(random()?)),
        ledger: telemetry.ledger(index),
        telemetry,
        load,
    });
    if worker.load.is_read() {
        drop(tokio::task::spawn_local(beat(Rc::clone(&worker))));
    }
    drop(tokio::task::spawn_local(sweep(Rc::clone(&worker))));
    drop(tokio::task::spawn_local(tidy()));
    begin_checks(&worker.current, &Vec::from_iter(0..count));
    worker.tell_generation();
    drop(tokio::task::spawn_local(resolve(Rc::clone(&worker))));
    drop(tokio::task::spawn_local(follow(
        Rc::clone(&worker),
        snapshots,
    )));
    drop(tokio::task::spawn_local(publish(Rc::clone(&worker))));
    let flushing = Rc::clone(&worker.ledger).keep_flushing();
    drop(tokio::task::spawn_local(flushing));
    // The worker's own drain: it is over when this thread's connections are.
    let (mut local_trigger, local_drain) = drain::channel();
    for listener in listeners {
        let acceptor = Acceptor::new(listener, places.clone())?;
        let task = accept(acceptor, Rc::clone(&worker), local_drain.clone());
        drop(tokio::task::spawn_local(task));
    }
    drop(local_drain);
    drain.started().await;
    local_trigger.start();
    local_trigger.drained().await;
    worker.ledger.finish().await;
    Ok(())
}

/// Puts each published snapshot in place, and looks after the verdicts of open connections: at
/// once then, and every second for those that end by themselves.
async fn follow(worker: Rc<Worker>, mut snapshots: watch::Receiver<Arc<Snapshot>>) {
    let mut is_followed = true;
    loop {
        tokio::select! {
            biased;
            changed = snapshots.changed(), if is_followed => match changed {
                Ok(()) => {
                    let snapshot = Arc::clone(&snapshots.borrow_and_update());
                    adopt(&worker, snapshot).await;
                }
                // Nobody can publish any more; connections go on.
                Err(_) => is_followed = false,
            },
            () = tokio::time::sleep(REVIEW_INTERVAL) => {}
        }
        worker.open.review().await;
    }
}

/// Puts a snapshot in place, giving way to requests after each few applications.
async fn adopt(worker: &Worker, snapshot: Arc<Snapshot>) {
    let board = &worker.ledger.board;
    let mut succession = held_up(board, || worker.current.succeed(snapshot));
    while held_up(board, || worker.current.take_over(&mut succession)) {
        tokio::task::yield_now().await;
    }
    let Succeeded { new, mut gone } = held_up(board, || worker.current.put(succession));
    worker.tell_generation();
    for few in new.chunks(APPLICATIONS_AT_A_TIME) {
        held_up(board, || begin_checks(&worker.current, few));
        tokio::task::yield_now().await;
    }
    while !gone.is_empty() {
        let rest = gone.len().saturating_sub(APPLICATIONS_AT_A_TIME);
        held_up(board, || gone.truncate(rest));
        tokio::task::yield_now().await;
    }
}

/// Tells how long a worker's requests were held up by a part of a reload.
fn held_up<T>(board: &Board, part: impl FnOnce() -> T) -> T {
    let began = clock::monotonic();
    let done = part();
    board.held_up(clock::monotonic().saturating_sub(began));
    done
}

/// Starts the checks of the origins of these applications. Each ends with its origin.
fn begin_checks(current: &Current, applications: &[usize]) {
    let serving = current.get();
    for &number in applications {
        let application = serving.snapshot.applications().get(number);
        let check = application.and_then(|application| application.health_check.as_ref());
        let (Some(check), Some(upstream)) = (check, serving.upstreams.get(number)) else {
            continue;
        };
        for origin in 0..upstream.endpoints() {
            let task = keep_checking(Rc::downgrade(upstream), check.clone(), origin);
            drop(tokio::task::spawn_local(task));
        }
    }
}

/// Tells the kernel's choice that this thread is not stuck.
async fn beat(worker: Rc<Worker>) {
    loop {
        worker.load.beat(clock::monotonic());
        tokio::time::sleep(BEAT_INTERVAL).await;
    }
}

/// Random bytes, from the one cryptographic library.
fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let filled = tls::provider().secure_random.fill(&mut bytes);
    filled.map_err(|_unnamed| io::Error::other("no random bytes to be had"))?;
    Ok(bytes)
}

/// Closes what has been idle for too long, so that no socket waits for a request that never comes.
async fn sweep(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let now = Instant::now();
        let serving = worker.current.get();
        serving
            .upstreams
            .iter()
            .for_each(|upstream| upstream.sweep(now));
    }
}

/// Gives memory back that connections no longer need.
async fn tidy() {
    loop {
        tokio::time::sleep(TIDY_INTERVAL).await;
        memory::give_back();
    }
}

/// Keeps the addresses of origins fresh, off the request path.
async fn resolve(worker: Rc<Worker>) {
    loop {
        let serving = worker.current.get();
        let named = serving.upstreams.iter();
        for upstream in named.filter(|upstream| upstream.has_names()) {
            upstream.resolve().await;
        }
        let interval = serving.snapshot.resolve_interval;
        drop(serving);
        tokio::time::sleep(interval).await;
    }
}

/// Tells the control thread what only this thread knows, and that it lives.
async fn publish(worker: Rc<Worker>) {
    let board = &worker.ledger.board;
    loop {
        board.beat.set(clock::monotonic_coarse());
        let now = Instant::now();
        let serving = worker.current.get();
        let endpoints = serving
            .upstreams
            .iter()
            .flat_map(|upstream| upstream.views(now));
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
        drop(serving);
        tokio::time::sleep(PUBLISH_INTERVAL).await;
    }
}

/// Asks one origin how it does, off the request path.
async fn keep_checking(upstream: Weak<Upstream>, check: HealthCheck, origin: usize) {
    while let Some(upstream) = upstream.upgrade() {
        upstream.check(origin, &check).await;
        drop(upstream);
        tokio::time::sleep(check.interval).await;
    }
}

async fn accept(acceptor: Acceptor, worker: Rc<Worker>, drain: DrainWatch) {
    let serve = |accepted| {
        let connection = connection(accepted, Rc::clone(&worker), drain.clone());
        drop(tokio::task::spawn_local(connection));
    };
    let mut stop = drain.clone();
    while let Some(accepted) = either(stop.started(), acceptor.accept()).await {
        serve(accepted);
    }
    // No accept is missed: the queue is taken once more when the last call is over.
    let over = tokio::time::sleep(acceptor.last_call());
    tokio::pin!(over);
    while let Some(accepted) = either(over.as_mut(), acceptor.accept()).await {
        serve(accepted);
    }
    match acceptor.close() {
        Ok(rest) => rest.into_iter().for_each(serve),
        Err(error) => tracing::warn!(%error, "the queue of a listening socket is lost"),
    }
}

/// What comes, or nothing once it is time to stop.
async fn either<T>(
    stop: impl Future<Output = ()>,
    next: impl Future<Output = Option<T>>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = stop => None,
        next = next => next,
    }
}

const BEAT_INTERVAL: Duration = Duration::from_nanos(HEARTBEAT_INTERVAL_NS);
/// How old what the control thread shows may be.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// How often verdicts are looked after that end by themselves: to the second.
const REVIEW_INTERVAL: Duration = Duration::from_secs(1);
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
const TIDY_INTERVAL: Duration = Duration::from_secs(1);
