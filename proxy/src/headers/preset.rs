//! Ready-made header sets with the exact names and encodings of the products origins know.

use std::fmt;

use crate::identity::Variable;

/// A ready-made set of headers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Preset {
    /// `cloudflare-worker`
    CloudflareWorker,
    /// `cloudflare-managed`
    CloudflareManaged,
    /// `cloudflare-forward`
    CloudflareForward,
    /// `rfc9440`
    Rfc9440,
}

/// How a preset makes a header of a variable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// The value as it is.
    Plain,
    /// `true` for `1` and `SUCCESS`, else `false`.
    Boolean,
    /// The value as it is, only while the verdict is SUCCESS.
    Verified,
}

/// One header of a preset.
pub(super) type Row = (&'static str, Variable, Form);

impl Preset {
    /// The preset of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|preset| preset.name() == name)
    }

    /// The name an operator writes.
    pub fn name(self) -> &'static str {
        match self {
            Self::CloudflareWorker => "cloudflare-worker",
            Self::CloudflareManaged => "cloudflare-managed",
            Self::CloudflareForward => "cloudflare-forward",
            Self::Rfc9440 => "rfc9440",
        }
    }

    /// One line for help texts.
    pub fn description(self) -> &'static str {
        match self {
            Self::CloudflareWorker => {
                "X-CERT-*: subject, issuer, serial, fingerprint, verdict and dates, as Cloudflare's Worker example sets them (the default)"
            }
            Self::CloudflareManaged => {
                "cf-cert-*: the 17 headers of Cloudflare's managed transform `Add TLS client auth headers`"
            }
            Self::CloudflareForward => {
                "Cf-Client-Cert-Der-Base64 and Cf-Client-Cert-Sha256, on every request"
            }
            Self::Rfc9440 => {
                "Client-Cert and Client-Cert-Chain of RFC 9440, only of a certificate that verified"
            }
        }
    }

    /// All presets.
    pub fn all() -> impl Iterator<Item = Self> {
        [
            Self::CloudflareWorker,
            Self::CloudflareManaged,
            Self::CloudflareForward,
            Self::Rfc9440,
        ]
        .into_iter()
    }

    /// Its headers, in the order they are sent.
    pub(super) fn rows(self) -> &'static [Row] {
        match self {
            Self::CloudflareWorker => CLOUDFLARE_WORKER,
            Self::CloudflareManaged => CLOUDFLARE_MANAGED,
            Self::CloudflareForward => CLOUDFLARE_FORWARD,
            Self::Rfc9440 => RFC9440,
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const CLOUDFLARE_WORKER: &[Row] = &[
    ("X-CERT-PRESENTED", Variable::Presented, Form::Plain),
    ("X-CERT-ISSUER-DN", Variable::IssuerDn, Form::Plain),
    ("X-CERT-SUBJECT-DN", Variable::SubjectDn, Form::Plain),
    ("X-CERT-ISSUER-DN-L", Variable::IssuerDnLegacy, Form::Plain),
    (
        "X-CERT-SUBJECT-DN-L",
        Variable::SubjectDnLegacy,
        Form::Plain,
    ),
    ("X-CERT-SERIAL", Variable::Serial, Form::Plain),
    ("X-CERT-FINGER", Variable::FingerprintSha1, Form::Plain),
    // The published example reads `certVerify`, which does not exist, and sends "undefined".
    ("X-CERT-VERIFY", Variable::Verified, Form::Plain),
    ("X-CERT-NOTBE", Variable::NotBefore, Form::Plain),
    ("X-CERT-NOTAF", Variable::NotAfter, Form::Plain),
];

const CLOUDFLARE_MANAGED: &[Row] = &[
    ("cf-cert-revoked", Variable::Revoked, Form::Boolean),
    ("cf-cert-verified", Variable::Verified, Form::Boolean),
    ("cf-cert-presented", Variable::Presented, Form::Boolean),
    ("cf-cert-issuer-dn", Variable::IssuerDn, Form::Plain),
    ("cf-cert-subject-dn", Variable::SubjectDn, Form::Plain),
    (
        "cf-cert-issuer-dn-rfc2253",
        Variable::IssuerDnRfc2253,
        Form::Plain,
    ),
    (
        "cf-cert-subject-dn-rfc2253",
        Variable::SubjectDnRfc2253,
        Form::Plain,
    ),
    (
        "cf-cert-issuer-dn-legacy",
        Variable::IssuerDnLegacy,
        Form::Plain,
    ),
    (
        "cf-cert-subject-dn-legacy",
        Variable::SubjectDnLegacy,
        Form::Plain,
    ),
    ("cf-cert-serial", Variable::Serial, Form::Plain),
    ("cf-cert-issuer-serial", Variable::IssuerSerial, Form::Plain),
    (
        "cf-cert-fingerprint-sha256",
        Variable::FingerprintSha256,
        Form::Plain,
    ),
    (
        "cf-cert-fingerprint-sha1",
        Variable::FingerprintSha1,
        Form::Plain,
    ),
    ("cf-cert-not-before", Variable::NotBefore, Form::Plain),
    ("cf-cert-not-after", Variable::NotAfter, Form::Plain),
    ("cf-cert-ski", Variable::Ski, Form::Plain),
    ("cf-cert-issuer-ski", Variable::IssuerSki, Form::Plain),
];

const CLOUDFLARE_FORWARD: &[Row] = &[
    ("Cf-Client-Cert-Der-Base64", Variable::Der, Form::Plain),
    (
        "Cf-Client-Cert-Sha256",
        Variable::FingerprintSha256,
        Form::Plain,
    ),
];

// Values over the limit are absent, so "too large" needs no further condition.
const RFC9440: &[Row] = &[
    ("Client-Cert", Variable::Rfc9440, Form::Verified),
    ("Client-Cert-Chain", Variable::ChainRfc9440, Form::Verified),
];
