//! One connection, from accept to close: the order of the stages, and nothing else.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clock;
use crate::drain::DrainWatch;
use crate::exchange::{Bound, Exchange};
use crate::http::{self, Endings, Leftover, Protocol, Served, Withdrawal};
use crate::listen::Accepted;
use crate::net::HalfClose;
use crate::snapshot::{Current, Snapshot};
use crate::sys::load::LoadSlot;
use crate::telemetry::connection::Agreed;
use crate::telemetry::limit::HeldBack;
use crate::telemetry::reason::{self, ConnectionEnd, HandshakeFailure, Reason};
use crate::telemetry::tally::Tallied;
use crate::telemetry::{ConnectionRecord, Identity, Ledger, Record, RequestIds, Telemetry, Wire};
use crate::tls::{self, HandshakeError, Handshaken, Server, VerifiedPeer};

mod open;

pub use open::OpenConnections;

/// What all connections of one worker share.
#[derive(Debug)]
pub struct Worker {
    /// What it serves by.
    pub current: Rc<Current>,
    /// The connections it serves, for whoever looks after their verdicts.
    pub open: OpenConnections,
    /// Where the ids of this worker's requests come from.
    pub request_ids: Rc<RequestIds>,
    /// The worker's counters and records.
    pub ledger: Rc<Ledger>,
    /// What all threads report to.
    pub telemetry: Arc<Telemetry>,
    /// Where the worker tells the kernel how busy it is.
    pub load: LoadSlot,
}

impl Worker {
    /// Shows which configuration is in force here.
    pub fn tell_generation(&self) {
        let generation = self.current.get().snapshot.generation;
        self.ledger.board.generation.set(generation);
    }
}

/// Serves one accepted client to its end. Never fails: what went wrong is recorded here.
pub async fn connection(accepted: Accepted, worker: Rc<Worker>, drain: DrainWatch) {
    let Accepted { tcp, client, place } = accepted;
    let _open = worker.load.connection();
    let mut record = ConnectionRecord::begin(&worker.ledger, client);
    let wire = record.watch(&tcp);
    if !place.is_granted() {
        return record.handshake_failed(HandshakeFailure::SourceLimit);
    }
    // The handshake's; requests look at what is current when they come.
    let serving = worker.current.get();
    let snapshot = Arc::clone(&serving.snapshot);
    // The handshake proves possession of a key; it decides nothing about the caller.
    let shaken = match Box::pin(shake(&worker, &snapshot, tcp, wire)).await {
        Ok(shaken) => shaken,
        Err(error) => {
            record.handshake_failed(error.class());
            return tell_handshake(&worker, client, &error);
        }
    };
    let (io, peer) = (shaken.io, shaken.peer);
    // What the handshake was made for; every request on this connection must agree with it.
    let application = Arc::clone(snapshot.application(shaken.application));
    // Now it is known which chain the client owns; how it stands is asked again on every request.
    let (protocol, agreed) = (Protocol::agreed(peer.http2), agreed(&peer));
    let bound = Bound::new(serving, Arc::clone(&application), peer, client.ip());
    let standing = bound.standing(&application);
    record.agreed(&agreed, &standing.identity);
    if !application.admits(&standing.verdict) {
        // Only with TLS-level rejection: a resumed session whose certificate no longer verifies.
        record.handshake_failed(HandshakeFailure::NotAdmitted);
        tracing::debug!(%client, "resumed session refused");
        return;
    }
    let withdrawal = Rc::<Withdrawal>::default();
    let exchange = Rc::new(Exchange {
        current: Rc::clone(&worker.current),
        bound: RefCell::new(Rc::new(bound)),
        withdrawal: Rc::clone(&withdrawal),
        lane: io.lane(protocol == Protocol::Http1),
        request_ids: Rc::clone(&worker.request_ids),
        scope: Rc::clone(record.scope()),
        client: client.ip(),
        telemetry: Arc::clone(&worker.telemetry),
        switched: RefCell::default(),
    });
    let requests = Rc::clone(&exchange);
    let _looked_after = worker.open.add(&exchange);
    // A tunnel goes on after HTTP, and the drain waits for it too.
    let _going = drain.clone();
    let served = http::serve(
        TokioIo::new(Tallied::new(io, Rc::clone(record.scope()))),
        protocol,
        &snapshot.limits.http,
        Endings { drain, withdrawal },
        move |request| Rc::clone(&requests).answer(request),
    )
    .await;
    let end = match served {
        Ok(served) => {
            let patience = snapshot.limits.http.write_timeout;
            Box::pin(after_http(&exchange, served, patience)).await
        }
        Err(error) => {
            tell_broken(&worker, client, &error);
            ending(&record, &standing.identity, protocol, &error)
        }
    };
    record.ended(end);
}

/// What follows when HTTP is over: on an HTTP/1.1 connection a tunnel, or the end, since hyper leaves
/// one open on which an upgrade was asked for, whatever became of it; and one that was idle is closed.
async fn after_http<C>(
    exchange: &Exchange,
    served: Served<TokioIo<C>>,
    patience: Duration,
) -> ConnectionEnd
where
    C: AsyncRead + AsyncWrite + HalfClose + Unpin,
{
    // An error of a shutdown means that the client is gone.
    match served {
        Served::Left(Leftover { io, read }) => {
            if let Some(mut io) = exchange.tunnel(io.into_inner(), read).await {
                drop(io.shutdown().await);
            }
            ConnectionEnd::Closed
        }
        Served::Idle(io) => {
            let mut io = io.into_inner();
            drop(tokio::time::timeout(patience, io.shutdown()).await);
            ConnectionEnd::Idle
        }
        Served::Closed => ConnectionEnd::Closed,
    }
}

/// The handshake, for the application that the client's server name means.
async fn shake(
    worker: &Worker,
    snapshot: &Snapshot,
    tcp: TcpStream,
    wire: Option<Rc<Wire>>,
) -> Result<Handshaken, HandshakeError> {
    let by_name = |name: Option<&str>| snapshot.server_of(name);
    let server = snapshot.only_server();
    let server = server.map_or(Server::ByName(&by_name), Server::Only);
    let _shaking = worker.load.handshake();
    tls::handshake(
        server,
        tcp,
        snapshot.limits.handshake,
        snapshot.kernel_tls.level(),
        wire,
    )
    .await
}

/// How a connection ended that hyper gave up. A head that hyper refused or that never ended gets
/// its record here: no exchange ever saw it.
fn ending(
    record: &ConnectionRecord,
    identity: &Identity,
    protocol: Protocol,
    error: &hyper::Error,
) -> ConnectionEnd {
    let scope = record.scope();
    let refused = match protocol {
        Protocol::Http2 => None,
        Protocol::Http1 => http::refused_head(error),
    };
    match refused {
        Some(refused) => {
            let (reason, status) = match refused {
                http::RefusedHead::Malformed => (Reason::HeadMalformed, Some(400)),
                http::RefusedHead::TargetTooLong => (Reason::TargetTooLong, Some(414)),
                http::RefusedHead::TooLarge => (Reason::HeadTooLarge, Some(431)),
                // A connection that was kept alive and not used again ran into the same deadline.
                http::RefusedHead::Timeout if !scope.has_begun_another() => {
                    return ConnectionEnd::Idle;
                }
                http::RefusedHead::Timeout => (Reason::HeadTimeout, None),
            };
            Record::refused(scope, identity, reason, status);
            ConnectionEnd::HeadRefused
        }
        None => ConnectionEnd::Broken,
    }
}

fn agreed(peer: &VerifiedPeer) -> Agreed {
    Agreed {
        version: peer.version.and_then(|version| version.as_str()),
        cipher: peer.cipher,
        server_name: peer.server_name.clone(),
        protocol: match peer.http2 {
            true => reason::Protocol::Http2,
            false => reason::Protocol::Http1,
        },
        resumed: peer.resumed,
    }
}

fn tell_handshake(worker: &Worker, client: SocketAddr, error: &HandshakeError) {
    let limit = &worker.telemetry.handshakes;
    if let Some(HeldBack { source, others }) = limit.permit(client.ip(), clock::unix_now()) {
        tracing::info!(%client, %error, suppressed = source, elsewhere = others, "handshake failed");
    }
}

fn tell_broken(worker: &Worker, client: SocketAddr, error: &hyper::Error) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let limit = &worker.telemetry.connections;
    if let Some(HeldBack { source, others }) = limit.permit(client.ip(), clock::unix_now()) {
        tracing::debug!(%client, %error, suppressed = source, elsewhere = others, "connection ended early");
    }
}
