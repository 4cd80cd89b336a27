//! `cargo xtask ci`: what continuous integration runs, step by step, by the code a developer runs.
//!
//! All steps run even after one failed, so that one run tells everything there is to mend.

use std::path::Path;
use std::time::Instant;

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
const STEPS: [(&str, Step); 8] = [
    ("formatting", formatting),
    ("tidy", tidy::run),
    ("dependencies", dependencies),
    ("clippy", clippy),
    ("documentation", documentation),
    ("kernel programs", ebpf::verify),
    ("fuzzing", fuzzing),
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
    if !has_cargo_deny(root) {
        install_cargo_deny(root)?;
    }
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

fn has_cargo_deny(root: &Path) -> bool {
    let wanted = format!("cargo-deny {CARGO_DENY}");
    command::cargo(root)
        .args(["deny", "--version"])
        .output()
        .is_ok_and(|output| {
            output.status.success() && output.stdout.trim_ascii() == wanted.as_bytes()
        })
}

/// Built once a machine, into cargo's own folder. It runs for a second, so it is built for a short
/// build and not for speed: about a minute instead of several.
fn install_cargo_deny(root: &Path) -> Result<(), Failure> {
    println!("building cargo-deny {CARGO_DENY}, once for this machine");
    command::run(
        command::cargo(root)
            .args([
                "install",
                "cargo-deny",
                "--version",
                CARGO_DENY,
                "--locked",
                "--no-default-features",
            ])
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    )
}

const CARGO_DENY: &str = "0.20.2";
