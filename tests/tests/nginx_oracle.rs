//! The oracle: the same odd certificates to nginx and to Herald. What both tell the origin about a certificate must be the
//! same bytes; where their verdicts differ, docs/validation.md must say so and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use herald_tests::certs::{self, Case, World};
use herald_tests::client::{Client, Settings, Tls};
use herald_tests::gate;
use herald_tests::herald::{Herald, Launch};
use herald_tests::nginx::{self, HEADERS, Nginx};
use herald_tests::origin::{Origin, Request};
use herald_tests::wire::text;
use rustls::ClientConfig;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

#[test]
fn nginx_and_herald_say_the_same_of_every_certificate() {
    let test = "nginx_oracle";
    let tools = [
        ("nginx with OpenSSL 3.0", nginx::is_here()),
        ("openssl", gate::succeeds("openssl", &["version"])),
    ];
    if !tools
        .iter()
        .all(|(tool, works)| gate::require(test, tool, *works))
    {
        return;
    }
    let world = World::new();
    let cases = certs::cases(&world);
    assert!(cases.len() >= CASES_MIN, "only {} cases", cases.len());
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one name");

    let bench = Bench::new(&world);
    let mut findings = Findings::default();
    for (number, case) in cases.iter().enumerate() {
        findings.record(case, &bench.present(case, Tls::V13));
        if number % TLS12_EVERY == 0 {
            findings.record(case, &bench.present(case, Tls::V12));
        }
    }
    findings.conclude(&documented());
}

/// Both proxies before an origin each, trusting the same CAs.
struct Bench {
    nginx: Nginx,
    nginx_origin: Origin,
    herald: Herald,
    herald_origin: Origin,
    _ca: tempfile::NamedTempFile,
}

/// What one proxy did.
enum Outcome {
    /// The origin was asked.
    Forwarded(Box<Request>),
    /// The handshake failed, with this error.
    Refused(String),
}

impl Bench {
    fn new(world: &World) -> Self {
        let ca = tempfile::NamedTempFile::new().unwrap();
        fs::write(ca.path(), world.pem()).unwrap();
        let (nginx_origin, herald_origin) = (Origin::echo(), Origin::echo());
        let herald = Launch::new("forward-failed", herald_origin.address())
            .client_ca([ca.path().to_owned()])
            .args([
                "--identity-on-failure",
                "send",
                "--reason-style",
                "openssl3",
            ])
            .start();
        Self {
            nginx: Nginx::start(nginx_origin.address(), &world.pem()),
            nginx_origin,
            herald,
            herald_origin,
            _ca: ca,
        }
    }

    /// Presents `case` to both, nginx first.
    fn present(&self, case: &Case, version: Tls) -> [Outcome; 2] {
        [
            ask(case, version, self.nginx.address(), &self.nginx_origin),
            ask(case, version, self.herald.address(), &self.herald_origin),
        ]
    }
}

fn ask(case: &Case, version: Tls, proxy: SocketAddr, origin: &Origin) -> Outcome {
    let mut config = ClientConfig::clone(&Settings::default().version(version).build());
    let key = case.key.for_handshake();
    // `new` does not look into the certificate, which rustls could not parse in many cases.
    config.client_auth_cert_resolver = Arc::new(Presenting(Arc::new(CertifiedKey::new(
        case.chain.clone(),
        key,
    ))));
    let answer = Client::connect(proxy, &Arc::new(config)).and_then(|mut client| client.get("/"));
    let mut requests = origin.take();
    match (answer, requests.pop()) {
        (Ok(_), Some(request)) => {
            assert!(requests.is_empty(), "{}: several requests", case.name);
            Outcome::Forwarded(Box::new(request))
        }
        (Ok(response), None) => panic!("{}: answered {} by itself", case.name, response.start),
        (Err(error), _) => Outcome::Refused(error.to_string()),
    }
}

/// Presents its chain whatever the server asks for.
#[derive(Debug)]
struct Presenting(Arc<CertifiedKey>);

impl ResolvesClientCert for Presenting {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A row of docs/validation.md: class, what nginx says, what Herald says.
type Row = (String, String, String);

#[derive(Default)]
struct Findings {
    /// Compared, and of those with a verdict of `SUCCESS` from both.
    compared: usize,
    successes: usize,
    /// Not loaded by nginx: its handshake failed.
    unloadable: Vec<String>,
    /// Differing verdicts with the cases that showed them.
    verdicts: BTreeMap<Row, Vec<String>>,
    /// Differing identities, each a finding.
    identities: Vec<String>,
}

impl Findings {
    fn record(&mut self, case: &Case, [nginx, herald]: &[Outcome; 2]) {
        let nginx = match nginx {
            Outcome::Forwarded(request) => request,
            Outcome::Refused(error) => {
                self.unloadable.push(format!("{}: {error}", case.name));
                return;
            }
        };
        self.compared += 1;
        let says = verdict(nginx);
        let ours = match herald {
            Outcome::Forwarded(request) => {
                self.compare_identities(case, nginx, request);
                verdict(request)
            }
            Outcome::Refused(_) => "(handshake refused)".to_owned(),
        };
        if says == ours {
            self.successes += usize::from(says == "SUCCESS");
        } else {
            let row = (case.class.to_owned(), says, ours);
            self.verdicts
                .entry(row)
                .or_default()
                .push(case.name.clone());
        }
    }

    fn compare_identities(&mut self, case: &Case, nginx: &Request, herald: &Request) {
        for (name, _) in HEADERS.iter().filter(|(name, _)| *name != VERIFY) {
            if *name == SERIAL && case.long_serial {
                continue;
            }
            let [theirs, ours] = [nginx, herald].map(|request| {
                let values: Vec<_> = request.headers.all(name).collect();
                assert!(values.len() < 2, "{}: {name} twice", case.name);
                values.first().map(|value| text(value))
            });
            if theirs != ours {
                self.identities.push(format!(
                    "{}: {name}\n  nginx  {theirs:?}\n  Herald {ours:?}",
                    case.name
                ));
            }
        }
    }

    fn conclude(self, documented: &BTreeSet<Row>) {
        println!(
            "{} compared, {} SUCCESS twice, {} kinds of differing verdicts, {} not loaded by nginx",
            self.compared,
            self.successes,
            self.verdicts.len(),
            self.unloadable.len(),
        );
        let show = |(class, nginx, herald): &Row| format!("| {class} | {nginx} | {herald} |");
        let unlisted: Vec<String> = self
            .verdicts
            .iter()
            .filter(|(row, _)| !documented.contains(*row))
            .map(|(row, cases)| format!("{} <- {}", show(row), cases.join("; ")))
            .collect();
        let stale: Vec<String> = documented
            .iter()
            .filter(|row| !self.verdicts.contains_key(*row))
            .map(show)
            .collect();
        let mut faults = Vec::new();
        let mut fault = |what: &str, list: &[String]| {
            if !list.is_empty() {
                faults.push(format!("{what} ({}):\n{}", list.len(), list.join("\n")));
            }
        };
        fault("differing identities", &self.identities);
        fault(
            "differing verdicts that docs/validation.md does not list",
            &unlisted,
        );
        fault("rows of docs/validation.md that never occurred", &stale);
        if self.unloadable.len() > UNLOADABLE_MAX {
            fault(
                "too many certificates that nginx does not load",
                &self.unloadable,
            );
        }
        assert!(faults.is_empty(), "{}", faults.join("\n\n"));
        assert!(self.compared >= CASES_MIN && self.successes >= SUCCESSES_MIN);
    }
}

fn verdict(request: &Request) -> String {
    request
        .headers
        .only(VERIFY)
        .unwrap_or_else(|| "(no verdict)".to_owned())
}

/// The table of docs/validation.md between its two markers.
fn documented() -> BTreeSet<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/validation.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, rest) = page
        .split_once("<!-- differences -->")
        .expect("marker of the table");
    let (table, _) = rest
        .split_once("<!-- end of differences -->")
        .expect("marker of its end");
    let mut rows = BTreeSet::new();
    for line in table.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [class, nginx, herald, why] = cells[..] else {
            panic!("a row has four cells: {line}");
        };
        assert!(!why.is_empty(), "a row without its reason: {line}");
        let unquoted = |cell: &str| cell.trim_matches('`').to_owned();
        let row = (class.to_owned(), unquoted(nginx), unquoted(herald));
        assert!(rows.insert(row), "a row twice: {line}");
    }
    rows
}

const VERIFY: &str = "X-CERT-VERIFY";
const SERIAL: &str = "X-CERT-SERIAL";
/// Certificates that must have been compared, and that both must have found good.
const CASES_MIN: usize = 300;
const SUCCESSES_MIN: usize = 150;
/// One case in so many is presented in TLS 1.2 too.
const TLS12_EVERY: usize = 4;
/// Presentations nginx may fail: certificates OpenSSL does not parse.
const UNLOADABLE_MAX: usize = 40;
