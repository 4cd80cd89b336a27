//! What is shipped beside the binary works with it: the service unit, the example configuration, and the set-up that the
//! README promises in five minutes.

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use herald_tests::gate;
use herald_tests::herald::{self, Launch};
use herald_tests::origin::Origin;
use herald_tests::pki::{Key, Pki};
use herald_tests::wait;

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    if !has_systemd("systemd_finds_no_fault_with_the_unit") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("herald.service");
    // It asks whether the program is there.
    let binary = herald::binary().canonicalize().unwrap();
    let text = shipped("herald.service").replace("/usr/bin/herald", binary.to_str().unwrap());
    fs::write(&unit, text).unwrap();
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    // Other units of the machine are looked at too, and may be told of.
    let ours: Vec<_> = told
        .lines()
        .filter(|line| line.contains("herald"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{told}");
}

/// systemd's own measure of exposure, in tenths from 0 to 100; 20 is where it says "OK".
#[test]
fn the_unit_is_hardened() {
    if !has_systemd("the_unit_is_hardened") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("herald.service");
    fs::write(&unit, shipped("herald.service")).unwrap();
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(&unit)
        .output()
        .unwrap();
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    println!("{}", told.lines().last().unwrap_or_default());
}

/// The unit starts the binary with arguments it takes, and knows its exit codes and deadlines.
#[test]
fn the_unit_fits_the_binary() {
    let settings = settings(&shipped("herald.service"));
    let start = &settings["ExecStart"];
    let arguments: Vec<&str> = start.split_whitespace().skip(1).collect();
    assert_eq!(arguments, ["run", "--config", "/etc/herald/herald.toml"]);
    let help = text(&herald::run(&["--help"]));
    let code = |words: &str| {
        let line = help.lines().find(|line| line.contains(words)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(settings["RestartPreventExitStatus"], code("is wrong"));
    assert_eq!(settings["SuccessExitStatus"], code("drain timeout"));
    let reference = text(&herald::run(&["reference"]));
    let line = reference
        .lines()
        .find(|line| line.contains("`drain_timeout`"))
        .unwrap();
    assert!(line.contains("`30s`"), "{line}");
    assert!(settings["TimeoutStopSec"].parse::<u32>().unwrap() > 30);
}

#[test]
fn the_example_configuration_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = Pki::shared().server(Key::Ec);
    let ca = Pki::shared().path("ca.pem");
    for (from, name) in [
        (certificate, "server.pem"),
        (key, "server.key"),
        (ca, "clients-ca.pem"),
    ] {
        fs::copy(from, folder.path().join(name)).unwrap();
    }
    let file = folder.path().join("herald.toml");
    let example = shipped("herald.toml");
    let place = folder.path().to_str().unwrap();
    fs::write(&file, example.replace("/etc/herald", place)).unwrap();
    let output = herald::run(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    // As shipped it lacks nothing but the files it names.
    let shipped = root().join("packaging/herald.toml");
    let told = text(&herald::run(&[
        "check",
        "--config",
        shipped.to_str().unwrap(),
    ]));
    assert!(
        told.contains("3 mistakes") && told.matches("/etc/herald/").count() >= 3,
        "{told}"
    );
}

/// `Type=notify`: systemd learns when it serves and when it stops.
#[test]
fn the_service_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let origin = Origin::echo();
    let mut herald = Launch::new("required", origin.address())
        .under([
            "env".to_owned(),
            format!("NOTIFY_SOCKET={}", path.display()),
        ])
        .start();
    let told = || {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1\n");
    assert_eq!(herald.terminate().code(), Some(0));
    assert_eq!(told(), "STOPPING=1\n");
}

/// The README's set-up, command by command. What would change the machine is played by the scripts below: no package is
/// installed, files lie in a folder of their own, and the unit's command line is started without systemd.
#[test]
fn the_readme_sets_it_up_in_five_minutes() {
    if !gate::require(
        "the_readme_sets_it_up_in_five_minutes",
        "openssl and curl",
        has_tools(),
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path());
    let origin = Origin::echo();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let script =
        blocks(&readme, "## Set it up").replace("/etc/herald", place.etc.to_str().unwrap());
    let steps = script.replace(
        "https://localhost/",
        &format!("https://localhost:{}/", place.port),
    );
    let output = place.run(&steps, &origin);
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    let requests = origin.take();
    let seen: Vec<_> = requests
        .iter()
        .map(|request| request.headers.texts("x-cert-subject-dn"))
        .collect();
    assert_eq!(seen, [["CN=alice"]], "{told}");
    assert_eq!(requests[0].headers.texts("x-cert-verify"), ["SUCCESS"]);
    assert!(told.contains("403"), "without a certificate: {told}");
    assert!(told.contains("Sound. This would run"), "{told}");
}

/// A machine of its own for the README's commands.
struct Place {
    etc: PathBuf,
    shims: PathBuf,
    port: u16,
}

impl Place {
    fn new(folder: &Path) -> Self {
        let (etc, shims) = (folder.join("etc"), folder.join("bin"));
        fs::create_dir_all(&etc).unwrap();
        fs::create_dir_all(&shims).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self { etc, shims, port }
    }

    fn run(&self, steps: &str, origin: &Origin) -> Output {
        let example = shipped("herald.toml")
            .replace("/etc/herald", self.etc.to_str().unwrap())
            .replace("0.0.0.0:443", &format!("127.0.0.1:{}", self.port))
            .replace("127.0.0.1:8080", &origin.address().to_string());
        fs::write(self.etc.join("herald.toml"), example).unwrap();
        let unit = settings(&shipped("herald.service"));
        let start = unit["ExecStart"]
            .replace("/usr/bin/herald", "herald")
            .replace("/etc/herald", self.etc.to_str().unwrap());
        let (log, pid) = (self.etc.join("log"), self.etc.join("pid"));
        let (log, pid) = (log.display(), pid.display());
        let systemctl = format!(
            "{start} </dev/null >/dev/null 2>{log} & echo $! >{pid}\n\
             for _ in $(seq 200); do grep -qw ready {log} && exit 0; sleep 0.05; done; cat {log} >&2; exit 1"
        );
        let binary = herald::binary().canonicalize().unwrap();
        for (name, script) in [
            ("sudo", "exec \"$@\""),
            // Installs the package, which has the files of this folder.
            ("apt", "exit 0"),
            ("chown", "exit 0"),
            ("systemctl", &systemctl),
            ("herald", &format!("exec {} \"$@\"", binary.display())),
        ] {
            let path = self.shims.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let paths = std::env::var("PATH").unwrap();
        let output = Command::new("bash")
            .args(["-eux", "-c", steps])
            .current_dir(&self.etc)
            .env("PATH", format!("{}:{paths}", self.shims.display()))
            .output()
            .unwrap();
        if let Ok(pid) = fs::read_to_string(self.etc.join("pid")) {
            let stopped = Command::new("kill").arg(pid.trim()).status().unwrap();
            assert!(stopped.success(), "it was not running any more");
        }
        std::thread::sleep(Duration::from_millis(100));
        output
    }
}

/// The shell commands of a section.
fn blocks(page: &str, heading: &str) -> String {
    let (_, section) = page.split_once(heading).expect("the section");
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    let commands: Vec<_> = blocks
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert!(!commands.is_empty(), "no command under {heading}");
    commands.join("\n")
}

/// The last value of each key of a unit.
fn settings(unit: &str) -> HashMap<String, String> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn shipped(name: &str) -> String {
    fs::read_to_string(root().join("packaging").join(name)).unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn has_systemd(test: &str) -> bool {
    let works = gate::succeeds("systemd-analyze", &["--version"]);
    gate::require(test, "systemd-analyze", works)
}

fn has_tools() -> bool {
    gate::succeeds("openssl", &["version"]) && gate::succeeds("curl", &["--version"])
}
