//! Why somebody is refused: the answers of `herald explain`, the refusals that a running Herald remembers, and the page
//! that people get. What is explained must be what happens: the headers are compared with those an origin really got.

use std::fs;
use std::path::{Path, PathBuf};

use herald_tests::client::Settings;
use herald_tests::herald::{self, Herald, Launch};
use herald_tests::origin::Origin;
use herald_tests::pki::{Identity, Key, Pki};
use herald_tests::records::Folder;
use herald_tests::wait;
use herald_tests::wire::text;

const POLICIES: &str = r#"
[[application.policy]]
name = "boss"
action = "allow"
path = "/admin/**"
include = "common_name:boss"

[[application.policy]]
name = "others"
action = "allow"
path = "/**"
include = ["common_name:nobody", "valid_certificate"]
exclude = "eku:code_signing"

[[application.worker]]
path = "/nginx/**"
preset = "nginx"
"#;

struct Bench {
    folder: Folder,
    origin: Origin,
    file: PathBuf,
}

impl Bench {
    fn new(extra: &str) -> Self {
        let (folder, origin) = (Folder::default(), Origin::echo());
        let pki = Pki::shared();
        let (cert, key) = pki.server(Key::Ec);
        let (ca, upstream) = (pki.path("ca.pem"), origin.address());
        let file = folder.path("herald.toml");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nworkers = 1\n[[application]]\nname = \"app\"\nhostnames = \"app.test\"\ncert = {cert:?}\n\
             key = {key:?}\nclient_ca = {ca:?}\nclient_auth = \"required\"\nupstream = \"http://{upstream}\"\n{extra}\n{POLICIES}"
        );
        fs::write(&file, text).unwrap();
        Self {
            folder,
            origin,
            file,
        }
    }

    fn start(&self) -> Herald {
        let launch = Launch::bare(["run".as_ref(), "--config".as_ref(), self.file.as_os_str()]);
        self.folder.launch(launch).start()
    }

    /// What `herald explain` says.
    fn explain(&self, caller: Option<&Identity>, arguments: &[&str]) -> String {
        let file = self.file.to_str().unwrap();
        let mut all = vec!["explain", "--config", file];
        if !arguments.contains(&"--host") {
            all.extend(["--host", "app.test"]);
        }
        let chain = caller.map(|caller| caller.write(&self.folder.path(""), "chain").0);
        if let Some(chain) = &chain {
            all.extend(["--cert", path(chain)]);
        }
        all.extend(arguments);
        let output = herald::run(&all);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn tells(&self, caller: Option<&Identity>, arguments: &[&str], wanted: &[&str]) {
        let told = self.explain(caller, arguments);
        for part in wanted {
            assert!(told.contains(part), "{part} in\n{told}");
        }
        assert!(told.is_ascii());
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every answer with words that must be in it.
#[test]
fn answers_name_the_check_that_decided() {
    let bench = Bench::new("");
    let pki = Pki::shared();
    for (caller, arguments, wanted) in [
        (
            Some(pki.good()),
            &["--path", "/x"][..],
            &[
                "Application  app",
                "Verdict      SUCCESS, by store default",
                "key ec-p256, signed with ecdsa-with-SHA256",
                "Store        default: leads to one of its CA certificates",
                "Policy       boss (allow): is for other methods or paths",
                "include valid_certificate: true",
                "exclude eku:1.3.6.1.5.5.7.3.3: false",
                "Decided by   others",
                "Decision     passes",
                "X-CERT-VERIFY: SUCCESS",
            ][..],
        ),
        (
            Some(pki.good()),
            &["--path", "/nginx/x"],
            &["Worker       number 1", "X-SSL-Client-Verify: SUCCESS"],
        ),
        (
            Some(pki.good()),
            &["--path", "/x", "--at", "2099-01-01T00:00:00Z"],
            &[
                "Time         2099-01-01T00:00:00Z",
                "NOT valid at that time",
                "Decision     403, by the mode: the client certificate did not verify",
            ],
        ),
        (
            Some(pki.expired()),
            &["--path", "/x"],
            &["certificate has expired", "403, by the mode"],
        ),
        (
            Some(pki.wrong_ca()),
            &[],
            &["Store        default: FAILED: ", "403, by the mode"],
        ),
        (
            None,
            &[],
            &[
                "none is presented",
                "Verdict      NONE",
                "a client certificate is required",
            ],
        ),
        (
            Some(pki.good()),
            &["--path", "/x%2f"],
            &["Decision     400"],
        ),
        (
            Some(pki.good()),
            &["--host", "other.test"],
            &["none has this host", "421"],
        ),
    ] {
        bench.tells(caller.as_ref(), arguments, wanted);
    }
}

/// What is explained is what happens.
#[test]
fn the_headers_are_those_that_an_origin_gets() {
    let bench = Bench::new("");
    let herald = bench.start();
    let caller = Pki::shared().good();
    for target in ["/x", "/nginx/x"] {
        let told = bench.explain(Some(&caller), &["--path", target]);
        let headers = told.split_once("Headers\n").unwrap().1;
        let mut client = Settings::new(Some(&caller))
            .connect(herald.address())
            .unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n");
        assert_eq!(client.ask(head.as_bytes()).unwrap().status, 200);
        let got = bench.origin.take().pop().unwrap().headers.lines();
        assert!(headers.lines().count() >= 6, "{told}");
        for line in headers.lines() {
            assert!(got.iter().any(|one| one == line), "{line} in {got:?}");
        }
        let ours = got
            .iter()
            .filter(|line| line.starts_with("X-CERT-") || line.starts_with("X-SSL-"));
        assert_eq!(ours.count(), headers.lines().count());
    }
}

/// The id on the page finds the refusal, and nobody but the owner of the socket can ask.
#[test]
fn a_refusal_is_explained_by_its_id() {
    let bench = Bench::new("");
    let herald = bench.start();
    let mut client = Settings::new(Some(&Pki::shared().expired()))
        .connect(herald.address())
        .unwrap();
    let response = client
        .ask(b"GET /a//b?secret=1 HTTP/1.1\r\nHost: app.test\r\n\r\n")
        .unwrap();
    assert_eq!(response.status, 403);
    let id = response.headers.only("x-request-id").unwrap();
    let admin = format!("unix:{}", bench.folder.path("admin.sock").display());
    let output = herald::run(&["explain", "--request", &id, "--admin", &admin]);
    let told = String::from_utf8(output.stdout).unwrap();
    for part in [
        "Refused      the client certificate did not verify",
        "Application  app",
        "certificate has expired",
        "Request      GET app.test/a//b\n",
        "Decision     403, by the mode",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    assert!(!told.contains("secret"));
    let (status, list) = bench.folder.ask("/refusals");
    assert!(
        status == 200 && list.starts_with(&id) && list.lines().count() == 1,
        "{list}"
    );
    let unknown = herald::run(&["explain", "--request", "nope", "--admin", &admin]);
    assert_eq!(unknown.status.code(), Some(1));
    // What was served is not remembered.
    let mut client = Settings::new(Some(&Pki::shared().good()))
        .connect(herald.address())
        .unwrap();
    client
        .ask(b"GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n")
        .unwrap();
    assert_eq!(bench.folder.ask("/refusals").1, list);
}

/// A refusal is explained with the configuration in force: after a reload that lets the caller in, it says so.
#[test]
fn after_a_reload_the_new_configuration_explains() {
    let bench = Bench::new("");
    let mut herald = bench.start();
    let mut client = Settings::new(None).connect(herald.address()).unwrap();
    let response = client
        .ask(b"OPTIONS /x HTTP/1.1\r\nHost: app.test\r\n\r\n")
        .unwrap();
    let id = response.headers.only("x-request-id").unwrap();
    let admin = format!("unix:{}", bench.folder.path("admin.sock").display());
    let asked = || {
        let output = herald::run(&["explain", "--request", &id, "--admin", &admin]);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(asked().contains("Decision     403, by the mode"));
    let bypass = "[[application.policy]]\nname = \"preflight\"\naction = \"bypass\"\ninclude = \"everyone\"\nmethod = \"OPTIONS\"\n";
    let text = fs::read_to_string(&bench.file).unwrap();
    let text = text.replace("\"required\"", "\"optional\"") + bypass;
    fs::write(&bench.file, text).unwrap();
    herald.hang_up();
    wait::until("the new configuration", || {
        let told = asked();
        let passes =
            told.contains("Decided by   preflight") && told.contains("Decision     passes");
        passes.then_some(())
    });
}

/// The page that an operator wrote is for people; programs that ask for JSON, and other failures, get Herald's own.
#[test]
fn a_denied_page_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("denied.html");
    fs::write(&page, "<h1>Ask the help desk</h1> about {request_id}").unwrap();
    let bench = Bench::new(&format!("denied_page = {page:?}"));
    let herald = bench.start();
    let ask = |accept: &str, target: &str| {
        let mut client = Settings::new(None).connect(herald.address()).unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: app.test\r\nAccept: {accept}\r\n\r\n");
        let response = client.ask(head.as_bytes()).unwrap();
        let kind = response.headers.only("content-type").unwrap();
        let id = response.headers.only("x-request-id").unwrap();
        (
            response.status,
            kind,
            text(&response.body.start).replace(&id, "ID"),
        )
    };
    let html = "text/html; charset=utf-8".to_owned();
    assert_eq!(
        ask("text/html", "/x"),
        (403, html, "<h1>Ask the help desk</h1> about ID".to_owned())
    );
    assert_eq!(ask("application/json", "/x").1, "application/problem+json");
    let mut client = Settings::new(None).connect(herald.address()).unwrap();
    let response = client
        .ask(b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")
        .unwrap();
    assert_eq!(response.status, 421);
    assert!(!text(&response.body.start).contains("help desk"));
    fs::write(&page, vec![b'x'; 65_537]).unwrap();
    let output = herald::run(&["check", "--config", path(&bench.file)]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told.contains("denied_page") && told.contains("64 KiB"),
        "{told}"
    );
}
