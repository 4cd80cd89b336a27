//! The bench's own programs and Herald, built in release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::peers::Kind;
use crate::command::{self, Failure};

/// Where the programs and the certificates are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) origin: PathBuf,
    pub(super) load: PathBuf,
    pub(super) floor: PathBuf,
    pub(super) probe: PathBuf,
    /// Herald as it is released, or another that was asked for.
    pub(super) herald: PathBuf,
    /// Herald as `cargo build --release` makes it.
    pub(super) plain: PathBuf,
    /// What connects again and again.
    pub(super) knock: PathBuf,
    /// Certificates of this run, made anew.
    pub(super) pki: PathBuf,
    /// Configurations and logs of the peers.
    pub(super) work: PathBuf,
}

impl Programs {
    pub(super) fn build(
        root: &Path,
        target: &Path,
        herald: Option<PathBuf>,
        wanted: &[Kind],
    ) -> Result<Self, Failure> {
        // Together, so that both are made of the same builds of what they share.
        let mut build = command::cargo(root);
        build.args(["build", "--release", "--locked", "--bins"]);
        build.args(["--package", "herald-benches"]);
        if wanted.contains(&Kind::Plain) {
            build.args(["--package", "proxy"]);
        }
        command::run(&mut build)?;
        Self::of(&target.join("release"), target, herald)
    }

    /// Those that lie in a folder, built before.
    pub(super) fn of(
        release: &Path,
        target: &Path,
        herald: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let work = target.join("bench/work");
        let pki = work.join("pki");
        fs::create_dir_all(&pki)
            .map_err(|error| Failure::new(format!("{}: {error}", pki.display())))?;
        command::run(Command::new(release.join("pki")).arg(&pki))?;
        Ok(Self {
            origin: release.join("origin"),
            load: release.join("load"),
            floor: release.join("floor"),
            probe: release.join("probe"),
            knock: release.join("knock"),
            plain: release.join("herald"),
            herald: herald.unwrap_or_else(|| release.join("herald")),
            pki,
            work,
        })
    }
}
