//! What counts no more of a trust store: from the files of the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Compiler, unreadable};
use crate::clock;
use crate::config::{CrlMode, Mistake, Origin};
use crate::tls::{ListPolicy, Revocation, TrustStore};

/// The files of one store, and where each was named.
pub(super) struct Lists<'a> {
    pub(super) lists: &'a [PathBuf],
    pub(super) denied: &'a [PathBuf],
    pub(super) mode: CrlMode,
    pub(super) origin: &'a dyn Fn(Kind, usize) -> Origin,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    List,
    Denied,
}

impl Compiler<'_> {
    /// `store` with its lists; `None` after a mistake.
    pub(super) fn with_lists(
        &mut self,
        store: TrustStore,
        files: &Lists<'_>,
    ) -> Option<TrustStore> {
        let before = self.mistakes.len();
        let mut revocation = Revocation::new(match files.mode {
            CrlMode::Hard => ListPolicy::Hard,
            CrlMode::Soft => ListPolicy::Soft,
        });
        for (kind, paths) in [(Kind::List, files.lists), (Kind::Denied, files.denied)] {
            for (index, path) in paths.iter().enumerate() {
                let origin = || (files.origin)(kind, index);
                let bytes = match self.reading.read(path, LIST_MAX) {
                    Ok(bytes) => bytes,
                    Err(what) => {
                        self.mistakes.push(unreadable(origin(), path, &what));
                        continue;
                    }
                };
                let (added, allowed) = match kind {
                    Kind::List => (
                        revocation.add_lists(path, &bytes),
                        "complete revocation lists of the CAs themselves, PEM or DER",
                    ),
                    Kind::Denied => (
                        revocation.add_denied(path, &bytes),
                        "serial:HEX, sha1:HEX, sha256:HEX or spki:HEX, one a line; # begins a comment",
                    ),
                };
                if let Err(error) = added {
                    let mistake = Mistake::new(origin(), error.to_string(), allowed);
                    self.mistakes.push(mistake);
                }
            }
        }
        if self.mistakes.len() > before {
            return None;
        }
        let name = Arc::clone(store.name());
        let store = store.with_revocation(revocation).map_err(|list| {
            let message = format!(
                "trust store {name}: revocation list {list} bears the name of a CA that did not sign it"
            );
            let allowed = "lists that the store's CAs have signed, with a key that may (cRLSign)";
            let mistake = Mistake::new((files.origin)(Kind::List, 0), message, allowed);
            self.mistakes.push(mistake);
        });
        let store = store.ok()?;
        if let stale @ 1.. = store.stale_lists(clock::unix_now()) {
            let (store, consequence) = (
                &*name,
                match files.mode {
                    CrlMode::Hard => "the certificates of these CAs fail",
                    CrlMode::Soft => "what they name still counts",
                },
            );
            tracing::warn!(
                store,
                lists = stale,
                "revocation lists have expired: {consequence}"
            );
        }
        Some(store)
    }
}

/// The lists of the largest public CAs take half of this.
const LIST_MAX: u64 = 64 * 1024 * 1024;
