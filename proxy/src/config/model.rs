//! The validated configuration: plain types, every value within its bounds.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::flags::{ClientAuth, Flags, LogLevel, OnFailure, ReasonSpelling, TlsVersion};
use super::mistake::{Mistake, Mistakes, Origin};

/// What Herald was asked to do. Made by [`Config::load`] or [`Config::from_flags`] alone.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on, at least one.
    pub listen: Vec<SocketAddr>,
    /// Own chain, PEM.
    pub cert: PathBuf,
    /// Own key, PEM.
    pub key: PathBuf,
    /// Client CAs, PEM; empty only with [`ClientAuth::Off`].
    pub client_ca: Vec<PathBuf>,
    /// The origin.
    pub upstream: UpstreamAddr,
    /// Who may pass.
    pub client_auth: ClientAuth,
    /// Whether a TLS alert takes the place of 403.
    pub reject_at_tls: bool,
    /// Whether TLS 1.2 is spoken.
    pub tls12: bool,
    /// Names of presets.
    pub presets: Vec<String>,
    /// Header names and templates.
    pub headers: Vec<(String, String)>,
    /// What is told of failed certificates.
    pub on_failure: OnFailure,
    /// How reasons are spelled.
    pub reason_spelling: ReasonSpelling,
    /// Odd client header names that pass.
    pub allow_header_names: Vec<String>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// Client connections.
    pub max_connections: usize,
    /// TLS sessions kept; `None` for no resumption.
    pub sessions_max: Option<NonZeroUsize>,
    /// Callers kept.
    pub callers_max: NonZeroUsize,
    /// Handshake deadline.
    pub handshake_timeout: Duration,
    /// Handshake bytes.
    pub handshake_max: usize,
    /// Request head deadline.
    pub head_timeout: Duration,
    /// Request head bytes.
    pub head_max: usize,
    /// Request head fields.
    pub head_fields_max: usize,
    /// Idle client connections.
    pub idle_timeout: Duration,
    /// HTTP/2 streams.
    pub http2_streams_max: u32,
    /// HTTP/2 stream window, bytes.
    pub http2_stream_window: u32,
    /// HTTP/2 connection window, bytes.
    pub http2_connection_window: u32,
    /// Connecting to the origin.
    pub upstream_connect_timeout: Duration,
    /// Awaiting the origin's answer.
    pub upstream_response_timeout: Duration,
    /// Unused connections to the origin.
    pub upstream_idle_timeout: Duration,
    /// Unused connections a worker keeps.
    pub upstream_idle_max: usize,
    /// Drain deadline.
    pub drain_timeout: Duration,
    /// Log level.
    pub log_level: LogLevel,
    pub(super) origins: Origins,
    /// The values in force as they would be written, by key, for the plan.
    pub(super) values: HashMap<String, Vec<String>>,
}

/// Where each value of each key came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(HashMap<String, Vec<Origin>>);

impl Origins {
    pub(super) fn add(&mut self, key: &str, origin: Origin) {
        self.0.entry(key.to_owned()).or_default().push(origin);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn of(&self, key: &str, index: usize) -> Origin {
        let origins = self.0.get(key);
        origins
            .and_then(|origins| origins.get(index).or_else(|| origins.first()))
            .cloned()
            .unwrap_or(Origin::Default)
    }
}

impl Config {
    /// Where value `index` of `key` came from.
    pub fn origin(&self, key: &str, index: usize) -> Origin {
        self.origins.of(key, index)
    }

    /// Checks what the parsers of single values could not.
    pub(super) fn validate(
        flags: Flags,
        origins: Origins,
        mut mistakes: Vec<Mistake>,
    ) -> Result<Self, Mistakes> {
        let headers = split_headers(&flags.header, &origins, &mut mistakes);
        check_names(&flags.allow_header_name, &origins, &mut mistakes);
        check_client_auth(&flags, &origins, &mut mistakes);
        let (window, connection_window) = check_windows(&flags, &origins, &mut mistakes);
        if flags.workers > WORKERS_MAX {
            let message = format!("{} workers are too many", flags.workers);
            mistakes.push(Mistake::new(
                origins.of("workers", 0),
                message,
                "0 (one a core) to 1024",
            ));
        }
        let mut require = |is_given: bool, key: &str, allowed: &str| {
            // A value that was given and refused is not missing as well.
            if !is_given && !origins.has(key) {
                mistakes.push(missing(key, allowed));
            }
        };
        require(
            !flags.listen.is_empty(),
            "listen",
            "an address and port, such as 0.0.0.0:443",
        );
        require(flags.cert.is_some(), "cert", "a PEM file");
        require(flags.key.is_some(), "key", "a PEM file");
        require(flags.upstream.is_some(), "upstream", "http://HOST:PORT");
        let (Some(cert), Some(key), Some(upstream), true) =
            (flags.cert, flags.key, flags.upstream, mistakes.is_empty())
        else {
            return Err(Mistakes::in_order(mistakes));
        };
        Ok(Self {
            listen: flags.listen,
            cert,
            key,
            client_ca: flags.client_ca,
            upstream,
            client_auth: flags.client_auth,
            reject_at_tls: flags.reject_at_tls,
            tls12: flags.tls_min == TlsVersion::Tls12,
            presets: flags.preset,
            headers,
            on_failure: flags.identity_on_failure,
            reason_spelling: flags.reason_style,
            allow_header_names: flags.allow_header_name,
            workers: workers(flags.workers),
            max_connections: flags.max_connections.get(),
            sessions_max: NonZeroUsize::new(flags.sessions_max),
            callers_max: flags.callers_max,
            handshake_timeout: flags.handshake_timeout.0,
            handshake_max: flags.handshake_max.0,
            head_timeout: flags.head_timeout.0,
            head_max: flags.head_max.0,
            head_fields_max: flags.head_fields_max.get(),
            idle_timeout: flags.idle_timeout.0,
            http2_streams_max: flags.http2_streams_max.max(1),
            http2_stream_window: window,
            http2_connection_window: connection_window,
            upstream_connect_timeout: flags.upstream_connect_timeout.0,
            upstream_response_timeout: flags.upstream_response_timeout.0,
            upstream_idle_timeout: flags.upstream_idle_timeout.0,
            upstream_idle_max: flags.upstream_idle_max,
            drain_timeout: flags.drain_timeout.0,
            log_level: flags.log_level,
            origins,
            values: HashMap::new(),
        })
    }
}

fn split_headers(
    headers: &[String],
    origins: &Origins,
    mistakes: &mut Vec<Mistake>,
) -> Vec<(String, String)> {
    let mut split = Vec::with_capacity(headers.len());
    for (index, header) in headers.iter().enumerate() {
        match header.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                split.push((name.trim().to_owned(), value.to_owned()));
            }
            _ => mistakes.push(Mistake::new(
                origins.of("header", index),
                format!("`{header}` is not a name and a value"),
                "NAME=VALUE, such as X-Device={certSubjectCN}",
            )),
        }
    }
    split
}

fn check_names(names: &[String], origins: &Origins, mistakes: &mut Vec<Mistake>) {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || !name.bytes().all(is_token) {
            mistakes.push(Mistake::new(
                origins.of("allow_header_name", index),
                format!("`{name}` is not a header name"),
                "a token of RFC 9110 §5.6.2, such as x_request_kind",
            ));
        }
    }
}

fn check_client_auth(flags: &Flags, origins: &Origins, mistakes: &mut Vec<Mistake>) {
    let asks = flags.client_auth != ClientAuth::Off;
    if asks && flags.client_ca.is_empty() && !origins.has("client_ca") {
        mistakes.push(missing(
            "client_ca",
            "at least one PEM file of CA certificates (or client_auth off); Herald never falls back to other roots",
        ));
    }
    if !asks && !flags.client_ca.is_empty() {
        mistakes.push(Mistake::new(
            origins.of("client_ca", 0),
            "client CAs are given, but client_auth is off and no certificate is asked for",
            "leave client_ca out, or set client_auth to required, optional or forward-failed",
        ));
    }
    if flags.reject_at_tls && flags.client_auth != ClientAuth::Required {
        mistakes.push(Mistake::new(
            origins.of("reject_at_tls", 0),
            "reject_at_tls refuses every client without a good certificate, which client_auth does not ask for",
            "client_auth required",
        ));
    }
}

/// RFC 9113 §6.9.1 ends windows at 2^31-1.
fn check_windows(flags: &Flags, origins: &Origins, mistakes: &mut Vec<Mistake>) -> (u32, u32) {
    let mut check = |key: &str, size: usize| {
        let window = u32::try_from(size)
            .ok()
            .filter(|size| (65_535..1 << 31).contains(size));
        window.unwrap_or_else(|| {
            let message = format!("a window of {size} bytes is out of bounds");
            mistakes.push(Mistake::new(
                origins.of(key, 0),
                message,
                "65535 bytes to 1GiB",
            ));
            65_535
        })
    };
    (
        check("http2_stream_window", flags.http2_stream_window.0),
        check("http2_connection_window", flags.http2_connection_window.0),
    )
}

fn missing(key: &str, allowed: &str) -> Mistake {
    let flag = format!("--{}", key.replace('_', "-"));
    let message = format!("is missing (or `{key}` in the file)");
    Mistake::new(Origin::Flag(flag), message, allowed)
}

fn workers(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism()
            .map_or(1, NonZeroUsize::get)
            .min(WORKERS_MAX),
        asked => asked,
    }
}

const WORKERS_MAX: usize = 1024;

/// Where the origin listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamAddr {
    host: String,
    port: u16,
}

impl UpstreamAddr {
    /// A name or an address, IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for UpstreamAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for UpstreamAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => {
                return Err(format!(
                    "`{scheme}` origins can't be reached yet: http://HOST:PORT"
                ));
            }
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
                (host, port.strip_prefix(':'))
            }
            Some(_) => return Err("the address in brackets is not IPv6".into()),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, Some("80")),
            },
        };
        let port = port
            .unwrap_or("80")
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0);
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        match port {
            Some(port) if !host.is_empty() && host.bytes().all(is_host) => Ok(Self {
                host: host.into(),
                port,
            }),
            _ => Err("an origin is http://HOST:PORT, without user, path or query".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_and_written_alike() {
        for (text, shown) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://origin.internal/", "origin.internal:80"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("[::1]", "[::1]:80"),
            ("host:1", "host:1"),
        ] {
            assert_eq!(text.parse::<UpstreamAddr>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "http://",
            "https://a:1",
            "http://u@a:1",
            "http://a:1/x",
            "a:0",
            "a:65536",
            "a:b",
            "[x]:1",
            "::1:80",
            "unix:/x",
        ] {
            assert!(text.parse::<UpstreamAddr>().is_err(), "{text}");
        }
    }
}
