//! Paths below an intermediate whose name constraints webpki can't evaluate, on directory names and
//! e-mail addresses. webpki reads them in the certificate and refuses whoever has such a name.
//!
//! Such an intermediate stands in for an anchor: webpki is told of it without those constraints and
//! finds and checks the path below it. What leads from it up to the store is checked here, from the
//! store downwards, so that a peer's own certificates cost nothing: name after name byte for byte,
//! webpki's parser, a CA of version 3, and the signature, by the algorithms webpki uses. The whole path
//! is then asked what every path is asked (`path.rs`: dates, usages, path lengths, key identifiers, all
//! constraints of all issuers; revocation).

use rustls::pki_types::{CertificateDer, TrustAnchor};
use webpki::EndEntityCert;

use super::TrustStore;
use crate::tls::constraints::for_webpki;
use crate::tls::facts::{CaStanding, Facts, PublicKey};

/// An intermediate below which paths may be sought as below an anchor.
#[derive(Debug)]
pub(super) struct Stand<'a> {
    /// What webpki is told of it.
    pub(super) anchor: TrustAnchor<'static>,
    /// Itself, and what leads upwards from it.
    pub(super) upper: Vec<&'a CertificateDer<'a>>,
    /// Which anchor of the store is above them.
    pub(super) at: usize,
}

/// A CA certificate that a peer sent.
struct Issuer<'a> {
    der: &'a CertificateDer<'a>,
    parsed: EndEntityCert<'a>,
    facts: Facts,
    anchor: TrustAnchor<'static>,
    /// Whether it has constraints that only Herald evaluates.
    is_constrained: bool,
}

/// Issuers by number, the uppermost first, and the anchor above.
#[derive(Clone)]
struct Way {
    issuers: Vec<usize>,
    at: usize,
}

impl TrustStore {
    /// The intermediates among `candidates` that webpki would refuse for their constraints, and that
    /// lead up to this store.
    pub(super) fn stands<'a>(&self, candidates: &'a [CertificateDer<'a>]) -> Vec<Stand<'a>> {
        let issuers: Vec<_> = candidates.iter().filter_map(Issuer::read).collect();
        if !issuers.iter().any(|issuer| issuer.is_constrained) {
            return Vec::new();
        }
        let ways = self.ways(&issuers);
        let ends = ways.iter().filter_map(|way| {
            let issuer = issuers.get(*way.issuers.last()?)?;
            issuer.is_constrained.then(|| Stand {
                anchor: issuer.anchor.clone(),
                upper: way.upwards(&issuers).map(|issuer| issuer.der).collect(),
                at: way.at,
            })
        });
        ends.take(STANDS_MAX).collect()
    }

    /// All ways from the store downwards.
    fn ways(&self, issuers: &[Issuer<'_>]) -> Vec<Way> {
        let mut left = SIGNATURES_MAX;
        let mut ways: Vec<Way> = Vec::new();
        for (number, issuer) in issuers.iter().enumerate() {
            let anchors = self.webpki_anchors.iter().zip(&self.facts).enumerate();
            for (at, (anchor, facts)) in anchors {
                if self.issued(issuer, (&anchor.subject, &facts.key), &mut left) {
                    let issuers = vec![number];
                    ways.push(Way { issuers, at });
                }
            }
        }
        let mut next = 0;
        while let Some(way) = ways.get(next).cloned() {
            next += 1;
            for (number, issuer) in issuers.iter().enumerate() {
                if let Some(above) = way.issuers.last().and_then(|above| issuers.get(*above))
                    // webpki sees nothing of what stands above a stand: its own constraints are left out.
                    && above.anchor.name_constraints.is_none()
                    && way.issuers.len() < INTERMEDIATES_MAX
                    && !way.issuers.contains(&number)
                    && self.issued(issuer, (&above.anchor.subject, &above.facts.key), &mut left)
                {
                    let mut longer = way.clone();
                    longer.issuers.push(number);
                    ways.push(longer);
                }
            }
        }
        ways
    }

    /// Whether the holder of this name and key issued it.
    fn issued(&self, issuer: &Issuer<'_>, by: (&[u8], &PublicKey), signatures: &mut usize) -> bool {
        let signed = &issuer.facts.signed;
        if issuer.parsed.issuer() != by.0 || !signed.is_consistent() || *signatures == 0 {
            return false;
        }
        *signatures -= 1;
        signed.is_by(by.1, self.algorithms.all) == Some(true)
    }
}

impl<'a> Issuer<'a> {
    /// Nothing of what is no CA's certificate, or has constraints that can't be read.
    fn read(der: &'a CertificateDer<'a>) -> Option<Self> {
        let parsed = EndEntityCert::try_from(der).ok()?;
        let facts = Facts::read(der)?;
        if facts.ca_standing() != CaStanding::Ca || !facts.is_version_3() {
            return None;
        }
        let mut anchor = webpki::anchor_from_trusted_cert(der).ok()?.to_owned();
        let mut is_constrained = false;
        if let Some(all) = anchor.name_constraints.take() {
            let left = for_webpki(&all)?;
            is_constrained = left.len() < all.len();
            anchor.name_constraints = (!left.is_empty()).then(|| left.into());
        }
        Some(Self {
            der,
            parsed,
            facts,
            anchor,
            is_constrained,
        })
    }
}

impl Way {
    fn upwards<'i, 'a>(&self, issuers: &'i [Issuer<'a>]) -> impl Iterator<Item = &'i Issuer<'a>> {
        let upwards = self.issuers.iter().rev();
        upwards.filter_map(|number| issuers.get(*number))
    }
}

/// Intermediates in a path, as in webpki's.
pub(super) const INTERMEDIATES_MAX: usize = 6;
/// Signatures that are checked for one chain, beside webpki's own. Only certificates that bear the name
/// of an issuer in the store, or of one below it, are worth one.
const SIGNATURES_MAX: usize = 32;
/// Stands below which webpki seeks a path.
const STANDS_MAX: usize = 4;
