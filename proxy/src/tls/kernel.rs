//! Kernel TLS towards clients: after the handshake, and only for a large response, the kernel takes
//! over encryption (`TLS_TX`), and bodies may go from the origin's socket to the client's without
//! entering userspace. rustls goes on receiving and stays what everything falls back to.
//! Takes what was asked for and what the probe found, gives a [`KernelTls`], or `None` for never.

use std::sync::Arc;

mod counts;
mod gate;
mod keys;
mod lane;
mod pipe;
mod probe;
mod sender;

use counts::Counts;
pub use counts::{Refusal, Totals};
pub use gate::Gate;
pub use keys::{KeyTap, Keys, Secret, catch};
pub use lane::{Filled, Lane};
pub use probe::{Ability, Finding, Release};
pub use sender::Sender;

/// What the kernel may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Encrypt.
    Transmit,
    /// Encrypt, and move bodies from socket to socket.
    Splice,
}

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wish {
    /// [`Level::Splice`] where it is known to be good, else nothing.
    Auto,
    /// Nothing.
    Off,
    /// [`Level::Transmit`] if the kernel can.
    Transmit,
    /// [`Level::Splice`] if the kernel can, else [`Level::Transmit`].
    Splice,
}

/// Kernel TLS as it is in force, for all connections.
#[derive(Debug)]
pub struct KernelTls {
    /// What the kernel may do.
    pub level: Level,
    /// Response bodies of at least so many bytes are worth the hand-over.
    pub threshold: u64,
    /// What the kernel can do.
    pub ability: Ability,
    counts: Counts,
}

/// What was decided at the start, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// The level taken.
    pub level: Option<Level>,
    /// Why it is not a higher one.
    pub reason: Option<String>,
}

/// Decides which level `wish` comes to on a kernel that was probed as `finding`.
pub fn decide(wish: Wish, finding: &Finding) -> Decision {
    let off = |reason: String| Decision {
        level: None,
        reason: Some(reason),
    };
    if wish == Wish::Off {
        return Decision {
            level: None,
            reason: None,
        };
    }
    if wish == Wish::Auto
        && let Some(obstacle) = finding.release.obstacle_to_auto()
    {
        return off(obstacle);
    }
    let ability = match &finding.ability {
        Ok(ability) => ability,
        Err(problem) => return off(problem.clone()),
    };
    match (wish, ability.obstacle_to_splice(&finding.release)) {
        (Wish::Transmit | Wish::Off, _) => Decision {
            level: Some(Level::Transmit),
            reason: None,
        },
        (Wish::Splice, Some(obstacle)) => Decision {
            level: Some(Level::Transmit),
            reason: Some(obstacle),
        },
        (Wish::Auto, Some(obstacle)) => off(obstacle),
        (Wish::Auto | Wish::Splice, None) => Decision {
            level: Some(Level::Splice),
            reason: None,
        },
    }
}

impl KernelTls {
    /// Kernel TLS at `level`.
    pub fn new(level: Level, threshold: u64, ability: Ability) -> Arc<Self> {
        Arc::new(Self {
            level,
            threshold,
            ability,
            counts: Counts::default(),
        })
    }

    /// How it has fared so far.
    pub fn totals(&self) -> Totals {
        self.counts.totals()
    }

    /// Counts a refusal, and says the first of each kind: what keeps many connections in userspace
    /// would fill the log.
    fn refuse(&self, refusal: Refusal, detail: &str) {
        if self.counts.refuse(refusal) {
            tracing::info!(
                reason = refusal.label(),
                detail,
                "kernel TLS refused, userspace goes on; told once, counted always"
            );
        }
    }
}

#[cfg(test)]
mod tests;
