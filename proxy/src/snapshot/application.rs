//! One application, compiled: who may pass, whom it trusts, what its origin is told.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::caller::{Judge, Standing, Standings};
use crate::config::{ClientAuth, LogFormat};
use crate::headers::{HeaderBlock, Mapping};
use crate::identity::{self, Attributes, Facts, OnFailure, Variable, VariableSet};
use crate::policy::rules::Selector;
use crate::policy::{Pattern, Rules};
use crate::telemetry::identity::Certificate;
use crate::telemetry::{Identity, reason::VerdictKind};
use crate::tls::{ReasonStyle, Tickets, TrustStores, Verdict};
use crate::upstream;

/// A compiled application.
#[derive(Debug)]
pub struct Application {
    /// Its place among the applications.
    pub number: usize,
    /// Its name, for people.
    pub name: String,
    /// Who may pass.
    pub client_auth: ClientAuth,
    /// What its clients are shown and asked for.
    pub(super) tls: Arc<ServerConfig>,
    /// The tickets of its trust and mode, if sessions are resumed.
    pub(super) tickets: Option<Arc<Tickets>>,
    /// Where requests go, at least one.
    pub origins: Vec<upstream::Origin>,
    /// How they go there.
    pub upstream: upstream::Settings,
    /// How they are checked, if they are.
    pub health_check: Option<upstream::HealthCheck>,
    /// The page of a 403, if it has one of its own.
    pub denied_page: Option<Arc<str>>,
    /// Its policies, if it has any.
    pub rules: Option<Rules>,
    /// Of which its callers' certificates must meet one for what they say of their own clients to be
    /// sent on.
    pub(super) forwarders: Box<[Selector]>,
    /// The same for applications whose requests may share connections to their origins: a digest of
    /// the name and of all that makes the origins what they are.
    pub origins_digest: [u8; 32],
    /// Which applications a connection may ask for: those with the same number have the same trust.
    pub(super) group: usize,
    /// The origins, as records name them.
    pub(super) origin_labels: Box<[String]>,
    pub(super) trust: Option<Arc<TrustStores>>,
    pub(super) reject_at_tls: bool,
    pub(super) mapping: Mapping,
    /// What its origin is told on some paths instead, the first that matches.
    pub(super) workers: Box<[Worker]>,
    pub(super) reason_style: ReasonStyle,
    pub(super) on_failure: OnFailure,
}

/// Paths, and what the origin is told of callers there.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) paths: Box<[Pattern]>,
    pub(super) mapping: Mapping,
}

impl Application {
    /// Whether anything depends on paths, so that they must have one form.
    pub fn has_path_rules(&self) -> bool {
        !self.workers.is_empty() || self.rules.as_ref().is_some_and(Rules::have_paths)
    }

    /// The trust stores, if certificates are asked for.
    pub fn trust(&self) -> Option<&TrustStores> {
        self.trust.as_deref()
    }

    /// The number of the worker for a canonical path, if there is one.
    pub fn worker_of(&self, path: &[u8]) -> Option<usize> {
        self.workers
            .iter()
            .position(|worker| worker.paths.iter().any(|known| known.matches(path)))
    }

    /// All names of headers that its origin may be sent.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.mappings().flat_map(Mapping::names)
    }

    fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        let workers = self.workers.iter().map(|worker| &worker.mapping);
        std::iter::once(&self.mapping).chain(workers)
    }

    /// Whether a connection may be served at all: with TLS-level rejection a certificate that does
    /// not verify ends it, also when a resumed session skipped the verifier.
    pub fn admits(&self, verdict: &Verdict) -> bool {
        !self.reject_at_tls || matches!(verdict, Verdict::Success(_))
    }

    /// Whether what was verified for a connection of this application is what `asked` would have
    /// verified: a certificate was asked for or was not, and measured by the same stores.
    pub fn agrees(&self, asked: &Self) -> bool {
        self.group == asked.group
    }

    /// What one client is shown and asked for. A copy a connection: its tickets are its own.
    pub fn server(&self) -> Arc<ServerConfig> {
        let Some(tickets) = &self.tickets else {
            return Arc::clone(&self.tls);
        };
        let mut config = ServerConfig::clone(&self.tls);
        config.ticketer = tickets.of_connection();
        Arc::new(config)
    }

    /// Whether its clients are asked for a certificate.
    pub fn asks(&self) -> bool {
        self.trust.is_some()
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

    /// What was found behind the names.
    pub(super) fn summary(&self) -> String {
        let names: Vec<_> = self.mapping.names().collect();
        let trust = self.trust.as_ref().map_or_else(
            || "No client certificate is asked for.".to_owned(),
            |trust| {
                let count = trust.certificates();
                let revoked = trust.revocation_summary();
                format!(
                    "Client certificates must lead to one of {count} CA certificate(s).{revoked}"
                )
            },
        );
        let workers = match self.workers.len() {
            0 => "",
            _ => " Some paths have other headers.",
        };
        let origins: Vec<_> = self.origins.iter().map(ToString::to_string).collect();
        let (origins, names) = (origins.join(" or "), names.join(", "));
        format!("The origin at {origins} is told: {names}.{workers}\n{trust}\n")
    }
}

/// An application as the judge of callers.
#[derive(Clone, Copy, Debug)]
pub struct Judging<'a> {
    pub(super) application: &'a Application,
    pub(super) standings: &'a Standings,
    /// The format of records, where any are written.
    pub(super) records: Option<LogFormat>,
}

impl Judge for Judging<'_> {
    fn application(&self) -> usize {
        self.application.number
    }

    fn judge(&self, chain: &[CertificateDer<'static>], now: u64) -> Standing {
        let application = self.application;
        let (verdict, holds_until) = match (chain.first(), &application.trust) {
            (Some(_), Some(trust)) => {
                let judgement = trust.judge(chain, now);
                (judgement.verdict, judgement.holds_until)
            }
            _ => (Verdict::None, u64::MAX),
        };
        let facts = Facts {
            leaf: chain.first().map(|leaf| leaf.as_ref()),
            verdict: &verdict,
            style: application.reason_style,
            on_failure: application.on_failure,
            now,
        };
        let wanted = application.mappings().map(Mapping::wanted);
        let values = identity::values(&facts, wanted.fold(VariableSet::EMPTY, VariableSet::union));
        let block = application.mapping.render(&values);
        let workers = application.workers.iter();
        let workers: Box<[HeaderBlock]> = workers
            .map(|worker| worker.mapping.render(&values))
            .collect();
        let holds_until = std::iter::once(&block)
            .chain(&workers)
            .fold(holds_until, |least, block| least.min(block.holds_until));
        let is_asked = application.rules.is_some() || !application.forwarders.is_empty();
        let attributes = match (chain.first(), &verdict) {
            (Some(leaf), Verdict::Success(path)) if is_asked => Some(Attributes::of(leaf, path)),
            _ => None,
        };
        let rules = application.rules.as_ref();
        let met = rules.map(|rules| rules.standing(attributes.as_ref()));
        let is_one = |attributes: &Attributes| {
            let mut forwarders = application.forwarders.iter();
            forwarders.any(|selector| selector.holds(Some(attributes)))
        };
        Standing {
            met: met.unwrap_or_default(),
            forwards: attributes.as_ref().is_some_and(is_one),
            identity: identity(&facts, self.records),
            verdict,
            block,
            workers,
            fingerprint: chain.first().map(|leaf| Sha256::digest(leaf).into()),
            holds_until,
        }
    }

    fn standings(&self) -> &Standings {
        self.standings
    }
}

/// What records say of a caller.
fn identity(facts: &Facts<'_>, records: Option<LogFormat>) -> Identity {
    let verdict = match facts.verdict {
        Verdict::None => VerdictKind::None,
        Verdict::Success(_) => VerdictKind::Success,
        Verdict::Failed(_) => VerdictKind::Failed,
    };
    let Some(format) = records else {
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
        Variable::TrustStore,
        Variable::RootDn,
    ];
    let values = identity::values(&facts, VariableSet::from_iter(wanted));
    let verified = values.get(Variable::Verified).unwrap_or_default();
    let certificate = Certificate {
        subject: values.get(Variable::SubjectDn),
        serial: values.get(Variable::Serial),
        fingerprint: values.get(Variable::FingerprintSha256),
        trust_store: values.get(Variable::TrustStore),
        root: values.get(Variable::RootDn),
    };
    Identity::rendered(verdict, format, verified, certificate)
}
