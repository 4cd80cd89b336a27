//! A running load, and the totals it tells when asked.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout, Stdio};

use serde::Deserialize;

use super::machine::Machine;
use super::process::{self, Group};
use super::programs::Programs;
use crate::command::Failure;

pub(super) struct Load {
    pub(super) group: Group,
    ask: Option<ChildStdin>,
    told: BufReader<ChildStdout>,
}

/// What the load counts: see `benches/src/load/report.rs`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Totals {
    pub(super) seconds: f64,
    pub(super) requests: u64,
    pub(super) connections: u64,
    pub(super) resumed: u64,
    pub(super) repeats: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    pub(super) bytes_down: u64,
    pub(super) bytes_up: u64,
    pub(super) late: u64,
    /// Percentile and microseconds.
    pub(super) latency: Vec<(f64, f64)>,
    pub(super) samples: u64,
}

impl Load {
    pub(super) fn start(
        programs: &Programs,
        machine: &Machine,
        to: SocketAddr,
        arguments: &[String],
    ) -> Result<Self, Failure> {
        let mut command = process::pinned(&programs.load, machine.load_cores);
        command.args(["--to", &to.to_string()]);
        command.arg("--pki").arg(&programs.pki).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut group = Group::start(command)?;
        let ask = group.child.stdin.take();
        let told = group.child.stdout.take();
        let told = told.ok_or_else(|| Failure::new("the load has no output"))?;
        Ok(Self {
            group,
            ask,
            told: BufReader::new(told),
        })
    }

    /// The totals so far.
    pub(super) fn totals(&mut self) -> Result<Totals, Failure> {
        if let Some(ask) = &mut self.ask {
            ask.write_all(b"\n")
                .map_err(|error| Failure::new(format!("the load is gone: {error}")))?;
        }
        self.line()
    }

    /// Ends the load; the totals at the end.
    pub(super) fn finish(mut self) -> Result<Totals, Failure> {
        self.ask = None;
        self.line()
    }

    fn line(&mut self) -> Result<Totals, Failure> {
        let mut line = String::new();
        self.told
            .read_line(&mut line)
            .map_err(|error| Failure::new(format!("the load is gone: {error}")))?;
        let totals: Totals = serde_json::from_str(&line)
            .map_err(|error| Failure::new(format!("the load said {line:?}: {error}")))?;
        match &totals.first_error {
            Some(first) if totals.errors > ERRORS_MAX => Err(Failure::new(format!(
                "{} errors, the first: {first}",
                totals.errors
            ))),
            _ => Ok(totals),
        }
    }
}

/// A few connections may be closed at a peer's own limits; more means that what is measured is
/// errors.
const ERRORS_MAX: u64 = 20;
