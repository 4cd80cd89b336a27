//! From a configuration to a snapshot: reads the files it names, collects every mistake.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::danger::ClientCertVerifier;

use super::kept::Kept;
use super::{Application, KernelPart, Snapshot};
use crate::caller::Standings;
use crate::config::{
    self, ApplicationConfig, ClientAuth, Config, CrlMode, LogFormat, LogTarget, Mistake, Mistakes,
    Origin, ReasonSpelling,
};
use crate::files::{FileError, Files};
use crate::headers::{Hygiene, Mapping, Preset};
use crate::hosts::Hosts;
use crate::http::Upgrades;
use crate::identity::{OnFailure, XfccBy};
use crate::tls;
use crate::tls::context::{self, ContextError, Settings};
use crate::tls::{
    AtHandshake, ClientVerifier, ReasonStyle, StoreError, TicketSecrets, Tickets, TrustStore,
    TrustStores,
};

mod limits;
mod origins;
mod policies;
mod revocation;
mod tickets;
mod workers;

use revocation::{Kind, Lists};

pub(super) fn compile(
    config: &Config,
    files: &Files,
    kernel_tls: Arc<KernelPart>,
    own: Option<TicketSecrets>,
) -> Result<Snapshot, Mistakes> {
    let mut compiler = Compiler {
        taps_keys: kernel_tls.level().is_some(),
        reading: files,
        mistakes: Vec::new(),
        files: HashMap::new(),
        anonymous: HashMap::new(),
        groups: HashMap::new(),
        tickets: HashMap::new(),
        secrets: None,
    };
    let own_secrets = own
        .map_or_else(TicketSecrets::random, Ok)
        .map_err(tickets::no_secrets)?;
    compiler.secrets = compiler.secrets(config, &own_secrets);
    let stores = compiler.stores(config);
    let (applications, hosts) = compiler.applications(config, &stores);
    if !compiler.mistakes.is_empty() {
        return Err(Mistakes(compiler.mistakes));
    }
    let applications: Box<[Arc<Application>]> = applications.into_iter().map(Arc::new).collect();
    let Some(default) = applications.first().cloned() else {
        return Err(Mistakes(Vec::new()));
    };
    let numbers = applications.iter();
    let numbers = numbers.map(|application| (application.name.clone(), application.number));
    let names = applications
        .iter()
        .flat_map(|application| application.names());
    let allowed = config.allow_header_names.iter().map(String::as_str);
    Ok(Snapshot {
        generation: 0,
        kept: Kept::between(&[], &applications),
        default,
        names: numbers.collect(),
        hosts,
        hygiene: Hygiene::new(names, allowed),
        upgrades: Upgrades::new(config.client.upgrades()),
        forwarding: limits::forwarding(config),
        resolve_interval: config.upstream.upstream_resolve.0,
        fallback_authority: origins::authority(config)?,
        limits: limits::limits(config),
        kernel_tls,
        standings: Standings::new(config.callers_max),
        own_secrets,
        records: records(config),
        applications,
    })
}

/// The files of a store of `client_ca`, and how its lists are read.
type Anonymous = ([Vec<PathBuf>; 3], bool);

/// The number of a trust.
type Group = usize;

/// What compiling applications has made so far: what several of them name is read once.
#[derive(Debug)]
struct Compiler<'f> {
    /// Whether the kernel may be given keys.
    taps_keys: bool,
    /// Where files are read.
    reading: &'f Files,
    mistakes: Vec<Mistake>,
    files: HashMap<PathBuf, Vec<u8>>,
    /// Stores of `client_ca`, by their files and those of revocation.
    anonymous: HashMap<Anonymous, Arc<TrustStore>>,
    /// The number of each trust, by the digests of its stores.
    groups: HashMap<Vec<[u8; 32]>, Group>,
    /// Tickets by trust and mode.
    tickets: HashMap<[u8; 32], Arc<Tickets>>,
    /// What they are derived from; `None` where sessions are not resumed.
    secrets: Option<TicketSecrets>,
}

impl Compiler<'_> {
    /// All applications, and the table of their hosts if there are any but the only one.
    fn applications(
        &mut self,
        config: &Config,
        stores: &[Option<Arc<TrustStore>>],
    ) -> (Vec<Application>, Option<Hosts>) {
        let mut applications = Vec::with_capacity(config.applications.len().max(1));
        let mut hosts = None;
        if config.applications.is_empty() {
            let only = self.application(config, 0, "default", None);
            if let Some(only) = &only {
                policies::forward_something(config, (only, &[]), &mut self.mistakes);
            }
            applications.extend(only);
        } else {
            let mut table = Hosts::default();
            for (number, application) in config.applications.iter().enumerate() {
                for pattern in &application.hosts {
                    table.insert(pattern, number);
                }
                applications.extend(self.named(application, number, stores));
            }
            hosts = Some(table);
        }
        (applications, hosts)
    }

    fn application(
        &mut self,
        config: &Config,
        number: usize,
        name: &str,
        named: Option<TrustStores>,
    ) -> Option<Application> {
        let before = self.mistakes.len();
        let mapping = mapping(config, &mut self.mistakes);
        let trust = self.trust_of(config, named).map(Arc::new);
        let origins = origins::compile(config, self.reading, &mut self.mistakes);
        let health_check = origins::health_check(config, &mut self.mistakes);
        let denied_page = self.denied_page(config);
        let chain_pem = self.read(&config.cert, || config.origin("cert", 0));
        let key_pem = self.read(&config.key, || config.origin("key", 0));
        let sound = self.mistakes.len() == before;
        let (Some(mapping), Some(chain_pem), Some(key_pem), Some(origins), true) =
            (mapping, chain_pem, key_pem, origins, sound)
        else {
            return None;
        };
        let by = own_uris(&chain_pem);
        let digests = trust
            .as_ref()
            .map(|trust| trust.digests())
            .unwrap_or_default();
        let tickets = self.tickets_for(config, &digests);
        let next = self.groups.len();
        let group = *self.groups.entry(digests).or_insert(next);
        let tls = context::server_config(Settings {
            chain_pem,
            key_pem,
            verifier: trust.as_ref().map(|trust| verifier(config, trust)),
            tls12: config.tls12,
            resumption: tickets.is_some(),
            taps_keys: self.taps_keys,
        })
        .map_err(|error| self.mistakes.push(pair_mistake(config, &error)))
        .ok()?;
        Some(Application {
            number,
            name: name.to_owned(),
            client_auth: config.client_auth,
            tls: Arc::new(tls),
            tickets,
            origin_labels: origins.iter().map(ToString::to_string).collect(),
            origins_digest: origins::digest(config, name, self.reading),
            origins,
            health_check,
            upstream: origins::settings(config),
            denied_page,
            rules: None,
            forwarders: policies::forwarders(config, &mut self.mistakes),
            workers: Box::default(),
            group,
            trust,
            reject_at_tls: config.reject_at_tls,
            mapping: mapping.by(&by, !config.client.trusted_forwarder.is_empty()),
            reason_style: match config.reason_spelling {
                ReasonSpelling::Openssl1 => ReasonStyle::Openssl1,
                ReasonSpelling::Openssl3 => ReasonStyle::Openssl3,
            },
            on_failure: match config.on_failure {
                config::OnFailure::Omit => OnFailure::Omit,
                config::OnFailure::Send => OnFailure::Send,
            },
        })
    }

    /// One of several: the stores it trusts, its policies, its workers. `None` for one with a mistake.
    fn named(
        &mut self,
        application: &ApplicationConfig,
        number: usize,
        stores: &[Option<Arc<TrustStore>>],
    ) -> Option<Application> {
        let own = application.trusts.iter();
        // What is wrong with a store has been told where it is defined.
        let own: Vec<_> = own
            .map(|at| stores.get(*at)?.clone())
            .collect::<Option<_>>()?;
        let trust = own
            .split_first()
            .map(|(first, others)| TrustStores::new(Arc::clone(first), others.to_vec()));
        let (name, settings) = (&application.name, &application.settings);
        let rules = policies::rules(application, &mut self.mistakes);
        let compiled = self.application(settings, number, name, trust)?;
        let workers = workers::compile(application, &compiled, &mut self.mistakes);
        policies::forward_something(settings, (&compiled, &workers), &mut self.mistakes);
        Some(Application {
            rules,
            workers,
            ..compiled
        })
    }

    fn denied_page(&mut self, config: &Config) -> Option<Arc<str>> {
        let path = config.denied_page.as_ref()?;
        let origin = || config.origin("denied_page", 0);
        let bytes = self.read(path, origin)?;
        match String::from_utf8(bytes) {
            Ok(page) if !page.is_empty() && page.len() <= PAGE_MAX => Some(page.into()),
            _ => {
                let message = format!("{} is no page", path.display());
                let allowed = "HTML of 1 byte to 64 KiB, UTF-8";
                self.mistakes.push(Mistake::new(origin(), message, allowed));
                None
            }
        }
    }

    /// The named stores, in the order of the configuration; `None` for one with a mistake.
    fn stores(&mut self, config: &Config) -> Vec<Option<Arc<TrustStore>>> {
        let trusts = config.trusts.iter();
        trusts
            .map(|trust| {
                let origin =
                    |index: usize| trust.origins.get(index).cloned().unwrap_or(Origin::Default);
                let store = self.store(&trust.name, &trust.ca, origin)?;
                let paths = |placed: &[(PathBuf, Origin)]| -> Vec<PathBuf> {
                    placed.iter().map(|(path, _)| path.clone()).collect()
                };
                let origin = |kind, index: usize| {
                    let placed = match kind {
                        Kind::List => &trust.crl,
                        Kind::Denied => &trust.revoked,
                    };
                    placed
                        .get(index)
                        .map_or(Origin::Default, |(_, at)| at.clone())
                };
                let lists = Lists {
                    lists: &paths(&trust.crl),
                    denied: &paths(&trust.revoked),
                    mode: trust.crl_mode,
                    origin: &origin,
                };
                self.with_lists(store, &lists).map(Arc::new)
            })
            .collect()
    }

    /// What an application's callers must lead to: its named stores, else its `client_ca`.
    fn trust_of(&mut self, config: &Config, named: Option<TrustStores>) -> Option<TrustStores> {
        match (config.client_auth, named) {
            (ClientAuth::Off, _) => None,
            (_, Some(named)) => Some(named),
            (_, None) => Some(TrustStores::new(self.trust(config)?, Vec::new())),
        }
    }

    /// The store of `client_ca`.
    fn trust(&mut self, config: &Config) -> Option<Arc<TrustStore>> {
        let revocation = &config.revocation;
        let files = [
            &config.client_ca,
            &revocation.client_crl,
            &revocation.client_revoked,
        ];
        let key = (
            files.map(Clone::clone),
            revocation.crl_mode == CrlMode::Soft,
        );
        if let Some(known) = self.anonymous.get(&key) {
            return Some(Arc::clone(known));
        }
        let origin = |index| config.origin("client_ca", index);
        let store = self.store(STORE_NAME, &config.client_ca, origin)?;
        let origin = |kind, index| match kind {
            Kind::List => config.origin("client_crl", index),
            Kind::Denied => config.origin("client_revoked", index),
        };
        let lists = Lists {
            lists: &revocation.client_crl,
            denied: &revocation.client_revoked,
            mode: revocation.crl_mode,
            origin: &origin,
        };
        let store = Arc::new(self.with_lists(store, &lists)?);
        self.anonymous.insert(key, Arc::clone(&store));
        Some(store)
    }

    fn store(
        &mut self,
        name: &str,
        files: &[PathBuf],
        origin: impl Fn(usize) -> Origin,
    ) -> Option<TrustStore> {
        let before = self.mistakes.len();
        let mut pems: Vec<(PathBuf, Vec<u8>)> = Vec::with_capacity(files.len());
        for (index, path) in files.iter().enumerate() {
            if let Some(pem) = self.read(path, || origin(index)) {
                pems.push((path.clone(), pem));
            }
        }
        if self.mistakes.len() > before {
            return None;
        }
        TrustStore::load(name, &pems)
            .map_err(|error| {
                let index = files.iter().position(|path| Some(path) == at_fault(&error));
                let origin = origin(index.unwrap_or(0));
                let mistake = Mistake::new(origin, error.to_string(), "CA certificates, PEM");
                self.mistakes.push(mistake);
            })
            .ok()
    }

    /// Reads a file of the configuration: a regular one, of bounded size.
    fn read(&mut self, path: &Path, origin: impl FnOnce() -> Origin) -> Option<Vec<u8>> {
        if let Some(known) = self.files.get(path) {
            return Some(known.clone());
        }
        match self.reading.read(path, FILE_MAX) {
            Ok(bytes) => {
                self.files.insert(path.to_owned(), bytes.clone());
                Some(bytes)
            }
            Err(what) => {
                self.mistakes.push(unreadable(origin(), path, &what));
                None
            }
        }
    }
}

fn records(config: &Config) -> Option<LogFormat> {
    let off = config.observe.access_log == LogTarget::Off
        && config.observe.connection_log == LogTarget::Off;
    (!off).then_some(config.observe.access_log_format)
}

fn mapping(config: &Config, mistakes: &mut Vec<Mistake>) -> Option<Mapping> {
    let named = config.presets.iter().enumerate();
    let named = named.map(|(index, name)| (name.as_str(), config.origin("preset", index)));
    let presets = presets(named, mistakes);
    Mapping::compile(&presets, &config.headers)
        .map_err(|errors| {
            let found = errors
                .into_iter()
                .map(|error| Mistake::new(config.origin("header", error.entry), error.message, ""));
            mistakes.extend(found);
        })
        .ok()
}

/// The presets of these names, each with its place.
fn presets<'a>(
    named: impl Iterator<Item = (&'a str, Origin)>,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Preset> {
    let mut presets = Vec::new();
    for (name, origin) in named {
        match Preset::parse(name) {
            Some(preset) => presets.push(preset),
            None => {
                let known: Vec<_> = Preset::all().map(Preset::name).collect();
                let message = format!("`{}` is not a preset", name.escape_debug());
                mistakes.push(Mistake::new(origin, message, known.join(", ")));
            }
        }
    }
    presets
}

fn at_fault(error: &StoreError) -> Option<&PathBuf> {
    match error {
        StoreError::NoCertificate { file }
        | StoreError::BrokenPem { file, .. }
        | StoreError::OtherBlock { file, .. }
        | StoreError::Unusable { file, .. } => Some(file),
        _ => None,
    }
}

fn verifier(config: &Config, trust: &Arc<TrustStores>) -> Arc<dyn ClientCertVerifier> {
    let at_handshake = if config.reject_at_tls {
        AtHandshake::Reject
    } else {
        AtHandshake::Complete
    };
    // A client that is told the CA names would keep the very certificate back that is to be
    // forwarded with its failure.
    let name_authorities = config.client_auth != ClientAuth::ForwardFailed;
    let algorithms = tls::provider().signature_verification_algorithms;
    Arc::new(ClientVerifier::new(
        Arc::clone(trust),
        at_handshake,
        name_authorities,
        algorithms,
    ))
}

fn pair_mistake(config: &Config, error: &ContextError) -> Mistake {
    match error {
        ContextError::Key(_) => Mistake::new(
            config.origin("key", 0),
            format!("{}: {error}", config.key.display()),
            "a private key, PEM: PKCS #8, PKCS #1 or SEC 1, RSA, ECDSA or Ed25519",
        ),
        _ => Mistake::new(
            config.origin("cert", 0),
            format!("{}: {error}", config.cert.display()),
            "the server's certificate chain, PEM, leaf first, and the key that belongs to it",
        ),
    }
}

/// What elements of `x-forwarded-client-cert` say of Herald's own certificate.
fn own_uris(chain_pem: &[u8]) -> XfccBy {
    // What can't be read is told where the pair is made.
    let own = CertificateDer::from_pem_slice(chain_pem);
    own.map(|own| XfccBy::of(&own)).unwrap_or_default()
}

/// A file that one setting names, with a mistake at its place if it can't be read.
fn read(
    (config, files): (&Config, &Files),
    key: &str,
    index: usize,
    path: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Option<Vec<u8>> {
    files
        .read(path, FILE_MAX)
        .map_err(|what| mistakes.push(unreadable(config.origin(key, index), path, &what)))
        .ok()
}

fn unreadable(origin: Origin, path: &Path, what: &FileError) -> Mistake {
    let message = format!("{} can't be read: {what}", path.display());
    Mistake::new(origin, message, "a readable PEM file")
}

/// With flags alone there is one store.
const STORE_NAME: &str = "default";
/// It is sent to whoever is refused.
const PAGE_MAX: usize = 64 * 1024;
/// CA bundles of large fleets stay far below.
const FILE_MAX: u64 = 16 * 1024 * 1024;
