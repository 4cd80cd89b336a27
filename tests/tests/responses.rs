//! The way back: what an origin may say to a client, and what becomes of origins that are malformed, dead or slow.

use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;

use herald_tests::client::{Response, Settings};
use herald_tests::herald::Launch;
use herald_tests::origin::{Next, Origin, Request};
use herald_tests::wire::{Fields, sha256, text};
use herald_tests::world::{Ask, DEFAULT_NAMES, Protocol, World};

#[test]
fn protected_names_are_stripped_from_responses() {
    let mut lines = String::new();
    for name in DEFAULT_NAMES.into_iter().chain([
        "cf-cert-verified",
        "Client-Cert",
        "Cf-Client-Cert-Sha256",
    ]) {
        lines += &format!("{name}: leak\r\n{}: leak\r\n", name.to_ascii_lowercase());
        for fold in ["_", ".", "~", "!"] {
            lines += &format!("{}: leak\r\n", name.replace('-', fold));
        }
    }
    let head = format!("HTTP/1.1 200 OK\r\n{lines}X-Kept: 1\r\nContent-Length: 2\r\n\r\nok");
    for protocol in Protocol::ALL {
        let answer = via(
            Origin::raw(head.clone(), Next::Keep),
            protocol,
            &Ask::get("/"),
        );
        assert_eq!(answer.headers.texts("x-kept"), ["1"]);
        assert!(
            !answer.headers.lines().join("\n").contains("leak"),
            "{protocol:?}: {:#?}",
            answer.headers.lines()
        );
    }
}

#[test]
fn protected_names_are_stripped_from_response_trailers() {
    let bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum, X-CERT-VERIFY\r\n\r\n\
        2\r\nok\r\n0\r\nX-Checksum: 1\r\nX-CERT-VERIFY: leak\r\nx_cert_verify: leak\r\nClient-Cert: leak\r\n\r\n";
    for protocol in Protocol::ALL {
        let ask = Ask::get("/").header("TE", "trailers");
        let answer = via(Origin::raw(bytes, Next::Keep), protocol, &ask);
        assert_eq!(answer.body.start, b"ok");
        assert_eq!(
            lower(&answer.body.trailers),
            ["x-checksum: 1"],
            "{protocol:?}"
        );
        assert!(
            !answer
                .headers
                .texts("trailer")
                .join(",")
                .to_ascii_lowercase()
                .contains("cert"),
            "{protocol:?}"
        );
    }
}

/// RFC 9440 §3.1: an outer cache can't see the field that the response varies on.
#[test]
fn vary_on_a_protected_name_becomes_vary_on_everything() {
    for (vary, expected) in [
        ("Vary: Client-Cert", "*"),
        ("Vary: x-cert-verify", "*"),
        ("Vary: Accept, X-CERT-SUBJECT-DN", "*"),
        ("Vary: Accept\r\nVary: x_cert_serial", "*"),
        ("Vary: Accept, Accept-Encoding", "accept, accept-encoding"),
        ("Vary: X.Cert.Serial", "*"),
        ("Vary: *", "*"),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{vary}\r\nContent-Length: 0\r\n\r\n");
        for protocol in Protocol::ALL {
            let answer = via(
                Origin::raw(head.clone(), Next::Keep),
                protocol,
                &Ask::get("/"),
            );
            let got = answer.headers.texts("vary").join(", ").to_ascii_lowercase();
            assert_eq!(got, expected, "{vary:?} {protocol:?}");
        }
    }
}

#[test]
fn hop_by_hop_fields_of_responses_stay_on_their_hop() {
    let head = "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-One\r\nConnection: x-two\r\nX-One: leak\r\nX-Two: leak\r\n\
        Keep-Alive: timeout=leak\r\nProxy-Connection: leak\r\nUpgrade: leak/1\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok";
    for protocol in Protocol::ALL {
        let answer = via(Origin::raw(head, Next::Keep), protocol, &Ask::get("/"));
        assert_eq!(answer.headers.texts("x-kept"), ["1"]);
        assert!(
            !answer.headers.lines().join("\n").contains("leak"),
            "{protocol:?}: {:#?}",
            answer.headers.lines()
        );
        assert!(
            !answer.headers.texts("connection").join(",").contains("x-"),
            "{protocol:?}"
        );
    }
}

/// An origin that closes does not close the client's connection.
#[test]
fn the_origins_wish_to_close_is_its_own() {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let world = World::around(Origin::raw(head, Next::Close), "optional", |launch| launch);
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    for _ in 0..5 {
        assert_eq!(client.get("/").unwrap().body.start, b"ok");
    }
    assert_eq!(world.origin.connections(), 5);
}

#[test]
fn a_body_until_close_arrives_whole() {
    let body = "x".repeat(100_000);
    for protocol in Protocol::ALL {
        let answer = via(
            Origin::raw(format!("HTTP/1.1 200 OK\r\n\r\n{body}"), Next::Close),
            protocol,
            &Ask::get("/"),
        );
        assert_eq!(answer.body.sha256, sha256(body.as_bytes()), "{protocol:?}");
    }
}

#[test]
fn head_204_and_304_have_no_body_and_keep_the_connection() {
    let origin = Origin::scripted(|request, stream| {
        let lines = match &*request.target {
            "/204" => "204 No Content\r\n",
            "/304" => "304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 12345\r\n",
            "/head" => "200 OK\r\nContent-Length: 12345\r\n",
            "/head-chunked" => "200 OK\r\nTransfer-Encoding: chunked\r\n",
            _ => "200 OK\r\nContent-Length: 0\r\n",
        };
        stream.write_all(
            format!("HTTP/1.1 {lines}X-Target: {}\r\n\r\n", request.target).as_bytes(),
        )?;
        Ok(Next::Keep)
    });
    let world = World::around(origin, "optional", |launch| launch);
    for protocol in Protocol::ALL {
        let mut connection = protocol
            .connect(&world.herald, &Settings::default())
            .unwrap();
        for (method, target, status) in [
            ("GET", "/204", 204),
            ("GET", "/304", 304),
            ("HEAD", "/head", 200),
            ("HEAD", "/head-chunked", 200),
            ("HEAD", "/304", 304),
            ("GET", "/empty", 200),
        ] {
            let answer = connection
                .ask(&Ask {
                    method,
                    ..Ask::get(target)
                })
                .unwrap();
            assert_eq!(
                (answer.status, answer.body.length),
                (status, 0),
                "{protocol:?} {method} {target}"
            );
            assert_eq!(
                answer.headers.texts("x-target"),
                [target],
                "{protocol:?} {method} {target}"
            );
            if target == "/head" {
                assert_eq!(
                    answer.headers.texts("content-length"),
                    ["12345"],
                    "{protocol:?}"
                );
            }
        }
    }
    assert_eq!(world.origin.complaints(), Vec::<String>::new());
}

#[test]
fn bodies_and_trailers_pass_both_ways_in_every_framing() {
    let origin = Origin::scripted(|request, stream| {
        let body = &request.body.start;
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n",
        )?;
        for piece in body.chunks(1000) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            stream.write_all(piece)?;
            stream.write_all(b"\r\n")?;
        }
        stream.write_all(format!("0\r\nX-Sum: {}\r\n\r\n", request.body.sha256).as_bytes())?;
        Ok(Next::Keep)
    });
    let world = World::around(origin, "optional", |launch| launch);
    for protocol in Protocol::ALL {
        let mut connection = protocol
            .connect(&world.herald, &Settings::default())
            .unwrap();
        for size in [0, 1, 999, 65_536, 200_000] {
            let body: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
            for ask in [
                Ask::post("/", &body),
                Ask::post("/", &body).trailer("x-sum", "1"),
            ] {
                let expected = lower(&ask.trailers);
                if size == 0 && expected.is_empty() {
                    continue;
                }
                let answer = connection.ask(&ask.header("TE", "trailers")).unwrap();
                let seen = world.origin.take_one();
                assert_eq!(seen.body.sha256, sha256(&body), "{protocol:?} {size}");
                assert_eq!(lower(&seen.body.trailers), expected, "{protocol:?} {size}");
                assert_eq!(answer.body.sha256, sha256(&body), "{protocol:?} {size}");
                assert_eq!(
                    lower(&answer.body.trailers),
                    [format!("x-sum: {}", sha256(&body))],
                    "{protocol:?} {size}"
                );
            }
        }
    }
    assert_eq!(world.origin.complaints(), Vec::<String>::new());
}

#[test]
fn interim_responses_do_not_confuse_the_final_one() {
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-CERT-VERIFY: leak\r\n\r\n",
    ] {
        let bytes = format!("{interim}{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        for protocol in Protocol::ALL {
            let answer = via(
                Origin::raw(bytes.clone(), Next::Keep),
                protocol,
                &Ask::get("/"),
            );
            assert_eq!(
                (answer.status, &*answer.body.start),
                (200, &b"ok"[..]),
                "{protocol:?} {interim:?}"
            );
        }
    }
    let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10_000);
    let origin = Origin::raw(flood, Next::Close);
    let world = World::around(origin, "optional", |launch| launch);
    assert_eq!(
        world
            .ask(Protocol::H1, None, &Ask::get("/"))
            .unwrap()
            .status,
        502
    );
}

#[test]
fn expect_100_continue_lets_the_body_through() {
    let world = World::new("optional");
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    let head =
        "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.send(head.as_bytes()).unwrap();
    // A client may send at once; one that waits would get 100 or nothing and go on as well.
    client.send(b"body").unwrap();
    let answer = client.response().unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(world.origin.take_one().body.start, b"body");
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    // The origin answers at the head and closes: the rest of the body has nowhere to go.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            drop(socket.read(&mut [0; 1024]));
            drop(socket.write_all(
                b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
            ));
            // Reads on, so that the answer is not lost to a reset.
            drop(io::copy(&mut socket, &mut io::sink()));
        }
    });
    let herald = Launch::new("optional", address).start();
    let ask = Ask::post("/", &vec![7; 4 << 20]);
    for protocol in Protocol::ALL {
        // A reset throws away what the client has not read yet: whether it does is a matter of luck, so not just once.
        for round in 0..10 {
            let mut connection = protocol.connect(&herald, &Settings::default()).unwrap();
            let answer = connection.ask(&ask);
            let answer =
                answer.unwrap_or_else(|error| panic!("{protocol:?}, round {round}: {error}"));
            assert_eq!(
                (answer.status, &*answer.body.start),
                (413, &b"big"[..]),
                "{protocol:?}"
            );
        }
    }
}

#[test]
fn statuses_reasons_and_fields_pass_untouched() {
    for status in [
        200, 201, 206, 301, 302, 400, 401, 404, 409, 418, 429, 451, 500, 503, 599,
    ] {
        let origin = Origin::scripted(move |_: &Request, stream| {
            let head = format!(
                "HTTP/1.1 {status} Some Words\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Latin: \u{e9}\r\n"
            );
            stream.write_all(
                &head
                    .chars()
                    .map(|letter| u8::try_from(u32::from(letter)).unwrap())
                    .collect::<Vec<_>>(),
            )?;
            stream.write_all(b"Content-Length: 2\r\n\r\nok")?;
            Ok(Next::Keep)
        });
        let world = World::around(origin, "optional", |launch| launch);
        for protocol in Protocol::ALL {
            let answer = world.ask(protocol, None, &Ask::get("/")).unwrap();
            assert_eq!(answer.status, status, "{protocol:?}");
            assert_eq!(
                answer.headers.texts("set-cookie"),
                ["a=1", "b=2"],
                "{protocol:?}"
            );
            assert_eq!(
                answer.headers.texts("x-latin"),
                ["\u{e9}"],
                "{protocol:?} {status}"
            );
        }
    }
}

fn via(origin: Origin, protocol: Protocol, ask: &Ask) -> Response {
    let world = World::around(origin, "optional", |launch| launch);
    let answer = world.ask(protocol, None, ask).unwrap();
    assert_eq!(
        answer.status,
        200,
        "{protocol:?}: {:?}",
        text(&answer.body.start)
    );
    answer
}

fn lower(fields: &Fields) -> Vec<String> {
    fields
        .lines()
        .iter()
        .map(|line| line.to_ascii_lowercase())
        .collect()
}
