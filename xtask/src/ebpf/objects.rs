//! The objects: built from `proxy-ebpf/programs`, committed in `proxy/ebpf` beside their digests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::toolchain::Toolchain;
use crate::command::{self, Failure};

/// An object file in memory.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// What is built: the programs as they are committed, or those that tell each decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Committed,
    Logging,
}

impl Kind {
    /// What cargo builds. `log` brings binaries of its own, so the others are left alone.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Committed => &[],
            Self::Logging => &[
                "--features",
                "log",
                "--bin",
                "steering-log",
                "--bin",
                "balance-log",
            ],
        }
    }

    fn binary(self, name: &str) -> String {
        match self {
            Self::Committed => name.to_owned(),
            Self::Logging => format!("{name}-log"),
        }
    }
}

/// Builds the objects and strips them into `folder`, or into `debug` below it.
pub(super) fn build(
    root: &Path,
    folder: &Path,
    toolchain: &Toolchain,
    kind: Kind,
) -> Result<Vec<Object>, Failure> {
    let target = folder.join("build");
    command::run(
        toolchain
            .cargo(&root.join("proxy-ebpf/programs"))
            .args(["build", "--release", "--locked", "--target", MACHINE])
            .args(kind.arguments())
            .env("CARGO_TARGET_DIR", &target)
            // Whoever builds incrementally would get other bytes.
            .env("CARGO_INCREMENTAL", "0")
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                toolchain.flags(root).join("\x1f"),
            ),
    )?;
    let place = match kind {
        Kind::Committed => folder.to_owned(),
        Kind::Logging => folder.join(DEBUG),
    };
    fs::create_dir_all(&place).map_err(at(&place))?;
    NAMES
        .into_iter()
        .map(|name| {
            let release = target.join(MACHINE).join("release");
            let built = release.join(kind.binary(name));
            let stripped = place.join(file(name));
            fs::copy(&built, &stripped).map_err(at(&built))?;
            toolchain.strip(&stripped)?;
            let bytes = fs::read(&stripped).map_err(at(&stripped))?;
            Ok(Object { name, bytes })
        })
        .collect()
}

/// The files of those that tell each decision, as far as they were built.
pub(super) fn telling(folder: &Path) -> Vec<PathBuf> {
    let files = NAMES.map(|name| folder.join(DEBUG).join(file(name)));
    files.into_iter().filter(|path| path.is_file()).collect()
}

/// Writes objects, digests and note where they are committed.
pub(super) fn write(root: &Path, objects: &[Object], note: &str) -> Result<(), Failure> {
    let place = root.join(PLACE);
    for object in objects {
        let path = place.join(file(object.name));
        fs::write(&path, &object.bytes).map_err(at(&path))?;
        println!("{}: {} bytes", path.display(), object.bytes.len());
    }
    let sums = command::read(
        Command::new("sha256sum")
            .args(NAMES.map(file))
            .current_dir(&place),
    )?;
    fs::write(place.join(SUMS), sums).map_err(at(&place))?;
    fs::write(place.join(NOTE), note).map_err(at(&place))
}

/// The committed objects, which must have their digests.
pub(super) fn committed(root: &Path) -> Result<Vec<Object>, Failure> {
    let place = root.join(PLACE);
    command::run(
        Command::new("sha256sum")
            .args(["--check", "--strict", SUMS])
            .current_dir(&place),
    )?;
    let read = |name| {
        let path = place.join(file(name));
        let bytes = fs::read(&path).map_err(at(&path))?;
        Ok(Object { name, bytes })
    };
    NAMES.into_iter().map(read).collect()
}

/// The versions of the toolchain that made the committed objects.
pub(super) fn note(root: &Path) -> Result<String, Failure> {
    let path = root.join(PLACE).join(NOTE);
    fs::read_to_string(&path).map_err(at(&path))
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(format!("{}: {error}", path.display()))
}

fn file(name: &str) -> String {
    format!("{name}.bpf.o")
}

const NAMES: [&str; 2] = ["steering", "balance"];
const MACHINE: &str = "bpfel-unknown-none";
const DEBUG: &str = "debug";
const PLACE: &str = "proxy/ebpf";
const SUMS: &str = "SHA256SUMS";
const NOTE: &str = "TOOLCHAIN";
