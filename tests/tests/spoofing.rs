//! A client must not be able to say who it is in headers: plain spoofing in all spellings, malformed lines, duplicates,
//! trailers, and certificates whose content tries to become headers (client-cert-headers.md §3.1 to §3.3, §3.5, §3.6).

use herald_tests::client::Settings;
use herald_tests::herald::Launch;
use herald_tests::origin::{Origin, Request, describe};
use herald_tests::pki::Pki;
use herald_tests::table::{Table, check};
use herald_tests::wire::text;
use herald_tests::world::{Ask, Connection, DEFAULT_NAMES, Protocol, World};

/// The default mapping and a free one.
const MAPPINGS: [&str; 4] = [
    "--preset",
    "cloudflare-worker",
    "--header",
    "X-Device={certSubjectCN}",
];

/// What every spoofed header says, so that it is found wherever it turns up.
const MARK: &str = "spoofed-by-client";

/// The names of the families beside the default mapping: presets that are not in use are protected all the same, since the
/// origin may have been moved from one to another (§3.1).
const OTHER_NAMES: [&str; 25] = [
    "cf-cert-revoked",
    "cf-cert-verified",
    "cf-cert-presented",
    "cf-cert-issuer-dn",
    "cf-cert-subject-dn",
    "cf-cert-issuer-dn-rfc2253",
    "cf-cert-subject-dn-rfc2253",
    "cf-cert-issuer-dn-legacy",
    "cf-cert-subject-dn-legacy",
    "cf-cert-serial",
    "cf-cert-issuer-serial",
    "cf-cert-fingerprint-sha256",
    "cf-cert-fingerprint-sha1",
    "cf-cert-not-before",
    "cf-cert-not-after",
    "cf-cert-ski",
    "cf-cert-issuer-ski",
    "Cf-Client-Cert-Der-Base64",
    "Cf-Client-Cert-Sha256",
    "Client-Cert",
    "Client-Cert-Chain",
    // The free mapping of these tests.
    "X-Device",
    // Not identity, but as dangerous: dropped unless the peer is trusted.
    "X-Forwarded-For",
    "Forwarded",
    "X-Real-IP",
];

#[test]
fn no_spelling_of_a_protected_name_reaches_the_origin() {
    let mut table = Table::new("spoofed names");
    let identity = Pki::shared().good();
    for (who, caller) in [
        ("with a certificate", Some(&identity)),
        ("without a certificate", None),
    ] {
        let world = World::with("optional", |launch| launch.args(MAPPINGS));
        for protocol in Protocol::ALL {
            let mut connection = protocol
                .connect(&world.herald, &Settings::new(caller))
                .unwrap();
            let clean = ours(&ask_once(&world, &mut connection, &Ask::get("/")).unwrap());
            for name in DEFAULT_NAMES.into_iter().chain(OTHER_NAMES) {
                for spelling in spellings(name) {
                    let ask = Ask::get("/").header(&spelling, MARK);
                    let result = ask_once(&world, &mut connection, &ask)
                        .and_then(|seen| unspoofed(&seen, &clean));
                    table.row(&format!("{spelling}, {who}, {protocol:?}"), result);
                }
            }
        }
    }
    table.finish();
}

#[test]
fn no_spelling_reaches_the_origin_in_any_mode() {
    let pki = Pki::shared();
    for (mode, caller) in [
        ("required", Some(pki.good())),
        ("forward-failed", Some(pki.expired())),
        ("forward-failed", Some(pki.self_signed())),
        ("forward-failed", None),
        ("off", None),
    ] {
        let world = World::with(mode, |launch| launch.args(["--head-fields-max", "1000"]));
        for protocol in Protocol::ALL {
            let mut connection = protocol
                .connect(&world.herald, &Settings::new(caller.as_ref()))
                .unwrap();
            let clean = ours(&ask_once(&world, &mut connection, &Ask::get("/")).unwrap());
            let all = DEFAULT_NAMES.iter().flat_map(|name| spellings(name));
            let ask = all.fold(Ask::get("/"), |ask, spelling| ask.header(spelling, MARK));
            let seen = ask_once(&world, &mut connection, &ask).unwrap();
            unspoofed(&seen, &clean).unwrap();
        }
    }
}

#[test]
fn names_with_odd_bytes_are_dropped_and_plain_ones_pass() {
    let world = World::new("optional");
    for protocol in Protocol::ALL {
        let ask = Ask::get("/")
            .header("X-Plain", "kept")
            .header("x-request-note", "kept")
            .header("X_Under", MARK)
            .header("X.Dot", MARK)
            .header("X~Tilde", MARK)
            .header("X!Bang", MARK);
        assert_eq!(world.ask(protocol, None, &ask).unwrap().status, 200);
        let seen = world.origin.take_one();
        assert_eq!(seen.headers.texts("x-plain"), ["kept"]);
        assert_eq!(seen.headers.texts("x-request-note"), ["kept"]);
        assert!(!text(&seen.raw).contains(MARK), "{}", describe(&[seen]));
    }
}

#[test]
fn an_allowed_odd_name_passes_but_never_a_protected_one() {
    let world = World::with("optional", |launch| {
        launch.args(["--allow-header-name", "X_Under"])
    });
    for protocol in Protocol::ALL {
        let ask = Ask::get("/")
            .header("X_Under", "kept")
            .header("X_Other", MARK)
            .header("X_CERT_VERIFY", MARK);
        assert_eq!(world.ask(protocol, None, &ask).unwrap().status, 200);
        let seen = world.origin.take_one();
        assert_eq!(seen.headers.texts("x_under"), ["kept"]);
        assert!(!text(&seen.raw).contains(MARK), "{}", describe(&[seen]));
    }
}

#[test]
fn allowing_a_protected_name_is_refused_or_without_effect() {
    let mut table = Table::new("allowed names");
    for spelling in spellings("X-CERT-VERIFY") {
        let origin = Origin::echo();
        let launch =
            Launch::new("optional", origin.address()).args(["--allow-header-name", &spelling]);
        let Ok(herald) = launch.try_start() else {
            table.row(&spelling, Ok(()));
            continue;
        };
        let world = World { origin, herald };
        for protocol in Protocol::ALL {
            let result = world
                .ask(protocol, None, &Ask::get("/").header(&spelling, MARK))
                .and_then(|answer| {
                    let seen = world.origin.take();
                    let clean = seen
                        .iter()
                        .all(|request| !text(&request.raw).contains(MARK));
                    check(clean && answer.status == 200, || {
                        format!("{}: {}", answer.status, describe(&seen))
                    })
                });
            table.row(&format!("{spelling}, {protocol:?}"), result);
        }
    }
    table.finish();
}

#[test]
fn duplicates_become_one_header_of_ours() {
    let world = World::new("required");
    let identity = Pki::shared().good();
    for protocol in Protocol::ALL {
        let mut connection = protocol
            .connect(&world.herald, &Settings::new(Some(&identity)))
            .unwrap();
        let clean = ours(&ask_once(&world, &mut connection, &Ask::get("/")).unwrap());
        for name in DEFAULT_NAMES {
            let ask = Ask::get("/")
                .header(name, MARK)
                .header("X-Between", "1")
                .header(name, MARK)
                .header(name, "");
            let seen = ask_once(&world, &mut connection, &ask).unwrap();
            unspoofed(&seen, &clean).unwrap();
            assert_eq!(seen.headers.texts(name).len(), 1, "{name} {protocol:?}");
        }
    }
}

/// Some origins merge trailers into headers.
#[test]
fn trailers_with_protected_names_are_dropped_and_others_pass() {
    let mut table = Table::new("trailers");
    let world = World::with("optional", |launch| launch.args(MAPPINGS));
    let identity = Pki::shared().good();
    for (who, caller) in [("with a certificate", Some(&identity)), ("without", None)] {
        for protocol in Protocol::ALL {
            let mut connection = protocol
                .connect(&world.herald, &Settings::new(caller))
                .unwrap();
            for name in DEFAULT_NAMES.into_iter().chain(OTHER_NAMES) {
                let mut ask = Ask::post("/", b"body").trailer("x-checksum", "kept");
                for spelling in spellings(name) {
                    ask = ask.trailer(spelling.to_ascii_lowercase(), MARK);
                }
                let result = ask_once(&world, &mut connection, &ask).and_then(|seen| {
                    let trailers = seen.body.trailers.lines();
                    check(trailers == ["x-checksum: kept"], || format!("{trailers:?}"))
                });
                table.row(&format!("{name}, {who}, {protocol:?}"), result);
            }
        }
    }
    assert_eq!(world.origin.complaints(), Vec::<String>::new());
    table.finish();
}

#[test]
fn framing_and_routing_names_in_trailers_are_dropped() {
    let world = World::new("optional");
    for protocol in Protocol::ALL {
        let ask = Ask::post("/", b"body")
            .trailer("x-checksum", "kept")
            .trailer("content-length", "5")
            .trailer("host", "evil.test")
            .trailer("authorization", "Basic eDp4")
            .trailer("x_under", "1");
        let status = world.ask(protocol, None, &ask).map(|answer| answer.status);
        let seen = world.settle(None).unwrap();
        for request in &seen {
            assert_eq!(
                request.body.trailers.lines(),
                ["x-checksum: kept"],
                "{protocol:?} {status:?}"
            );
        }
    }
}

/// The spellings that CGI, WSGI, PHP, nginx and others fold into the same variable (§3.2).
fn spellings(name: &str) -> Vec<String> {
    let replaced = |with: &str| name.replace('-', with);
    let first_only = name.replacen('-', "_", 1);
    let last_only = name
        .rsplit_once('-')
        .map_or_else(String::new, |(head, tail)| format!("{head}_{tail}"));
    let alternating: String = name
        .chars()
        .enumerate()
        .map(|(n, letter)| {
            if n % 2 == 0 {
                letter.to_ascii_lowercase()
            } else {
                letter.to_ascii_uppercase()
            }
        })
        .collect();
    let mut all = vec![
        name.to_owned(),
        name.to_ascii_lowercase(),
        name.to_ascii_uppercase(),
        alternating,
    ];
    if name.contains('-') {
        all.extend(
            [
                "_", ".", "~", "!", "*", "'", "^", "`", "|", "+", "%", "#", "$", "&",
            ]
            .map(replaced),
        );
        all.extend([
            first_only,
            last_only,
            replaced("_").to_ascii_uppercase(),
            replaced("_").to_ascii_lowercase(),
        ]);
    }
    all
}

/// The lines of protected names by canonical key, sorted: what only Herald may send.
fn ours(seen: &Request) -> Vec<String> {
    let protected: Vec<String> = DEFAULT_NAMES
        .into_iter()
        .chain(OTHER_NAMES)
        .map(|name| key(name.as_bytes()))
        .collect();
    let mut lines: Vec<String> = seen
        .headers
        .0
        .iter()
        .filter(|(name, _)| protected.contains(&key(name)))
        .map(|(name, value)| format!("{}: {}", text(name), text(value)))
        .collect();
    lines.sort();
    lines
}

/// the design's canonical key.
fn key(name: &[u8]) -> String {
    let fold = |byte: &u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte.to_ascii_lowercase())
        } else {
            '-'
        }
    };
    name.iter().map(fold).collect()
}

fn unspoofed(seen: &Request, clean: &[String]) -> Result<(), String> {
    let marked =
        text(&seen.raw).contains(MARK) || seen.body.trailers.lines().join("").contains(MARK);
    check(!marked && ours(seen) == clean, || {
        format!("the origin saw {:#?}", seen.headers.lines())
    })
}

fn ask_once(world: &World, connection: &mut Connection, ask: &Ask) -> Result<Request, String> {
    let answer = connection.ask(ask).map_err(|error| error.to_string())?;
    let mut seen = world.origin.take();
    match (answer.status, seen.len()) {
        (200, 1) => Ok(seen.remove(0)),
        (status, _) => Err(format!("got {status}, the origin saw {}", describe(&seen))),
    }
}
