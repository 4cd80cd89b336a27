//! Herald as it is released: compiled by a profile of its own work (profile-guided optimisation,
//! rustc book, "Profile-guided Optimization"). An instrumented build does what the bench does, in
//! short; the profile tells the compiler which way branches go, what to inline and where code lies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use super::acquire::Got;
use super::load::Load;
use super::machine::Machine;
use super::origin::Origin;
use super::peers::{Kind, Peer};
use super::programs::Programs;
use crate::command::{self, Failure};
use crate::ebpf;

/// Builds it; where it is. What an earlier call built of the same sources is used again.
pub(crate) fn build(root: &Path) -> Result<PathBuf, Failure> {
    let target = command::target_directory(root)?;
    let programs = Programs::build(root, &target, None, &[])?;
    of(root, &target, &programs)
}

/// The same, with the bench's programs at hand.
pub(super) fn of(root: &Path, target: &Path, programs: &Programs) -> Result<PathBuf, Failure> {
    let folder = target.join("guided");
    let mut profdata = ebpf::profdata(root)?;
    let raw = folder.join("raw");
    let profile = folder.join("herald.profdata");
    let generate = format!("-Cprofile-generate={}", raw.display());
    let instrumented = compile(root, &folder.join("instrumented"), &generate)?;
    if changed(&profile)? < changed(&instrumented)? {
        command::timed("let the instrumented Herald work", || {
            work(&instrumented, &raw, programs)
        })?;
        command::run(profdata.arg("merge").arg("-o").arg(&profile).arg(&raw))?;
    }
    let by_profile = format!("-Cprofile-use={}", profile.display());
    compile(root, &folder.join("optimised"), &by_profile)
}

fn compile(root: &Path, folder: &Path, flag: &str) -> Result<PathBuf, Failure> {
    let flags = match std::env::var("RUSTFLAGS") {
        Ok(flags) => format!("{flags} {flag}"),
        Err(_) => flag.to_owned(),
    };
    let mut build = command::cargo(root);
    build.args(["build", "--release", "--locked", "-p", "proxy"]);
    build.args(["--bin", "herald", "--target-dir"]).arg(folder);
    command::run(build.env("RUSTFLAGS", flags))?;
    Ok(folder.join("release/herald"))
}

/// What is in `raw` afterwards is of this run alone.
fn work(instrumented: &Path, raw: &Path, programs: &Programs) -> Result<(), Failure> {
    if raw.exists() {
        fs::remove_dir_all(raw)
            .map_err(|error| Failure::new(format!("{}: {error}", raw.display())))?;
    }
    let machine = Machine::look(false)?;
    let origin = Origin::start(programs, &machine)?;
    let got = Got {
        program: instrumented.to_owned(),
        first_arguments: Vec::new(),
        environment: vec![("LLVM_PROFILE_FILE", raw.join("%p.profraw"))],
        version: command::read(Command::new(instrumented).arg("--version"))?,
        note: None,
    };
    let herald = Peer::start(Kind::Logged, got, &origin, programs, &machine)?;
    for arguments in WORK {
        let arguments: Vec<_> = arguments.split(' ').map(str::to_owned).collect();
        let load = Load::start(programs, &machine, herald.address, &arguments)?;
        thread::sleep(EACH);
        load.finish()?;
    }
    // It writes its profile when it ends in good order, which it does when it is dropped here.
    Ok(())
}

/// When a file was changed; long ago, if there is none.
fn changed(file: &Path) -> Result<SystemTime, Failure> {
    match fs::metadata(file).and_then(|metadata| metadata.modified()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(SystemTime::UNIX_EPOCH),
        other => other.map_err(|error| Failure::new(format!("{}: {error}", file.display()))),
    }
}

/// What the instrumented build does: arguments of `load`, each for as long.
const WORK: [&str; 12] = [
    "--path /b/256",
    "--path /b/10240",
    "--path /b/1048576 --connections 16",
    "--path /b/256 --streams 10 --connections 8",
    "--post 10240",
    "--post 16777216 --connections 4",
    "--rate 1600",
    "--kind handshakes --connections 16",
    "--kind handshakes --connections 16 --resume",
    "--kind handshakes --connections 16 --identities 3000",
    "--kind churn --connections 16",
    "--kind churn --connections 16 --resume",
];
const EACH: Duration = Duration::from_secs(3);
