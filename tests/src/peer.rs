//! Other proxies, started with a configuration of the test's own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use tempfile::TempDir;

use crate::wait;

/// A running proxy, killed on drop.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

/// Which program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Nginx,
    Haproxy,
    Apache,
    Envoy,
    Traefik,
    Caddy,
}

impl Kind {
    /// Debian's packages; the others come with the tests' Python packages.
    fn program(self) -> PathBuf {
        let beside_python = |name: &str| {
            let python = env::var_os("HERALD_PYTHON").unwrap_or_default();
            Path::new(&python).with_file_name(name)
        };
        match self {
            Self::Nginx => "/usr/sbin/nginx".into(),
            Self::Haproxy => "/usr/sbin/haproxy".into(),
            Self::Apache => "/usr/sbin/apache2".into(),
            Self::Envoy => beside_python("envoy"),
            Self::Traefik => beside_python("traefik"),
            Self::Caddy => beside_python("caddy"),
        }
    }

    /// Its version, such as `1.22.1`; nothing if it is not here.
    pub fn version(self) -> Option<String> {
        let flag = match self {
            Self::Envoy => "--version",
            Self::Traefik | Self::Caddy => "version",
            _ => "-v",
        };
        let output = Command::new(self.program()).arg(flag).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let words = text.split([' ', '/', '\n', '-', '+']);
        // Caddy's begins with a v.
        let mut words = words.map(|word| word.strip_prefix('v').unwrap_or(word));
        let version = words.find(|word| word.contains('.') && word.starts_with(char::is_numeric));
        version.map(str::to_owned)
    }

    fn arguments(self, dir: &Path, file: &Path) -> Vec<PathBuf> {
        let mut arguments: Vec<PathBuf> = match self {
            Self::Nginx => vec!["-e".into(), dir.join("error.log"), "-p".into(), dir.into()],
            Self::Haproxy => vec!["-db".into()],
            Self::Apache => vec!["-X".into(), "-d".into(), dir.into()],
            Self::Envoy => vec![
                "--disable-hot-restart".into(),
                "--log-level".into(),
                "error".into(),
            ],
            Self::Traefik => Vec::new(),
            Self::Caddy => vec!["run".into(), "--adapter".into(), "caddyfile".into()],
        };
        let flag = match self {
            Self::Nginx | Self::Envoy => "-c",
            Self::Haproxy | Self::Apache => "-f",
            Self::Traefik => "--configfile",
            Self::Caddy => "--config",
        };
        arguments.extend([flag.into(), file.into()]);
        arguments
    }
}

impl Peer {
    /// Starts `kind` in a folder of its own, with the configuration that `written` gives for that folder and an address.
    ///
    /// # Panics
    ///
    /// When it does not start, with what it said.
    pub fn start(kind: Kind, written: impl Fn(&Path, SocketAddr) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..ATTEMPTS_MAX {
            // It cannot tell which port it got, so a free one is looked for first; another program may be quicker.
            let address = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .unwrap();
            // Envoy reads the ending.
            let file = dir.path().join("peer.yaml");
            fs::write(&file, written(dir.path(), address)).unwrap();
            if let Some(child) = spawn(kind, dir.path(), &file, address) {
                return Self {
                    child,
                    address,
                    dir,
                };
            }
        }
        let said = fs::read_to_string(dir.path().join("said")).unwrap_or_default();
        let log = fs::read_to_string(dir.path().join("error.log")).unwrap_or_default();
        panic!("{kind:?} does not start:\n{said}\n{log}");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it wrote to its error log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // An error means that it ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(kind: Kind, dir: &Path, file: &Path, address: SocketAddr) -> Option<Child> {
    let said = fs::File::create(dir.join("said")).unwrap();
    let mut child = Command::new(kind.program())
        .args(kind.arguments(dir, file))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .unwrap();
    let listens = wait::until("the peer to listen or to end", || {
        match child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => TcpStream::connect(address).ok().map(|_| true),
        }
    });
    listens.then_some(child)
}

const ATTEMPTS_MAX: usize = 3;
