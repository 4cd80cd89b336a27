//! What the kernel does of TLS: from the operator's wish and a probe to what is in force, and the
//! words for both.

use std::sync::Arc;

use crate::config::{Config, Ktls};
use crate::tls::kernel::{Decision, Finding, KernelTls, Level, Wish, decide};

/// What the kernel does of TLS, and why not more.
#[derive(Debug)]
pub struct KernelPart {
    in_force: Option<Arc<KernelTls>>,
    wish: Wish,
    told: String,
}

impl KernelPart {
    /// Probes this kernel, unless nothing was asked for.
    pub(super) fn decide(config: &Config) -> Self {
        let wish = match config.kernel.ktls {
            Ktls::Auto => Wish::Auto,
            Ktls::Off => Wish::Off,
            Ktls::Tx => Wish::Transmit,
            Ktls::Splice => Wish::Splice,
        };
        if wish == Wish::Off {
            return Self {
                in_force: None,
                wish,
                told: "Kernel TLS is off.".to_owned(),
            };
        }
        let finding = Finding::probe();
        let decision = decide(wish, &finding);
        let in_force = decision.level.zip(finding.ability.as_ref().ok());
        let in_force = in_force.map(|(level, ability)| {
            KernelTls::new(level, config.kernel.ktls_min_body.0 as u64, *ability)
        });
        Self {
            told: told(&finding, &decision),
            in_force,
            wish,
        }
    }

    /// Kernel TLS as it is in force.
    pub fn level(&self) -> Option<&Arc<KernelTls>> {
        self.in_force.as_ref()
    }

    /// What was found and decided, a sentence for people.
    pub fn told(&self) -> &str {
        &self.told
    }

    /// Whether anything was asked for, and less than that is in force.
    pub fn falls_short(&self) -> bool {
        match (self.wish, self.in_force.as_ref().map(|kernel| kernel.level)) {
            (Wish::Off | Wish::Auto, _) | (Wish::Transmit, Some(_)) => false,
            (Wish::Splice, level) => level != Some(Level::Splice),
            (Wish::Transmit, None) => true,
        }
    }
}

fn told(finding: &Finding, decision: &Decision) -> String {
    let level = match decision.level {
        None => "off",
        Some(Level::Transmit) => "tx",
        Some(Level::Splice) => "splice",
    };
    let mut told = format!("Kernel TLS is {level} on kernel {}", finding.release);
    if let Ok(ability) = &finding.ability {
        told.push_str(&format!(", which has {ability}"));
    }
    if let Some(reason) = &decision.reason {
        told.push_str(&format!("; not more because {reason}"));
    }
    told.push('.');
    told
}
