//! The address of an origin, as an operator writes it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// An origin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamAddr {
    scheme: Scheme,
    place: Place,
}

/// What an origin speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/1.1 or HTTP/2, as agreed, over TLS.
    Https,
    /// HTTP/2 in the clear.
    H2c,
}

/// Where an origin listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A TCP port.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket on this host, by its absolute path.
    Unix(PathBuf),
}

impl UpstreamAddr {
    /// What it speaks.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where it listens.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What a request names it by, `host:port`.
    pub fn authority(&self) -> String {
        match &self.place {
            Place::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Tcp { host, port } => format!("{host}:{port}"),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for UpstreamAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.scheme) {
            (Place::Tcp { .. }, Scheme::Http) => f.write_str(&self.authority()),
            (Place::Tcp { .. }, Scheme::Https) => write!(f, "https://{}", self.authority()),
            (Place::Tcp { .. }, Scheme::H2c) => write!(f, "h2c://{}", self.authority()),
            (Place::Unix(path), Scheme::H2c) => write!(f, "h2c+unix:{}", path.display()),
            (Place::Unix(path), _) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for UpstreamAddr {
    type Err = String;

    /// The message never holds the text: it may be a URL with a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => match text.split_once(':') {
                Some((scheme @ ("unix" | "h2c+unix"), path)) => (scheme, path),
                _ => ("http", text),
            },
        };
        let (scheme, place) = match scheme {
            "http" => (Scheme::Http, tcp(rest, 80)?),
            "https" => (Scheme::Https, tcp(rest, 443)?),
            "h2c" => (Scheme::H2c, tcp(rest, 80)?),
            "unix" => (Scheme::Http, unix(rest)?),
            "h2c+unix" => (Scheme::H2c, unix(rest)?),
            _ => return Err(format!("{SCHEMES}, and no other scheme")),
        };
        Ok(Self { scheme, place })
    }
}

/// `HOST[:PORT]`.
fn tcp(rest: &str, default_port: u16) -> Result<Place, String> {
    if rest.contains('@') {
        return Err("SCHEME://HOST:PORT, without user, path or query".into());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) if host.parse::<Ipv6Addr>().is_ok() => (host, None),
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => {
            (host, Some(port.strip_prefix(':').unwrap_or_default()))
        }
        Some(_) => return Err("an IPv6 address in the brackets".into()),
        None => match rest.split_once(':') {
            Some((host, port)) if is_name(host) => (host, Some(port)),
            None if is_name(rest) => (rest, None),
            _ => return Err("SCHEME://HOST:PORT, without user, path or query".into()),
        },
    };
    let port = match port {
        // `u16::from_str` would take a leading `+`.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok(),
        Some(_) => None,
        None => Some(default_port),
    };
    match port {
        Some(port) if port > 0 => Ok(Place::Tcp {
            host: host.into(),
            port,
        }),
        _ => Err("a port from 1 to 65535, and nothing behind it".into()),
    }
}

/// `/PATH`, as long as a socket's address can be (unix(7): 108 bytes with the NUL).
fn unix(path: &str) -> Result<Place, String> {
    let is_path = path.starts_with('/') && !path.bytes().any(|byte| byte.is_ascii_control());
    if !is_path || path.len() > 107 {
        return Err("unix:/PATH, absolute and of at most 107 bytes".into());
    }
    Ok(Place::Unix(path.into()))
}

/// What can be written.
pub(super) const SCHEMES: &str =
    "http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT, unix:/PATH or h2c+unix:/PATH";

/// A host name (RFC 1123 §2.1) or IPv4 address. `_` passes: container networks name services so.
/// A name whose last label is a number is an IPv4 address gone wrong (`127.1`, `10.0.0.256`), and
/// resolvers disagree about which.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    host.len() <= 253
        && host.split('.').all(is_label)
        && (!is_number || host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_without_quoting() {
        for (text, word) in [
            ("https://hush@a:1", "without user"),
            ("unix:hush", "absolute"),
            ("unix:/hush\n", "absolute"),
            ("ftp://hush:1", "no other scheme"),
            ("http://user:hush@a:1", "without user"),
            ("user:hush@a:1", "without user"),
            ("http://a/hush", "without user, path"),
            ("hush:0", "a port"),
            ("[hush]:1", "an IPv6 address"),
        ] {
            let message = text.parse::<UpstreamAddr>().unwrap_err();
            assert!(message.contains(word), "{text}: {message}");
            assert!(!message.contains("hush"), "{text}: {message}");
        }
    }

    #[test]
    fn origins_are_read_and_written_alike() {
        for (text, shown) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://origin.internal/", "origin.internal:80"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("[::1]", "[::1]:80"),
            ("host:1", "host:1"),
            ("my_app.net-2:1", "my_app.net-2:1"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:///run/app.sock", "unix:/run/app.sock"),
            ("h2c+unix:/run/app.sock", "h2c+unix:/run/app.sock"),
            ("https://a", "https://a:443"),
            ("h2c://[::1]:50051", "h2c://[::1]:50051"),
        ] {
            assert_eq!(text.parse::<UpstreamAddr>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "http://",
            "h2://a:1",
            "http://u@a:1",
            "http://a:1/x",
            "a:0",
            "a:65536",
            "a:b",
            "[x]:1",
            "::1:80",
            "unix:",
            "unix:x",
            "unix://host/x",
            "a:+80",
            "a:",
            "[::1]:",
            "[::1]80",
            "[::1",
            "[fe80::1%eth0]:80",
            "a..b:80",
            ".:80",
            "-a:80",
            "127.1:80",
            "10.0.0.256:80",
            "a\r\nb:80",
            "b\u{fc}cher:80",
        ] {
            assert!(text.parse::<UpstreamAddr>().is_err(), "{text}");
        }
    }
}
