//! What a load has done so far, as a line of JSON.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Failure;

/// The totals of a load.
pub(super) struct Report {
    started: Instant,
    pub(super) totals: Totals,
    latencies: Histogram<u64>,
}

/// What is counted.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Totals {
    /// Responses that came whole with status 200.
    pub(super) requests: u64,
    /// Connections that went to their orderly end (handshakes, churn) or are up (requests, idle).
    pub(super) connections: u64,
    /// Handshakes that resumed a session.
    pub(super) resumed: u64,
    /// Client certificates shown again.
    pub(super) repeats: u64,
    /// Connections and streams that failed.
    pub(super) errors: u64,
    /// What the first of them was.
    pub(super) first_error: Option<String>,
    /// Bytes of bodies received and sent.
    pub(super) bytes_down: u64,
    pub(super) bytes_up: u64,
    /// Requests that are due and not sent yet (open loop): the backlog.
    pub(super) late: u64,
    /// Connections that were due (open loop), whatever became of them.
    pub(super) offered: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    seconds: f64,
    #[serde(flatten)]
    totals: &'a Totals,
    /// Microseconds at each of `PERCENTILES`.
    latency: Vec<(f64, f64)>,
    /// Latencies counted.
    samples: u64,
}

impl Report {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            started: Instant::now(),
            totals: Totals::default(),
            latencies: Histogram::new_with_bounds(1, LONGEST_NANOS, 3)?,
        })
    }

    pub(super) fn latency(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST_NANOS);
        self.latencies.saturating_record(nanos.max(1));
    }

    pub(super) fn error(&mut self, what: &dyn std::fmt::Display) {
        self.totals.errors += 1;
        if self.totals.first_error.is_none() {
            self.totals.first_error = Some(what.to_string());
        }
    }

    /// A peer that fails again and again is not worth the window.
    pub(super) fn hopeless(&self) -> bool {
        self.totals.errors > MOST_ERRORS
    }

    /// Prints the totals as a line.
    pub(super) fn print(&self) -> io::Result<()> {
        let latency = PERCENTILES
            .iter()
            .map(|percent| {
                let nanos = self.latencies.value_at_quantile(percent / 100.0);
                (*percent, Duration::from_nanos(nanos).as_secs_f64() * 1e6)
            })
            .collect();
        let line = serde_json::to_string(&Line {
            seconds: self.started.elapsed().as_secs_f64(),
            totals: &self.totals,
            latency,
            samples: self.latencies.len(),
        })?;
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }
}

const LONGEST_NANOS: u64 = 60_000_000_000;
const MOST_ERRORS: u64 = 1000;
const PERCENTILES: [f64; 13] = [
    1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 99.99, 100.0,
];
