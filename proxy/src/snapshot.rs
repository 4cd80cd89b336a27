//! What the configuration means, compiled: keys, trust, mapping, names. Immutable and swapped
//! whole; compiling reports every mistake at once, and what it returns is sound altogether.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::caller::{Judge, Standing, Standings};
use crate::config::{ClientAuth, Config, LogFormat, Mistakes};
use crate::headers::{Forwarding, Hygiene, Mapping};
use crate::http::serve;
use crate::identity::{self, Facts, OnFailure, Variable, VariableSet};
use crate::telemetry::access::Certificate;
use crate::telemetry::{Identity, reason::VerdictKind};
use crate::tls::{HandshakeLimits, ReasonStyle, TrustStore, Verdict};
use crate::upstream;

mod compile;

/// A compiled configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// Who may pass.
    pub client_auth: ClientAuth,
    /// The rustls configuration.
    pub tls: Arc<ServerConfig>,
    /// Name tables; each worker takes its own copy.
    pub hygiene: Hygiene,
    /// What the origin is told of the way a request came.
    pub forwarding: Forwarding,
    /// Where requests go, at least one.
    pub origins: Vec<upstream::Origin>,
    /// How they go there.
    pub upstream: upstream::Settings,
    /// At which interval the names of origins are resolved again.
    pub resolve_interval: Duration,
    /// The origins, as records name them.
    origin_labels: Box<[String]>,
    /// Stands in for the Host an HTTP/1.0 client leaves out.
    pub fallback_authority: HeaderValue,
    /// Limits of every stage.
    pub limits: Limits,
    trust: Option<Arc<TrustStore>>,
    reject_at_tls: bool,
    mapping: Mapping,
    reason_style: ReasonStyle,
    on_failure: OnFailure,
    standings: Standings,
    /// The format of records, where any are written.
    records: Option<LogFormat>,
}

/// The limits of every stage of the data path.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Handshakes.
    pub handshake: HandshakeLimits,
    /// Client connections.
    pub http: serve::Limits,
    /// Most bytes of a request's body, if there is a limit.
    pub body_max: Option<u64>,
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

    /// How records name the origin of this number; without a number, the only one there is.
    pub fn origin_label(&self, number: Option<usize>) -> Option<&str> {
        let label = match (number, &*self.origin_labels) {
            (Some(number), labels) => labels.get(number)?,
            (None, [only]) => only,
            (None, _) => return None,
        };
        Some(label)
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
        let origins: Vec<_> = self.origins.iter().map(ToString::to_string).collect();
        let (origins, names) = (origins.join(" or "), names.join(", "));
        format!("The origin at {origins} is told: {names}.\n{trust}\n")
    }
}

impl Snapshot {
    /// What records say of a caller.
    fn identity(&self, facts: &Facts<'_>) -> Identity {
        let verdict = match facts.verdict {
            Verdict::None => VerdictKind::None,
            Verdict::Success(_) => VerdictKind::Success,
            Verdict::Failed(_) => VerdictKind::Failed,
        };
        let Some(format) = self.records else {
            return Identity::counted(verdict);
        };
        let facts = Facts {
            on_failure: OnFailure::Send,
            ..*facts
        };
        let wanted = [
            Variable::Verified,
            Variable::SubjectDn,
            Variable::Serial,
            Variable::FingerprintSha256,
        ];
        let values = identity::values(&facts, VariableSet::from_iter(wanted));
        let verified = values.get(Variable::Verified).unwrap_or_default();
        let certificate = Certificate {
            subject: values.get(Variable::SubjectDn),
            serial: values.get(Variable::Serial),
            fingerprint: values.get(Variable::FingerprintSha256),
        };
        Identity::rendered(verdict, format, verified, certificate)
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
            identity: self.identity(&facts),
            verdict,
            block,
            fingerprint: chain.first().map(|leaf| Sha256::digest(leaf).into()),
            holds_until,
        }
    }

    fn standings(&self) -> &Standings {
        &self.standings
    }
}
