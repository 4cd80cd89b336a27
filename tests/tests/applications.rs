//! Several applications in one process: which one a name means, what its clients are asked for, and that no request is
//! served on a connection whose handshake asked another question.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use herald_tests::client::{Client, Settings};
use herald_tests::h2::Raw;
use herald_tests::herald::{self, Herald, Launch};
use herald_tests::matrix::{self, Ca, Host, Sni, Way};
use herald_tests::origin::Origin;
use herald_tests::pki::{Identity, Key, Pki};
use herald_tests::table::{Table, check};
use herald_tests::wire::text;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use rustls::{ClientConfig, HandshakeKind};
use tempfile::TempDir;

/// Herald with its applications, an origin for each.
struct Bench {
    herald: Herald,
    a: Origin,
    b: Origin,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (Origin::echo(), Origin::echo());
        let file = folder.path().join("herald.toml");
        fs::write(&file, configuration(&folder, a.address(), b.address())).unwrap();
        let herald = Launch::bare(["run".as_ref(), "--config".as_ref(), file.as_os_str()]).start();
        Self {
            herald,
            a,
            b,
            _folder: folder,
        }
    }

    /// Connects for `sni`.
    fn connect(&self, sni: Sni, config: &Arc<ClientConfig>) -> Client {
        Client::connect_as(self.herald.address(), sni.verified_name(), config).unwrap()
    }

    /// What both origins got since the last time.
    fn reached(&self) -> Vec<(&'static str, String)> {
        let of = |name, origin: &Origin| {
            let requests = origin.take().into_iter();
            let verdicts = requests
                .map(move |request| (name, request.headers.only(VERIFY).unwrap_or_default()));
            verdicts.collect::<Vec<_>>()
        };
        [of("a", &self.a), of("b", &self.b)].concat()
    }
}

/// Writes server certificates and the file. Application `a` is the default; a certificate it shows is good for the names
/// that nobody has, so that a client can see which one it got.
fn configuration(folder: &TempDir, a: SocketAddr, b: SocketAddr) -> String {
    let pki = Pki::shared();
    let server = |stem: &str, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_after = rcgen::date_time_ymd(2049, 1, 1);
        let (cert, key) = pki.ca.issue(params, Key::Ec).write(folder.path(), stem);
        format!("cert = {cert:?}\nkey = {key:?}\n")
    };
    let (ca, other) = (pki.path("ca.pem"), pki.path("other.pem"));
    let for_a = server(
        "a",
        &[
            "a.test",
            "*.a.test",
            "unknown.test",
            "none.test",
            "same.test",
        ],
    );
    let for_b = server("b", &["b.test"]);
    let for_more = server("more", &["public.test", "both.test", "deep.a.test"]);
    format!(
        "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin = \"off\"\nheader = {{ X-CERT-STORE = \"{{certTrustStore}}\" }}\n\
         preset = \"cloudflare-worker\"\n\
         [[trust]]\nname = \"store-a\"\nca = {ca:?}\n\
         [[trust]]\nname = \"store-b\"\nca = [{other:?}]\n\
         [[application]]\nname = \"a\"\nhostnames = [\"a.test\", \"*.a.test\"]\ntrust = \"store-a\"\nupstream = \"http://{a}\"\n{for_a}\
         [[application]]\nname = \"b\"\nhostnames = [\"b.test\"]\ntrust = [\"store-b\"]\nupstream = \"http://{b}\"\n{for_b}\
         [[application]]\nhostnames = [\"public.test\"]\nclient_auth = \"off\"\nupstream = \"http://{b}\"\n{for_more}\
         [[application]]\nhostnames = [\"both.test\"]\ntrust = [\"store-a\", \"store-b\"]\nupstream = \"http://{b}\"\n{for_more}\
         [[application]]\nname = \"same trust as a\"\nhostnames = [\"same.test\"]\ntrust = \"store-a\"\nclient_auth = \"optional\"\n\
         header = {{ X-Who = \"{{certSubjectCN}}\" }}\nupstream = \"http://{b}\"\n{for_a}"
    )
}

/// The rule in one place: a connection without a known name was made for `a`; what it is not made for is 421; what it is
/// made for depends on the certificate.
fn expected(sni: Sni, host: Host, ca: Ca) -> u16 {
    let connection = if sni == Sni::B { "b.test" } else { "a.test" };
    let good = if sni == Sni::B { Ca::B } else { Ca::A };
    match host.name() == connection {
        false => 421,
        true if ca == good => 200,
        true => 403,
    }
}

#[test]
fn a_request_is_served_only_where_the_handshake_asked_its_question() {
    let bench = Bench::new();
    let mut table = Table::new("SNI x Host x CA x way");
    for way in Way::ALL {
        for sni in Sni::ALL {
            for ca in Ca::ALL {
                let resuming = matrix::client(sni, ca, way.is_h2());
                if way.is_resumed() {
                    // A whole exchange, so that the ticket has come.
                    status(bench.connect(sni, &resuming), way, Host::A);
                    bench.reached();
                }
                for host in Host::ALL {
                    let config = match way.is_resumed() {
                        true => Arc::clone(&resuming),
                        false => matrix::client(sni, ca, way.is_h2()),
                    };
                    let name = format!("{way:?} SNI {sni:?} Host {host:?} CA {ca:?}");
                    table.row(&name, cell(&bench, &config, (way, sni, host, ca)));
                }
            }
        }
    }
    table.finish();
}

fn cell(
    bench: &Bench,
    config: &Arc<ClientConfig>,
    (way, sni, host, ca): (Way, Sni, Host, Ca),
) -> Result<(), String> {
    let client = bench.connect(sni, config);
    let resumed = client.session().1 == Some(HandshakeKind::Resumed);
    check(resumed == way.is_resumed(), || {
        format!("resumed: {resumed}")
    })?;
    let wanted = expected(sni, host, ca);
    let got = status(client, way, host);
    check(got == wanted, || format!("{got} instead of {wanted}"))?;
    let reached = bench.reached();
    let origin = if host.name() == "a.test" { "a" } else { "b" };
    let served = match wanted {
        // Over HTTP/2 each question is asked twice.
        200 => vec![(origin, "SUCCESS".to_owned()); if way.is_h2() { 2 } else { 1 }],
        _ => Vec::new(),
    };
    check(reached == served, || format!("the origins got {reached:?}"))
}

/// Asks once and gives the status; over HTTP/1.1 a 421 must close, over HTTP/2 the connection must live on.
fn status(mut client: Client, way: Way, host: Host) -> u16 {
    if !way.is_h2() {
        let response = client.ask(matrix::head(host).as_bytes()).unwrap();
        if response.status == 421 {
            assert_eq!(
                client.rest().unwrap(),
                b"",
                "the connection closes after 421"
            );
        }
        return response.status;
    }
    let mut raw = Raw::over(client).unwrap();
    let fields = matrix::fields(host);
    let first = raw.ask(&fields, None).unwrap().status.unwrap();
    // A second stream gets the same answer: the connection was not ended by the first.
    let second = raw.ask(&fields, None).unwrap().status.unwrap();
    assert_eq!(first, second);
    first
}

fn ask(bench: &Bench, server: &str, identity: Option<&Identity>, host: &str) -> u16 {
    let config = Settings::new(identity).build();
    let mut client = Client::connect_as(bench.herald.address(), server, &config).unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    client.ask(head.as_bytes()).unwrap().status
}

#[test]
fn every_spelling_of_a_host_means_the_same_application() {
    let bench = Bench::new();
    let good = Pki::shared().good();
    let mut table = Table::new("spellings of hosts");
    for (server, host, wanted) in [
        ("a.test", "A.TEST", 200),
        ("a.test", "a.test.", 200),
        ("a.test", "a.test:443", 200),
        ("a.test", "A.Test.:8443", 200),
        ("a.test", "x.a.test", 200),
        ("x.a.test", "y.a.test", 200),
        ("x.a.test", "x.y.a.test", 200),
        ("X.A.TEST", "a.test", 200),
        ("a.test", "test", 421),
        ("a.test", "B.TEST.:1", 421),
        ("a.test", "%61.test", 421),
        ("a.test", "127.0.0.1", 421),
        ("a.test", "[::1]", 421),
        ("a.test", "public.test", 421),
        ("public.test", "public.test", 200),
        ("public.test", "a.test", 421),
    ] {
        let got = ask(&bench, server, Some(&good), host);
        let name = format!("SNI {server} Host {host}");
        table.row(
            &name,
            check(got == wanted, || format!("{got} instead of {wanted}")),
        );
    }
    table.finish();
}

/// Applications of one trust share connections, as HTTP/2 clients do; each keeps its own mode, headers and origin.
#[test]
fn a_connection_serves_all_applications_of_its_trust() {
    let bench = Bench::new();
    let good = Pki::shared().good();
    assert_eq!(ask(&bench, "a.test", Some(&good), "same.test"), 200);
    let request = bench.b.take_one();
    assert_eq!(
        request.headers.only("X-Who").as_deref(),
        Some("James Royal")
    );
    assert!(!request.headers.has("X-CERT-STORE"));
    // `optional` is its own: the same caller without a certificate is refused by `a`.
    assert_eq!(ask(&bench, "a.test", None, "same.test"), 200);
    assert_eq!(ask(&bench, "same.test", None, "a.test"), 403);
    assert_eq!(
        bench.b.take_one().headers.only(VERIFY).as_deref(),
        Some("NONE")
    );
    assert!(bench.a.take().is_empty());
}

#[test]
fn several_stores_are_or_ed_and_the_one_that_matched_has_a_name() {
    let bench = Bench::new();
    let pki = Pki::shared();
    for (identity, store) in [(pki.good(), "store-a"), (pki.wrong_ca(), "store-b")] {
        assert_eq!(ask(&bench, "both.test", Some(&identity), "both.test"), 200);
        let request = bench.b.take_one();
        assert_eq!(request.headers.only("X-CERT-STORE").as_deref(), Some(store));
    }
    assert_eq!(
        ask(&bench, "both.test", Some(&pki.self_signed()), "both.test"),
        403
    );
    // Trusting both is not trusting one of them.
    assert_eq!(ask(&bench, "both.test", Some(&pki.good()), "a.test"), 421);
    assert_eq!(ask(&bench, "a.test", Some(&pki.good()), "both.test"), 421);
}

/// A browser asks its user for a certificate only where there is something to choose it for.
#[test]
fn a_certificate_is_asked_for_only_where_it_is_needed() {
    let bench = Bench::new();
    for (server, names) in [
        ("public.test", None),
        ("a.test", Some(1)),
        ("b.test", Some(1)),
        ("both.test", Some(2)),
    ] {
        let settings = Settings::new(None);
        let asked = settings.asked();
        let mut client =
            Client::connect_as(bench.herald.address(), server, &settings.build()).unwrap();
        let head = format!("GET / HTTP/1.1\r\nHost: {server}\r\n\r\n");
        client.ask(head.as_bytes()).unwrap();
        let asked = asked.lock().unwrap().as_ref().map(Vec::len);
        assert_eq!(asked, names, "{server}");
    }
}

/// A ClientHello in pieces has a name all the same (CVE-2026-32305).
#[test]
fn a_fragmented_client_hello_is_not_nameless() {
    let bench = Bench::new();
    let identity = Pki::shared().wrong_ca();
    let config = Settings::new(Some(&identity)).build();
    let mut session = rustls::ClientConnection::new(config, "b.test".try_into().unwrap()).unwrap();
    let mut flight = Vec::new();
    session.write_tls(&mut flight).unwrap();
    // One handshake message in many TLS records of 40 bytes.
    let (head, message) = flight.split_at(5);
    let records: Vec<u8> = message
        .chunks(40)
        .flat_map(|piece| {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&head[..3], &length, piece].concat()
        })
        .collect();
    let mut socket = herald_tests::client::open(bench.herald.address()).unwrap();
    std::io::Write::write_all(&mut socket, &records).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    let mut stream = rustls::StreamOwned::new(session, socket);
    std::io::Write::write_all(
        &mut stream,
        b"GET / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", text(&answer));
    assert_eq!(bench.reached(), [("b", "SUCCESS".to_owned())]);
}

#[test]
fn mistakes_in_applications_are_told_with_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("herald.toml");
    let text = "listen = \"127.0.0.1:0\"\n[[trust]]\nname = \"a\"\nca = \"/nonexistent.pem\"\n\
                [[application]]\nhostnames = [\"x.test\", \"X.test.\", \"y.test:1\"]\ntrust = \"b\"\nworkers = 2\n\
                cert = \"/c\"\nkey = \"/k\"\nupstream = \"http://127.0.0.1:1\"\nclient_ath = \"off\"\n";
    fs::write(&file, text).unwrap();
    let output = herald::run(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    for (place, what) in [
        (":6:24: hostnames", "`X.test.` is listed twice"),
        (":6:35: hostnames", "`y.test:1` is not a host name"),
        (":7:9: trust", "there is no store `b`"),
        (":8:1: workers", "is a setting of the process"),
        (":12:1: client_ath", "is not a known key"),
    ] {
        let line = format!("{}{place}: {what}", file.display());
        assert!(told.contains(&line), "{line}\n{told}");
    }
    assert!(
        told.contains("5 mistakes") && told.contains("did you mean `client_auth`?"),
        "{told}"
    );
}

const VERIFY: &str = "X-CERT-VERIFY";
