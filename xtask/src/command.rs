//! Child processes: run them, say what runs and how long it took, turn a failure into words.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Deserialize;

/// A task that did not succeed; the text tells the person what to do about it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The cargo that runs us (a rustup proxy sets it), so that one toolchain does everything.
pub(crate) fn cargo(root: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).stdin(Stdio::null());
    // Variables that describe xtask's own package would be taken for the child's.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs `command` with its output shown; a failure names the command.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let shown = show(command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("`{shown}` failed ({status})"))),
        Err(error) => Err(Failure::new(format!("`{shown}` cannot be run: {error}"))),
    }
}

/// Runs `command` and returns its standard output, which must be UTF-8.
pub(crate) fn read(command: &mut Command) -> Result<String, Failure> {
    let shown = show(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("`{shown}` cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "`{shown}` failed ({})",
            output.status
        )));
    }
    String::from_utf8(output.stdout)
        .map_err(|error| Failure::new(format!("`{shown}` wrote no UTF-8: {error}")))
}

/// Sees to it that `cargo NAME` is there in this version: built once a machine, into cargo's own
/// folder. Such a tool runs for a second, so it is built for a short build and not for speed.
pub(crate) fn have_subcommand(root: &Path, name: &str, version: &str) -> Result<(), Failure> {
    let told = cargo(root).args([name, "--version"]).output();
    let is_here = told.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout);
        output.status.success() && text.split_whitespace().any(|word| word == version)
    });
    if is_here {
        return Ok(());
    }
    println!("building cargo-{name} {version}, once for this machine");
    run(cargo(root)
        .args(["install", &format!("cargo-{name}"), "--version", version])
        .args(["--locked", "--no-default-features"])
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"))
}

/// True when `command` starts and succeeds; its output is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs `work` between a line that names it and a line that tells the seconds it took.
pub(crate) fn timed<T>(
    what: &str,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    println!("==> {what}");
    let started = Instant::now();
    let outcome = work();
    let word = if outcome.is_ok() { "done" } else { "FAILED" };
    println!(
        "<== {what}: {word} in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    outcome
}

/// Where cargo puts what it builds, wherever configuration moved it.
pub(crate) fn target_directory(root: &Path) -> Result<PathBuf, Failure> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let text = read(cargo(root).args(["metadata", "--no-deps", "--locked", "--format-version=1"]))?;
    let metadata: Metadata = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("cargo metadata is not as expected: {error}")))?;
    Ok(metadata.target_directory)
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}
