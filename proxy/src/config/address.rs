//! The address of an origin, as an operator writes it.

use std::fmt;
use std::str::FromStr;

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
