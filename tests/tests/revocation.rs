//! What counts no more: revocation lists, an operator's own list, and what becomes of callers that are connected when a
//! list changes. OpenSSL says what it thinks of the same lists.

use std::io::{self, Read as _, Write as _};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use herald_tests::client::{Client, Settings, Tls};
use herald_tests::gate;
use herald_tests::h2::Raw;
use herald_tests::herald::Herald;
use herald_tests::origin::{Next, Origin};
use herald_tests::pki::{Authority, Identity, client_params, pem};
use herald_tests::site::Site;
use herald_tests::table::{Table, check};
use herald_tests::wait;
use herald_tests::wire::{hex, sha256};
use herald_tests::world::{Ask, Protocol};
use rcgen::{CertificateRevocationList, PublicKeyData as _, SerialNumber};
use rustls::HandshakeKind;
use sha1::{Digest as _, Sha1};

/// A client of `authority` with this serial number.
fn client_of(authority: &Authority, serial: &[u8]) -> Identity {
    let mut params = client_params();
    params.serial_number = Some(SerialNumber::from_slice(serial));
    authority.issue(params, herald_tests::pki::Key::Ec)
}

fn tomorrow() -> SystemTime {
    SystemTime::now() + Duration::from_secs(86_400)
}

fn past() -> SystemTime {
    SystemTime::now() - Duration::from_secs(600)
}

/// One row: files by name, what the configuration says of them, who calls, what Herald says, and what OpenSSL does.
#[derive(Clone)]
struct Row {
    name: &'static str,
    lists: Vec<Vec<u8>>,
    more: &'static str,
    caller: Identity,
    verdict: &'static str,
    /// OpenSSL's error number with `-crl_check`, where the question is one for it.
    openssl: Option<u32>,
}

fn row(
    name: &'static str,
    lists: Vec<Vec<u8>>,
    more: &'static str,
    caller: &Identity,
    (verdict, openssl): (&'static str, Option<u32>),
) -> Row {
    Row {
        name,
        lists,
        more,
        caller: caller.clone(),
        verdict,
        openssl,
    }
}

fn text(list: CertificateRevocationList) -> Vec<u8> {
    list.pem().unwrap().into_bytes()
}

fn der(list: CertificateRevocationList) -> Vec<u8> {
    list.der().to_vec()
}

/// The CAs and callers of the table.
struct Cast {
    root: Authority,
    intermediate: Authority,
    good: Identity,
    bad: Identity,
    below: Identity,
}

impl Cast {
    fn new() -> Self {
        let root = Authority::root("Revoking CA");
        let intermediate = root.subordinate_with("Revoked Intermediate", |params| {
            params.serial_number = Some(SerialNumber::from_slice(&[0x77]));
        });
        let mut below = client_of(&intermediate, &[3]);
        below.chain.push(intermediate.issuer.der().clone());
        Self {
            good: client_of(&root, &[1]),
            bad: client_of(&root, &[0, 0x0B, 0xAD]),
            below,
            root,
            intermediate,
        }
    }

    fn rows(&self) -> Vec<Row> {
        let Self {
            root, good, bad, ..
        } = self;
        let lists = |serial: &[u8], until| root.revoke(&[serial], until);
        vec![
            row(
                "not on the list",
                vec![text(lists(&[0x0B, 0xAD], tomorrow()))],
                "",
                good,
                ("SUCCESS", Some(0)),
            ),
            row(
                "on the list, PEM",
                vec![text(lists(&[0x0B, 0xAD], tomorrow()))],
                "",
                bad,
                ("FAILED:certificate revoked", Some(23)),
            ),
            row(
                "on the list, DER",
                vec![der(lists(&[0x0B, 0xAD], tomorrow()))],
                "",
                bad,
                ("FAILED:certificate revoked", Some(23)),
            ),
        ]
    }

    /// Lists that are not of today.
    fn rows_out_of_date(&self) -> Vec<Row> {
        let Self {
            root, good, bad, ..
        } = self;
        let none: &[&[u8]] = &[];
        let lists = |serial: &[u8], until| root.revoke(&[serial], until);
        vec![
            row(
                "an expired list",
                vec![text(lists(&[9], past()))],
                "",
                good,
                ("FAILED:CRL has expired", Some(12)),
            ),
            row(
                "an expired list, soft",
                vec![text(lists(&[9], past()))],
                "crl_mode = \"soft\"",
                good,
                ("SUCCESS", None),
            ),
            row(
                "on an expired list, soft",
                vec![text(lists(&[0x0B, 0xAD], past()))],
                "crl_mode = \"soft\"",
                bad,
                ("FAILED:certificate revoked", None),
            ),
            row(
                "on an expired list",
                vec![text(lists(&[0x0B, 0xAD], past()))],
                "",
                bad,
                ("FAILED:certificate revoked", None),
            ),
            row(
                "a list of tomorrow",
                vec![text(root.revoke_with(&[&[9]], tomorrow(), |list| {
                    list.this_update = (SystemTime::now() + Duration::from_secs(3600)).into();
                }))],
                "",
                good,
                ("FAILED:CRL is not yet valid", Some(11)),
            ),
            row(
                "an expired list and its successor",
                vec![
                    text(root.revoke_with(none, past(), |list| {
                        list.this_update = (past() - Duration::from_secs(60)).into()
                    })),
                    text(
                        root.revoke_with(none, tomorrow(), |list| list.this_update = past().into()),
                    ),
                ],
                "",
                good,
                ("SUCCESS", None),
            ),
        ]
    }

    /// With an intermediate, whose list may be another.
    fn rows_below(&self) -> Vec<Row> {
        let Self {
            root,
            intermediate,
            below,
            ..
        } = self;
        let none: &[&[u8]] = &[];
        let lists = |serial: &[u8], until| root.revoke(&[serial], until);
        vec![
            row(
                "a CA without a list",
                vec![text(lists(&[9], tomorrow()))],
                "",
                below,
                ("SUCCESS", None),
            ),
            row(
                "a revoked intermediate",
                vec![text(lists(&[0x77], tomorrow()))],
                "",
                below,
                ("FAILED:certificate revoked", None),
            ),
            row(
                "a leaf on its intermediate's list",
                vec![text(intermediate.revoke(&[&[3]], tomorrow()))],
                "",
                below,
                ("FAILED:certificate revoked", None),
            ),
            row(
                "an intermediate's list of others",
                vec![text(intermediate.revoke(&[&[1]], tomorrow()))],
                "",
                below,
                ("SUCCESS", None),
            ),
            row(
                "an expired list of an intermediate",
                vec![text(intermediate.revoke(none, past()))],
                "",
                below,
                ("FAILED:CRL has expired", None),
            ),
            row(
                "a list of the name alone",
                vec![text(
                    Authority::root("Revoked Intermediate").revoke(none, tomorrow()),
                )],
                "",
                below,
                ("FAILED:unable to get certificate CRL", None),
            ),
        ]
    }
}

#[test]
fn every_kind_of_list_has_its_verdict_and_openssl_agrees() {
    let has_openssl = gate::succeeds("openssl", &["version"]);
    if !gate::require("every_kind_of_list_has_its_verdict", "openssl", has_openssl) {
        return;
    }
    let cast = Cast::new();
    let (site, origin) = (Site::default(), Origin::echo());
    site.put("ca.pem", cast.root.issuer.pem());
    site.configure(
        origin.address(),
        &format!(
            "{}client_auth = \"forward-failed\"\nwatch = false\n",
            site.client_ca()
        ),
    );
    let herald = site.start();
    let mut table = Table::new("revocation");
    for row in [cast.rows(), cast.rows_out_of_date(), cast.rows_below()].concat() {
        let files: Vec<_> = row
            .lists
            .iter()
            .enumerate()
            .map(|(index, list)| site.put(&format!("{index}.crl"), list))
            .collect();
        site.configure(origin.address(), &format!(
            "{}client_auth = \"forward-failed\"\nwatch = false\nclient_crl = {files:?}\n{}\nheader = {{ X-Revoked = \"{{certRevoked}}\" }}\npreset = \"cloudflare-worker\"\n",
            site.client_ca(), row.more
        ));
        site.reloaded();
        let answer = Settings::new(Some(&row.caller))
            .connect(herald.address())
            .and_then(|mut client| client.get("/"));
        let seen = origin.take();
        let result = answer.map_err(|error| error.to_string()).and_then(|_| {
            let verdict = seen[0].headers.only("x-cert-verify").unwrap();
            check(verdict == row.verdict, || verdict.clone())?;
            let revoked = seen[0].headers.only("x-revoked").unwrap();
            let expected = if row.verdict == "FAILED:certificate revoked" {
                "1"
            } else {
                "0"
            };
            check(revoked == expected, || format!("certRevoked {revoked}"))?;
            match row.openssl {
                Some(expected) => {
                    let got = openssl(&site, &row);
                    check(got == expected, || format!("openssl says {got}"))
                }
                None => Ok(()),
            }
        });
        table.row(row.name, result);
    }
    table.finish();
}

/// The last error number of `openssl verify -crl_check`, or 0.
fn openssl(site: &Site, row: &Row) -> u32 {
    let leaf = site.put("leaf.pem", pem(row.caller.leaf()));
    let list = site.path("0.crl");
    let list = match row.lists[0].first() {
        Some(0x30) => {
            let out = site.path("0.crl.pem");
            let made = Command::new("openssl")
                .args(["crl", "-inform", "DER", "-in"])
                .arg(&list)
                .arg("-out")
                .arg(&out)
                .status()
                .unwrap();
            assert!(made.success());
            out
        }
        _ => list,
    };
    let output = Command::new("openssl")
        .args(["verify", "-crl_check", "-CAfile"])
        .arg(site.path("ca.pem"))
        .arg("-CRLfile")
        .arg(list)
        .arg(leaf)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let numbers = told
        .lines()
        .filter_map(|line| line.strip_prefix("error ")?.split(' ').next()?.parse().ok());
    numbers.fold(0, |_, number| number)
}

/// An operator's own list: by serial number, by either fingerprint, by key; of a leaf or of a CA in the path.
#[test]
fn an_operators_own_list_refuses_whom_it_names() {
    let cast = Cast::new();
    let (site, origin) = (Site::default(), Origin::echo());
    site.put("ca.pem", cast.root.issuer.pem());
    let file = site.put("revoked", "");
    let config = format!("{}client_revoked = {file:?}\n", site.client_ca());
    site.configure(origin.address(), &config);
    let herald = site.start();
    let status = |caller: &Identity| {
        Settings::new(Some(caller))
            .connect(herald.address())
            .unwrap()
            .get("/")
            .unwrap()
            .status
    };
    let spki = sha256(&cast.bad.key.subject_public_key_info());
    for (what, line) in [
        ("serial", "serial:0BAD".to_owned()),
        ("serial with colons", "serial: 00:0b:ad # lost".to_owned()),
        (
            "SHA-1",
            format!("sha1:{}", hex(&Sha1::digest(cast.bad.leaf()))),
        ),
        (
            "SHA-256",
            format!("sha256:{}", sha256(cast.bad.leaf()).to_uppercase()),
        ),
        ("key", format!("spki:{spki}")),
    ] {
        let before = site.generation();
        site.put("revoked", format!("# refused\n{line}\n"));
        site.await_generation_after(before);
        assert_eq!(
            (status(&cast.good), status(&cast.bad)),
            (200, 403),
            "{what}"
        );
    }
    let before = site.generation();
    site.put(
        "revoked",
        format!("sha256:{}\n", sha256(&cast.intermediate.issuer.der()[..])),
    );
    site.await_generation_after(before);
    assert_eq!(
        (status(&cast.bad), status(&cast.below)),
        (200, 403),
        "a CA in the path"
    );
    // What is not understood is no reason to let everybody in.
    site.put("revoked", "sha256:short\n");
    let output = site.reload();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("line 1"),
        "{output:?}"
    );
    assert_eq!(status(&cast.below), 403);
}

/// Lists that say less than an operator thinks are refused before anything is served.
#[test]
fn lists_that_cannot_be_relied_on_are_refused_at_the_start() {
    let cast = Cast::new();
    let site = Site::default();
    site.put("ca.pem", cast.root.issuer.pem());
    let forged = Authority::root("Revoking CA").revoke(&[], tomorrow());
    let partial = cast
        .root
        .revoke_with(&[], tomorrow(), |list| {
            list.issuing_distribution_point = Some(rcgen::CrlIssuingDistributionPoint {
                distribution_point: rcgen::CrlDistributionPoint {
                    uris: vec!["http://crl.test/".to_owned()],
                },
                scope: None,
            });
        })
        .der()
        .to_vec();
    for (what, list, said) in [
        (
            "of another with the same name",
            forged.pem().unwrap().into_bytes(),
            "did not sign",
        ),
        (
            "a certificate",
            cast.root.issuer.pem().into_bytes(),
            "another block than X509 CRL",
        ),
        ("nothing", Vec::new(), "no revocation list"),
        (
            "cut",
            cast.root.revoke(&[], tomorrow()).der()[..100].to_vec(),
            "not a certificate revocation list",
        ),
    ] {
        let file = site.put("list.crl", list);
        site.configure_to(&format!(
            "upstream = \"http://127.0.0.1:1\"\n{}client_crl = {file:?}\n",
            site.client_ca()
        ));
        let (status, log) = site.launch().try_start().unwrap_err();
        assert_eq!(status.code(), Some(2), "{what}");
        assert!(log.contains(said) && log.contains("list"), "{what}: {log}");
    }
    // One for a distribution point counts.
    let file = site.put("list.crl", &partial);
    site.configure_to(&format!(
        "upstream = \"http://127.0.0.1:1\"\n{}client_crl = {file:?}\n",
        site.client_ca()
    ));
    drop(site.start());
}

/// A Herald whose CA has an empty list, and a caller that is good until it is put there.
struct Scene {
    site: Site,
    herald: Herald,
    root: Authority,
    caller: Identity,
}

impl Scene {
    fn new(origin: &Origin, more: &str) -> Self {
        let (site, root) = (Site::default(), Authority::root("Revoking CA"));
        let caller = client_of(&root, &[0x2A]);
        site.put("ca.pem", root.issuer.pem());
        let list = site.put("ca.crl", root.revoke(&[], tomorrow()).pem().unwrap());
        site.configure(
            origin.address(),
            &format!("{}client_crl = {list:?}\n{more}", site.client_ca()),
        );
        let herald = site.start();
        Self {
            site,
            herald,
            root,
            caller,
        }
    }

    /// Replaces the list by one that names the caller; when that was done.
    fn revoke(&self) -> Instant {
        let list = self.root.revoke(&[&[0x2A]], tomorrow()).pem().unwrap();
        self.site.put("ca.crl", list);
        Instant::now()
    }

    fn settings(&self) -> Settings {
        Settings::new(Some(&self.caller))
    }
}

/// Issue 7: from the replacement of a list to the last accepted request on an open connection at most one second.
#[test]
fn an_open_connection_follows_a_new_list_within_a_second() {
    for protocol in Protocol::ALL {
        let origin = Origin::echo();
        let scene = Scene::new(&origin, "");
        let mut connection = protocol.connect(&scene.herald, &scene.settings()).unwrap();
        assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
        let revoked = scene.revoke();
        let (mut last, mut accepted) = (Duration::ZERO, 0);
        let status = loop {
            match connection.ask(&Ask::get("/")) {
                Ok(answer) if answer.status == 200 => {
                    (last, accepted) = (revoked.elapsed(), accepted + 1)
                }
                Ok(answer) => break Some(answer),
                // HTTP/2 was told to go away before it could ask.
                Err(_) => break None,
            }
            assert!(
                revoked.elapsed() < Duration::from_secs(10),
                "{protocol:?}: still accepted"
            );
        };
        println!(
            "{protocol:?}: last accepted {last:?} after the list was replaced, {accepted} requests in that time"
        );
        assert!(last <= Duration::from_secs(1), "{protocol:?}: {last:?}");
        if protocol == Protocol::H1 {
            let answer = status.unwrap();
            assert_eq!(answer.status, 403);
            assert_eq!(answer.headers.only("connection").unwrap(), "close");
        }
        assert!(
            connection.ask(&Ask::get("/")).is_err(),
            "{protocol:?} is closed"
        );
        // And it cannot come back, neither anew nor by its old session.
        let anew = protocol.connect(&scene.herald, &scene.settings());
        let status = anew
            .and_then(|mut connection| connection.ask(&Ask::get("/")))
            .unwrap()
            .status;
        assert_eq!(status, 403, "{protocol:?}");
    }
}

#[test]
fn a_resumed_session_is_asked_again() {
    for version in Tls::ALL {
        let origin = Origin::echo();
        let scene = Scene::new(&origin, "");
        let config = scene.settings().version(version).build();
        let ask = |config| {
            let mut client = Client::connect(scene.herald.address(), config).unwrap();
            let status = client.get("/").unwrap().status;
            (status, client.session().1)
        };
        assert_eq!(ask(&config).0, 200);
        assert_eq!(
            ask(&config),
            (200, Some(HandshakeKind::Resumed)),
            "{version:?}"
        );
        let before = scene.site.generation();
        scene.revoke();
        scene.site.await_generation_after(before);
        assert_eq!(
            ask(&config),
            (403, Some(HandshakeKind::Resumed)),
            "{version:?}: the ticket is not void, the verdict is"
        );
    }
}

#[test]
fn where_failures_are_forwarded_the_connection_goes_on_with_the_new_verdict() {
    for protocol in Protocol::ALL {
        let origin = Origin::echo();
        let scene = Scene::new(&origin, "client_auth = \"forward-failed\"\n");
        let mut connection = protocol.connect(&scene.herald, &scene.settings()).unwrap();
        let mut verdict = || {
            assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
            origin.take_one().headers.only("x-cert-verify").unwrap()
        };
        assert_eq!(verdict(), "SUCCESS");
        scene.revoke();
        wait::until("the verdict to turn", || {
            (verdict() == "FAILED:certificate revoked").then_some(())
        });
        thread::sleep(Duration::from_millis(1500));
        assert_eq!(
            verdict(),
            "FAILED:certificate revoked",
            "{protocol:?}: after any grace"
        );
    }
}

/// A list that runs out on an open connection is a verdict of its own, at its second.
#[test]
fn a_list_that_runs_out_turns_the_verdict() {
    let (site, origin) = (Site::default(), Origin::echo());
    let root = Authority::root("Revoking CA");
    site.put("ca.pem", root.issuer.pem());
    let end = SystemTime::now() + Duration::from_secs(2);
    let list = site.put("ca.crl", root.revoke(&[], end).pem().unwrap());
    site.configure(
        origin.address(),
        &format!(
            "{}client_crl = {list:?}\nclient_auth = \"forward-failed\"\n",
            site.client_ca()
        ),
    );
    let herald = site.start();
    let mut client = Settings::new(Some(&client_of(&root, &[1])))
        .connect(herald.address())
        .unwrap();
    let turned = wait::until("the verdict to turn", || {
        client.get("/").unwrap();
        let verdict = origin.take_one().headers.only("x-cert-verify").unwrap();
        (verdict != "SUCCESS").then_some(verdict)
    });
    assert_eq!(turned, "FAILED:CRL has expired");
    let late = SystemTime::now().duration_since(end).unwrap_or_default();
    assert!(late < Duration::from_secs(2), "{late:?} late");
    site.put("ca.crl", root.revoke(&[], tomorrow()).pem().unwrap());
    wait::until("the next list to count", || {
        client.get("/").unwrap();
        (origin.take_one().headers.only("x-cert-verify").unwrap() == "SUCCESS").then_some(())
    });
}

/// An origin that sends a byte every 50 ms for ever, or switches protocols and does the same.
fn endless() -> Origin {
    Origin::scripted(|request, stream| {
        let head = match request.headers.has("upgrade") {
            true => {
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            }
            false => "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        };
        stream.write_all(head.as_bytes())?;
        while stream.write_all(b".").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
        Ok(Next::Close)
    })
}

/// When bytes last came, after `since`.
fn last_byte(client: &mut Client, since: Instant) -> Duration {
    let mut last = Duration::ZERO;
    let mut buffer = [0; 1024];
    client.patience(Duration::from_secs(10));
    loop {
        match client.stream().read(&mut buffer) {
            Ok(0) => return last,
            Ok(_) => last = since.elapsed(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("neither bytes nor an end")
            }
            Err(_) => return last,
        }
        assert!(last < Duration::from_secs(10), "it goes on");
    }
}

#[test]
fn streams_and_tunnels_end_with_their_caller() {
    let stream = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let tunnel = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    for (what, question, least, most) in [
        (
            "stream",
            stream,
            Duration::from_millis(500),
            Duration::from_millis(2500),
        ),
        ("tunnel", tunnel, Duration::ZERO, Duration::from_secs(1)),
    ] {
        let origin = endless();
        let scene = Scene::new(&origin, "");
        let mut client = scene.settings().connect(scene.herald.address()).unwrap();
        client.send(question.as_bytes()).unwrap();
        let mut buffer = [0; 256];
        assert!(client.stream().read(&mut buffer).unwrap() > 0);
        let revoked = scene.revoke();
        let last = last_byte(&mut client, revoked);
        println!("{what}: last byte {last:?} after the list was replaced");
        assert!((least..=most).contains(&last), "{what}: {last:?}");
        assert_eq!(scene.herald.log().matches("panicked").count(), 0);
    }
}

/// HTTP/2 is told to go away at once, and its streams end a grace later.
#[test]
fn an_http2_connection_is_told_to_go_away() {
    let origin = endless();
    let scene = Scene::new(&origin, "verdict_grace = \"300ms\"\n");
    let mut raw = Raw::connect(scene.herald.address(), Some(&scene.caller)).unwrap();
    raw.open(
        &[
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":path", b"/"),
            (b":authority", b"localhost"),
        ],
        true,
    )
    .unwrap();
    wait::until("the request to come", || {
        (!origin.requests().is_empty()).then_some(())
    });
    let revoked = scene.revoke();
    raw.first_frame(GOAWAY).unwrap();
    let told = revoked.elapsed();
    while raw.first_frame(DATA).is_ok() {
        assert!(revoked.elapsed() < Duration::from_secs(10), "it goes on");
    }
    let ended = revoked.elapsed();
    println!("h2: GOAWAY {told:?}, end of the stream {ended:?} after the list was replaced");
    assert!(told < Duration::from_secs(1), "{told:?}");
    assert!(ended - told < Duration::from_secs(1), "{ended:?}");
}

const DATA: u8 = 0;
const GOAWAY: u8 = 7;
