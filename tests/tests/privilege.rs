//! What Herald may do once it serves: nothing that any other process could not, whoever started it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use herald_tests::client::Settings;
use herald_tests::gate;
use herald_tests::herald::{self, Herald, Launch};
use herald_tests::origin::Origin;
use herald_tests::pki::{Key, Pki};

#[test]
fn root_becomes_the_user_and_keeps_no_capability() {
    if !is_root("root_becomes_the_user_and_keeps_no_capability") {
        return;
    }
    let origin = Origin::echo();
    let herald = Launch::new("required", origin.address())
        .args(["--user", "nobody"])
        .workers(3)
        .start();
    serves(herald.address());
    let threads = threads(&herald);
    assert!(threads.len() >= 4, "main and workers: {}", threads.len());
    let (uid, gid) = (id("-u", "nobody"), id("-g", "nobody"));
    for status in &threads {
        has_nothing(status);
        assert_eq!(words(status, "Uid"), vec![uid.clone(); 4]);
        assert_eq!(words(status, "Gid"), vec![gid.clone(); 4]);
        assert_eq!(
            words(status, "Groups"),
            std::slice::from_ref(&gid),
            "root's groups are gone"
        );
        assert_eq!(words(status, "CapBnd"), ["0000000000000000"]);
    }
}

#[test]
fn a_group_can_be_chosen_apart() {
    if !is_root("a_group_can_be_chosen_apart") {
        return;
    }
    let origin = Origin::echo();
    let herald = Launch::new("required", origin.address())
        .args(["--user", "nobody", "--group", "www-data"])
        .start();
    for status in threads(&herald) {
        has_nothing(&status);
        assert_eq!(words(&status, "Gid"), vec![id("-g", "www-data"); 4]);
    }
}

/// Without `user` root stays root in name, but without any of its capabilities, and is told so.
#[test]
fn root_without_a_user_keeps_no_capability_either() {
    if !is_root("root_without_a_user_keeps_no_capability_either") {
        return;
    }
    let origin = Origin::echo();
    let herald = Launch::new("required", origin.address()).workers(2).start();
    serves(herald.address());
    for status in threads(&herald) {
        has_nothing(&status);
        assert_eq!(words(&status, "CapBnd"), ["0000000000000000"]);
        assert_eq!(words(&status, "Uid"), ["0"; 4]);
    }
    assert!(herald.log().contains("running as root"), "{}", herald.log());
}

/// As a service manager or a container does it: no root at all, at most one ambient capability for a port below 1024.
#[test]
fn an_ambient_capability_binds_the_port_and_is_gone_then() {
    if !is_root("an_ambient_capability_binds_the_port_and_is_gone_then") {
        return;
    }
    let origin = Origin::echo();
    let place = Place::readable();
    let herald = place
        .launch(&origin, "127.0.0.2:981")
        .under(AS_NOBODY.into_iter().take(4))
        .under([
            "--inh-caps=+net_bind_service",
            "--ambient-caps=+net_bind_service",
            "--",
        ])
        .start();
    serves(herald.address());
    for status in threads(&herald) {
        has_nothing(&status);
        assert_ne!(words(&status, "Uid"), ["0"; 4]);
    }
}

/// A container without root and without capabilities: nothing to give up, and no reason not to serve.
#[test]
fn an_ordinary_process_serves_as_it_is() {
    if !is_root("an_ordinary_process_serves_as_it_is") {
        return;
    }
    let origin = Origin::echo();
    let place = Place::readable();
    for own in [&[][..], &["--user", "nobody"]] {
        let herald = place
            .launch(&origin, "127.0.0.1:0")
            .args(own.iter().copied())
            .under(AS_NOBODY)
            .start();
        serves(herald.address());
        threads(&herald)
            .iter()
            .for_each(|status| has_nothing(status));
    }
}

#[test]
fn what_cannot_be_given_up_ends_the_start() {
    if !is_root("what_cannot_be_given_up_ends_the_start") {
        return;
    }
    let origin = Origin::echo();
    let place = Place::readable();
    for other in [["--user", "www-data"], ["--group", "www-data"]] {
        let launch = place
            .launch(&origin, "127.0.0.1:0")
            .args(other)
            .under(AS_NOBODY);
        let (status, log) = launch.try_start().unwrap_err();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(
            log.contains("can't become") && log.contains("www-data"),
            "{log}"
        );
    }
}

#[test]
fn unknown_names_are_mistakes_of_the_configuration() {
    let output = herald::run(&[
        "check",
        "--user",
        "no-such-user",
        "--group",
        "no-such-group",
    ]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("--user: `no-such-user` is not allowed"),
        "{told}"
    );
    assert!(
        told.contains("--group: `no-such-group` is not allowed"),
        "{told}"
    );
}

/// Copies that any user may read, outside of whatever folder the build lies in.
struct Place(tempfile::TempDir);

impl Place {
    fn readable() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("herald-")
            .tempdir_in("/var/tmp")
            .unwrap();
        open(folder.path(), 0o755);
        let (certificate, key) = Pki::shared().server(Key::Ec);
        let files = [
            (herald::binary(), "herald", 0o755),
            (certificate, "cert.pem", 0o644),
            (key, "key.pem", 0o644),
            (Pki::shared().path("ca.pem"), "ca.pem", 0o644),
        ];
        for (from, name, mode) in files {
            let to = folder.path().join(name);
            fs::copy(&from, &to).unwrap();
            open(&to, mode);
        }
        Self(folder)
    }

    fn launch(&self, origin: &Origin, listen: &str) -> Launch {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        let upstream = format!("http://{}", origin.address());
        let files = ["cert.pem", "key.pem", "ca.pem"].map(path);
        Launch::bare([
            "run",
            "--listen",
            listen,
            "--workers",
            "2",
            "--upstream",
            &upstream,
        ])
        .args([
            "--cert",
            &files[0],
            "--key",
            &files[1],
            "--client-ca",
            &files[2],
        ])
        .binary(path("herald"))
    }
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn serves(address: SocketAddr) {
    let settings = Settings::new(Some(&Pki::shared().good()));
    assert_eq!(
        settings.connect(address).unwrap().get("/").unwrap().status,
        200
    );
}

/// `/proc/PID/task/*/status` of all threads.
fn threads(herald: &Herald) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", herald.pid())).unwrap();
    tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap())
        .collect()
}

fn has_nothing(status: &str) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(
            words(status, set),
            ["0000000000000000"],
            "{set} in {status}"
        );
    }
    assert_eq!(words(status, "NoNewPrivs"), ["1"], "{status}");
}

fn words(status: &str, name: &str) -> Vec<String> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn id(what: &str, user: &str) -> String {
    let output = Command::new("id").args([what, user]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn is_root(test: &str) -> bool {
    gate::require(test, "root", fs::metadata("/proc/self").unwrap().uid() == 0)
}

const AS_NOBODY: [&str; 6] = [
    "setpriv",
    "--reuid=nobody",
    "--regid=nogroup",
    "--clear-groups",
    "--no-new-privs",
    "--",
];
