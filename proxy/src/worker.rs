//! A worker: one thread, one current-thread runtime, its own listening sockets and its own
//! connections to the origin. Nothing is shared on a request's way but the immutable snapshot.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::connection::{Worker, connection};
use crate::drain::{self, DrainWatch};
use crate::headers::clean_trailers;
use crate::listen::Acceptor;
use crate::snapshot::Snapshot;
use crate::upstream::{TrailerFilter, Upstream};

/// Starts worker `index` on its sockets. It ends when the drain has started and its last
/// connection is done.
pub fn spawn(
    index: usize,
    listeners: Vec<TcpListener>,
    snapshot: Arc<Snapshot>,
    places: Arc<Semaphore>,
    drain: DrainWatch,
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
                .and_then(|runtime| runtime.block_on(serve(listeners, snapshot, places, drain)));
            if let Err(error) = served {
                tracing::error!(%error, worker = index, "worker could not start");
            }
        })
}

async fn serve(
    listeners: Vec<TcpListener>,
    snapshot: Arc<Snapshot>,
    places: Arc<Semaphore>,
    mut drain: DrainWatch,
) -> io::Result<()> {
    let hygiene = Rc::new(snapshot.hygiene.clone());
    let names = Rc::clone(&hygiene);
    let trailers: TrailerFilter = Rc::new(move |trailers| clean_trailers(trailers, &names));
    let worker = Rc::new(Worker {
        hygiene,
        upstream: Upstream::with_trailers(
            snapshot.upstream.clone(),
            snapshot.limits.upstream.clone(),
            Rc::clone(&trailers),
            trailers,
        ),
        snapshot,
    });
    drop(tokio::task::spawn_local(sweep(Rc::clone(&worker))));
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
    Ok(())
}

/// Closes what has been idle for too long, so that no socket waits for a request that never comes.
async fn sweep(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        worker.upstream.sweep(Instant::now());
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

const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
