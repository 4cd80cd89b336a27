//! From a configuration to a snapshot: reads the files it names, collects every mistake.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;

use super::{Limits, Snapshot};
use crate::caller::Standings;
use crate::config::{
    self, ClientAuth, Config, ForwardedStyle, LogFormat, LogTarget, Mistake, Mistakes,
    ReasonSpelling,
};
use crate::headers::{Forwarding, Hygiene, Mapping, Preset};
use crate::http::serve;
use crate::identity::OnFailure;
use crate::tls::context::{self, ContextError, Settings};
use crate::tls::{
    AtHandshake, ClientVerifier, HandshakeLimits, ReasonStyle, StoreError, TrustStore,
};

mod origins;

pub(super) fn compile(config: &Config) -> Result<Snapshot, Mistakes> {
    let mut mistakes = Vec::new();
    let mapping = mapping(config, &mut mistakes);
    let trust = trust(config, &mut mistakes);
    let chain_pem = read(config, "cert", 0, &config.cert, &mut mistakes);
    let key_pem = read(config, "key", 0, &config.key, &mut mistakes);
    let (Some(mapping), Some(chain_pem), Some(key_pem), true) =
        (mapping, chain_pem, key_pem, mistakes.is_empty())
    else {
        return Err(Mistakes(mistakes));
    };
    let tls = context::server_config(Settings {
        chain_pem,
        key_pem,
        verifier: trust.as_ref().map(|trust| verifier(config, trust)),
        tls12: config.tls12,
        sessions_max: config.sessions_max,
    })
    .map_err(|error| Mistakes(vec![pair_mistake(config, &error)]))?;
    let authority = origins::authority(config)?;
    let allowed = config.allow_header_names.iter().map(String::as_str);
    Ok(Snapshot {
        client_auth: config.client_auth,
        tls: Arc::new(tls),
        hygiene: Hygiene::new(mapping.names(), allowed),
        forwarding: forwarding(config),
        origin_labels: config
            .upstream
            .upstream
            .iter()
            .map(ToString::to_string)
            .collect(),
        origins: origins::compile(config),
        upstream: origins::settings(config),
        resolve_interval: config.upstream.upstream_resolve.0,
        fallback_authority: authority,
        limits: limits(config),
        trust,
        reject_at_tls: config.reject_at_tls,
        mapping,
        reason_style: match config.reason_spelling {
            ReasonSpelling::Openssl1 => ReasonStyle::Openssl1,
            ReasonSpelling::Openssl3 => ReasonStyle::Openssl3,
        },
        on_failure: match config.on_failure {
            config::OnFailure::Omit => OnFailure::Omit,
            config::OnFailure::Send => OnFailure::Send,
        },
        standings: Standings::new(config.callers_max),
        records: records(config),
    })
}

fn records(config: &Config) -> Option<LogFormat> {
    let off = config.access_log == LogTarget::Off && config.connection_log == LogTarget::Off;
    (!off).then_some(config.access_log_format)
}

fn mapping(config: &Config, mistakes: &mut Vec<Mistake>) -> Option<Mapping> {
    let mut presets = Vec::with_capacity(config.presets.len());
    for (index, name) in config.presets.iter().enumerate() {
        match Preset::parse(name) {
            Some(preset) => presets.push(preset),
            None => {
                let known: Vec<_> = Preset::all().map(Preset::name).collect();
                let message = format!("`{name}` is not a preset");
                mistakes.push(Mistake::new(
                    config.origin("preset", index),
                    message,
                    known.join(", "),
                ));
            }
        }
    }
    Mapping::compile(&presets, &config.headers)
        .map_err(|errors| {
            let found = errors
                .into_iter()
                .map(|error| Mistake::new(config.origin("header", error.entry), error.message, ""));
            mistakes.extend(found);
        })
        .ok()
}

fn trust(config: &Config, mistakes: &mut Vec<Mistake>) -> Option<Arc<TrustStore>> {
    if config.client_auth == ClientAuth::Off {
        return None;
    }
    let before = mistakes.len();
    let mut pems: Vec<(PathBuf, Vec<u8>)> = Vec::with_capacity(config.client_ca.len());
    for (index, path) in config.client_ca.iter().enumerate() {
        if let Some(pem) = read(config, "client_ca", index, path, mistakes) {
            pems.push((path.clone(), pem));
        }
    }
    if mistakes.len() > before {
        return None;
    }
    match TrustStore::load(STORE_NAME, &pems) {
        Ok(trust) => Some(Arc::new(trust)),
        Err(error) => {
            let index = config
                .client_ca
                .iter()
                .position(|path| Some(path) == at_fault(&error));
            let origin = config.origin("client_ca", index.unwrap_or(0));
            mistakes.push(Mistake::new(
                origin,
                error.to_string(),
                "CA certificates, PEM",
            ));
            None
        }
    }
}

fn at_fault(error: &StoreError) -> Option<&PathBuf> {
    match error {
        StoreError::NoCertificate { file }
        | StoreError::BrokenPem { file, .. }
        | StoreError::OtherBlock { file, .. }
        | StoreError::Unusable { file, .. } => Some(file),
        _ => None,
    }
}

fn verifier(config: &Config, trust: &Arc<TrustStore>) -> Arc<dyn ClientCertVerifier> {
    let at_handshake = if config.reject_at_tls {
        AtHandshake::Reject
    } else {
        AtHandshake::Complete
    };
    // A client that is told the CA names would keep the very certificate back that is to be
    // forwarded with its failure.
    let name_authorities = config.client_auth != ClientAuth::ForwardFailed;
    let algorithms = context::provider().signature_verification_algorithms;
    Arc::new(ClientVerifier::new(
        Arc::clone(trust),
        at_handshake,
        name_authorities,
        algorithms,
    ))
}

fn pair_mistake(config: &Config, error: &ContextError) -> Mistake {
    match error {
        ContextError::Key(_) => Mistake::new(
            config.origin("key", 0),
            format!("{}: {error}", config.key.display()),
            "a private key, PEM: PKCS #8, PKCS #1 or SEC 1, RSA, ECDSA or Ed25519",
        ),
        _ => Mistake::new(
            config.origin("cert", 0),
            format!("{}: {error}", config.cert.display()),
            "the server's certificate chain, PEM, leaf first, and the key that belongs to it",
        ),
    }
}

/// Reads a file of the configuration: a regular one, of bounded size.
fn read(
    config: &Config,
    key: &str,
    index: usize,
    path: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Option<Vec<u8>> {
    let read = || -> std::io::Result<Vec<u8>> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let cannot = |what: &dyn std::fmt::Display| format!("{} can't be read: {what}", path.display());
    let message = match read() {
        Ok(bytes) if bytes.len() as u64 > FILE_MAX => cannot(&"it is larger than 16 MiB"),
        Ok(bytes) => return Some(bytes),
        Err(error) => cannot(&error),
    };
    mistakes.push(Mistake::new(
        config.origin(key, index),
        message,
        "a readable PEM file",
    ));
    None
}

fn forwarding(config: &Config) -> Forwarding {
    let style = config.forwarded;
    Forwarding {
        x_forwarded: matches!(style, ForwardedStyle::XForwarded | ForwardedStyle::Both),
        forwarded: matches!(style, ForwardedStyle::Forwarded | ForwardedStyle::Both),
        request_id: config.request_id,
        trusted: config.trusted_proxies.clone(),
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        handshake: HandshakeLimits {
            deadline: config.handshake_timeout,
            bytes_max: config.handshake_max,
        },
        http: serve::Limits {
            head_timeout: config.head_timeout,
            idle_timeout: config.idle_timeout,
            head_bytes_max: config.head_max,
            head_fields_max: config.head_fields_max,
            http2_streams_max: config.http2_streams_max,
            http2_stream_window: config.http2_stream_window,
            http2_connection_window: config.http2_connection_window,
        },
        body_max: config.body_max,
    }
}

/// With flags alone there is one store.
const STORE_NAME: &str = "default";
/// CA bundles of large fleets stay far below.
const FILE_MAX: u64 = 16 * 1024 * 1024;
