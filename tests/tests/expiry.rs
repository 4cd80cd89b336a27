//! The verdict is asked again on every request: open and resumed connections stop being SUCCESS the second their
//! certificate expires (client-cert-headers.md §3.9).

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use herald_tests::client::{Client, Settings, Tls};
use herald_tests::pki::{Identity, Pki};
use herald_tests::wait;
use herald_tests::world::{Ask, Connection, Protocol, World, certificate_lines};
use rustls::HandshakeKind;

/// In 2025 and 2026 nginx, HAProxy and Go kept serving an expired certificate until its connection died. One connection,
/// one certificate of a few seconds: the verdict must turn without a reconnect.
#[test]
fn an_open_connection_turns_from_success_to_failed_when_its_certificate_expires() {
    at_once(Tls::ALL, |version| {
        at_once(Protocol::ALL, |protocol| {
            let world = World::new("forward-failed");
            let (identity, end) = short_lived();
            let settings = Settings::new(Some(&identity)).version(version);
            let mut connection = protocol.connect(&world.herald, &settings).unwrap();
            let turned = wait::until("the verdict to turn", || {
                let (status, seen, before, after) = ask(&world, &mut connection);
                let seen = seen.expect("forward-failed never refuses");
                assert_eq!(status, 200);
                let verdict = seen.headers.only("x-cert-verify").unwrap();
                assert_eq!(seen.headers.only("x-cert-presented").unwrap(), "1");
                let named = seen.headers.has("x-cert-subject-dn");
                if verdict == "SUCCESS" {
                    assert!(
                        before < end,
                        "{version:?} {protocol:?}: SUCCESS {before} >= {end}"
                    );
                    assert!(named);
                    return None;
                }
                assert!(
                    after >= end,
                    "{version:?} {protocol:?}: {verdict} at {after} < {end}"
                );
                assert!(!named, "identity_on_failure is omit by default");
                Some(verdict)
            });
            assert_eq!(
                turned, "FAILED:certificate has expired",
                "{version:?} {protocol:?}"
            );
        });
    });
}

#[test]
fn an_open_connection_is_refused_when_its_certificate_expires_where_one_is_required() {
    at_once(["required", "optional"], |mode| {
        at_once(Protocol::ALL, |protocol| {
            let world = World::new(mode);
            let (identity, end) = short_lived();
            let settings = Settings::new(Some(&identity));
            let mut connection = protocol.connect(&world.herald, &settings).unwrap();
            wait::until("the connection to be refused", || {
                let (status, seen, before, after) = ask(&world, &mut connection);
                if status == 200 {
                    assert!(
                        before < end,
                        "{mode} {protocol:?}: admitted at {before} >= {end}"
                    );
                    return None;
                }
                assert_eq!(
                    (status, seen.is_some()),
                    (403, false),
                    "{mode} {protocol:?}"
                );
                assert!(
                    after >= end,
                    "{mode} {protocol:?}: refused at {after} < {end}"
                );
                Some(())
            });
        });
    });
}

/// Caddy's verifier was not called on resumption, httpd and nginx resumed into other hosts (CVE-2025-23048,
/// CVE-2025-23419): a resumed session must carry the same identity, no more and no less.
#[test]
fn a_resumed_session_carries_the_same_headers() {
    let pki = Pki::shared();
    for mode in ["required", "optional", "forward-failed"] {
        let world = World::new(mode);
        for version in Tls::ALL {
            for identity in [pki.good(), pki.via_intermediate()] {
                let config = Settings::new(Some(&identity)).version(version).build();
                let mut lines = Vec::new();
                for expected in [
                    HandshakeKind::Full,
                    HandshakeKind::Resumed,
                    HandshakeKind::Resumed,
                ] {
                    let mut client = Client::connect(world.herald.address(), &config).unwrap();
                    assert_eq!(client.get("/").unwrap().status, 200);
                    let (_, kind) = client.session();
                    assert_eq!(
                        kind.map(resumed),
                        Some(resumed(expected)),
                        "{mode} {version:?}: {kind:?}"
                    );
                    lines.push(certificate_lines(&world.origin.take_one()));
                }
                assert_eq!(lines[0].len(), 10, "{lines:?}");
                assert!(
                    lines[0].contains(&"x-cert-verify: SUCCESS".to_owned()),
                    "{lines:?}"
                );
                assert!(
                    lines.iter().all(|each| *each == lines[0]),
                    "{mode} {version:?}: {lines:#?}"
                );
            }
        }
    }
}

#[test]
fn a_resumed_session_without_a_certificate_stays_without_one() {
    let world = World::new("optional");
    for version in Tls::ALL {
        let config = Settings::default().version(version).build();
        for _ in 0..2 {
            let mut client = Client::connect(world.herald.address(), &config).unwrap();
            assert_eq!(client.get("/").unwrap().status, 200);
            let lines = certificate_lines(&world.origin.take_one());
            assert_eq!(
                lines,
                ["x-cert-presented: 0", "x-cert-verify: NONE"],
                "{version:?}"
            );
        }
    }
}

#[test]
fn a_session_resumed_after_expiry_is_failed() {
    at_once(Tls::ALL, |version| {
        at_once(
            [("forward-failed", 200), ("required", 403)],
            |(mode, status)| {
                let world = World::new(mode);
                let (identity, end) = short_lived();
                let config = Settings::new(Some(&identity)).version(version).build();
                let mut first = Client::connect(world.herald.address(), &config).unwrap();
                assert_eq!(first.get("/").unwrap().status, 200);
                assert_eq!(verdicts(&world), ["SUCCESS"]);
                wait::until("the certificate to expire", || {
                    (unix(SystemTime::now() - TICK) >= end).then_some(())
                });
                let mut second = Client::connect(world.herald.address(), &config).unwrap();
                assert_eq!(
                    second.get("/").unwrap().status,
                    status,
                    "{version:?} {mode}"
                );
                let failed = (status == 200).then_some("FAILED:certificate has expired");
                assert_eq!(
                    verdicts(&world),
                    Vec::from_iter(failed),
                    "{version:?} {mode}"
                );
            },
        );
    });
}

#[test]
fn a_certificate_becomes_valid_on_an_open_connection() {
    let world = World::new("forward-failed");
    let start = now() + 3;
    let identity = Pki::shared()
        .client(|params| params.not_before = (UNIX_EPOCH + Duration::from_secs(start)).into());
    for protocol in Protocol::ALL {
        let mut connection = protocol
            .connect(&world.herald, &Settings::new(Some(&identity)))
            .unwrap();
        wait::until("the verdict to turn", || {
            let (_, seen, before, after) = ask(&world, &mut connection);
            match &*seen.unwrap().headers.only("x-cert-verify").unwrap() {
                "SUCCESS" => {
                    assert!(after >= start, "{protocol:?}: SUCCESS at {after} < {start}");
                    Some(())
                }
                "FAILED:certificate is not yet valid" => {
                    assert!(
                        before < start,
                        "{protocol:?}: still not valid at {before} >= {start}"
                    );
                    None
                }
                other => panic!("{other}"),
            }
        });
    }
}

/// Runs all cases at the same time: they mostly wait for a second to come.
fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, run: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        let run = &run;
        for case in cases {
            scope.spawn(move || run(case));
        }
    });
}

/// One request; the status, what the origin saw, and the seconds before and after it.
fn ask(
    world: &World,
    connection: &mut Connection,
) -> (u16, Option<herald_tests::origin::Request>, u64, u64) {
    let before = unix(SystemTime::now() - TICK);
    let status = connection.ask(&Ask::get("/")).unwrap().status;
    (status, world.origin.take().pop(), before, now())
}

fn verdicts(world: &World) -> Vec<String> {
    world
        .origin
        .take()
        .iter()
        .map(|seen| seen.headers.only("x-cert-verify").unwrap())
        .collect()
}

fn resumed(kind: HandshakeKind) -> bool {
    kind == HandshakeKind::Resumed
}

/// A certificate with its notAfter, two to three seconds from now. OpenSSL, and so Herald, calls it expired from that very
/// second on (`X509_cmp_time` answers "earlier" for equal times).
fn short_lived() -> (Identity, u64) {
    let end = now() + 3;
    let until = UNIX_EPOCH + Duration::from_secs(end);
    (
        Pki::shared().client(|params| params.not_after = until.into()),
        end,
    )
}

fn now() -> u64 {
    unix(SystemTime::now())
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The product may read a clock that is a timer tick late (`CLOCK_REALTIME_COARSE`).
const TICK: Duration = Duration::from_millis(12);
