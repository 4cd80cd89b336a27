//! Addresses and ports that the kernel gives to a listener: `ADDR:PORT=LISTENER` or
//! `ADDR:FIRST-LAST=LISTENER`, both addresses of one family. `0.0.0.0` and `[::]` are all of theirs.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Ports of an address, and the listener that they lead to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Steer {
    /// The address that clients dial; the unspecified one for all of its family.
    pub ip: IpAddr,
    /// The ports that they dial.
    pub ports: RangeInclusive<u16>,
    /// An address of `listen`.
    pub listener: SocketAddr,
}

impl Steer {
    /// How many ports there are.
    pub fn count(&self) -> usize {
        self.ports.len()
    }

    /// Whether a client that dials `address` is meant.
    pub fn covers(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        let is_address = self.ip == ip
            || self.ip.is_ipv4() == ip.is_ipv4()
                && (self.ip.is_unspecified() || ip.is_unspecified());
        is_address && self.ports.contains(&address.port())
    }
}

impl FromStr for Steer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || "ADDR:PORT=LISTENER or ADDR:FIRST-LAST=LISTENER".to_owned();
        let (dialled, listener) = text.split_once('=').ok_or_else(shape)?;
        let (ip, ports) = dialled.rsplit_once(':').ok_or_else(shape)?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let ip = match ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')) {
            Some(ip) => ip.parse().map(IpAddr::V6).map_err(|_not| shape())?,
            None => ip.parse().map(IpAddr::V4).map_err(|_not| shape())?,
        };
        let (first, last) = port(first).zip(port(last)).ok_or_else(shape)?;
        let listener: SocketAddr = listener.parse().map_err(|_not| shape())?;
        if first > last {
            return Err("the first port before the last".into());
        }
        if listener.is_ipv4() != ip.is_ipv4() {
            return Err("a listener of the same family as the address".into());
        }
        Ok(Self {
            ip,
            ports: first..=last,
            listener,
        })
    }
}

/// `u16::from_str` would take a leading `+`.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = is_number.then(|| text.parse().ok()).flatten()?;
    (port > 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_an_address_lead_to_a_listener() {
        let one: Steer = "192.0.2.7:8443=0.0.0.0:443".parse().unwrap();
        assert_eq!((one.ports.clone(), one.count()), (8443..=8443, 1));
        let many: Steer = "[::]:8000-8999=[2001:db8::1]:443".parse().unwrap();
        assert_eq!((many.count(), many.ip.is_unspecified()), (1000, true));
        let covers = |steer: &Steer, address: &str| steer.covers(address.parse().unwrap());
        assert!(covers(&one, "192.0.2.7:8443") && covers(&one, "0.0.0.0:8443"));
        assert!(!covers(&one, "192.0.2.8:8443") && !covers(&one, "192.0.2.7:8444"));
        assert!(covers(&many, "[2001:db8::9]:8999") && !covers(&many, "192.0.2.7:8999"));
        assert!(!covers(&one, "[::]:8443"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "8443=0.0.0.0:443",
            "192.0.2.7=0.0.0.0:443",
            "192.0.2.7:8443",
            "192.0.2.7:0=0.0.0.0:443",
            "192.0.2.7:+1=0.0.0.0:443",
            "192.0.2.7:9-8=0.0.0.0:443",
            "192.0.2.7:1-65536=0.0.0.0:443",
            "192.0.2.7:8-=0.0.0.0:443",
            "192.0.2.7:8443=[::]:443",
            "::1:8443=[::]:443",
            "example.org:8443=0.0.0.0:443",
        ] {
            assert!(text.parse::<Steer>().is_err(), "{text}");
        }
    }
}
