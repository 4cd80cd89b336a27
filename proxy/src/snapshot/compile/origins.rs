//! The origins of the configuration as `upstream` knows them.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use http::uri::PathAndQuery;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};

use super::read;
use crate::config::{self, Config, Isolate, Mistake, Mistakes, Place, Scheme, UpstreamAddr};
use crate::files::Files;
use crate::tls::origin::{self, OriginTlsError, OwnCertificate};
use crate::upstream::{
    Balance, HealthCheck, Limits, Origin, Settings, Speaks, TlsOrigin, UpstreamTarget,
};

/// Each origin, in the order of the configuration; `None` after a mistake.
pub(super) fn compile(
    config: &Config,
    files: &Files,
    mistakes: &mut Vec<Mistake>,
) -> Option<Vec<Origin>> {
    let flags = &config.upstream;
    let before = mistakes.len();
    let speaks_tls = |address: &UpstreamAddr| address.scheme() == Scheme::Https;
    let tls = match flags.upstream.iter().any(speaks_tls) {
        true => tls(config, files, mistakes)
            .map(|config| (Arc::clone(&config), origin::http1_alone(&config))),
        false => None,
    };
    let mut origins = Vec::with_capacity(flags.upstream.len());
    for (index, address) in flags.upstream.iter().enumerate() {
        let speaks = match address.scheme() {
            Scheme::Http => Speaks::Http1,
            Scheme::H2c => Speaks::Http2,
            Scheme::Https => {
                let name = server_name(config, (index, address), mistakes);
                let (Some((config, http1)), Some(name)) = (&tls, name) else {
                    continue;
                };
                let (config, http1) = (Arc::clone(config), Arc::clone(http1));
                Speaks::Tls(TlsOrigin {
                    config,
                    http1,
                    name,
                })
            }
        };
        let target = target(address);
        origins.push(Origin { target, speaks });
    }
    (mistakes.len() == before).then_some(origins)
}

/// Trust in https origins, and Herald's own certificate towards them.
fn tls(config: &Config, files: &Files, mistakes: &mut Vec<Mistake>) -> Option<Arc<ClientConfig>> {
    let flags = &config.upstream;
    let before = mistakes.len();
    let mut authorities = Vec::with_capacity(flags.upstream_ca.len());
    for (index, path) in flags.upstream_ca.iter().enumerate() {
        authorities.extend(read((config, files), "upstream_ca", index, path, mistakes));
    }
    let own = match (&flags.upstream_cert, &flags.upstream_key) {
        (Some(chain), Some(key)) => {
            let chain = read((config, files), "upstream_cert", 0, chain, mistakes);
            let key = read((config, files), "upstream_key", 0, key, mistakes);
            chain.zip(key)
        }
        _ => None,
    };
    if mistakes.len() > before {
        return None;
    }
    let own = own.map(|(chain_pem, key_pem)| OwnCertificate { chain_pem, key_pem });
    origin::client_config(&authorities, own)
        .map_err(|error| mistakes.push(tls_mistake(config, &error)))
        .ok()
}

fn tls_mistake(config: &Config, error: &OriginTlsError) -> Mistake {
    let flags = &config.upstream;
    let (key, index, path, allowed) = match error {
        OriginTlsError::Authority { file, .. }
        | OriginTlsError::AuthorityEmpty { file }
        | OriginTlsError::AuthorityUnusable { file, .. } => (
            "upstream_ca",
            *file,
            flags.upstream_ca.get(*file),
            "CA certificates, PEM",
        ),
        OriginTlsError::Key(_) => (
            "upstream_key",
            0,
            flags.upstream_key.as_ref(),
            "a private key, PEM: PKCS #8, PKCS #1 or SEC 1, RSA, ECDSA or Ed25519",
        ),
        _ => (
            "upstream_cert",
            0,
            flags.upstream_cert.as_ref(),
            "a certificate chain, PEM, leaf first, and the key that belongs to it",
        ),
    };
    let path = path.map(|path| path.display().to_string());
    let message = format!("{}: {error}", path.unwrap_or_default());
    Mistake::new(config.origin(key, index), message, allowed)
}

/// The name that the certificate of an https origin must be for.
fn server_name(
    config: &Config,
    (index, address): (usize, &UpstreamAddr),
    mistakes: &mut Vec<Mistake>,
) -> Option<ServerName<'static>> {
    let (key, index, name) = match (&config.upstream.upstream_server_name, address.place()) {
        (Some(name), _) => ("upstream_server_name", 0, name.clone()),
        (None, Place::Tcp { host, .. }) => ("upstream", index, host.clone()),
        (None, Place::Unix(_)) => ("upstream", index, String::new()),
    };
    ServerName::try_from(name)
        .map_err(|error| {
            let allowed = "a DNS name or an IP address";
            let mistake = Mistake::new(config.origin(key, index), error.to_string(), allowed);
            if !mistakes.contains(&mistake) {
                mistakes.push(mistake);
            }
        })
        .ok()
}

/// What all of them have in common.
pub(super) fn settings(config: &Config) -> Settings {
    let flags = &config.upstream;
    Settings {
        balance: match flags.upstream_balance {
            config::Balance::RoundRobin => Balance::RoundRobin,
            config::Balance::LeastRequests => Balance::LeastRequests,
            config::Balance::Fingerprint => Balance::Fingerprint,
        },
        isolate: flags.upstream_isolate == Isolate::Identity,
        tcp_profile: flags.upstream_tcp_profile.map(|settings| settings.0),
        limits: Limits {
            connect_timeout: flags.upstream_connect_timeout.0,
            response_timeout: flags.upstream_response_timeout.0,
            body_timeout: config.client.body_timeout.0,
            idle_timeout: flags.upstream_idle_timeout.0,
            max_idle: flags.upstream_idle_max,
            http2_streams: flags.upstream_http2_streams,
            http2_stream_window: u32::try_from(flags.upstream_http2_window.0).unwrap_or(u32::MAX),
            ..Limits::default()
        },
    }
}

/// The same as long as origins, their settings and the files these name are the same.
pub(super) fn digest(config: &Config, name: &str, files: &Files) -> [u8; 32] {
    let flags = &config.upstream;
    let mut hash = Sha256::new();
    let settings = format!("{name}\0{flags:?}\0{:?}", config.client.body_timeout);
    hash.update(settings);
    let own = [&flags.upstream_cert, &flags.upstream_key];
    let named = flags.upstream_ca.iter().chain(own.into_iter().flatten());
    for path in named {
        // One that can't be read has been told already, and nothing comes of this compilation.
        hash.update(Sha256::digest(
            files.read(path, super::FILE_MAX).unwrap_or_default(),
        ));
    }
    hash.finalize().into()
}

/// How origins are checked, if they are.
pub(super) fn health_check(config: &Config, mistakes: &mut Vec<Mistake>) -> Option<HealthCheck> {
    let flags = &config.upstream;
    let path = PathAndQuery::try_from(flags.upstream_health_path.clone()?);
    let interval = flags.upstream_health_interval.0;
    path.map(|path| HealthCheck { path, interval })
        .map_err(|error| {
            let origin = config.origin("upstream_health_path", 0);
            mistakes.push(Mistake::new(origin, error.to_string(), "such as /healthz"));
        })
        .ok()
}

/// What stands in for the `Host` that an HTTP/1.0 client may leave out: the first origin's.
pub(super) fn authority(config: &Config) -> Result<HeaderValue, Mistakes> {
    let first = config.upstream.upstream.first();
    let authority = first.map_or_else(String::new, UpstreamAddr::authority);
    HeaderValue::from_str(&authority).map_err(|error| {
        let origin = config.origin("upstream", 0);
        let mistake = Mistake::new(origin, error.to_string(), "http://HOST:PORT");
        Mistakes(vec![mistake])
    })
}

fn target(address: &UpstreamAddr) -> UpstreamTarget {
    match address.place() {
        Place::Unix(path) => UpstreamTarget::Unix(path.clone()),
        Place::Tcp { host, port } => match host.parse() {
            Ok(address) => UpstreamTarget::Address(SocketAddr::new(address, *port)),
            Err(_name) => UpstreamTarget::Name {
                host: host.clone(),
                port: *port,
            },
        },
    }
}
