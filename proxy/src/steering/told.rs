//! What debug builds of the kernel programs tell of each decision (aya-log): read out of its ring by
//! a thread of its own, since any peer can cause as much of it as it likes, and logged at level
//! debug, so many lines at a time. The objects that are built in have no such ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, thread};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::object::one_line;

/// The reader's end of the ring, which is mapped: reading takes neither a system call nor a right.
pub(super) struct Told {
    /// Trusts the layout of records, which the operator's own object writes.
    ring: EbpfLogger<Lines>,
    lines: Arc<AtomicU64>,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

impl Told {
    pub(super) fn new(ebpf: &mut Ebpf) -> Option<Self> {
        ebpf.map(RING)?;
        let lines = Arc::new(AtomicU64::new(0));
        match EbpfLogger::init_with_logger(ebpf, Lines(Arc::clone(&lines))) {
            Ok(ring) => Some(Self { ring, lines }),
            Err(error) => {
                let reason = one_line(&error);
                tracing::warn!(reason, "what the kernel programs tell is lost");
                None
            }
        }
    }

    /// Logs what comes, for as long as the process lives.
    pub(super) fn forward(mut self) {
        let run = move || {
            loop {
                self.ring.flush();
                thread::sleep(PAUSE);
                let lines = self.lines.swap(0, Ordering::Relaxed);
                if lines > LINES_MAX {
                    tracing::debug!("ebpf: {} lines left out", lines - LINES_MAX);
                }
            }
        };
        let thread = thread::Builder::new().name("ebpf-log".into());
        if let Err(error) = thread.spawn(run) {
            tracing::warn!(%error, "what the kernel programs tell is lost");
        }
    }
}

/// How many lines came since the last pause; those above the limit are dropped.
struct Lines(Arc<AtomicU64>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if self.0.fetch_add(1, Ordering::Relaxed) < LINES_MAX {
            tracing::debug!("ebpf: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// aya-log's name for it.
const RING: &str = "AYA_LOGS";
/// The ring holds some 500 lines; what does not fit into it is lost.
const PAUSE: Duration = Duration::from_millis(100);
/// In a pause: 1,000 lines a second.
const LINES_MAX: u64 = 100;
