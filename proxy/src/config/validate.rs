//! From parsed flags to a configuration: checks what the parsers of single values could not.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;

use super::address::SCHEMES;
use super::flags::{ClientAuth, Flags, TlsVersion};
use super::mistake::{Mistake, Mistakes, Origin, quoted};
use super::model::{Config, Origins, Refusal};
use super::observe::LogTarget;
use super::sections::is_applications;
use super::units::{WORKERS_MAX, Workers};

impl Config {
    /// Checks `flags` as a whole. `mistakes` are those already found; all are reported together.
    /// `section` is the application's table, and whether it names trust stores.
    pub(super) fn validate(
        flags: Flags,
        origins: Origins,
        mistakes: Vec<Mistake>,
        section: Option<(&Origin, bool)>,
    ) -> Result<Self, Mistakes> {
        let mut checks = Checks {
            origins: &origins,
            mistakes,
            section: section.map(|(origin, _)| origin),
        };
        let headers = checks.headers(&flags.header);
        checks.upgrades(&flags.client.upgrade);
        checks.whole(&flags, section.is_some_and(|(_, has_stores)| has_stores));
        let refuse = checks.refuse(&flags);
        let tcp_profiles = steering::profiles(&flags);
        let (window, connection_window) = checks.windows(&flags);
        let mistakes = checks.mistakes;
        let (Some(cert), Some(key), true) = (flags.cert, flags.key, mistakes.is_empty()) else {
            return Err(Mistakes::in_order(mistakes));
        };
        Ok(Self {
            listen: flags.listen,
            cert,
            key,
            client_ca: flags.client_ca,
            upstream: flags.upstream,
            client_auth: flags.client_auth,
            reject_at_tls: flags.reject_at_tls,
            denied_page: flags.denied_page,
            tls12: flags.tls_min == TlsVersion::Tls12,
            presets: flags.preset,
            headers,
            on_failure: flags.identity_on_failure,
            reason_spelling: flags.reason_style,
            allow_header_names: flags.allow_header_name,
            client: flags.client,
            revocation: flags.revocation,
            workers: workers(flags.workers),
            ebpf: flags.ebpf,
            ebpf_objects: flags.steering.ebpf_objects,
            refuse,
            refuse_exempt: flags.refuse_exempt,
            steer: flags.steering.steer,
            tcp_profiles,
            max_connections: flags.max_connections.get(),
            resumption: flags.resumption,
            callers_max: flags.callers_max,
            handshake_timeout: flags.handshake_timeout.0,
            handshake_max: flags.handshake_max.0,
            head_timeout: flags.head_timeout.0,
            head_max: flags.head_max.0,
            head_fields_max: flags.head_fields_max.get(),
            idle_timeout: flags.idle_timeout.0,
            http2_streams_max: flags.http2_streams_max,
            http2_stream_window: window,
            http2_connection_window: connection_window,
            drain_timeout: flags.drain_timeout.0,
            handover: flags.handover,
            account: flags.account,
            drain_idle_timeout: flags.drain_idle_timeout.0,
            kernel: flags.kernel,
            log_level: flags.log_level,
            observe: flags.observe,
            trusts: Vec::new(),
            applications: Vec::new(),
            origins,
            values: HashMap::new(),
        })
    }
}

mod steering;
mod upstream;

/// The mistakes found so far, and where values came from.
struct Checks<'a> {
    origins: &'a Origins,
    mistakes: Vec<Mistake>,
    /// The application's table, if there are several.
    section: Option<&'a Origin>,
}

impl Checks<'_> {
    /// What yields no value of its own.
    fn whole(&mut self, flags: &Flags, has_stores: bool) {
        self.names(&flags.allow_header_name);
        self.client_auth(flags, has_stores);
        self.required(flags);
        self.listen(&flags.listen);
        self.upstream(&flags.upstream);
        self.bounds(flags);
        self.steering(flags);
        self.logs(flags);
        let window = flags.upstream.upstream_http2_window.0;
        self.window("upstream_http2_window", window);
    }

    fn add(&mut self, key: &str, index: usize, message: impl Into<String>, allowed: &str) {
        let origin = self.origins.of(key, index);
        self.mistakes.push(Mistake::new(origin, message, allowed));
    }

    /// A value that was given and refused is not missing as well.
    fn require(&mut self, is_given: bool, key: &str, allowed: &str) {
        if is_given || self.origins.has(key) {
            return;
        }
        let (origin, message) = match self.section {
            Some(table) if is_applications(key) => (
                table.clone(),
                format!("`{key}` is missing, here and at the top"),
            ),
            _ => (
                Origin::Flag(format!("--{}", key.replace('_', "-"))),
                format!("is missing (or `{key}` in the file)"),
            ),
        };
        self.mistakes.push(Mistake::new(origin, message, allowed));
    }

    fn required(&mut self, flags: &Flags) {
        let address = "an address and port, such as 0.0.0.0:443";
        self.require(!flags.listen.is_empty(), "listen", address);
        self.require(flags.cert.is_some(), "cert", "a PEM file");
        self.require(flags.key.is_some(), "key", "a PEM file");
        let origins = &flags.upstream.upstream;
        self.require(!origins.is_empty(), "upstream", SCHEMES);
    }

    fn headers(&mut self, headers: &[String]) -> Vec<(String, String)> {
        let mut split = Vec::with_capacity(headers.len());
        for (index, header) in headers.iter().enumerate() {
            match header.split_once('=') {
                Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                    split.push((name.trim().to_owned(), value.to_owned()));
                }
                _ => self.add(
                    "header",
                    index,
                    format!("{} is not a name and a value", quoted(name_of(header))),
                    "NAME=VALUE, such as X-Device={certSubjectCN}",
                ),
            }
        }
        split
    }

    fn names(&mut self, names: &[String]) {
        for (index, name) in names.iter().enumerate() {
            if name.is_empty() || !name.bytes().all(is_token) {
                self.add(
                    "allow_header_name",
                    index,
                    format!("{} is not a header name", quoted(name)),
                    "a token of RFC 9110 §5.6.2, such as x_request_kind",
                );
            }
        }
    }

    /// What carries HTTP in its tunnel would carry requests past every rule.
    fn upgrades(&mut self, protocols: &[String]) {
        let allowed = "off, or protocols that carry no HTTP, such as websocket";
        for (index, protocol) in protocols.iter().enumerate() {
            let message = match protocol_kind(protocol) {
                ProtocolKind::Tunnel => continue,
                ProtocolKind::Off if protocols.len() == 1 => continue,
                ProtocolKind::Off => "`off` stands beside other protocols".to_owned(),
                ProtocolKind::Http => {
                    let protocol = quoted(protocol);
                    format!("{protocol} carries HTTP requests past every rule")
                }
                ProtocolKind::Unnamed => format!("{} is no protocol name", quoted(protocol)),
            };
            self.add("upgrade", index, message, allowed);
        }
    }

    /// Each worker binds every address, so a repeated one would get connections twice as often.
    /// Port 0 is another port each time.
    fn listen(&mut self, addresses: &[SocketAddr]) {
        for (index, address) in addresses.iter().enumerate() {
            let before = addresses.iter().take(index);
            if address.port() != 0 && before.into_iter().any(|other| other == address) {
                let message = format!("{address} is listed twice");
                self.add("listen", index, message, "each address and port once");
            }
        }
    }

    /// What opening a log would fail with, told before anything is served.
    fn logs(&mut self, flags: &Flags) {
        for (key, target) in [
            ("access_log", &flags.observe.access_log),
            ("connection_log", &flags.observe.connection_log),
        ] {
            let LogTarget::File(path) = target else {
                continue;
            };
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            let message = if path.is_dir() {
                "is a directory"
            } else if folder.is_some_and(is_missing) {
                "its directory does not exist"
            } else {
                continue;
            };
            let message = format!("{}: {message}", path.display());
            self.add(
                key,
                0,
                message,
                "a file in a directory that exists, - or off",
            );
        }
    }

    fn client_auth(&mut self, flags: &Flags, has_stores: bool) {
        let asks = flags.client_auth != ClientAuth::Off;
        self.require(
            !asks || has_stores || !flags.client_ca.is_empty(),
            "client_ca",
            "at least one PEM file of CA certificates (or client_auth off); Herald never falls back to other roots",
        );
        // With several applications the top may name what most of them need.
        if !asks && self.section.is_none() && !flags.client_ca.is_empty() {
            self.add(
                "client_ca",
                0,
                "client CAs are given, but client_auth is off and no certificate is asked for",
                "leave client_ca out, or set client_auth to required, optional or forward-failed",
            );
        }
        let revocation = &flags.revocation;
        if !asks && self.section.is_none() {
            for (key, files) in [
                ("client_crl", &revocation.client_crl),
                ("client_revoked", &revocation.client_revoked),
            ] {
                if !files.is_empty() {
                    let message = format!(
                        "{key} is given, but client_auth is off and no certificate is asked for"
                    );
                    self.add(
                        key,
                        0,
                        message,
                        "client_auth required, optional or forward-failed",
                    );
                }
            }
        }
        if flags.reject_at_tls && flags.client_auth != ClientAuth::Required {
            self.add(
                "reject_at_tls",
                0,
                "reject_at_tls refuses every client without a good certificate, which client_auth does not ask for",
                "client_auth required",
            );
        }
    }

    /// A limit that nothing would keep is a mistake, not a limit.
    fn refuse(&mut self, flags: &Flags) -> Option<Refusal> {
        let Some(rate) = flags.refuse_rate else {
            if flags.refuse_burst.is_some() {
                let message = "a burst is given, but no rate";
                self.add("refuse_burst", 0, message, "refuse_rate beside it");
            }
            if !flags.refuse_exempt.is_empty() {
                let message = "a network is exempt, but nobody is refused";
                self.add("refuse_exempt", 0, message, "refuse_rate beside it");
            }
            return None;
        };
        let twice = rate.saturating_mul(TWO);
        let burst = flags.refuse_burst.unwrap_or(twice);
        for (key, number) in [("refuse_rate", rate), ("refuse_burst", burst)] {
            if number.get() > 2 * MILLION {
                let message = format!("{number} is out of bounds");
                self.add(key, 0, message, &format!("1 to {MILLION}"));
            }
        }
        if flags.refuse_exempt.len() > EXEMPT_MAX {
            let message = format!("{} networks are too many", flags.refuse_exempt.len());
            let allowed = format!("at most {EXEMPT_MAX}");
            self.add("refuse_exempt", EXEMPT_MAX, message, &allowed);
        }
        Some(Refusal { rate, burst })
    }

    /// Bounds that the type of a number does not have. Each keeps a stage from a panic or from
    /// serving nobody.
    fn bounds(&mut self, flags: &Flags) {
        let streams = usize::try_from(flags.http2_streams_max).unwrap_or(usize::MAX);
        for (key, number, bounds) in [
            (
                "max_connections",
                flags.max_connections.get(),
                1..=TEN_MILLION,
            ),
            // Below 4 KiB not even a ClientHello with a post-quantum key share and a chain fits.
            ("handshake_max", flags.handshake_max.0, 4 * KIB..=16 * MIB),
            ("head_max", flags.head_max.0, 4 * KIB..=MIB),
            // `http::HeaderMap` ends at 32768 names, and hyper reserves room for all on every head.
            ("head_fields_max", flags.head_fields_max.get(), 1..=4096),
            ("http2_streams_max", streams, 1..=10_000),
            (
                "upstream_idle_max",
                flags.upstream.upstream_idle_max,
                0..=65_536,
            ),
            (
                "upstream_http2_streams",
                flags.upstream.upstream_http2_streams,
                1..=10_000,
            ),
            ("callers_max", flags.callers_max.get(), 1..=TEN_MILLION),
        ] {
            if !bounds.contains(&number) {
                let message = format!("{number} is out of bounds");
                let allowed = format!("{} to {}", bounds.start(), bounds.end());
                self.add(key, 0, message, &allowed);
            }
        }
    }

    /// Those of a stream and of a connection.
    fn windows(&mut self, flags: &Flags) -> (u32, u32) {
        let stream = self.window("http2_stream_window", flags.http2_stream_window.0);
        let connection = flags.http2_connection_window.0;
        (stream, self.window("http2_connection_window", connection))
    }

    /// RFC 9113 §6.9.1 ends windows at 2^31-1.
    fn window(&mut self, key: &str, size: usize) -> u32 {
        let window = u32::try_from(size)
            .ok()
            .filter(|size| (65_535..1 << 31).contains(size));
        if window.is_none() {
            let message = format!("a window of {size} bytes is out of bounds");
            self.add(key, 0, message, "65535 bytes to 1GiB");
        }
        window.unwrap_or(65_535)
    }
}

/// Whether there is certainly no such folder: one that can't be looked at may have been open to the
/// privileges of the start.
fn is_missing(folder: &Path) -> bool {
    match std::fs::metadata(folder) {
        Ok(found) => !found.is_dir(),
        Err(error) => error.kind() != std::io::ErrorKind::PermissionDenied,
    }
}

/// What a listed protocol is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ProtocolKind {
    Off,
    Tunnel,
    /// TLS among them: inside it (RFC 2817) the client speaks HTTP to the origin again.
    Http,
    Unnamed,
}

/// RFC 9110 §7.8: a token, or two with a slash between.
fn protocol_kind(protocol: &str) -> ProtocolKind {
    let (name, version) = protocol.split_once('/').unwrap_or((protocol, "1"));
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(is_token);
    match &*name.to_ascii_lowercase() {
        "off" => ProtocolKind::Off,
        "http" | "https" | "h2" | "h2c" | "h3" | "spdy" | "tls" => ProtocolKind::Http,
        _ if is_name(name) && is_name(version) => ProtocolKind::Tunnel,
        _ => ProtocolKind::Unnamed,
    }
}

fn workers(asked: Workers) -> usize {
    let most = usize::try_from(WORKERS_MAX).unwrap_or(usize::MAX);
    match asked {
        Workers::Auto => std::thread::available_parallelism()
            .map_or(1, NonZeroUsize::get)
            .min(most),
        Workers::Count(count) => count,
    }
}

/// The beginning of `header` that can be a name: what follows may be a secret.
fn name_of(header: &str) -> &str {
    let end = header.bytes().position(|byte| !is_token(byte));
    end.and_then(|end| header.get(..end)).unwrap_or(header)
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const MILLION: u32 = 1_000_000;
const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
/// What the kernel's table of exempt networks holds.
const EXEMPT_MAX: usize = 1024;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const TEN_MILLION: usize = 10_000_000;
