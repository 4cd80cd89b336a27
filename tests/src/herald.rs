//! Starts the binary, learns where it listens, reads its log, watches its memory and kills it.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::{env, fs, thread};

use crate::origin::Origin;
use crate::pki::{Key, Pki};
use crate::wait;

/// A command line of `herald run` in the making.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What runs the binary, such as `setpriv` with its arguments.
    wrapper: Vec<OsString>,
    binary: PathBuf,
    arguments: Vec<OsString>,
    /// `None` when the arguments are all there is.
    server: Option<Key>,
    client_ca: Vec<PathBuf>,
    workers: usize,
}

/// A running herald, killed on drop. A test whose herald died by itself or panicked fails.
#[derive(Debug)]
pub struct Herald {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    ended: bool,
}

impl Launch {
    /// Trusts the shared PKI's CA, forwards to `upstream` and applies `mode` (`required`, `optional`...).
    pub fn new(mode: &str, upstream: SocketAddr) -> Self {
        Self::toward(mode, [format!("http://{upstream}")])
    }

    /// As [`Launch::new`], toward origins as an operator writes them.
    pub fn toward(mode: &str, upstream: impl IntoIterator<Item = String>) -> Self {
        let mut arguments = vec![OsString::from("--client-auth"), OsString::from(mode)];
        for origin in upstream {
            arguments.extend(["--upstream".into(), OsString::from(origin)]);
        }
        // Where no certificate is asked for, a CA would be a mistake.
        let client_ca = match mode {
            "off" => Vec::new(),
            _ => vec![Pki::shared().path("ca.pem")],
        };
        Self {
            wrapper: Vec::new(),
            binary: binary(),
            arguments,
            server: Some(Key::Ec),
            client_ca,
            workers: 1,
        }
    }

    /// Exactly these arguments: nothing is added to them.
    pub fn bare<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self {
            wrapper: Vec::new(),
            binary: binary(),
            arguments,
            server: None,
            client_ca: Vec::new(),
            workers: 0,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Has it take origins that this authority of the shared PKI vouches for.
    #[must_use]
    pub fn origin_ca(self, name: &str) -> Self {
        let path = Pki::shared().path(name);
        self.args([OsString::from("--upstream-ca"), path.into()])
    }

    /// Has `wrapper` run it, inside of wrappers given before.
    #[must_use]
    pub fn under<A: Into<OsString>>(mut self, wrapper: impl IntoIterator<Item = A>) -> Self {
        self.wrapper.extend(wrapper.into_iter().map(Into::into));
        self
    }

    /// A copy of the binary instead of the one under test.
    #[must_use]
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = path.into();
        self
    }

    /// The kind of the server's key instead of EC.
    #[must_use]
    pub fn server_key(mut self, kind: Key) -> Self {
        self.server = Some(kind);
        self
    }

    /// The client CA files instead of the shared PKI's.
    #[must_use]
    pub fn client_ca(mut self, files: impl IntoIterator<Item = PathBuf>) -> Self {
        self.client_ca = files.into_iter().collect();
        self
    }

    /// Worker threads instead of one.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// The command, not started.
    pub fn command(&self) -> Command {
        let wrapper = self.wrapper.iter().map(OsString::as_os_str);
        let mut words = wrapper.chain([self.binary.as_os_str()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        let Some(kind) = self.server else {
            command.args(&self.arguments);
            return command;
        };
        let (certificate, key) = Pki::shared().server(kind);
        command.arg("run").args(["--listen", "127.0.0.1:0"]);
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
        for file in &self.client_ca {
            command.arg("--client-ca").arg(file);
        }
        command
            .arg("--workers")
            .arg(self.workers.to_string())
            .args(&self.arguments);
        command
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it ends instead, with its log.
    pub fn start(&self) -> Herald {
        self.try_start().unwrap_or_else(|(status, log)| {
            panic!("herald ended with {status} instead of getting ready:\n{log}")
        })
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Its exit status and its log when it ends instead.
    pub fn try_start(&self) -> Result<Herald, (ExitStatus, String)> {
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<String>>::default();
        let (stderr, copy) = (child.stderr.take().unwrap(), Arc::clone(&log));
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = copy.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let found = wait::until("herald to be ready or gone", || {
            match child.try_wait().unwrap() {
                Some(status) => Some(Err(status)),
                None => ready(&log.lock().unwrap()).map(Ok),
            }
        });
        match found {
            Ok(address) => Ok(Herald {
                child,
                address,
                log,
                ended: false,
            }),
            Err(status) => {
                reader.join().unwrap();
                let log = log.lock().unwrap().clone();
                Err((status, log))
            }
        }
    }
}

impl Herald {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it wrote on stderr.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB (`VmRSS`).
    pub fn rss_kib(&self) -> u64 {
        rss_kib_of(self.pid()).unwrap()
    }

    /// Where all of its listeners listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.log())
    }

    /// Sends SIGTERM.
    pub fn signal_termination(&mut self) {
        self.signal("-TERM");
    }

    /// Sends a signal that ends it, such as `-KILL`.
    pub fn signal(&mut self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
        self.ended = true;
    }

    /// Sends SIGHUP, which it outlives.
    pub fn hang_up(&mut self) {
        self.signal("-HUP");
        self.ended = false;
    }

    /// Stops it: it runs no more, and the kernel goes on for it.
    pub fn pause(&mut self) {
        self.signal("-STOP");
        self.ended = false;
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        self.signal("-CONT");
        self.ended = false;
    }

    /// Sends SIGTERM unless it was sent, and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        if !self.ended {
            self.signal_termination();
        }
        wait::until("herald to end", || self.child.try_wait().unwrap())
    }

    /// Waits for an end that something else than a signal of ours begins.
    pub fn awaited(&mut self) -> ExitStatus {
        self.ended = true;
        self.terminate()
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .unwrap()
            .count()
    }

    /// True while the process lives.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Herald {
    fn drop(&mut self) {
        let alive = self.alive();
        // An error here means that it is gone, which `alive` knows.
        drop(self.child.kill());
        drop(self.child.wait());
        let log = self.log();
        if !thread::panicking() {
            assert!(alive || self.ended, "herald ended by itself:\n{log}");
            assert!(!log.contains("panicked at"), "herald panicked:\n{log}");
        } else {
            eprintln!("--- herald's log (alive: {alive})\n{log}---");
        }
    }
}

/// Runs `herald` with `arguments` to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A herald between `origin` and the world, in `mode`.
pub fn before(origin: &Origin, mode: &str) -> Herald {
    Launch::new(mode, origin.address()).start()
}

/// The binary under test: `HERALD_BIN`, else the release build, else the debug build of this workspace.
///
/// # Panics
///
/// When there is none: a black-box test without the binary shows nothing.
pub fn binary() -> PathBuf {
    if let Some(given) = env::var_os("HERALD_BIN") {
        return given.into();
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    );
    let built = ["release/herald", "debug/herald"].map(|name| target.join(name));
    built
        .into_iter()
        .find(|path| path.is_file())
        .expect("no herald binary: build it, or set HERALD_BIN")
}

/// Resident memory of a process in KiB, while it lives.
pub fn rss_kib_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// The first address, once `ready` was said.
fn ready(log: &str) -> Option<SocketAddr> {
    log.lines()
        .find(|line| line.split_whitespace().any(|word| word == "ready"))?;
    addresses(log).first().copied()
}

/// The addresses in the lines `listening on ADDRESS`.
fn addresses(log: &str) -> Vec<SocketAddr> {
    log.lines()
        .filter_map(|line| line.split_once("listening on "))
        .filter_map(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .collect()
}
