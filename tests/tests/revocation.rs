//! What counts no more: revocation lists and an operator's own list. OpenSSL says what it thinks of the same lists.

use std::process::Command;
use std::time::{Duration, SystemTime};

use herald_tests::client::Settings;
use herald_tests::gate;
use herald_tests::origin::Origin;
use herald_tests::pki::{Authority, Identity, client_of, past, pem, tomorrow};
use herald_tests::site::Site;
use herald_tests::table::{Table, check};
use herald_tests::wire::{hex, sha256};
use rcgen::{CertificateRevocationList, PublicKeyData as _, SerialNumber};
use sha1::{Digest as _, Sha1};

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
