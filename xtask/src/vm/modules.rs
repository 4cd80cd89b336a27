//! The kernel modules that a guest loads, in an order in which each finds what it depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::Failure;

/// A module's name and content, ready for `insmod`.
pub(super) type Module = (String, Vec<u8>);

/// What tests need. A name that a kernel does not have is built in there or came later; the tests
/// themselves tell whether a feature is missing.
const WANTED: [&str; 18] = [
    // Kernel TLS and its ciphers, generic and for x86.
    "tls",
    "gcm",
    "ctr",
    "ghash_generic",
    "ghash_clmulni_intel",
    "aesni_intel",
    "chacha",
    "chacha_generic",
    "chacha_x86_64",
    "poly1305",
    "poly1305_generic",
    "poly1305_x86_64",
    "chacha20poly1305",
    // Sockets by netlink, virtual links and their filters.
    "inet_diag",
    "tcp_diag",
    "veth",
    "dummy",
    "sch_ingress",
];

/// Reads the modules below `folder`.
pub(super) fn collect(folder: &Path) -> Result<Vec<Module>, Failure> {
    let mut paths = BTreeMap::new();
    index(folder, &mut paths);
    let mut walk = Walk {
        paths,
        seen: BTreeSet::new(),
        loaded: Vec::new(),
    };
    for name in WANTED {
        walk.add(name)?;
    }
    Ok(walk.loaded)
}

struct Walk {
    paths: BTreeMap<String, PathBuf>,
    seen: BTreeSet<String>,
    loaded: Vec<Module>,
}

impl Walk {
    /// Depth first: what `name` depends on comes before it.
    fn add(&mut self, name: &str) -> Result<(), Failure> {
        if !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = self.paths.get(name) else {
            return Ok(());
        };
        let content = read(path)?;
        for needed in depends(&content) {
            self.add(&needed)?;
        }
        self.loaded.push((name.to_owned(), content));
        Ok(())
    }
}

fn index(folder: &Path, paths: &mut BTreeMap<String, PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            index(&path, paths);
        } else if let Some((name, _)) = path
            .file_name()
            .and_then(OsStr::to_str)
            .and_then(|name| name.split_once(".ko"))
        {
            paths.insert(name.replace('-', "_"), path);
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    let packed = |program: &str| {
        let output = Command::new(program)
            .arg("-dc")
            .arg(path)
            .output()
            .map_err(unreadable)?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(Failure::new(format!(
                "{program} cannot unpack {}",
                path.display()
            )))
        }
    };
    match path.extension().and_then(OsStr::to_str) {
        Some("xz") => packed("xz"),
        Some("zst") => packed("zstd"),
        _ => fs::read(path).map_err(unreadable),
    }
}

/// The names in the module's own `depends=` line, as `modinfo` would show it.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module.get(at + KEY.len()..).unwrap_or_default();
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_what_it_depends_on() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("net");
        fs::create_dir(&below).unwrap();
        let write = |name: &str, info: &str| fs::write(below.join(name), info).unwrap();
        write("tls.ko", "ELF\0license=GPL\0depends=lib-a,veth\0name=tls\0");
        write("lib-a.ko", "ELF\0depends=\0");
        write("veth.ko", "ELF\0depends=lib_a\0");
        let names: Vec<_> = collect(folder.path())
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["lib_a", "veth", "tls"]);
    }
}
