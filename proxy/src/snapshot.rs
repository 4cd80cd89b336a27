//! What the configuration means, compiled: keys, trust, mapping, names. Immutable and swapped
//! whole; compiling reports every mistake at once, and what it returns is sound altogether.

use std::sync::Arc;

use http::HeaderValue;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

use crate::caller::{Judge, Standing, Standings};
use crate::config::{ClientAuth, Config, Mistakes};
use crate::headers::{Hygiene, Mapping};
use crate::http::serve;
use crate::identity::{self, Facts, OnFailure};
use crate::tls::{HandshakeLimits, ReasonStyle, TrustStore, Verdict};
use crate::upstream::{self, UpstreamTarget};

mod compile;
mod kernel;

pub use kernel::KernelPart;

/// A compiled configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// Who may pass.
    pub client_auth: ClientAuth,
    /// The rustls configuration.
    pub tls: Arc<ServerConfig>,
    /// Name tables; each worker takes its own copy.
    pub hygiene: Hygiene,
    /// Where requests go.
    pub upstream: UpstreamTarget,
    /// Stands in for the Host an HTTP/1.0 client leaves out.
    pub fallback_authority: HeaderValue,
    /// Limits of every stage.
    pub limits: Limits,
    /// What the kernel does of TLS.
    pub kernel_tls: KernelPart,
    trust: Option<Arc<TrustStore>>,
    reject_at_tls: bool,
    mapping: Mapping,
    reason_style: ReasonStyle,
    on_failure: OnFailure,
    standings: Standings,
}

/// The limits of every stage of the data path.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Handshakes.
    pub handshake: HandshakeLimits,
    /// Client connections.
    pub http: serve::Limits,
    /// Connections to the origin.
    pub upstream: upstream::Limits,
}

impl Snapshot {
    /// Reads what `config` names and compiles it. An empty or unreadable trust store is a mistake
    /// like any other: Herald never falls back to other roots (CVE-2026-27586).
    pub fn compile(config: &Config) -> Result<Self, Mistakes> {
        compile::compile(config)
    }

    /// Whether a connection may be served at all: with TLS-level rejection a certificate that does
    /// not verify ends it, also when a resumed session skipped the verifier.
    pub fn admits(&self, verdict: &Verdict) -> bool {
        !self.reject_at_tls || matches!(verdict, Verdict::Success(_))
    }

    /// What `herald check` tells beyond the settings: what was found behind the names.
    pub fn summary(&self) -> String {
        let names: Vec<_> = self.mapping.names().collect();
        let trust = self.trust.as_ref().map_or_else(
            || "No client certificate is asked for.".to_owned(),
            |trust| {
                let count = trust.len();
                format!("Client certificates must lead to one of {count} CA certificate(s).")
            },
        );
        let (upstream, names) = (&self.upstream, names.join(", "));
        let kernel = self.kernel_tls.told();
        format!("The origin at {upstream} is told: {names}.\n{trust}\n{kernel}\n")
    }
}

impl Judge for Snapshot {
    fn judge(&self, chain: &[CertificateDer<'static>], now: u64) -> Standing {
        let (verdict, holds_until) = match (chain.first(), &self.trust) {
            (Some(_), Some(trust)) => {
                let judgement = trust.judge(chain, now);
                (judgement.verdict, judgement.holds_until)
            }
            _ => (Verdict::None, u64::MAX),
        };
        let facts = Facts {
            leaf: chain.first().map(|leaf| leaf.as_ref()),
            verdict: &verdict,
            style: self.reason_style,
            on_failure: self.on_failure,
            now,
        };
        let values = identity::values(&facts, self.mapping.wanted());
        let block = self.mapping.render(&values);
        let holds_until = holds_until.min(block.holds_until);
        Standing {
            verdict,
            block,
            holds_until,
        }
    }

    fn standings(&self) -> &Standings {
        &self.standings
    }
}
