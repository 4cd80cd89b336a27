//! A named trust store: an operator's CA certificates, and the verdict on a chain a peer sent.
//!
//! `SUCCESS` needs webpki's yes (rustls-webpki with the algorithms of rustls's provider, key
//! purpose clientAuth) and then the yes of `path.rs`, which knows what OpenSSL demands beyond.
//! After a no, `explain.rs` finds the reason; it cannot turn a no into a yes.
//!
//! Loading is strict, for a store that is smaller than its operator thinks refuses good clients
//! and one that is larger admits bad ones: every PEM block must be a CA certificate of version 3
//! that says so. A version 1 certificate cannot say so and is refused (OpenSSL would take a
//! self-signed one for a root); a certificate named twice counts once. Any CA certificate is an
//! anchor, self-signed or not.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::DistinguishedName;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use self::constrained::{INTERMEDIATES_MAX, Stand};
use super::explain::Refused;
use super::facts::Facts;
use super::known::KnownKeys;
use super::path::Path;
use super::reason::Reason;
use super::revocation::Revocation;
use super::verdict::{Judgement, ValidPath, Verdict};

mod constrained;
mod detail;
mod load;

pub use detail::{Check, Examined};
pub use load::StoreError;

/// The CA certificates one application's clients are measured by. Never empty.
#[derive(Debug)]
pub struct TrustStore {
    name: Arc<str>,
    anchors: Vec<Anchor>,
    /// What webpki sees of `anchors`, in the same order.
    webpki_anchors: Vec<TrustAnchor<'static>>,
    /// What the checks beyond webpki see of `anchors`, in the same order.
    facts: Vec<Facts>,
    digest: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
    known: KnownKeys,
    revocation: Revocation,
}

#[derive(Debug)]
struct Anchor {
    certificate: Arc<CertificateDer<'static>>,
    subject: DistinguishedName,
}

impl TrustStore {
    /// Makes the store `name` from the contents of PEM files, each given with the name it is to be
    /// called by in errors.
    ///
    /// # Errors
    /// The first block that is not a usable CA certificate, by file and block; a file without
    /// certificates; no file at all.
    pub fn load(name: &str, pems: &[(PathBuf, Vec<u8>)]) -> Result<Self, StoreError> {
        if pems.is_empty() {
            return Err(StoreError::Empty {
                store: name.to_owned(),
            });
        }
        let algorithms =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        let mut store = Self {
            name: Arc::from(name),
            anchors: Vec::new(),
            webpki_anchors: Vec::new(),
            facts: Vec::new(),
            digest: [0; 32],
            algorithms,
            known: KnownKeys::new(algorithms.all),
            revocation: Revocation::default(),
        };
        for (file, pem) in pems {
            store.add_file(file, pem)?;
        }
        store.digest = digest(&store.anchors);
        Ok(store)
    }

    /// The same store with what counts no more of its CAs' certificates.
    ///
    /// # Errors
    /// Which list (from 1) is named after a CA of the store that did not sign it.
    pub fn with_revocation(mut self, revocation: Revocation) -> Result<Self, usize> {
        match revocation.forged(&self.facts, &self.algorithms) {
            Some(list) => Err(list),
            None => {
                self.revocation = revocation;
                Ok(self)
            }
        }
    }

    /// What counts no more.
    pub fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    /// How many revocation lists are out of date at `now_unix`, in Unix seconds.
    pub fn stale_lists(&self, now_unix: u64) -> usize {
        self.revocation
            .stale(i64::try_from(now_unix).unwrap_or(i64::MAX))
    }

    /// The configured name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many CA certificates the store holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    /// Never: loading an empty store is an error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// The CA certificates.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.anchors.iter().map(|anchor| &*anchor.certificate)
    }

    /// SHA-256 over the sorted certificates: the same for stores that decide alike.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The subjects, each once, for the hints of a CertificateRequest (RFC 8446 §4.2.4).
    #[must_use]
    pub fn subjects(&self) -> Vec<DistinguishedName> {
        let mut subjects: Vec<DistinguishedName> = Vec::new();
        for anchor in &self.anchors {
            if !subjects
                .iter()
                .any(|known| known.as_ref() == anchor.subject.as_ref())
            {
                subjects.push(anchor.subject.clone());
            }
        }
        subjects
    }

    /// The verdict on `chain` (leaf first, as the peer sent it) at `now_unix`, in Unix seconds.
    ///
    /// Work is bounded whatever the peer sends: at most [`CHAIN_MAX`] certificates of
    /// [`CHAIN_BYTES_MAX`] bytes are looked at, and at most [`SAME_SUBJECT_MAX`] of one subject are
    /// tried as issuers.
    #[must_use]
    pub fn judge(&self, chain: &[CertificateDer<'_>], now_unix: u64) -> Judgement {
        let Some((leaf, others)) = chain.split_first() else {
            return Judgement {
                verdict: Verdict::None,
                holds_until: u64::MAX,
            };
        };
        let bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
        if chain.len() > CHAIN_MAX || bytes > CHAIN_BYTES_MAX {
            return Judgement {
                verdict: Verdict::Failed(Reason::ChainTooLong),
                holds_until: u64::MAX,
            };
        }
        let now = i64::try_from(now_unix).unwrap_or(i64::MAX);
        match self.valid_path(leaf, others, now) {
            Ok((path, ends)) => Judgement {
                verdict: Verdict::Success(Arc::new(path)),
                holds_until: u64::try_from(ends).unwrap_or(0),
            },
            Err(refusal) => self.refuse(chain, now, &refusal),
        }
    }

    /// A valid path and the second it ends.
    fn valid_path(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: i64,
    ) -> Result<(ValidPath, i64), Refusal> {
        let presented = Presented {
            facts: Facts::read(leaf).ok_or(Refusal::Unreadable)?,
            leaf: EndEntityCert::try_from(leaf).map_err(Refusal::Webpki)?,
            candidates: issuer_candidates(others),
            now,
        };
        self.path_up_to(None, &presented).or_else(|refusal| {
            let stands = self.stands(&presented.candidates);
            let mut paths = stands
                .iter()
                .filter_map(|stand| self.path_up_to(Some(stand), &presented).ok());
            paths.next().ok_or(refusal)
        })
    }

    /// The same up to the store's anchors, or to an intermediate that stands in for one.
    fn path_up_to(
        &self,
        stand: Option<&Stand<'_>>,
        presented: &Presented<'_>,
    ) -> Result<(ValidPath, i64), Refusal> {
        let now = presented.now;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now.unsigned_abs()));
        let fault = Cell::new(None);
        let ends = Cell::new(now);
        let demand_more = |path: &VerifiedPath<'_>| match self.demand_more(path, stand, presented) {
            Ok(second) => {
                ends.set(second);
                Ok(())
            }
            Err(reason) => {
                fault.set(Some(reason));
                Err(webpki::Error::UnknownIssuer)
            }
        };
        let anchors = match stand {
            Some(stand) => std::slice::from_ref(&stand.anchor),
            None => &self.webpki_anchors,
        };
        let path = presented
            .leaf
            .verify_for_usage(
                &self.known.algorithms(),
                anchors,
                &presented.candidates,
                time,
                KeyUsage::client_auth(),
                None,
                Some(&demand_more),
            )
            .map_err(|error| {
                fault
                    .get()
                    .map_or(Refusal::Webpki(error), Refusal::Stricter)
            })?;
        let (intermediates, at) = self.route(&path, stand).ok_or(Refusal::Unreadable)?;
        let anchor = self.anchors.get(at).ok_or(Refusal::Unreadable)?;
        let intermediates = intermediates.into_iter().map(CertificateDer::into_owned);
        let valid = ValidPath {
            intermediates: intermediates.collect(),
            anchor: Arc::clone(&anchor.certificate),
            store: Arc::clone(&self.name),
        };
        Ok((valid, ends.get()))
    }

    /// The second a path webpki found ends, if it meets what is demanded beyond webpki.
    fn demand_more(
        &self,
        path: &VerifiedPath<'_>,
        stand: Option<&Stand<'_>>,
        presented: &Presented<'_>,
    ) -> Result<i64, Reason> {
        let (intermediates, at) = self.route(path, stand).ok_or(Reason::Unspecified)?;
        if intermediates.len() > INTERMEDIATES_MAX {
            return Err(Reason::ChainTooLong);
        }
        let intermediates: Option<Vec<Facts>> =
            intermediates.iter().map(|der| Facts::read(der)).collect();
        let path = Path {
            leaf: &presented.facts,
            intermediates: &intermediates.ok_or(Reason::Unspecified)?,
            anchor: self.facts.get(at).ok_or(Reason::Unspecified)?,
        };
        path.fault(presented.now)?;
        self.revocation
            .fault(&path, presented.now, &self.algorithms)?;
        let ends = path.ends().ok_or(Reason::NotAfterFormat)?;
        let lists = self.revocation.next_change(presented.now);
        Ok(lists.map_or(ends, |second| second.min(ends)))
    }

    /// All intermediates of a path, the leaf's issuer first, and which of the store's anchors it ends in.
    fn route<'p>(
        &self,
        path: &'p VerifiedPath<'p>,
        stand: Option<&'p Stand<'p>>,
    ) -> Option<(Vec<CertificateDer<'p>>, usize)> {
        let intermediates = path.intermediate_certificates();
        let mut intermediates: Vec<_> =
            intermediates.map(|certificate| certificate.der()).collect();
        let at = match stand {
            Some(stand) => {
                let upper = stand.upper.iter();
                intermediates.extend(upper.map(|der| CertificateDer::from(der.as_ref())));
                stand.at
            }
            None => self.position_of(path)?,
        };
        Some((intermediates, at))
    }

    /// webpki hands out references into our own list, and only identity tells two anchors with the same
    /// name and key apart.
    fn position_of(&self, path: &VerifiedPath<'_>) -> Option<usize> {
        let found = std::ptr::from_ref(path.anchor()).cast::<()>();
        self.webpki_anchors
            .iter()
            .position(|anchor| std::ptr::from_ref(anchor).cast::<()>() == found)
    }

    /// The verdict on a chain without a valid path.
    fn refuse(&self, chain: &[CertificateDer<'_>], now: i64, refusal: &Refusal) -> Judgement {
        let facts: Vec<Facts> = chain.iter().map_while(|c| Facts::read(c)).collect();
        let refused = Refused {
            chain: &facts,
            anchors: &self.facts,
            now,
            algorithms: self.algorithms.all,
        };
        let reason = refused.reason().unwrap_or_else(|| refusal.nearest_reason());
        Judgement {
            verdict: Verdict::Failed(reason),
            holds_until: self.next_change(&facts, now),
        }
    }

    /// The next second at which a certificate of the chain or the store begins or ends to be valid:
    /// between two such seconds neither a refusal nor its reason can change.
    fn next_change(&self, chain: &[Facts], now: i64) -> u64 {
        chain
            .iter()
            .chain(&self.facts)
            .flat_map(|certificate| [certificate.not_before, certificate.not_after])
            .flatten()
            .chain(self.revocation.next_change(now))
            .filter(|second| *second > now)
            .min()
            .and_then(|second| u64::try_from(second).ok())
            .unwrap_or(u64::MAX)
    }
}

/// What a peer sent.
struct Presented<'a> {
    leaf: EndEntityCert<'a>,
    facts: Facts,
    /// What may be the issuers.
    candidates: Vec<CertificateDer<'a>>,
    now: i64,
}

/// Why there is no valid path.
#[derive(Debug)]
enum Refusal {
    /// Not a certificate even in its frame.
    Unreadable,
    Webpki(webpki::Error),
    /// webpki said yes and `path.rs` no.
    Stricter(Reason),
}

impl Refusal {
    /// The word of OpenSSL's nearest to what is wrong, where OpenSSL itself would not refuse.
    fn nearest_reason(&self) -> Reason {
        use webpki::Error;
        match self {
            Self::Unreadable => Reason::Unspecified,
            Self::Stricter(reason) => *reason,
            Self::Webpki(error) => match error {
                Error::CertExpired { .. } | Error::InvalidCertValidity => Reason::Expired,
                Error::CertNotValidYet { .. } => Reason::NotYetValid,
                Error::CertRevoked => Reason::Revoked,
                Error::CrlExpired { .. } => Reason::CrlExpired,
                Error::UnknownRevocationStatus => Reason::UnableToGetCrl,
                Error::CaUsedAsEndEntity => Reason::InvalidNonCa,
                Error::EndEntityUsedAsCa => Reason::InvalidCa,
                Error::EmptyEkuExtension | Error::RequiredEkuNotFoundContext(_) => {
                    Reason::InvalidPurpose
                }
                Error::InvalidSignatureForPublicKey => Reason::SignatureFailure,
                Error::UnsupportedSignatureAlgorithmContext(_)
                | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                    Reason::UnsupportedSignatureAlgorithm
                }
                Error::SignatureAlgorithmMismatch => Reason::SignatureAlgorithmInconsistent,
                Error::NameConstraintViolation => Reason::PermittedViolation,
                Error::MalformedNameConstraint | Error::InvalidNetworkMaskConstraint => {
                    Reason::UnsupportedConstraintSyntax
                }
                Error::PathLenConstraintViolated => Reason::PathLengthExceeded,
                Error::MaximumPathDepthExceeded
                | Error::MaximumPathBuildCallsExceeded
                | Error::MaximumSignatureChecksExceeded => Reason::ChainTooLong,
                Error::UnsupportedCriticalExtension => Reason::UnhandledCriticalExtension,
                Error::ExtensionValueInvalid | Error::MalformedExtensions => {
                    Reason::InvalidExtension
                }
                Error::UnknownIssuer => Reason::UnableToGetIssuerLocally,
                _ => Reason::Unspecified,
            },
        }
    }
}

/// The certificates of a chain that are offered to webpki as issuers: each once, and few of one
/// subject. webpki tries every order of certificates that share a name (up to 200 000 steps); a
/// peer may not spend that much of our time.
fn issuer_candidates<'a>(others: &'a [CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    let mut subjects: Vec<Bytes> = Vec::new();
    let mut candidates: Vec<CertificateDer<'a>> = Vec::new();
    for certificate in others {
        let Some(facts) = Facts::read(certificate) else {
            continue;
        };
        let same = subjects
            .iter()
            .filter(|subject| **subject == facts.subject_der)
            .count();
        if same < SAME_SUBJECT_MAX && !candidates.contains(certificate) {
            subjects.push(facts.subject_der);
            candidates.push(CertificateDer::from(certificate.as_ref()));
        }
    }
    candidates
}

fn digest(anchors: &[Anchor]) -> [u8; 32] {
    let mut sorted: Vec<&[u8]> = anchors.iter().map(|anchor| &**anchor.certificate).collect();
    sorted.sort_unstable();
    let mut hash = Sha256::new();
    for certificate in sorted {
        hash.update(Sha256::digest(certificate));
    }
    hash.finalize().into()
}

/// Certificates a peer's chain may have, leaf included.
pub const CHAIN_MAX: usize = 10;
/// Bytes a peer's chain may have.
pub const CHAIN_BYTES_MAX: usize = 64 * 1024;
/// Certificates of one subject that are tried as issuers, as after a renewal or a cross-signing.
pub const SAME_SUBJECT_MAX: usize = 3;

#[cfg(test)]
mod tests;
