//! nginx, HAProxy and Herald before the same two applications, in every cell of {SNI} x {Host} x {CA} over HTTP/1.1 and
//! HTTP/2, fresh and resumed. The others are set up as their manuals show it. docs/comparison.md is the table as measured;
//! `HERALD_WRITE_COMPARISON=1` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use herald_tests::client::Client;
use herald_tests::gate;
use herald_tests::herald::{Herald, Launch};
use herald_tests::matrix::{self, Ca, Host, Sni, Way};
use herald_tests::origin::Origin;
use herald_tests::peer::{Kind, Peer};
use herald_tests::pki::{Key, Pki};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use tempfile::TempDir;

/// The versions that the page was measured with: Debian 12's.
const NGINX: &str = "1.22.1";
const HAPROXY: &str = "2.6.12";

#[test]
fn nobody_passes_with_the_wrong_ca_and_the_page_says_what_others_do() {
    let test = "comparison";
    for (tool, works) in [
        (
            format!("nginx {NGINX}"),
            Kind::Nginx.version().as_deref() == Some(NGINX),
        ),
        (
            format!("haproxy {HAPROXY}"),
            Kind::Haproxy.version().as_deref() == Some(HAPROXY),
        ),
    ] {
        if !gate::require(test, &tool, works) {
            return;
        }
    }
    let files = Files::new();
    let columns = ["nginx", "HAProxy", "Herald"].map(|name| measure(name, &files));
    let page = page(&columns);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/comparison.md");
    if std::env::var_os("HERALD_WRITE_COMPARISON").is_some() {
        fs::write(path, &page).unwrap();
    }
    let herald: Vec<_> = columns[2].iter().filter(|cell| cell.is_bypass()).collect();
    assert!(herald.is_empty(), "{herald:?}");
    let shown = fs::read_to_string(path).unwrap();
    let differing = shown
        .lines()
        .zip(page.lines())
        .find(|(shown, measured)| shown != measured);
    assert!(
        shown == page,
        "docs/comparison.md says otherwise: {differing:?}"
    );
}

/// What one proxy did in one cell.
#[derive(Clone, Debug)]
struct Cell {
    sni: Sni,
    host: Host,
    ca: Ca,
    way: Way,
    outcome: Outcome,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Outcome {
    /// The origin of this application was asked.
    Reached(&'static str),
    /// The proxy answered by itself.
    Answered(u16),
    /// The handshake failed, or the connection was closed.
    Closed,
}

impl Cell {
    /// The origin was reached by a caller whom its application does not trust.
    fn is_bypass(&self) -> bool {
        let needed = match self.outcome {
            Outcome::Reached("a") => Ca::A,
            Outcome::Reached(_) => Ca::B,
            _ => return false,
        };
        self.ca != needed
    }

    fn word(&self) -> String {
        match (&self.outcome, self.is_bypass()) {
            (Outcome::Reached(origin), true) => format!("**bypass to {origin}**"),
            (Outcome::Reached(origin), false) => format!("served by {origin}"),
            (Outcome::Answered(status), _) => status.to_string(),
            (Outcome::Closed, _) => "closed".to_owned(),
        }
    }
}

/// Server certificates and keys of both applications.
struct Files {
    folder: TempDir,
    a: (PathBuf, PathBuf),
    b: (PathBuf, PathBuf),
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = |stem: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.not_after = rcgen::date_time_ymd(2049, 1, 1);
            let pair = Pki::shared()
                .ca
                .issue(params, Key::Ec)
                .write(folder.path(), stem);
            // HAProxy wants both in one file.
            let both = [&pair.0, &pair.1].map(|path| fs::read_to_string(path).unwrap());
            fs::write(folder.path().join(format!("{stem}.both")), both.concat()).unwrap();
            pair
        };
        let a = server("a", &["a.test", "none.test", "unknown.test"]);
        let b = server("b", &["b.test"]);
        Self { folder, a, b }
    }

    fn both(&self, stem: &str) -> PathBuf {
        self.folder.path().join(format!("{stem}.both"))
    }
}

/// Keeps a proxy running.
enum Running {
    Peer(Peer),
    Herald(Herald),
}

impl Running {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Peer(peer) => peer.address(),
            Self::Herald(herald) => herald.address(),
        }
    }
}

fn measure(name: &str, files: &Files) -> Vec<Cell> {
    let (a, b) = (Origin::echo(), Origin::echo());
    let origins = (a.address(), b.address());
    let running = match name {
        "nginx" => Running::Peer(Peer::start(Kind::Nginx, |dir, at| {
            nginx(files, origins, dir, at)
        })),
        "HAProxy" => Running::Peer(Peer::start(Kind::Haproxy, |dir, at| {
            haproxy(files, origins, dir, at)
        })),
        _ => Running::Herald(herald(files, origins)),
    };
    let mut cells = Vec::new();
    for sni in Sni::ALL {
        for host in Host::ALL {
            for ca in Ca::ALL {
                for way in Way::ALL {
                    let outcome = cell(running.address(), [&a, &b], (sni, host, ca, way));
                    cells.push(Cell {
                        sni,
                        host,
                        ca,
                        way,
                        outcome,
                    });
                }
            }
        }
    }
    cells
}

fn cell(
    at: SocketAddr,
    [a, b]: [&Origin; 2],
    (sni, host, ca, way): (Sni, Host, Ca, Way),
) -> Outcome {
    let config = matrix::client(sni, ca, way.is_h2());
    let connect = || Client::connect_as(at, sni.verified_name(), &config);
    if way.is_resumed() {
        // A whole exchange with the host of the handshake, so that a ticket has come if one does.
        let own = if sni == Sni::B { Host::B } else { Host::A };
        drop(connect().and_then(|client| matrix::ask(client, way, own)));
        drop((a.take(), b.take()));
    }
    let status = connect().and_then(|client| matrix::ask(client, way, host));
    let reached: Vec<_> = [("a", a), ("b", b)]
        .into_iter()
        .filter(|(_, origin)| !origin.take().is_empty())
        .map(|(name, _)| name)
        .collect();
    match (&*reached, status) {
        ([name], _) => Outcome::Reached(name),
        ([], Ok(status)) => Outcome::Answered(status),
        ([], Err(_)) => Outcome::Closed,
        _ => panic!("both origins were reached"),
    }
}

fn herald(files: &Files, (a, b): (SocketAddr, SocketAddr)) -> Herald {
    let pki = Pki::shared();
    let table = |name: &str, (cert, key): &(PathBuf, PathBuf), ca: &str, origin: SocketAddr| {
        let ca = pki.path(ca);
        format!(
            "[[application]]\nhostnames = \"{name}\"\ncert = {cert:?}\nkey = {key:?}\nclient_ca = {ca:?}\n\
             upstream = \"http://{origin}\"\n"
        )
    };
    let text = format!(
        "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin = \"off\"\n{}{}",
        table("a.test", &files.a, "ca.pem", a),
        table("b.test", &files.b, "other.pem", b)
    );
    let file = files.folder.path().join("herald.toml");
    fs::write(&file, text).unwrap();
    Launch::bare(["run".as_ref(), "--config".as_ref(), file.as_os_str()]).start()
}

fn nginx(files: &Files, (a, b): (SocketAddr, SocketAddr), dir: &Path, at: SocketAddr) -> String {
    let dir = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
        .collect();
    let server = |name: &str, (cert, key): &(PathBuf, PathBuf), ca: &str, origin: SocketAddr| {
        let (cert, key, ca) = (cert.display(), key.display(), Pki::shared().path(ca));
        format!(
            "server {{\nlisten {at} ssl http2;\nserver_name {name};\nssl_certificate {cert};\nssl_certificate_key {key};\n\
             ssl_client_certificate {};\nssl_verify_client on;\nlocation / {{\nproxy_pass http://{origin};\n\
             proxy_set_header X-CERT-VERIFY $ssl_client_verify;\n}}\n}}\n",
            ca.display()
        )
    };
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
         ssl_session_cache shared:all:1m;\n{}{}}}\n",
        server("a.test", &files.a, "ca.pem", a),
        server("b.test", &files.b, "other.pem", b)
    )
}

fn haproxy(files: &Files, (a, b): (SocketAddr, SocketAddr), dir: &Path, at: SocketAddr) -> String {
    let [ca, other] = ["ca.pem", "other.pem"].map(|name| Pki::shared().path(name));
    let list = dir.join("list");
    let rows = format!(
        "{} [verify required ca-file {}] a.test\n{} [verify required ca-file {}] b.test\n",
        files.both("a").display(),
        ca.display(),
        files.both("b").display(),
        other.display()
    );
    fs::write(&list, rows).unwrap();
    let backend =
        |name: &str, origin: SocketAddr| format!("backend {name}\nserver {name} {origin}\n");
    format!(
        "defaults\nmode http\ntimeout client 10s\ntimeout server 10s\ntimeout connect 10s\nfrontend tls\n\
         bind {at} ssl crt-list {} verify required ca-file {} alpn h2,http/1.1\n\
         http-request set-header X-CERT-VERIFY %[ssl_c_verify]\n\
         use_backend a if {{ req.hdr(host),field(1,:) -i a.test }}\n\
         use_backend b if {{ req.hdr(host),field(1,:) -i b.test }}\n{}{}",
        list.display(),
        ca.display(),
        backend("a", a),
        backend("b", b)
    )
}

/// docs/comparison.md.
fn page(columns: &[Vec<Cell>; 3]) -> String {
    let mut page = format!(
        "# Compared: who gets past the wrong CA\n\nTwo applications on one address: `a.test` trusts CA A, `b.test` trusts CA B, both require a certificate; a client\n\
         without SNI, or with an unknown one, meets `a.test`. Each row was asked four times of each proxy: over HTTP/1.1 and\n\
         HTTP/2, on a fresh connection and on a resumed session. A **bypass** is a request that reached an application with a\n\
         certificate of the other one's CA, or with none. `*Absolute*` is a request whose target names the host\n\
         (HTTP/2: `:authority` and `host` both).\n\n\
         Measured by `cargo xtask test comparison` with nginx {NGINX} and HAProxy {HAPROXY} as Debian 12 has them, set up as\n\
         their manuals show; the test compares this page with what it measures. The configurations are in\n\
         [tests/tests/comparison.rs](../tests/tests/comparison.rs). Both others can be told to refuse these requests: nginx by\n\
         `ssl_reject_handshake` in a default server of its own, HAProxy by comparing `ssl_fc_sni` with the host.\n\n"
    );
    page.push_str("| | nginx | HAProxy | Herald |\n|---|---|---|---|\n");
    let counts = |wanted: &dyn Fn(&Cell) -> bool| {
        let counts = columns
            .each_ref()
            .map(|cells| cells.iter().filter(|cell| wanted(cell)).count().to_string());
        counts.join(" | ")
    };
    writeln!(page, "| requests | {} |", counts(&|_| true)).unwrap();
    writeln!(page, "| bypasses | {} |", counts(&Cell::is_bypass)).unwrap();
    writeln!(
        page,
        "| of them on resumed sessions | {} |",
        counts(&|cell| cell.is_bypass() && cell.way.is_resumed())
    )
    .unwrap();
    page.push_str("\n| SNI | Host | certificate of CA | nginx | HAProxy | Herald |\n|---|---|---|---|---|---|\n");
    for sni in Sni::ALL {
        for host in Host::ALL {
            for ca in Ca::ALL {
                let words = columns.each_ref().map(|cells| {
                    let row = cells
                        .iter()
                        .filter(|cell| (cell.sni, cell.host, cell.ca) == (sni, host, ca));
                    collapsed(row)
                });
                writeln!(
                    page,
                    "| {sni:?} | {host:?} | {ca:?} | {} |",
                    words.join(" | ")
                )
                .unwrap();
            }
        }
    }
    page
}

/// One word where all ways agree.
fn collapsed<'a>(row: impl Iterator<Item = &'a Cell>) -> String {
    let mut words: Vec<(String, Vec<String>)> = Vec::new();
    for cell in row {
        let (word, way) = (cell.word(), format!("{:?}", cell.way));
        match words.iter_mut().find(|(known, _)| *known == word) {
            Some((_, ways)) => ways.push(way),
            None => words.push((word, vec![way])),
        }
    }
    match &*words {
        [(word, _)] => word.clone(),
        several => {
            let told = several
                .iter()
                .map(|(word, ways)| format!("{word} ({})", ways.join(", ")));
            told.collect::<Vec<_>>().join("; ")
        }
    }
}

#[test]
fn a_bypass_is_told_from_service() {
    let cell = |ca, outcome| Cell {
        sni: Sni::None,
        host: Host::B,
        ca,
        way: Way::H1,
        outcome,
    };
    assert!(cell(Ca::A, Outcome::Reached("b")).is_bypass());
    assert!(cell(Ca::None, Outcome::Reached("a")).is_bypass());
    assert!(!cell(Ca::B, Outcome::Reached("b")).is_bypass());
    assert!(!cell(Ca::A, Outcome::Answered(421)).is_bypass());
    let shared = Arc::new([
        cell(Ca::A, Outcome::Closed),
        cell(Ca::A, Outcome::Answered(400)),
    ]);
    assert_eq!(collapsed(shared.iter()), "closed (H1); 400 (H1)");
}
