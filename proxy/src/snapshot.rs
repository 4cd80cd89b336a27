//! What the configuration means, compiled: applications, keys, trust, mappings, names. Immutable and
//! swapped whole; compiling reports every mistake at once, and what it returns is sound altogether.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::ServerConfig;

use crate::caller::Standings;
use crate::config::{Config, LogFormat, Mistake, Mistakes, Origin};
use crate::files::Files;
use crate::headers::{Forwarding, Hygiene};
use crate::hosts::Hosts;
use crate::http::{Upgrades, limits};
use crate::tls::{HandshakeLimits, TicketSecrets};

mod application;
mod compile;
mod kept;
mod kernel;
pub mod serving;

pub use kernel::KernelPart;
pub use serving::{Current, Serving, Succeeded, Succession};

pub use application::{Application, Judging};

use kept::Kept;

/// A compiled configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts the configurations that were compiled to be in force; the first is 1.
    pub generation: u64,
    /// The one for clients that name none or an unknown one.
    default: Arc<Application>,
    /// All of them by number, the default one first.
    applications: Box<[Arc<Application>]>,
    /// Whose origins are those of the generation before.
    kept: Kept,
    /// Their numbers by name.
    names: HashMap<String, usize>,
    /// Which application a host means; `None` where the only one answers for every host.
    hosts: Option<Hosts>,
    /// Name tables; each worker takes its own copy.
    pub hygiene: Hygiene,
    /// Protocols that clients may switch to.
    pub upgrades: Upgrades,
    /// What origins are told of the way a request came.
    pub forwarding: Forwarding,
    /// At which interval the names of origins are resolved again.
    pub resolve_interval: Duration,
    /// Stands in for the Host an HTTP/1.0 client leaves out.
    pub fallback_authority: HeaderValue,
    /// Limits of every stage.
    pub limits: Limits,
    /// What the kernel does of TLS.
    pub kernel_tls: Arc<KernelPart>,
    standings: Standings,
    /// What ticket keys are derived from where no file says it; as old as the process.
    own_secrets: TicketSecrets,
    /// The format of records, where any are written.
    records: Option<LogFormat>,
}

/// The limits of every stage of the data path.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Handshakes.
    pub handshake: HandshakeLimits,
    /// Client connections.
    pub http: limits::Limits,
    /// Answered exchanges in which neither body moves.
    pub exchange_idle: Duration,
    /// Tunnels in which nothing moves.
    pub tunnel_idle: Duration,
    /// Most bytes of a request's body, if there is a limit.
    pub body_max: Option<u64>,
}

impl Snapshot {
    /// Reads what `config` names and compiles it. An empty or unreadable trust store is a mistake
    /// like any other: Herald never falls back to other roots (CVE-2026-27586).
    /// What the kernel can do is asked anew only without a `previous` snapshot.
    pub fn compile(
        config: &Config,
        files: &Files,
        previous: Option<&Self>,
    ) -> Result<Self, Mistakes> {
        let kernel_tls = match previous {
            Some(previous) => Arc::clone(&previous.kernel_tls),
            None => Arc::new(KernelPart::decide(config)),
        };
        let generation = previous.map_or(0, |previous| previous.generation) + 1;
        let secrets = previous.map(|previous| previous.own_secrets.clone());
        let snapshot = compile::compile(config, files, kernel_tls, secrets)?;
        let before = previous.map_or(&[][..], Self::applications);
        let kept = Kept::between(before, &snapshot.applications);
        Ok(Self {
            generation,
            kept,
            ..snapshot
        })
    }

    /// The applications, by number.
    pub fn applications(&self) -> &[Arc<Application>] {
        &self.applications
    }

    /// The configuration of the only application, if the server name chooses nothing.
    pub fn only_server(&self) -> Option<Arc<ServerConfig>> {
        match self.hosts {
            None => Some(self.default.server()),
            Some(_) => None,
        }
    }

    /// The application of a handshake for `server_name`, with its number. A name that is missing or
    /// unknown means the default one, and no other.
    pub fn server_of(&self, server_name: Option<&str>) -> (usize, Arc<ServerConfig>) {
        let named = server_name.and_then(|name| self.find(name.as_bytes()));
        let application = named.unwrap_or(&self.default);
        (application.number, application.server())
    }

    /// The application of this number; the default one if there is none.
    pub fn application(&self, number: usize) -> &Arc<Application> {
        self.applications.get(number).unwrap_or(&self.default)
    }

    /// The application that a request's authority means, if any.
    pub fn application_of(&self, authority: &[u8]) -> Option<&Arc<Application>> {
        match self.hosts {
            None => Some(&self.default),
            Some(_) => self.find(authority),
        }
    }

    fn find(&self, host: &[u8]) -> Option<&Arc<Application>> {
        self.applications.get(self.hosts.as_ref()?.find(host)?)
    }

    /// The application of this name, if there is one.
    pub fn named(&self, name: &str) -> Option<&Arc<Application>> {
        self.applications.get(*self.names.get(name)?)
    }

    /// How `application` judges callers.
    pub fn judging<'a>(&'a self, application: &'a Application) -> Judging<'a> {
        Judging {
            application,
            standings: &self.standings,
            records: self.records,
        }
    }

    /// Looks whether every host still means the application that lists it, before this snapshot
    /// takes another's place.
    ///
    /// # Errors
    /// The applications that their own hosts do not lead to.
    pub fn check(&self, config: &Config) -> Result<(), Mistakes> {
        let mut mistakes = Vec::new();
        for (number, application) in config.applications.iter().enumerate() {
            for pattern in &application.hosts {
                let found = self.application_of(pattern.example().as_bytes());
                if found.is_none_or(|found| found.number != number) {
                    let message = format!("{pattern} does not lead to {}", application.name);
                    mistakes.push(Mistake::new(Origin::Default, message, ""));
                }
            }
        }
        match mistakes.is_empty() {
            true => Ok(()),
            false => Err(Mistakes(mistakes)),
        }
    }

    /// What `herald check` tells beyond the settings: what was found behind the names.
    pub fn summary(&self) -> String {
        let mut text = if self.hosts.is_none() {
            self.default.summary()
        } else {
            self.summary_of_applications()
        };
        text.push_str(self.kernel_tls.told());
        text.push('\n');
        text
    }

    fn summary_of_applications(&self) -> String {
        let mut text = String::new();
        for application in self.applications.iter().take(SUMMARY_MAX) {
            text.push_str(&format!("{}: {}", application.name, application.summary()));
        }
        if let more @ 1.. = self.applications.len().saturating_sub(SUMMARY_MAX) {
            text.push_str(&format!("and {more} more applications\n"));
        }
        text
    }
}

/// Applications summed up one by one; the rest is counted.
const SUMMARY_MAX: usize = 50;
