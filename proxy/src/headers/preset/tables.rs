//! The headers of every preset: name, variable, form.

use super::{Form, Row};
use crate::identity::Variable;

pub(super) const CLOUDFLARE_WORKER: &[Row] = &[
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

pub(super) const CLOUDFLARE_MANAGED: &[Row] = &[
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

pub(super) const CLOUDFLARE_FORWARD: &[Row] = &[
    ("Cf-Client-Cert-Der-Base64", Variable::Der, Form::Plain),
    (
        "Cf-Client-Cert-Sha256",
        Variable::FingerprintSha256,
        Form::Plain,
    ),
];

// Values over the limit are absent, so "too large" needs no further condition.
pub(super) const RFC9440: &[Row] = &[
    ("Client-Cert", Variable::Rfc9440, Form::Verified),
    ("Client-Cert-Chain", Variable::ChainRfc9440, Form::Verified),
];

pub(super) const NGINX: &[Row] = &[
    ("X-SSL-Client-Verify", Variable::Verified, Form::Plain),
    ("X-SSL-Client-S-DN", Variable::SubjectDn, Form::Plain),
    ("X-SSL-Client-I-DN", Variable::IssuerDn, Form::Plain),
    ("X-SSL-Client-Serial", Variable::Serial, Form::Plain),
    (
        "X-SSL-Client-Fingerprint",
        Variable::FingerprintSha1,
        Form::Plain,
    ),
    ("X-SSL-Client-Cert", Variable::Pem, Form::Plain),
];

pub(super) const INGRESS_NGINX: &[Row] = &[
    ("ssl-client-verify", Variable::Verified, Form::Plain),
    ("ssl-client-subject-dn", Variable::SubjectDn, Form::Plain),
    ("ssl-client-issuer-dn", Variable::IssuerDn, Form::Plain),
    ("ssl-client-cert", Variable::Pem, Form::Plain),
];

// HAProxy's own verdict is 0 without a certificate too, which reads like success: no header then.
// The names are OpenSSL's with `/`, `+` and bytes outside ASCII escaped; HAProxy sends them raw.
// The manual writes `%{+Q}` before most of these; in `http-request set-header` neither 2.6 nor 3.2 quotes.
pub(super) const HAPROXY: &[Row] = &[
    ("X-SSL-Client-Verify", Variable::VerifyCode, Form::Plain),
    ("X-SSL-Client-DN", Variable::SubjectDnLegacy, Form::Plain),
    ("X-SSL-Client-CN", Variable::SubjectCn, Form::Plain),
    ("X-SSL-Issuer", Variable::IssuerDnLegacy, Form::Plain),
    (
        "X-SSL-Client-NotBefore",
        Variable::NotBeforeAsn1,
        Form::Plain,
    ),
    ("X-SSL-Client-NotAfter", Variable::NotAfterAsn1, Form::Plain),
    (
        "X-SSL-Client-SHA1",
        Variable::FingerprintSha1Upper,
        Form::Plain,
    ),
];

// Without X-SSL-Client-Session-Id: it names a connection, not a caller.
pub(super) const CF_HAPROXY: &[Row] = &[
    ("X-Forwarded-Client-Cert", Variable::Der, Form::Plain),
    ("X-SSL-Client", Variable::Presented, Form::Plain),
    ("X-SSL-Client-Verify", Variable::VerifyCode, Form::Plain),
    (
        "X-SSL-Client-Subject-DN",
        Variable::SubjectDnLegacy,
        Form::Base64,
    ),
    ("X-SSL-Client-Subject-CN", Variable::SubjectCn, Form::Base64),
    (
        "X-SSL-Client-Issuer-DN",
        Variable::IssuerDnLegacy,
        Form::Base64,
    ),
    (
        "X-SSL-Client-Root-CA-DN",
        Variable::RootDnLegacy,
        Form::Base64,
    ),
    (
        "X-SSL-Client-NotBefore",
        Variable::NotBeforeAsn1,
        Form::Plain,
    ),
    ("X-SSL-Client-NotAfter", Variable::NotAfterAsn1, Form::Plain),
];

// httpd leaves bytes outside ASCII in names raw; here they are `\\XX`.
pub(super) const APACHE: &[Row] = &[
    ("SSL-CLIENT-VERIFY", Variable::Verified, Form::Plain),
    ("SSL-CLIENT-M-SERIAL", Variable::Serial, Form::Plain),
    ("SSL-CLIENT-S-DN", Variable::SubjectDn, Form::Plain),
    ("SSL-CLIENT-S-DN-CN", Variable::SubjectCn, Form::Plain),
    ("SSL-CLIENT-I-DN", Variable::IssuerDn, Form::Plain),
    ("SSL-CLIENT-V-START", Variable::NotBefore, Form::Plain),
    ("SSL-CLIENT-V-END", Variable::NotAfter, Form::Plain),
    ("SSL-CLIENT-V-REMAIN", Variable::DaysRemaining, Form::Plain),
    ("SSL-CLIENT-CERT", Variable::PemSpaces, Form::Plain),
];

pub(super) const ENVOY_XFCC: &[Row] = &[("x-forwarded-client-cert", Variable::Xfcc, Form::Plain)];

pub(super) const ENVOY_XFCC_CERT: &[Row] =
    &[("x-forwarded-client-cert", Variable::XfccCert, Form::Plain)];

pub(super) const ENVOY_XFCC_JSON: &[Row] =
    &[("x-forwarded-client-cert", Variable::XfccJson, Form::Plain)];

pub(super) const ENVOY_XFCC_CERT_JSON: &[Row] = &[(
    "x-forwarded-client-cert",
    Variable::XfccCertJson,
    Form::Plain,
)];

pub(super) const TRAEFIK: &[Row] = &[
    (
        "X-Forwarded-Tls-Client-Cert",
        Variable::DerChain,
        Form::Plain,
    ),
    (
        "X-Forwarded-Tls-Client-Cert-Info",
        Variable::TraefikInfo,
        Form::Plain,
    ),
];

pub(super) const AWS_ALB_VERIFY: &[Row] = &[
    (
        "X-Amzn-Mtls-Clientcert-Serial-Number",
        Variable::Serial,
        Form::Plain,
    ),
    (
        "X-Amzn-Mtls-Clientcert-Issuer",
        Variable::IssuerDn,
        Form::Plain,
    ),
    (
        "X-Amzn-Mtls-Clientcert-Subject",
        Variable::SubjectDn,
        Form::Plain,
    ),
    (
        "X-Amzn-Mtls-Clientcert-Validity",
        Variable::Validity,
        Form::Plain,
    ),
    ("X-Amzn-Mtls-Clientcert-Leaf", Variable::PemUrl, Form::Plain),
];

pub(super) const AWS_ALB_PASSTHROUGH: &[Row] =
    &[("X-Amzn-Mtls-Clientcert", Variable::PemUrlChain, Form::Plain)];

pub(super) const CLOUDFRONT: &[Row] = &[
    (
        "CloudFront-Viewer-Cert-Serial-Number",
        Variable::SerialColon,
        Form::Plain,
    ),
    (
        "CloudFront-Viewer-Cert-Issuer",
        Variable::IssuerDn,
        Form::Plain,
    ),
    (
        "CloudFront-Viewer-Cert-Subject",
        Variable::SubjectDn,
        Form::Plain,
    ),
    (
        "CloudFront-Viewer-Cert-Present",
        Variable::Presented,
        Form::Plain,
    ),
    (
        "CloudFront-Viewer-Cert-Sha256",
        Variable::FingerprintSha256,
        Form::Plain,
    ),
    (
        "CloudFront-Viewer-Cert-Validity",
        Variable::Validity,
        Form::Plain,
    ),
    ("CloudFront-Viewer-Cert-Pem", Variable::PemUrl, Form::Plain),
];

pub(super) const GCP: &[Row] = &[
    ("X-Client-Cert-Present", Variable::Presented, Form::Boolean),
    (
        "X-Client-Cert-Chain-Verified",
        Variable::Verified,
        Form::Boolean,
    ),
    ("X-Client-Cert-Error", Variable::ErrorGcp, Form::Plain),
    (
        "X-Client-Cert-Hash",
        Variable::FingerprintSha256Base64,
        Form::Plain,
    ),
    (
        "X-Client-Cert-Serial-Number",
        Variable::SerialColon,
        Form::Plain,
    ),
    ("X-Client-Cert-SPIFFE", Variable::Spiffe, Form::Plain),
    (
        "X-Client-Cert-URI-SANs",
        Variable::SanUriBase64,
        Form::Plain,
    ),
    (
        "X-Client-Cert-DNSName-SANs",
        Variable::SanDnsBase64,
        Form::Plain,
    ),
    (
        "X-Client-Cert-Valid-Not-Before",
        Variable::NotBeforeRfc3339,
        Form::Plain,
    ),
    (
        "X-Client-Cert-Valid-Not-After",
        Variable::NotAfterRfc3339,
        Form::Plain,
    ),
    (
        "X-Client-Cert-Issuer-Dn",
        Variable::IssuerDnDer,
        Form::Plain,
    ),
    (
        "X-Client-Cert-Subject-Dn",
        Variable::SubjectDnDer,
        Form::Plain,
    ),
    ("X-Client-Cert-Leaf", Variable::Rfc9440, Form::Verified),
    (
        "X-Client-Cert-Chain",
        Variable::ChainRfc9440,
        Form::Verified,
    ),
];

pub(super) const LINKERD: &[Row] = &[("l5d-client-id", Variable::Identity, Form::Plain)];

pub(super) const PUPPET: &[Row] = &[
    ("X-Client-Verify", Variable::Verified, Form::Plain),
    ("X-Client-DN", Variable::SubjectDn, Form::Plain),
    ("X-Client-Cert", Variable::Pem, Form::Plain),
];
