//! Every header name by which any known product tells an origin about client certificates. All of
//! them are protected from clients on every route, whatever this instance sends: an origin may still
//! believe the names of the proxy that stood here before.

use super::preset::Preset;

/// All names of all families, in the spelling of their products; some occur in two families.
pub fn family_names() -> impl Iterator<Item = &'static str> {
    let presets = Preset::all().flat_map(|preset| preset.rows().iter().map(|(name, ..)| *name));
    let others = FAMILIES.iter().flat_map(|(_, names)| names.iter().copied());
    presets.chain(others)
}

/// Families beyond the presets: product, names.
const FAMILIES: &[(&str, &[&str])] = &[
    (
        "cloudflare",
        &["cf-cert-sha1", "cf-cert-sha256", "X-CERT-VERIFIED"],
    ),
    (
        "nginx",
        &[
            "X-SSL-Client-Verify",
            "X-SSL-Client-S-DN",
            "X-SSL-Client-I-DN",
            "X-SSL-Client-Serial",
            "X-SSL-Client-Fingerprint",
            "X-SSL-Client-Cert",
        ],
    ),
    (
        "ingress-nginx",
        &[
            "ssl-client-verify",
            "ssl-client-subject-dn",
            "ssl-client-issuer-dn",
            "ssl-client-cert",
        ],
    ),
    (
        "haproxy",
        &[
            "X-SSL",
            "X-SSL-Client",
            "X-SSL-Client-Session-Id",
            "X-SSL-Client-DN",
            "X-SSL-Client-CN",
            "X-SSL-Client-SAN",
            "X-SSL-Client-SHA1",
            "X-SSL-Client-NotBefore",
            "X-SSL-Client-NotAfter",
            "X-SSL-Issuer",
            // Cloud Foundry's haproxy-boshrelease.
            "X-SSL-Client-Subject-DN",
            "X-SSL-Client-Subject-CN",
            "X-SSL-Client-Issuer-DN",
            "X-SSL-Client-Root-CA-DN",
        ],
    ),
    (
        "apache",
        &[
            "SSL-CLIENT-VERIFY",
            "SSL-CLIENT-M-VERSION",
            "SSL-CLIENT-M-SERIAL",
            "SSL-CLIENT-S-DN",
            "SSL-CLIENT-S-DN-CN",
            "SSL-CLIENT-I-DN",
            "SSL-CLIENT-I-DN-CN",
            "SSL-CLIENT-V-START",
            "SSL-CLIENT-V-END",
            "SSL-CLIENT-V-REMAIN",
            "SSL-CLIENT-A-SIG",
            "SSL-CLIENT-A-KEY",
            "SSL-CLIENT-CERT",
            "SSL-CLIENT-CERT-CHAIN-0",
            "SSL-CLIENT-CERT-CHAIN-1",
            "SSL-CLIENT-CERT-RFC4523-CEA",
            "SSL-CLIENT-SAN-Email-0",
            "SSL-CLIENT-SAN-DNS-0",
            "SSL-CLIENT-SAN-OTHER-msUPN-0",
            "X-SSL-CLIENT-M-VERSION",
            "X-SSL-CLIENT-M-SERIAL",
            "X-SSL-CLIENT-S-DN-CN",
            "X-SSL-CLIENT-I-DN-CN",
            "X-SSL-CLIENT-V-START",
            "X-SSL-CLIENT-V-END",
            "X-SSL-CLIENT-V-REMAIN",
            "X-SSL-CLIENT-A-SIG",
            "X-SSL-CLIENT-A-KEY",
            "X-SSL-CLIENT-CERT-CHAIN-0",
            "X-SSL-CLIENT-CERT-CHAIN-1",
            "X-SSL-CLIENT-SAN-Email-0",
            "X-SSL-CLIENT-SAN-DNS-0",
        ],
    ),
    ("envoy", &["x-forwarded-client-cert"]),
    (
        "traefik",
        &[
            "X-Forwarded-Tls-Client-Cert",
            "X-Forwarded-Tls-Client-Cert-Info",
        ],
    ),
    (
        "aws-alb",
        &[
            "X-Amzn-Mtls-Clientcert",
            "X-Amzn-Mtls-Clientcert-Serial-Number",
            "X-Amzn-Mtls-Clientcert-Issuer",
            "X-Amzn-Mtls-Clientcert-Subject",
            "X-Amzn-Mtls-Clientcert-Validity",
            "X-Amzn-Mtls-Clientcert-Leaf",
        ],
    ),
    (
        "cloudfront",
        &[
            "CloudFront-Viewer-Cert-Serial-Number",
            "CloudFront-Viewer-Cert-Issuer",
            "CloudFront-Viewer-Cert-Subject",
            "CloudFront-Viewer-Cert-Present",
            "CloudFront-Viewer-Cert-Sha256",
            "CloudFront-Viewer-Cert-Validity",
            "CloudFront-Viewer-Cert-Pem",
        ],
    ),
    (
        "gcp",
        &[
            "X-Client-Cert-Present",
            "X-Client-Cert-Chain-Verified",
            "X-Client-Cert-Error",
            "X-Client-Cert-Hash",
            "X-Client-Cert-Serial-Number",
            "X-Client-Cert-SPIFFE",
            "X-Client-Cert-URI-SANs",
            "X-Client-Cert-DNSName-SANs",
            "X-Client-Cert-Valid-Not-Before",
            "X-Client-Cert-Valid-Not-After",
            "X-Client-Cert-Issuer-Dn",
            "X-Client-Cert-Subject-Dn",
            "X-Client-Cert-Leaf",
            "X-Client-Cert-Chain",
        ],
    ),
    ("linkerd", &["l5d-client-id"]),
    (
        "puppet",
        &["X-Client-Verify", "X-Client-DN", "X-Client-Cert"],
    ),
];
