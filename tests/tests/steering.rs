//! The kernel programs through the binary: who gets a connection, and that nothing of them stays. Counters of decisions
//! prove that it was the program that decided.

use std::thread;
use std::time::Duration;

use herald_tests::kernel;
use herald_tests::steering::{Scene, connect, may, status};
use herald_tests::wait;
use proxy_common::Counter;

#[test]
fn each_connection_goes_to_the_least_busy_worker() {
    if !may("each_connection_goes_to_the_least_busy_worker") {
        return;
    }
    let scene = Scene::new(2, &["--listen", "[::1]:0"]);
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
        assert!(scene.decided(Counter::Chosen) >= round * CONNECTIONS);
        assert_eq!(
            scene.decided(Counter::ClientEstablished),
            round * CONNECTIONS
        );
        assert_eq!(scene.decided(Counter::ChosenByHash), 0);
        let shown = &status(&scene.folder)["kernel"]["client_established"];
        assert_eq!(*shown, round * CONNECTIONS);
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
    assert_eq!(scene.decided(Counter::ChosenByHash), 20);
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

const CONNECTIONS: u64 = 60;
