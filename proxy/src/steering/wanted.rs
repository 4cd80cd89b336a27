//! What the configuration has a use for.

use proxy_common::TcpProfile;
use proxy_common::load::WORKERS_MAX;

use super::report::{Report, Standing};
use crate::config::flags::EbpfMode;
use crate::config::steer::Steer;
use crate::config::{Config, LogTarget, Refusal};

/// Each program as if it could be had.
pub(super) fn wanted(config: &Config) -> Report {
    if config.ebpf == EbpfMode::Off {
        return Report::all(&Standing::NotNeeded("ebpf is off"));
    }
    let workers = config.workers;
    let reuseport = match workers {
        0..=1 => Standing::NotNeeded("one worker serves all"),
        _ if workers > WORKERS_MAX as usize => {
            Standing::Missing(format!("more than {WORKERS_MAX} workers"))
        }
        _ => Standing::Attached(format!("chooses among {workers} workers")),
    };
    let refuses = config.refuse.map(|Refusal { rate, .. }| {
        let text = format!("refuses sources over {rate} connections a second");
        Standing::Attached(text)
    });
    let refusal = refuses.unwrap_or(Standing::NotNeeded("no refuse_rate"));
    let lookup = match (steers(config), &refusal) {
        (Some(steers), Standing::Attached(refuses)) => {
            Standing::Attached(format!("{steers}, {refuses}"))
        }
        (Some(steers), _) => Standing::Attached(steers),
        (None, Standing::Attached(refuses)) => Standing::Attached(refuses.clone()),
        (None, _) => Standing::NotNeeded("no refuse_rate, no steer"),
    };
    let profiles = match has_profile(config) {
        true => Standing::Attached("set on each connection that is established".into()),
        false => Standing::NotNeeded("no tcp_profile"),
    };
    let counts = reuseport.is_attached() || refusal.is_attached();
    let sockops = match counts || tells_ends(config) || profiles.is_attached() {
        true => Standing::Attached(String::new()),
        false => Standing::NotNeeded("nobody asks for its counts"),
    };
    Report {
        reuseport,
        sockops,
        lookup,
        refusal,
        profiles,
    }
}

/// What sk_lookup does besides refusing.
pub(super) fn steers(config: &Config) -> Option<String> {
    let count: usize = config.steer.iter().map(Steer::count).sum();
    (count > 0).then(|| format!("gives {count} ports to listeners"))
}

/// Whether ends of connections are written down.
pub(super) fn tells_ends(config: &Config) -> bool {
    !matches!(config.observe.connection_log, LogTarget::Off)
}

fn has_profile(config: &Config) -> bool {
    profiles(config).any(|profile| profile != TcpProfile::default())
}

/// The TCP settings of all connections.
pub(super) fn profiles(config: &Config) -> impl Iterator<Item = TcpProfile> {
    let listeners = config.tcp_profiles.iter().copied();
    listeners.chain(config.origin_profiles())
}
