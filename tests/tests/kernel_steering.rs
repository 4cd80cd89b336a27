//! The kernel programs on this kernel and on those of the guests of `cargo xtask vm`: that each loads, is attached and
//! decides, shown by its counters, what it leaves alone, and what is told where it can't be had. IPv4 and IPv6.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::{fs, io, thread};

use herald_tests::bulk::socket_to;
use herald_tests::client::{Client, Settings};
use herald_tests::gate;
use herald_tests::herald::Launch;
use herald_tests::kernel;
use herald_tests::netns;
use herald_tests::origin::Origin;
use herald_tests::programs::Programs;
use herald_tests::records::Folder;
use herald_tests::steering::{EXEC, Scene, decided, dial, enters, expect_profile, may, standing};
use herald_tests::wait;
use proxy_common::Counter;
use socket2::SockRef;

/// What a listener's and an origin's profile say is on the sockets of real connections, and on no others.
#[test]
fn tcp_profiles_are_set_when_a_connection_is_established() {
    if !may("tcp_profiles_are_set_when_a_connection_is_established") {
        return;
    }
    netns::within(|| {
        let origins = [origin("127.0.0.1:0"), origin("[::1]:0")];
        let folder = Folder::default();
        let launch = Launch::toward("optional", origins.map(|origin| format!("http://{origin}")));
        let herald = folder
            .launch(launch.args([
                "--ebpf=require",
                "--listen=[::1]:0",
                "--listen=127.0.0.2:0",
                "--tcp-profile=congestion=reno,notsent_lowat=16KiB,initial_window=20@127.0.0.1:0",
                "--tcp-profile=notsent_lowat=24KiB,initial_window=30@[::1]:0",
                "--upstream-tcp-profile=congestion=reno,notsent_lowat=8KiB,initial_window=25",
            ]))
            .start();
        let default = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
        let default = default.trim();
        assert_ne!(default, "reno", "the profile would not be seen");
        let addresses = herald.addresses();
        let expected = [
            ("reno", 16_384, 20),
            (default, 24_576, 30),
            (default, 0, 10),
        ];
        for (address, (congestion, lowat, window)) in addresses.into_iter().zip(expected) {
            let client = TcpStream::connect(address).unwrap();
            let peer = client.local_addr().unwrap();
            expect_profile(&herald, peer, (congestion, lowat));
            expect_window(address, peer, |seen| seen == window);
        }
        // Round robin: each origin is asked once, for a window that rests begins anew (RFC 5681 §4.1).
        for _ in 0..2 {
            let mut client =
                Client::connect(herald.address(), &Settings::default().build()).unwrap();
            assert_eq!(client.get("/").unwrap().status, 200);
        }
        for origin in origins {
            expect_profile(&herald, origin, ("reno", 8192));
            expect_upstream_window(origin, 25);
        }
        assert_eq!(decided(&folder, Counter::ProfileRefused), 0);
        assert!(decided(&folder, Counter::UpstreamEstablished) >= 2);
        assert_eq!(decided(&folder, Counter::SocketForeign), 0);
        // Connections to origins are nobody's to tell the end of.
        let clients = decided(&folder, Counter::ClientEstablished);
        wait::until("clients to be gone", || {
            (decided(&folder, Counter::CloseEvent) == clients).then_some(())
        });
        drop(herald);
    });
}

/// A congestion control that this kernel does not have is told, and required it stops the start.
#[test]
fn a_profile_that_can_not_be_had_is_told() {
    if !may("a_profile_that_can_not_be_had_is_told") {
        return;
    }
    let echo = Origin::echo();
    let launch = Launch::new("optional", echo.address()).args(["--tcp-profile=congestion=nosuch"]);
    let herald = launch.start();
    let log = herald.log();
    assert!(
        log.contains("missing: congestion=nosuch: No such file"),
        "{log}"
    );
    let mut client = Client::connect(herald.address(), &Settings::default().build()).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
    if !gate::is_guest() {
        required_it_ends(launch, "congestion=nosuch: No such file");
    }
}

/// Sockets of another process in the group: none is counted, set up or told of.
#[test]
fn a_foreign_process_in_the_group_is_left_alone() {
    if !may("a_foreign_process_in_the_group_is_left_alone") {
        return;
    }
    netns::within(|| {
        let profile = ["--tcp-profile=congestion=reno,notsent_lowat=16KiB"];
        let scene = Scene::new(2, &profile);
        let group = kernel::cgroup_of(scene.herald.pid());
        let folder = kernel::cgroup2().join(group.trim_start_matches('/'));
        let script = enters(&folder);
        let foreign = Launch::new("optional", scene.origin.address())
            .args(["--ebpf=off", "--listen=[::1]:0"])
            .under(["sh", "-c", &script])
            .start();
        assert_eq!(kernel::cgroup_of(foreign.pid()), group);
        let config = Settings::default().build();
        let default = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
        for address in foreign.addresses() {
            let mut client = Client::connect(address, &config).unwrap();
            assert_eq!(client.get("/").unwrap().status, 200);
            let peer = client.stream().sock.local_addr().unwrap();
            expect_profile(&foreign, peer, (default.trim(), 0));
        }
        // Two clients, and what was opened to the origin for them.
        assert!(scene.decided(Counter::SocketForeign) >= 3);
        assert_eq!(scene.decided(Counter::ClientEstablished), 0);
        assert_eq!(scene.decided(Counter::CloseEvent), 0);
        let mut client = Client::connect(scene.herald.address(), &config).unwrap();
        assert_eq!(client.get("/").unwrap().status, 200);
        let peer = client.stream().sock.local_addr().unwrap();
        expect_profile(&scene.herald, peer, ("reno", 16_384));
        assert_eq!(scene.decided(Counter::ClientEstablished), 1);
    });
}

/// The group may have another's program already, and get one more later: all run.
#[test]
fn other_programs_on_the_group_go_on() {
    if !may("other_programs_on_the_group_go_on") {
        return;
    }
    let folder = kernel::cgroup2().join(format!("herald-others-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let before = Programs::load(1).on(&folder);
    let script = enters(&folder);
    let origin = Origin::echo();
    let logs = Folder::default();
    let launch = Launch::new("optional", origin.address()).workers(2);
    let launch = launch.args(["--ebpf=require", "--tcp-profile=notsent_lowat=16KiB"]);
    let herald = logs.launch(launch).under(["sh", "-c", &script]).start();
    assert!(
        herald
            .log()
            .contains(&format!("counts connections of {}", folder.display()))
    );
    let after = Programs::load(1).on(&folder);
    let config = Settings::default().build();
    let mut clients: Vec<_> = (0..5)
        .map(|_| Client::connect(herald.address(), &config).unwrap())
        .collect();
    for client in &mut clients {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let peer = clients[0].stream().sock.local_addr().unwrap();
    let socket = socket_to(&herald, peer);
    assert_eq!(SockRef::from(&socket).tcp_notsent_lowat().unwrap(), 16_384);
    assert_eq!(decided(&logs, Counter::ClientEstablished), 5);
    for other in [before, after] {
        // Clients, and connections to the origin.
        assert!(other.count(Counter::SocketForeign) >= 6);
        assert_eq!(other.count(Counter::ClientEstablished), 0);
    }
    drop(clients);
    drop(herald);
    wait::until("the group to be empty", || fs::remove_dir(&folder).ok());
}

/// Herald serves on without a group of its own, and says what it does not do: here nobody would be refused.
#[test]
fn without_a_group_the_level_drops_and_says_so() {
    let test = "without_a_group_the_level_drops_and_says_so";
    let works =
        may(test) && gate::require(test, "unshare", gate::succeeds("unshare", &["-m", "true"]));
    if !works {
        return;
    }
    netns::within(|| {
        let mount = kernel::cgroup2();
        let script = format!("mount -o bind,remount,ro {} && {EXEC}", mount.display());
        let under = ["unshare", "-m", "sh", "-c", &script];
        let arguments = ["--refuse-rate=1", "--steer=127.7.7.7:8000=127.0.0.1:0"];
        let origin = Origin::echo();
        let folder = Folder::default();
        let launch = Launch::new("optional", origin.address())
            .workers(2)
            .args(arguments);
        let herald = folder.launch(launch.clone()).under(under).start();
        let log = herald.log();
        let warned = |text: &str| {
            let mut lines = log.lines();
            lines.any(|line| line.contains("WARN") && line.contains(text))
        };
        assert!(warned("Read-only file system"), "{log}");
        assert!(warned("sockops is missing, and it counts"), "{log}");
        assert!(!log.contains("refuses sources"), "{log}");
        let active = |name: &str| standing(&folder, name).0;
        assert!(active("sk_reuseport") && active("sk_lookup"));
        assert!(!active("sockops") && !active("refuse_rate"));
        // Nobody is refused, and ports are given all the same.
        for _ in 0..10 {
            let mut client = dial("127.7.7.7:8000").unwrap();
            assert_eq!(client.get("/").unwrap().status, 200);
        }
        assert!(decided(&folder, Counter::LookupAssigned) >= 10);
        assert!(decided(&folder, Counter::Chosen) >= 10);
        if !gate::is_guest() {
            required_it_ends(launch.under(under), "sockops is missing");
        }
    });
}

/// With `require` it does not start. That is the same on every kernel, and a start costs a guest seconds.
fn required_it_ends(launch: Launch, reason: &str) {
    let required = launch.args(["--ebpf=require"]);
    let (status, log) = required.try_start().unwrap_err();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains(reason), "{log}");
}

/// The congestion window of the server's end, which nothing but a handshake has moved.
fn expect_window(server: SocketAddr, client: SocketAddr, is_right: impl Fn(u64) -> bool) {
    if gate::is_guest() {
        // busybox has no ss, and safe Rust no TCP_INFO.
        return;
    }
    let filter = [format!("src {server}"), format!("dst {client}")];
    let window = window(&filter.join(" and "));
    assert!(is_right(window), "{server} to {client}: {window} segments");
}

/// One request and one answer do not use up a window of this size, so it has not grown.
fn expect_upstream_window(origin: SocketAddr, segments: u64) {
    if !gate::is_guest() {
        let window = window(&format!("dst {origin}"));
        assert!(window >= segments, "to {origin}: {window} segments");
    }
}

fn window(filter: &str) -> u64 {
    let output = Command::new("ss").args(["-tinH", filter]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let word = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("cwnd:"));
    word.unwrap_or_else(|| panic!("{filter}: {text}"))
        .parse()
        .unwrap()
}

/// Answers each request with 204, over either family.
fn origin(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        head.extend(byte);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        }
    }
    Ok(())
}
