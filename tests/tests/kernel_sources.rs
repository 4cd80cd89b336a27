//! The kernel's count of live connections by source prefix: exact however connections end, and gone with the last. On this
//! kernel and on those of the guests of `cargo xtask vm`. IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use aya::maps::HashMap;
use herald_tests::client::{Client, Settings};
use herald_tests::counted::{Counted, reset};
use herald_tests::herald::{Launch, run};
use herald_tests::kernel;
use herald_tests::lookup::prefix_of;
use herald_tests::programs::Programs;
use herald_tests::records::Folder;
use herald_tests::steering::{Scene, connect, may, status};
use herald_tests::wait;
use proxy_common::mark::ROLE_CLIENT;
use proxy_common::rate::PREFIXES_MAX;
use proxy_common::{Counter, Prefix, SocketMark, SourceLive};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

/// By FIN, by RST, and before anybody has accepted them.
#[test]
fn the_connections_of_each_source_are_counted() {
    if !may("the_connections_of_each_source_are_counted") {
        return;
    }
    let mut counted = Counted::by(4);
    let [ipv4, ipv6] = counted.herald.addresses()[..] else {
        panic!("one listener a family");
    };
    let from = |source: &str, number: usize| -> Vec<TcpStream> {
        let source: IpAddr = source.parse().unwrap();
        let to = if source.is_ipv4() { ipv4 } else { ipv6 };
        let connections = (0..number).map(|_| connect(to, Some(source)).unwrap());
        connections.collect()
    };
    let mut first = from("127.0.0.1", 30);
    let second = from("127.0.0.2", 20);
    let third = from("::1", 10);
    counted
        .programs
        .await_sources(&[("127.0.0.1", 30), ("127.0.0.2", 20), ("::1", 10)]);
    first.iter().step_by(2).for_each(reset);
    first.truncate(7);
    third.iter().for_each(reset);
    drop(third);
    counted
        .programs
        .await_sources(&[("127.0.0.1", 7), ("127.0.0.2", 20)]);
    drop((first, second));
    counted.programs.await_sources(&[]);
    counted.herald.pause();
    let waiting = [from("127.0.0.2", 3), from("127.0.0.3", 4), from("::1", 5)];
    counted
        .programs
        .await_sources(&[("127.0.0.2", 3), ("127.0.0.3", 4), ("::1", 5)]);
    waiting[..2].iter().flatten().for_each(reset);
    // The kernel holds a connection that has ended by FIN until somebody accepts and closes it.
    drop(waiting);
    counted.programs.await_sources(&[("::1", 5)]);
    counted.herald.resume();
    counted.programs.await_sources(&[]);
    assert_eq!(counted.programs.count(Counter::ClientEstablished), 72);
    assert_eq!(counted.programs.count(Counter::SourceUncounted), 0);
}

/// The last connection of a source goes on one CPU while the next one comes on another, again and again: no count is
/// lost, and none stays. Nobody accepts meanwhile, so that nothing else takes their time.
#[test]
fn a_source_that_comes_and_goes_at_once_is_counted() {
    if !may("a_source_that_comes_and_goes_at_once_is_counted") {
        return;
    }
    let group = kernel::cgroup_of(std::process::id());
    let group = kernel::cgroup2().join(group.trim_start_matches('/'));
    let mut programs = Programs::load(1).on(&group);
    let listener = listen();
    let address = listener.local_addr().unwrap();
    let mark = SocketMark {
        role: ROLE_CLIENT,
        ..SocketMark::default()
    };
    programs.mark(&listener, mark);
    let other = connect(address, Some([127, 0, 0, 2].into())).unwrap();
    let accepted = wait::until("it to come", || listener.accept().ok());
    for _ in 0..BURSTS {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..BURST).for_each(|_| reset(&connect(address, None).unwrap())));
            }
        });
        while listener.accept().is_ok() {}
        programs.await_sources(&[("127.0.0.2", 1)]);
    }
    drop((other, accepted));
    programs.await_sources(&[]);
    let rounds = u64::from(BURSTS * THREADS * BURST);
    let established = programs.count(Counter::ClientEstablished);
    // A thread that changes its CPU in between may have its RST overtake its ACK: then nothing was established.
    assert!(established > rounds - rounds / 100, "{established}");
    assert_eq!(programs.count(Counter::SourceLost), 0);
    // Where the CPU that deletes is not a real one it may be stopped in the middle.
    let uncounted = programs.count(Counter::SourceUncounted);
    println!("{uncounted} of {rounds} not counted");
    assert!(uncounted <= rounds / 100, "{uncounted}");
}

/// A full table evicts nobody: who does not fit is served, told of and not taken away from anybody at the end.
#[test]
fn a_source_that_does_not_fit_is_told() {
    if !may("a_source_that_does_not_fit_is_told") {
        return;
    }
    let mut counted = Counted::by(6);
    let address = counted.herald.address();
    let second = || connect(address, Some([127, 0, 0, 2].into())).unwrap();
    let one = second();
    counted.programs.await_sources(&[("127.0.0.2", 1)]);
    fill(&mut counted);
    let two = second();
    let mut client = Client::connect(address, &Settings::default().build()).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
    counted.awaits(3);
    assert_eq!(counted.programs.count(Counter::SourceUncounted), 1);
    assert_eq!(live(&mut counted, "127.0.0.1"), None);
    assert_eq!(live(&mut counted, "127.0.0.2"), Some(2));
    drop(client);
    counted.awaits(2);
    drop((one, two));
    counted.awaits(0);
    // A place is free again, one alone.
    let _third = connect(address, Some([127, 0, 0, 3].into())).unwrap();
    let _fourth = connect(address, Some([127, 0, 0, 4].into())).unwrap();
    counted.awaits(2);
    assert_eq!(live(&mut counted, "127.0.0.2"), None);
    assert_eq!(live(&mut counted, "127.0.0.3"), Some(1));
    assert_eq!(live(&mut counted, "127.0.0.4"), None);
    assert_eq!(counted.programs.count(Counter::SourceUncounted), 2);
    let all = counted.programs.sources();
    assert_eq!(all.len(), PREFIXES_MAX as usize);
    assert!(all.iter().all(|(_, live)| *live == 1));
}

/// The status shows what the table of the herald's own programs says, after the privileges are gone.
#[test]
fn the_status_shows_who_is_connected() {
    if !may("the_status_shows_who_is_connected") {
        return;
    }
    let scene = Scene::new(2, &["--listen=[::1]:0"]);
    let shows = |expected: serde_json::Value| {
        wait::until(&format!("{expected} to be shown"), || {
            (status(&scene.folder)["kernel_sources"] == expected).then_some(())
        });
    };
    shows(json!({"prefixes": 0, "busiest": []}));
    let [ipv4, ipv6] = scene.herald.addresses()[..] else {
        panic!("one listener a family");
    };
    let from = |last, to: SocketAddr| connect(to, Some([127, 0, 0, last].into())).unwrap();
    let mut open: Vec<_> = (0..3).map(|_| from(2, ipv4)).collect();
    open.push(from(1, ipv4));
    open.extend([0; 2].map(|_| connect(ipv6, None).unwrap()));
    let entry = |prefix: &str, connections| json!({"prefix": prefix, "connections": connections});
    shows(json!({"prefixes": 3, "busiest": [
        entry("127.0.0.2/32", 3), entry("::/64", 2), entry("127.0.0.1/32", 1),
    ]}));
    open.extend((10..20).map(|last| from(last, ipv4)));
    wait::until("all to be shown", || {
        let shown = &status(&scene.folder)["kernel_sources"];
        let busiest = shown["busiest"].as_array().unwrap().len();
        (shown["prefixes"] == 13 && busiest == 10).then_some(())
    });
    let admin = format!("unix:{}", scene.folder.path("admin.sock").display());
    let table = run(&["status", "--admin", &admin]).stdout;
    let table = String::from_utf8(table).unwrap();
    for part in ["127.0.0.2/32", "::/64", "and 3 more"] {
        assert!(table.contains(part), "{part} in\n{table}");
    }
    drop(open);
    shows(json!({"prefixes": 0, "busiest": []}));
    assert_eq!(scene.decided(Counter::SourceUncounted), 0);
    let folder = Folder::default();
    let launch = Launch::new("optional", scene.origin.address());
    let _without = folder.launch(launch.args(["--ebpf=off"])).start();
    assert_eq!(status(&folder).get("kernel_sources"), None);
}

/// Gives each place of the table that is free to somebody who never connected.
fn fill(counted: &mut Counted) {
    let taken = u32::try_from(counted.programs.sources().len()).unwrap();
    let mut table: HashMap<_, Prefix, SourceLive> = counted.programs.map("SOURCES");
    let value = SourceLive { born: 0, live: 1 };
    let key = |number| prefix_of(Ipv4Addr::from_bits(0x0a00_0000 + number).into());
    for number in taken..PREFIXES_MAX {
        table.insert(key(number), value, 0).unwrap();
    }
    table.insert(key(PREFIXES_MAX), value, 0).unwrap_err();
}

fn live(counted: &mut Counted, source: &str) -> Option<u32> {
    let table: HashMap<_, Prefix, SourceLive> = counted.programs.map("SOURCES");
    let value = table.get(&prefix_of(source.parse().unwrap()), 0);
    value.ok().map(|value| value.live)
}

/// Wakes up nobody, and has room for a burst.
fn listen() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

/// As many as CPUs of the smallest machine, so that each runs all the time.
const THREADS: u32 = 2;
const BURST: u32 = 1_000;
const BURSTS: u32 = 10;
