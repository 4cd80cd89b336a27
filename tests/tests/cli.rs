//! The command line: mistakes are all named at once, and nothing starts half-configured.

use std::fs;

use herald_tests::herald::{Launch, run};
use herald_tests::origin::Origin;
use herald_tests::pki::{Key, Pki};
use herald_tests::table::{Table, check};
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
    let mut command = std::process::Command::new(herald_tests::herald::binary());
    let output = command.arg("check").args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    for word in ["required", "X-Device", &origin.address().to_string()] {
        assert!(shown.contains(word), "{word} is not in\n{shown}");
    }
    assert_eq!(origin.connections(), 0);
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
            let mut client = herald_tests::client::Settings::default()
                .connect(address)
                .unwrap();
            assert_eq!(client.get("/").unwrap().status, 200);
        }
    }
}

#[test]
fn a_termination_signal_ends_it_with_0() {
    let origin = Origin::echo();
    let mut herald = Launch::new("optional", origin.address()).start();
    let settings = herald_tests::client::Settings::default();
    let mut connection = Protocol::H1.connect(&herald, &settings).unwrap();
    assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
    drop(connection);
    let status = herald.terminate();
    assert_eq!(status.code(), Some(0), "{}", herald.log());
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
