//! One connection, from accept to close: the order of the stages, and nothing else.

use std::rc::Rc;
use std::sync::Arc;

use crate::caller::Caller;
use crate::clock;
use crate::drain::DrainWatch;
use crate::exchange::Exchange;
use crate::headers::Hygiene;
use crate::http::{self, Protocol};
use crate::listen::Accepted;
use crate::snapshot::Snapshot;
use crate::telemetry::limit::RateLimit;
use crate::tls::kernel::Lane;
use crate::tls::{self, Handshaken};
use crate::upstream::Upstream;

/// What all connections of one worker share.
#[derive(Debug)]
pub struct Worker {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// The worker's own copy of the snapshot's name tables: no other core writes near it.
    pub hygiene: Rc<Hygiene>,
    /// The worker's connections to the origin.
    pub upstream: Rc<Upstream>,
}

/// Serves one accepted client to its end. Never fails: what went wrong is logged here.
pub async fn connection(accepted: Accepted, worker: Rc<Worker>, drain: DrainWatch) {
    let Accepted {
        tcp,
        client,
        place: _place,
    } = accepted;
    let snapshot = Arc::clone(&worker.snapshot);
    // The handshake proves possession of a key; it decides nothing about the caller.
    let Handshaken { io, peer } = match tls::handshake(
        Arc::clone(&snapshot.tls),
        tcp,
        snapshot.limits.handshake,
        snapshot.kernel_tls.level(),
    )
    .await
    {
        Ok(handshaken) => handshaken,
        Err(error) => {
            if let Some(suppressed) = HANDSHAKES_FAILED.permit(clock::unix_now()) {
                tracing::info!(%client, %error, suppressed, "handshake failed");
            }
            return;
        }
    };
    // Now it is known which chain the client owns; how it stands is asked again on every request.
    let caller = Caller::new(&peer, &*snapshot, clock::unix_now());
    if !snapshot.admits(&caller.standing(&*snapshot, clock::unix_now()).verdict) {
        // Only with TLS-level rejection: a resumed session whose certificate no longer verifies.
        tracing::debug!(%client, "resumed session refused");
        return;
    }
    let protocol = if peer.http2 {
        Protocol::Http2
    } else {
        Protocol::Http1
    };
    let lane = io.lane();
    if let (Some(lane), Protocol::Http2) = (&lane, protocol) {
        lane.forbid_splice();
    }
    let exchange = Rc::new(Exchange {
        caller,
        lane: lane.clone(),
        snapshot: Arc::clone(&snapshot),
        hygiene: Rc::clone(&worker.hygiene),
        upstream: Rc::clone(&worker.upstream),
    });
    let served = http::serve(
        io,
        protocol,
        &snapshot.limits.http,
        finish(drain, lane),
        move |request| Rc::clone(&exchange).answer(request),
    )
    .await;
    if let Err(error) = served
        && let Some(suppressed) = CONNECTIONS_BROKEN.permit(clock::unix_now())
    {
        tracing::debug!(%client, %error, suppressed, "connection ended early");
    }
}

/// Returns when this connection is to finish what it does. Holds the drain open until dropped.
async fn finish(mut drain: DrainWatch, lane: Option<Rc<Lane>>) {
    match lane {
        Some(lane) => tokio::select! {
            () = drain.started() => {}
            () = lane.retired() => {}
        },
        None => drain.started().await,
    }
}

static HANDSHAKES_FAILED: RateLimit = RateLimit::new();
static CONNECTIONS_BROKEN: RateLimit = RateLimit::new();
