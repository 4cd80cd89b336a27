//! Which certificates of a trust store's CAs count no more: their CAs' revocation lists, and a list
//! of the operator's own. Only CAs that have a list need one; whose list is out of date, or is not
//! theirs, is decided by [`ListPolicy`]. A certificate that any list names is revoked, also by a list
//! that has expired.

use std::path::{Path as FilePath, PathBuf};

use rustls::crypto::WebPkiSupportedAlgorithms;
use thiserror::Error;
use x509_parser::pem::Pem;

use super::crl::Crl;
use super::denied::Denied;
use super::facts::Facts;
use super::path::Path;
use super::reason::Reason;

/// What becomes of the certificates of a CA whose list can't be relied on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ListPolicy {
    /// They fail.
    #[default]
    Hard,
    /// They pass, but for those the list names.
    Soft,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Revocation {
    lists: Vec<Crl>,
    denied: Denied,
    policy: ListPolicy,
}

/// A file that can't be used. Blocks and lines are counted from 1.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// A list.
    #[error("{}: list {block}: {why}", file.display())]
    List {
        /// The file's name.
        file: PathBuf,
        /// Which list of the file.
        block: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file without lists.
    #[error("{}: no revocation list in this file", file.display())]
    NoList {
        /// The file's name.
        file: PathBuf,
    },
    /// A line of the operator's list.
    #[error("{}: line {line} is not understood", file.display())]
    Line {
        /// The file's name.
        file: PathBuf,
        /// Which line.
        line: usize,
    },
}

impl Revocation {
    /// Nothing is revoked yet.
    pub fn new(policy: ListPolicy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// Adds the lists of a file, PEM or DER.
    ///
    /// # Errors
    /// The first list that can't be used.
    pub fn add_lists(&mut self, file: &FilePath, bytes: &[u8]) -> Result<(), RevocationError> {
        let failed = |block, why| RevocationError::List {
            file: file.to_owned(),
            block,
            why,
        };
        // DER begins with a SEQUENCE, PEM with text.
        if bytes.first() == Some(&0x30) {
            self.lists
                .push(Crl::read(bytes).map_err(|why| failed(1, why))?);
            return Ok(());
        }
        let mut block = 0;
        for parsed in Pem::iter_from_buffer(bytes) {
            block += 1;
            let pem = parsed.map_err(|_broken| failed(block, "not readable as PEM"))?;
            if pem.label != "X509 CRL" {
                return Err(failed(block, "another block than X509 CRL"));
            }
            let list = Crl::read(&pem.contents).map_err(|why| failed(block, why))?;
            self.lists.push(list);
        }
        match block {
            0 => Err(RevocationError::NoList {
                file: file.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Adds the lines of an operator's own list.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn add_denied(&mut self, file: &FilePath, text: &[u8]) -> Result<(), RevocationError> {
        let text = String::from_utf8_lossy(text);
        self.denied
            .add(&text)
            .map_err(|line| RevocationError::Line {
                file: file.to_owned(),
                line,
            })
    }

    /// Whether nothing can be revoked.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.denied.len() == 0
    }

    /// The lists and the certificates that are named, for people.
    pub fn summary(&self) -> String {
        let named: usize = self.lists.iter().map(Crl::len).sum();
        let (lists, denied) = (self.lists.len(), self.denied.len());
        format!(
            "{lists} revocation list(s) with {named} certificate(s), {denied} denied beside them"
        )
    }

    /// What an operator should know of lists that are already out of date at `now`.
    pub(super) fn stale(&self, now: i64) -> usize {
        let current = |list: &&Crl| !self.lists.iter().any(|other| list.is_superseded_by(other));
        let lists = self.lists.iter().filter(current);
        lists.filter(|list| list.next_update <= now).count()
    }

    /// The first list (from 1) that bears the name of one of `anchors` and no such anchor's signature.
    pub(super) fn forged(
        &self,
        anchors: &[Facts],
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Option<usize> {
        let is_forged = |list: &Crl| {
            let mut named = anchors
                .iter()
                .filter(|anchor| anchor.subject == list.issuer);
            let mut is_named = false;
            let is_theirs = named.any(|anchor| {
                is_named = true;
                anchor.may_sign_lists() && list.is_by(anchor, algorithms.all)
            });
            is_named && !is_theirs
        };
        self.lists.iter().position(is_forged).map(|at| at + 1)
    }

    /// The first reason why a certificate of the path counts no more at `now` (Unix seconds).
    pub(super) fn fault(
        &self,
        path: &Path<'_>,
        now: i64,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Reason> {
        if self.is_empty() {
            return Ok(());
        }
        let certificates: Vec<&Facts> = path.leaf_first().collect();
        if certificates.iter().any(|each| self.denied.names(each)) {
            return Err(Reason::Revoked);
        }
        let pairs = || certificates.iter().zip(certificates.iter().skip(1));
        let mut doubt = Ok(());
        for (subject, issuer) in pairs() {
            match self.fault_of(subject, issuer, now, algorithms) {
                Err(Reason::Revoked) => return Err(Reason::Revoked),
                fault => doubt = doubt.and(fault),
            }
        }
        doubt
    }

    /// What is known of one certificate of a path, in words, and what is wrong.
    pub(super) fn standing(
        &self,
        subject: &Facts,
        issuer: Option<&Facts>,
        now: i64,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> (&'static str, Option<Reason>) {
        if self.denied.names(subject) {
            return ("on the operator's own list", Some(Reason::Revoked));
        }
        let Some(issuer) = issuer else {
            return ("no list is asked", None);
        };
        if !self.lists.iter().any(|list| list.issuer == issuer.subject) {
            return ("its issuer has no list", None);
        }
        let fault = self.fault_of(subject, issuer, now, algorithms).err();
        let what = match (fault, self.policy) {
            (Some(Reason::Revoked), _) => "on its issuer's list",
            (Some(_), _) => "its issuer's list can't be relied on",
            (None, ListPolicy::Hard) => "not on its issuer's list",
            (None, ListPolicy::Soft) => {
                "not on its issuer's list, which may be out of date (crl_mode soft)"
            }
        };
        (what, fault)
    }

    fn fault_of(
        &self,
        subject: &Facts,
        issuer: &Facts,
        now: i64,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Reason> {
        let named: Vec<&Crl> = self
            .lists
            .iter()
            .filter(|list| list.issuer == issuer.subject)
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let theirs: Vec<&Crl> = match issuer.may_sign_lists() {
            true => named
                .into_iter()
                .filter(|list| list.is_by(issuer, algorithms.all))
                .collect(),
            false => Vec::new(),
        };
        if theirs.iter().any(|list| list.names(subject)) {
            return Err(Reason::Revoked);
        }
        match self.policy {
            ListPolicy::Soft => Ok(()),
            ListPolicy::Hard if theirs.is_empty() => Err(Reason::UnableToGetCrl),
            ListPolicy::Hard => {
                let is_current =
                    |list: &&&Crl| !theirs.iter().any(|other| list.is_superseded_by(other));
                theirs.iter().filter(is_current).try_for_each(|list| {
                    if list.this_update > now {
                        return Err(Reason::CrlNotYetValid);
                    }
                    match list.next_update <= now {
                        true => Err(Reason::CrlExpired),
                        false => Ok(()),
                    }
                })
            }
        }
    }

    /// The next second after `now` at which a list begins or ends to count.
    pub(super) fn next_change(&self, now: i64) -> Option<i64> {
        if self.policy == ListPolicy::Soft {
            return None;
        }
        let seconds = self
            .lists
            .iter()
            .flat_map(|list| [list.this_update, list.next_update]);
        seconds.filter(|second| *second > now).min()
    }
}

#[cfg(test)]
mod tests;
