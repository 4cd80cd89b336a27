//! X-Forwarded-Client-Cert: what a caller says of its own client is sent on for trusted forwarders alone, whose own
//! certificates have verified, with Herald's element behind it; anybody else's is dropped.

use std::fs;

use herald_tests::client::Settings;
use herald_tests::herald::Launch;
use herald_tests::origin::{Origin, Request};
use herald_tests::pki::{Identity, Key, Pki, client_params};
use herald_tests::site::Site;
use herald_tests::wire::text;
use herald_tests::world::{Ask, Protocol, World};
use rcgen::{ExtendedKeyUsagePurpose, SanType};

const EDGE: &str = "spiffe://example.org/edge";
const GIVEN: &str = "By=spiffe://example.org/edge;Hash=1a2b;Subject=\"CN=a,O=\\\"b\\\"\";URI=spiffe://example.org/client";

fn edge() -> Identity {
    Pki::shared().client(|params| {
        params.subject_alt_names = vec![SanType::URI(EDGE.try_into().unwrap())];
    })
}

const GIVEN_JSON: &str = r#"[{"by":["spiffe://example.org/edge"],"hash":"1a2b","subject":"CN=a,O=\\\"b\\\"","uri":["spiffe://example.org/client"]}]"#;

fn trusting(launch: Launch) -> Launch {
    launch.args([
        "--preset",
        "envoy-xfcc",
        "--trusted-forwarder",
        "spiffe:spiffe://example.org/*",
    ])
}

fn elements(seen: &Request) -> String {
    let values: Vec<_> = seen
        .headers
        .all("x-forwarded-client-cert")
        .map(text)
        .collect();
    assert_eq!(values.len(), 1, "{values:?}");
    values[0].clone()
}

#[test]
fn a_trusted_forwarders_elements_come_before_heralds() {
    let world = World::with("required", trusting);
    for protocol in Protocol::ALL {
        let edge = edge();
        let own = {
            world.ask(protocol, Some(&edge), &Ask::get("/")).unwrap();
            elements(&world.origin.take_one())
        };
        assert!(
            own.starts_with("Hash=") && own.ends_with(&format!(";URI={EDGE}")),
            "{own}"
        );
        let ask = Ask::get("/").header("X-Forwarded-Client-Cert", GIVEN);
        assert_eq!(world.ask(protocol, Some(&edge), &ask).unwrap().status, 200);
        assert_eq!(elements(&world.origin.take_one()), format!("{GIVEN},{own}"));
        // Two lines are one list; other spellings are nobody's.
        let ask = ask
            .header("x-forwarded-client-cert", "Hash=3c")
            .header("x_forwarded_client_cert", "Hash=ff");
        world.ask(protocol, Some(&edge), &ask).unwrap();
        let seen = world.origin.take_one();
        assert_eq!(elements(&seen), format!("{GIVEN},Hash=3c,{own}"));
        assert!(!seen.headers.has("x_forwarded_client_cert"));
    }
}

/// The list goes on in the format it came in, as Envoy's does: JSON stays JSON where Herald itself writes text.
#[test]
fn a_list_in_json_goes_on_in_json() {
    for preset in [
        "envoy-xfcc",
        "envoy-xfcc-json",
        "envoy-xfcc-cert",
        "envoy-xfcc-cert-json",
    ] {
        let world = World::with("required", |launch| {
            let trusted = ["--trusted-forwarder", "spiffe:spiffe://example.org/*"];
            launch.args(["--preset", preset]).args(trusted)
        });
        for protocol in Protocol::ALL {
            let ask = Ask::get("/").header("X-Forwarded-Client-Cert", GIVEN_JSON);
            assert_eq!(
                world.ask(protocol, Some(&edge()), &ask).unwrap().status,
                200
            );
            let sent = elements(&world.origin.take_one());
            let list: Vec<serde_json::Value> = serde_json::from_str(&sent).unwrap();
            let before = GIVEN_JSON.strip_suffix(']').unwrap();
            assert!(sent.starts_with(&format!("{before},")), "{sent}");
            let [_, own] = &list[..] else {
                panic!("{sent}")
            };
            assert_eq!(own["uri"], serde_json::json!([EDGE]));
            assert_eq!(own.get("cert").is_some(), preset.contains("-cert"));
            // And text stays text.
            let ask = Ask::get("/").header("X-Forwarded-Client-Cert", GIVEN);
            world.ask(protocol, Some(&edge()), &ask).unwrap();
            let sent = elements(&world.origin.take_one());
            assert!(sent.starts_with(&format!("{GIVEN},Hash=")), "{sent}");
            assert_eq!(sent.contains(";Chain="), own.get("chain").is_some());
        }
    }
}

#[test]
fn nobody_else_appends() {
    let pki = Pki::shared();
    let claims_to_be = pki.other.issue(
        {
            let mut params = client_params();
            params.subject_alt_names = vec![SanType::URI(EDGE.try_into().unwrap())];
            params
        },
        Key::Ec,
    );
    for (mode, launch) in [
        ("forward-failed", trusting as fn(Launch) -> Launch),
        ("forward-failed", |launch: Launch| {
            launch.args(["--preset", "envoy-xfcc"])
        }),
    ] {
        let world = World::with(mode, launch);
        let good = pki.good();
        for (caller, is_edge) in [
            (None, false),
            (Some(&good), false),
            (Some(&claims_to_be), false),
            (Some(&edge()), true),
        ] {
            for protocol in Protocol::ALL {
                let ask = Ask::get("/").header("X-Forwarded-Client-Cert", GIVEN);
                assert_eq!(world.ask(protocol, caller, &ask).unwrap().status, 200);
                let seen = world.origin.take_one();
                let values: Vec<_> = seen
                    .headers
                    .all("x-forwarded-client-cert")
                    .map(text)
                    .collect();
                let is_sent_on = values.iter().any(|value| value.contains("1a2b"));
                let is_trusted =
                    is_edge && std::ptr::fn_addr_eq(launch, trusting as fn(Launch) -> Launch);
                assert_eq!(is_sent_on, is_trusted, "{values:?}");
            }
        }
    }
}

/// Without its list a forwarder would seem to ask for itself, with rights that its client has not.
#[test]
fn a_list_that_can_not_be_read_is_refused() {
    let world = World::with("required", trusting);
    let long = format!("Hash={}", "a".repeat(17 * 1024));
    for protocol in Protocol::ALL {
        for value in [
            "",
            "CN=admin",
            "Hash=1,",
            "Subject=\"CN=a",
            "Hash=1; Hash=2",
            "[]",
            "[{\"hash\":\"1\"}",
            "[{\"hash\":\"1\",\"hash\":\"2\"}]",
            "[{\"admin\":\"1\"}]",
            &long,
        ] {
            let ask = Ask::get("/").header("X-Forwarded-Client-Cert", value);
            let status = world.ask(protocol, Some(&edge()), &ask).unwrap().status;
            assert_eq!(status, 400, "{protocol:?} {value:.20}");
            // A stranger's is not even read.
            let status = world
                .ask(protocol, Some(&Pki::shared().good()), &ask)
                .unwrap()
                .status;
            assert_eq!(status, 200, "{protocol:?} {value:.20}");
            let seen = world.origin.take_one();
            assert_eq!(elements(&seen).matches("Hash=").count(), 1);
        }
    }
}

/// Envoy begins an element with the URI of its own certificate.
#[test]
fn an_element_names_heralds_own_uri() {
    let (site, origin) = (Site::default(), Origin::echo());
    let mut params = client_params();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into().unwrap()),
        SanType::URI("spiffe://example.org/herald".try_into().unwrap()),
    ];
    let server = Pki::shared().ca.issue(params, Key::Ec);
    let (cert, key) = server.write(site.folder(), "made");
    fs::copy(cert, site.path("server.pem")).unwrap();
    fs::copy(key, site.path("server.key")).unwrap();
    let more =
        "preset = \"envoy-xfcc\"\ntrusted_forwarder = \"san_uri:spiffe://example.org/edge\"\n";
    site.configure(origin.address(), &format!("{}{more}", site.client_ca()));
    let herald = site.start();
    let ask = |caller: &Identity| {
        let mut client = Settings::new(Some(caller))
            .connect(herald.address())
            .unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Client-Cert: {GIVEN}\r\n\r\n"
        );
        client.send(request.as_bytes()).unwrap();
        assert_eq!(client.response().unwrap().status, 200);
        elements(&origin.take_one())
    };
    let own = "By=spiffe://example.org/herald;Hash=";
    let told = ask(&Pki::shared().good());
    assert!(told.starts_with(own), "{told}");
    let told = ask(&edge());
    assert!(told.starts_with(&format!("{GIVEN},{own}")), "{told}");
}

#[test]
fn forwarders_without_a_use_or_without_a_certificate_are_mistakes() {
    for (arguments, told) in [
        (
            [
                "--preset",
                "nginx",
                "--trusted-forwarder",
                "common_name:edge",
            ],
            "no X-Forwarded-Client-Cert is sent",
        ),
        (
            ["--preset", "envoy-xfcc", "--trusted-forwarder", "everyone"],
            "`everyone` names no forwarder",
        ),
        (
            ["--preset", "envoy-xfcc", "--trusted-forwarder", "edge"],
            "`edge` names no forwarder",
        ),
    ] {
        let origin = Origin::echo();
        let failed = Launch::new("required", origin.address())
            .args(arguments)
            .try_start();
        let (_, log) = failed.err().unwrap();
        assert!(log.contains(told), "{log}");
    }
}
