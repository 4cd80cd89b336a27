//! The kernel programs on this kernel and on those of the guests of `cargo xtask vm`: that each loads, is attached and
//! decides, shown by its counters, what it leaves alone, and what is told where it can't be had. IPv4 and IPv6.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io, thread};

use aya::maps::PerCpuArray;
use aya::programs::{CgroupAttachMode, SockOps};
use aya::{Ebpf, EbpfLoader};
use herald_tests::bulk::{LARGE, by_length, expect_body, expect_sealed, good, sealed, socket_to};
use herald_tests::client::{Client, Settings};
use herald_tests::gate;
use herald_tests::herald::{Herald, Launch};
use herald_tests::kernel::{self, CAP_BPF, CAP_NET_ADMIN};
use herald_tests::netns;
use herald_tests::origin::Origin;
use herald_tests::records::Folder;
use herald_tests::wait;
use proxy_common::Counter;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

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
    let (status, log) = launch.args(["--ebpf=require"]).try_start().unwrap_err();
    assert_eq!(status.code(), Some(1), "{log}");
}

/// All three programs: connections to ports and addresses that nobody has bound reach the listener they are given to,
/// and there the least busy worker. What is not in the table is as without Herald, also for who is refused.
#[test]
fn lookup_gives_ports_and_addresses_to_a_listener() {
    if !may("lookup_gives_ports_and_addresses_to_a_listener") {
        return;
    }
    netns::within(|| {
        netns::address("2001:db8::7/128");
        let scene = Scene::new(
            2,
            &[
                "--listen=[::1]:0",
                "--steer=127.7.7.7:8000-8099=127.0.0.1:0",
                "--steer=[2001:db8::7]:8443=[::1]:0",
                "--steer=[::]:9000-9009=[::1]:0",
                "--refuse-rate=20",
                "--refuse-burst=40",
            ],
        );
        let before = scene.decided(Counter::Chosen);
        let dialled = [
            "127.7.7.7:8000",
            "127.7.7.7:8099",
            "[2001:db8::7]:8443",
            "[::1]:9009",
        ];
        for (number, address) in (1..).zip(dialled) {
            let mut client = dial(address).unwrap();
            assert_eq!(client.get("/").unwrap().status, 200, "{address}");
            assert_eq!(scene.decided(Counter::LookupAssigned), number, "{address}");
        }
        assert!(scene.decided(Counter::Chosen) >= before + 4);
        assert_eq!(scene.decided(Counter::ChosenByHash), 0);
        assert_eq!(scene.decided(Counter::ClientEstablished), 4);
        for address in [
            "127.7.7.7:7999",
            "127.7.7.7:8100",
            "127.7.7.8:8000",
            "[2001:db8::7]:8444",
            "[::1]:9010",
        ] {
            let refused = TcpStream::connect(address).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{address}");
        }
        // A worker's share: neither is left out.
        let held: Vec<_> = (0..30)
            .map(|_| TcpStream::connect("127.7.7.7:8050").unwrap())
            .collect();
        let open = wait::until("all to be accepted", || {
            let open = scene.open();
            (open.iter().sum::<u64>() == 30).then_some(open)
        });
        assert!(open[0].abs_diff(open[1]) <= 4, "{open:?}");
        drop(held);
        // A limit holds on given ports too, and on nobody else's.
        let neighbour = TcpListener::bind("127.7.7.7:7777").unwrap();
        let passed = (0..60)
            .filter(|_| TcpStream::connect("127.7.7.7:8001").is_ok())
            .count();
        assert!(passed < 40, "{passed}");
        let refused = TcpStream::connect("127.7.7.7:8001").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        drop(TcpStream::connect(neighbour.local_addr().unwrap()).unwrap());
        assert!(scene.decided(Counter::Refused) >= 20);
        assert!(scene.decided(Counter::LookupForeign) >= 5);
    });
}

/// With one worker no program chooses: the kernel's hash does, and the anchor's share is accepted like the other's.
#[test]
fn lookup_loses_no_connection_to_the_hash() {
    if !may("lookup_loses_no_connection_to_the_hash") {
        return;
    }
    netns::within(|| {
        let scene = Scene::new(1, &["--steer=127.7.7.7:8000=127.0.0.1:0"]);
        let config = Settings::default().build();
        for address in ["127.7.7.7:8000".parse().unwrap(), scene.herald.address()] {
            for _ in 0..16 {
                let mut client = Client::connect(address, &config).unwrap();
                assert_eq!(client.get("/").unwrap().status, 200);
            }
        }
        assert_eq!(scene.decided(Counter::LookupAssigned), 16);
        assert_eq!(scene.decided(Counter::Chosen), 0);
        assert_eq!(scene.decided(Counter::ClientEstablished), 32);
    });
}

/// The anchor is in a sockmap, whose sockets take no TLS keys; what is accepted from it, or chosen in its stead, does.
/// In a guest the kernel's own count shows it.
#[test]
fn lookup_of_a_given_port_leaves_kernel_tls_working() {
    if !may("lookup_of_a_given_port_leaves_kernel_tls_working") {
        return;
    }
    netns::within(|| {
        for workers in [1, 2] {
            let origin = by_length();
            let folder = Folder::default();
            let launch = Launch::new("required", origin.address()).workers(workers);
            let given = "127.7.7.7:8000".parse().unwrap();
            let herald = folder
                .launch(launch.args([
                    "--ktls=tx",
                    "--ebpf=require",
                    "--steer=127.7.7.7:8000=127.0.0.1:0",
                ]))
                .start();
            let before = sealed();
            for _ in 0..COUNT {
                expect_body(&mut good().connect(given).unwrap(), LARGE);
            }
            expect_sealed(before, COUNT, "given");
            for _ in 0..COUNT {
                expect_body(&mut good().connect(herald.address()).unwrap(), LARGE);
            }
            expect_sealed(before, 2 * COUNT, "the listener's own");
            assert_eq!(decided(&folder, Counter::LookupAssigned), COUNT);
            let chosen = decided(&folder, Counter::Chosen);
            assert_eq!(chosen >= 2 * COUNT, workers > 1, "{chosen}");
        }
    });
}

/// A customer's /48 holds 65,536 networks of which none is over its rate; together they are.
#[test]
fn many_networks_of_one_48_share_a_wider_rate() {
    if !may("many_networks_of_one_48_share_a_wider_rate") {
        return;
    }
    netns::within(|| {
        for network in 0..50 {
            netns::address(&format!("2001:db8:1:{network:x}::1/128"));
        }
        netns::address("2001:db8:2::1/128");
        let scene = Scene::new(
            2,
            &["--listen=[::1]:0", "--refuse-rate=1", "--refuse-burst=2"],
        );
        let to = scene.herald.addresses()[1];
        let from = |source: &str| connect(to, source.parse().unwrap());
        let passed = (0..50)
            .filter(|network| from(&format!("2001:db8:1:{network:x}::1")).is_ok())
            .count();
        // 16 times a burst of two, and what 16 a second earn meanwhile.
        assert!((32..45).contains(&passed), "{passed} of 50 networks passed");
        assert!(scene.decided(Counter::Refused) >= 5);
        from("2001:db8:2::1").unwrap();
    });
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
    let before = Other::attach(&folder);
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
    let after = Other::attach(&folder);
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
        let (_, status) = folder.ask("/status");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let features = status["features"].as_array().unwrap();
        let active = |name: &str| {
            let name = format!("eBPF steering: {name}");
            let feature = features.iter().find(|feature| feature["name"] == *name);
            feature.unwrap_or_else(|| panic!("{name}: {features:?}"))["active"] == true
        };
        assert!(active("sk_reuseport") && active("sk_lookup"));
        assert!(!active("sockops") && !active("refuse_rate"));
        // Nobody is refused, and ports are given all the same.
        for _ in 0..10 {
            let mut client = dial("127.7.7.7:8000").unwrap();
            assert_eq!(client.get("/").unwrap().status, 200);
        }
        assert_eq!(decided(&folder, Counter::LookupAssigned), 10);
        assert!(decided(&folder, Counter::Chosen) >= 10);
        let required = launch.args(["--ebpf=require"]).under(under);
        let (status, log) = required.try_start().unwrap_err();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("sockops is missing"), "{log}");
    });
}

/// Herald with all that its arguments ask for, an admin socket and logs.
struct Scene {
    folder: Folder,
    herald: Herald,
    origin: Origin,
}

impl Scene {
    fn new(workers: usize, arguments: &[&str]) -> Self {
        let origin = Origin::echo();
        let folder = Folder::default();
        let launch = Launch::new("optional", origin.address()).workers(workers);
        let launch = launch
            .args(["--ebpf=require"])
            .args(arguments.iter().copied());
        let herald = folder.launch(launch).start();
        Self {
            folder,
            herald,
            origin,
        }
    }

    fn decided(&self, counter: Counter) -> u64 {
        decided(&self.folder, counter)
    }

    /// Connections open, by worker.
    fn open(&self) -> Vec<u64> {
        let (_, status) = self.folder.ask("/status");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let workers = status["workers"].as_array().unwrap().iter();
        workers
            .map(|worker| worker["connections_open"].as_u64().unwrap())
            .collect()
    }
}

/// Somebody else's program on a group: Herald's own a second time, which knows none of Herald's sockets.
struct Other(Ebpf);

impl Other {
    fn attach(group: &Path) -> Self {
        let mut loaded = EbpfLoader::new().load(OBJECT).unwrap();
        let program: &mut SockOps = loaded
            .program_mut("herald_sockops")
            .unwrap()
            .try_into()
            .unwrap();
        program.load().unwrap();
        let group = fs::File::open(group).unwrap();
        program.attach(group, CgroupAttachMode::Single).unwrap();
        Self(loaded)
    }

    fn count(&self, counter: Counter) -> u64 {
        let counts = PerCpuArray::<_, u64>::try_from(self.0.map("COUNTS").unwrap()).unwrap();
        counts.get(&counter.index(), 0).unwrap().iter().sum()
    }
}

/// A shell's words to enter a control group and become what follows.
fn enters(group: &Path) -> String {
    let processes: PathBuf = group.join("cgroup.procs");
    format!("echo $$ > {} && {EXEC}", processes.display())
}

fn decided(folder: &Folder, counter: Counter) -> u64 {
    let name = counter.name();
    folder.metric(&format!(
        "herald_kernel_decisions_total{{decision=\"{name}\"}}"
    ))
}

/// Herald's socket to `peer` has this congestion control and this limit on what waits unsent.
fn expect_profile(herald: &Herald, peer: SocketAddr, expected: (&str, u32)) {
    let socket = socket_to(herald, peer);
    let socket = SockRef::from(&socket);
    let name = socket.tcp_congestion().unwrap();
    let name = String::from_utf8(name).unwrap();
    let name = name.trim_end_matches('\0');
    let lowat = socket.tcp_notsent_lowat().unwrap();
    assert_eq!((name, lowat), expected, "{peer}");
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

fn dial(address: &str) -> io::Result<Client> {
    Client::connect(address.parse().unwrap(), &Settings::default().build())
}

/// Connects from `source`.
fn connect(to: SocketAddr, source: IpAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

fn may(test: &str) -> bool {
    gate::require(
        test,
        "CAP_BPF and CAP_NET_ADMIN",
        kernel::may(&[CAP_BPF, CAP_NET_ADMIN]),
    )
}

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../proxy/ebpf/steering.bpf.o");
const COUNT: u64 = 4;
const EXEC: &str = "exec \"$0\" \"$@\"";
