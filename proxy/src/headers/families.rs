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

/// Names beyond the presets: product, names.
const FAMILIES: &[(&str, &[&str])] = &[
    (
        "cloudflare",
        &["cf-cert-sha1", "cf-cert-sha256", "X-CERT-VERIFIED"],
    ),
    (
        "haproxy",
        &["X-SSL", "X-SSL-Client-Session-Id", "X-SSL-Client-SAN"],
    ),
    (
        "apache",
        &[
            "SSL-CLIENT-M-VERSION",
            "SSL-CLIENT-I-DN-CN",
            "SSL-CLIENT-A-SIG",
            "SSL-CLIENT-A-KEY",
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
];
