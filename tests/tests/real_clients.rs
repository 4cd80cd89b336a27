//! Clients that other people wrote: curl over OpenSSL, and Python requests.

use std::env;
use std::process::Command;

use herald_tests::gate;
use herald_tests::herald::before;
use herald_tests::origin::Origin;
use herald_tests::pki::{Key, Pki};
use herald_tests::table::{Table, check};
use herald_tests::wire::{hex, sha256};
use herald_tests::world::World;
use sha1::{Digest as _, Sha1};

#[test]
fn curl_is_known_by_its_certificate_over_every_protocol_version_and_key() {
    if !gate::require(
        "curl_is_known_by_its_certificate",
        "curl",
        gate::succeeds("curl", &["--version"]),
    ) {
        return;
    }
    let world = World::new("required");
    let pki = Pki::shared();
    let mut table = Table::new("curl");
    for kind in Key::ALL {
        let identity = pki.good_with(kind);
        let (certificate, key) = identity.write(&pki.path(""), &format!("curl-{kind:?}"));
        for protocol in ["--http1.1", "--http2"] {
            for version in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
                let mut curl = curl(&world, protocol);
                curl.args(version)
                    .arg("--cert")
                    .arg(&certificate)
                    .arg("--key")
                    .arg(&key);
                let result = fetch(curl).and_then(|(version, answer)| {
                    let expected = if protocol == "--http2" { "2" } else { "1.1" };
                    check(version == expected, || format!("HTTP/{version}"))?;
                    let finger = hex(&Sha1::digest(identity.leaf()));
                    let got = (
                        header(&answer, "x-cert-verify"),
                        header(&answer, "x-cert-finger"),
                    );
                    check(got == (Some("SUCCESS".to_owned()), Some(finger)), || {
                        format!("{got:?}")
                    })
                });
                table.row(&format!("{kind:?} {protocol} {version:?}"), result);
            }
        }
    }
    assert!(
        world.origin.complaints().is_empty(),
        "{:?}",
        world.origin.complaints()
    );
    table.finish();
}

#[test]
fn curl_without_a_certificate_gets_403_and_reads_it() {
    if !gate::require(
        "curl_without_a_certificate",
        "curl",
        gate::succeeds("curl", &["--version"]),
    ) {
        return;
    }
    let origin = Origin::echo();
    let world = World {
        herald: before(&origin, "required"),
        origin,
    };
    for protocol in ["--http1.1", "--http2"] {
        let mut curl = curl(&world, protocol);
        curl.args(["--output", "/dev/null", "--write-out", "%{http_code}"]);
        let output = curl.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "403", "{output:?}");
    }
    assert!(world.origin.take().is_empty());
}

#[test]
fn curl_uploads_and_downloads_over_both_protocols() {
    if !gate::require(
        "curl_uploads_and_downloads",
        "curl",
        gate::succeeds("curl", &["--version"]),
    ) {
        return;
    }
    let world = World::new("optional");
    let body: Vec<u8> = (0..3_000_000u32)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect();
    let file = Pki::shared().path("upload.bin");
    std::fs::write(&file, &body).unwrap();
    for protocol in ["--http1.1", "--http2"] {
        // With and without Expect: 100-continue, with and without Content-Length.
        for lines in [
            &["Expect:"][..],
            &["Expect: 100-continue"],
            &["Transfer-Encoding: chunked"],
        ] {
            let mut curl = curl(&world, protocol);
            curl.arg("--data-binary")
                .arg(format!("@{}", file.display()));
            for line in lines {
                curl.args(["--header", line]);
            }
            let (_, answer) =
                fetch(curl).unwrap_or_else(|error| panic!("{protocol} {lines:?}: {error}"));
            assert_eq!(answer["body_sha256"], sha256(&body), "{protocol} {lines:?}");
        }
    }
}

#[test]
fn python_requests_is_known_by_its_certificate() {
    let python = env::var("HERALD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let works = gate::succeeds(&python, &["-c", "import requests"]);
    if !gate::require(
        "python_requests_is_known_by_its_certificate",
        "Python with requests",
        works,
    ) {
        return;
    }
    let world = World::new("required");
    let pki = Pki::shared();
    for kind in [Key::Ec, Key::Rsa] {
        let identity = pki.good_with(kind);
        let (certificate, key) = identity.write(&pki.path(""), &format!("python-{kind:?}"));
        let script = "import json, requests, sys\n\
            url, cert, key, ca = sys.argv[1:]\n\
            session = requests.Session()\n\
            session.cert, session.verify = (cert, key), ca\n\
            spoofed = {'X-CERT-VERIFY': 'FAILED:spoofed', 'X_CERT_VERIFY': 'spoofed', 'Connection': 'keep-alive'}\n\
            first = session.get(url + '/get', headers=spoofed)\n\
            second = session.post(url + '/post', data=b'x' * 100000)\n\
            third = session.post(url + '/chunked', data=(b'y' * 1000 for _ in range(100)))\n\
            print(json.dumps([answer.json() for answer in (first, second, third)]))\n";
        let output = Command::new(&python)
            .args([
                "-c",
                script,
                &format!("https://localhost:{}", world.herald.address().port()),
            ])
            .args([certificate, key, pki.path("ca.pem")])
            .env_remove("REQUESTS_CA_BUNDLE")
            .env_remove("CURL_CA_BUNDLE")
            .env("NO_PROXY", "localhost")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let answers: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        for answer in &answers {
            assert_eq!(
                header(answer, "x-cert-verify").as_deref(),
                Some("SUCCESS"),
                "{kind:?}: {answer}"
            );
            assert_eq!(header(answer, "x_cert_verify"), None);
            assert_eq!(
                header(answer, "x-cert-finger"),
                Some(hex(&Sha1::digest(identity.leaf())))
            );
        }
        assert_eq!(answers[1]["body_sha256"], sha256(&[b'x'; 100_000]));
        assert_eq!(answers[2]["body_sha256"], sha256(&[b'y'; 100_000]));
    }
}

fn curl(world: &World, protocol: &str) -> Command {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--noproxy",
        "*",
        protocol,
    ]);
    command.arg("--cacert").arg(Pki::shared().path("ca.pem"));
    command.arg(format!(
        "https://localhost:{}/",
        world.herald.address().port()
    ));
    command
}

/// The protocol version and the origin's account.
fn fetch(mut curl: Command) -> Result<(String, serde_json::Value), String> {
    let output = curl
        .args(["--fail", "--write-out", "\n%{http_version}"])
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    let (body, version) = text.rsplit_once('\n').ok_or("no version")?;
    let answer = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
    Ok((version.to_owned(), answer))
}

/// The value of a header that the origin saw once.
fn header(answer: &serde_json::Value, name: &str) -> Option<String> {
    let pairs = answer["headers"].as_array()?;
    let found: Vec<_> = pairs
        .iter()
        .filter(|pair| {
            pair[0]
                .as_str()
                .is_some_and(|found| found.eq_ignore_ascii_case(name))
        })
        .collect();
    assert!(found.len() < 2, "{name} twice: {pairs:?}");
    Some(found.first()?[1].as_str()?.to_owned())
}
