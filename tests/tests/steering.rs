//! The kernel programs through the binary: who gets a connection, how it is set up, and that nothing of them stays.
//! Counters of decisions prove that it was the program that decided.

use std::time::Duration;
use std::{fs, thread};

use herald_tests::client::{Client, Settings};
use herald_tests::counted::{Counted, reset};
use herald_tests::kernel;
use herald_tests::steering::{Scene, connect, expect_profile, may, status};
use herald_tests::wait;
use proxy_common::{Counter, SocketMark, TcpProfile};

#[test]
fn each_connection_goes_to_the_least_busy_worker() {
    if !may("each_connection_goes_to_the_least_busy_worker") {
        return;
    }
    let scene = Scene::new(2, &["--listen", "[::1]:0"]);
    let addresses = scene.herald.addresses();
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    let mut established = 0;
    for address in addresses {
        let mut connections = Vec::new();
        // A worker that the machine keeps from its core is late: it is passed over then, and makes up for it.
        wait::until("both workers to have as many", || {
            connections.extend((0..CONNECTIONS).map(|_| connect(address, None).unwrap()));
            let count = connections.len() as u64;
            let open = wait::until("all to be accepted", || {
                let open = scene.open();
                (open.iter().sum::<u64>() == count).then_some(open)
            });
            (open[0].abs_diff(open[1]) <= 6).then_some(())
        });
        established += connections.len() as u64;
        // A packet that comes when its connection is gone is looked up again.
        assert!(scene.decided(Counter::Chosen) >= established);
        assert_eq!(scene.decided(Counter::ClientEstablished), established);
        assert_eq!(scene.decided(Counter::ChosenByHash), 0);
        let shown = &status(&scene.folder)["kernel"]["client_established"];
        assert_eq!(*shown, established);
        drop(connections);
        wait::until("all to be closed", || {
            (scene.open().iter().sum::<u64>() == 0).then_some(())
        });
    }
}

/// Stopped, the workers publish nothing: after half a second the kernel's hash chooses, and what it chose is served when
/// they go on.
#[test]
fn workers_that_are_silent_are_not_chosen() {
    if !may("workers_that_are_silent_are_not_chosen") {
        return;
    }
    let mut scene = Scene::new(2, &["--listen=[::1]:0"]);
    let addresses = scene.herald.addresses();
    scene.herald.pause();
    thread::sleep(Duration::from_millis(600));
    let connections: Vec<_> = addresses
        .iter()
        .flat_map(|address| (0..10).map(|_| connect(*address, None).unwrap()))
        .collect();
    scene.herald.resume();
    wait::until("all to be accepted", || {
        (scene.open().iter().sum::<u64>() == 20).then_some(())
    });
    assert!(scene.decided(Counter::ChosenByHash) >= 20);
    assert_eq!(scene.decided(Counter::Chosen), 0);
    drop(connections);
    wait::until("the workers to be chosen again", || {
        connect(addresses[0], None).unwrap();
        (scene.decided(Counter::Chosen) > 0).then_some(())
    });
}

#[test]
fn nothing_stays_when_the_process_is_gone() {
    if !may("nothing_stays_when_the_process_is_gone") {
        return;
    }
    for signal in ["-KILL", "-TERM"] {
        let mut scene = Scene::new(2, &["--refuse-rate=1000"]);
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
            drop(Scene::new(2, &[]));
        }
        assert!(!folder.exists(), "{} stays", folder.display());
    }
}

/// A congestion control that went after Herald's start: the connection keeps the kernel's, and the other settings are made.
#[test]
fn a_setting_that_the_kernel_does_not_take_is_counted() {
    if !may("a_setting_that_the_kernel_does_not_take_is_counted") {
        return;
    }
    let mut congestion = [0; 16];
    congestion[..6].copy_from_slice(b"nosuch");
    let counted = Counted::with(SocketMark {
        profile: TcpProfile {
            congestion,
            notsent_lowat: 4096,
            initial_window: 0,
        },
        ..SocketMark::default()
    });
    let herald = &counted.herald;
    let mut client = Client::connect(herald.address(), &Settings::default().build()).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
    assert_eq!(counted.programs.count(Counter::ClientEstablished), 1);
    assert_eq!(counted.programs.count(Counter::ProfileRefused), 1);
    let default = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
    let peer = client.stream().sock.local_addr().unwrap();
    expect_profile(herald, peer, (default.trim(), 4096));
}

/// What the choice adds to the workers' own words is exact, however connections end: by FIN, by RST, and before anybody
/// has accepted them.
#[test]
fn the_kernel_counts_the_connections_that_are_open() {
    if !may("the_kernel_counts_the_connections_that_are_open") {
        return;
    }
    let mut counted = Counted::by(3);
    let address = counted.herald.address();
    let mut open: Vec<_> = (0..CONNECTIONS)
        .map(|_| connect(address, None).unwrap())
        .collect();
    counted.awaits(CONNECTIONS);
    open.iter().step_by(2).for_each(reset);
    open.truncate(20);
    counted.awaits(20);
    drop(open);
    counted.awaits(0);
    counted.herald.pause();
    let waiting: Vec<_> = (0..10).map(|_| connect(address, None).unwrap()).collect();
    counted.awaits(10);
    waiting.iter().for_each(reset);
    drop(waiting);
    counted.awaits(0);
    counted.herald.resume();
}

const CONNECTIONS: u64 = 60;
