//! Which header names a client may send on, and which are Herald's alone.
//!
//! Names are compared by canonical key (lower case, every byte outside `[a-z0-9]` becomes `-`),
//! because origins fold them that way: CGI, WSGI and PHP read `X_CERT_VERIFY`, `X.CERT.VERIFY` and
//! `X-Cert-Verify` from one variable (GHSA-f59h-q822-g45g, GHSA-49wc-4hcv-v58q, CVE-2025-64484).

use std::collections::HashSet;

use super::families::family_names;

/// The names one configuration treats specially. Built once, shared by all requests.
#[derive(Clone, Debug)]
pub struct Hygiene {
    /// Canonical keys that only Herald may set: all preset families and the operator's mapping.
    protected: HashSet<Box<[u8]>, foldhash::fast::RandomState>,
    /// Lower-case names with bytes outside `[a-z0-9-]` that the operator lets through.
    allowed: HashSet<Box<[u8]>, foldhash::fast::RandomState>,
}

impl Hygiene {
    /// `mapped` are the names of the operator's mapping, `allowed` the odd names let through.
    pub fn new<'a>(
        mapped: impl IntoIterator<Item = &'a str>,
        allowed: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            protected: family_names()
                .map(|name| canonical_key(name.as_bytes()))
                .chain(
                    mapped
                        .into_iter()
                        .map(|name| canonical_key(name.as_bytes())),
                )
                .collect(),
            allowed: allowed
                .into_iter()
                .map(|name| name.to_ascii_lowercase().into_bytes().into())
                .collect(),
        }
    }

    /// Whether only Herald may set `name` (any case, any of its spellings).
    pub fn is_protected(&self, name: &[u8]) -> bool {
        if is_canonical(name) {
            self.protected.contains(name)
        } else {
            self.protected.contains(&*canonical_key(name))
        }
    }

    /// As [`Self::is_withheld`] for a peer whose claims about earlier hops are kept. Only under
    /// their own spelling: an origin may fold another one into the list that Herald appends to.
    pub(super) fn is_withheld_from_trusted(&self, name: &[u8]) -> bool {
        if is_canonical(name) {
            return self.protected.contains(name);
        }
        self.is_withheld(name)
    }

    /// Whether a client's header of this lower-case name must not reach the origin, whatever
    /// its value: protected, forwarding claims of an untrusted peer, or a name origins may fold.
    pub(super) fn is_withheld(&self, name: &[u8]) -> bool {
        if is_canonical(name) {
            return self.protected.contains(name) || is_forwarding_claim(name);
        }
        if !self.allowed.contains(name) {
            return true;
        }
        let key = canonical_key(name);
        self.protected.contains(&*key)
            || is_forwarding_claim(&key)
            || is_connection_field(&key)
            || matches!(&*key, b"content-length" | b"host" | b"trailer")
    }
}

/// Lower case, every byte outside `[a-z0-9]` becomes `-`.
pub fn canonical_key(name: &[u8]) -> Box<[u8]> {
    name.iter().map(|byte| canonical_byte(*byte)).collect()
}

/// Fields that belong to one connection and never travel on: RFC 9110 §7.6.1 and the ones
/// that proxies met in the wild. `proxy` is httpoxy (CVE-2016-5385), not hop-by-hop but poison.
pub(super) fn is_connection_field(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection"
            | b"expect"
            | b"http2-settings"
            | b"keep-alive"
            | b"proxy"
            | b"proxy-authenticate"
            | b"proxy-authorization"
            | b"proxy-connection"
            | b"te"
            | b"transfer-encoding"
            | b"upgrade"
    )
}

/// Claims about earlier hops that an untrusted client may not make.
fn is_forwarding_claim(key: &[u8]) -> bool {
    key.starts_with(b"x-forwarded-")
        || matches!(
            key,
            b"forwarded" | b"x-real-ip" | b"x-request-id" | b"request-id" | b"x-correlation-id"
        )
}

fn is_canonical(name: &[u8]) -> bool {
    name.iter()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn canonical_byte(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' => byte,
        b'A'..=b'Z' => byte.to_ascii_lowercase(),
        _ => b'-',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_protected_name_is_protected() {
        let hygiene = Hygiene::new(["X-Device"], ["x_cert_verify", "x_plain"]);
        for name in [
            "x-device",
            "X-DEVICE",
            "x_device",
            "x.device",
            "x~device",
            "x|device",
            "client-cert",
            "x_cert_verify",
            "X-CERT-VERIFY",
            "x!cert*verify",
            "cf-cert-sha1",
            "l5d-client-id",
        ] {
            assert!(hygiene.is_protected(name.as_bytes()), "{name}");
        }
        assert!(!hygiene.is_protected(b"x-devices"));
        assert!(!hygiene.is_protected(b"accept"));
    }

    #[test]
    fn an_allowed_name_never_escapes_the_protected_rule() {
        let hygiene = Hygiene::new(
            [],
            [
                "x_cert_verify",
                "x_plain",
                "x_forwarded_for",
                "keep_alive",
                "content_length",
            ],
        );
        assert!(hygiene.is_withheld(b"x_cert_verify"));
        assert!(hygiene.is_withheld(b"x_forwarded_for"));
        assert!(hygiene.is_withheld(b"keep_alive"));
        assert!(hygiene.is_withheld(b"content_length"));
        assert!(hygiene.is_withheld(b"x_other"));
        assert!(!hygiene.is_withheld(b"x_plain"));
    }

    #[test]
    fn forwarding_claims_are_withheld_and_ordinary_names_are_not() {
        let hygiene = Hygiene::new([], []);
        for name in [
            "x-forwarded-for",
            "x-forwarded-anything",
            "forwarded",
            "x-real-ip",
            "x-request-id",
        ] {
            assert!(hygiene.is_withheld(name.as_bytes()), "{name}");
        }
        for name in [
            "accept",
            "cookie",
            "authorization",
            "traceparent",
            "grpc-timeout",
        ] {
            assert!(!hygiene.is_withheld(name.as_bytes()), "{name}");
        }
    }
}
