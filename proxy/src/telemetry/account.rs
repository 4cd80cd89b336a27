//! What became of a request: the part of its record that is numbers and words of Herald's own.

use super::fields::{Fields, name};
use super::reason::{Ending, Reason};

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    /// When the head came, when the answer's head came (0: not yet) and when all was over. Monotonic
    /// nanoseconds; coarse where no record is written.
    pub(super) begun: u64,
    pub(super) answered: u64,
    pub(super) ended: u64,
    /// An origin was asked.
    pub(super) is_forwarded: bool,
    /// What the client got; 0: nothing.
    pub(super) status: u16,
    pub(super) reason: Option<Reason>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) ending: Ending,
}

impl Account {
    /// Of a request that came at `begun`: if no more is heard of it, the client went away.
    pub(super) fn begin(begun: u64) -> Self {
        Self {
            begun,
            answered: 0,
            ended: begun,
            is_forwarded: false,
            status: 0,
            reason: None,
            bytes_in: 0,
            bytes_out: 0,
            ending: Ending::ClientGone,
        }
    }

    /// How long it took, nanoseconds.
    pub(super) fn took(&self) -> u64 {
        self.ended.saturating_sub(self.begun)
    }

    /// Appends all of it.
    pub(super) fn render(&self, fields: &mut Fields<'_>) {
        let denied = [
            Reason::NoCertificate,
            Reason::CertificateFailed,
            Reason::DeniedByPolicy,
        ];
        if self.reason.is_some_and(|reason| denied.contains(&reason)) {
            fields.word(name!("policy"), "deny");
        }
        if self.status > 0 {
            fields.number(name!("status"), self.status.into());
        }
        if let Some(reason) = self.reason {
            fields.word(name!("reason"), reason.label());
        }
        fields.number(name!("bytes_in"), self.bytes_in);
        fields.number(name!("bytes_out"), self.bytes_out);
        if self.is_forwarded && self.answered > 0 {
            let waited = self.answered.saturating_sub(self.begun);
            fields.seconds(name!("upstream_seconds"), waited);
        }
        fields.seconds(name!("seconds"), self.took());
        fields.word(name!("end"), self.ending.label());
    }
}
