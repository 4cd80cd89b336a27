//! Debian's kernels: the newest of each series, by apt with an index and a cache of its own.
//!
//! apt checks the indexes' signatures with Debian's archive keys and each package's digest with
//! the index; the machine's own package lists and what is installed on it stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, Failure};

/// apt's private state below `target/vm`.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    busybox: PathBuf,
}

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// What `uname -r` will say.
    pub(super) release: String,
    /// The package's version: Debian's 6.1 kernels tell the patch level only here.
    pub(super) version: String,
    pub(super) image: PathBuf,
    /// The folder with the modules.
    pub(super) modules: PathBuf,
}

/// A package of the index.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Package {
    name: String,
    version: String,
    digest: String,
}

impl Store {
    /// Refreshes the indexes; without a network those of an earlier run do.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let mut store = Self {
            folder: folder.to_owned(),
            busybox: PathBuf::new(),
        };
        for part in [
            "apt/state/lists/partial",
            "apt/cache/archives/partial",
            "kernels",
        ] {
            fs::create_dir_all(folder.join(part)).map_err(|error| cannot(folder, &error))?;
        }
        store.configure()?;
        if let Err(problem) = command::run(store.apt("apt-get").args(["update", "-q"])) {
            println!("{problem}; going on with the indexes of an earlier run");
        }
        let packages = store.packages(&["busybox-static".to_owned()])?;
        let busybox =
            newest(packages).ok_or_else(|| Failure::new("the index has no busybox-static"))?;
        let unpacked = store.unpacked(&[busybox])?;
        let program = find(&unpacked, &|name| name == "busybox");
        store.busybox = program.ok_or_else(|| Failure::new("busybox-static has no busybox"))?;
        Ok(store)
    }

    /// A statically linked busybox.
    pub(super) fn busybox(&self) -> &Path {
        &self.busybox
    }

    /// The newest kernel of `series` (`6.1`, `7.x`), fetched and unpacked unless it already is.
    pub(super) fn get(&self, series: &str) -> Result<Kernel, Failure> {
        let names = command::read(self.apt("apt-cache").args(["pkgnames", "linux-"]))?;
        let names: Vec<_> = names
            .lines()
            .filter(|name| is_image(name, series))
            .map(str::to_owned)
            .collect();
        let image = newest(self.packages(&names)?);
        let image =
            image.ok_or_else(|| Failure::new(format!("the indexes have no kernel {series}")))?;
        let release = release_of(&image.name).unwrap_or_default().to_owned();
        // Since 7.2 Debian packages modules apart from the image, in the same version.
        let mut packages = self.packages(&[format!("linux-modules-{release}")])?;
        packages.retain(|package| package.version == image.version);
        packages.truncate(1);
        packages.insert(0, image.clone());
        let folder = self.unpacked(&packages)?;
        let found = find(&folder, &|name| name.starts_with("vmlinuz"));
        let modules = ["usr/lib/modules", "lib/modules"]
            .map(|part| folder.join(part).join(&release).join("kernel"))
            .into_iter()
            .find(|path| path.is_dir());
        match (found, modules) {
            (Some(file), Some(modules)) => Ok(Kernel {
                release,
                version: image.version,
                image: file,
                modules,
            }),
            _ => Err(Failure::new(format!(
                "{} has no image or no modules",
                image.name
            ))),
        }
    }

    /// Writes apt's configuration. The mirror is the machine's own.
    fn configure(&self) -> Result<(), Failure> {
        let targets = command::read(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(LABEL) $(REPO_URI)",
            "Identifier: Packages",
        ]))?;
        let mirror = |label: &str| {
            let lines = targets.lines().filter_map(|line| line.split_once(' '));
            lines
                .filter(|(name, _)| *name == label)
                .map(|(_, uri)| uri.to_owned())
                .next()
        };
        let main = mirror("Debian").ok_or_else(|| {
            Failure::new("apt knows no Debian mirror here (run `apt-get update` once)")
        })?;
        let mut sources = String::new();
        for (uri, suites) in [
            (Some(main), &SUITES[..]),
            (mirror("Debian-Security"), &SECURITY),
        ] {
            let Some(uri) = uri else { continue };
            for suite in suites {
                sources.push_str(&format!(
                    "deb [arch=amd64 signed-by={KEYRING}] {uri} {suite} main\n"
                ));
            }
        }
        let apt = self.folder.join("apt");
        let path = apt.display();
        let configuration = format!(
            "Dir::State \"{path}/state\";\nDir::State::status \"{path}/status\";\n\
             Dir::Cache \"{path}/cache\";\nDir::Etc::sourcelist \"{path}/sources.list\";\n\
             Dir::Etc::sourceparts \"-\";\nDir::Etc::preferences \"{path}/none\";\n\
             Dir::Etc::preferencesparts \"{path}/none\";\nAcquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::Retries \"3\";\nAPT::Sandbox::User \"root\";\n"
        );
        let write = |name: &str, text: &str| {
            let file = apt.join(name);
            fs::write(&file, text).map_err(|error| cannot(&file, &error))
        };
        write("status", "")?;
        write("sources.list", &sources)?;
        write("apt.conf", &configuration)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.folder.join("apt/apt.conf"))
            .env("LC_ALL", "C");
        command
    }

    /// What the index says of each name; names it does not know are left out.
    fn packages(&self, names: &[String]) -> Result<Vec<Package>, Failure> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let output = self
            .apt("apt-cache")
            .arg("show")
            .args(names)
            .output()
            .map_err(|error| Failure::new(format!("apt-cache cannot be run: {error}")))?;
        // It fails as a whole when one name is unknown, and has shown the others.
        Ok(parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// The folder into which `packages` are unpacked together.
    fn unpacked(&self, packages: &[Package]) -> Result<PathBuf, Failure> {
        let Some(first) = packages.first() else {
            return Err(Failure::new("no package to unpack"));
        };
        let folder = self.folder.join("kernels").join(&first.name);
        let stamp = folder.join("stamp");
        let wanted: String = packages
            .iter()
            .map(|package| format!("{}={} {}\n", package.name, package.version, package.digest))
            .collect();
        if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == wanted) {
            return Ok(folder);
        }
        let downloads = folder.join("downloads");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| cannot(&folder, &error))?;
        }
        fs::create_dir_all(&downloads).map_err(|error| cannot(&downloads, &error))?;
        let named = packages
            .iter()
            .map(|package| format!("{}={}", package.name, package.version));
        command::run(
            self.apt("apt-get")
                .current_dir(&downloads)
                .args(["-q", "download"])
                .args(named),
        )?;
        for entry in fs::read_dir(&downloads).map_err(|error| cannot(&downloads, &error))? {
            let entry = entry.map_err(|error| cannot(&downloads, &error))?;
            command::run(
                Command::new("dpkg-deb")
                    .arg("-x")
                    .arg(entry.path())
                    .arg(&folder),
            )?;
        }
        fs::remove_dir_all(&downloads).map_err(|error| cannot(&downloads, &error))?;
        fs::write(&stamp, wanted).map_err(|error| cannot(&stamp, &error))?;
        Ok(folder)
    }
}

/// True for the image of a cloud kernel of `series`; 6.1 is not 6.12, and `7.x` is any 7.
fn is_image(name: &str, series: &str) -> bool {
    let (Some(release), Some(start)) = (release_of(name), series_start(series)) else {
        return false;
    };
    numbers(release).starts_with(&start)
}

/// The release in the name of an image's package: `linux-image-6.12.9+deb13-cloud-amd64-unsigned`
/// up to 7.1, `linux-binary-unsigned-7.3.4+deb13-cloud-amd64` since.
fn release_of(name: &str) -> Option<&str> {
    let release = name
        .strip_prefix("linux-image-")
        .and_then(|rest| rest.strip_suffix("-unsigned"))
        .or_else(|| name.strip_prefix("linux-binary-unsigned-"))?;
    let is_cloud =
        release.ends_with("-cloud-amd64") && release.starts_with(|c: char| c.is_ascii_digit());
    is_cloud.then_some(release)
}

fn series_start(series: &str) -> Option<Vec<u32>> {
    let numbers = numbers(series.strip_suffix(".x").unwrap_or(series));
    (!numbers.is_empty()).then_some(numbers)
}

/// The dotted numbers at the start of a version.
fn numbers(version: &str) -> Vec<u32> {
    let end = version
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(version.len());
    let head = version.get(..end).unwrap_or_default();
    head.split('.')
        .filter_map(|number| number.parse().ok())
        .collect()
}

fn newest(packages: Vec<Package>) -> Option<Package> {
    packages.into_iter().max_by_key(|package| {
        let version = package
            .version
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        (numbers(&version), version)
    })
}

fn parse(shown: &str) -> Vec<Package> {
    let stanza = |text: &str| {
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
            lines.next().map(|value| value.trim().to_owned())
        };
        Some(Package {
            name: field("Package:")?,
            version: field("Version:")?,
            digest: field("SHA256:")?,
        })
    };
    shown.split("\n\n").filter_map(stanza).collect()
}

/// The first file below `folder` whose name is `wanted`.
fn find(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).ok()?.flatten().collect();
    entries.sort_by_key(fs::DirEntry::path);
    let is_file = |entry: &&fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    let here = entries
        .iter()
        .filter(is_file)
        .find(|entry| entry.file_name().to_str().is_some_and(wanted));
    here.map(fs::DirEntry::path).or_else(|| {
        entries
            .iter()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .find_map(|entry| find(&entry.path(), wanted))
    })
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const SUITES: [&str; 4] = ["bookworm", "trixie", "trixie-backports", "sid"];
const SECURITY: [&str; 2] = ["bookworm-security", "trixie-security"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_told_by_whole_numbers() {
        let old = "linux-image-6.1.0-50-cloud-amd64-unsigned";
        let stable = "linux-image-6.12.117+deb13-cloud-amd64-unsigned";
        let new = "linux-binary-unsigned-7.3.4+deb13-cloud-amd64";
        for (name, series) in [(old, "6.1"), (stable, "6.12"), (new, "7.x")] {
            for other in ["6.1", "6.12", "7.x"] {
                assert_eq!(is_image(name, other), other == series, "{name} {other}");
            }
        }
        assert!(!is_image("linux-image-6.1.0-50-cloud-amd64-dbg", "6.1"));
        assert!(!is_image("linux-binary-7.3.4+deb13-cloud-amd64", "7.x"));
        assert!(!is_image("linux-image-cloud-amd64-unsigned", "6.1"));
    }

    #[test]
    fn the_newest_is_found_by_numbers_and_not_by_spelling() {
        let shown = "Package: a\nVersion: 6.12.99-1\nSHA256: 1\n\nPackage: b\nVersion: 6.12.117-1\nSHA256: 2\n\
                     \nPackage: c\nVersion: 6.12.117-1~bpo12+1\nSHA256: 3\n";
        assert_eq!(newest(parse(shown)).unwrap().name, "c");
        let shown = "Package: a\nVersion: 6.12.99-1\nSHA256: 1\n\nPackage: b\nVersion: 6.12.117-1\nSHA256: 2\n";
        assert_eq!(newest(parse(shown)).unwrap().name, "b");
    }
}
