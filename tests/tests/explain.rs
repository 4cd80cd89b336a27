//! Why somebody is refused: the answers of `herald explain`, the refusals that a running Herald remembers, and the page
//! that people get. What is explained must be what happens: the headers are compared with those an origin really got.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use herald_tests::client::Settings;
use herald_tests::herald::{self, Herald, Launch};
use herald_tests::origin::Origin;
use herald_tests::pki::{Authority, Identity, Key, Pki, client_params};
use herald_tests::records::Folder;
use herald_tests::wait;
use herald_tests::wire::text;
use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose, SerialNumber};

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

/// A good chain of three: each certificate's checks stand under it.
#[test]
fn each_check_of_each_certificate_is_told() {
    let pki = Pki::shared();
    let bench = Bench::new("");
    let middle = pki.ca.subordinate("Told");
    let mut caller = middle.issue(client_params(), Key::Ec);
    caller.chain.push(middle.issuer.der().clone());
    let told = bench.explain(Some(&caller), &["--path", "/x"]);
    let good = [
        "the client's: CN=",
        "  dates: ok",
        "  key usages allow a TLS client: ok",
        "  signature by the key ",
        "  revocation: its issuer has no list: ok",
        "intermediate: CN=Told",
        "  basicConstraints: a CA: ok",
        "  keyCertSign: ",
        "  signature by the key ",
        "trust anchor: ",
        "  basicConstraints: a CA: ok",
        "  keyCertSign: ",
        "  signature: none is asked of a trust anchor: ok",
        "Verdict      SUCCESS",
    ];
    in_order(&told, &good);
    assert!(!told.contains("NOT ok"), "{told}");
}

/// One thing is wrong at a time, and stands under the certificate that it is wrong with.
#[test]
fn what_is_wrong_stands_under_its_certificate() {
    let pki = Pki::shared();
    let bench = Bench::new("");
    let middle = pki.ca.subordinate("Told");
    let old = pki.ca.subordinate_with("Old", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let silent = pki.ca.subordinate_with("Silent", |params| {
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
    });
    let short = pki.ca.subordinate_with("Short", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let below = short.subordinate("Below");
    let issued = |by: &Authority, others: &[&Authority]| {
        let mut caller = by.issue(client_params(), Key::Ec);
        let others = others.iter().map(|each| each.issuer.der().clone());
        caller.chain.extend(others);
        caller
    };
    let mut tampered = issued(&middle, &[&middle]);
    let mut der = tampered.chain[1].to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    tampered.chain[1] = der.into();
    for (caller, at, wrong) in [
        (
            issued(&old, &[&old]),
            "intermediate: CN=Old",
            "  dates: NOT ok: certificate has expired",
        ),
        (
            issued(&silent, &[&silent]),
            "intermediate: CN=Silent",
            "  keyCertSign: not set: NOT ok: key usage does not include certificate signing",
        ),
        (
            issued(&below, &[&below, &short]),
            "intermediate: CN=Short",
            "  path length: 1 below it, 0 allowed: NOT ok: path length constraint exceeded",
        ),
        (
            tampered,
            "intermediate: CN=Told",
            ": NOT ok: certificate signature failure",
        ),
    ] {
        let told = bench.explain(Some(&caller), &["--path", "/x"]);
        in_order(&told, &[at, wrong, "trust anchor: ", "Verdict      FAILED"]);
        assert_eq!(told.matches("NOT ok").count(), 1, "{told}");
    }
}

/// What a CA's list says of each certificate.
#[test]
fn the_standing_by_a_revocation_list_is_told() {
    let pki = Pki::shared();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crl");
    let bad =
        pki.client(|params| params.serial_number = Some(SerialNumber::from_slice(&[7, 7, 7])));
    let write = |serials: &[&[u8]], next_update| {
        let list = pki.ca.revoke(serials, next_update);
        fs::write(&file, list.pem().unwrap()).unwrap();
    };
    let (hour, now) = (Duration::from_secs(3600), SystemTime::now());
    let bench = Bench::new(&format!("client_crl = {file:?}"));
    write(&[&[7, 7, 7]], now + hour);
    let told = |caller: &Identity| bench.explain(Some(caller), &["--path", "/x"]);
    let listed = "  revocation: on its issuer's list: NOT ok: certificate revoked";
    in_order(
        &told(&bad),
        &[
            "the client's: ",
            listed,
            "trust anchor: ",
            "no list is asked: ok",
        ],
    );
    let free = "  revocation: not on its issuer's list: ok";
    in_order(
        &told(&pki.good()),
        &["the client's: ", free, "Verdict      SUCCESS"],
    );
    write(&[], now - Duration::from_secs(60));
    let stale = "  revocation: its issuer's list can't be relied on: NOT ok: CRL has expired";
    in_order(
        &told(&pki.good()),
        &["the client's: ", stale, "Verdict      FAILED"],
    );
}

fn in_order(told: &str, parts: &[&str]) {
    let mut rest = told;
    for part in parts {
        let (_, after) = rest
            .split_once(part)
            .unwrap_or_else(|| panic!("{part} in its place in\n{told}"));
        rest = after;
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
