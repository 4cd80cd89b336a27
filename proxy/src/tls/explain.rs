//! Which reason OpenSSL 3.0 would give for a refused chain. It follows `X509_verify_cert` with a
//! callback that never stops it, as nginx installs: every check speaks, and the last word counts.
//!
//! It is asked only after the answer is no. It grants nothing: the worst an error here can do is
//! to give a wrong reason. Work is bounded by the caller, who limits the chain.

use rustls::pki_types::SignatureVerificationAlgorithm;

use super::constraints;
use super::extensions::NETSCAPE_SSL_CA;
use super::facts::{CaStanding, Facts};
use super::path::suits_tls_client;
use super::reason::Reason;

/// A refused chain and the store it was measured by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused<'a> {
    /// What the peer sent, leaf first, as far as it could be read.
    pub(super) chain: &'a [Facts],
    pub(super) anchors: &'a [Facts],
    /// Unix seconds.
    pub(super) now: i64,
    pub(super) algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
}

impl Refused<'_> {
    /// The reason, or nothing where OpenSSL would not refuse.
    pub(super) fn reason(&self) -> Option<Reason> {
        let leaf = self.chain.first()?;
        let mut said = LastWord::default();
        said.say_if(!leaf.key.is_strong(), Reason::LeafKeyTooWeak);
        let path = self.build_chain(leaf, &mut said);
        check_extensions(&path, &mut said);
        check_strength(&path, &mut said);
        self.check_signatures_and_times(&path, &mut said);
        check_names(&path, &mut said);
        said.0
    }

    /// The certificates that the reason is about, leaf first.
    pub(super) fn chain(&self) -> Vec<&Facts> {
        let leaf = self.chain.first();
        leaf.map(|leaf| self.build_chain(leaf, &mut LastWord::default()))
            .unwrap_or_default()
    }

    /// `build_chain` with trusted certificates first: the store is asked for an issuer before the
    /// peer's certificates are, at every step.
    fn build_chain<'a>(&'a self, leaf: &'a Facts, said: &mut LastWord) -> Vec<&'a Facts> {
        let mut path = vec![leaf];
        let mut unused: Vec<&Facts> = self.chain.iter().collect();
        let mut untrusted = true;
        let mut trusted_from = None;
        loop {
            let Some(&current) = path.last() else {
                return path;
            };
            let full = path.len() > DEPTH_MAX + 1;
            let self_signed = current.is_self_signed();
            let anchor = if full {
                None
            } else {
                best_issuer(current, self.anchors.iter(), self.now)
            };
            if let Some(anchor) = anchor {
                if !self_signed {
                    trusted_from.get_or_insert(path.len());
                    path.push(anchor);
                    untrusted = false;
                    if anchor.is_self_signed() {
                        return path;
                    }
                    continue;
                }
                // A self-signed certificate is an anchor only if it is that very certificate.
                if anchor.der == current.der {
                    return path;
                }
            }
            if !untrusted {
                break;
            }
            let candidates = unused.iter().copied().filter(|candidate| {
                (current.is_self_issued() && path.len() == 1)
                    || path.iter().all(|used| used.der != candidate.der)
            });
            let issuer = if self_signed || full {
                None
            } else {
                best_issuer(current, candidates, self.now)
            };
            let Some(issuer) = issuer else { break };
            unused.retain(|other| !std::ptr::eq(*other, issuer));
            path.push(issuer);
        }
        said.say(no_anchor(&path, trusted_from.is_some()));
        path
    }

    /// `internal_verify`, from the anchor down.
    fn check_signatures_and_times(&self, path: &[&Facts], said: &mut LastWord) {
        let Some((&last, rest)) = path.split_last() else {
            return;
        };
        let mut issuer = last;
        if last.likely_issued_by(last) {
            said.say_some(last.time_fault(self.now));
        } else if rest.is_empty() {
            said.say(Reason::UnableToVerifyLeaf);
            said.say_some(last.time_fault(self.now));
        }
        for &subject in rest.iter().rev() {
            said.say_if(!issuer.may_sign_certificates(), Reason::KeyUsageNoCertSign);
            if issuer.key.is_loadable() {
                let genuine = subject.signed.is_consistent()
                    && subject
                        .signed
                        .is_by(&issuer.key, self.algorithms)
                        .unwrap_or(true);
                said.say_if(!genuine, Reason::SignatureFailure);
            } else {
                said.say(Reason::UnableToDecodeIssuerKey);
            }
            said.say_some(subject.time_fault(self.now));
            issuer = subject;
        }
    }
}

/// The reason spoken last.
#[derive(Debug, Default)]
struct LastWord(Option<Reason>);

impl LastWord {
    fn say(&mut self, reason: Reason) {
        self.0 = Some(reason);
    }

    fn say_if(&mut self, wrong: bool, reason: Reason) {
        if wrong {
            self.say(reason);
        }
    }

    fn say_some(&mut self, reason: Option<Reason>) {
        if let Some(reason) = reason {
            self.say(reason);
        }
    }
}

/// `find_issuer` and `X509_STORE_CTX_get1_issuer`: the first that is valid now, else the one that
/// was valid longest.
fn best_issuer<'a>(
    subject: &Facts,
    candidates: impl Iterator<Item = &'a Facts>,
    now: i64,
) -> Option<&'a Facts> {
    let mut best: Option<&Facts> = None;
    for candidate in candidates.filter(|candidate| subject.likely_issued_by(candidate)) {
        if candidate.time_fault(now).is_none() {
            return Some(candidate);
        }
        if best.is_none_or(|best| candidate.not_after > best.not_after) {
            best = Some(candidate);
        }
    }
    best
}

/// What `build_chain` says of a path that reached no self-signed anchor.
fn no_anchor(path: &[&Facts], reached_store: bool) -> Reason {
    let self_signed = path.last().is_some_and(|last| last.is_self_signed());
    match (self_signed, path.len()) {
        (_, length) if length > DEPTH_MAX + 1 => Reason::ChainTooLong,
        (true, 1) => Reason::SelfSigned,
        (true, _) => Reason::SelfSignedInChain,
        (false, _) if reached_store => Reason::UnableToGetIssuer,
        (false, _) => Reason::UnableToGetIssuerLocally,
    }
}

/// `check_extensions`, leaf first, for the purpose of a TLS client.
fn check_extensions(path: &[&Facts], said: &mut LastWord) {
    let mut intermediates = 0;
    let mut must_be_ca = false;
    for (depth, certificate) in path.iter().enumerate() {
        let extensions = &certificate.extensions;
        said.say_if(
            extensions.unknown_critical,
            Reason::UnhandledCriticalExtension,
        );
        said.say_if(extensions.proxy, Reason::ProxyCertificate);
        let standing = certificate.ca_standing();
        let is_last = depth + 1 == path.len();
        let ca_is_wrong = match standing {
            CaStanding::Ca => false,
            CaStanding::NotCa => true,
            CaStanding::Tolerated | CaStanding::Netscape => !is_last,
        };
        said.say_if(must_be_ca && ca_is_wrong, Reason::InvalidCa);
        said.say_if(
            path.len() > 1 && certificate.key.explicit_curve,
            Reason::ExplicitCurve,
        );
        // A certificate OpenSSL could not cache the extensions of passes for every purpose.
        let suits = extensions.invalid
            || if must_be_ca {
                suits_tls_client_ca(certificate, standing)
            } else {
                suits_tls_client(certificate)
            };
        said.say_if(!suits, Reason::InvalidPurpose);
        let path_len = extensions
            .basic_constraints
            .and_then(|basic| basic.path_len);
        said.say_if(
            depth > 1 && path_len.is_some_and(|longest| intermediates > longest),
            Reason::PathLengthExceeded,
        );
        if depth > 0 && !certificate.is_self_issued() {
            intermediates += 1;
        }
        must_be_ca = !extensions.proxy;
    }
}

/// `check_ssl_ca` after the check of extended key usage.
fn suits_tls_client_ca(issuer: &Facts, standing: CaStanding) -> bool {
    let by_type = match standing {
        CaStanding::NotCa => false,
        CaStanding::Ca | CaStanding::Tolerated => true,
        CaStanding::Netscape => issuer
            .extensions
            .netscape_type
            .is_some_and(|bits| bits & NETSCAPE_SSL_CA != 0),
    };
    by_type
        && issuer
            .extensions
            .extended_key_usage
            .is_none_or(|usage| usage.client_auth)
}

/// `check_auth_level` at Debian's level 2: keys of issuers, digests of all but the last.
fn check_strength(path: &[&Facts], said: &mut LastWord) {
    for (depth, certificate) in path.iter().enumerate() {
        said.say_if(
            depth > 0 && !certificate.key.is_strong(),
            Reason::CaKeyTooWeak,
        );
        let is_last = depth + 1 == path.len();
        said.say_if(
            !is_last && !certificate.signed.is_strong(),
            Reason::CaDigestTooWeak,
        );
    }
}

/// `check_name_constraints`, from the anchor down.
fn check_names(path: &[&Facts], said: &mut LastWord) {
    for (depth, subject) in path.iter().enumerate().rev() {
        if depth != 0 && subject.is_self_issued() {
            continue;
        }
        let extended = || {
            subject
                .subject
                .extends_by(&subject.issuer, constraints::COMMON_NAME)
        };
        said.say_if(
            subject.extensions.proxy && !extended(),
            Reason::ProxySubjectName,
        );
        for issuer in path.iter().skip(depth + 1).rev() {
            if let Some(constraints) = &issuer.extensions.name_constraints {
                said.say_some(constraints::offence(subject, constraints, depth == 0));
            }
        }
    }
}

/// `ssl_verify_depth`: the longest path is this plus the leaf and the anchor.
const DEPTH_MAX: usize = 10;
