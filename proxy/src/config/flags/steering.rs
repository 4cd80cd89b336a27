//! Settings of what the kernel programs do with connections besides choosing a worker.

use std::path::PathBuf;

use clap::Args;

use crate::config::steer::Steer;
use crate::config::tcp::ListenerSettings;

/// The kernel's part in connections.
#[derive(Args, Clone, Debug)]
pub struct SteeringFlags {
    /// Ports of an address, and the address of --listen that the kernel gives their connections to:
    /// `0.0.0.0:8000-8999=0.0.0.0:443`. `0.0.0.0` and `[::]` are all addresses of this host; who else
    /// listens on such a port gets nothing more. Repeatable.
    #[arg(
        long,
        value_name = "ADDR:PORTS=LISTENER",
        help_heading = "Workers and limits"
    )]
    pub steer: Vec<Steer>,

    /// TCP settings that the kernel makes on clients' connections, some of
    /// `congestion=NAME,notsent_lowat=SIZE,initial_window=SEGMENTS`; with `@ADDR:PORT`, on those of
    /// that listener alone. Repeatable.
    #[arg(
        long,
        value_name = "SETTINGS[@LISTENER]",
        help_heading = "Workers and limits"
    )]
    pub tcp_profile: Vec<ListenerSettings>,

    /// Folder with kernel objects to load instead of the built-in ones, steering.bpf.o and
    /// balance.bpf.o; what those of `cargo xtask ebpf build --debug` tell of each decision is logged
    /// at level debug. A program of it that can't be had is told as one of the built-in ones
    /// [default: none].
    #[arg(long, value_name = "DIR", help_heading = "Workers and limits")]
    pub ebpf_objects: Option<PathBuf>,
}
