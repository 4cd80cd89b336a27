//! `cargo xtask test`: install what the tests need, build the binary once, run every test, count.
//!
//! Unit tests of all members run first, then each black-box test binary against the release build
//! of `herald`. A test that cannot run here says `SKIPPED name: reason`, which is counted and
//! listed; with `--require-all` it is a failure, and so is a run that found no black-box test; and the
//! tests that need kernels of their own then run too, in guests (`vm.rs`).

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;

use crate::command::{self, Failure};
use crate::{ebpf, tidy, vm};

pub(crate) mod build;
mod report;
mod setup;
mod suite;

pub(crate) use build::{TestBinary, herald, tests};
pub(crate) use report::{Report, Row};
pub(crate) use setup::{Need, prepare};
pub(crate) use suite::{Environment, execute};

/// What to run, and how strictly.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// A skipped test is a failure (for CI).
    #[arg(long)]
    pub(crate) require_all: bool,
    /// Also run the tests that take minutes.
    #[arg(long)]
    pub(crate) long: bool,
    /// Run only tests whose name contains this.
    pub(crate) filter: Option<String>,
}

/// Runs the tests; fails on a failed test, and as the options say on a skipped one.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), Failure> {
    let started = Instant::now();
    let target = command::target_directory(root)?;
    let ready = command::timed("set-up", || Ok(prepare(&target)))?;
    let herald = command::timed("build herald (release)", || herald(root, &target))?;
    let built = command::timed("build the tests", || tests(root))?;
    ebpf::ready_for_tests(root)?;
    let environment = Environment {
        herald,
        python: ready.python,
        require_all: options.require_all,
        long: options.long,
        filter: options.filter.clone(),
        logs: target.join("test-logs"),
        deadline: if options.long {
            LONG_SUITE_TIME_MAX
        } else {
            SUITE_TIME_MAX
        },
        closing: None,
        mark: String::new(),
    };

    let mut report = Report::default();
    if options.filter.is_none() {
        report.add(tidy_row(root));
    }
    for binary in &built {
        report.add(suite::run(binary, &environment));
    }
    if options.filter.is_none() {
        report.add(suite::run_doc_tests(root, &environment));
    }
    if options.require_all && options.filter.is_none() {
        for row in guests(&target, &environment, &built) {
            report.add(row);
        }
    }
    report.print(&ready.missing, started.elapsed());
    report.verdict(options)
}

/// The tests that need kernels of their own; see `cargo xtask vm`.
fn guests(target: &Path, environment: &Environment, built: &[TestBinary]) -> Vec<Row> {
    let options = vm::Options {
        long: environment.long,
        ..vm::Options::default()
    };
    vm::rows(target, &environment.herald, built, &options).unwrap_or_else(|problem| {
        println!("{problem}");
        let mut row = Row::new("kernels", true);
        row.failures.push(format!("kernels: {problem}"));
        vec![row]
    })
}

fn tidy_row(root: &Path) -> Row {
    let started = Instant::now();
    println!("==> tidy");
    let outcome = tidy::run(root);
    let mut row = Row::new("tidy", false);
    match outcome {
        Ok(()) => row.passed = 1,
        Err(problem) => {
            println!("{problem}");
            row.failures.push("tidy".to_owned());
        }
    }
    row.took = started.elapsed();
    row
}

/// A test binary that runs longer than this hangs; the slowest takes about two minutes.
const SUITE_TIME_MAX: Duration = Duration::from_secs(15 * 60);
/// The same with `--long`, whose soaks run for minutes each.
const LONG_SUITE_TIME_MAX: Duration = Duration::from_secs(60 * 60);
