//! Valgrind's callgrind: programs under it, and what they have executed.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::process::{self, Group};
use super::super::programs::Programs;
use crate::command::{self, Failure};
use crate::test::Need;

/// What counts.
pub(super) const VALGRIND: Need = Need {
    program: "callgrind_control",
    probe: &["--version"],
    packages: &["valgrind"],
    why: "counts instructions",
};

/// What decides which code libraries choose. Valgrind shows every program the same processor, but
/// for AVX2, which it has if the machine has it.
pub(super) fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "x86_64-avx2".to_owned();
    }
    std::env::consts::ARCH.to_owned()
}

/// A program under callgrind; its path and arguments follow.
pub(super) fn command(programs: &Programs, name: &str) -> Command {
    let mut command = Command::new("valgrind");
    command.args(arguments(programs, name));
    command
}

/// Where a program's count is written at its end.
pub(super) fn output(programs: &Programs, name: &str) -> PathBuf {
    programs.work.join(format!("{name}.callgrind"))
}

fn arguments(programs: &Programs, name: &str) -> [String; 3] {
    let output = output(programs, name);
    [
        "--tool=callgrind".to_owned(),
        "--quiet".to_owned(),
        format!("--callgrind-out-file={}", output.display()),
    ]
}

/// Instructions in a file of callgrind's (its manual, "Callgrind Format Specification": `totals:`,
/// or `summary:` where a part of a run was written).
pub(super) fn total_of(file: &Path) -> Result<u64, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    let number = |line: &str| {
        let rest = line.strip_prefix("totals: ")?;
        rest.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    text.lines()
        .rev()
        .find_map(number)
        .ok_or_else(|| Failure::new(format!("{}: no totals", file.display())))
}

/// Herald under callgrind.
pub(super) struct Watched {
    pub(super) address: SocketAddr,
    group: Group,
    output: PathBuf,
    /// Callgrind numbers the files it writes on demand.
    dumps: Cell<u32>,
}

impl Watched {
    /// Starts it before `origin`, doing the job that the peers do.
    pub(super) fn start(programs: &Programs, origin: SocketAddr) -> Result<Self, Failure> {
        let address = process::free_address()?;
        let mut command = process::pinned(Path::new("valgrind"), None);
        command.args(arguments(programs, "herald"));
        command.arg(&programs.herald);
        command.args(["run", "--workers", "1", "--client-auth", "required"]);
        command.args(["--listen", &address.to_string()]);
        command.args(["--upstream", &format!("http://{origin}")]);
        let pki = |name: &str| programs.pki.join(name);
        command.arg("--cert").arg(pki("server.pem"));
        command.arg("--key").arg(pki("server.key"));
        command.arg("--client-ca").arg(pki("ca.pem"));
        // One request in a batch shows nothing of steering, and its programs want a capability.
        command.args(["--ebpf", "off"]);
        let log = programs.work.join("herald-counted.log");
        process::log_to(&mut command, &log)?;
        let mut group = Group::start(command)?;
        group.await_listener(address, &log)?;
        Ok(Self {
            address,
            group,
            output: output(programs, "herald"),
            dumps: Cell::new(0),
        })
    }

    /// Counts from here.
    pub(super) fn zero(&self) -> Result<(), Failure> {
        self.control("--zero")
    }

    /// Instructions since [`Self::zero`].
    pub(super) fn dump(&self) -> Result<u64, Failure> {
        self.control("--dump")?;
        self.dumps.set(self.dumps.get() + 1);
        let mut file = self.output.clone().into_os_string();
        file.push(format!(".{}", self.dumps.get()));
        total_of(Path::new(&file))
    }

    fn control(&self, action: &str) -> Result<(), Failure> {
        let process = self.group.child.id().to_string();
        command::read(Command::new("callgrind_control").args([action, &process])).map(drop)
    }
}
