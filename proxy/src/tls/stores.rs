//! The trust stores of one application, OR-ed: a chain is good if it is good for any of them. Never
//! empty: an application without stores asks for no certificate.

use std::sync::Arc;

use rustls::DistinguishedName;
use rustls::pki_types::CertificateDer;

use super::reason::Reason;
use super::store::{Examined, TrustStore};
use super::verdict::{Judgement, Verdict};

/// One store or several, in the order of the configuration.
#[derive(Clone, Debug)]
pub struct TrustStores {
    first: Arc<TrustStore>,
    others: Vec<Arc<TrustStore>>,
}

/// What one store makes of a chain.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The store's name.
    pub store: Arc<str>,
    /// Its verdict.
    pub verdict: Verdict,
    /// Each certificate of the path, leaf first.
    pub path: Vec<Examined>,
}

impl TrustStores {
    /// `first`, and then `others`.
    pub fn new(first: Arc<TrustStore>, others: Vec<Arc<TrustStore>>) -> Self {
        Self { first, others }
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<TrustStore>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// How many CA certificates they hold.
    pub fn certificates(&self) -> usize {
        self.iter().map(|store| store.len()).sum()
    }

    /// What counts no more, a sentence a store that says anything; begins with a space.
    pub fn revocation_summary(&self) -> String {
        let stores = self.iter().filter(|store| !store.revocation().is_empty());
        stores
            .map(|store| format!(" Store {}: {}.", store.name(), store.revocation().summary()))
            .collect()
    }

    /// The digests of the stores, sorted, each once: the same for sets that decide alike.
    pub fn digests(&self) -> Vec<[u8; 32]> {
        let mut digests: Vec<_> = self.iter().map(|store| store.digest()).collect();
        digests.sort_unstable();
        digests.dedup();
        digests
    }

    /// The subjects of all their CA certificates, each once.
    pub fn subjects(&self) -> Vec<DistinguishedName> {
        let mut subjects: Vec<DistinguishedName> = Vec::new();
        for subject in self.iter().flat_map(|store| store.subjects()) {
            if !subjects
                .iter()
                .any(|known| known.as_ref() == subject.as_ref())
            {
                subjects.push(subject);
            }
        }
        subjects
    }

    /// What each store makes of a chain, in the order of the configuration.
    pub fn examine(&self, chain: &[CertificateDer<'_>], now_unix: u64) -> Vec<Examination> {
        let examine = |store: &Arc<TrustStore>| {
            let verdict = store.judge(chain, now_unix).verdict;
            let valid = match &verdict {
                Verdict::Success(path) => Some(&**path),
                Verdict::None | Verdict::Failed(_) => None,
            };
            Examination {
                store: Arc::clone(store.name()),
                path: store.examine(chain, valid, now_unix),
                verdict,
            }
        };
        self.iter().map(examine).collect()
    }

    /// The verdict of the first store that takes the chain; if none does, the reason of the store
    /// that came nearest: one that knows the issuer says more than one that does not.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now_unix: u64) -> Judgement {
        let judgement = self.judge_by_any(chain, now_unix);
        if !matches!(judgement.verdict, Verdict::Success(_)) {
            return judgement;
        }
        // Revoked is revoked, whichever store knows it.
        let mut others = self.iter().filter(|store| !store.revocation().is_empty());
        let revoked = others.find_map(|store| {
            let other = store.judge(chain, now_unix);
            matches!(other.verdict, Verdict::Failed(Reason::Revoked)).then_some(other)
        });
        revoked.unwrap_or(judgement)
    }

    fn judge_by_any(&self, chain: &[CertificateDer<'_>], now_unix: u64) -> Judgement {
        let mut refusal = self.first.judge(chain, now_unix);
        if !matches!(refusal.verdict, Verdict::Failed(_)) {
            return refusal;
        }
        for store in &self.others {
            let judgement = store.judge(chain, now_unix);
            match (&judgement.verdict, &refusal.verdict) {
                (Verdict::Failed(reason), Verdict::Failed(before)) => {
                    // Any store may change its mind at its own time.
                    let holds_until = refusal.holds_until.min(judgement.holds_until);
                    if is_stranger(*before) && !is_stranger(*reason) {
                        refusal = judgement;
                    }
                    refusal.holds_until = holds_until;
                }
                _ => return judgement,
            }
        }
        refusal
    }
}

/// Whether the reason is that nobody here knows who issued the certificate.
fn is_stranger(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::UnableToGetIssuer
            | Reason::SelfSigned
            | Reason::SelfSignedInChain
            | Reason::UnableToGetIssuerLocally
            | Reason::UnableToVerifyLeaf
    )
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        store: Arc<TrustStore>,
    }

    fn authority(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        let store = TrustStore::load(name, &[("ca.pem".into(), pem.into_bytes())]).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            store: Arc::new(store),
        }
    }

    fn leaf(of: &Authority, until: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &of.issuer).unwrap().der().clone()
    }

    #[test]
    fn any_store_will_do_and_says_its_name() {
        let (a, b, c) = (authority("a"), authority("b"), authority("c"));
        let stores = TrustStores::new(Arc::clone(&a.store), vec![Arc::clone(&b.store)]);
        for (of, name) in [(&a, "a"), (&b, "b")] {
            let judgement = stores.judge(&[leaf(of, 2040)], NOW);
            let Verdict::Success(path) = judgement.verdict else {
                panic!("{:?}", judgement.verdict);
            };
            assert_eq!(&*path.store, name);
            assert!(judgement.holds_until > NOW && judgement.holds_until < u64::MAX);
        }
        let stranger = stores.judge(&[leaf(&c, 2040)], NOW).verdict;
        assert!(matches!(
            stranger,
            Verdict::Failed(Reason::UnableToVerifyLeaf)
        ));
        assert!(matches!(stores.judge(&[], NOW).verdict, Verdict::None));
    }

    #[test]
    fn the_store_that_knows_the_issuer_gives_the_reason() {
        let (a, b) = (authority("a"), authority("b"));
        for (first, second) in [(&a, &b), (&b, &a)] {
            let stores =
                TrustStores::new(Arc::clone(&first.store), vec![Arc::clone(&second.store)]);
            let verdict = stores.judge(&[leaf(&b, 2021)], NOW).verdict;
            assert!(
                matches!(verdict, Verdict::Failed(Reason::Expired)),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn sets_that_decide_alike_have_the_same_digests() {
        let (a, b) = (authority("a"), authority("b"));
        let set = |first: &Authority, second: &Authority| {
            TrustStores::new(Arc::clone(&first.store), vec![Arc::clone(&second.store)]).digests()
        };
        assert_eq!(set(&a, &b), set(&b, &a));
        assert_eq!(set(&a, &a).len(), 1);
        assert_ne!(set(&a, &a), set(&b, &b));
    }

    const NOW: u64 = 1_800_000_000;
}
