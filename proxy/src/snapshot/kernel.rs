//! What the kernel does of TLS: from the operator's wish and a probe to what is in force, and the
//! words for both.

use std::sync::Arc;

use crate::config::{Config, Ktls};
use crate::telemetry::features::KERNEL_TLS;
use crate::telemetry::{Feature, KtlsCounts, Telemetry};
use crate::tls::kernel::{Decision, Finding, KernelTls, Level, Refusal, Totals, Wish, decide};

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
        let finding = Finding::probe(wish);
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

    /// Shows in status and metrics what was decided, and what becomes of it.
    pub fn report(&self, telemetry: &Telemetry) {
        let told = self.told.trim_end_matches('.');
        let reason = match self.wish {
            Wish::Off => "not asked for",
            _ => told.strip_prefix("Kernel TLS is ").unwrap_or(told),
        };
        telemetry.report(Feature::new(KERNEL_TLS, self.in_force.is_some(), reason));
        if let Some(kernel) = self.in_force.clone() {
            telemetry.ktls.ask(move || counts(&kernel.totals()));
        }
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

fn counts(totals: &Totals) -> KtlsCounts {
    let refusals = Refusal::ALL.iter().zip(totals.refused);
    KtlsCounts {
        offloads: totals.offloaded,
        rekeys: totals.rekeyed,
        spliced_bytes: totals.spliced,
        unspliced: totals.restored,
        refusals: refusals
            .map(|(refusal, count)| (refusal.label().to_owned(), count))
            .collect(),
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
