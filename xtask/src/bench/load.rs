//! A running load, and the totals it tells when asked.

use std::net::SocketAddr;
use std::process::Command;

use serde::Deserialize;

use super::machine::Machine;
use super::process::{self, Group};
use super::programs::Programs;
use super::talk::Talk;
use crate::command::Failure;

pub(super) struct Load {
    talk: Talk,
    errors_max: u64,
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
    pub(super) offered: u64,
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
        Self::of(command, ERRORS_MAX)
    }

    /// The load that a whole command is, with at most so many errors.
    pub(super) fn of(command: Command, errors_max: u64) -> Result<Self, Failure> {
        let talk = Talk::start(command)?;
        Ok(Self { talk, errors_max })
    }

    pub(super) fn group(&self) -> &Group {
        &self.talk.group
    }

    /// The totals so far.
    pub(super) fn totals(&mut self) -> Result<Totals, Failure> {
        let totals = self.talk.ask()?;
        judged(totals, self.errors_max)
    }

    /// Ends the load; the totals at the end.
    pub(super) fn finish(self) -> Result<Totals, Failure> {
        judged(self.talk.finish()?, self.errors_max)
    }
}

fn judged(totals: Totals, errors_max: u64) -> Result<Totals, Failure> {
    match &totals.first_error {
        Some(first) if totals.errors > errors_max => Err(Failure::new(format!(
            "{} errors, the first: {first}",
            totals.errors
        ))),
        _ => Ok(totals),
    }
}

/// A few connections may be closed at a peer's own limits; more means that what is measured is
/// errors.
const ERRORS_MAX: u64 = 20;
