//! What OpenSSL demands of a path and webpki does not: asked of every path webpki finds, so that
//! each answer can only turn a success into a failure. The anchor is a certificate here, with
//! dates, usages and limits of its own; to webpki it is a name and a key.

use super::constraints;
use super::extensions::{DIGITAL_SIGNATURE, KEY_AGREEMENT, NETSCAPE_SSL_CLIENT};
use super::facts::Facts;
use super::reason::Reason;

/// A path from the leaf to the anchor, both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path<'a> {
    pub(super) leaf: &'a Facts,
    /// In path order: the leaf's issuer first.
    pub(super) intermediates: &'a [Facts],
    pub(super) anchor: &'a Facts,
}

impl Path<'_> {
    /// The first demand the path does not meet at `now` (Unix seconds).
    pub(super) fn fault(&self, now: i64) -> Result<(), Reason> {
        let certificates: Vec<&Facts> = self.leaf_first().collect();
        for certificate in &certificates {
            own_fault(certificate, now)?;
        }
        for (subject, issuer) in certificates.iter().zip(certificates.iter().skip(1)) {
            if !subject.names_key_of(issuer) {
                return Err(Reason::UnableToGetIssuerLocally);
            }
        }
        leaf_fault(self.leaf)?;
        for (below, issuer) in certificates.iter().skip(1).enumerate() {
            issuer_fault(issuer, below)?;
        }
        self.names_fault()
    }

    /// The first Unix second at which one of the path's certificates is no longer valid.
    pub(super) fn ends(&self) -> Option<i64> {
        self.leaf_first().map(|c| c.not_after).min()?
    }

    pub(super) fn leaf_first(&self) -> impl Iterator<Item = &Facts> {
        std::iter::once(self.leaf)
            .chain(self.intermediates)
            .chain(std::iter::once(self.anchor))
    }

    /// Name constraints of every issuer against every certificate under it.
    fn names_fault(&self) -> Result<(), Reason> {
        let certificates: Vec<&Facts> = self.leaf_first().collect();
        for (depth, subject) in certificates.iter().enumerate() {
            for issuer in certificates.iter().skip(depth + 1) {
                if let Some(constraints) = &issuer.extensions.name_constraints
                    && let Some(reason) = constraints::offence(subject, constraints, depth == 0)
                {
                    return Err(reason);
                }
            }
        }
        Ok(())
    }
}

/// What is asked of every certificate, whatever its place.
fn own_fault(certificate: &Facts, now: i64) -> Result<(), Reason> {
    if let Some(reason) = certificate.time_fault(now) {
        return Err(reason);
    }
    let extensions = &certificate.extensions;
    if extensions.invalid {
        return Err(Reason::InvalidExtension);
    }
    if extensions.unknown_critical {
        return Err(Reason::UnhandledCriticalExtension);
    }
    if extensions.proxy {
        return Err(Reason::ProxyCertificate);
    }
    if certificate.key.explicit_curve {
        return Err(Reason::ExplicitCurve);
    }
    Ok(())
}

/// `check_purpose_ssl_client` for the leaf, and its key's strength.
fn leaf_fault(leaf: &Facts) -> Result<(), Reason> {
    if !leaf.key.is_strong() {
        return Err(Reason::LeafKeyTooWeak);
    }
    if suits_tls_client(leaf) {
        Ok(())
    } else {
        Err(Reason::InvalidPurpose)
    }
}

/// Whether extended key usage, key usage and Netscape's type allow a TLS client's certificate.
pub(super) fn suits_tls_client(leaf: &Facts) -> bool {
    let extensions = &leaf.extensions;
    let signs = |bits: u16| bits & (DIGITAL_SIGNATURE | KEY_AGREEMENT) != 0;
    extensions
        .extended_key_usage
        .is_none_or(|usage| usage.client_auth)
        && extensions.key_usage.is_none_or(signs)
        && extensions
            .netscape_type
            .is_none_or(|bits| bits & NETSCAPE_SSL_CLIENT != 0)
}

/// What is asked of an issuer with `below` intermediates between it and the leaf.
fn issuer_fault(issuer: &Facts, below: usize) -> Result<(), Reason> {
    if !issuer.key.is_strong() {
        return Err(Reason::CaKeyTooWeak);
    }
    if !issuer.may_sign_certificates() {
        return Err(Reason::KeyUsageNoCertSign);
    }
    let extensions = &issuer.extensions;
    if extensions
        .extended_key_usage
        .is_some_and(|usage| !usage.client_auth)
    {
        return Err(Reason::InvalidPurpose);
    }
    // RFC 5280 §6.1.4 (l) lets self-issued intermediates pass uncounted; counting them is stricter.
    let path_len = extensions
        .basic_constraints
        .and_then(|basic| basic.path_len);
    if path_len.is_some_and(|longest| below > longest) {
        return Err(Reason::PathLengthExceeded);
    }
    Ok(())
}
