//! A Herald run from a file, with an admin socket: what a reload is about.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::herald::{self, Herald, Launch};
use crate::pki::{Key, Pki};
use crate::{records, wait};

/// Files of one Herald.
#[derive(Debug)]
pub struct Site(TempDir);

impl Default for Site {
    fn default() -> Self {
        Self(
            tempfile::Builder::new()
                .prefix("herald-site-")
                .tempdir()
                .unwrap(),
        )
    }
}

impl Site {
    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Puts a file in place as tools do that mind who reads: under another name first.
    pub fn put(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let temporary = self.path(&format!("{name}.new"));
        fs::write(&temporary, contents).unwrap();
        fs::rename(temporary, &path).unwrap();
        path
    }

    /// Writes the configuration: one worker, certificates of the shared PKI copied here, and `more`.
    pub fn configure(&self, origin: SocketAddr, more: &str) {
        self.configure_to(&format!("upstream = \"http://{origin}\"\n{more}"));
    }

    /// As [`Site::configure`], without an origin.
    pub fn configure_to(&self, more: &str) {
        let (cert, key) = (self.path("server.pem"), self.path("server.key"));
        if !cert.exists() {
            let (from_cert, from_key) = Pki::shared().server(Key::Ec);
            fs::copy(from_cert, &cert).unwrap();
            fs::copy(from_key, &key).unwrap();
        }
        if !self.path("ca.pem").exists() {
            fs::copy(Pki::shared().path("ca.pem"), self.path("ca.pem")).unwrap();
        }
        let workers = match more.contains("workers =") {
            true => "",
            false => "workers = 1\n",
        };
        let admin = self.path("admin.sock");
        self.put(
            "herald.toml",
            format!(
                "listen = \"127.0.0.1:0\"\n{workers}admin = \"unix:{}\"\ncert = {cert:?}\nkey = {key:?}\n{more}",
                admin.display(),
            ),
        );
    }

    /// A store of the shared PKI's CA, for the top of a configuration.
    pub fn client_ca(&self) -> String {
        format!("client_ca = {:?}\n", self.path("ca.pem"))
    }

    /// Starts Herald from the file.
    pub fn start(&self) -> Herald {
        self.launch().start()
    }

    /// The command line.
    pub fn launch(&self) -> Launch {
        let file = self.path("herald.toml");
        Launch::bare(["run".into(), "--config".into(), file.into_os_string()])
    }

    /// `herald reload`, to its end.
    pub fn reload(&self) -> Output {
        let admin = format!("unix:{}", self.path("admin.sock").display());
        Command::new(herald::binary())
            .args(["reload", "--admin", &admin])
            .output()
            .unwrap()
    }

    /// `herald reload`, which must succeed.
    pub fn reloaded(&self) {
        let output = self.reload();
        assert!(output.status.success(), "{output:?}");
    }

    /// What `/status` says of the configuration.
    pub fn configuration(&self) -> Value {
        let stream = UnixStream::connect(self.path("admin.sock")).unwrap();
        let (status, body) = records::get(stream, "localhost", "/status").unwrap();
        assert_eq!(status, 200, "{body}");
        let status: Value = serde_json::from_str(&body).unwrap();
        status["configuration"].clone()
    }

    /// The page of `/metrics`.
    pub fn metrics(&self) -> String {
        let stream = UnixStream::connect(self.path("admin.sock")).unwrap();
        let (status, body) = records::get(stream, "localhost", "/metrics").unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The longest that a reload has held each worker up, by the metric.
    pub fn swaps(&self) -> Vec<Duration> {
        let page = self.metrics();
        let lines = page.lines();
        let swaps = lines.filter(|line| line.starts_with("herald_config_swap_seconds{"));
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse().unwrap();
        swaps.map(value).map(Duration::from_secs_f64).collect()
    }

    /// Which configuration is in force; the first is 1.
    pub fn generation(&self) -> u64 {
        self.configuration()["generation"].as_u64().unwrap()
    }

    /// Waits until another configuration than `before` is in force.
    pub fn await_generation_after(&self, before: u64) {
        wait::until("another configuration to be in force", || {
            (self.generation() > before).then_some(())
        });
    }
}
