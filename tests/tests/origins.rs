//! Every kind of origin, and who of several gets a request.

use std::sync::{Arc, Mutex};

use herald_tests::client::{Response, Settings};
use herald_tests::herald::{self, Herald, Launch};
use herald_tests::live::{Live, Speaks};
use herald_tests::pki::{Key, Pki};
use herald_tests::table::{Table, check};
use herald_tests::wait;
use herald_tests::wire::sha256;
use herald_tests::world::{Ask, Protocol};
use serde_json::Value;

fn ask(herald: &Herald, protocol: Protocol, ask: &Ask) -> Result<Response, String> {
    let settings = Settings::new(Some(&Pki::shared().good()));
    protocol
        .connect(herald, &settings)
        .and_then(|mut connection| connection.ask(ask))
        .map_err(|error| format!("no answer: {error}"))
}

fn account(answer: &Response) -> Result<Value, String> {
    check(answer.status == 200, || format!("{answer:?}"))?;
    serde_json::from_slice(&answer.body.start).map_err(|error| error.to_string())
}

/// All values of a header that the origin saw.
fn header(account: &Value, name: &str) -> Vec<String> {
    let pairs = account["headers"].as_array().unwrap();
    let named = pairs.iter().filter(|pair| pair[0] == name);
    named
        .map(|pair| pair[1].as_str().unwrap().to_owned())
        .collect()
}

/// Small and large requests with everything that must survive, over one kind of origin.
fn exchanges(herald: &Herald, origin: &Live, version: &str) -> Result<(), String> {
    for protocol in Protocol::ALL {
        let get = Ask::get("/a/b?c=d&e")
            .header("X-Cert-Verify", "SPOOFED")
            .header("X_Cert_Verify", "SPOOFED")
            .header("Cookie", "a=1; b=2")
            .header("Connection", "X-Hop")
            .header("X-Hop", "1");
        // HTTP/2 has no Connection.
        let get = match protocol {
            Protocol::H1 => get,
            Protocol::H2 => {
                let mut get = get;
                let hop = |name: &[u8]| name == b"Connection" || name == b"X-Hop";
                get.headers.0.retain(|(name, _)| !hop(name));
                get
            }
        };
        let seen =
            account(&ask(herald, protocol, &get)?).map_err(|error| format!("get: {error}"))?;
        check(seen["target"] == "/a/b?c=d&e", || seen.to_string())?;
        check(seen["version"] == version, || seen.to_string())?;
        let host = match version {
            "HTTP/2.0" => seen["authority"].as_str().unwrap_or_default().to_owned(),
            _ => header(&seen, "host").concat(),
        };
        check(host == "localhost", || format!("{host}: {seen}"))?;
        check(header(&seen, "x-cert-verify") == ["SUCCESS"], || {
            seen.to_string()
        })?;
        check(header(&seen, "x_cert_verify").is_empty(), || {
            seen.to_string()
        })?;
        check(header(&seen, "cookie") == ["a=1; b=2"], || seen.to_string())?;
        check(header(&seen, "x-hop").is_empty(), || seen.to_string())?;

        bodies(herald, protocol)?;
    }
    check(origin.requests() == 8, || {
        format!("{} requests", origin.requests())
    })?;
    // One after another: each finds the connection of the one before.
    check(origin.connections() == 1, || {
        format!("{} connections", origin.connections())
    })
}

/// A large body, trailers both ways, and no body.
fn bodies(herald: &Herald, protocol: Protocol) -> Result<(), String> {
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let seen = account(&ask(herald, protocol, &Ask::post("/large", &body))?)?;
    check(seen["body_sha256"] == sha256(&body).as_str(), || {
        seen.to_string()
    })?;

    let trailing = Ask::post("/trailers", b"abc")
        .header("Trailer", "X-Sent, X-Cert-Verify")
        .header("TE", "trailers")
        .trailer("x-sent", "1")
        .trailer("x-cert-verify", "SPOOFED");
    let answer = ask(herald, protocol, &trailing).map_err(|error| format!("trailers: {error}"))?;
    check(answer.body.trailers.lines() == ["x-sum: 1"], || {
        format!("{:?}", answer.body.trailers)
    })?;
    let seen = account(&answer)?;
    check(
        seen["trailers"] == serde_json::json!([["x-sent", "1"]]),
        || seen.to_string(),
    )?;

    let head = Ask {
        method: "HEAD",
        ..Ask::get("/")
    };
    let answer = ask(herald, protocol, &head).map_err(|error| format!("HEAD: {error}"))?;
    let length = answer.headers.only("content-length");
    check(
        answer.body.length == 0 && length.is_some_and(|it| it.len() == 3),
        || format!("{answer:?}"),
    )
}

#[test]
fn every_kind_of_origin_gets_the_same_request() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = Table::new("kinds of origins");
    for (name, origin, version) in [
        ("http", Live::tcp(Speaks::Http1), "HTTP/1.1"),
        (
            "unix",
            Live::unix(folder.path().join("one"), Speaks::Http1),
            "HTTP/1.1",
        ),
        ("h2c", Live::tcp(Speaks::H2c), "HTTP/2.0"),
        (
            "h2c+unix",
            Live::unix(folder.path().join("two"), Speaks::H2c),
            "HTTP/2.0",
        ),
        (
            "https, both offered",
            Live::tcp(Speaks::tls(&["h2", "http/1.1"], false)),
            "HTTP/2.0",
        ),
        (
            "https, HTTP/1.1 offered",
            Live::tcp(Speaks::tls(&["http/1.1"], false)),
            "HTTP/1.1",
        ),
        (
            "https, nothing offered",
            Live::tcp(Speaks::tls(&[], false)),
            "HTTP/1.1",
        ),
    ] {
        let launch = Launch::toward("required", [origin.url()]);
        let launch = match name.starts_with("https") {
            true => launch.origin_ca("ca.pem"),
            false => launch,
        };
        let herald = launch.start();
        table.row(name, exchanges(&herald, &origin, version));
    }
    table.finish();
}

#[test]
fn an_origin_that_does_not_verify_gets_no_request() {
    let mut table = Table::new("https origins that must not be spoken to");
    let origin = Live::tcp(Speaks::tls(&["h2", "http/1.1"], false));
    let toward = |authority: &str| Launch::toward("required", [origin.url()]).origin_ca(authority);
    for (name, launch) in [
        ("another CA", toward("other.pem")),
        (
            "another name",
            toward("ca.pem").args(["--upstream-server-name", "other.test"]),
        ),
        (
            "an address the certificate is not for",
            toward("ca.pem").args(["--upstream-server-name", "127.0.0.2"]),
        ),
    ] {
        let herald = launch.start();
        for protocol in Protocol::ALL {
            let result = ask(&herald, protocol, &Ask::get("/")).and_then(|answer| {
                check(answer.status == 502, || format!("{answer:?}"))?;
                check(origin.requests() == 0, || "a request came".to_owned())
            });
            table.row(&format!("{name}, {protocol:?}"), result);
        }
    }
    let herald = toward("ca.pem")
        .args(["--upstream-server-name", "app.test"])
        .start();
    let result = ask(&herald, Protocol::H1, &Ask::get("/")).and_then(|answer| account(&answer));
    table.row("the name it is for", result.map(drop));
    table.finish();
}

#[test]
fn herald_presents_its_own_certificate_where_it_has_one() {
    let pki = Pki::shared();
    let own = pki.good();
    let (certificate, key) = own.write(&pki.path(""), "towards-origin");
    let origin = Live::tcp(Speaks::tls(&["h2"], true));
    let launch = Launch::toward("required", [origin.url()]).origin_ca("ca.pem");
    let answer = ask(&launch.start(), Protocol::H1, &Ask::get("/")).unwrap();
    assert_eq!(answer.status, 502, "without a certificate: {answer:?}");
    assert_eq!(origin.requests(), 0);
    let herald = launch
        .args(["--upstream-cert".into(), certificate.into_os_string()])
        .args(["--upstream-key".into(), key.into_os_string()])
        .start();
    let seen = account(&ask(&herald, Protocol::H2, &Ask::get("/")).unwrap()).unwrap();
    assert_eq!(seen["peer_sha256"], sha256(own.leaf()).as_str());
}

/// Herald never falls back to other roots, and settings without effect are mistakes.
#[test]
fn tls_settings_of_origins_are_checked_before_the_start() {
    let pki = Pki::shared();
    let file = |name: &str| pki.path(name).display().to_string();
    std::fs::write(pki.path("empty.pem"), "").unwrap();
    let mut table = Table::new("settings of https origins");
    let https = "https://127.0.0.1:1";
    for (name, arguments, says) in [
        ("no CA", vec![https], "Herald never falls back"),
        (
            "empty CA",
            vec![https, "--upstream-ca", &file("empty.pem")],
            "no CERTIFICATE block",
        ),
        (
            "a certificate without its key",
            vec![
                https,
                "--upstream-ca",
                &file("ca.pem"),
                "--upstream-cert",
                &file("ca.pem"),
            ],
            "upstream-key",
        ),
        (
            "a CA for an origin without TLS",
            vec!["http://127.0.0.1:1", "--upstream-ca", &file("ca.pem")],
            "no origin is spoken to over TLS",
        ),
        (
            "the same twice",
            vec!["http://127.0.0.1:1", "--upstream", "http://127.0.0.1:1"],
            "listed twice",
        ),
        (
            "a health check of no path",
            vec!["http://127.0.0.1:1", "--upstream-health-path", "healthz"],
            "is not a path",
        ),
    ] {
        let (certificate, key) = pki.server(Key::Ec);
        let mut command = vec!["check", "--listen", "127.0.0.1:0", "--client-auth", "off"];
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        command.extend(["--cert", &certificate, "--key", &key, "--upstream"]);
        command.extend(arguments);
        let output = herald::run(&command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        table.row(
            name,
            check(
                output.status.code() == Some(2) && said.contains(says),
                || format!("{}: {said}", output.status),
            ),
        );
    }
    table.finish();
}

/// Rendezvous hashing, seen from outside: a certificate's requests all reach one origin, on every connection.
#[test]
fn a_certificate_keeps_its_origin() {
    let origins = [(); 3].map(|()| Live::tcp(Speaks::Http1));
    let launch = Launch::toward("optional", origins.each_ref().map(Live::url));
    let herald = launch
        .args(["--upstream-balance", "fingerprint"])
        .workers(2)
        .start();
    let counts = || origins.each_ref().map(Live::requests);
    let mut used = [false; 3];
    for _ in 0..12 {
        let settings = Settings::new(Some(&Pki::shared().good()));
        let before = counts();
        for _ in 0..3 {
            let mut connection = Protocol::H1.connect(&herald, &settings).unwrap();
            assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
        }
        let after = counts();
        let gained: Vec<_> = (0..3).map(|n| after[n] - before[n]).collect();
        let chosen = gained.iter().position(|gain| *gain == 3);
        used[chosen.unwrap_or_else(|| panic!("{gained:?}"))] = true;
    }
    assert!(used.iter().filter(|used| **used).count() > 1, "{used:?}");
}

#[test]
fn isolated_callers_never_share_a_connection() {
    for speaks in [Speaks::Http1, Speaks::H2c] {
        let origin = Live::tcp(speaks);
        let launch = Launch::toward("optional", [origin.url()]);
        let herald = launch.args(["--upstream-isolate", "identity"]).start();
        let connections: Vec<_> = (0..3)
            .map(|_| {
                let settings = Settings::new(Some(&Pki::shared().good()));
                for _ in 0..3 {
                    let mut connection = Protocol::H1.connect(&herald, &settings).unwrap();
                    assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
                }
                origin.connections()
            })
            .collect();
        assert_eq!(connections, [1, 2, 3]);
    }
}

/// An HTTP/1.0 client and one that waits for 100 Continue, before an HTTP/2 origin.
#[test]
fn old_clients_and_waiting_ones_reach_an_http2_origin() {
    let origin = Live::tcp(Speaks::H2c);
    let herald = Launch::toward("required", [origin.url()]).start();
    let settings = Settings::new(Some(&Pki::shared().good()));
    let mut client = settings.connect(herald.address()).unwrap();
    let answer = client.ask(b"GET /old HTTP/1.0\r\n\r\n").unwrap();
    let seen = account(&answer).unwrap();
    assert_eq!(seen["target"], "/old");
    assert!(
        seen["authority"]
            .as_str()
            .is_some_and(|it| origin.url().ends_with(it)),
        "{seen}"
    );
    let mut client = settings.connect(herald.address()).unwrap();
    let head =
        b"POST /wait HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    client.send(head).unwrap();
    client.send(b"abc").unwrap();
    let answer = client.response().unwrap();
    let seen = account(&answer).unwrap();
    assert_eq!(
        (&answer.interim[..], &seen["body_length"]),
        (&[100][..], &Value::from(3))
    );
    assert!(header(&seen, "expect").is_empty(), "{seen}");
}

/// An https origin that would choose HTTP/2, which cannot switch: HTTP/1.1 is agreed on for this request.
#[test]
fn a_websocket_reaches_an_origin_that_prefers_http2() {
    use std::io::{Read as _, Write as _};

    let origin = Live::tcp(Speaks::tls(&["h2", "http/1.1"], false));
    let herald = Launch::toward("required", [origin.url()])
        .origin_ca("ca.pem")
        .start();
    let settings = Settings::new(Some(&Pki::shared().good()));
    for _ in 0..2 {
        let seen = account(&ask(&herald, Protocol::H1, &Ask::get("/")).unwrap()).unwrap();
        assert_eq!(seen["version"], "HTTP/2.0");
        let mut client = settings.connect(herald.address()).unwrap();
        let head = b"GET /switch HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut answer = Vec::new();
        let stream = client.stream();
        stream.write_all(head).unwrap();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 101"),
            "{}",
            answer.escape_ascii()
        );
        stream.write_all(b"through").unwrap();
        let mut echoed = [0; 7];
        stream.read_exact(&mut echoed).unwrap();
        assert_eq!(&echoed, b"through");
    }
    // One for all HTTP/2 requests, one for each tunnel.
    assert_eq!(origin.connections(), 3);
}

/// Health checks see what connections do not: an origin that accepts and answers nonsense.
#[test]
fn an_origin_that_fails_its_checks_gets_no_requests() {
    let well = Arc::new(Mutex::new(true));
    let asked = Arc::clone(&well);
    let checked = herald_tests::origin::Origin::scripted(move |request, stream| {
        use std::io::Write as _;
        let status = match request.target == "/healthz" && !*asked.lock().unwrap() {
            true => 503,
            false => 200,
        };
        stream.write_all(&herald_tests::origin::answer(status, "text/plain", b"x"))?;
        Ok(herald_tests::origin::Next::Keep)
    });
    let other = herald_tests::origin::Origin::echo();
    let urls = [&checked, &other].map(|origin| format!("http://{}", origin.address()));
    let herald = Launch::toward("required", urls)
        .args(["--upstream-health-path", "/healthz"])
        .args(["--upstream-health-interval", "50ms"])
        .start();
    let served = || {
        checked.take();
        for _ in 0..6 {
            let answer = ask(&herald, Protocol::H1, &Ask::get("/")).unwrap();
            assert_eq!(answer.status, 200);
        }
        let requests = checked.take().into_iter();
        requests.filter(|request| request.target == "/").count()
    };
    assert!(served() >= 2);
    *well.lock().unwrap() = false;
    wait::until("the log to say so", || {
        herald.log().contains("health check fails").then_some(())
    });
    assert_eq!(served(), 0);
    *well.lock().unwrap() = true;
    wait::until("the log to say so", || {
        herald.log().contains("health check passes").then_some(())
    });
    assert!(served() >= 2);
}
