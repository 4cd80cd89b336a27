//! `cargo xtask bench`: Herald and its peers doing the same job, side by side in one run.
//!
//! Gets the peers, checks that each does the whole job, drives one at a time and interleaves them
//! over rounds; prints a table, writes JSON and a page with plots. `docs/performance.md` says what
//! is measured and why. `cargo xtask bench compare a.json b.json` sets two runs side by side.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::command::{self, Failure};
use crate::vm;

mod acquire;
mod check;
mod compare;
pub(crate) mod counts;
pub(crate) mod guided;
mod load;
mod machine;
mod measure;
mod origin;
mod pace;
mod page;
mod peers;
mod process;
mod programs;
mod record;
mod scenario;
mod steering;
mod table;
mod talk;
mod targets;

use record::{PeerRecord, Record, Skipped};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Option<Action>,
    /// Three peers, the main scenarios, short windows: under three minutes once built.
    #[arg(long)]
    quick: bool,
    /// Only these peers: herald, herald-bare, herald-logged, herald-plain, nginx, haproxy, envoy, pingora, floor.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Only these scenarios (an unknown name lists them).
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Rounds; medians are over these.
    #[arg(long)]
    rounds: Option<usize>,
    /// Peers get a worker a core, and nothing is pinned.
    #[arg(long)]
    all_cores: bool,
    /// Another `herald` than that of `cargo xtask release`.
    #[arg(long, value_name = "FILE")]
    herald: Option<PathBuf>,
    /// Where JSON and page go, besides the history [default: target/bench].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Instructions a request with kernel TLS and without, on Debian's kernels in QEMU.
    Ktls {
        /// Only this series (6.1, 6.12, 7.x); may be given more than once.
        #[arg(long)]
        kernel: Vec<String>,
    },
    /// Instructions of a request, a handshake and their parts, beside benches/baseline.toml.
    Counts(counts::Options),
    /// What the kernel programs gain and cost: a stalled worker, refusals, a flood.
    Steering(steering::Options),
    /// Sets two runs side by side.
    Compare {
        /// The earlier run.
        before: PathBuf,
        /// The later run.
        after: PathBuf,
    },
}

/// Runs the bench, or compares two runs.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), Failure> {
    match &options.action {
        Some(Action::Compare { before, after }) => {
            return compare::print(&Record::read(before)?, &Record::read(after)?);
        }
        Some(Action::Counts(options)) => return counts::run(root, options),
        Some(Action::Steering(options)) => return steering::run(root, options),
        Some(Action::Ktls { kernel }) => return vm::count(root, kernel),
        None => {}
    }
    let target = command::target_directory(root)?;
    let out = options.out.clone().unwrap_or_else(|| target.join("bench"));
    let record = bench(root, &target, options)?;
    println!("\n{}", table::render(&record));
    let history = target.join("bench/history");
    let earlier = Record::read_all(&history)?;
    record.write(&history.join(format!("{}.json", record.started.replace(':', ""))))?;
    record.write(&out.join("bench.json"))?;
    let html = out.join("bench.html");
    record::write_text(&html, &page::render(&record, &earlier))?;
    println!("wrote {} and bench.json beside it", html.display());
    Ok(())
}

fn bench(root: &Path, target: &Path, options: &Options) -> Result<Record, Failure> {
    let plan = scenario::plan(options.quick, options.rounds, &options.scenarios)?;
    let wanted = peers::wanted(options.quick, &options.peers)?;
    let mut programs = command::timed("build the bench's programs", || {
        programs::Programs::build(root, target, options.herald.clone(), &wanted)
    })?;
    if options.herald.is_none() && wanted.iter().any(|kind| kind.is_guided()) {
        programs.herald = command::timed("build herald by a profile of its work", || {
            guided::of(root, target, &programs)
        })?;
    }
    let machine = machine::Machine::look(options.all_cores)?;
    let origin = origin::Origin::start(&programs, &machine)?;
    let mut record = Record::new(&machine, options.quick)?;
    let mut running = Vec::new();
    for kind in wanted {
        let started = acquire::get(kind, root, target, &programs)
            .and_then(|got| peers::Peer::start(kind, got, &origin, &programs, &machine))
            .and_then(|peer| check::whole_job(&peer, &programs).map(|checked| (peer, checked)));
        match started {
            Ok((peer, checked)) => {
                println!("    {}: {} ({checked})", peer.name(), peer.got.version);
                record.peers.push(PeerRecord {
                    name: peer.name().to_owned(),
                    version: peer.got.version.clone(),
                    note: peer.got.note.clone(),
                    missing: checked.missing,
                });
                running.push(peer);
            }
            // Ours is what the run is about: a run without it must have been asked for.
            Err(problem) if kind == peers::Kind::Herald => return Err(problem),
            Err(problem) => {
                println!("    {}: SKIPPED: {problem}", kind.name());
                record.skipped.push(Skipped {
                    name: kind.name().to_owned(),
                    reason: problem.to_string(),
                });
            }
        }
    }
    if running.is_empty() {
        return Err(Failure::new("no peer is left to measure"));
    }
    let pace = pace::Pace::begin(plan.patience);
    let bench = measure::Bench {
        plan: &plan,
        peers: &running,
        origin: &origin,
        programs: &programs,
        machine: &machine,
        pace: &pace,
    };
    bench.run(&mut record)?;
    record.targets = targets::judge(&record);
    Ok(record)
}
