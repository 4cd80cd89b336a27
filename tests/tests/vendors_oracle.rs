//! The presets against the products they are named after: the same callers to nginx, HAProxy, httpd, Envoy, Traefik and Herald,
//! and what their origins got compared byte for byte; Caddy, which has no set of its own, against values of the same
//! meaning. Where Herald departs on purpose, the table says why, and must still be true.

use std::net::SocketAddr;
use std::path::Path;

use herald_tests::client::Settings;
use herald_tests::envoy;
use herald_tests::gate;
use herald_tests::herald::Launch;
use herald_tests::origin::Origin;
use herald_tests::peer::{Kind, Peer};
use herald_tests::pki::{Identity, Pki};
use herald_tests::vendors;
use herald_tests::wait;
use herald_tests::wire::{Fields, text};
use rcgen::{DistinguishedName, DnType, DnValue, SanType};

/// A name, the attributes of the subject, DNS names, URIs.
type Caller<'a> = (
    &'a str,
    &'a [(Attribute, &'a str)],
    &'a [&'a str],
    &'a [&'a str],
);

const CALLERS: &[Caller<'_>] = &[
    (
        "plain",
        &[
            (Attribute::Country, "US"),
            (Attribute::Organization, "Example"),
            (Attribute::Unit, "Devices"),
            (Attribute::CommonName, "device-42"),
        ],
        &["device-42.example.com", "d42.example.com"],
        &["spiffe://example.com/device/42"],
    ),
    (
        "no alternative name",
        &[(Attribute::CommonName, "x")],
        &[],
        &[],
    ),
    (
        "comma and quote",
        &[
            (Attribute::Organization, "Smith, \"Sons\" + Co"),
            (Attribute::CommonName, "x"),
        ],
        &["x.example.com"],
        &[],
    ),
    (
        "slash",
        &[(Attribute::CommonName, "a/b")],
        &[],
        &["urn:a,b"],
    ),
    (
        "umlaut",
        &[(Attribute::CommonName, "J\u{fc}rgen")],
        &[],
        &[],
    ),
];

#[derive(Clone, Copy)]
enum Attribute {
    Country,
    Organization,
    Unit,
    CommonName,
}

/// Where Herald departs: preset, caller, header, and why.
const DEPARTURES: &[(&str, &str, &str, &str)] = &[
    (
        "haproxy",
        "slash",
        "X-SSL-Client-DN",
        "HAProxy does not escape: /CN=a/b could be two attributes",
    ),
    (
        "haproxy",
        "comma and quote",
        "X-SSL-Client-DN",
        "HAProxy does not escape `+`",
    ),
    (
        "haproxy",
        "umlaut",
        "X-SSL-Client-DN",
        "HAProxy sends bytes beyond ASCII, which receivers read differently",
    ),
    ("haproxy", "umlaut", "X-SSL-Client-CN", "as X-SSL-Client-DN"),
    (
        "cf-haproxy",
        "slash",
        "X-SSL-Client-Subject-DN",
        "as haproxy",
    ),
    (
        "cf-haproxy",
        "comma and quote",
        "X-SSL-Client-Subject-DN",
        "as haproxy",
    ),
    (
        "cf-haproxy",
        "umlaut",
        "X-SSL-Client-Subject-DN",
        "as haproxy",
    ),
    (
        "cf-haproxy",
        "umlaut",
        "X-SSL-Client-Subject-CN",
        "as haproxy",
    ),
    (
        "apache",
        "umlaut",
        "SSL-CLIENT-S-DN",
        "httpd sends bytes beyond ASCII, which receivers read differently",
    ),
    (
        "apache",
        "umlaut",
        "SSL-CLIENT-S-DN-CN",
        "as SSL-CLIENT-S-DN",
    ),
    (
        "envoy-xfcc",
        "slash",
        "x-forwarded-client-cert",
        "Envoy does not quote a URI with a comma, which its manual asks for and without which it begins another element",
    ),
    (
        "envoy-xfcc-cert",
        "slash",
        "x-forwarded-client-cert",
        "as envoy-xfcc",
    ),
    (
        "traefik",
        "comma and quote",
        "X-Forwarded-Tls-Client-Cert-Info",
        "Traefik writes a quote raw, which ends its own, and a comma, which begins another attribute",
    ),
    (
        "traefik",
        "slash",
        "X-Forwarded-Tls-Client-Cert-Info",
        "Traefik writes the comma in a URI raw, which begins another name",
    ),
    (
        "caddy",
        "umlaut",
        "X-Subject",
        "Caddy sends bytes beyond ASCII, which receivers read differently",
    ),
];

/// What HAProxy's manual shows, and what Cloud Foundry's haproxy sets with its names in base64.
const HAPROXY: &[(&str, &str)] = &[
    ("X-SSL-Client-Verify", "%[ssl_c_verify]"),
    ("X-SSL-Client-DN", "%{+Q}[ssl_c_s_dn]"),
    ("X-SSL-Client-CN", "%{+Q}[ssl_c_s_dn(cn)]"),
    ("X-SSL-Issuer", "%{+Q}[ssl_c_i_dn]"),
    ("X-SSL-Client-NotBefore", "%{+Q}[ssl_c_notbefore]"),
    ("X-SSL-Client-NotAfter", "%{+Q}[ssl_c_notafter]"),
    ("X-SSL-Client-SHA1", "%[ssl_c_sha1,hex]"),
];
const CF_HAPROXY: &[(&str, &str)] = &[
    ("X-Forwarded-Client-Cert", "%[ssl_c_der,base64]"),
    ("X-SSL-Client", "%[ssl_c_used]"),
    ("X-SSL-Client-Verify", "%[ssl_c_verify]"),
    ("X-SSL-Client-Subject-DN", "%[ssl_c_s_dn,base64]"),
    ("X-SSL-Client-Subject-CN", "%[ssl_c_s_dn(cn),base64]"),
    ("X-SSL-Client-Issuer-DN", "%[ssl_c_i_dn,base64]"),
    ("X-SSL-Client-NotBefore", "%[ssl_c_notbefore]"),
    ("X-SSL-Client-NotAfter", "%[ssl_c_notafter]"),
];
const APACHE: &[(&str, &str)] = &[
    ("SSL-CLIENT-VERIFY", "SSL_CLIENT_VERIFY"),
    ("SSL-CLIENT-M-SERIAL", "SSL_CLIENT_M_SERIAL"),
    ("SSL-CLIENT-S-DN", "SSL_CLIENT_S_DN"),
    ("SSL-CLIENT-S-DN-CN", "SSL_CLIENT_S_DN_CN"),
    ("SSL-CLIENT-I-DN", "SSL_CLIENT_I_DN"),
    ("SSL-CLIENT-V-START", "SSL_CLIENT_V_START"),
    ("SSL-CLIENT-V-END", "SSL_CLIENT_V_END"),
    ("SSL-CLIENT-V-REMAIN", "SSL_CLIENT_V_REMAIN"),
    ("SSL-CLIENT-CERT", "SSL_CLIENT_CERT"),
];
/// What nginx's users send, what the ingress controller's template does, and what Puppet's documentation asks for.
const NGINX: &[(&str, &[(&str, &str)])] = &[
    (
        "nginx",
        &[
            ("X-SSL-Client-Verify", "$ssl_client_verify"),
            ("X-SSL-Client-S-DN", "$ssl_client_s_dn"),
            ("X-SSL-Client-I-DN", "$ssl_client_i_dn"),
            ("X-SSL-Client-Serial", "$ssl_client_serial"),
            ("X-SSL-Client-Fingerprint", "$ssl_client_fingerprint"),
            ("X-SSL-Client-Cert", "$ssl_client_escaped_cert"),
        ],
    ),
    (
        "ingress-nginx",
        &[
            ("ssl-client-verify", "$ssl_client_verify"),
            ("ssl-client-subject-dn", "$ssl_client_s_dn"),
            ("ssl-client-issuer-dn", "$ssl_client_i_dn"),
            ("ssl-client-cert", "$ssl_client_escaped_cert"),
        ],
    ),
    (
        "puppet",
        &[
            ("X-Client-Verify", "$ssl_client_verify"),
            ("X-Client-DN", "$ssl_client_s_dn"),
            ("X-Client-Cert", "$ssl_client_escaped_cert"),
        ],
    ),
];
const ENVOY: &[(&str, &str)] = &[("x-forwarded-client-cert", "")];
const TRAEFIK: &[(&str, &str)] = &[
    ("X-Forwarded-Tls-Client-Cert", ""),
    ("X-Forwarded-Tls-Client-Cert-Info", ""),
];
/// Caddy's placeholders below `http.request.tls.client`, and Herald's values of the same meaning. `certificate_pem` is not
/// among them: it has line ends, with which Caddy sends no header. Nor is `public_key_sha256`: of a key on a curve Caddy
/// digests the point alone, Herald the SubjectPublicKeyInfo, as pins do.
const CADDY: &[(&str, &str, &str)] = &[
    ("X-Subject", "subject", "certSubjectDNRFC2253"),
    ("X-Issuer", "issuer", "certIssuerDNRFC2253"),
    ("X-Serial", "serial", "certSerialDecimal"),
    ("X-Fingerprint", "fingerprint", "certFingerprintSHA256"),
    ("X-Certificate", "certificate_der_base64", "certDER"),
];

#[test]
fn nginx_and_the_presets_of_its_variables() {
    if gate::require("nginx_presets", "nginx", Kind::Nginx.version().is_some()) {
        for (preset, headers) in NGINX {
            compare(&named(preset), headers, Kind::Nginx, |origin, dir, at| {
                vendors::nginx(headers, origin, dir, at)
            });
        }
    }
}

#[test]
fn haproxy_and_the_presets_named_after_it() {
    if gate::require(
        "haproxy_oracle",
        "haproxy",
        Kind::Haproxy.version().is_some(),
    ) {
        for (preset, headers) in [("haproxy", HAPROXY), ("cf-haproxy", CF_HAPROXY)] {
            compare(&named(preset), headers, Kind::Haproxy, |origin, dir, at| {
                vendors::haproxy(headers, origin, dir, at)
            });
        }
    }
}

#[test]
fn httpd_and_the_preset_named_after_it() {
    if gate::require("apache_oracle", "apache2", Kind::Apache.version().is_some()) {
        compare(&named("apache"), APACHE, Kind::Apache, |origin, dir, at| {
            vendors::apache(APACHE, origin, dir, at)
        });
    }
}

#[test]
fn envoy_and_the_presets_named_after_it() {
    if gate::require("envoy_oracle", "envoy", Kind::Envoy.version().is_some()) {
        for (preset, details) in [
            ("envoy-xfcc", "format: TEXT"),
            ("envoy-xfcc-cert", "format: TEXT, cert: true, chain: true"),
            ("envoy-xfcc-json", "format: JSON"),
            (
                "envoy-xfcc-cert-json",
                "format: JSON, cert: true, chain: true",
            ),
        ] {
            compare(&named(preset), ENVOY, Kind::Envoy, |origin, _, at| {
                envoy::configuration(&vendors::files(), ("SANITIZE_SET", details), origin, at)
            });
        }
    }
}

#[test]
fn traefik_and_the_preset_named_after_it() {
    let works = Kind::Traefik.version().is_some();
    if gate::require("traefik_oracle", "traefik", works) {
        compare(&named("traefik"), TRAEFIK, Kind::Traefik, vendors::traefik);
    }
}

#[test]
fn caddy_and_values_of_the_same_meaning() {
    if gate::require("caddy_oracle", "caddy", Kind::Caddy.version().is_some()) {
        let headers: Vec<_> = CADDY
            .iter()
            .map(|(name, theirs, _)| (*name, *theirs))
            .collect();
        let ours = CADDY.iter().flat_map(|(name, _, ours)| {
            let header = format!("{name}={{{ours}}}");
            ["--header".to_owned(), header]
        });
        let caddys = ("caddy", ours.collect());
        compare(&caddys, &headers, Kind::Caddy, |origin, dir, at| {
            vendors::caddy(&headers, origin, dir, at)
        });
    }
}

/// What the table of departures calls a set of headers, and the flags that make Herald send it.
type Set<'a> = (&'a str, Vec<String>);

fn named(preset: &str) -> Set<'_> {
    (preset, vec!["--preset".to_owned(), preset.to_owned()])
}

/// Every caller to both; every header of the set must be the same, but for the departures.
fn compare(
    (preset, flags): &Set<'_>,
    headers: &[(&str, &str)],
    kind: Kind,
    written: impl Fn(SocketAddr, &Path, SocketAddr) -> String,
) {
    let (theirs, ours) = (Origin::echo(), Origin::echo());
    let peer = Peer::start(kind, |dir, at| written(theirs.address(), dir, at));
    let herald = Launch::new("required", ours.address()).args(flags).start();
    // Traefik listens before it has read its routes.
    wait::until("the peer to serve", || {
        serves(&Pki::shared().good(), peer.address()).then_some(())
    });
    theirs.take();
    let mut findings = Vec::new();
    let mut compared = 0;
    for (name, ..) in CALLERS {
        let caller = caller(name);
        let [theirs, ours] = [(peer.address(), &theirs), (herald.address(), &ours)]
            .map(|(at, origin)| got(&caller, at, origin));
        for (header, _) in headers {
            compared += 1;
            let [theirs, ours] =
                [&theirs, &ours].map(|fields| fields.all(header).map(text).collect::<Vec<_>>());
            let known = DEPARTURES.iter().find(|(known, caller, field, _)| {
                (*known, *caller, *field) == (*preset, *name, *header)
            });
            match (theirs == ours, known) {
                (true, None) | (false, Some(_)) => {}
                (true, Some(_)) => findings.push(format!(
                    "{name}: {header} is no departure any more: {ours:?}"
                )),
                (false, None) => findings.push(format!(
                    "{name}: {header}\n  {kind:?} {theirs:?}\n  Herald {ours:?}"
                )),
            }
        }
    }
    assert!(
        findings.is_empty(),
        "{preset}:\n{}\n{}",
        findings.join("\n"),
        peer.log()
    );
    println!("{preset}: {compared} values compared");
}

fn caller(name: &str) -> Identity {
    let (_, subject, dns, uris) = CALLERS.iter().find(|(known, ..)| *known == name).unwrap();
    Pki::shared().client(|params| {
        params.distinguished_name = DistinguishedName::new();
        for (attribute, value) in *subject {
            let (kind, value) = match attribute {
                Attribute::Country => (
                    DnType::CountryName,
                    DnValue::PrintableString((*value).try_into().unwrap()),
                ),
                Attribute::Organization => (
                    DnType::OrganizationName,
                    DnValue::Utf8String((*value).to_owned()),
                ),
                Attribute::Unit => (
                    DnType::OrganizationalUnitName,
                    DnValue::Utf8String((*value).to_owned()),
                ),
                Attribute::CommonName => {
                    (DnType::CommonName, DnValue::Utf8String((*value).to_owned()))
                }
            };
            params.distinguished_name.push(kind, value);
        }
        let dns = dns
            .iter()
            .map(|&name| SanType::DnsName(name.try_into().unwrap()));
        let uris = uris
            .iter()
            .map(|&uri| SanType::URI(uri.try_into().unwrap()));
        params.subject_alt_names = uris.chain(dns).collect();
    })
}

fn got(caller: &Identity, at: SocketAddr, origin: &Origin) -> Fields {
    let mut client = Settings::new(Some(caller))
        .alpn(&["http/1.1"])
        .connect(at)
        .unwrap();
    let response = client.get("/").unwrap();
    let mut requests = origin.take();
    assert_eq!(
        (response.status, requests.len()),
        (200, 1),
        "{}",
        response.start
    );
    requests.pop().unwrap().headers
}

fn serves(caller: &Identity, at: SocketAddr) -> bool {
    let client = Settings::new(Some(caller)).connect(at);
    client
        .and_then(|mut client| client.get("/"))
        .is_ok_and(|response| response.status == 200)
}
