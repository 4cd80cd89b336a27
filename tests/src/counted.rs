//! A herald that loads no programs, whose connections a test's programs count, so that the test reads their tables.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use aya::maps::Array;
use proxy_common::SocketMark;
use proxy_common::mark::ROLE_CLIENT;
use socket2::SockRef;

use crate::bulk;
use crate::herald::{Herald, Launch};
use crate::kernel;
use crate::origin::Origin;
use crate::programs::Programs;
use crate::steering::enters;
use crate::wait;

/// The herald, which listens for IPv4 and IPv6, in a group of its own, and the programs.
#[derive(Debug)]
pub struct Counted {
    pub programs: Programs,
    pub herald: Herald,
    worker: u32,
    _origin: Origin,
    group: PathBuf,
}

impl Counted {
    /// What its listeners are marked with, as a client's. The worker is one a test.
    pub fn with(mark: SocketMark) -> Self {
        let worker = mark.worker;
        let name = format!("herald-counted-{}-{worker}", std::process::id());
        let group = kernel::cgroup2().join(name);
        fs::create_dir(&group).unwrap();
        let mut programs = Programs::load(1).on(&group);
        let origin = Origin::echo();
        let herald = Launch::new("optional", origin.address())
            .args(["--ebpf=off", "--listen=[::1]:0"])
            .under(["sh", "-c", &enters(&group)])
            .start();
        let role = ROLE_CLIENT;
        for address in herald.addresses() {
            let listener = bulk::listener_at(&herald, address);
            programs.mark(&listener, SocketMark { role, ..mark });
        }
        Self {
            programs,
            herald,
            worker,
            _origin: origin,
            group,
        }
    }

    /// Connections of this worker.
    pub fn by(worker: u32) -> Self {
        Self::with(SocketMark {
            worker,
            ..SocketMark::default()
        })
    }

    /// Waits until so many connections of its worker live.
    pub fn awaits(&mut self, expected: u64) {
        wait::until(&format!("{expected} to live"), || {
            let live: Array<_, u64> = self.programs.map("LIVE");
            (live.get(&self.worker, 0).unwrap() == expected).then_some(())
        });
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.herald.signal("-KILL");
        self.herald.terminate();
        wait::until("the group to be empty", || fs::remove_dir(&self.group).ok());
    }
}

/// Its end will be RST.
pub fn reset(connection: &TcpStream) {
    let linger = Some(Duration::ZERO);
    SockRef::from(connection).set_linger(linger).unwrap();
}
