//! One connection, from accept to close: the order of the stages, and nothing else.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::caller::Caller;
use crate::clock;
use crate::drain::DrainWatch;
use crate::exchange::Exchange;
use crate::headers::Hygiene;
use crate::http::{self, Leftover, Protocol};
use crate::listen::Accepted;
use crate::net::HalfClose;
use crate::snapshot::Snapshot;
use crate::sys::load::LoadSlot;
use crate::telemetry::connection::Agreed;
use crate::telemetry::limit::HeldBack;
use crate::telemetry::reason::{self, ConnectionEnd, HandshakeFailure, Reason};
use crate::telemetry::tally::Tallied;
use crate::telemetry::{ConnectionRecord, Identity, Ledger, Record, RequestIds, Telemetry, Wire};
use crate::tls::{self, HandshakeError, Handshaken, Server, VerifiedPeer};
use crate::upstream::Upstream;

/// What all connections of one worker share.
#[derive(Debug)]
pub struct Worker {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// The worker's own copy of the snapshot's name tables: no other core writes near it.
    pub hygiene: Rc<Hygiene>,
    /// Where the ids of this worker's requests come from.
    pub request_ids: Rc<RequestIds>,
    /// The worker's connections to the origins of each application, by its number.
    pub upstreams: Rc<[Rc<Upstream>]>,
    /// The worker's counters and records.
    pub ledger: Rc<Ledger>,
    /// What all threads report to.
    pub telemetry: Arc<Telemetry>,
    /// Where the worker tells the kernel how busy it is.
    pub load: LoadSlot,
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
    let snapshot = Arc::clone(&worker.snapshot);
    // The handshake proves possession of a key; it decides nothing about the caller.
    let shaken = match shake(&worker, tcp, wire).await {
        Ok(shaken) => shaken,
        Err(error) => {
            record.handshake_failed(error.class());
            return tell_handshake(&worker, client, &error);
        }
    };
    let (io, peer) = (shaken.io, shaken.peer);
    // What the handshake was made for; every request on this connection must agree with it.
    let application = Arc::clone(snapshot.application(shaken.application));
    let judging = snapshot.judging(&application);
    // Now it is known which chain the client owns; how it stands is asked again on every request.
    let caller = Caller::new(&peer, &judging, clock::unix_now());
    let standing = caller.standing(&judging, clock::unix_now());
    record.agreed(&agreed(&peer), &standing.identity);
    if !application.admits(&standing.verdict) {
        // Only with TLS-level rejection: a resumed session whose certificate no longer verifies.
        record.handshake_failed(HandshakeFailure::NotAdmitted);
        tracing::debug!(%client, "resumed session refused");
        return;
    }
    let protocol = Protocol::agreed(peer.http2);
    let exchange = Rc::new(Exchange {
        caller,
        lane: io.lane(protocol == Protocol::Http1),
        application: Arc::clone(&application),
        snapshot: Arc::clone(&snapshot),
        hop: snapshot.forwarding.hop(client.ip()),
        hygiene: Rc::clone(&worker.hygiene),
        request_ids: Rc::clone(&worker.request_ids),
        upstreams: Rc::clone(&worker.upstreams),
        scope: Rc::clone(record.scope()),
        client: client.ip(),
        telemetry: Arc::clone(&worker.telemetry),
        switched: RefCell::default(),
    });
    let requests = Rc::clone(&exchange);
    // A tunnel goes on after HTTP, and the drain waits for it too.
    let _going = drain.clone();
    let tallied = Tallied::new(io, Rc::clone(record.scope()));
    let served = http::serve(
        TokioIo::new(tallied),
        protocol,
        &snapshot.limits.http,
        drain,
        move |request| Rc::clone(&requests).answer(request),
    )
    .await;
    match served {
        Ok(leftover) => {
            after_http(&exchange, leftover).await;
            record.ended(ConnectionEnd::Closed);
        }
        Err(error) => {
            record.ended(ending(&record, &standing.identity, protocol, &error));
            tell_broken(&worker, client, &error);
        }
    }
}

/// What follows on an HTTP/1.1 connection: a tunnel, or the end. hyper leaves a connection open on
/// which an upgrade was asked for, whatever became of it.
async fn after_http<C>(exchange: &Exchange, leftover: Option<Leftover<TokioIo<C>>>)
where
    C: AsyncRead + AsyncWrite + HalfClose + Unpin,
{
    if let Some(Leftover { io, read }) = leftover
        && let Some(mut io) = exchange.tunnel(io.into_inner(), read).await
    {
        // An error means that the client is gone.
        drop(io.shutdown().await);
    }
}

/// The handshake, for the application that the client's server name means.
async fn shake(
    worker: &Worker,
    tcp: TcpStream,
    wire: Option<Rc<Wire>>,
) -> Result<Handshaken, HandshakeError> {
    let snapshot = &worker.snapshot;
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
