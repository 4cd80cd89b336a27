//! The compiler and linker of the kernel programs: Debian's packages, unpacked beside the system
//! under `target/ebpf`, which they leave as it is, and bpf-linker as cargo installs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{self, Failure};

/// A compiler and all it needs.
#[derive(Debug)]
pub(super) struct Toolchain {
    /// Where the packages are unpacked.
    place: PathBuf,
    linker: PathBuf,
    /// Versions, a line each: what decides the bytes of an object.
    pub(super) note: String,
}

impl Toolchain {
    /// Whether an earlier call got it, so that nothing would be downloaded.
    pub(super) fn is_here(folder: &Path) -> bool {
        folder.join("debian").join(DONE).exists() && folder.join("linker/bin/bpf-linker").exists()
    }

    /// Gets what is missing in `folder`.
    pub(super) fn get(root: &Path, folder: &Path) -> Result<Self, Failure> {
        let place = folder.join("debian");
        unpack(&place)?;
        let mut toolchain = Self {
            linker: folder.join("linker/bin/bpf-linker"),
            place,
            note: String::new(),
        };
        toolchain.get_linker(root, &folder.join("linker"))?;
        let compiler = command::read(toolchain.tool("usr/bin/rustc").arg("--version"))?;
        let linker = command::read(
            Command::new(&toolchain.linker)
                .envs(toolchain.libraries())
                .arg("--version"),
        )?;
        let mut llvm = toolchain.tool("usr/lib/llvm-22/bin/llvm-config");
        let llvm = command::read(llvm.arg("--version"))?;
        toolchain.note = format!(
            "{}\n{}\nLLVM {}\n",
            compiler.trim(),
            linker.trim(),
            llvm.trim()
        );
        Ok(toolchain)
    }

    /// Debian's cargo in `folder`, set up for the kernel's machine.
    pub(super) fn cargo(&self, folder: &Path) -> Command {
        let mut cargo = self.tool("usr/bin/cargo");
        cargo.current_dir(folder);
        cargo.env("RUSTC", self.place.join("usr/bin/rustc"));
        // aya-ebpf and our own atomics use inline assembly of this machine, which is not stable yet.
        cargo.env("RUSTC_BOOTSTRAP", "1");
        cargo
    }

    /// The flags of the compiler; paths of this machine do not reach the object.
    pub(super) fn flags(&self, root: &Path) -> Vec<String> {
        let home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| {
                let home = std::env::var_os("HOME")?;
                Some(PathBuf::from(home).join(".cargo"))
            });
        let mut flags = vec![
            "--cfg".to_owned(),
            "bpf_target_arch=\"x86_64\"".to_owned(),
            format!("-Clinker={}", self.linker.display()),
            "-Clink-arg=--btf".to_owned(),
            format!("--remap-path-prefix={}=herald", root.display()),
        ];
        if let Some(home) = home {
            flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
        }
        flags
    }

    /// Takes debug information but what the kernel reads out of an object.
    pub(super) fn strip(&self, object: &Path) -> Result<(), Failure> {
        let mut strip = self.tool("usr/lib/llvm-22/bin/llvm-strip");
        command::run(strip.arg("--strip-debug").arg(object))
    }

    fn tool(&self, path: &str) -> Command {
        tool(&self.place, path)
    }

    fn libraries(&self) -> [(&'static str, PathBuf); 1] {
        libraries(&self.place)
    }

    fn get_linker(&self, root: &Path, place: &Path) -> Result<(), Failure> {
        let wanted = format!("bpf-linker {LINKER}");
        let has = Command::new(&self.linker)
            .envs(self.libraries())
            .arg("--version")
            .output()
            .is_ok_and(|output| output.stdout.starts_with(wanted.as_bytes()));
        if has {
            return Ok(());
        }
        let tools = self.place.join("usr/lib/llvm-22/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)))
            .map_err(|error| Failure::new(format!("PATH: {error}")))?;
        command::run(
            command::cargo(root)
                .args(["install", "bpf-linker", "--version", LINKER, "--locked"])
                .args(["--no-default-features", "--features", "llvm-22", "--root"])
                .arg(place)
                .env("PATH", path)
                .env("LIBRARY_PATH", self.place.join(LIBRARIES))
                .envs(self.libraries()),
        )
    }
}

/// `llvm-profdata` alone.
pub(super) fn profdata(folder: &Path) -> Result<Command, Failure> {
    let place = folder.join("debian");
    unpack(&place)?;
    Ok(tool(&place, "usr/lib/llvm-22/bin/llvm-profdata"))
}

fn tool(place: &Path, path: &str) -> Command {
    let mut tool = Command::new(place.join(path));
    tool.envs(libraries(place)).stdin(Stdio::null());
    tool
}

fn libraries(place: &Path) -> [(&'static str, PathBuf); 1] {
    [("LD_LIBRARY_PATH", place.join(LIBRARIES))]
}

/// Downloads the packages and what they need, as if nothing were installed, and unpacks them.
fn unpack(place: &Path) -> Result<(), Failure> {
    if place.join(DONE).exists() {
        return Ok(());
    }
    println!("getting the eBPF toolchain from Debian's suites, once for this checkout");
    let at = |error| Failure::new(format!("{}: {error}", place.display()));
    fs::create_dir_all(place.join("archives/partial")).map_err(at)?;
    fs::write(place.join("status"), "").map_err(at)?;
    let shown = place.display();
    let configuration = format!(
        "Dir::State::status \"{shown}/status\";\nDir::Cache::archives \"{shown}/archives\";\n\
         Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n\
         APT::Install-Recommends \"false\";\nAPT::Sandbox::User \"root\";\n"
    );
    fs::write(place.join("apt.conf"), configuration).map_err(at)?;
    let download = || {
        let mut apt = Command::new("apt-get");
        apt.env("APT_CONFIG", place.join("apt.conf"))
            .args(["-qq", "install", "-y", "--download-only"])
            .args(PACKAGES)
            .stdout(Stdio::null());
        command::run(&mut apt)
    };
    if download().is_err() {
        command::run(Command::new("apt-get").args(["-qq", "update"]))?;
        download()?;
    }
    for archive in fs::read_dir(place.join("archives")).map_err(at)?.flatten() {
        let name = archive.file_name();
        let name = name.to_string_lossy();
        // The system's own C library and compiler run these programs and link the linker.
        if name.ends_with(".deb") && !SYSTEMS_OWN.iter().any(|own| name.starts_with(own)) {
            command::run(
                Command::new("dpkg")
                    .arg("-x")
                    .arg(archive.path())
                    .arg(place),
            )?;
        }
    }
    fs::write(place.join(DONE), "").map_err(at)
}

const PACKAGES: [&str; 8] = [
    "rustc-web",
    "cargo-web",
    "libstd-rust-web-dev-bpf",
    "llvm-22-dev",
    "libpolly-22-dev",
    "libzstd-dev",
    "zlib1g-dev",
    "libxml2-dev",
];
const SYSTEMS_OWN: [&str; 9] = [
    "libc6",
    "libc-",
    "linux-libc",
    "gcc",
    "cpp",
    "python3",
    "libpython",
    "binutils",
    "libgcc-",
];
const LINKER: &str = "0.13.0";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const DONE: &str = ".done";
