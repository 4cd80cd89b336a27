//! What a store asks of each certificate of a chain, one check after the other, for people: the same
//! questions in the same code as `judge`, but none stops the next. Decides nothing.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use super::{CHAIN_BYTES_MAX, CHAIN_MAX, TrustStore};
use crate::tls::constraints;
use crate::tls::explain::Refused;
use crate::tls::facts::{CaStanding, Facts};
use crate::tls::path::suits_tls_client;
use crate::tls::reason::Reason;
use crate::tls::verdict::ValidPath;

/// One certificate of a path, leaf first.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Whether it is one of the store's own.
    pub is_anchor: bool,
    /// What it was asked.
    pub checks: Vec<Check>,
}

/// One question and its answer.
#[derive(Clone, Debug)]
pub struct Check {
    /// The question, and what was found.
    pub what: String,
    /// What is wrong, if anything is.
    pub fault: Option<Reason>,
}

impl TrustStore {
    /// Every certificate of the path that made a chain good, or of the one that OpenSSL would build.
    /// Empty for chains that `judge` does not look at.
    pub fn examine(
        &self,
        chain: &[CertificateDer<'_>],
        valid: Option<&ValidPath>,
        now_unix: u64,
    ) -> Vec<Examined> {
        let bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
        if chain.len() > CHAIN_MAX || bytes > CHAIN_BYTES_MAX {
            return Vec::new();
        }
        let now = i64::try_from(now_unix).unwrap_or(i64::MAX);
        let read: Vec<Facts> = match valid {
            Some(path) => chain
                .iter()
                .take(1)
                .chain(&path.intermediates)
                .chain([&*path.anchor])
                .filter_map(|certificate| Facts::read(certificate))
                .collect(),
            None => chain.iter().map_while(|c| Facts::read(c)).collect(),
        };
        let refused = Refused {
            chain: &read,
            anchors: &self.facts,
            now,
            algorithms: self.algorithms.all,
        };
        let path: Vec<&Facts> = match valid {
            Some(_) => read.iter().collect(),
            None => refused.chain(),
        };
        (0..path.len())
            .filter_map(|depth| self.examined(&path, depth, now))
            .collect()
    }

    fn examined(&self, path: &[&Facts], depth: usize, now: i64) -> Option<Examined> {
        let certificate = path.get(depth)?;
        let above = path.get(depth + 1..).unwrap_or_default();
        let is_anchor = self
            .anchors
            .iter()
            .any(|a| **a.certificate == *certificate.der);
        let mut checks = vec![
            check("dates", certificate.time_fault(now)),
            extensions(certificate),
        ];
        if depth == 0 {
            let fault = (!suits_tls_client(certificate)).then_some(Reason::InvalidPurpose);
            checks.push(check("key usages allow a TLS client", fault));
            let weak = (!certificate.key.is_strong()).then_some(Reason::LeafKeyTooWeak);
            checks.push(check("key of 112 bits of security or more", weak));
        } else {
            issuer(certificate, depth - 1, &mut checks);
        }
        let offence = above.iter().find_map(|issuer| {
            let constraints = issuer.extensions.name_constraints.as_ref()?;
            constraints::offence(certificate, constraints, depth == 0)
        });
        let constrained = above
            .iter()
            .any(|issuer| issuer.extensions.name_constraints.is_some());
        if constrained {
            checks.push(check("name constraints above it", offence));
        }
        checks.push(self.signature(certificate, above.first().copied(), is_anchor));
        checks.push(self.revoked(certificate, above.first().copied(), now));
        Some(Examined {
            certificate: CertificateDer::from(certificate.der.to_vec()),
            is_anchor,
            checks,
        })
    }

    /// Whose key signed it. An anchor is trusted as it stands.
    fn signature(&self, certificate: &Facts, issuer: Option<&Facts>, is_anchor: bool) -> Check {
        let Some(issuer) = issuer else {
            return match is_anchor {
                true => check("signature: none is asked of a trust anchor", None),
                false => check(
                    "signature: no issuer",
                    Some(Reason::UnableToGetIssuerLocally),
                ),
            };
        };
        let mut what = "signature by the key ".to_owned();
        for octet in Sha256::digest(&issuer.spki) {
            // A String takes all that is written.
            let _infallible = write!(what, "{octet:02x}");
        }
        let fault = if !certificate.signed.is_consistent() {
            Some(Reason::SignatureAlgorithmInconsistent)
        } else if !certificate.names_key_of(issuer) {
            Some(Reason::UnableToGetIssuerLocally)
        } else {
            match certificate.signed.is_by(&issuer.key, self.algorithms.all) {
                Some(true) => None,
                Some(false) => Some(Reason::SignatureFailure),
                None => Some(Reason::UnsupportedSignatureAlgorithm),
            }
        };
        Check { what, fault }
    }

    fn revoked(&self, certificate: &Facts, issuer: Option<&Facts>, now: i64) -> Check {
        let (what, fault) = self
            .revocation
            .standing(certificate, issuer, now, &self.algorithms);
        check(&format!("revocation: {what}"), fault)
    }
}

fn extensions(certificate: &Facts) -> Check {
    let extensions = &certificate.extensions;
    let fault = if extensions.invalid {
        Some(Reason::InvalidExtension)
    } else if extensions.unknown_critical {
        Some(Reason::UnhandledCriticalExtension)
    } else if extensions.proxy {
        Some(Reason::ProxyCertificate)
    } else {
        certificate
            .key
            .explicit_curve
            .then_some(Reason::ExplicitCurve)
    };
    check(
        "extensions can be read, none that is critical is unknown",
        fault,
    )
}

/// What is asked of a CA with `below` intermediates between it and the leaf.
fn issuer(certificate: &Facts, below: usize, checks: &mut Vec<Check>) {
    let extensions = &certificate.extensions;
    let is_ca = extensions.basic_constraints.is_some_and(|basic| basic.ca);
    let what = match (is_ca, certificate.ca_standing()) {
        (true, _) => "basicConstraints: a CA",
        (false, CaStanding::NotCa | CaStanding::Ca) => "basicConstraints: no CA",
        (false, CaStanding::Tolerated | CaStanding::Netscape) => "basicConstraints: do not say CA",
    };
    checks.push(check(what, (!is_ca).then_some(Reason::InvalidCa)));
    let may_sign = certificate.may_sign_certificates();
    let what = match extensions.key_usage {
        None => "keyCertSign: no key usage, which allows all",
        Some(_) if may_sign => "keyCertSign: set",
        Some(_) => "keyCertSign: not set",
    };
    let fault = (!may_sign).then_some(Reason::KeyUsageNoCertSign);
    checks.push(check(what, fault));
    if let Some(usage) = extensions.extended_key_usage {
        let fault = (!usage.client_auth).then_some(Reason::InvalidPurpose);
        checks.push(check("extended key usage allows TLS clients", fault));
    }
    let limit = extensions
        .basic_constraints
        .and_then(|basic| basic.path_len);
    if let Some(longest) = limit {
        let fault = (below > longest).then_some(Reason::PathLengthExceeded);
        let what = format!("path length: {below} below it, {longest} allowed");
        checks.push(check(&what, fault));
    }
    let weak = (!certificate.key.is_strong()).then_some(Reason::CaKeyTooWeak);
    checks.push(check("key of 112 bits of security or more", weak));
}

fn check(what: &str, fault: Option<Reason>) -> Check {
    Check {
        what: what.to_owned(),
        fault,
    }
}
