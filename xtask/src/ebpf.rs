//! `cargo xtask ebpf build|verify`: the kernel programs. `build` makes the objects that are
//! committed, so that nobody else needs their toolchain; `verify` shows that they are what the
//! source says and that this kernel's verifier takes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Subcommand;

use crate::command::{self, Failure};

mod compare;
mod load;
mod objects;
mod toolchain;

use objects::{Kind, Object};
use toolchain::Toolchain;

/// What to do with the kernel programs.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Action {
    /// Builds the objects and writes them, their digests and the toolchain's versions to `proxy/ebpf`.
    Build {
        /// Builds those that tell each decision, into `target/ebpf/debug`, and nothing else.
        #[arg(long)]
        debug: bool,
    },
    /// Rebuilds the objects, compares, and loads the committed ones and the telling ones into the kernel.
    Verify,
}

/// Builds or verifies.
pub(crate) fn run(root: &Path, action: Action) -> Result<(), Failure> {
    match action {
        Action::Build { debug: false } => build(root),
        Action::Build { debug: true } => build_telling(root),
        Action::Verify => verify(root),
    }
}

/// Everything `Verify` does; a step of continuous integration.
pub(crate) fn verify(root: &Path) -> Result<(), Failure> {
    let committed = objects::committed(root)?;
    let folder = workplace(root)?;
    let toolchain = Toolchain::get(root, &folder)?;
    let built = objects::build(root, &folder, &toolchain, Kind::Committed)?;
    let same_toolchain = objects::note(root)? == toolchain.note;
    for (committed, built) in committed.iter().zip(&built) {
        compare::same(committed, built, same_toolchain)?;
    }
    committed.iter().try_for_each(load::load)?;
    println!("those that tell each decision:");
    build_logging(root)?.iter().try_for_each(load::load)
}

/// LLVM's tool for profiles, of the same packages.
pub(crate) fn profdata(root: &Path) -> Result<Command, Failure> {
    toolchain::profdata(&workplace(root)?)
}

/// For the tests, which drive the telling objects: builds them where nothing has to be downloaded
/// for it.
pub(crate) fn ready_for_tests(root: &Path) -> Result<(), Failure> {
    match Toolchain::is_here(&workplace(root)?) {
        true => build_telling(root),
        false => Ok(()),
    }
}

/// For the guests, whose kernels are downloaded too.
pub(crate) fn build_telling(root: &Path) -> Result<(), Failure> {
    build_logging(root).map(drop)
}

/// The telling objects that were built.
pub(crate) fn telling(target: &Path) -> Vec<PathBuf> {
    objects::telling(&target.join(FOLDER))
}

fn build_logging(root: &Path) -> Result<Vec<Object>, Failure> {
    let folder = workplace(root)?;
    let toolchain = Toolchain::get(root, &folder)?;
    objects::build(root, &folder, &toolchain, Kind::Logging)
}

fn build(root: &Path) -> Result<(), Failure> {
    let folder = workplace(root)?;
    let toolchain = Toolchain::get(root, &folder)?;
    let built = objects::build(root, &folder, &toolchain, Kind::Committed)?;
    objects::write(root, &built, &toolchain.note)
}

fn workplace(root: &Path) -> Result<PathBuf, Failure> {
    Ok(command::target_directory(root)?.join(FOLDER))
}

/// Below the target directory.
const FOLDER: &str = "ebpf";
