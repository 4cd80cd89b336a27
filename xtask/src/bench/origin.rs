//! The origin, and how many requests it has answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::machine::Machine;
use super::process::{self, Group};
use super::programs::Programs;
use crate::command::Failure;

pub(super) struct Origin {
    pub(super) address: SocketAddr,
    pub(super) group: Group,
}

impl Origin {
    pub(super) fn start(programs: &Programs, machine: &Machine) -> Result<Self, Failure> {
        let address = process::free_address()?;
        let log = programs.work.join("origin.log");
        let mut command = process::pinned(&programs.origin, machine.load_cores);
        command.args(["--listen", &address.to_string()]);
        process::log_to(&mut command, &log)?;
        let mut group = Group::start(command)?;
        group.await_listener(address, &log)?;
        Ok(Self { address, group })
    }

    /// Requests answered since it started.
    pub(super) fn count(&self) -> Result<u64, Failure> {
        self.ask_count()
            .map_err(|error| Failure::new(format!("the origin's count: {error}")))
    }

    fn ask_count(&self) -> std::io::Result<u64> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.write_all(b"GET /count HTTP/1.1\r\nHost: origin\r\n\r\n")?;
        socket.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let number = answer
            .rsplit("\r\n\r\n")
            .next()
            .and_then(|body| body.parse().ok());
        number.ok_or_else(|| std::io::Error::other("no number"))
    }
}
