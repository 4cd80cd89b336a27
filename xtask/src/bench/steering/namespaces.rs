//! Two network namespaces and a pair of interfaces between them: a server's with an address in each
//! of two networks, and a clients'. Whoever connects to the first address comes from the first
//! network, whoever connects to the second from the second, so one program is any source.

use std::path::Path;
use std::process::Command;

use super::super::process;
use crate::command::{self, Failure};

/// Gone with this value, and what runs in them should be by then.
pub(super) struct Namespaces(());

#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Server,
    Clients,
}

impl Namespaces {
    pub(super) fn make() -> Result<Self, Failure> {
        // Those of a run that was killed would be in the way.
        remove();
        let made = Self(());
        for side in [Side::Server, Side::Clients] {
            ip(&format!("netns add {}", side.name()))?;
            ip(&format!("-n {} link set lo up", side.name()))?;
        }
        let (server, clients) = (Side::Server.name(), Side::Clients.name());
        ip(&format!(
            "link add veth0 netns {server} type veth peer name veth0 netns {clients}"
        ))?;
        for network in NETWORKS {
            ip(&format!("-n {server} addr add {network}.1/24 dev veth0"))?;
            ip(&format!("-n {clients} addr add {network}.2/24 dev veth0"))?;
        }
        for side in [server, clients] {
            ip(&format!("-n {side} link set veth0 up"))?;
        }
        // Ports of connections that have ended are not used again for a minute.
        let range = "echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range";
        let mut widen = Side::Clients.command(Path::new("sh"), None);
        command::run(widen.args(["-c", range]))?;
        Ok(made)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        remove();
    }
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Server => "herald-bench-server",
            Self::Clients => "herald-bench-clients",
        }
    }

    /// A command that runs a program there. `ip netns exec` would hide the control groups.
    pub(super) fn command(self, program: &Path, cores: Option<&str>) -> Command {
        let mut command = process::pinned(Path::new("nsenter"), cores);
        command.arg(format!("--net=/run/netns/{}", self.name()));
        command.arg("--").arg(program);
        command
    }
}

fn remove() {
    for side in [Side::Server, Side::Clients] {
        // There is nothing to remove most of the time.
        let _is_gone = command::succeeds(Command::new("ip").args(["netns", "del", side.name()]));
    }
}

fn ip(words: &str) -> Result<(), Failure> {
    command::run(Command::new("ip").args(words.split(' ')))
}

/// The server is `.1`, the clients are `.2`.
pub(super) const NETWORKS: [&str; 2] = ["10.77.1", "10.77.2"];
