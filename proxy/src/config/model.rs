//! The validated configuration: plain types, every value within its bounds.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use proxy_common::TcpProfile;

use super::account::AccountFlags;
use super::flags::{
    ClientAuth, ClientFlags, CrlMode, EbpfMode, KernelFlags, LogLevel, OnFailure, ReasonSpelling,
    ResumptionFlags, RevocationFlags, UpstreamFlags,
};
use super::mistake::{Mistake, Origin};
use super::observe::ObserveFlags;
use super::steer::Steer;
use crate::hosts::HostPattern;
use crate::net::Network;

/// What Herald was asked to do. Made by [`Config::load`] or [`Config::from_flags`] alone.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on, at least one.
    pub listen: Vec<SocketAddr>,
    /// Own chain, PEM.
    pub cert: PathBuf,
    /// Own key, PEM.
    pub key: PathBuf,
    /// Client CAs, PEM; empty only with [`ClientAuth::Off`].
    pub client_ca: Vec<PathBuf>,
    /// The origins, at least one, and the connections to them.
    pub upstream: UpstreamFlags,
    /// Who may pass.
    pub client_auth: ClientAuth,
    /// Whether a TLS alert takes the place of 403.
    pub reject_at_tls: bool,
    /// The page of a 403.
    pub denied_page: Option<PathBuf>,
    /// Whether TLS 1.2 is spoken.
    pub tls12: bool,
    /// Names of presets.
    pub presets: Vec<String>,
    /// Header names and templates.
    pub headers: Vec<(String, String)>,
    /// What is told of failed certificates.
    pub on_failure: OnFailure,
    /// How reasons are spelled.
    pub reason_spelling: ReasonSpelling,
    /// Odd client header names that pass.
    pub allow_header_names: Vec<String>,
    /// What clients may do, and what is told of them.
    pub client: ClientFlags,
    /// Client certificates that count no more.
    pub revocation: RevocationFlags,
    /// Worker threads, at least one.
    pub workers: usize,
    /// Kernel programs.
    pub ebpf: EbpfMode,
    /// Kernel objects instead of the built-in ones.
    pub ebpf_objects: Option<PathBuf>,
    /// Connections a second that one source may complete, and how many at once.
    pub refuse: Option<Refusal>,
    /// Sources that are never refused.
    pub refuse_exempt: Vec<Network>,
    /// Addresses and ports whose connections the kernel gives to a listener.
    pub steer: Vec<Steer>,
    /// TCP settings of the connections of each listener.
    pub tcp_profiles: Vec<TcpProfile>,
    /// Client connections.
    pub max_connections: usize,
    /// Resumed TLS sessions.
    pub resumption: ResumptionFlags,
    /// Callers kept.
    pub callers_max: NonZeroUsize,
    /// Handshake deadline.
    pub handshake_timeout: Duration,
    /// Handshake bytes.
    pub handshake_max: usize,
    /// Request head deadline.
    pub head_timeout: Duration,
    /// Request head bytes.
    pub head_max: usize,
    /// Request head fields.
    pub head_fields_max: usize,
    /// Idle client connections.
    pub idle_timeout: Duration,
    /// HTTP/2 streams.
    pub http2_streams_max: u32,
    /// HTTP/2 stream window, bytes.
    pub http2_stream_window: u32,
    /// HTTP/2 connection window, bytes.
    pub http2_connection_window: u32,
    /// Drain deadline.
    pub drain_timeout: Duration,
    /// Folder by which the next instance takes over.
    pub handover: Option<PathBuf>,
    /// Who to become once the sockets are bound.
    pub account: AccountFlags,
    /// How long an idle HTTP/1.1 connection may send one more request at a stop.
    pub drain_idle_timeout: Duration,
    /// The kernel's part in TLS.
    pub kernel: KernelFlags,
    /// Log level.
    pub log_level: LogLevel,
    /// What is written down, and who may look in.
    pub observe: ObserveFlags,
    /// Named trust stores.
    pub trusts: Vec<TrustConfig>,
    /// The applications, the default one first; empty where the settings above are the only
    /// application, for every host.
    pub applications: Vec<ApplicationConfig>,
    pub(super) origins: Origins,
    /// The values in force as they would be written, by key, for the plan.
    pub(super) values: HashMap<String, Vec<String>>,
}

/// A named trust store.
#[derive(Clone, Debug)]
pub struct TrustConfig {
    /// Its name, the only one.
    pub name: String,
    /// CA certificates, PEM; at least one file.
    pub ca: Vec<PathBuf>,
    /// Where each file was named.
    pub origins: Vec<Origin>,
    /// Revocation lists, PEM or DER, each with its place.
    pub crl: Vec<(PathBuf, Origin)>,
    /// What a list that can't be relied on means.
    pub crl_mode: CrlMode,
    /// Lists of certificates to refuse, each with its place.
    pub revoked: Vec<(PathBuf, Origin)>,
}

/// One application among several.
#[derive(Clone, Debug)]
pub struct ApplicationConfig {
    /// Its name in records: given, or its first host name.
    pub name: String,
    /// The hosts it answers for, at least one, no other application's.
    pub hosts: Vec<HostPattern>,
    /// Indices into [`Config::trusts`]; empty where `client_ca` is the store.
    pub trusts: Vec<usize>,
    /// Its policies, in their order; without any the mode alone decides.
    pub policies: Vec<PolicyConfig>,
    /// Its workers, in their order.
    pub workers: Vec<WorkerConfig>,
    /// Whether policies only tell what they would do.
    pub shadow: bool,
    /// All its settings.
    pub settings: Config,
}

/// What the origin is told on some paths of an application.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Where it begins.
    pub origin: Origin,
    /// Patterns of paths, at least one.
    pub paths: Vec<Placed>,
    /// Whether its headers come beside those of the application, or in their place.
    pub adds: bool,
    /// Names of presets.
    pub presets: Vec<Placed>,
    /// Header names and templates, each with its place.
    pub headers: Vec<(Placed, String)>,
}

/// A text of the file and its place.
pub type Placed = (String, Origin);

/// A policy as it was written; its selectors are for `policy` to read.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    /// For people.
    pub name: String,
    /// What it does if it matches.
    pub action: PolicyAction,
    /// Patterns of paths; empty for all.
    pub paths: Vec<Placed>,
    /// Methods; empty for all.
    pub methods: Vec<Placed>,
    /// Selectors of which one must hold.
    pub include: Vec<Placed>,
    /// Selectors that must all hold.
    pub require: Vec<Placed>,
    /// Selectors of which none may hold.
    pub exclude: Vec<Placed>,
}

/// What a policy that matches does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PolicyAction {
    /// The request gets no answer: its connection ends.
    Abort,
    /// The request may pass.
    Allow,
    /// It may not.
    Block,
    /// It may pass whoever sends it.
    Bypass,
}

impl PolicyAction {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block => "block",
            Self::Abort => "abort",
            Self::Bypass => "bypass",
        }
    }
}

/// How fast one source may complete connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// A second.
    pub rate: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// Where each value of each key came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    given: HashMap<String, Vec<Origin>>,
    refused: HashSet<String>,
}

impl Origins {
    /// No origins yet; `refused` are the keys that were set wrongly.
    pub(super) fn refused(refused: HashSet<String>) -> Self {
        let given = HashMap::new();
        Self { given, refused }
    }

    pub(super) fn add(&mut self, key: &str, origin: Origin) {
        self.given.entry(key.to_owned()).or_default().push(origin);
    }

    /// Whether anybody set `key`, rightly or wrongly.
    pub(super) fn has(&self, key: &str) -> bool {
        self.given.contains_key(key) || self.refused.contains(key)
    }

    pub(super) fn of(&self, key: &str, index: usize) -> Origin {
        let origins = self.given.get(key);
        origins
            .and_then(|origins| origins.get(index).or_else(|| origins.first()))
            .cloned()
            .unwrap_or(Origin::Default)
    }
}

impl Config {
    pub(super) fn with(self, applications: Vec<ApplicationConfig>) -> Self {
        Self {
            applications,
            ..self
        }
    }

    /// The TCP settings of connections to origins: a profile each, one for some applications.
    pub fn origin_profiles(&self) -> impl Iterator<Item = TcpProfile> {
        let settings = self.applications.iter().map(|other| &other.settings);
        let all = std::iter::once(self).chain(settings);
        all.filter_map(|config| Some(config.upstream.upstream_tcp_profile?.0))
    }

    /// What is otherwise than in `running` and takes a start: sockets, threads, privileges, logs.
    pub fn needs_restart_after(&self, running: &Self) -> Vec<Mistake> {
        let differs = |key: &&&str| self.values.get(**key) != running.values.get(**key);
        let mistake = |key: &&str| {
            let shown = running.values.get(*key).cloned().unwrap_or_default();
            let message = format!("a change of `{key}` needs restart");
            let allowed = format!("a restart, or what runs: {}", shown.join(", "));
            Mistake::new(self.origin(key, 0), message, allowed)
        };
        let mut mistakes: Vec<_> = RESTART_KEYS.iter().filter(differs).map(mistake).collect();
        // Without any at the start there is no program that would make the settings.
        if self.origin_profiles().next().is_some() && running.origin_profiles().next().is_none() {
            mistakes.push(mistake(&"upstream_tcp_profile"));
        }
        mistakes
    }

    /// Where value `index` of `key` came from.
    pub fn origin(&self, key: &str, index: usize) -> Origin {
        self.origins.of(key, index)
    }
}

/// Settings that are looked at once, at the start.
const RESTART_KEYS: &[&str] = &[
    "listen",
    "workers",
    "ebpf",
    "ebpf_objects",
    "refuse_rate",
    "refuse_burst",
    "refuse_exempt",
    "steer",
    "tcp_profile",
    "max_connections",
    "max_connections_per_source",
    "trusted_proxy",
    "user",
    "group",
    "ktls",
    "ktls_min_body",
    "drain_timeout",
    "log_level",
    "access_log",
    "connection_log",
    "access_log_format",
    "admin",
    "watch",
];
