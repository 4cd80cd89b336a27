//! What Herald concluded about a client's certificate, in the vocabulary of Cloudflare's
//! `certVerified` and with the reasons of OpenSSL's `X509_verify_cert_error_string`.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::reason::Reason;

/// The verdict on one connection's client certificate, for one trust store at one time.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// No certificate was presented: `NONE`.
    None,
    /// The chain leads to a trust anchor and is valid now: `SUCCESS`.
    Success(Arc<ValidPath>),
    /// A certificate was presented and refused: `FAILED:reason`.
    Failed(Reason),
}

/// The path that made a [`Verdict::Success`], from the leaf's issuer to the anchor.
#[derive(Debug)]
pub struct ValidPath {
    /// Intermediates in path order, without leaf and anchor.
    pub intermediates: Vec<CertificateDer<'static>>,
    /// The operator's CA certificate at the end of the path: the store's, which all its paths share.
    pub anchor: Arc<CertificateDer<'static>>,
    /// The configured name of the trust store that holds the anchor.
    pub store: Arc<str>,
}

/// A verdict with the span of time it holds for: outside of it the question must be asked again.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The conclusion.
    pub verdict: Verdict,
    /// Unix seconds at which the verdict must be asked again (first second it may be wrong);
    /// `u64::MAX` where no date of any certificate concerned lies ahead.
    pub holds_until: u64,
}
