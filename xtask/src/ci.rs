//! `cargo xtask ci`: what continuous integration runs, step by step, by the code a developer runs.
//!
//! All steps run even after one failed, so that one run tells everything there is to mend.

use std::path::Path;
use std::time::Instant;

use crate::bench::counts;
use crate::command::{self, Failure};
use crate::{ebpf, fuzz, test, tidy};

/// Runs every step; fails with the names of those that failed.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    let started = Instant::now();
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        println!("[{:>5.0} s] {name}", started.elapsed().as_secs_f64());
        if let Err(problem) = command::timed(name, || step(root)) {
            println!("{problem}");
            failed.push(name);
        }
    }
    println!("[{:>5.0} s] finished", started.elapsed().as_secs_f64());
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("failed steps: {}", failed.join(", "))))
    }
}

type Step = fn(&Path) -> Result<(), Failure>;

/// Cheap steps first; the tests close, since CI reads the last counting line.
const STEPS: [(&str, Step); 9] = [
    ("formatting", formatting),
    ("tidy", tidy::run),
    ("dependencies", dependencies),
    ("clippy", clippy),
    ("documentation", documentation),
    ("kernel programs", ebpf::verify),
    ("fuzzing", fuzzing),
    ("instructions", instructions),
    ("tests", tests),
];

fn formatting(root: &Path) -> Result<(), Failure> {
    command::run(command::cargo(root).args(["fmt", "--all", "--check"]))
}

fn clippy(root: &Path) -> Result<(), Failure> {
    command::run(command::cargo(root).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

fn documentation(root: &Path) -> Result<(), Failure> {
    command::run(
        command::cargo(root)
            .args([
                "doc",
                "--no-deps",
                "--workspace",
                "--locked",
                "--document-private-items",
            ])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn fuzzing(root: &Path) -> Result<(), Failure> {
    fuzz::run(root, &fuzz::Options::default())
}

fn instructions(root: &Path) -> Result<(), Failure> {
    counts::run(root, &counts::Options::default())
}

fn tests(root: &Path) -> Result<(), Failure> {
    test::run(
        root,
        &test::Options {
            require_all: true,
            ..test::Options::default()
        },
    )
}

/// Licences, sources and bans of `deny.toml`. Advisories need a database from elsewhere and stay out.
fn dependencies(root: &Path) -> Result<(), Failure> {
    command::have_subcommand(root, "deny", CARGO_DENY)?;
    command::run(command::cargo(root).args([
        "deny",
        "--locked",
        "--all-features",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}

const CARGO_DENY: &str = "0.20.2";
