//! `herald selftest`: a sound configuration withstands every attack, a careless one does not and is told where.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use herald_tests::herald;
use herald_tests::pki::{Key, Pki};
use herald_tests::records::Folder;

struct Bench {
    folder: Folder,
    file: PathBuf,
}

impl Bench {
    /// A configuration whose origin is nowhere: nothing of it is asked.
    fn new(text: &str) -> Self {
        let folder = Folder::default();
        let (cert, key) = Pki::shared().server(Key::Ec);
        let file = folder.path("herald.toml");
        let head = format!(
            "listen = \"127.0.0.1:1\"\nworkers = 4\ncert = {cert:?}\nkey = {key:?}\nupstream = \"http://127.0.0.1:9\"\n"
        );
        fs::write(&file, head + text).unwrap();
        Self { folder, file }
    }

    fn run(&self, more: &[&str]) -> (Output, String) {
        let mut arguments = vec!["selftest", "--config", self.file.to_str().unwrap()];
        arguments.extend(more);
        let output = herald::run(&arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output, text)
    }

    fn passes(&self) -> String {
        let (output, text) = self.run(&[]);
        assert!(output.status.success(), "{text}\n{output:?}");
        assert!(!text.contains('✗'), "{text}");
        text
    }

    /// The line of an attack.
    fn fails(&self, what: &str) -> String {
        let (output, text) = self.run(&[]);
        assert_eq!(output.status.code(), Some(1), "{text}\n{output:?}");
        let failed: Vec<&str> = text.lines().filter(|line| line.contains('✗')).collect();
        assert!(!failed.is_empty(), "{text}");
        for line in &failed {
            assert!(line.contains(what), "{line} in\n{text}");
        }
        text
    }
}

fn ca() -> PathBuf {
    Pki::shared().path("ca.pem")
}

fn other() -> PathBuf {
    Pki::shared().path("other.pem")
}

/// Three applications: two of different trust, one that asks for no certificate, paths and policies.
fn applications(folder: &Path) -> String {
    let second = folder.join("second.pem");
    fs::copy(ca(), &second).unwrap();
    format!(
        r#"
[[trust]]
name = "devices"
ca = {:?}
[[trust]]
name = "people"
ca = {second:?}
[[application]]
name = "devices"
hostnames = ["devices.test", "*.devices.test"]
trust = "devices"
client_auth = "required"
[[application]]
name = "people"
hostnames = "people.test"
trust = ["people", "devices"]
client_auth = "optional"
preset = ["nginx", "rfc9440"]
[[application.policy]]
name = "boss"
action = "allow"
path = "/admin/**"
include = "common_name:boss"
[[application.worker]]
path = "/nginx/**"
preset = "nginx"
[[application]]
name = "all"
hostnames = "*"
client_auth = "off"
"#,
        ca()
    )
}

#[test]
fn a_sound_configuration_withstands_everything_in_every_mode() {
    for mode in ["required", "optional", "forward-failed"] {
        let bench = Bench::new(&format!("client_ca = {:?}\nclient_auth = {mode:?}\n", ca()));
        let text = bench.passes();
        for what in [
            "forged: every identity header",
            "forged: _ for -",
            "forged: in trailers",
            "Connection lists an identity header",
            "malformed header lines",
            "ambiguous framing smuggles no request",
            "a certificate that does not verify gives no identity",
            "claims about earlier hops are not believed",
            "identity in an answer does not reach clients",
            "a session that its own application resumes names the same caller",
        ] {
            let line = text.lines().find(|line| line.contains(what));
            let line = line.unwrap_or_else(|| panic!("{mode}: no {what} in\n{text}"));
            assert!(line.contains('✓'), "{mode}: {line}");
        }
    }
}

#[test]
fn several_applications_are_tried_against_each_other() {
    let bench = Bench::new("");
    let more = applications(&bench.folder.path(""));
    let text = fs::read_to_string(&bench.file).unwrap() + &more;
    fs::write(&bench.file, text).unwrap();
    let text = bench.passes();
    for what in [
        "a connection for one application does not do for another's trust",
        "absolute form: its host counts, not the Host field",
        "a session of one application means nothing to another",
        "a path has one spelling, or none",
        "policies refuse whom they do not allow",
    ] {
        let line = text.lines().find(|line| line.contains(what));
        assert!(
            line.is_some_and(|line| line.contains('✓')),
            "{what} in\n{text}"
        );
    }
    assert!(text.contains("on 3 application(s)"), "{text}");
    let (output, text) = bench.run(&["--resumption=false"]);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("not tried: sessions are not resumed here"),
        "{text}"
    );
    let (output, text) = bench.run(&["--only", "people"]);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("on 1 application(s)"), "{text}");
    let (output, _) = bench.run(&["--only", "nobody"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

/// An origin that speaks HTTP/2 gets the same through other code.
#[test]
fn an_origin_of_http2_is_tried_too() {
    let bench = Bench::new(&format!(
        "client_ca = {:?}\nclient_auth = \"optional\"\n",
        ca()
    ));
    let text = fs::read_to_string(&bench.file).unwrap();
    fs::write(&bench.file, text.replace("http://", "h2c://")).unwrap();
    bench.passes();
}

#[test]
fn identity_of_those_who_failed_is_a_finding() {
    let bench = Bench::new(&format!(
        "client_ca = {:?}\nclient_auth = \"forward-failed\"\nidentity_on_failure = \"send\"\n",
        ca()
    ));
    let text = bench.fails("a certificate that does not verify gives no identity");
    assert!(
        text.contains("of a certificate that did not verify"),
        "{text}"
    );
}

#[test]
fn trusting_everybody_is_a_finding() {
    let bench = Bench::new(&format!(
        "client_ca = {:?}\ntrusted_proxy = [\"0.0.0.0/0\"]\n",
        ca()
    ));
    let text = bench.fails("claims about earlier hops are not believed");
    assert!(
        text.contains("the origin saw the forged x-forwarded-for"),
        "{text}"
    );
}

/// A row that could not be tried says so instead of passing.
#[test]
fn what_can_not_be_tried_is_told() {
    let bench = Bench::new(&format!(
        "client_ca = {:?}\ntrusted_proxy = [\"127.0.0.0/8\"]\n",
        ca()
    ));
    let text = bench.passes();
    assert!(
        text.contains("not tried: trusted_proxy covers all of loopback"),
        "{text}"
    );
    // One address alone is gone round.
    let bench = Bench::new(&format!(
        "client_ca = {:?}\ntrusted_proxy = [\"127.0.0.1\"]\n",
        ca()
    ));
    assert!(!bench.passes().contains("not tried"));
}

#[test]
fn a_wrong_configuration_is_told_as_anywhere() {
    let bench = Bench::new(&format!(
        "client_ca = {:?}\n",
        other().with_extension("none")
    ));
    let (output, _) = bench.run(&[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("can't be read"), "{told}");
    let bench = Bench::new("client_auth = \"maybe\"\nworkers = \"many\"\n");
    let (output, _) = bench.run(&["--idle-timeout", "never"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("mistakes"), "{told}");
}
