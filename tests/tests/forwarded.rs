//! What the origin learns of the way a request came, and the id that names a request everywhere: the origin's header, and
//! Herald's own pages.

use std::collections::HashSet;

use herald_tests::client::Response;
use herald_tests::herald::Launch;
use herald_tests::origin::{Origin, Request};
use herald_tests::wire::text;
use herald_tests::world::{Ask, Protocol, World};

/// `name`'s values, in order.
fn values(seen: &Request, name: &str) -> Vec<String> {
    seen.headers.all(name).map(text).collect()
}

fn one(seen: &Request, name: &str) -> String {
    let values = values(seen, name);
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0].clone()
}

fn claims() -> Ask {
    Ask::get("/")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-For", "198.51.100.1, 198.51.100.2")
        .header("X-Forwarded-Proto", "http")
        .header("X-Forwarded-Host", "public.test")
        .header("X-Forwarded-Port", "8080")
        .header("X-Real-IP", "203.0.113.9")
        .header("Forwarded", "for=203.0.113.9;proto=http")
        .header("X-Request-Id", "given-1")
}

#[test]
fn a_strangers_claims_give_way_to_what_was_seen() {
    let world = World::with("optional", |launch| launch.args(["--forwarded", "both"]));
    for protocol in Protocol::ALL {
        let answer = world.ask(protocol, None, &claims()).unwrap();
        assert_eq!(answer.status, 200);
        let seen = world.origin.take_one();
        assert_eq!(one(&seen, "x-forwarded-for"), "127.0.0.1");
        assert_eq!(one(&seen, "x-forwarded-proto"), "https");
        assert_eq!(one(&seen, "x-forwarded-host"), "localhost");
        assert_eq!(
            one(&seen, "forwarded"),
            "for=127.0.0.1;proto=https;host=\"localhost\""
        );
        assert_eq!(one(&seen, "x-request-id").len(), 32);
        for name in ["x-real-ip", "x-forwarded-port"] {
            assert!(values(&seen, name).is_empty(), "{protocol:?} {name}");
        }
    }
}

#[test]
fn a_trusted_proxys_claims_are_kept_and_appended_to() {
    let world = World::with("optional", |launch| {
        launch.args(["--forwarded", "both", "--trusted-proxy", "127.0.0.0/8"])
    });
    for protocol in Protocol::ALL {
        world.ask(protocol, None, &claims()).unwrap();
        let seen = world.origin.take_one();
        assert_eq!(
            one(&seen, "x-forwarded-for"),
            "203.0.113.9, 198.51.100.1, 198.51.100.2, 127.0.0.1"
        );
        assert_eq!(one(&seen, "x-forwarded-proto"), "http");
        assert_eq!(one(&seen, "x-forwarded-host"), "public.test");
        assert_eq!(
            one(&seen, "forwarded"),
            "for=203.0.113.9;proto=http, for=127.0.0.1;proto=https;host=\"localhost\""
        );
        assert_eq!(one(&seen, "x-request-id"), "given-1");
        assert_eq!(one(&seen, "x-real-ip"), "203.0.113.9");
        assert_eq!(one(&seen, "x-forwarded-port"), "8080");
    }
}

/// A trusted address is no licence for identity: XFCC and the presets' names stay Herald's, and so do other spellings of
/// the lists, which an origin would fold into the ones Herald wrote.
#[test]
fn a_trusted_proxy_cannot_claim_an_identity_or_another_spelling() {
    let world = World::with("optional", |launch| {
        launch.args([
            "--trusted-proxy",
            "127.0.0.1",
            "--allow-header-name",
            "x_forwarded_for",
        ])
    });
    for protocol in Protocol::ALL {
        let ask = Ask::get("/")
            .header("X-Forwarded-Client-Cert", "Subject=\"CN=admin\"")
            .header("X-Cert-Verify", "SUCCESS")
            .header("X_Forwarded_For", "203.0.113.9");
        world.ask(protocol, None, &ask).unwrap();
        let seen = world.origin.take_one();
        assert_eq!(one(&seen, "x-cert-verify"), "NONE");
        for name in ["x-forwarded-client-cert", "x_forwarded_for"] {
            assert!(values(&seen, name).is_empty(), "{protocol:?} {name}");
        }
    }
}

/// A Connection line ends the claims it names, and never what Herald says.
#[test]
fn a_connection_line_does_not_erase_what_herald_says() {
    for trusted in [&["--trusted-proxy", "127.0.0.1"][..], &[]] {
        let world = World::with("optional", |launch| launch.args(trusted));
        let ask = claims().header(
            "Connection",
            "x-forwarded-for, x-forwarded-host, x-request-id",
        );
        world.ask(Protocol::H1, None, &ask).unwrap();
        let seen = world.origin.take_one();
        assert_eq!(one(&seen, "x-forwarded-for"), "127.0.0.1");
        assert_eq!(one(&seen, "x-forwarded-host"), "localhost");
        values(&seen, "x-request-id")
            .first()
            .expect("an id is told all the same");
    }
}

#[test]
fn what_is_off_is_not_told_and_still_not_taken_from_strangers() {
    let world = World::with("optional", |launch| {
        launch.args(["--forwarded", "off", "--request-id=false"])
    });
    for protocol in Protocol::ALL {
        world.ask(protocol, None, &claims()).unwrap();
        let seen = world.origin.take_one();
        for (name, _) in &seen.headers.0 {
            let name = text(name).to_ascii_lowercase();
            assert!(
                !name.contains("forwarded") && !name.contains("request-id"),
                "{name}"
            );
        }
    }
}

#[test]
fn ids_are_unique_across_workers_and_protocols() {
    let world = World::with("optional", |launch| launch.workers(2));
    let mut ids = HashSet::new();
    for protocol in Protocol::ALL {
        for _ in 0..10 {
            let mut connection = protocol
                .connect(&world.herald, &herald_tests::client::Settings::default())
                .unwrap();
            for _ in 0..10 {
                connection.ask(&Ask::get("/")).unwrap();
            }
        }
    }
    for seen in world.origin.take() {
        assert!(ids.insert(one(&seen, "x-request-id")));
    }
    assert_eq!(ids.len(), 200);
}

/// Asks for each kind of refusal that has a page.
fn refusals() -> Vec<(&'static str, u16, World, Ask)> {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unreachable = closed.local_addr().unwrap();
    drop(closed);
    let nobody = |_: &_, _: &mut _| Ok(herald_tests::origin::Next::Close);
    let silent = |_: &_, _: &mut _| {
        std::thread::sleep(std::time::Duration::from_secs(4));
        Ok(herald_tests::origin::Next::Close)
    };
    vec![
        (
            "two meanings",
            400,
            World::new("optional"),
            Ask::get("/").header("Transfer-Encoding", "gzip, chunked"),
        ),
        ("no certificate", 403, World::new("required"), Ask::get("/")),
        (
            "too much",
            413,
            World::with("optional", |launch| launch.args(["--body-max", "10"])),
            Ask::post("/", b"eleven bytes"),
        ),
        (
            "no origin",
            502,
            World {
                origin: Origin::echo(),
                herald: Launch::new("optional", unreachable).start(),
            },
            Ask::get("/"),
        ),
        (
            "no answer",
            502,
            World::around(Origin::scripted(nobody), "optional", |launch| launch),
            Ask::post("/", b"x"),
        ),
        (
            "a silent origin",
            504,
            World::around(Origin::scripted(silent), "optional", |launch| {
                launch.args(["--upstream-response-timeout", "500ms"])
            }),
            Ask::get("/"),
        ),
    ]
}

#[test]
fn every_refusal_is_a_page_with_an_id_as_text_or_json() {
    for (what, status, world, ask) in refusals() {
        for protocol in Protocol::ALL {
            // A coding other than chunked cannot be said in HTTP/2.
            if status == 400 && protocol == Protocol::H2 {
                continue;
            }
            let answer = world.ask(protocol, None, &ask).unwrap();
            assert_eq!(answer.status, status, "{what} {protocol:?}: {answer:?}");
            let id = header(&answer, "x-request-id");
            assert_eq!(id.len(), 32, "{what} {protocol:?}");
            let page = text(&answer.body.start);
            assert_eq!(header(&answer, "content-type"), "text/plain; charset=utf-8");
            assert!(page.starts_with(&status.to_string()), "{page}");
            assert!(page.contains(&id), "{page}");

            let ask = ask.clone().header("Accept", "application/json");
            let answer = world.ask(protocol, None, &ask).unwrap();
            assert_eq!(header(&answer, "content-type"), "application/problem+json");
            let problem: serde_json::Value =
                serde_json::from_slice(&answer.body.start).expect("JSON");
            assert_eq!(problem["status"], status, "{problem}");
            assert_eq!(problem["type"], "about:blank");
            assert_eq!(problem["request_id"], header(&answer, "x-request-id"));
            assert!(problem["title"].is_string() && problem["detail"].is_string());
        }
    }
}

/// RFC 9110 §9.3.2: hyper would have sent the page's bytes on HTTP/2.
#[test]
fn a_refused_head_request_has_the_length_of_its_page_and_no_page() {
    let world = World::new("required");
    for protocol in Protocol::ALL {
        let page = world.ask(protocol, None, &Ask::get("/")).unwrap();
        let ask = Ask {
            method: "HEAD",
            ..Ask::get("/")
        };
        let answer = world.ask(protocol, None, &ask).unwrap();
        assert_eq!(
            (answer.status, answer.body.length),
            (403, 0),
            "{protocol:?}"
        );
        assert_eq!(
            header(&answer, "content-length"),
            page.body.start.len().to_string()
        );
    }
}

fn header(answer: &Response, name: &str) -> String {
    let values: Vec<_> = answer.headers.all(name).map(text).collect();
    assert_eq!(values.len(), 1, "{name} in {answer:?}");
    values[0].clone()
}
