//! The project's own commands: `cargo xtask tidy`, `cargo xtask test`, `cargo xtask fuzz`,
//! `cargo xtask package`, `cargo xtask ci`, `cargo xtask ebpf`, `cargo xtask vm`,
//! `cargo xtask release`, `cargo xtask bench`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool for people and CI speaks through its standard streams"
)]

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod command;
mod ebpf;
mod fuzz;
mod package;
mod test;
mod tidy;
mod vm;

/// Herald's development commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check what no compiler checks: module layers, sizes, fenced `unsafe`, forbidden words.
    Tidy,
    /// Install what the tests need, build the binary, run every test and count.
    Test(test::Options),
    /// Fuzz everything that parses: build once, run each target for some seconds.
    Fuzz(fuzz::Options),
    /// Build Herald by a profile of its own work, as it is packaged.
    Release,
    /// Build the Debian package and check what is in it.
    Package,
    /// Everything that continuous integration runs, by the same code.
    Ci,
    /// Run the tests that need kernels of their own, on Debian's, in QEMU.
    Vm(vm::Options),
    /// Herald and its peers side by side: CPU time a request, latency, memory.
    Bench(bench::Options),
    /// The kernel programs: build what is committed, or verify it.
    #[command(subcommand)]
    Ebpf(ebpf::Action),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(root) = Path::new(env!("CARGO_MANIFEST_DIR")).parent() else {
        eprintln!("xtask: its manifest lies in no workspace");
        return ExitCode::FAILURE;
    };
    let outcome = match arguments.task {
        Task::Tidy => tidy::run(root),
        Task::Test(options) => test::run(root, &options),
        Task::Fuzz(options) => fuzz::run(root, &options),
        Task::Release => bench::guided::build(root).map(|herald| println!("{}", herald.display())),
        Task::Package => package::run(root),
        Task::Ci => ci::run(root),
        Task::Vm(options) => vm::run(root, &options),
        Task::Bench(options) => bench::run(root, &options),
        Task::Ebpf(action) => ebpf::run(root, action),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}
