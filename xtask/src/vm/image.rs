//! The guest's file system, all of it in memory: busybox, modules, `herald`, the test binaries
//! and the libraries they are linked with, kernel programs, and `init.sh`, which runs the tests.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::archive::Archive;
use super::kernel::Kernel;
use super::{Load, modules};
use crate::command::{self, Failure};

/// What every guest is given, whatever its kernel: paths and contents.
#[derive(Debug, Default)]
pub(super) struct Programs {
    files: Vec<(String, Vec<u8>)>,
    libraries: BTreeSet<String>,
}

impl Programs {
    /// Reads what `load` names; `scratch` is a folder for what is stripped.
    pub(super) fn of(load: &Load<'_>, busybox: &Path, scratch: &Path) -> Result<Self, Failure> {
        let scratch = scratch.join("stripped");
        let mut programs = Self::default();
        programs.put("init", INIT.as_bytes().to_vec());
        programs.put("bin/busybox", read(busybox)?);
        programs.add("herald", load.herald, &scratch)?;
        let mut plan = format!(
            "export HERALD_BIN=/herald HERALD_REQUIRE_ALL=1 HERALD_GUEST=1 HERALD_LONG={} HERALD_COUNT={}\n",
            u8::from(load.long),
            u8::from(load.counts),
        );
        for suite in &load.suites {
            let name = suite.binary.name.replace("::", "-");
            let path = format!("suites/{name}");
            programs.add(&path, &suite.binary.executable, &scratch)?;
            programs.put(&format!("{path}.tests"), suite.tests.join("\n").into());
            let folder = suite.binary.folder.display();
            plan.push_str(&format!("run {folder} /{path}\n"));
        }
        for object in &load.objects {
            programs.put(&object.display().to_string(), read(object)?);
        }
        programs.put("plan.sh", plan.into());
        Ok(programs)
    }

    fn put(&mut self, path: &str, content: Vec<u8>) {
        self.files.push((path.to_owned(), content));
    }

    /// Adds a program without its debug information, and its libraries where it expects them.
    fn add(&mut self, path: &str, file: &Path, scratch: &Path) -> Result<(), Failure> {
        command::run(
            Command::new("strip")
                .arg("-g")
                .arg("-o")
                .arg(scratch)
                .arg(file),
        )?;
        self.put(path, read(scratch)?);
        fs::remove_file(scratch).map_err(|error| cannot(scratch, &error))?;
        let linked = command::read(Command::new("ldd").arg(file))?;
        for library in libraries(&linked) {
            if self.libraries.insert(library.to_owned()) {
                self.put(library, read(Path::new(library))?);
            }
        }
        Ok(())
    }
}

/// Writes the initramfs for `kernel` to `path`.
pub(super) fn build(path: &Path, kernel: &Kernel, programs: &Programs) -> Result<(), Failure> {
    let modules = modules::collect(&kernel.modules)?;
    let write = || {
        let mut archive = Archive::create(path)?;
        for (number, (name, content)) in modules.iter().enumerate() {
            archive.file(&format!("modules/{number:02}-{name}.ko"), content)?;
        }
        for (path, content) in &programs.files {
            archive.file(path, content)?;
        }
        archive.finish().map(drop)
    };
    write().map_err(|error| cannot(path, &error))
}

/// The paths in the output of `ldd`: `name => path (address)`, or the loader's `path (address)`.
fn libraries(linked: &str) -> impl Iterator<Item = &str> {
    linked.lines().filter_map(|line| {
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        let path = path.trim().split_once(" (")?.0;
        path.starts_with('/').then_some(path)
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

const INIT: &str = include_str!("init.sh");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_by_their_paths() {
        let linked = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let found: Vec<_> = libraries(linked).collect();
        assert_eq!(found, ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }
}
