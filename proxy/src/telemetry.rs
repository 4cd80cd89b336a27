//! What Herald says of itself: the log of events, one record a request and a connection, metrics.
//! A leaf: it knows numbers, labels and rendered text, never a stage's types. [`Telemetry`] is made
//! once; each worker has its own [`Ledger`].

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use thiserror::Error;

use crate::clock;
use crate::config::{Config, LogFormat, LogTarget};

pub mod access;
mod account;
mod batch;
pub mod closing;
pub mod connection;
mod draft;
pub mod features;
pub mod fields;
pub mod identity;
pub mod ledger;
pub mod limit;
pub mod log;
pub mod metrics;
mod pen;
pub mod prometheus;
pub mod reason;
pub mod refusals;
pub mod reloads;
pub mod request_id;
pub mod sink;
mod stamp;
pub mod tally;

pub use access::Record;
pub use closing::Wire;
pub use connection::{ConnectionRecord, Scope};
pub use features::{Asked, Feature, KernelCounts, KernelSources, KtlsCounts, SourceConnections};
pub use identity::Identity;
pub use ledger::Ledger;
pub use reloads::{ReloadState, Reloads};
pub use request_id::{RequestId, RequestIds};

use closing::Inbox;
use limit::SourceLimit;
use metrics::Board;
use pen::Pen;
use refusals::Refusals;
use sink::{Sink, SinkCounts, Target};

/// A log that can't be written.
#[derive(Debug, Error)]
#[error("can't write the log {target}: {error}")]
pub struct LogError {
    target: Target,
    error: io::Error,
}

/// What all threads report to.
#[derive(Debug)]
pub struct Telemetry {
    /// Counters, a worker each.
    pub boards: Vec<Arc<Board>>,
    /// Lines about failed handshakes.
    pub handshakes: SourceLimit,
    /// Lines about connections that ended early.
    pub connections: SourceLimit,
    /// Lines about requests that were not served.
    pub requests: SourceLimit,
    /// Monotonic nanoseconds of the start.
    pub started: u64,
    /// The logs with a name each, and what became of their records.
    logs: Vec<Log>,
    format: LogFormat,
    features: Mutex<Vec<Feature>>,
    /// Decisions of the kernel programs.
    pub kernel: KernelCounts,
    /// Live connections by source prefix, as sockops counts them; nothing without it.
    pub kernel_sources: Asked<Option<KernelSources>>,
    /// Where the kernel's word of the end of connections goes, a worker each; empty where it gives none.
    inboxes: OnceLock<Vec<Arc<Inbox>>>,
    /// The last callers that were refused.
    pub refusals: Refusals,
    /// Which configuration is in force.
    pub reloads: Reloads,
    /// What became of kernel TLS.
    pub ktls: Asked<KtlsCounts>,
    ready: AtomicBool,
}

#[derive(Debug)]
struct Log {
    kinds: Vec<LogKind>,
    target: Target,
    counts: Arc<SinkCounts>,
    sink: Mutex<Option<Sink>>,
}

/// What is written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogKind {
    /// One record a request.
    Access,
    /// One record a connection.
    Connection,
}

/// A log as status and metrics show it.
#[derive(Clone, Debug)]
pub struct LogState {
    /// `access`, `connection`, or both.
    pub name: &'static str,
    /// Where it goes.
    pub target: String,
    /// Records written.
    pub written: u64,
    /// Records lost.
    pub dropped: u64,
}

impl Telemetry {
    /// Opens the logs of `config` and makes a board for each worker.
    ///
    /// # Errors
    /// A log that can't be opened, or its thread not started.
    pub fn start(config: &Config) -> Result<Arc<Self>, LogError> {
        let mut logs: Vec<Log> = Vec::new();
        let wanted = [
            (LogKind::Access, &config.observe.access_log),
            (LogKind::Connection, &config.observe.connection_log),
        ];
        for (kind, target) in wanted {
            let Some(target) = target_of(target) else {
                continue;
            };
            // One file, one writer: records of both kinds keep their order.
            match logs.iter_mut().find(|log| log.target == target) {
                Some(log) => log.kinds.push(kind),
                None => logs.push(Log::start(kind, target, config.observe.access_log_format)?),
            }
        }
        Ok(Arc::new(Self {
            boards: (0..config.workers).map(|_| Arc::default()).collect(),
            handshakes: SourceLimit::default(),
            connections: SourceLimit::default(),
            requests: SourceLimit::default(),
            started: clock::monotonic(),
            reloads: Reloads::new(clock::unix_now()),
            logs,
            format: config.observe.access_log_format,
            features: Mutex::default(),
            kernel: KernelCounts::default(),
            kernel_sources: Asked::default(),
            inboxes: OnceLock::new(),
            refusals: Refusals::default(),
            ktls: Asked::default(),
            ready: AtomicBool::new(false),
        }))
    }

    /// The ledger of worker `index`, for its own thread.
    pub fn ledger(&self, index: usize) -> Rc<Ledger> {
        let mut access = None;
        let mut connections = None;
        for log in &self.logs {
            let sink = log.sink.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(queue) = sink.as_ref().map(Sink::queue) else {
                continue;
            };
            let pen = Rc::new(Pen::new(self.format, queue));
            for kind in &log.kinds {
                match kind {
                    LogKind::Access => access = Some(Rc::clone(&pen)),
                    LogKind::Connection => connections = Some(Rc::clone(&pen)),
                }
            }
        }
        let board = self.boards.get(index).cloned().unwrap_or_default();
        let ledger = Ledger::new(index, board, access, connections);
        Rc::new(match self.inboxes().get(index) {
            Some(inbox) => ledger.joining(Arc::clone(inbox)),
            None => ledger,
        })
    }

    /// Says, before any ledger is made, that the kernel tells of the end of connections.
    pub fn expect_close_events(&self) {
        let inboxes = self.boards.iter().map(|_| Arc::default()).collect();
        drop(self.inboxes.set(inboxes));
    }

    /// Where that goes, a worker each.
    pub fn inboxes(&self) -> &[Arc<Inbox>] {
        self.inboxes.get().map_or(&[], Vec::as_slice)
    }

    /// Has the logs opened anew, after they were rotated.
    pub fn reopen_logs(&self) {
        for log in &self.logs {
            let sink = log.sink.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(sink) = sink.as_ref() {
                sink.reopen();
            }
        }
    }

    /// Waits until the logs are written. Comes after the workers' end; blocks up to two seconds a
    /// log that can't be written.
    pub fn stop_logs(&self) {
        for log in &self.logs {
            let sink = log
                .sink
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(sink) = sink {
                sink.stop();
            }
        }
    }

    /// The logs and what became of their records.
    pub fn logs(&self) -> Vec<LogState> {
        let state = |log: &Log| LogState {
            name: match *log.kinds {
                [LogKind::Access] => "access",
                [LogKind::Connection] => "connection",
                _ => "access and connection",
            },
            target: log.target.to_string(),
            written: log.counts.written(),
            dropped: log.counts.dropped(),
        };
        self.logs.iter().map(state).collect()
    }

    /// Tells the state of a feature, in the place of what was said of it before.
    pub fn report(&self, feature: Feature) {
        let mut features = self.features.lock().unwrap_or_else(PoisonError::into_inner);
        match features.iter_mut().find(|old| old.name == feature.name) {
            Some(old) => *old = feature,
            None => features.push(feature),
        }
    }

    /// All features.
    pub fn features(&self) -> Vec<Feature> {
        let features = self.features.lock().unwrap_or_else(PoisonError::into_inner);
        features.clone()
    }

    /// Whether new connections are welcome.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Says whether new connections are welcome.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }
}

impl Log {
    fn start(kind: LogKind, target: Target, format: LogFormat) -> Result<Self, LogError> {
        let sink = Sink::start(target.clone(), format).map_err(|error| LogError {
            target: target.clone(),
            error,
        })?;
        Ok(Self {
            kinds: vec![kind],
            target,
            counts: sink.counts(),
            sink: Mutex::new(Some(sink)),
        })
    }
}

fn target_of(target: &LogTarget) -> Option<Target> {
    match target {
        LogTarget::Off => None,
        LogTarget::Stdout => Some(Target::Stdout),
        LogTarget::File(path) => Some(Target::File(Path::new(path).to_owned())),
    }
}
