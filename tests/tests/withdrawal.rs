//! What becomes of callers that are connected when a revocation list changes or runs out: kept connections, resumed
//! sessions, streams, tunnels.

use std::io::{self, Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use herald_tests::client::{Client, Settings, Tls};
use herald_tests::h2::Raw;
use herald_tests::herald::Herald;
use herald_tests::origin::{Next, Origin};
use herald_tests::pki::{Authority, Identity, client_of, tomorrow};
use herald_tests::site::Site;
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol};
use rustls::HandshakeKind;

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

/// From the replacement of a list to the last accepted request on an open connection at most one second.
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

/// Each open stream is reset by itself, be it in the middle of its answer or without one, and the connection ends as
/// HTTP/2 connections do.
#[test]
fn each_open_http2_stream_is_reset_after_the_grace() {
    let origin = Origin::scripted(|request, stream| {
        if request.target == "/answered" {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")?;
            while stream.write_all(b".").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
        }
        // The others get no answer for a long time.
        thread::sleep(Duration::from_secs(20));
        Ok(Next::Close)
    });
    let scene = Scene::new(&origin, "verdict_grace = \"500ms\"\n");
    let mut raw = Raw::connect(scene.herald.address(), Some(&scene.caller)).unwrap();
    let paths: [&[u8]; 3] = [b"/answered", b"/waiting", b"/waiting-too"];
    for path in paths {
        raw.open(
            &[
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":path", path),
                (b":authority", b"localhost"),
            ],
            true,
        )
        .unwrap();
    }
    wait::until("the requests to come", || {
        (origin.requests().len() == paths.len()).then_some(())
    });
    let revoked = scene.revoke();
    raw.first_frame(GOAWAY).unwrap();
    let told = revoked.elapsed();
    let mut reset = Vec::new();
    let ended = loop {
        assert!(revoked.elapsed() < Duration::from_secs(10), "it goes on");
        match raw.read_frame() {
            Ok((RST_STREAM, _, stream, code)) => {
                println!(
                    "stream {stream} reset {:?} after GOAWAY",
                    revoked.elapsed() - told
                );
                assert!(
                    revoked.elapsed() - told >= Duration::from_millis(400),
                    "too early"
                );
                reset.push((stream, code));
            }
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    reset.sort();
    let cancel = 8_u32.to_be_bytes().to_vec();
    let expected: Vec<_> = [1, 3, 5].map(|stream| (stream, cancel.clone())).into();
    assert_eq!(reset, expected);
    assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof, "{ended}");
    assert!(
        revoked.elapsed() - told < Duration::from_secs(1),
        "{:?}",
        revoked.elapsed()
    );
    assert_eq!(scene.herald.log().matches("panicked").count(), 0);
}

const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
