//! `[[trust]]` and `[[application]]` tables as they were written, key by key, with their places.

use std::collections::HashMap;

use super::found::Found;
use super::mistake::Origin;

/// A `[[trust]]` or `[[application]]` table as it was written.
#[derive(Debug)]
pub(super) struct Section {
    /// Where the table begins.
    pub(super) origin: Origin,
    /// The keys that only such tables have: their texts, each with its place.
    pub(super) own: HashMap<String, Vec<(String, Origin)>>,
    /// The settings.
    pub(super) found: Found,
    /// `[[application.policy]]` tables.
    pub(super) policies: Vec<Self>,
    /// `[[application.worker]]` tables.
    pub(super) workers: Vec<Self>,
}

/// All such tables of a file.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) trusts: Vec<Section>,
    pub(super) applications: Vec<Section>,
}

impl Section {
    /// An empty table at `origin`.
    pub(super) fn at(origin: Origin) -> Self {
        Self {
            origin,
            own: HashMap::new(),
            found: Found::default(),
            policies: Vec::new(),
            workers: Vec::new(),
        }
    }

    pub(super) fn own(&self, key: &str) -> &[(String, Origin)] {
        self.own.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn place(&self, key: &str) -> Origin {
        let first = self.own(key).first();
        first.map_or_else(|| self.origin.clone(), |(_, origin)| origin.clone())
    }
}

impl Sections {
    pub(super) fn is_empty(&self) -> bool {
        self.trusts.is_empty() && self.applications.is_empty()
    }
}

/// Keys that an application may set for itself; all others are the process's.
pub(super) fn is_applications(key: &str) -> bool {
    const KEYS: &[&str] = &[
        "cert",
        "key",
        "client_ca",
        "client_crl",
        "client_revoked",
        "crl_mode",
        "client_auth",
        "reject_at_tls",
        "denied_page",
        "tls_min",
        "preset",
        "header",
        "identity_on_failure",
        "reason_style",
        "trusted_forwarder",
    ];
    KEYS.contains(&key) || (key.starts_with("upstream") && key != "upstream_resolve")
}
