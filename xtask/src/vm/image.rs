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

/// Writes the initramfs to `path`.
pub(super) fn build(
    path: &Path,
    kernel: &Kernel,
    busybox: &Path,
    load: &Load<'_>,
) -> Result<(), Failure> {
    let mut guest = Guest {
        archive: Archive::create(path).map_err(|error| cannot(path, &error))?,
        libraries: BTreeSet::new(),
    };
    guest.put("init", INIT.as_bytes())?;
    guest.put("bin/busybox", &read(busybox)?)?;
    for (number, (name, content)) in modules::collect(&kernel.modules)?.iter().enumerate() {
        guest.put(&format!("modules/{number:02}-{name}.ko"), content)?;
    }
    let scratch = path.with_extension("stripped");
    guest.program("herald", load.herald, &scratch)?;
    let mut plan = format!(
        "export HERALD_BIN=/herald HERALD_REQUIRE_ALL=1 HERALD_GUEST=1 HERALD_LONG={} HERALD_COUNT={}\n",
        u8::from(load.long),
        u8::from(load.counts),
    );
    for suite in &load.suites {
        let name = suite.binary.name.replace("::", "-");
        guest.program(
            &format!("suites/{name}"),
            &suite.binary.executable,
            &scratch,
        )?;
        guest.put(
            &format!("suites/{name}.tests"),
            suite.tests.join("\n").as_bytes(),
        )?;
        plan.push_str(&format!(
            "run {} /suites/{name}\n",
            suite.binary.folder.display()
        ));
    }
    for object in &load.objects {
        guest.put(&object.display().to_string(), &read(object)?)?;
    }
    guest.put("plan.sh", plan.as_bytes())?;
    let finished = guest.archive.finish();
    finished.map(drop).map_err(|error| cannot(path, &error))
}

struct Guest {
    archive: Archive<io::BufWriter<fs::File>>,
    libraries: BTreeSet<String>,
}

impl Guest {
    fn put(&mut self, path: &str, content: &[u8]) -> Result<(), Failure> {
        let added = self.archive.file(path, content);
        added.map_err(|error| Failure::new(format!("{path}: {error}")))
    }

    /// Adds a program without its debug information, and its libraries where it expects them.
    fn program(&mut self, path: &str, file: &Path, scratch: &Path) -> Result<(), Failure> {
        command::run(
            Command::new("strip")
                .arg("-g")
                .arg("-o")
                .arg(scratch)
                .arg(file),
        )?;
        self.put(path, &read(scratch)?)?;
        fs::remove_file(scratch).map_err(|error| cannot(scratch, &error))?;
        let linked = command::read(Command::new("ldd").arg(file))?;
        for library in libraries(&linked) {
            if self.libraries.insert(library.to_owned()) {
                self.put(library, &read(Path::new(library))?)?;
            }
        }
        Ok(())
    }
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
