//! `cargo xtask ebpf build|verify`: the kernel programs. `build` makes the objects that are
//! committed, so that nobody else needs their toolchain; `verify` shows that they are what the
//! source says and that this kernel's verifier takes them.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::command::{self, Failure};

mod compare;
mod load;
mod objects;
mod toolchain;

use toolchain::Toolchain;

/// What to do with the kernel programs.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Action {
    /// Builds the objects and writes them, their digests and the toolchain's versions to `proxy/ebpf`.
    Build,
    /// Rebuilds the objects, compares, and loads the committed ones into the kernel.
    Verify,
}

/// Builds or verifies.
pub(crate) fn run(root: &Path, action: Action) -> Result<(), Failure> {
    match action {
        Action::Build => build(root),
        Action::Verify => verify(root),
    }
}

/// Everything `Verify` does; a step of continuous integration.
pub(crate) fn verify(root: &Path) -> Result<(), Failure> {
    let committed = objects::committed(root)?;
    let folder = workplace(root)?;
    let toolchain = Toolchain::get(root, &folder)?;
    let built = objects::build(root, &folder, &toolchain)?;
    let same_toolchain = objects::note(root)? == toolchain.note;
    for (committed, built) in committed.iter().zip(&built) {
        compare::same(committed, built, same_toolchain)?;
    }
    committed.iter().try_for_each(load::load)
}

fn build(root: &Path) -> Result<(), Failure> {
    let folder = workplace(root)?;
    let toolchain = Toolchain::get(root, &folder)?;
    let built = objects::build(root, &folder, &toolchain)?;
    objects::write(root, &built, &toolchain.note)
}

fn workplace(root: &Path) -> Result<PathBuf, Failure> {
    Ok(command::target_directory(root)?.join("ebpf"))
}
