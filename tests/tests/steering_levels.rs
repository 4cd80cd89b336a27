//! Which of the kernel programs are had with which capabilities, what is told of the others, and what is left of the
//! capabilities once they are loaded.

use std::fs;

use herald_tests::bulk::socket_to;
use herald_tests::client::{Client, Settings};
use herald_tests::gate;
use herald_tests::herald::Launch;
use herald_tests::kernel;
use herald_tests::netns;
use herald_tests::origin::Origin;
use herald_tests::pki::{Key, Pki};
use herald_tests::programs::Programs;
use herald_tests::records::Folder;
use herald_tests::steering::{EXEC, connect, decided, dial, may, standing};
use proxy_common::Counter;
use socket2::SockRef;

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
    let folder = Folder::default();
    let herald = folder.launch(none.clone()).start();
    let log = herald.log();
    assert_eq!(log.matches("missing: ").count(), 2, "{log}");
    assert!(log.contains("needs CAP_BPF"), "{log}");
    for name in ["sk_reuseport", "sockops"] {
        let (is_active, told) = standing(&folder, name);
        assert!(!is_active && told.contains("needs CAP_BPF"), "{told}");
    }
    let checked = check(["capsh", without, "--", "-c", EXEC]);
    assert_eq!(checked.matches("needs CAP_BPF").count(), 2, "{checked}");
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
    let checked = check(["capsh", bpf_alone, "--", "-c", EXEC]);
    assert_eq!(checked.matches("missing: ").count(), 1, "{checked}");
    assert!(standing(&folder, "sk_reuseport").0 && !standing(&folder, "sockops").0);
    for _ in 0..10 {
        connect(herald.address(), None).unwrap();
    }
    assert!(decided(&folder, Counter::Chosen) >= 10);
}

/// The programs but sk_lookup: a network namespace has places for 64 of its kind, and here all are taken.
#[test]
fn without_a_place_for_sk_lookup_the_other_programs_serve() {
    if !may("without_a_place_for_sk_lookup_the_other_programs_serve") {
        return;
    }
    netns::within(|| {
        let mut others = Programs::load(1);
        let taken = (0..).take_while(|_| others.look_up().is_ok()).count();
        assert_eq!(taken, 64);
        let origin = Origin::echo();
        let folder = Folder::default();
        let launch = Launch::new("optional", origin.address()).workers(2).args([
            "--refuse-rate=1",
            "--steer=127.7.7.7:8000=127.0.0.1:0",
            "--tcp-profile=notsent_lowat=16KiB",
        ]);
        let herald = folder.launch(launch.clone()).start();
        for (name, reason) in [
            ("sk_lookup", "Argument list too long"),
            ("refuse_rate", "sk_lookup is missing, and it refuses"),
        ] {
            let (is_active, told) = standing(&folder, name);
            assert!(!is_active && told.contains(reason), "{name}: {told}");
            let log = herald.log();
            let mut lines = log.lines();
            let warned = lines.any(|line| line.contains("WARN") && line.contains(reason));
            assert!(warned, "{reason} is not in\n{log}");
        }
        for name in ["sk_reuseport", "sockops", "tcp_profile"] {
            assert!(standing(&folder, name).0, "{name}");
        }
        let config = Settings::default().build();
        for _ in 0..10 {
            let mut client = Client::connect(herald.address(), &config).unwrap();
            assert_eq!(client.get("/").unwrap().status, 200);
            let peer = client.stream().sock.local_addr().unwrap();
            let socket = socket_to(&herald, peer);
            assert_eq!(SockRef::from(&socket).tcp_notsent_lowat().unwrap(), 16_384);
        }
        assert!(decided(&folder, Counter::Chosen) >= 10);
        assert_eq!(decided(&folder, Counter::ClientEstablished), 10);
        dial("127.7.7.7:8000").unwrap_err();
        let (status, log) = launch.args(["--ebpf=require"]).try_start().unwrap_err();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("sk_lookup is missing"), "{log}");
    });
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
        .args(["--refuse-rate=1000"])
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
    has_no_capability(herald.pid());
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

/// What `herald check` says of the same configuration.
fn check(wrapper: [&str; 5]) -> String {
    let (certificate, key) = Pki::shared().server(Key::Ec);
    let launch = Launch::bare(["check", "--workers=2", "--client-auth=off"])
        .args(["--listen=127.0.0.1:0", "--upstream=http://127.0.0.1:9"])
        .args(["--cert".as_ref(), certificate.as_os_str()])
        .args(["--key".as_ref(), key.as_os_str()]);
    let output = launch.under(wrapper).command().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What was of use at the start is given up, by every thread, and no program that it might run gets it back: for want of
/// CAP_SETPCAP the bounding set stays.
fn has_no_capability(pid: u32) {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut count = 0;
    for thread in threads.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let empty = format!("{set}:\t0000000000000000\n");
            assert!(status.contains(&empty), "{status}");
        }
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        count += 1;
    }
    assert!(count >= 3, "{count} threads: main and two workers");
}
