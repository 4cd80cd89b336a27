//! Workers: which headers a path gets, and that the one that ships is the default.

use std::fs;

use herald_tests::application::{bench, configuration, named};
use herald_tests::client::Settings;
use herald_tests::herald::{self, Launch};
use herald_tests::origin::Origin;
use herald_tests::pki::{Key, Pki};
use herald_tests::table::{Table, check};

/// The seed's nine headers everywhere but where a worker says otherwise; the first worker that matches decides, in every
/// spelling of its path, and what any of them sets is no client's to say on any path.
const WORKERS: &str = r#"
[[application.worker]]
path = ["/api", "/api/**"]
mode = "add"
header = { X-Who = "{certSubjectCN}", X-Cert-Serial = "{certTrustStore}" }

[[application.worker]]
path = "/legacy/*"
preset = "nginx"

[[application.worker]]
path = "/**"
header = { X-Any = "{certVerified}" }
"#;

#[test]
fn a_path_chooses_the_headers() {
    let bench = bench("optional", "", WORKERS);
    let caller = named("truck-7");
    let mut table = Table::new("path and headers");
    let nine = ["x-cert-verify", "x-cert-subject-dn", "x-cert-presented"];
    for (target, there, absent) in [
        (
            "/api",
            [nine.as_slice(), &["x-who", "x-cert-serial"]].concat(),
            vec!["x-any", "x-ssl-client-verify"],
        ),
        (
            "/x/../%61pi/y",
            [nine.as_slice(), &["x-who"]].concat(),
            vec!["x-any"],
        ),
        (
            "/legacy/x",
            vec!["x-ssl-client-verify", "x-ssl-client-s-dn"],
            [nine.as_slice(), &["x-any", "x-who"]].concat(),
        ),
        (
            "/legacy/x/y",
            vec!["x-any"],
            [nine.as_slice(), &["x-ssl-client-verify"]].concat(),
        ),
        ("/", vec!["x-any"], nine.to_vec()),
    ] {
        let mut client = Settings::new(Some(&caller))
            .connect(bench.herald.address())
            .unwrap();
        let forged = "X-Who: forged\r\nX_Any: forged\r\nX-SSL-Client-Verify: forged\r\nX-Cert-Verify: forged\r\n";
        let head = format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n{forged}\r\n");
        client.send(head.as_bytes()).unwrap();
        assert_eq!(client.response_to("GET").unwrap().status, 200);
        let headers = bench.origin.take().pop().unwrap().headers;
        let values = |name: &str| headers.texts(name);
        let clean = !headers.lines().concat().contains("forged");
        let holds = clean
            && there.iter().all(|name| values(name).len() == 1)
            && absent.iter().all(|name| values(name).is_empty());
        table.row(target, check(holds, || format!("{:?}", headers.lines())));
    }
    table.finish();
    let mut client = Settings::new(Some(&caller))
        .connect(bench.herald.address())
        .unwrap();
    client
        .send(b"GET /api HTTP/1.1\r\nHost: app.test\r\n\r\n")
        .unwrap();
    client.response_to("GET").unwrap();
    let headers = bench.origin.take().pop().unwrap().headers;
    assert_eq!(headers.only("x-who").as_deref(), Some("truck-7"));
    assert_eq!(headers.only("x-cert-serial").as_deref(), Some("default"));
}

#[test]
fn mistakes_in_workers_are_told_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::echo();
    let wrong = "[[application.worker]]\nmode = \"add\"\n[[application.worker]]\npath = \"api\"\nmode = \"x\"\n\
                 preset = \"nope\"\nheader = { Host = \"{certSerial}\", X = \"{nope}\" }\nmethod = \"GET\"\n";
    let file = folder.path().join("herald.toml");
    fs::write(&file, configuration(&origin, "required", "", wrong)).unwrap();
    let told = |text: &str| {
        fs::write(&file, text).unwrap();
        let output = herald::run(&["check", "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let first = told(&configuration(&origin, "required", "", wrong));
    for part in [
        "this worker has no path",
        "this worker adds nothing",
        "`api` is no pattern",
        "`x` is not allowed",
        "method",
    ] {
        assert!(first.contains(part), "{part} in {first}");
    }
    let later = wrong.replace("[[application.worker]]\nmode = \"add\"\n", "");
    let later = later
        .replace("\"api\"", "\"/api\"")
        .replace("mode = \"x\"\n", "")
        .replace("method = \"GET\"\n", "");
    let second = told(&configuration(&origin, "required", "", &later));
    for part in ["`nope` is not a preset", "`Host`", "no variable `nope`"] {
        assert!(second.contains(part), "{part} in {second}");
    }
}

/// The shipped worker, written out, says what Herald says by default, with a certificate and without.
#[test]
fn the_shipped_worker_is_the_default() {
    let pki = Pki::shared();
    let (cert, key) = pki.server(Key::Ec);
    let (origin, folder) = (Origin::echo(), tempfile::tempdir().unwrap());
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/worker.toml");
    let text = fs::read_to_string(shipped).unwrap();
    let text = text
        .replace("0.0.0.0:443", "127.0.0.1:0")
        .replace("/etc/herald/server.pem", cert.to_str().unwrap())
        .replace("/etc/herald/server.key", key.to_str().unwrap())
        .replace(
            "/etc/herald/clients-ca.pem",
            pki.path("ca.pem").to_str().unwrap(),
        )
        .replace("127.0.0.1:8080", &origin.address().to_string());
    let without = text
        .split("[[application.worker]]")
        .next()
        .unwrap()
        .to_owned();
    let caller = pki.good();
    let told = |text: &str| {
        let file = folder.path().join("herald.toml");
        fs::write(&file, text).unwrap();
        let check = herald::run(&["check", "--config", file.to_str().unwrap()]);
        assert!(check.status.success(), "{check:?}");
        let herald = Launch::bare(["run".as_ref(), "--config".as_ref(), file.as_os_str()]).start();
        [Some(&caller), None].map(|caller| {
            let mut client = Settings::new(caller).connect(herald.address()).unwrap();
            client
                .send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
                .unwrap();
            assert_eq!(client.response_to("GET").unwrap().status, 200);
            let headers = origin.take().pop().unwrap().headers;
            let lines = headers.lines().into_iter();
            let mut ours: Vec<_> = lines.filter(|line| line.starts_with("X-CERT-")).collect();
            ours.sort();
            ours
        })
    };
    let [with, none] = told(&text);
    assert_eq!((with.len(), none.len()), (10, 2));
    assert_eq!([with, none], told(&without));
}
