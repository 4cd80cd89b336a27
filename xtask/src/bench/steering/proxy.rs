//! A Herald of this bench: the whole job, with what a part adds, here or in a namespace.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::super::machine;
use super::super::process::{self, Group};
use super::Lab;
use crate::command::Failure;

/// What to start.
pub(super) struct Site<'a> {
    pub(super) binary: &'a Path,
    /// Names its log.
    pub(super) name: &'a str,
    /// Its certificate: `server`, or `server-rsa`.
    pub(super) server: &'a str,
    pub(super) listen: &'a [SocketAddr],
    pub(super) origin: SocketAddr,
    pub(super) workers: usize,
    pub(super) arguments: &'a [&'a str],
}

impl Site<'_> {
    /// Starts it by `command`, which is given the program and its arguments, and waits until it
    /// listens.
    pub(super) fn start(
        &self,
        lab: &Lab,
        command: impl FnOnce(&Path) -> Command,
    ) -> Result<Group, Failure> {
        let pki = |name: &str| lab.programs.pki.join(name);
        let mut command = command(self.binary);
        command.arg("run");
        for listen in self.listen {
            command.args(["--listen", &listen.to_string()]);
        }
        command
            .arg("--cert")
            .arg(pki(&format!("{}.pem", self.server)));
        command
            .arg("--key")
            .arg(pki(&format!("{}.key", self.server)));
        command.arg("--client-ca").arg(pki("ca.pem"));
        command.args(["--upstream", &format!("http://{}", self.origin)]);
        command.args(["--client-auth", "required"]);
        command.args(["--workers", &self.workers.to_string()]);
        command.args(self.arguments);
        let log = lab.programs.work.join(format!("{}.log", self.name));
        process::log_to(&mut command, &log)?;
        let mut group = Group::start(command)?;
        let port = self.listen.first().map_or(0, SocketAddr::port);
        await_port(&mut group, port, &log)?;
        Ok(group)
    }
}

/// A command that runs a program here.
pub(super) fn here(program: &Path) -> Command {
    process::pinned(program, None)
}

/// Waits until something listens on a port in the network namespace that the group is in: connecting
/// would count against a limit on connections.
pub(super) fn await_port(group: &mut Group, port: u16, log: &Path) -> Result<(), Failure> {
    let table = format!("/proc/{}/net/tcp", group.child.id());
    // proc_net_tcp: the local port in hexadecimal, the remote end, and 0A, which is LISTEN.
    let wanted = format!(":{port:04X} 00000000:0000 0A ");
    let patience = Instant::now() + PATIENCE;
    loop {
        let ended = group.child.try_wait().ok().flatten();
        if ended.is_some() || Instant::now() > patience {
            let said = machine::read(&log.display().to_string()).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(3).collect();
            return Err(Failure::new(format!(
                "nobody listens on port {port}: {}",
                last.join(" | ")
            )));
        }
        if machine::read(&table).is_ok_and(|table| table.contains(&wanted)) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
