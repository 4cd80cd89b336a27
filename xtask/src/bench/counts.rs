//! `cargo xtask bench counts`: what things cost in instructions, which other programs on the machine
//! do not disturb, held against `benches/baseline.toml`.
//!
//! Two kinds of rows. *Stages* run in a program of their own (`benches/src/bin/stages.rs`) without
//! input or output: exact. *Requests and handshakes* are those of the release binary itself, one
//! connection at a time, so that nothing but the request decides what runs: a few per mille of
//! difference from run to run. All of user space counts, the allocator and the TLS library too; the
//! kernel does not.

use std::path::Path;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::load::Load;
use super::machine::Machine;
use super::origin::Origin;
use super::programs::Programs;
use crate::command::{self, Failure};
use crate::test;

mod baseline;
mod callgrind;

use baseline::{Baseline, Standing};
use callgrind::{Watched, total_of};

/// What to do with the counts.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Writes the counts to `benches/baseline.toml`.
    #[arg(long, requires = "why")]
    update: bool,
    /// Why counts that rose did; stands beside them in the file.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

/// A row.
#[derive(Debug)]
struct Count {
    name: &'static str,
    instructions: u64,
}

/// Counts, and fails on what rose by more than 3 % over the baseline.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), Failure> {
    let target = command::target_directory(root)?;
    callgrind::VALGRIND.have()?;
    let programs = command::timed("build what is counted", || {
        test::herald(root, &target)?;
        Programs::build(root, &target, None, &[])
    })?;
    let counts = command::timed("count", || count(&programs))?;
    let file = root.join("benches/baseline.toml");
    let key = callgrind::processor();
    let mut baseline = Baseline::read(&file)?;
    let mut risen = Vec::new();
    println!(
        "\n{:<12} {:>13} {:>13}  (on {key})",
        "", "instructions", "baseline"
    );
    for count in &counts {
        let standing = baseline.stand(&key, count.name, count.instructions);
        println!("{:<12} {:>13} {standing}", count.name, count.instructions);
        if matches!(standing, Standing::Risen { .. }) {
            risen.push(count.name);
        }
    }
    if options.update {
        for count in &counts {
            let why = options.why.as_deref().unwrap_or_default();
            baseline.put(&key, count.name, count.instructions, why);
        }
        return baseline.write(&file);
    }
    if risen.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} cost more than {} % over benches/baseline.toml. If it is worth that, say why: \
         cargo xtask bench counts --update --why TEXT",
        risen.join(", "),
        baseline::RISE_MAX_PERCENT
    )))
}

fn count(programs: &Programs) -> Result<Vec<Count>, Failure> {
    let mut counts = Vec::new();
    for (name, stage) in [("identity", "identity"), ("rewrite", "rewrite")] {
        counts.push(Count {
            name,
            instructions: stage_cost(programs, stage)?,
        });
    }
    let machine = Machine::look(true)?;
    let origin = Origin::start(programs, &machine)?;
    let bench = Bench {
        programs,
        machine,
        herald: Watched::start(programs, origin.address)?,
        origin,
    };
    for (name, load) in REQUESTS {
        let instructions = bench.request_cost(load)?;
        counts.push(Count { name, instructions });
    }
    for (name, load) in HANDSHAKES {
        let instructions = bench.handshake_cost(load)?;
        counts.push(Count { name, instructions });
    }
    Ok(counts)
}

/// The difference of two runs over the difference of their numbers: no start, no end.
fn stage_cost(programs: &Programs, stage: &str) -> Result<u64, Failure> {
    let run = |times: u64| {
        let mut command = callgrind::command(programs, "stages");
        command.arg(programs.load.with_file_name("stages"));
        command.args([stage, &times.to_string()]);
        command.arg(programs.pki.join("client.pem"));
        command::run(&mut command)?;
        total_of(&callgrind::output(programs, "stages"))
    };
    let (few, many) = (STAGE_TIMES, 3 * STAGE_TIMES);
    Ok(run(many)?.saturating_sub(run(few)?) / (many - few))
}

struct Bench<'a> {
    programs: &'a Programs,
    machine: Machine,
    origin: Origin,
    herald: Watched,
}

impl Bench<'_> {
    /// A request's instructions: what a long connection costs more than a short one.
    fn request_cost(&self, load: &str) -> Result<u64, Failure> {
        self.drive(load, SHORT)?;
        let few = self.requests(load, SHORT)?;
        let many = self.requests(load, LONG)?;
        let requests = many.0.saturating_sub(few.0);
        if requests < REQUESTS_MIN {
            return Err(Failure::new(format!(
                "only {requests} requests were counted"
            )));
        }
        Ok(many.1.saturating_sub(few.1) / requests)
    }

    /// Requests that reached the origin, and instructions, of a load.
    fn requests(&self, load: &str, time: Duration) -> Result<(u64, u64), Failure> {
        let before = self.origin.count()?;
        self.herald.zero()?;
        self.drive(load, time)?;
        let instructions = self.herald.dump()?;
        Ok((self.origin.count()?.saturating_sub(before), instructions))
    }

    /// A connection's instructions.
    fn handshake_cost(&self, load: &str) -> Result<u64, Failure> {
        self.drive(load, SHORT)?;
        self.herald.zero()?;
        let connections = self.drive(load, LONG)?;
        let instructions = self.herald.dump()?;
        if connections < HANDSHAKES_MIN {
            return Err(Failure::new(format!(
                "only {connections} handshakes were counted"
            )));
        }
        Ok(instructions / connections)
    }

    /// Runs a load of one connection and waits until all of it is over; how many connections it made.
    fn drive(&self, load: &str, time: Duration) -> Result<u64, Failure> {
        let words = load.split_ascii_whitespace().chain(["--connections", "1"]);
        let arguments: Vec<String> = words.map(str::to_owned).collect();
        let load = Load::start(
            self.programs,
            &self.machine,
            self.herald.address,
            &arguments,
        )?;
        thread::sleep(time);
        let totals = load.finish()?;
        if let Some(error) = totals.first_error {
            return Err(Failure::new(format!("the load failed: {error}")));
        }
        thread::sleep(SETTLED);
        Ok(totals.connections)
    }
}

const REQUESTS: [(&str, &str); 2] = [
    ("request h1", "--path /b/256"),
    ("request h2", "--path /b/256 --streams 1"),
];
const HANDSHAKES: [(&str, &str); 2] = [
    ("handshake", "--kind handshakes"),
    ("resumption", "--kind handshakes --resume"),
];
const STAGE_TIMES: u64 = 1000;
const SHORT: Duration = Duration::from_millis(1500);
const LONG: Duration = Duration::from_millis(6000);
/// What the end of a connection sets in motion is over by then.
const SETTLED: Duration = Duration::from_millis(300);
const REQUESTS_MIN: u64 = 200;
const HANDSHAKES_MIN: u64 = 20;
