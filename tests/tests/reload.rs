//! Another configuration takes the place of the one in force: by signal, by command and by itself; whole or not at all;
//! and no request is lost by it.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};
use std::{fs, thread};

use herald_tests::client::Settings;
use herald_tests::gate;
use herald_tests::h2::Raw;
use herald_tests::origin::{Next, Origin};
use herald_tests::pki::{Key, Pki};
use herald_tests::site::Site;
use herald_tests::soak::Soak;
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol};
use rcgen::CertificateParams;

/// An origin that answers `ok`, and never sees the requests of a soak kept.
fn plain() -> Origin {
    Origin::scripted(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Next::Keep)
    })
}

fn with_mark(site: &Site, mark: &str) -> String {
    format!(
        "{}client_auth = \"optional\"\nheader = {{ X-Mark = \"{mark}\" }}\n",
        site.client_ca()
    )
}

#[test]
fn an_open_connection_follows_whatever_asked_for_the_reload() {
    let (site, origin) = (Site::default(), Origin::echo());
    site.configure(
        origin.address(),
        &format!("{}watch = false\n", with_mark(&site, "0")),
    );
    let mut herald = site.start();
    let mut connections =
        Protocol::ALL.map(|protocol| protocol.connect(&herald, &Settings::default()).unwrap());
    let mut marks = || {
        connections.each_mut().map(|connection| {
            assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
            origin.take_one().headers.only("x-mark").unwrap()
        })
    };
    assert_eq!(marks(), ["0", "0"]);
    site.configure(
        origin.address(),
        &format!("{}watch = false\n", with_mark(&site, "1")),
    );
    thread::sleep(Duration::from_millis(300));
    assert_eq!(
        (marks(), site.generation()),
        (["0".into(), "0".into()], 1),
        "nobody asked"
    );
    herald.hang_up();
    site.await_generation_after(1);
    assert_eq!(marks(), ["1", "1"]);
    site.configure(
        origin.address(),
        &format!("{}watch = false\n", with_mark(&site, "2")),
    );
    let output = site.reload();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"configuration 3 is in force\n");
    assert_eq!(marks(), ["2", "2"]);
    assert!(herald.alive());
}

/// Files are replaced in all these ways: by a rename, in place, by turning a symbolic link (as Kubernetes and certbot do).
#[test]
fn a_changed_file_is_reloaded_by_itself() {
    let (site, origin) = (Site::default(), Origin::echo());
    let server = |name: &str| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = herald_tests::pki::name(name);
        params.not_after = rcgen::date_time_ymd(2049, 1, 1);
        let identity = Pki::shared().ca.issue(params, Key::Ec);
        fs::create_dir_all(site.path(name)).unwrap();
        identity.write(&site.path(name), "tls");
        identity
    };
    let mut expected = server("first");
    std::os::unix::fs::symlink("first", site.path("live")).unwrap();
    site.configure_to(&format!(
        "upstream = \"http://{}\"\nclient_auth = \"off\"\n",
        origin.address()
    ));
    let config = fs::read_to_string(site.path("herald.toml")).unwrap();
    let config = config
        .replace("server.pem", "live/tls.pem")
        .replace("server.key", "live/tls.key");
    site.put("herald.toml", &config);
    let herald = site.start();
    let shown = || {
        let client = Settings::default().connect(herald.address()).unwrap();
        client.server_certificate()
    };
    assert_eq!(shown(), expected.leaf());

    expected = server("second");
    std::os::unix::fs::symlink("second", site.path("live.new")).unwrap();
    fs::rename(site.path("live.new"), site.path("live")).unwrap();
    wait::until("the link's new end", || {
        (shown() == expected.leaf()).then_some(())
    });

    // In place, key after certificate: in between the two do not fit, and the old pair stays.
    expected = server("second");
    wait::until("the files in place", || {
        (shown() == expected.leaf()).then_some(())
    });

    // By what the origin gets: the new files serve a moment before their generation is told.
    site.put("herald.toml", config + "header = { X-Mark = \"new\" }\n");
    wait::until("the new mark", || {
        let mut client = Settings::default().connect(herald.address()).unwrap();
        client.get("/").unwrap();
        let mark = origin.take_one().headers.only("x-mark");
        mark.is_some_and(|mark| mark == "new").then_some(())
    });
}

/// What is wrong, the file that is, and a word of what is told.
fn mistakes(old: &str, port: u16) -> Vec<(&'static str, String, &'static str)> {
    let old = old.to_owned();
    vec![
        ("an unknown key", old.clone() + "nonsense = 1\n", "nonsense"),
        (
            "a missing file",
            old.replace("ca.pem", "gone.pem"),
            "gone.pem",
        ),
        (
            "an empty store",
            old.replace("ca.pem", "empty.pem"),
            "no PEM certificate",
        ),
        (
            "a key of another",
            old.replace("server.key", "other.key"),
            "can't be used",
        ),
        ("no TOML", "= = =".to_owned(), "herald.toml:1"),
        (
            "another port",
            old.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")),
            "a change of `listen` needs restart",
        ),
        (
            "more workers",
            old.replace("workers = 1", "workers = 2"),
            "a change of `workers` needs restart",
        ),
        (
            "another user",
            old.clone() + "user = \"nobody\"\n",
            "a change of `user` needs restart",
        ),
    ]
}

#[test]
fn what_is_wrong_is_told_and_the_old_configuration_stays() {
    let (site, origin) = (Site::default(), Origin::echo());
    site.configure(origin.address(), &with_mark(&site, "old"));
    let herald = site.start();
    let old = fs::read_to_string(site.path("herald.toml")).unwrap();
    for (what, wrong, said) in mistakes(&old, origin.address().port()) {
        site.put("empty.pem", "");
        let (_, key) = Pki::shared().server(Key::Rsa);
        site.put("other.key", fs::read(key).unwrap());
        let refused = site.configuration()["refused"].as_u64().unwrap();
        site.put("herald.toml", &wrong);
        let output = site.reload();
        assert_eq!(output.status.code(), Some(2), "{what}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            told.contains(said) && told.contains("the old configuration stays"),
            "{what}: {told}"
        );
        let state = site.configuration();
        assert!(
            state["refused"].as_u64().unwrap() > refused,
            "{what}: {state}"
        );
        assert!(
            state["error"].as_str().unwrap().contains(said),
            "{what}: {state}"
        );
        assert_eq!(state["generation"], 1, "{what}");
        // The answer may be here before the line is.
        wait::until("the line about it", || {
            let log = herald.log();
            (log.contains("not reloaded") && log.contains(said)).then_some(())
        });
        drop(
            Settings::default()
                .connect(herald.address())
                .unwrap()
                .get("/"),
        );
        assert_eq!(
            origin.take_one().headers.only("x-mark").unwrap(),
            "old",
            "{what}"
        );
    }
    site.put("herald.toml", &old);
    site.reloaded();
    assert_eq!(site.configuration()["error"], serde_json::Value::Null);
}

/// A CA that is taken out of a store takes its clients with it, also those that are connected; one that is put in lets
/// the chain be good that was not.
#[test]
fn open_connections_are_judged_by_the_new_stores() {
    let (site, origin) = (Site::default(), Origin::echo());
    site.configure(origin.address(), &site.client_ca());
    let herald = site.start();
    let pki = Pki::shared();
    for protocol in Protocol::ALL {
        let mut ours = protocol
            .connect(&herald, &Settings::new(Some(&pki.good())))
            .unwrap();
        let mut theirs = protocol
            .connect(&herald, &Settings::new(Some(&pki.wrong_ca())))
            .unwrap();
        let statuses = |ours: &mut herald_tests::world::Connection,
                        theirs: &mut herald_tests::world::Connection| {
            [ours, theirs].map(|connection| {
                connection
                    .ask(&Ask::get("/"))
                    .map(|answer| answer.status)
                    .ok()
            })
        };
        assert_eq!(
            statuses(&mut ours, &mut theirs),
            [Some(200), Some(403)],
            "{protocol:?}"
        );
        site.put("ca.pem", pki.other.issuer.pem());
        site.reloaded();
        let after = statuses(&mut ours, &mut theirs);
        // HTTP/2 may have been told to go away before it could ask.
        assert!(
            matches!(after, [Some(403) | None, Some(200)]),
            "{protocol:?}: {after:?}"
        );
        if protocol == Protocol::H1 {
            assert_eq!(after[0], Some(403));
        }
        site.put("ca.pem", pki.ca.issuer.pem());
        site.reloaded();
    }
    drop(herald);
}

/// A connection whose client was never asked for a certificate is no good for an application that wants one by now, and
/// one for an application that is gone is good for nothing.
#[test]
fn a_connection_is_misdirected_when_its_handshake_asked_less() {
    let (site, origin) = (Site::default(), Origin::echo());
    let application = |name: &str, auth: &str| {
        format!(
            "{}[[application]]\nname = \"{name}\"\nhostnames = [\"localhost\"]\nclient_auth = \"{auth}\"\nupstream = \"http://{}\"\n",
            site.client_ca(),
            origin.address()
        )
    };
    site.configure_to(&application("a", "off"));
    let herald = site.start();
    let connect = || Settings::default().connect(herald.address()).unwrap();
    let (mut kept, mut closed) = (connect(), connect());
    assert_eq!(kept.get("/").unwrap().status, 200);
    site.configure_to(&application("a", "optional"));
    site.reloaded();
    let answer = kept.get("/").unwrap();
    assert_eq!(answer.status, 421);
    assert_eq!(answer.headers.only("connection").unwrap(), "close");
    let mut asked = connect();
    assert_eq!(asked.get("/").unwrap().status, 200);
    site.configure_to(&application("b", "optional"));
    site.reloaded();
    assert_eq!(asked.get("/").unwrap().status, 421);
    assert_eq!(closed.get("/").unwrap().status, 421);
    assert_eq!(connect().get("/").unwrap().status, 200);
}

/// 100 reloads under load lose no request. Each changes a header, so that each is a new configuration.
#[test]
fn a_hundred_reloads_under_load_lose_no_request() {
    for protocol in Protocol::ALL {
        let (site, origin) = (Site::default(), plain());
        // Without a watch the command alone reloads, and each is one.
        let config = |mark: u32| format!("{}watch = false\n", with_mark(&site, &mark.to_string()));
        site.configure(origin.address(), &config(0));
        let herald = site.start();
        let identity = Pki::shared().good();
        let settings = Settings::new(Some(&identity));
        let soak = Soak::start(herald.address(), &settings, protocol, 32);
        let began = Instant::now();
        for number in 1..=100 {
            site.configure(origin.address(), &config(number));
            site.reloaded();
        }
        let took = began.elapsed();
        let report = soak.finish();
        assert_eq!(report.errors, Vec::<String>::new(), "{protocol:?}");
        assert!(report.requests > 200, "{protocol:?}: {report:?}");
        assert_eq!(site.generation(), 101);
        println!(
            "{protocol:?}: 100 reloads in {took:?} under {} requests, none lost",
            report.requests
        );
    }
}

/// What is under way ends under the configuration it began with.
#[test]
fn an_answer_under_way_outlives_its_configuration() {
    let site = Site::default();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::scripted(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")?;
        gone.lock().unwrap().recv().ok();
        stream.write_all(b"full")?;
        Ok(Next::Keep)
    });
    let other = plain();
    site.configure(origin.address(), &with_mark(&site, "a"));
    let herald = site.start();
    let mut client = Settings::default().connect(herald.address()).unwrap();
    client
        .send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    wait::until("the request to reach the origin", || {
        (!origin.requests().is_empty()).then_some(())
    });
    site.configure(other.address(), &with_mark(&site, "b"));
    site.reloaded();
    let mut raw = Raw::connect(herald.address(), None).unwrap();
    let answer = raw
        .ask(
            &[
                (&b":method"[..], &b"GET"[..]),
                (b":scheme", b"https"),
                (b":path", b"/"),
                (b":authority", b"localhost"),
            ],
            None,
        )
        .unwrap();
    drop(answer);
    assert_eq!(other.take_one().headers.only("x-mark").unwrap(), "b");
    go.send(()).unwrap();
    let answer = client.response().unwrap();
    assert_eq!(
        (answer.status, &answer.body.start[..]),
        (200, &b"halffull"[..])
    );
}

/// Privileges are gone by then: folders that Herald's user can't reach any more are read through their descriptors, and a
/// file that it may not read takes a restart.
#[test]
fn files_are_read_again_without_privileges() {
    let is_root = gate::succeeds("sh", &["-c", "test $(id -u) = 0"]);
    if !gate::require("files_are_read_again_without_privileges", "root", is_root) {
        return;
    }
    let (site, origin) = (Site::default(), Origin::echo());
    site.configure(
        origin.address(),
        &format!("{}user = \"nobody\"\n", with_mark(&site, "old")),
    );
    for name in ["server.pem", "server.key", "ca.pem", "herald.toml"] {
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    // The way to the folder is barred for everybody but root; the folder itself may be searched.
    let inner = site.path("inner");
    fs::create_dir(&inner).unwrap();
    for name in ["server.pem", "server.key", "ca.pem"] {
        fs::copy(site.path(name), inner.join(name)).unwrap();
    }
    let config = fs::read_to_string(site.path("herald.toml")).unwrap();
    let config = config
        .replace(
            &format!("{}/", site.folder().display()),
            &format!("{}/", inner.display()),
        )
        .replace(
            &format!("unix:{}", inner.display()),
            &format!("unix:{}", site.folder().display()),
        );
    site.put("herald.toml", &config);
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(site.folder(), fs::Permissions::from_mode(0o711)).unwrap();
    let herald = site.start();
    // By path nobody gets there any more; by descriptor Herald does.
    let outer = site.path("barred");
    fs::create_dir(&outer).unwrap();
    fs::rename(&inner, outer.join("inner")).unwrap();
    fs::set_permissions(&outer, fs::Permissions::from_mode(0o700)).unwrap();
    site.put("herald.toml", config.replace("old", "new"));
    site.reloaded();
    drop(
        Settings::default()
            .connect(herald.address())
            .unwrap()
            .get("/"),
    );
    assert_eq!(origin.take_one().headers.only("x-mark").unwrap(), "new");

    let key = outer.join("inner/server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let output = site.reload();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("server.key") && told.contains("needs restart"),
        "{told}"
    );
}

/// Over TCP nothing but looking is allowed, and on the socket nothing but this one POST.
#[test]
fn a_reload_is_asked_for_on_the_socket_alone() {
    let (site, origin) = (Site::default(), Origin::echo());
    site.configure(origin.address(), &site.client_ca());
    let config = fs::read_to_string(site.path("herald.toml")).unwrap();
    let admin = format!("unix:{}", site.path("admin.sock").display());
    site.put("herald.toml", config.replace(&admin, "127.0.0.1:0"));
    let herald = site.start();
    let log = herald.log();
    let address = log
        .lines()
        .find_map(|line| line.split_once("admin on "))
        .unwrap()
        .1
        .trim()
        .to_owned();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    stream
        .write_all(
            format!("POST /reload HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}
