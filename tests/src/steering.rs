//! A herald with all the kernel programs that its configuration has a use for, and what those programs, its admin socket
//! and its sockets tell.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;

use proxy_common::Counter;
use serde_json::Value;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::bulk::socket_to;
use crate::client::{Client, Settings};
use crate::gate;
use crate::herald::{Herald, Launch};
use crate::kernel::{self, CAP_BPF, CAP_NET_ADMIN};
use crate::origin::Origin;
use crate::records::Folder;

/// Such a herald, with logs and an admin socket, before an origin.
#[derive(Debug)]
pub struct Scene {
    pub folder: Folder,
    pub herald: Herald,
    pub origin: Origin,
}

impl Scene {
    /// A program that is of use and can't be had ends the start.
    pub fn new(workers: usize, arguments: &[&str]) -> Self {
        let (origin, folder) = (Origin::echo(), Folder::default());
        let launch = Launch::new("optional", origin.address()).workers(workers);
        let arguments = ["--ebpf=require"].iter().chain(arguments);
        let herald = folder.launch(launch.args(arguments.copied())).start();
        Self {
            folder,
            herald,
            origin,
        }
    }

    /// How often this was decided.
    pub fn decided(&self, counter: Counter) -> u64 {
        decided(&self.folder, counter)
    }

    /// Connections open, by worker.
    pub fn open(&self) -> Vec<u64> {
        let status = status(&self.folder);
        let workers = status["workers"].as_array().unwrap().iter();
        workers
            .map(|worker| worker["connections_open"].as_u64().unwrap())
            .collect()
    }

    /// Ends of connections that the kernel told, by what became of that.
    pub fn ends(&self, outcome: &str) -> u64 {
        let series = format!("herald_close_events_total{{outcome=\"{outcome}\"}}");
        self.folder.metric(&series)
    }
}

/// How often the programs of the herald whose admin socket is in `folder` decided this.
pub fn decided(folder: &Folder, counter: Counter) -> u64 {
    let name = counter.name();
    folder.metric(&format!(
        "herald_kernel_decisions_total{{decision=\"{name}\"}}"
    ))
}

/// What `herald status` shows.
pub fn status(folder: &Folder) -> Value {
    let (_, status) = folder.ask("/status");
    serde_json::from_str(&status).unwrap()
}

/// Whether this program or setting is in use, and how, or why not, by the status.
pub fn standing(folder: &Folder, name: &str) -> (bool, String) {
    let status = status(folder);
    let features = status["features"].as_array().unwrap();
    let name = format!("eBPF steering: {name}");
    let feature = features.iter().find(|feature| feature["name"] == *name);
    let feature = feature.unwrap_or_else(|| panic!("{name}: {features:?}"));
    let reason = feature["reason"].as_str().unwrap_or_default();
    (feature["active"] == true, reason.to_owned())
}

/// Connects, from `source` if one is given.
///
/// # Errors
///
/// Those of the kernel.
pub fn connect(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// A client of whoever answers at `address`.
///
/// # Errors
///
/// Those of the connection and the handshake.
pub fn dial(address: &str) -> io::Result<Client> {
    Client::connect(address.parse().unwrap(), &Settings::default().build())
}

/// Herald's socket to `peer` has this congestion control and this limit on what waits unsent.
pub fn expect_profile(herald: &Herald, peer: SocketAddr, expected: (&str, u32)) {
    let socket = socket_to(herald, peer);
    let socket = SockRef::from(&socket);
    let name = socket.tcp_congestion().unwrap();
    let name = String::from_utf8(name).unwrap();
    let name = name.trim_end_matches('\0');
    let lowat = socket.tcp_notsent_lowat().unwrap();
    assert_eq!((name, lowat), expected, "{peer}");
}

/// True where the programs can be loaded.
pub fn may(test: &str) -> bool {
    gate::require(
        test,
        "CAP_BPF and CAP_NET_ADMIN",
        kernel::may(&[CAP_BPF, CAP_NET_ADMIN]),
    )
}

/// A shell's words to enter a control group and become what follows.
pub fn enters(group: &Path) -> String {
    let processes = group.join("cgroup.procs");
    format!("echo $$ > {} && {EXEC}", processes.display())
}

/// A shell's words to become what follows.
pub const EXEC: &str = "exec \"$0\" \"$@\"";
