//! Light requests, each on a connection of its own, at a fixed rate: how long they take beside what
//! keeps workers busy, when the kernel's hash chooses the worker and when the programs do.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::super::load::{Load, Totals};
use super::super::origin::Origin;
use super::super::process;
use super::super::record::median;
use super::Lab;
use super::proxy::{self, Site};
use crate::command::Failure;

/// Both sides.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) hash: Vec<Latency>,
    pub(super) steered: Vec<Latency>,
}

/// Of the light requests of a run, in milliseconds from when each was due.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) samples: u64,
}

impl Comparison {
    /// How many times lower p90 is with steering.
    pub(super) fn gain(&self) -> f64 {
        middle(&self.hash, |latency| latency.p90) / middle(&self.steered, |latency| latency.p90)
    }
}

pub(super) fn middle(runs: &[Latency], of: impl Fn(&Latency) -> f64) -> f64 {
    median(runs.iter().map(of))
}

/// Beside requests that hold their worker: they come over connections of the same stream.
pub(super) fn beside_stalls(lab: &Lab, stalling: &Path) -> Result<Comparison, Failure> {
    compare(lab, stalling, |to| light(lab, to, STALLS_PERCENT))
}

/// Beside handshakes that come in bursts, none of whose certificates was seen before.
pub(super) fn beside_bursts(lab: &Lab) -> Result<Comparison, Failure> {
    let seconds = WARMUP + WINDOW + SPARE;
    let identities = BURSTS_A_SECOND * BURST * seconds;
    let arguments = format!(
        "--kind handshakes --rate {BURSTS_A_SECOND} --burst {BURST} --connections 4096 \
         --identities {identities}"
    );
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    compare(lab, &lab.programs.herald, |to| {
        let mut bursts = Load::start(&lab.programs, &lab.machine, to, &arguments)?;
        // Answered once the certificates are made.
        bursts.totals()?;
        let latency = light(lab, to, 0)?;
        let totals = bursts.finish()?;
        if totals.repeats > 0 {
            let again = totals.repeats;
            return Err(Failure::new(format!("{again} certificates shown again")));
        }
        Ok(latency)
    })
}

fn compare(
    lab: &Lab,
    binary: &Path,
    run: impl Fn(SocketAddr) -> Result<Latency, Failure>,
) -> Result<Comparison, Failure> {
    let origin = Origin::start(&lab.programs, &lab.machine)?;
    let mut comparison = Comparison {
        hash: Vec::new(),
        steered: Vec::new(),
    };
    for number in 1..=lab.runs {
        for (name, mode) in [("hash", "--ebpf=off"), ("steered", "--ebpf=require")] {
            let address = process::free_address()?;
            let site = Site {
                binary,
                name,
                server: "server",
                listen: &[address],
                origin: origin.address,
                workers: WORKERS,
                arguments: &[mode],
            };
            let herald = site.start(lab, proxy::here)?;
            let latency = run(address)?;
            drop(herald);
            let Latency { p50, p90, p99, .. } = latency;
            println!("    {number} {name:<8} p50 {p50:6.2} ms, p90 {p90:6.2} ms, p99 {p99:6.2} ms");
            let side = match name {
                "hash" => &mut comparison.hash,
                _ => &mut comparison.steered,
            };
            side.push(latency);
        }
    }
    Ok(comparison)
}

/// A run of light requests, beside so many percent that hold their worker.
fn light(lab: &Lab, to: SocketAddr, stalls: u32) -> Result<Latency, Failure> {
    let arguments = format!(
        "--kind churn --rate {RATE} --connections 4096 --warmup {WARMUP} --path /b/256 \
         --stalls {stalls}"
    );
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let mut load = Load::start(&lab.programs, &lab.machine, to, &arguments)?;
    load.totals()?;
    thread::sleep(Duration::from_secs(u64::from(WARMUP + WINDOW)));
    let totals = load.finish()?;
    let expected = u64::from(RATE) * u64::from(WINDOW) * u64::from(100 - stalls) / 100;
    if totals.samples * 10 < expected * 9 {
        return Err(Failure::new(format!(
            "{} of {expected} light requests were answered",
            totals.samples
        )));
    }
    Ok(Latency {
        p50: percentile(&totals, 50.0)?,
        p90: percentile(&totals, 90.0)?,
        p99: percentile(&totals, 99.0)?,
        samples: totals.samples,
    })
}

fn percentile(totals: &Totals, wanted: f64) -> Result<f64, Failure> {
    super::super::measure::percentile(totals, wanted).map(|micros| micros / 1000.0)
}

const WORKERS: usize = 2;
/// Connections a second, with a request each.
const RATE: u32 = 200;
const STALLS_PERCENT: u32 = 6;
const BURSTS_A_SECOND: u32 = 3;
const BURST: u32 = 32;
/// Seconds.
const WARMUP: u32 = 1;
const WINDOW: u32 = 8;
/// What a load is given to start and end in.
const SPARE: u32 = 5;
