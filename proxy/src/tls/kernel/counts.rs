//! How kernel TLS has fared since the start: counts that connections add to at hand-overs, refusals
//! and splices, never on a small request's way, and their values for whoever looks.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection that was to be handed over stays in userspace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The kernel cannot seal with the connection's cipher.
    Cipher,
    /// rustls has something to send that was not there at the flush: an answer to a KeyUpdate.
    Unflushed,
    /// A record is half sent.
    HalfRecord,
    /// A KeyUpdate was answered: rustls' keys are of a later generation than ours.
    KeysChanged,
    /// No keys could be derived.
    NoKeys,
    /// The socket takes no TLS: the module is gone, or the client has half closed already.
    Protocol,
    /// The kernel refused the keys: the socket is in a sockmap, or the cipher's module is gone.
    Keys,
}

impl Refusal {
    /// All of them, by index.
    pub const ALL: [Self; 7] = [
        Self::Cipher,
        Self::Unflushed,
        Self::HalfRecord,
        Self::KeysChanged,
        Self::NoKeys,
        Self::Protocol,
        Self::Keys,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cipher => "cipher_missing",
            Self::Unflushed => "records_unflushed",
            Self::HalfRecord => "record_half_sent",
            Self::KeysChanged => "keys_changed",
            Self::NoKeys => "no_keys",
            Self::Protocol => "tls_refused",
            Self::Keys => "keys_refused",
        }
    }
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) offloaded: Count,
    pub(super) rekeyed: Count,
    pub(super) spliced: Count,
    pub(super) restored: Count,
    refused: [Count; Refusal::ALL.len()],
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

/// How kernel TLS has fared since the start.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Connections whose encryption the kernel took over.
    pub offloaded: u64,
    /// Keys that were replaced in the kernel.
    pub rekeyed: u64,
    /// Body bytes that never entered userspace.
    pub spliced: u64,
    /// Connections on which moving bytes in the kernel was given up for copying.
    pub restored: u64,
    /// Connections that were to be handed over and stayed in userspace, by reason.
    pub refused: [u64; Refusal::ALL.len()],
}

impl Count {
    /// Adds; what it was before.
    pub(super) fn add(&self, number: u64) -> u64 {
        self.0.fetch_add(number, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    /// Counts a refusal. True for the first with this reason.
    pub(super) fn refuse(&self, refusal: Refusal) -> bool {
        let count = self.refused.get(refusal as usize);
        count.is_some_and(|count| count.add(1) == 0)
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            offloaded: self.offloaded.get(),
            rekeyed: self.rekeyed.get(),
            spliced: self.spliced.get(),
            restored: self.restored.get(),
            refused: self.refused.each_ref().map(Count::get),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_counted_by_its_reason_and_first_only_once() {
        let counts = Counts::default();
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
            assert!(counts.refuse(refusal));
            assert!(!counts.refuse(refusal));
        }
        assert_eq!(counts.totals().refused, [2; Refusal::ALL.len()]);
    }
}
