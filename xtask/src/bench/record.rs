//! A run as it is written down.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::machine::{self, Machine};
use super::scenario::Figure;
use super::targets::Target;
use crate::command::Failure;

/// Everything about a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Record {
    pub(super) started: String,
    pub(super) quick: bool,
    pub(super) processor: String,
    pub(super) kernel: String,
    pub(super) cores: usize,
    /// Workers a peer had.
    pub(super) workers: usize,
    pub(super) peers: Vec<PeerRecord>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) rows: Vec<Row>,
    /// Requests a second in the latency scenario.
    pub(super) rate: Option<f64>,
    /// Peak resident memory after all loads, KiB.
    pub(super) peaks: Vec<(String, u64)>,
    /// The same with the idle connections after them; empty if there were none.
    #[serde(default)]
    pub(super) peaks_idle: Vec<(String, u64)>,
    pub(super) targets: Vec<Target>,
    /// What was not measured, or measured under doubt.
    pub(super) remarks: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct PeerRecord {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) note: Option<String>,
    pub(super) missing: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Skipped {
    pub(super) name: String,
    pub(super) reason: String,
}

/// A peer in a scenario: one sample a round.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Row {
    pub(super) scenario: String,
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) more_is_better: bool,
    pub(super) peer: String,
    pub(super) samples: Vec<Sample>,
}

/// A window.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Sample {
    /// In the row's unit.
    pub(super) value: f64,
    /// Units (requests, connections, megabytes) a second.
    pub(super) throughput: f64,
    /// Share of the peer's cores that it used, and that of one core that generator and origin used.
    pub(super) peer_busy: f64,
    pub(super) load_busy: f64,
    /// Share of a core that others used.
    pub(super) foreign: f64,
    /// How much slower than at its best the machine was.
    #[serde(default)]
    pub(super) slow: f64,
    /// Whether one of the two was too much, after three tries.
    pub(super) disturbed: bool,
    /// Percentile and microseconds (latency).
    pub(super) latency: Vec<(f64, f64)>,
}

impl Record {
    pub(super) fn new(machine: &Machine, quick: bool) -> Result<Self, Failure> {
        Ok(Self {
            started: machine::now()?,
            quick,
            processor: machine.processor.clone(),
            kernel: machine.kernel.clone(),
            cores: machine.cores,
            workers: machine.workers,
            peers: Vec::new(),
            skipped: Vec::new(),
            rows: Vec::new(),
            rate: None,
            peaks: Vec::new(),
            peaks_idle: Vec::new(),
            targets: Vec::new(),
            remarks: Vec::new(),
        })
    }

    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))
    }

    /// All runs of a folder, the earliest first; none if there is no such folder. One that can't be
    /// read (of an older form) is told and left out.
    pub(super) fn read_all(folder: &Path) -> Result<Vec<Self>, Failure> {
        let Ok(entries) = fs::read_dir(folder) else {
            return Ok(Vec::new());
        };
        let mut records = Vec::new();
        for entry in entries.flatten() {
            match Self::read(&entry.path()) {
                Ok(record) => records.push(record),
                Err(problem) => println!("    history: {problem}"),
            }
        }
        records.sort_by(|a, b| a.started.cmp(&b.started));
        Ok(records)
    }

    pub(super) fn write(&self, file: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        write_text(file, &text)
    }

    pub(super) fn row(&self, scenario: &str, peer: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.scenario == scenario && row.peer == peer)
    }

    /// The scenarios that were measured, in order.
    pub(super) fn scenarios(&self) -> Vec<&Row> {
        let mut firsts: Vec<&Row> = Vec::new();
        for row in &self.rows {
            if firsts.iter().all(|first| first.scenario != row.scenario) {
                firsts.push(row);
            }
        }
        firsts
    }

    /// Adds a sample to its row.
    pub(super) fn add(&mut self, name: (&str, &str), figure: Figure, peer: &str, sample: Sample) {
        let (scenario, title) = name;
        let mut rows = self.rows.iter_mut();
        if let Some(row) = rows.find(|row| row.scenario == scenario && row.peer == peer) {
            row.samples.push(sample);
            return;
        }
        self.rows.push(Row {
            scenario: scenario.to_owned(),
            title: title.to_owned(),
            unit: figure.unit().to_owned(),
            more_is_better: figure.more_is_better(),
            peer: peer.to_owned(),
            samples: vec![sample],
        });
    }
}

impl Sample {
    /// How much there is to be said against it, in shares.
    pub(super) fn trouble(&self) -> f64 {
        self.foreign + self.slow
    }
}

impl Row {
    pub(super) fn median(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.value))
    }

    pub(super) fn least(&self) -> f64 {
        let values = self.samples.iter().map(|sample| sample.value);
        values.fold(f64::INFINITY, f64::min)
    }

    pub(super) fn most(&self) -> f64 {
        let values = self.samples.iter().map(|sample| sample.value);
        values.fold(f64::NEG_INFINITY, f64::max)
    }

    pub(super) fn throughput(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.throughput))
    }

    pub(super) fn disturbed(&self) -> bool {
        self.samples.iter().any(|sample| sample.disturbed)
    }
}

/// The middle one, or the mean of the middle two; not a number of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(at(half.wrapping_sub(1)), at(half))
    } else {
        at(half)
    }
}

/// Writes a file, and the folder it lies in.
pub(super) fn write_text(file: &Path, text: &str) -> Result<(), Failure> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(file, text))
        .map_err(|error| Failure::new(format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0].into_iter()) - 2.5).abs() < 1e-9);
        assert!(median(std::iter::empty()).is_nan());
    }
}
