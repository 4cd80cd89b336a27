//! The command line: mistakes are all named at once, and nothing starts half-configured.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{fs, thread};

use herald_tests::client::Settings;
use herald_tests::herald::{Launch, binary, run};
use herald_tests::origin::{Next, Origin, Request};
use herald_tests::pki::{Key, Pki};
use herald_tests::table::{Table, check};
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol};

#[test]
fn help_names_every_subcommand_and_flag() {
    let help = text(&run(&["--help"]).stdout);
    for word in ["run", "check", "demo"] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    let help = text(&run(&["run", "--help"]).stdout);
    for flag in [
        "--config",
        "--listen",
        "--cert",
        "--key",
        "--client-ca",
        "--upstream",
        "--client-auth",
        "--reject-at-tls",
        "--header",
        "--preset",
        "--identity-on-failure",
        "--reason-style",
        "--workers",
        "--allow-header-name",
    ] {
        assert!(help.contains(flag), "{flag} is not in\n{help}");
    }
    assert_eq!(run(&["--version"]).status.code(), Some(0));
}

#[test]
fn wrong_flags_end_with_2_and_say_what_is_allowed() {
    let origin = Origin::echo();
    let mut table = Table::new("wrong flags");
    for (name, arguments, word) in WRONG_FLAGS {
        let result = match Launch::new("required", origin.address())
            .args(arguments.iter().copied())
            .try_start()
        {
            Ok(_) => Err("it started".to_owned()),
            Err((status, log)) => check(status.code() == Some(2) && log.contains(word), || {
                format!("{status}, {word} in:\n{log}")
            }),
        };
        table.row(name, result);
    }
    table.finish();
}

#[test]
fn a_mode_or_upstream_that_does_not_exist_ends_with_2() {
    let origin = Origin::echo();
    let (status, log) = Launch::new("sometimes", origin.address())
        .try_start()
        .unwrap_err();
    assert_eq!(status.code(), Some(2));
    for mode in ["required", "optional", "forward-failed", "off"] {
        assert!(log.contains(mode), "{mode} is not in\n{log}");
    }
}

#[test]
fn missing_and_mismatched_files_end_with_2_and_are_named() {
    let pki = Pki::shared();
    let (certificate, key) = pki.server(Key::Ec);
    let (_, other_key) = pki.server(Key::Rsa);
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let ca = pki.path("ca.pem");
    let ca = ca.to_str().unwrap();
    let missing = pki.path("missing.pem");
    let missing = missing.to_str().unwrap();
    let other_key = other_key.to_str().unwrap();
    let base = [
        "run",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        "http://127.0.0.1:9",
        "--client-auth",
        "required",
    ];
    let mut table = Table::new("files");
    for (name, files, word) in [
        (
            "no CA",
            ["--cert", certificate, "--key", key, "--client-ca", missing],
            "missing.pem",
        ),
        (
            "no certificate",
            ["--cert", missing, "--key", key, "--client-ca", ca],
            "missing.pem",
        ),
        (
            "no key",
            ["--cert", certificate, "--key", missing, "--client-ca", ca],
            "missing.pem",
        ),
        (
            "a certificate as key",
            [
                "--cert",
                certificate,
                "--key",
                certificate,
                "--client-ca",
                ca,
            ],
            "server-Ec.pem",
        ),
        (
            "a key as certificate",
            ["--cert", key, "--key", key, "--client-ca", ca],
            "server-Ec.key",
        ),
        (
            "another's key",
            ["--cert", certificate, "--key", other_key, "--client-ca", ca],
            "server-",
        ),
    ] {
        let output = run(&[&base[..], &files[..]].concat());
        let log = text(&output.stderr);
        let right = output.status.code() == Some(2) && log.contains(word);
        table.row(
            name,
            check(right, || format!("{}, {word} in:\n{log}", output.status)),
        );
    }
    table.finish();
}

#[test]
fn all_mistakes_of_a_file_are_named_at_once() {
    let file = Pki::shared().path("mistakes.toml");
    let content = "listen = [\"127.0.0.1:0\"]\nclient_auth = \"sometimes\"\nworkers = \"many\"\nno_such_key = 1\n\
        preset = \"klingon\"\nupstream = \"ftp://nowhere\"\n";
    fs::write(&file, content).unwrap();
    for command in ["check", "run"] {
        let output = run(&[command, "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let log = text(&output.stderr) + &text(&output.stdout);
        assert!(
            log.contains("mistakes.toml"),
            "the file is not named in\n{log}"
        );
        for word in [
            "client_auth",
            "workers",
            "no_such_key",
            "preset",
            "upstream",
        ] {
            assert!(
                log.contains(word),
                "{command}: {word} is not named in\n{log}"
            );
        }
    }
}

#[test]
fn check_of_a_sound_configuration_ends_with_0_and_prints_what_would_run() {
    let origin = Origin::echo();
    let launch =
        Launch::new("required", origin.address()).args(["--header", "X-Device={certSubjectCN}"]);
    let arguments: Vec<_> = launch
        .command()
        .get_args()
        .skip(1)
        .map(|argument| argument.to_owned())
        .collect();
    let mut command = std::process::Command::new(binary());
    let output = command.arg("check").args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    for word in ["required", "X-Device", &origin.address().to_string()] {
        assert!(shown.contains(word), "{word} is not in\n{shown}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_file_runs_and_flags_override_it() {
    let origin = Origin::echo();
    let pki = Pki::shared();
    let (certificate, key) = pki.server(Key::Ec);
    let content = format!(
        "listen = [\"127.0.0.1:0\"]\ncert = {certificate:?}\nkey = {key:?}\nclient_ca = [{:?}]\n\
         upstream = \"http://{}\"\nclient_auth = \"required\"\nworkers = 1\n\
         preset = [\"cloudflare-worker\"]\nheader = [\"X-Device={{certSubjectCN}}\"]\n",
        pki.path("ca.pem"),
        origin.address(),
    );
    let file = pki.path("herald.toml");
    fs::write(&file, content).unwrap();
    let file = file.to_str().unwrap();
    let good = pki.good();
    for (flags, nobody) in [(&[][..], 403), (&["--client-auth", "optional"], 200)] {
        let herald = Launch::bare(["run", "--config", file])
            .args(flags.iter().copied())
            .start();
        let status = |identity| {
            let settings = Settings::new(identity);
            let mut connection = Protocol::H1.connect(&herald, &settings).unwrap();
            connection.ask(&Ask::get("/")).unwrap().status
        };
        assert_eq!(status(Some(&good)), 200);
        let seen = origin.take_one();
        assert_eq!(seen.headers.texts("x-device"), ["James Royal"]);
        assert_eq!(seen.headers.texts("x-cert-verify"), ["SUCCESS"]);
        assert_eq!(status(None), nobody, "{flags:?}");
        origin.take();
    }
}

#[test]
fn a_port_in_use_ends_with_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (certificate, key) = Pki::shared().server(Key::Ec);
    let ca = Pki::shared().path("ca.pem");
    let files = [certificate, key, ca].map(|path| path.to_str().unwrap().to_owned());
    let output = run(&[
        "run",
        "--listen",
        &address,
        "--cert",
        &files[0],
        "--key",
        &files[1],
        "--client-ca",
        &files[2],
        "--upstream",
        "http://127.0.0.1:9",
        "--client-auth",
        "required",
    ]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains(&address), "{output:?}");
}

#[test]
fn several_listeners_and_workers_serve() {
    let origin = Origin::echo();
    let launch = Launch::new("optional", origin.address())
        .args(["--listen", "127.0.0.1:0"])
        .workers(2);
    let herald = launch.start();
    let addresses = herald.addresses();
    assert_eq!(addresses.len(), 2, "{}", herald.log());
    assert_ne!(addresses[0], addresses[1]);
    for address in addresses {
        for _ in 0..8 {
            let mut client = Settings::default().connect(address).unwrap();
            assert_eq!(client.get("/").unwrap().status, 200);
        }
    }
}

#[test]
fn a_termination_signal_ends_it_with_0() {
    let origin = Origin::echo();
    let mut herald = Launch::new("optional", origin.address()).start();
    let settings = Settings::default();
    let mut connection = Protocol::H1.connect(&herald, &settings).unwrap();
    assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
    drop(connection);
    let status = herald.terminate();
    assert_eq!(status.code(), Some(0), "{}", herald.log());
}

/// The request under way when the signal comes is answered; nobody new is let in.
#[test]
fn a_termination_signal_lets_requests_finish() {
    let (entered, wait_entered) = mpsc::channel();
    let (release, wait_release) = mpsc::channel::<()>();
    let gate = Mutex::new((entered, wait_release));
    let origin = Origin::scripted(move |_, stream| {
        let gate = gate.lock().unwrap();
        gate.0.send(()).unwrap();
        gate.1.recv().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")?;
        Ok(Next::Keep)
    });
    let mut herald = Launch::new("optional", origin.address()).start();
    let address = herald.address();
    let request = thread::spawn(move || Settings::default().connect(address)?.get("/"));
    wait_entered.recv().unwrap();
    herald.signal_termination();
    wait::until("the listener to be closed", || {
        TcpStream::connect(address).err()
    });
    assert!(herald.alive(), "it ended with a request under way");
    release.send(()).unwrap();
    let answer = request.join().unwrap().unwrap();
    assert_eq!((answer.status, &*answer.body.start), (200, &b"late"[..]));
    assert_eq!(herald.terminate().code(), Some(0));
}

/// "ready" was told before signals were listened to: a stop in between was the kernel's, and not graceful.
#[test]
fn who_is_told_that_it_is_ready_may_stop_it() {
    let origin = Origin::echo();
    for _ in 0..10 {
        let mut herald = Launch::new("optional", origin.address()).start();
        assert_eq!(herald.terminate().code(), Some(0), "{}", herald.log());
    }
}

/// A request that does not end holds up a stop until the deadline: exit code 3. A second signal does not wait for it.
#[test]
fn a_stop_that_is_forced_ends_with_3() {
    for (timeout, signals) in [("500ms", 1), ("60s", 2)] {
        let origin = Origin::scripted(|_: &Request, _stream| {
            thread::sleep(Duration::from_secs(8));
            Ok(Next::Close)
        });
        let mut herald = Launch::new("optional", origin.address())
            .args(["--drain-timeout", timeout])
            .start();
        let address = herald.address();
        let request = thread::spawn(move || Settings::default().connect(address)?.get("/"));
        wait::until("the request to arrive", || {
            (origin.connections() > 0).then_some(())
        });
        let started = Instant::now();
        for _ in 0..signals {
            herald.signal_termination();
            wait::until("the stop to begin", || {
                herald.log().contains("stopping").then_some(())
            });
        }
        assert_eq!(herald.terminate().code(), Some(3), "{}", herald.log());
        assert!(
            started.elapsed() < Duration::from_secs(6),
            "{:?}",
            started.elapsed()
        );
        assert!(request.join().unwrap().is_err());
    }
}

/// `cargo xtask bench steering` measures a build in which a header makes a request hold its worker. No other build may
/// know that header.
#[test]
fn no_request_can_hold_a_worker_of_this_binary() {
    let bytes = fs::read(binary()).unwrap();
    let knows = |name: &str| {
        let mut windows = bytes.windows(name.len());
        windows.any(|window| window == name.as_bytes())
    };
    assert!(!knows("x-bench-stall"));
    // A header that it does know is found in the same way.
    assert!(knows("x-forwarded-for"));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const WRONG_FLAGS: [(&str, &[&str], &str); 12] = [
    ("an unknown flag", &["--no-such-flag"], "--no-such-flag"),
    (
        "an unknown preset",
        &["--preset", "klingon"],
        "cloudflare-worker",
    ),
    (
        "an unknown reason style",
        &["--reason-style", "openssl2"],
        "openssl3",
    ),
    (
        "an unknown failure policy",
        &["--identity-on-failure", "maybe"],
        "omit",
    ),
    (
        "a header without value",
        &["--header", "X-Device"],
        "X-Device",
    ),
    (
        "an unknown value",
        &["--header", "X-Device={certNoSuch}"],
        "certNoSuch",
    ),
    (
        "a brace left open",
        &["--header", "X-Device={certSerial"],
        "X-Device",
    ),
    (
        "a mapping onto Host",
        &["--header", "Host={certSubjectCN}"],
        "Host",
    ),
    (
        "a mapping onto Connection",
        &["--header", "Connection={certSubjectCN}"],
        "Connection",
    ),
    (
        "a mapping onto Transfer-Encoding",
        &["--header", "Transfer-Encoding={certSubjectCN}"],
        "Transfer-Encoding",
    ),
    (
        "a mapping onto Content-Length",
        &["--header", "content-length={certSerial}"],
        "ontent-",
    ),
    (
        "an invalid name",
        &["--header", "X Device={certSubjectCN}"],
        "X Device",
    ),
];
