//! Checks of what the kernel programs do with connections. A setting that nothing would keep is a
//! mistake.

use std::net::SocketAddr;

use proxy_common::{SERVICES_MAX, TcpProfile};

use super::Checks;
use crate::config::flags::{EbpfMode, Flags};
use crate::config::steer::Steer;

impl Checks<'_> {
    pub(super) fn steering(&mut self, flags: &Flags) {
        self.needs_ebpf(flags);
        self.steer(&flags.steering.steer, &flags.listen);
        let mut seen = Vec::new();
        for (index, profile) in flags.steering.tcp_profile.iter().enumerate() {
            if seen.contains(&profile.listener) {
                let message = match profile.listener {
                    Some(listener) => format!("{listener} has two profiles"),
                    None => "there are two profiles for all listeners".to_owned(),
                };
                self.add("tcp_profile", index, message, "one for each listener");
            }
            seen.push(profile.listener);
            if let Some(listener) = profile.listener {
                self.listener("tcp_profile", index, listener, &flags.listen);
            }
        }
    }

    fn needs_ebpf(&mut self, flags: &Flags) {
        if flags.ebpf != EbpfMode::Off {
            return;
        }
        let settings = &flags.steering;
        for (key, is_given) in [
            ("refuse_rate", flags.refuse_rate.is_some()),
            ("steer", !settings.steer.is_empty()),
            ("ebpf_objects", settings.ebpf_objects.is_some()),
            ("tcp_profile", !settings.tcp_profile.is_empty()),
            (
                "upstream_tcp_profile",
                flags.upstream.upstream_tcp_profile.is_some(),
            ),
        ] {
            if is_given {
                let message = format!("the kernel is to do {key}, but ebpf is off");
                self.add(key, 0, message, "ebpf auto or require");
            }
        }
    }

    fn steer(&mut self, steer: &[Steer], listen: &[SocketAddr]) {
        if !steer.is_empty() && listen.len() > SERVICES_MAX as usize {
            let message = format!("{} listeners are too many to steer to", listen.len());
            let allowed = format!("at most {SERVICES_MAX}");
            self.add("steer", 0, message, &allowed);
        }
        let total: usize = steer.iter().map(Steer::count).sum();
        if total > PORTS_MAX {
            let message = format!("{total} ports are too many, counted for each address");
            let allowed = format!("at most {PORTS_MAX}");
            self.add("steer", 0, message, &allowed);
        }
        for (index, one) in steer.iter().enumerate() {
            self.listener("steer", index, one.listener, listen);
            if let Some(own) = listen.iter().find(|own| one.covers(**own)) {
                let message = format!("{own} is a listener of its own");
                self.add("steer", index, message, "ports that nobody here listens on");
            }
        }
    }

    fn listener(&mut self, key: &str, index: usize, listener: SocketAddr, listen: &[SocketAddr]) {
        if !listen.contains(&listener) {
            let message = format!("{listener} is no listener");
            self.add(
                key,
                index,
                message,
                "an address of listen, as it stands there",
            );
        }
    }
}

/// The settings of each listener, in their order.
pub(super) fn profiles(flags: &Flags) -> Vec<TcpProfile> {
    let of = |listener: Option<SocketAddr>| {
        let mut profiles = flags.steering.tcp_profile.iter();
        profiles.find(|profile| profile.listener == listener)
    };
    let profile = |listener: &SocketAddr| of(Some(*listener)).or_else(|| of(None));
    let of_each = flags.listen.iter().map(profile);
    of_each
        .map(|profile| {
            profile
                .map(|profile| profile.settings.0)
                .unwrap_or_default()
        })
        .collect()
}

/// What the kernel's table of addresses holds, less room for listeners.
const PORTS_MAX: usize = 65_000;
