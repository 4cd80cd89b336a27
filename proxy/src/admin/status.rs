//! What runs, as a value: `/status` writes it as JSON, `herald status` reads it back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::clock::{self, NANOS_PER_SECOND};
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{Board, Counter, OriginState};
use crate::telemetry::prometheus::{origins, total, total_at};
use crate::telemetry::reason::{HandshakeFailure, Protocol, Reason, VerdictKind};
use crate::telemetry::reloads::ReloadCall;
use crate::telemetry::{Feature, KernelSources, KtlsCounts, LogState, ReloadState, Telemetry};

/// What is asked about.
#[derive(Debug)]
pub struct Subject {
    /// Counters, logs, features.
    pub telemetry: Arc<Telemetry>,
    /// The addresses listened on.
    pub listeners: Vec<SocketAddr>,
    /// The configuration in force.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Where a reload is asked for.
    pub reloads: mpsc::Sender<ReloadCall>,
}

/// Counts by label; those that are zero are left out where there are many.
pub type Counts = BTreeMap<String, u64>;

/// What runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// Herald's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// `ready` or `stopping`.
    pub state: String,
    /// The configuration in force.
    #[serde(default)]
    pub configuration: Option<ReloadState>,
    /// The addresses listened on.
    pub listeners: Vec<String>,
    /// The workers, in order.
    pub workers: Vec<WorkerStatus>,
    /// TLS handshakes.
    pub handshakes: Handshakes,
    /// Requests that are over, by protocol, then by class of status.
    pub requests: BTreeMap<String, Counts>,
    /// Requests by what was concluded about their callers.
    pub verdicts: Counts,
    /// Requests that were not served to their end, by reason.
    pub reasons: Counts,
    /// The origins.
    pub upstreams: Vec<UpstreamStatus>,
    /// What of the kernel's help is in use.
    pub features: Vec<Feature>,
    /// Decisions of the kernel programs.
    #[serde(default)]
    pub kernel: Counts,
    /// Live connections by source prefix; nothing where the kernel does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_sources: Option<KernelSources>,
    /// What became of kernel TLS.
    #[serde(default)]
    pub ktls: KtlsCounts,
    /// The logs.
    pub logs: Vec<LogStatus>,
}

/// One worker.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct WorkerStatus {
    /// Whether it ticked lately.
    pub alive: bool,
    /// Connections open now.
    pub connections_open: u64,
    /// Connections accepted.
    pub connections_total: u64,
    /// Requests that are over.
    pub requests_total: u64,
}

/// Handshakes by outcome.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Handshakes {
    /// Completed with a new session.
    pub full: u64,
    /// Completed with an old session.
    pub resumed: u64,
    /// Not completed, by class.
    pub failed: Counts,
}

/// One origin, all workers together.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct UpstreamStatus {
    /// How the configuration names it.
    pub name: String,
    /// Whether requests are sent there; nothing where nobody judges that.
    pub healthy: Option<bool>,
    /// Connections that wait for a request.
    pub connections_idle: u64,
    /// Connections made.
    pub connections_total: u64,
    /// Requests sent, repetitions included.
    pub requests_total: u64,
    /// Requests sent again.
    pub retries_total: u64,
}

/// One log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LogStatus {
    /// What is written there.
    pub name: String,
    /// Where it goes.
    pub target: String,
    /// Records written.
    pub written: u64,
    /// Records lost.
    pub dropped: u64,
}

impl Status {
    /// Gathers it now.
    pub(super) fn of(subject: &Subject) -> Self {
        let telemetry = &*subject.telemetry;
        let boards = &telemetry.boards;
        let now = clock::monotonic();
        let state = match telemetry.is_ready() {
            true => "ready",
            false => "stopping",
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: now.saturating_sub(telemetry.started) / NANOS_PER_SECOND,
            state: state.to_owned(),
            configuration: Some(telemetry.reloads.now()),
            listeners: subject.listeners.iter().map(ToString::to_string).collect(),
            workers: workers(telemetry, now),
            handshakes: Handshakes {
                full: total(boards, |board| &board.handshakes_full),
                resumed: total(boards, |board| &board.handshakes_resumed),
                failed: some(HandshakeFailure::ALL.iter().map(|failure| {
                    let at = total_at(boards, |board| &board.handshakes_failed, failure.index());
                    (failure.label(), at)
                })),
            },
            requests: requests(telemetry),
            verdicts: all(VerdictKind::ALL.iter().map(|verdict| {
                let at = total_at(boards, |board| &board.verdicts, verdict.index());
                (verdict.label(), at)
            })),
            reasons: some(Reason::ALL.iter().map(|reason| {
                let at = total_at(boards, |board| &board.reasons, reason.index());
                (reason.label(), at)
            })),
            upstreams: origins(telemetry).into_iter().map(upstream).collect(),
            features: telemetry.features(),
            kernel: some(telemetry.kernel.now().into_iter()),
            kernel_sources: telemetry.kernel_sources.now(),
            ktls: telemetry.ktls.now(),
            logs: telemetry.logs().into_iter().map(log).collect(),
        }
    }
}

fn workers(telemetry: &Telemetry, now: u64) -> Vec<WorkerStatus> {
    let worker = |board: &Arc<Board>| WorkerStatus {
        alive: is_alive(board.beat.get(), telemetry.started, now),
        connections_open: board.connections_open(),
        connections_total: board.connections_opened.get(),
        requests_total: board.requests_total(),
    };
    telemetry.boards.iter().map(worker).collect()
}

fn requests(telemetry: &Telemetry) -> BTreeMap<String, Counts> {
    let of_protocol = |protocol: &Protocol| {
        let classes = ["unanswered", "1xx", "2xx", "3xx", "4xx", "5xx"];
        let counts = classes.into_iter().enumerate().map(|(class, label)| {
            let count = |board: &Arc<Board>| {
                let counters = board.requests.get(protocol.index());
                let counter = counters.and_then(|classes| classes.get(class));
                counter.map_or(0, Counter::get)
            };
            (label, telemetry.boards.iter().map(count).sum())
        });
        (protocol.label().to_owned(), all(counts))
    };
    Protocol::ALL.iter().map(of_protocol).collect()
}

fn upstream(origin: OriginState) -> UpstreamStatus {
    UpstreamStatus {
        name: origin.label,
        healthy: origin.healthy,
        connections_idle: origin.idle,
        connections_total: origin.opened,
        requests_total: origin.opened + origin.reused,
        retries_total: origin.retried,
    }
}

fn log(log: LogState) -> LogStatus {
    LogStatus {
        name: log.name.to_owned(),
        target: log.target,
        written: log.written,
        dropped: log.dropped,
    }
}

fn all(counts: impl Iterator<Item = (&'static str, u64)>) -> Counts {
    counts
        .map(|(label, count)| (label.to_owned(), count))
        .collect()
}

fn some(counts: impl Iterator<Item = (&'static str, u64)>) -> Counts {
    all(counts.filter(|(_, count)| *count > 0))
}

/// Whether a worker ticked lately. One that never did is given the same time from the start.
pub(super) fn is_alive(beat: u64, started: u64, now: u64) -> bool {
    now.saturating_sub(beat.max(started)) < STUCK_AFTER
}

/// Workers tick once a second.
const STUCK_AFTER: u64 = 30 * NANOS_PER_SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_tick_is_found() {
        let second = NANOS_PER_SECOND;
        assert!(is_alive(0, 100 * second, 101 * second));
        assert!(is_alive(105 * second, 100 * second, 130 * second));
        assert!(!is_alive(0, 100 * second, 131 * second));
        assert!(!is_alive(105 * second, 100 * second, 136 * second));
    }
}
