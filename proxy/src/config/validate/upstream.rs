//! Checks of the settings of origins.

use super::Checks;
use crate::config::address::Scheme;
use crate::config::flags::UpstreamFlags;
use crate::config::mistake::quoted;

impl Checks<'_> {
    pub(super) fn upstream(&mut self, flags: &UpstreamFlags) {
        self.origins(flags);
        self.origin_tls(flags);
        if let Some(path) = &flags.upstream_health_path
            && !is_path(path)
        {
            let message = format!("{} is not a path", quoted(path));
            self.add("upstream_health_path", 0, message, "such as /healthz");
        }
    }

    /// A repeated origin would get twice its share, and its health would be kept in two places.
    fn origins(&mut self, flags: &UpstreamFlags) {
        let origins = &flags.upstream;
        for (index, origin) in origins.iter().enumerate() {
            let mut before = origins.iter().take(index);
            if before.any(|other| other == origin) {
                let message = format!("{origin} is listed twice");
                self.add("upstream", index, message, "each origin once");
            }
        }
        if origins.len() > ORIGINS_MAX {
            let message = format!("{} origins are listed", origins.len());
            let allowed = format!("at most {ORIGINS_MAX}");
            self.add("upstream", ORIGINS_MAX, message, &allowed);
        }
    }

    fn origin_tls(&mut self, flags: &UpstreamFlags) {
        let mut origins = flags.upstream.iter();
        if origins.any(|origin| origin.scheme() == Scheme::Https) {
            self.require(
                !flags.upstream_ca.is_empty(),
                "upstream_ca",
                "at least one PEM file of CA certificates for https origins; Herald never falls back to other roots",
            );
            self.require(
                flags.upstream_cert.is_none() || flags.upstream_key.is_some(),
                "upstream_key",
                "the private key of upstream_cert, PEM",
            );
            self.require(
                flags.upstream_key.is_none() || flags.upstream_cert.is_some(),
                "upstream_cert",
                "the certificate of upstream_key, PEM",
            );
            return;
        }
        // Settings without effect would look like protection.
        for (key, is_given) in [
            ("upstream_ca", !flags.upstream_ca.is_empty()),
            ("upstream_cert", flags.upstream_cert.is_some()),
            ("upstream_key", flags.upstream_key.is_some()),
            ("upstream_server_name", flags.upstream_server_name.is_some()),
        ] {
            if is_given {
                let message = format!("{key} is given, but no origin is spoken to over TLS");
                self.add(key, 0, message, "an https:// origin, or leave it out");
            }
        }
    }
}

/// A path with or without a query that stands in a request line as it is (RFC 9112 §3.2.1).
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// A request remembers in one word which it has tried.
const ORIGINS_MAX: usize = 64;
