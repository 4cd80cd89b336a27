//! One record a request, whoever answered it, and one a connection: what they say, and that hostile bytes stay inside them.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use herald_tests::client::{Client, Settings, open};
use herald_tests::h2::stream;
use herald_tests::herald::Herald;
use herald_tests::origin::{Next, Origin};
use herald_tests::pki::Pki;
use herald_tests::records::{Folder, records};
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol, World};
use serde_json::Value;

fn world(mode: &str, folder: &Folder) -> World {
    World::with(mode, |launch| folder.launch(launch))
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {record}"))
}

#[test]
fn a_record_names_caller_request_answer_and_timings() {
    let folder = Folder::default();
    let world = world("required", &folder);
    let identity = Pki::shared().good();
    for protocol in Protocol::ALL {
        let ask = Ask::post("/path?query", b"hello");
        let answer = world.ask(protocol, Some(&identity), &ask).unwrap();
        assert_eq!(answer.status, 200);
        let seen = world.origin.take_one();
        let count = if protocol == Protocol::H1 { 1 } else { 2 };
        let record = folder.requests(count).pop().unwrap();
        for (field, value) in [
            ("protocol", if count == 1 { "HTTP/1.1" } else { "HTTP/2" }),
            ("method", "POST"),
            ("host", "localhost"),
            ("target", "/path?query"),
            ("verdict", "SUCCESS"),
            ("policy", "allow"),
            ("end", "complete"),
            ("upstream", &format!("http://{}", world.origin.address())),
            ("subject", &seen.headers.only("x-cert-subject-dn").unwrap()),
            ("serial", &seen.headers.only("x-cert-serial").unwrap()),
            ("fingerprint", &herald_tests::wire::sha256(identity.leaf())),
        ] {
            assert_eq!(text(&record, field), value, "{field} in {record}");
        }
        assert_eq!(record["status"], 200);
        assert_eq!(record["bytes_in"], 5);
        assert_eq!(record["bytes_out"], answer.body.length);
        assert!(record.get("reason").is_none(), "{record}");
        assert!(text(&record, "client").starts_with("127.0.0.1:"));
        let (whole, upstream) = (
            record["seconds"].as_f64(),
            record["upstream_seconds"].as_f64(),
        );
        assert!(
            upstream.unwrap() > 0.0 && whole.unwrap() >= upstream.unwrap(),
            "{record}"
        );
        let time = text(&record, "time");
        assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
    }
}

#[test]
fn a_refusal_names_its_reason_and_the_certificate_that_failed() {
    let folder = Folder::default();
    let world = world("required", &folder);
    let expired = Pki::shared().expired();
    let answer = world
        .ask(Protocol::H1, Some(&expired), &Ask::get("/"))
        .unwrap();
    assert_eq!(answer.status, 403);
    let answer = world.ask(Protocol::H2, None, &Ask::get("/")).unwrap();
    assert_eq!(answer.status, 403);
    let records = folder.requests(2);
    assert_eq!(
        text(&records[0], "verdict"),
        "FAILED:certificate has expired"
    );
    assert_eq!(text(&records[0], "reason"), "certificate_failed");
    assert_eq!(
        text(&records[0], "fingerprint"),
        herald_tests::wire::sha256(expired.leaf())
    );
    assert_eq!(text(&records[1], "verdict"), "NONE");
    assert_eq!(text(&records[1], "reason"), "no_certificate");
    assert!(records[1].get("subject").is_none());
    for record in &records {
        assert_eq!(record["status"], 403);
        assert_eq!(text(record, "policy"), "deny");
        assert!(record.get("upstream").is_none(), "{record}");
        assert!(record["bytes_out"].as_u64().unwrap() > 0);
    }
}

/// What hyper answers by itself no exchange ever sees; each has its record all the same, and only one.
#[test]
fn requests_that_the_server_library_answers_are_recorded() {
    let folder = Folder::default();
    let world = World::with("optional", |launch| {
        folder.launch(launch).args(["--head-max", "1MiB"])
    });
    let identity = Pki::shared().good();
    let connect = || {
        Settings::new(Some(&identity))
            .connect(world.herald.address())
            .unwrap()
    };
    let requests = [
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nBad Name: 1\r\n\r\n".to_owned(),
            400,
            "head_malformed",
        ),
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(70_000)),
            414,
            "target_too_long",
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "a".repeat(1 << 21)
            ),
            431,
            "head_too_large",
        ),
    ];
    for (index, (request, status, reason)) in requests.into_iter().enumerate() {
        let mut client = connect();
        assert_eq!(client.ask(request.as_bytes()).unwrap().status, status);
        let record = folder.requests(index + 1).pop().unwrap();
        assert_eq!(record["status"], status);
        assert_eq!(text(&record, "reason"), reason);
        assert_eq!(text(&record, "verdict"), "SUCCESS");
    }
}

/// A head that never ends is a request without a status; a connection that is only idle is none.
#[test]
fn a_head_that_never_ends_is_recorded_and_an_idle_connection_is_not() {
    let folder = Folder::default();
    let world = World::with("optional", |launch| {
        folder.launch(launch).args(["--head-timeout", "1s"])
    });
    let connect = || Settings::default().connect(world.herald.address()).unwrap();
    let mut count = 0;
    // Half a head on a fresh connection, and behind an answer.
    for served_before in [false, true] {
        let mut client = connect();
        if served_before {
            assert_eq!(client.get("/").unwrap().status, 200);
            count += 1;
            folder.requests(count);
        }
        client.send(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
        let (_, closed) = client.tail(Duration::from_secs(10));
        assert!(closed);
        count += 1;
        let record = folder.requests(count).pop().unwrap();
        assert!(record.get("status").is_none(), "{record}");
        assert_eq!(text(&record, "reason"), "head_timeout");
    }
    // A connection that is only idle is no request.
    let mut client = connect();
    assert_eq!(
        client
            .ask(&Ask::post("/", b"body").to_bytes())
            .unwrap()
            .status,
        200
    );
    let (_, closed) = client.tail(Duration::from_secs(10));
    assert!(closed);
    folder.requests(count + 1);
}

#[test]
fn an_answer_that_breaks_off_says_who_broke_it() {
    let folder = Folder::default();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nonly this";
    let world = World::around(Origin::raw(head, Next::Close), "optional", |launch| {
        folder.launch(launch)
    });
    world.ask(Protocol::H1, None, &Ask::get("/")).unwrap_err();
    let record = folder.requests(1).pop().unwrap();
    assert_eq!(text(&record, "end"), "failed");
    assert_eq!(text(&record, "reason"), "origin_truncated");
    assert_eq!(record["status"], 200);
    assert_eq!(record["bytes_out"], 9);
}

#[test]
fn a_client_that_goes_away_is_recorded_with_what_it_got() {
    let folder = Folder::default();
    let endless = Origin::scripted(|_, socket| {
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
        let piece = vec![b'x'; 1 << 16];
        while socket.write_all(&piece).is_ok() {}
        Ok(Next::Close)
    });
    let world = World::around(endless, "optional", |launch| folder.launch(launch));
    // Before the answer: the origin keeps it waiting.
    let waiting = Origin::scripted(|_, socket| {
        // Until Herald gives up.
        std::io::Read::read(socket, &mut [0])?;
        Ok(Next::Close)
    });
    let silent = World::around(waiting, "optional", |launch| {
        launch.args(["--access-log", folder.path("silent.log").to_str().unwrap()])
    });
    let mut client = Settings::default()
        .connect(silent.herald.address())
        .unwrap();
    client
        .send(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    wait::until("the request to arrive", || {
        (silent.origin.connections() > 0).then_some(())
    });
    thread::sleep(Duration::from_millis(100));
    drop(client);
    let record = records(&folder.path("silent.log"), 1).pop().unwrap();
    assert_eq!(text(&record, "end"), "client_gone");
    assert_eq!(text(&record, "reason"), "client_gone");
    assert!(record.get("status").is_none(), "{record}");
    // Inside the answer, over HTTP/2.
    let settings = Settings::default().alpn(&["h2"]);
    let mut client = stream::Client::connect(world.herald.address(), &settings).unwrap();
    client.start("/endless").unwrap();
    client.taste().unwrap();
    client.abandon();
    let record = folder.requests(1).pop().unwrap();
    assert_eq!(text(&record, "target"), "/endless");
    assert_eq!(text(&record, "end"), "client_gone");
    assert_eq!(record["status"], 200);
    let sent = record["bytes_out"].as_u64().unwrap();
    assert!((1..100_000_000).contains(&sent), "{record}");
}

/// Whatever a client writes into a request, a record stays one line that any JSON parser reads.
#[test]
fn hostile_bytes_stay_inside_their_record() {
    let folder = Folder::default();
    let world = world("forward-failed", &folder);
    let evil = Pki::shared().client(|params| {
        let name = herald_tests::pki::name("a\"}\n{\"verdict\":\"SUCCESS\\");
        params.distinguished_name = name;
    });
    let mut asked = 0;
    for target in ["/\"},{\"", "/%0a%22", "/\\u0000\\", "/a'b|c`"] {
        let mut client = Settings::new(Some(&evil))
            .connect(world.herald.address())
            .unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = client.ask(request.as_bytes()).unwrap();
        asked += 1;
        let record = folder.requests(asked).pop().unwrap();
        assert_eq!(record["status"], answer.status);
        if answer.status == 200 {
            assert_eq!(text(&record, "target"), target);
        }
        let subject = text(&record, "subject");
        assert!(subject.contains("verdict"), "{record}");
        assert_eq!(text(&record, "verdict"), "SUCCESS");
    }
    let mut client = Settings::new(None).connect(world.herald.address()).unwrap();
    client
        .ask(b"GET / HTTP/1.1\r\nHost: a\xff\"\x80b\r\n\r\n")
        .unwrap();
    let record = folder.requests(asked + 1).pop().unwrap();
    assert_eq!(text(&record, "host"), "a\u{ff}\"\u{80}b");
    assert_eq!(text(&record, "reason"), "authority_invalid");
}

#[test]
fn the_text_format_is_one_line_of_names_and_values() {
    let folder = Folder::default();
    let path = folder.path("access.log");
    let world = World::with("optional", |launch| {
        launch.args([
            "--access-log",
            path.to_str().unwrap(),
            "--access-log-format",
            "text",
        ])
    });
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    let request = b"GET /a?b=c HTTP/1.1\r\nHost: a\"b\\\x80\r\n\r\n";
    assert_eq!(client.ask(request).unwrap().status, 400);
    let log = wait::until("a record", || {
        fs::read_to_string(&path)
            .ok()
            .filter(|log| log.ends_with('\n'))
    });
    let line = log.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{log}");
    for part in [
        "time=2",
        " client=\"127.0.0.1:",
        " verdict=\"NONE\"",
        " method=\"GET\" host=\"a\\\"b\\\\\\x80\" target=\"/a?b=c\"",
        " reason=authority_invalid",
        " end=complete",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn a_connection_has_a_record_of_its_own() {
    let folder = Folder::default();
    let world = world("required", &folder);
    let identity = Pki::shared().good();
    let config = Protocol::H2.offered(&Settings::new(Some(&identity)));
    for resumed in [false, true] {
        let mut connection = Protocol::H2.connect_with(&world.herald, &config).unwrap();
        for _ in 0..3 {
            assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
        }
        drop(connection);
        let records = folder.connections(if resumed { 2 } else { 1 });
        let record = records.last().unwrap();
        assert_eq!(text(record, "event"), "connection");
        assert_eq!(text(record, "tls"), "TLSv1_3");
        assert_eq!(text(record, "server_name"), "localhost");
        assert_eq!(text(record, "alpn"), "http2");
        assert_eq!(text(record, "verdict"), "SUCCESS");
        assert!(text(record, "cipher").starts_with("TLS13_"), "{record}");
        assert_eq!(record["resumed"], resumed, "{record}");
        assert_eq!(record["requests"], 3);
        assert_eq!(text(record, "end"), "closed");
        assert!(record["bytes_in"].as_u64().unwrap() > 0);
        assert!(record["bytes_out"].as_u64().unwrap() > 0);
        assert!(record["handshake_seconds"].as_f64().unwrap() > 0.0);
        // Its requests can be told by its number.
        let number = record["connection"].as_u64().unwrap();
        let requests = folder.requests(if resumed { 6 } else { 3 });
        let own = requests
            .iter()
            .filter(|request| request["connection"] == number);
        assert_eq!(own.count(), 3);
    }
    let mut plain = open(world.herald.address()).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    drop(plain);
    let record = folder.connections(3).pop().unwrap();
    assert_eq!(text(&record, "end"), "handshake_failed");
    assert_eq!(text(&record, "reason"), "protocol");
    assert_eq!(record["requests"], 0);
}

#[test]
fn one_file_may_hold_both_kinds() {
    let folder = Folder::default();
    let path = folder.path("both.log");
    let both = path.to_str().unwrap();
    let world = World::with("optional", |launch| {
        launch.args(["--access-log", both, "--connection-log", both])
    });
    world.ask(Protocol::H1, None, &Ask::get("/")).unwrap();
    let records = records(&path, 2);
    assert_eq!(text(&records[0], "target"), "/");
    assert_eq!(text(&records[1], "event"), "connection");
}

#[test]
fn a_rotated_log_goes_on_in_a_new_file_and_loses_nothing() {
    let folder = Folder::default();
    let world = world("optional", &folder);
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    let ask = |client: &mut Client, count: usize| {
        for _ in 0..count {
            assert_eq!(client.get("/").unwrap().status, 200);
        }
    };
    ask(&mut client, 10);
    folder.requests(10);
    fs::rename(folder.path("access.log"), folder.path("access.log.1")).unwrap();
    // Until the signal, the old file is written.
    ask(&mut client, 5);
    assert_eq!(records(&folder.path("access.log.1"), 15).len(), 15);
    signal(&world.herald, "USR1");
    wait::until("the new file", || {
        folder.path("access.log").exists().then_some(())
    });
    ask(&mut client, 7);
    folder.requests(7);
    assert_eq!(records(&folder.path("access.log.1"), 15).len(), 15);
    assert_eq!(
        folder.metric("herald_log_records_dropped_total{log=\"access\"}"),
        0
    );
}

#[test]
fn everything_is_written_before_a_stop_ends() {
    let folder = Folder::default();
    let mut world = World::with("optional", |launch| folder.launch(launch).workers(2));
    for _ in 0..20 {
        world.ask(Protocol::H1, None, &Ask::get("/")).unwrap();
    }
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    assert_eq!(client.get("/last").unwrap().status, 200);
    drop(client);
    assert!(world.herald.terminate().success());
    assert_eq!(folder.requests(21).len(), 21);
    assert_eq!(folder.connections(21).len(), 21);
}

/// A disk that is full costs records, which are counted, and no request.
#[test]
fn a_log_that_cannot_be_written_costs_records_and_nothing_else() {
    let folder = Folder::default();
    let world = World::with("optional", |launch| {
        let admin = format!("unix:{}", folder.path("admin.sock").display());
        launch.args(["--access-log", "/dev/full", "--admin", &admin])
    });
    for _ in 0..5 {
        assert_eq!(
            world
                .ask(Protocol::H1, None, &Ask::get("/"))
                .unwrap()
                .status,
            200
        );
    }
    wait::until("drops to be counted", || {
        let dropped = folder.metric("herald_log_records_dropped_total{log=\"access\"}");
        (dropped == 5).then_some(())
    });
    let told = || world.herald.log().matches("can't be written").count();
    wait::until("it to be told", || (told() > 0).then_some(()));
    assert_eq!(told(), 1, "{}", world.herald.log());
}

#[test]
fn a_log_that_cannot_be_opened_stops_the_start() {
    let origin = Origin::echo();
    for (path, code) in [
        ("/", 2),
        ("/nowhere/at/all.log", 2),
        ("/proc/version/x", 2),
        ("/proc/herald.log", 1),
    ] {
        let launch = herald_tests::herald::Launch::new("optional", origin.address());
        let (status, log) = launch.args(["--access-log", path]).try_start().unwrap_err();
        assert_eq!(status.code(), Some(code), "{path}: {log}");
        assert!(log.contains(path), "{path}: {log}");
    }
}

/// One loud source gets ten lines in five seconds, and the next line tells how many were held back.
#[test]
fn failed_handshakes_of_one_source_are_limited_and_counted() {
    let folder = Folder::default();
    let world = world("optional", &folder);
    for _ in 0..50 {
        let mut plain = open(world.herald.address()).unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    }
    let records = folder.connections(50);
    assert!(
        records
            .iter()
            .all(|record| record["end"] == "handshake_failed")
    );
    let lines = wait::until("each to be told or counted", || {
        let lines = world.herald.log().matches("handshake failed").count();
        let held = folder.metric("herald_log_lines_suppressed_total");
        (held + lines as u64 == 50).then_some(lines)
    });
    // A window may end in between.
    assert!((10..=20).contains(&lines), "{lines}");
    assert_eq!(
        folder.metric("herald_handshakes_failed_total{reason=\"protocol\"}"),
        50
    );
}

fn signal(herald: &Herald, name: &str) {
    let pid = herald.pid().to_string();
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &pid])
        .status();
    assert!(sent.unwrap().success());
}
