//! The peers: how each is told to do the whole job, and started.
//!
//! All listen on TLS 1.3, require and verify a client certificate, set the nine headers over
//! incoming ones, keep connections to the origin, and write no access log. Configurations are the
//! files beside this one, with names in braces filled in.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::acquire::Got;
use super::machine::Machine;
use super::origin::Origin;
use super::process::{self, Group};
use super::programs::Programs;
use crate::command::Failure;

/// A peer's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Herald,
    /// Herald with one header instead of its ten, to see what they cost.
    Bare,
    /// Herald with its access log on (JSON, a file), to see what it costs.
    Logged,
    /// Herald as `cargo build --release` makes it, to see what the profile gains.
    Plain,
    Nginx,
    Haproxy,
    Envoy,
    Pingora,
    /// Not a peer but the limit: bytes through the same TLS library.
    Floor,
}

/// A running peer.
pub(super) struct Peer {
    pub(super) kind: Kind,
    pub(super) got: Got,
    pub(super) address: SocketAddr,
    pub(super) group: Group,
    /// Its access log, if it writes one.
    access_log: Option<PathBuf>,
}

/// The peers asked for, Herald first.
pub(super) fn wanted(quick: bool, names: &[String]) -> Result<Vec<Kind>, Failure> {
    if names.is_empty() {
        let quick_ones = [Kind::Herald, Kind::Nginx, Kind::Haproxy];
        return Ok(if quick {
            quick_ones.to_vec()
        } else {
            ALL.to_vec()
        });
    }
    let named = |name: &String| {
        Kind::by_name(name).ok_or_else(|| {
            let known: Vec<&str> = ALL.iter().map(|kind| kind.name()).collect();
            Failure::new(format!(
                "no peer is called {name}; there are {}",
                known.join(", ")
            ))
        })
    };
    names.iter().map(named).collect()
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Herald => "herald",
            Self::Bare => "herald-bare",
            Self::Logged => "herald-logged",
            Self::Plain => "herald-plain",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Pingora => "pingora",
            Self::Floor => "floor",
        }
    }

    /// Headers, or values of their Cloudflare form, that the peer has no way to send.
    pub(super) fn cannot_send(self) -> &'static [&'static str] {
        match self {
            Self::Haproxy => &[
                "X-CERT-VERIFY in words (a number)",
                "dates in words (YYMMDDhhmmssZ)",
            ],
            Self::Envoy => &[
                "legacy DNs (the RFC 2253 form twice)",
                "dates in words (ISO 8601)",
            ],
            _ => &[],
        }
    }

    /// Whether it sets fewer than the nine headers by design.
    pub(super) fn sets_fewer(self) -> bool {
        matches!(self, Self::Bare | Self::Floor)
    }

    /// Whether Herald is set against it.
    pub(super) fn is_rival(self) -> bool {
        !matches!(self, Self::Plain | Self::Floor) && !self.is_guided()
    }

    /// Whether it is Herald as released.
    pub(super) fn is_guided(self) -> bool {
        matches!(self, Self::Herald | Self::Bare | Self::Logged)
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Peer {
    pub(super) fn name(&self) -> &'static str {
        self.kind.name()
    }

    pub(super) fn start(
        kind: Kind,
        got: Got,
        origin: &Origin,
        programs: &Programs,
        machine: &Machine,
    ) -> Result<Self, Failure> {
        let site = Site {
            listen: process::free_address()?,
            origin: origin.address,
            pki: &programs.pki,
            work: &programs.work,
            workers: machine.workers,
        };
        let mut command = process::pinned(&got.program, machine.peer_cores);
        command.args(&got.first_arguments);
        command.envs(got.environment.iter().cloned());
        site.arguments(kind, &got.version, &mut command)?;
        let log = programs.work.join(format!("{}.log", kind.name()));
        process::log_to(&mut command, &log)?;
        let mut group = Group::start(command)?;
        group.await_listener(site.listen, &log)?;
        Ok(Self {
            kind,
            got,
            address: site.listen,
            group,
            access_log: (kind == Kind::Logged).then(|| site.access_log()),
        })
    }

    /// The same once more, in a process of its own.
    pub(super) fn another(
        &self,
        origin: &Origin,
        programs: &Programs,
        machine: &Machine,
    ) -> Result<Self, Failure> {
        Self::start(self.kind, self.got.clone(), origin, programs, machine)
    }

    /// Empties its access log. In a virtual machine that gives free memory back, a page that is new to the
    /// log must first come from the hypervisor, which takes longer than all else about a record.
    pub(super) fn empty_log(&self) -> Result<(), Failure> {
        let Some(log) = &self.access_log else {
            return Ok(());
        };
        fs::File::create(log)
            .map(drop)
            .map_err(|error| Failure::new(format!("{}: {error}", log.display())))
    }
}

/// What a configuration is about.
struct Site<'a> {
    listen: SocketAddr,
    origin: SocketAddr,
    pki: &'a Path,
    work: &'a Path,
    workers: usize,
}

impl Site<'_> {
    fn arguments(&self, kind: Kind, version: &str, command: &mut Command) -> Result<(), Failure> {
        let pki = |name: &str| self.pki.join(name);
        match kind {
            Kind::Herald | Kind::Bare | Kind::Logged | Kind::Plain => {
                command
                    .arg("run")
                    .args(["--listen", &self.listen.to_string()]);
                command.arg("--cert").arg(pki("server.pem"));
                command.arg("--key").arg(pki("server.key"));
                command.arg("--client-ca").arg(pki("ca.pem"));
                command.args(["--upstream", &format!("http://{}", self.origin)]);
                command.args(["--client-auth", "required"]);
                command.args(["--workers", &self.workers.to_string()]);
                if kind == Kind::Bare {
                    command.args(["--header", "X-Cert-Presented={certPresented}"]);
                }
                if kind == Kind::Logged {
                    command.arg("--access-log").arg(self.access_log());
                }
            }
            Kind::Nginx => {
                let config = self.write("nginx.conf", &nginx(version))?;
                command.arg("-p").arg(self.work).arg("-c").arg(config);
            }
            Kind::Haproxy => {
                let config = self.write("haproxy.cfg", include_str!("peers/haproxy.cfg"))?;
                command.arg("-db").arg("-f").arg(config);
            }
            Kind::Envoy => {
                let config = self.write("envoy.yaml", include_str!("peers/envoy.yaml"))?;
                command.arg("-c").arg(config);
                command.args(["--concurrency", &self.workers.to_string()]);
                command.args(["--log-level", "error", "--disable-hot-restart"]);
            }
            Kind::Pingora => {
                command.args([self.listen.to_string(), self.origin.to_string()]);
                command.args([pki("server.pem"), pki("server.key"), pki("ca.pem")]);
                command.arg(self.workers.to_string());
            }
            Kind::Floor => {
                command.args(["--listen", &self.listen.to_string()]);
                command.args(["--upstream", &self.origin.to_string()]);
                command.arg("--pki").arg(self.pki);
            }
        }
        Ok(())
    }

    fn access_log(&self) -> PathBuf {
        self.work.join("access.log")
    }

    fn write(&self, name: &str, template: &str) -> Result<PathBuf, Failure> {
        let file = self.work.join(name);
        let text = template
            .replace("{listen}", &self.listen.to_string())
            .replace("{listen_ip}", &self.listen.ip().to_string())
            .replace("{listen_port}", &self.listen.port().to_string())
            .replace("{origin}", &self.origin.to_string())
            .replace("{origin_ip}", &self.origin.ip().to_string())
            .replace("{origin_port}", &self.origin.port().to_string())
            .replace("{pki}", &self.pki.display().to_string())
            .replace("{work}", &self.work.display().to_string())
            .replace("{workers}", &self.workers.to_string())
            .replace("{files}", "50000");
        fs::write(&file, text)
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        Ok(file)
    }
}

/// `http2 on` came with 1.25.1; before, it was a word of `listen`.
fn nginx(version: &str) -> String {
    let numbers: Vec<u32> = version
        .split(|sign: char| !sign.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let (directive, word) = if numbers.as_slice() >= &[1, 25, 1][..] {
        ("http2 on;", "")
    } else {
        ("", " http2")
    };
    include_str!("peers/nginx.conf")
        .replace("{http2}", directive)
        .replace("{listen_http2}", word)
}

const ALL: [Kind; 9] = [
    Kind::Herald,
    Kind::Bare,
    Kind::Logged,
    Kind::Plain,
    Kind::Nginx,
    Kind::Haproxy,
    Kind::Envoy,
    Kind::Pingora,
    Kind::Floor,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_is_told_of_http2_in_its_own_version_s_words() {
        assert!(nginx("nginx/1.30.6").contains("http2 on;"));
        assert!(nginx("nginx/1.22.1").contains("ssl http2 reuseport"));
        assert!(!nginx("nginx/1.22.1").contains("http2 on;"));
    }

    #[test]
    fn an_unknown_peer_is_told_with_those_there_are() {
        let problem = wanted(false, &["apache".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(problem.contains("pingora"), "{problem}");
    }
}
