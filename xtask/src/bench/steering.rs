//! `cargo xtask bench steering`: what the kernel programs gain and what they cost.
//!
//! Four parts, each with and without, by turns, medians over runs: light requests beside requests
//! that hold a worker, light requests beside bursts of handshakes, CPU of a refused connection, and
//! one source's flood beside another source's clients. Needs root: programs are loaded, and the
//! flood has network namespaces of its own.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::machine::{self, Machine};
use super::peers::Kind;
use super::programs::Programs;
use super::record;
use crate::command::{self, Failure};

mod flood;
mod light;
mod namespaces;
mod proxy;
mod refusal;
mod text;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only these parts.
    #[arg(long = "part", value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Runs of each side; medians are over these.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// Where the bench's programs and Herald lie, built before; builds nothing of them.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// A Herald that was built with `--cfg bench_stall`; builds none.
    #[arg(long, value_name = "FILE")]
    stalling: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// 6 % of the requests hold their worker for 30 ms.
    Stall,
    /// Bursts of handshakes with certificates that nobody has seen.
    Bursts,
    /// CPU of a connection that is refused, accepted and closed, or served.
    Refusal,
    /// A source that floods beside one that does not.
    Flood,
}

/// What the parts work with.
struct Lab {
    programs: Programs,
    machine: Machine,
    runs: u32,
}

/// A run as it is written down.
#[derive(Debug, Serialize)]
struct Report {
    started: String,
    processor: String,
    kernel: String,
    cores: usize,
    runs: u32,
    /// Of the whole machine, before each part.
    load_averages: Vec<(&'static str, String)>,
    stall: Option<light::Comparison>,
    bursts: Option<light::Comparison>,
    refusal: Option<refusal::Costs>,
    flood: Option<flood::Outcome>,
}

pub(super) fn run(root: &Path, options: &Options) -> Result<(), Failure> {
    let target = command::target_directory(root)?;
    let wants = |part| options.parts.is_empty() || options.parts.contains(&part);
    let programs = match &options.programs {
        Some(folder) => Programs::of(folder, &target, None)?,
        None => command::timed("build the bench's programs", || {
            Programs::build(root, &target, None, &[Kind::Herald])
        })?,
    };
    let lab = Lab {
        programs,
        machine: Machine::look(true)?,
        runs: options.runs,
    };
    let mut report = Report {
        started: machine::now()?,
        processor: lab.machine.processor.clone(),
        kernel: lab.machine.kernel.clone(),
        cores: lab.machine.cores,
        runs: options.runs,
        load_averages: Vec::new(),
        stall: None,
        bursts: None,
        refusal: None,
        flood: None,
    };
    if wants(Part::Stall) {
        let stalling = match &options.stalling {
            Some(file) => file.clone(),
            None => command::timed("build a Herald that can be stalled", || {
                stalling(root, &target)
            })?,
        };
        only_the_first_can_be_stalled(&stalling, &lab.programs.herald)?;
        report.begin("stall")?;
        report.stall = Some(light::beside_stalls(&lab, &stalling)?);
    }
    if wants(Part::Bursts) {
        report.begin("bursts")?;
        report.bursts = Some(light::beside_bursts(&lab)?);
    }
    if wants(Part::Refusal) {
        report.begin("refusal")?;
        report.refusal = Some(refusal::measure(&lab)?);
    }
    if wants(Part::Flood) {
        report.begin("flood")?;
        report.flood = Some(flood::measure(&lab)?);
    }
    println!("\n{}", text::render(&report));
    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| Failure::new(format!("the record: {error}")))?;
    let file = format!("bench/steering/{}.json", report.started.replace(':', ""));
    let file = target.join(file);
    record::write_text(&file, &json)?;
    println!("wrote {}", file.display());
    Ok(())
}

impl Report {
    fn begin(&mut self, part: &'static str) -> Result<(), Failure> {
        let averages = machine::read("/proc/loadavg")?;
        let averages: Vec<&str> = averages.split(' ').take(3).collect();
        let averages = averages.join(" ");
        println!("==> {part} (load average {averages})");
        self.load_averages.push((part, averages));
        Ok(())
    }
}

/// A build whose requests can hold their worker: a file of its own, in a folder of its own, that
/// nobody could take for a release. It is built for a short build: both sides are this one.
fn stalling(root: &Path, target: &Path) -> Result<PathBuf, Failure> {
    let folder = target.join("stall");
    let mut build = command::cargo(root);
    build
        .args(["build", "--release", "--locked"])
        .args(["--package", "proxy", "--bin", "herald"])
        .env("CARGO_TARGET_DIR", &folder)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
        .env("RUSTFLAGS", "--cfg bench_stall")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command::run(&mut build)?;
    Ok(folder.join("release/herald"))
}

/// Neither measures what is not there, nor leaves a release that clients could stall.
fn only_the_first_can_be_stalled(stalling: &Path, release: &Path) -> Result<(), Failure> {
    for (file, expected) in [(stalling, true), (release, false)] {
        if can_be_stalled(file)? != expected {
            let word = if expected { "can not" } else { "CAN" };
            let file = file.display();
            return Err(Failure::new(format!("{file} {word} be stalled")));
        }
    }
    Ok(())
}

/// Whether the binary knows the header that stalls.
fn can_be_stalled(binary: &Path) -> Result<bool, Failure> {
    let bytes =
        fs::read(binary).map_err(|error| Failure::new(format!("{}: {error}", binary.display())))?;
    Ok(bytes.windows(STALL.len()).any(|window| window == STALL))
}

/// `proxy/src/exchange/stall.rs`.
const STALL: &[u8] = b"x-bench-stall";
