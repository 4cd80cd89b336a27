//! The kernel programs through the binary: who gets a connection, who is refused, what is told when they can't be had,
//! and that nothing of them stays. Counters of decisions prove that it was the program that decided.

use std::io::ErrorKind;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use herald_tests::client::{Client, Settings};
use herald_tests::gate;
use herald_tests::herald::{Herald, Launch};
use herald_tests::kernel::{self, CAP_BPF, CAP_NET_ADMIN};
use herald_tests::origin::Origin;
use herald_tests::records::Folder;
use herald_tests::wait;
use tokio::net::{TcpSocket, TcpStream};

#[test]
fn each_connection_goes_to_the_least_busy_worker() {
    if !may("each_connection_goes_to_the_least_busy_worker") {
        return;
    }
    let scene = Scene::new(2, &["--ebpf", "require", "--listen", "[::1]:0"]);
    let addresses = scene.herald.addresses();
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    for (round, address) in (1..).zip(addresses) {
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|_| connect(address, None).unwrap())
            .collect();
        let open = wait::until("all to be accepted", || {
            let open = scene.open();
            (open.iter().sum::<u64>() == CONNECTIONS).then_some(open)
        });
        assert!(
            open[0].abs_diff(open[1]) <= 6,
            "{open:?} connections of {address}"
        );
        // A packet that comes when its connection is gone is looked up again.
        assert!(scene.decided("chosen") >= round * CONNECTIONS);
        assert_eq!(scene.decided("client_established"), round * CONNECTIONS);
        assert_eq!(scene.decided("chosen_by_hash"), 0);
        drop(connections);
        wait::until("all to be closed", || {
            (scene.open().iter().sum::<u64>() == 0).then_some(())
        });
    }
}

#[test]
fn a_source_over_its_rate_is_refused_and_nobody_else() {
    if !may("a_source_over_its_rate_is_refused_and_nobody_else") {
        return;
    }
    let scene = Scene::new(
        2,
        &[
            "--ebpf=require",
            "--refuse-rate=5",
            "--refuse-burst=10",
            "--refuse-exempt=127.0.0.4",
        ],
    );
    let address = scene.herald.address();
    let from = |last| Some(IpAddr::from([127, 0, 0, last]));
    let passed = (0..40)
        .filter(|_| connect(address, from(2)).is_ok())
        .count();
    assert!((10..=12).contains(&passed), "{passed} of 40 passed");
    let refused = connect(address, from(2)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    connect(address, from(3)).unwrap();
    for _ in 0..40 {
        connect(address, from(4)).unwrap();
    }
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    connect(other.local_addr().unwrap(), from(2)).unwrap();
    assert!(scene.decided("refused") >= 28);
    assert!(scene.decided("lookup_foreign") >= 1);
    assert_eq!(scene.decided("lookup_assigned"), 0);
    // Who is refused isn't charged: after a second, five have been earned.
    thread::sleep(Duration::from_secs(1));
    let passed = (0..40)
        .filter(|_| connect(address, from(2)).is_ok())
        .count();
    assert!((4..=7).contains(&passed), "{passed} passed a second later");
}

#[test]
fn addresses_of_one_ipv6_network_share_a_rate() {
    if !may("addresses_of_one_ipv6_network_share_a_rate") {
        return;
    }
    let arguments = ["--ebpf=require", "--refuse-rate=1", "--listen=[::1]:0"];
    let scene = Scene::new(1, &arguments);
    let address = scene.herald.addresses()[1];
    let passed = (0..20).filter(|_| connect(address, None).is_ok()).count();
    assert!((2..=3).contains(&passed), "{passed} of 20 passed");
    // One worker: nobody chooses, and sockops counts for the limit alone.
    assert_eq!(scene.decided("chosen"), 0);
    assert!(scene.decided("refused") >= 17);
}

/// Records of connections carry what the kernel knew at the end, and Herald's own count of the bytes on the wire is the
/// kernel's, but for SYN and FIN. Half of the clients close first, half wait for Herald; none leaves before it has read
/// everything, so nothing that Herald sent goes unacknowledged.
#[test]
fn the_kernel_tells_of_each_connection_that_ends() {
    if !may("the_kernel_tells_of_each_connection_that_ends") {
        return;
    }
    let count = match gate::long("the_kernel_tells_of_each_connection_that_ends: 10,000 of them") {
        true => 10_000,
        false => 400,
    };
    // The kernel's part in TLS would send bytes that Herald does not count.
    let scene = Scene::new(2, &["--ebpf=require", "--ktls=off"]);
    let address = scene.herald.address();
    let config = Settings::default().build();
    let clients = (0..CLIENTS).map(|client| {
        let config = Arc::clone(&config);
        thread::spawn(move || {
            for number in (client..count).step_by(CLIENTS) {
                let mut client = Client::connect(address, &config).unwrap();
                let body = vec![b'x'; number % 5000];
                let length = body.len();
                let close = if number % 2 == 0 { "close" } else { "keep-alive" };
                let head = format!(
                    "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: {close}\r\nContent-Length: {length}\r\n\r\n"
                );
                let answer = client.ask(&[head.as_bytes(), &body].concat()).unwrap();
                assert_eq!(answer.status, 200);
                if number % 2 != 0 {
                    client.half_close().unwrap();
                    client.stream().sock.shutdown(Shutdown::Write).unwrap();
                }
                assert_eq!(client.rest().unwrap(), b"");
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    let records = scene.folder.connections(count);
    assert_eq!(scene.decided("close_event"), count as u64);
    assert_eq!(scene.decided("close_event_dropped"), 0);
    assert_eq!(scene.ends("joined"), count as u64);
    assert_eq!((scene.ends("missed"), scene.ends("unclaimed")), (0, 0));
    for record in &records {
        let number = |field: &str| record[field].as_u64();
        assert!(
            number("tcp_in") > Some(300) && number("tcp_out") > Some(500),
            "{record}"
        );
        assert_eq!(number("tcp_in"), number("wire_in"), "{record}");
        assert_eq!(number("tcp_out"), number("wire_out"), "{record}");
        assert!(
            record["retransmits"].is_u64() && record["rtt_seconds"].is_f64(),
            "{record}"
        );
        let seconds = |field: &str| record[field].as_f64().unwrap();
        assert!(
            seconds("tcp_seconds") > seconds("handshake_seconds") / 2.0,
            "{record}"
        );
    }
    println!("{count} connections, {count} ends told, no byte apart");
}

/// A client that goes without a word (RST), one that fails the handshake, one that is refused its place: each leaves a
/// record, once, and nothing is waited for at the end.
#[test]
fn an_end_that_is_no_clean_one_is_told_as_well() {
    if !may("an_end_that_is_no_clean_one_is_told_as_well") {
        return;
    }
    let mut scene = Scene::new(1, &["--ebpf=require", "--drain-idle-timeout=100ms"]);
    let address = scene.herald.address();
    let config = Settings::default().build();
    for _ in 0..20 {
        let mut client = Client::connect(address, &config).unwrap();
        client.get("/").unwrap();
        // Unread bytes of Herald's close_notify come back as RST.
        drop(client);
        drop(connect(address, None).unwrap());
    }
    let open = Client::connect(address, &config).unwrap();
    wait::until("the end of all but one", || {
        (scene.open() == [1]).then_some(())
    });
    assert_eq!(
        scene.herald.terminate().code(),
        Some(0),
        "{}",
        scene.herald.log()
    );
    drop(open);
    let records = scene.folder.connections(41);
    let told = records.iter().filter(|record| record["tcp_in"].is_u64());
    assert!(told.clone().count() >= 40, "{records:#?}");
    for record in told {
        let number = |field: &str| record[field].as_u64();
        assert!(number("tcp_out") <= number("wire_out"), "{record}");
        assert!(number("tcp_in") >= number("wire_in"), "{record}");
    }
}

#[test]
fn a_limit_above_what_comes_refuses_nobody() {
    if !may("a_limit_above_what_comes_refuses_nobody") {
        return;
    }
    let scene = Scene::new(2, &["--ebpf=require", "--refuse-rate=100000"]);
    for _ in 0..200 {
        connect(scene.herald.address(), None).unwrap();
    }
    assert_eq!(scene.decided("refused"), 0);
    assert!(scene.decided("lookup_passed") >= 200);
}

#[test]
fn nothing_stays_when_the_process_is_gone() {
    if !may("nothing_stays_when_the_process_is_gone") {
        return;
    }
    for signal in ["-KILL", "-TERM"] {
        let mut scene = Scene::new(2, &["--ebpf=require", "--refuse-rate=1000"]);
        let pid = scene.herald.pid();
        let programs = kernel::programs_of(pid);
        assert_eq!(programs.len(), 3, "{programs:?}");
        assert!(programs.is_subset(&kernel::programs()));
        let group = kernel::cgroup_of(pid);
        assert!(group.ends_with(&format!("/herald-{pid}")), "{group}");
        scene.herald.signal(signal);
        scene.herald.terminate();
        wait::until("the programs to be gone", || {
            kernel::programs().is_disjoint(&programs).then_some(())
        });
        let folder = kernel::cgroup2().join(group.trim_start_matches('/'));
        // Without its privileges, which are given up once it serves, it can not everywhere remove
        // what it made in the root of the hierarchy (systemd leaves that writable to root, others
        // do not), and killed it removes nothing: then the next start does.
        if folder.exists() {
            drop(Scene::new(2, &["--ebpf=require"]));
        }
        assert!(!folder.exists(), "{} stays", folder.display());
    }
}

#[test]
fn what_can_not_be_had_is_told_and_stops_only_who_requires_it() {
    let without = "--drop=cap_bpf,cap_net_admin,cap_sys_admin";
    let works = may("what_can_not_be_had_is_told_and_stops_only_who_requires_it")
        && gate::require(
            "what_can_not_be_had_is_told_and_stops_only_who_requires_it",
            "capsh",
            gate::succeeds("capsh", &[without, "--print"]),
        );
    if !works {
        return;
    }
    let origin = Origin::echo();
    let launch = Launch::new("optional", origin.address()).workers(2);
    let none = launch.clone().under(["capsh", without, "--", "-c", EXEC]);
    let herald = none.start();
    let log = herald.log();
    assert_eq!(log.matches("missing: ").count(), 2, "{log}");
    assert!(log.contains("needs CAP_BPF"), "{log}");
    connect(herald.address(), None).unwrap();
    let required = none.args(["--ebpf", "require"]);
    let (status, log) = required.try_start().unwrap_err();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("ebpf is `require`, and sk_reuseport is missing"),
        "{log}"
    );
    // CAP_BPF alone is enough for the choice.
    let bpf_alone = "--drop=cap_net_admin,cap_sys_admin";
    let folder = Folder::default();
    let herald = folder
        .launch(launch.under(["capsh", bpf_alone, "--", "-c", EXEC]))
        .start();
    let log = herald.log();
    assert!(log.contains("chooses among 2 workers"), "{log}");
    assert_eq!(log.matches("missing: ").count(), 1, "{log}");
    for _ in 0..10 {
        connect(herald.address(), None).unwrap();
    }
    assert!(decided(&folder, "chosen") >= 10);
}

/// As under packaging/herald.service: alone in a group of the service manager's making, which is mounted read-only, with
/// the three capabilities of the unit and no other. All programs are had, and the group is the one that was given.
#[test]
fn the_capabilities_of_the_unit_are_enough_for_all_programs() {
    let test = "the_capabilities_of_the_unit_are_enough_for_all_programs";
    let unit = include_str!("../../packaging/herald.service");
    let capabilities = unit
        .lines()
        .find_map(|line| line.strip_prefix("AmbientCapabilities="));
    let names = capabilities.unwrap().to_lowercase().replace("cap_", "+");
    let bounding = format!("--bounding-set=-all,{}", names.replace(' ', ","));
    let works = may(test)
        && gate::require(
            test,
            "unshare and setpriv",
            gate::succeeds("unshare", &["--mount", "setpriv", &bounding, "true"]),
        );
    if !works {
        return;
    }
    let filter = unit
        .lines()
        .find_map(|line| line.strip_prefix("SystemCallFilter="));
    assert!(filter.unwrap().split(' ').any(|call| call == "bpf"));
    let name = format!("herald-test-{}", std::process::id());
    let folder = kernel::cgroup2().join(&name);
    fs::create_dir(&folder).unwrap();
    let (mount, processes) = (kernel::cgroup2(), folder.join("cgroup.procs"));
    let script = format!(
        "echo $$ > {} && mount -o bind,remount,ro {} && exec \"$0\" \"$@\"",
        processes.display(),
        mount.display()
    );
    let origin = Origin::echo();
    let launch = Launch::new("optional", origin.address())
        .workers(2)
        .args(["--ebpf=require", "--refuse-rate=1000"])
        .under([
            "unshare", "--mount", "sh", "-c", &script, "setpriv", &bounding,
        ]);
    let mut herald = launch.start();
    let log = herald.log();
    assert!(
        log.contains(&format!("counts connections of {}", folder.display())),
        "{log}"
    );
    assert_eq!(kernel::programs_of(herald.pid()).len(), 3);
    connect(herald.address(), None).unwrap();
    herald.terminate();
    fs::remove_dir(&folder).unwrap();
}

#[test]
fn off_is_off() {
    let origin = Origin::echo();
    let launch = Launch::new("optional", origin.address()).workers(2);
    let herald = launch.args(["--ebpf", "off"]).start();
    let pid = herald.pid();
    assert_eq!(herald.log().matches("not needed: ebpf is off").count(), 3);
    assert_eq!(
        kernel::cgroup_of(pid),
        kernel::cgroup_of(std::process::id())
    );
    let held = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let bpf = held
        .filter_map(|held| fs::read_link(held.path()).ok())
        .filter(|target| target.to_string_lossy().contains("bpf"));
    assert_eq!(bpf.count(), 0);
}

/// Herald with an admin socket.
struct Scene {
    folder: Folder,
    herald: Herald,
    _origin: Origin,
}

impl Scene {
    fn new(workers: usize, arguments: &[&str]) -> Self {
        let origin = Origin::echo();
        let folder = Folder::default();
        let launch = Launch::new("optional", origin.address())
            .workers(workers)
            .args(arguments.iter().copied());
        let herald = folder.launch(launch).start();
        Self {
            folder,
            herald,
            _origin: origin,
        }
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

    /// Ends of connections that the kernel told, by what became of that.
    fn ends(&self, outcome: &str) -> u64 {
        let series = format!("herald_close_events_total{{outcome=\"{outcome}\"}}");
        self.folder.metric(&series)
    }

    fn decided(&self, decision: &str) -> u64 {
        decided(&self.folder, decision)
    }
}

fn decided(folder: &Folder, decision: &str) -> u64 {
    folder.metric(&format!(
        "herald_kernel_decisions_total{{decision=\"{decision}\"}}"
    ))
}

/// Connects, from `source` if one is given; the connection is closed by RST or FIN on drop.
fn connect(to: SocketAddr, source: Option<IpAddr>) -> std::io::Result<std::net::TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let connected: std::io::Result<TcpStream> = runtime.block_on(async {
        let socket = match to {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(source) = source {
            socket.bind((source, 0).into())?;
        }
        socket.connect(to).await
    });
    connected?.into_std()
}

fn may(test: &str) -> bool {
    gate::require(
        test,
        "CAP_BPF and CAP_NET_ADMIN",
        kernel::may(&[CAP_BPF, CAP_NET_ADMIN]),
    )
}

const CONNECTIONS: u64 = 60;
const CLIENTS: usize = 4;
const EXEC: &str = "exec \"$0\" \"$@\"";
