//! What Herald concluded about a client's certificate, in the vocabulary of Cloudflare's
//! `certVerified` and with the reasons of OpenSSL's `X509_verify_cert_error_string`.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

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
    /// The operator's CA certificate at the end of the path.
    pub anchor: CertificateDer<'static>,
    /// The configured name of the trust store that holds the anchor.
    pub store: Arc<str>,
}

/// A verdict with the span of time it holds for: outside of it the question must be asked again.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The conclusion.
    pub verdict: Verdict,
    /// Unix seconds at which the verdict must be asked again (first second it may be wrong).
    pub holds_until: u64,
}

/// Why a certificate was refused. Numbers in comments are OpenSSL's `X509_V_ERR_*` codes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// 10
    Expired,
    /// 23
    Revoked,
}

/// Which OpenSSL spells the reasons.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ReasonStyle {
    /// `self signed certificate`, as Cloudflare says.
    #[default]
    Openssl1,
    /// `self-signed certificate`.
    Openssl3,
}

impl Reason {
    /// `X509_verify_cert_error_string` of the reason.
    pub fn text(self, _style: ReasonStyle) -> &'static str {
        match self {
            Self::Expired => "certificate has expired",
            Self::Revoked => "certificate revoked",
        }
    }
}
