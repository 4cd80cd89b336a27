//! The admin address: for this host alone, read-only, not ready while stopping; and `herald status`.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Output;
use std::{fs, thread};

use herald_tests::client::Settings;
use herald_tests::herald::{Launch, run};
use herald_tests::origin::Origin;
use herald_tests::pki::Pki;
use herald_tests::records::{Folder, get_tcp};
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol, World};

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_socket_is_for_its_owner_alone_and_goes_with_the_process() {
    let folder = Folder::default();
    let mut world = World::with("optional", |launch| folder.launch(launch));
    let path = folder.path("admin.sock");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for (route, status, part) in [
        ("/livez", 200, "alive"),
        ("/readyz", 200, "ready"),
        ("/metrics", 200, "herald_ready 1\n"),
        ("/status", 200, "\"version\""),
        ("/", 404, "/metrics"),
        ("/statusx", 404, "/metrics"),
    ] {
        let (got, body) = folder.ask(route);
        assert_eq!(got, status, "{route}");
        assert!(body.contains(part), "{route}: {body}");
    }
    assert!(world.herald.terminate().success());
    assert!(!path.exists());
}

/// A socket left behind by a crash does not stop the next start; one process takes over from another, and the first one's
/// end leaves the second's socket alone.
#[test]
fn a_socket_left_behind_is_replaced() {
    let folder = Folder::default();
    let launch = |launch: Launch| folder.launch(launch);
    drop(World::with("optional", launch));
    assert!(
        folder.path("admin.sock").exists(),
        "killed, it leaves its socket"
    );
    let mut first = World::with("optional", launch);
    assert_eq!(folder.ask("/readyz").0, 200);
    let second = World::with("optional", launch);
    assert!(first.herald.terminate().success());
    let (_, status) = folder.ask("/status");
    assert!(
        status.contains(&second.herald.pid().to_string()),
        "{status}"
    );
}

#[test]
fn what_is_no_socket_is_not_replaced() {
    let folder = Folder::default();
    let path = folder.path("precious");
    fs::write(&path, "data").unwrap();
    let origin = Origin::echo();
    let launch = Launch::new("optional", origin.address());
    let admin = format!("unix:{}", path.display());
    let (status, log) = launch.args(["--admin", &admin]).try_start().unwrap_err();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("not a socket"), "{log}");
    assert_eq!(fs::read(&path).unwrap(), b"data");
}

#[test]
fn over_tcp_it_answers_on_loopback_to_its_own_name_and_reads_only() {
    let world = World::with("optional", |launch| launch.args(["--admin", "127.0.0.1:0"]));
    let log = world.herald.log();
    let address = log
        .lines()
        .find_map(|line| line.split_once("admin on "))
        .unwrap()
        .1;
    assert_eq!(get_tcp(address, address, "/livez").unwrap().0, 200);
    assert_eq!(get_tcp(address, "localhost:9", "/status").unwrap().0, 200);
    // A page on the web whose name was made to point here.
    assert_eq!(get_tcp(address, "evil.example", "/status").unwrap().0, 421);
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let post = "POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut stream, post.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(text(&run(&["status", "--admin", address])).contains("Listening"));
}

#[test]
fn no_other_host_is_ever_answered() {
    let origin = Origin::echo();
    for address in [
        "0.0.0.0:9900",
        "[::]:9900",
        "192.0.2.1:9900",
        "9900",
        "unix:",
    ] {
        let launch = Launch::new("optional", origin.address()).args(["--admin", address]);
        let (status, log) = launch.try_start().unwrap_err();
        assert_eq!(status.code(), Some(2), "{address}: {log}");
        assert!(log.contains("loopback"), "{address}: {log}");
    }
}

#[test]
fn while_stopping_it_is_alive_and_not_ready() {
    let folder = Folder::default();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let origin = Origin::scripted(move |_, socket| {
        // An error means that the test is over.
        if held.lock().unwrap().recv().is_err() {
            return Ok(herald_tests::origin::Next::Close);
        }
        std::io::Write::write_all(socket, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        Ok(herald_tests::origin::Next::Close)
    });
    let mut world = World::around(origin, "optional", |launch| folder.launch(launch));
    let mut client = Settings::default().connect(world.herald.address()).unwrap();
    client
        .send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    wait::until("the request to arrive", || {
        (world.origin.connections() > 0).then_some(())
    });
    world.herald.signal_termination();
    wait::until("it to be no longer ready", || {
        (folder.ask("/readyz").0 == 503).then_some(())
    });
    assert_eq!(folder.ask("/livez").0, 200);
    assert_eq!(folder.metric("herald_ready"), 0);
    assert!(folder.ask("/status").1.contains("stopping"));
    release.send(()).unwrap();
    assert_eq!(client.response().unwrap().status, 200);
    assert!(world.herald.terminate().success());
}

/// Silent and endless clients of the admin address keep nobody out for long, and harm no request.
#[test]
fn clients_that_say_nothing_do_not_stop_the_proxy() {
    let folder = Folder::default();
    let world = World::with("optional", |launch| folder.launch(launch));
    let path = folder.path("admin.sock");
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(&path)).collect();
    assert_eq!(
        world
            .ask(Protocol::H1, None, &Ask::get("/"))
            .unwrap()
            .status,
        200
    );
    drop(silent);
    assert_eq!(folder.ask("/livez").0, 200);
}

#[test]
fn status_shows_a_person_what_runs() {
    let folder = Folder::default();
    let world = World::with("required", |launch| folder.launch(launch).workers(2));
    let good = Pki::shared().good();
    for _ in 0..3 {
        world
            .ask(Protocol::H1, Some(&good), &Ask::get("/"))
            .unwrap();
    }
    let expired = Pki::shared().expired();
    world
        .ask(Protocol::H2, Some(&expired), &Ask::get("/"))
        .unwrap();
    folder.requests(4);
    folder.connections(4);
    wait::until("the upstream's counts", || {
        folder
            .ask("/status")
            .1
            .contains("\"requests_total\": 3")
            .then_some(())
    });
    let admin = format!("unix:{}", folder.path("admin.sock").display());
    let shown = text(&run(&["status", "--admin", &admin]));
    assert!(
        !shown.contains('\x1b'),
        "colour without a terminal: {shown}"
    );
    let rows: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let has = |row: &[&str]| assert!(rows.iter().any(|found| found == row), "{row:?} in\n{shown}");
    let address = world.herald.address().to_string();
    has(&["Listening", &address]);
    has(&["HTTP/1.1", "3", "0", "0", "0", "0"]);
    has(&["HTTP/2", "0", "0", "1", "0", "0"]);
    has(&["Certificates", "failed", "1"]);
    has(&["success", "3"]);
    has(&["Not", "served", "certificate", "failed", "1"]);
    assert_eq!(
        rows.iter().filter(|row| row.contains(&"alive")).count(),
        2,
        "{shown}"
    );
    for part in [
        "Herald ",
        "ready",
        "kernel TLS",
        "eBPF",
        "Upstream",
        "access",
        "0 lost",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&text(&run(&["status", "--json", "--admin", &admin]))).unwrap();
    assert_eq!(json["state"], "ready");
    assert_eq!(json["pid"], world.herald.pid());
    assert_eq!(json["workers"].as_array().unwrap().len(), 2);
    assert_eq!(json["verdicts"]["success"], 3);
    assert_eq!(json["requests"]["http1"]["2xx"], 3);
}

#[test]
fn status_says_why_there_is_no_answer() {
    let folder = Folder::default();
    let missing = format!("unix:{}", folder.path("missing.sock").display());
    let output = run(&["status", "--admin", &missing]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("Is Herald running"), "{error}");
    assert_eq!(
        run(&["status", "--admin", "0.0.0.0:1"]).status.code(),
        Some(2)
    );
    assert_eq!(run(&["status", "--admin", "off"]).status.code(), Some(1));
    // Somebody who takes the question and says nothing.
    let mute = std::os::unix::net::UnixListener::bind(folder.path("mute.sock")).unwrap();
    let holding = thread::spawn(move || -> std::io::Result<usize> {
        // Until the asker gives up.
        let mut question = Vec::new();
        std::io::Read::read_to_end(&mut mute.accept()?.0, &mut question)
    });
    let mute = format!("unix:{}", folder.path("mute.sock").display());
    let output = run(&["status", "--admin", &mute]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("no answer within")
    );
    assert!(holding.join().unwrap().unwrap() > 0);
}
