//! Ready-made header sets with the exact names and encodings of the products origins know.
//!
//! Absent is absent: where a product sends an empty value, `(null)` or a number that looks like
//! success for a client without a certificate, the header is left out here.

use std::fmt;

use crate::identity::Variable;

mod tables;

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
    /// `nginx`
    Nginx,
    /// `ingress-nginx`
    IngressNginx,
    /// `haproxy`
    Haproxy,
    /// `cf-haproxy`
    CfHaproxy,
    /// `apache`
    Apache,
    /// `envoy-xfcc`
    EnvoyXfcc,
    /// `envoy-xfcc-cert`
    EnvoyXfccCert,
    /// `envoy-xfcc-json`
    EnvoyXfccJson,
    /// `envoy-xfcc-cert-json`
    EnvoyXfccCertJson,
    /// `traefik`
    Traefik,
    /// `aws-alb-verify`
    AwsAlbVerify,
    /// `aws-alb-passthrough`
    AwsAlbPassthrough,
    /// `cloudfront`
    Cloudfront,
    /// `gcp`
    Gcp,
    /// `linkerd`
    Linkerd,
    /// `puppet`
    Puppet,
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
    /// The value as base64.
    Base64,
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
            Self::Nginx => "nginx",
            Self::IngressNginx => "ingress-nginx",
            Self::Haproxy => "haproxy",
            Self::CfHaproxy => "cf-haproxy",
            Self::Apache => "apache",
            Self::EnvoyXfcc => "envoy-xfcc",
            Self::EnvoyXfccCert => "envoy-xfcc-cert",
            Self::EnvoyXfccJson => "envoy-xfcc-json",
            Self::EnvoyXfccCertJson => "envoy-xfcc-cert-json",
            Self::Traefik => "traefik",
            Self::AwsAlbVerify => "aws-alb-verify",
            Self::AwsAlbPassthrough => "aws-alb-passthrough",
            Self::Cloudfront => "cloudfront",
            Self::Gcp => "gcp",
            Self::Linkerd => "linkerd",
            Self::Puppet => "puppet",
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
            Self::Nginx => {
                "X-SSL-Client-*: nginx's $ssl_client_ variables under the names its users choose"
            }
            Self::IngressNginx => {
                "ssl-client-verify, -subject-dn, -issuer-dn and -cert, as the ingress controller of Kubernetes sets them"
            }
            Self::Haproxy => {
                "X-SSL-*: the sample of HAProxy's manual, with the verdict as a number"
            }
            Self::CfHaproxy => {
                "X-Forwarded-Client-Cert and X-SSL-Client-*, as Cloud Foundry's haproxy sets them, names as base64"
            }
            Self::Apache => {
                "SSL-CLIENT-*: httpd's SSL_CLIENT_ variables with dashes, since origins fold underscores"
            }
            Self::EnvoyXfcc => {
                "x-forwarded-client-cert: Hash, Subject, URI and DNS; what the client sent is replaced (SANITIZE_SET)"
            }
            Self::EnvoyXfccCert => {
                "x-forwarded-client-cert with Cert and Chain (of the validated path), as envoy-xfcc otherwise"
            }
            Self::EnvoyXfccJson => {
                "x-forwarded-client-cert in Envoy's JSON format, as envoy-xfcc otherwise"
            }
            Self::EnvoyXfccCertJson => {
                "x-forwarded-client-cert in Envoy's JSON format, as envoy-xfcc-cert otherwise"
            }
            Self::Traefik => {
                "X-Forwarded-Tls-Client-Cert and -Info, with all that Traefik can tell"
            }
            Self::AwsAlbVerify => {
                "X-Amzn-Mtls-Clientcert-*: serial number, issuer, subject, validity and leaf"
            }
            Self::AwsAlbPassthrough => {
                "X-Amzn-Mtls-Clientcert: the certificate and its validated intermediates"
            }
            Self::Cloudfront => {
                "CloudFront-Viewer-Cert-*: seven headers of CloudFront's viewer mTLS"
            }
            Self::Gcp => {
                "X-Client-Cert-*: the variables of Google's load balancers under the names of its samples"
            }
            Self::Linkerd => "l5d-client-id: the SPIFFE ID or the only DNS name",
            Self::Puppet => {
                "X-Client-Verify, X-Client-DN and X-Client-Cert, as Puppet Server reads them"
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
            Self::Nginx,
            Self::IngressNginx,
            Self::Haproxy,
            Self::CfHaproxy,
            Self::Apache,
            Self::EnvoyXfcc,
            Self::EnvoyXfccCert,
            Self::EnvoyXfccJson,
            Self::EnvoyXfccCertJson,
            Self::Traefik,
            Self::AwsAlbVerify,
            Self::AwsAlbPassthrough,
            Self::Cloudfront,
            Self::Gcp,
            Self::Linkerd,
            Self::Puppet,
        ]
        .into_iter()
    }

    /// Its headers, in the order they are sent.
    pub(super) fn rows(self) -> &'static [Row] {
        match self {
            Self::CloudflareWorker => tables::CLOUDFLARE_WORKER,
            Self::CloudflareManaged => tables::CLOUDFLARE_MANAGED,
            Self::CloudflareForward => tables::CLOUDFLARE_FORWARD,
            Self::Rfc9440 => tables::RFC9440,
            Self::Nginx => tables::NGINX,
            Self::IngressNginx => tables::INGRESS_NGINX,
            Self::Haproxy => tables::HAPROXY,
            Self::CfHaproxy => tables::CF_HAPROXY,
            Self::Apache => tables::APACHE,
            Self::EnvoyXfcc => tables::ENVOY_XFCC,
            Self::EnvoyXfccCert => tables::ENVOY_XFCC_CERT,
            Self::EnvoyXfccJson => tables::ENVOY_XFCC_JSON,
            Self::EnvoyXfccCertJson => tables::ENVOY_XFCC_CERT_JSON,
            Self::Traefik => tables::TRAEFIK,
            Self::AwsAlbVerify => tables::AWS_ALB_VERIFY,
            Self::AwsAlbPassthrough => tables::AWS_ALB_PASSTHROUGH,
            Self::Cloudfront => tables::CLOUDFRONT,
            Self::Gcp => tables::GCP,
            Self::Linkerd => tables::LINKERD,
            Self::Puppet => tables::PUPPET,
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
