//! What debug builds of the kernel programs tell: the objects of `cargo xtask ebpf build --debug`, given by
//! `--ebpf-objects`, through the binary, whose privileges are gone by then.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::{fs, thread};

use herald_tests::gate;
use herald_tests::herald::{Herald, Launch};
use herald_tests::netns;
use herald_tests::origin::Origin;
use herald_tests::steering::may;
use herald_tests::wait;

#[test]
fn each_decision_is_told_after_the_privileges_are_gone() {
    let test = "each_decision_is_told_after_the_privileges_are_gone";
    if !may(test) || !built(test) {
        return;
    }
    netns::within(|| {
        let origin = Origin::echo();
        let herald = launch(origin.address(), &objects())
            .args([
                "--listen=[::1]:0",
                "--steer=127.7.7.7:8000=127.0.0.1:0",
                "--steer=[::1]:8001=[::1]:0",
                "--refuse-rate=1",
                "--refuse-burst=5",
                "--log-level=debug",
            ])
            .start();
        let status = fs::read_to_string(format!("/proc/{}/status", herald.pid())).unwrap();
        assert!(status.contains("CapEff:\t0000000000000000\n"), "{status}");
        drop(TcpStream::connect("127.7.7.7:8000").unwrap());
        drop(TcpStream::connect("[::1]:8001").unwrap());
        let addresses = herald.addresses();
        for address in &addresses {
            for _ in 0..20 {
                drop(TcpStream::connect(address));
            }
        }
        // Whoever is the less busy: on a slow machine that may be the same one each time.
        shows_of_any(&herald, |worker| {
            format!("sk_reuseport: worker {worker}, the least cost: ")
        });
        shows(
            &herald,
            "sk_lookup: assigned, port 8000, source ::ffff:127.0.0.1",
        );
        shows(&herald, "sk_lookup: assigned, port 8001, source ::1");
        for (address, source) in addresses.iter().zip(["::ffff:127.0.0.1", "::1"]) {
            for what in ["established", "closed"] {
                shows_of_any(&herald, |worker| {
                    format!("sockops: {what}, role 1, worker {worker}, peer {source} ")
                });
            }
            let port = address.port();
            shows(
                &herald,
                &format!("sk_lookup: refused, port {port}, source {source}"),
            );
        }
    });
}

/// Some 3,000 connections in a moment are 9,000 lines.
#[test]
fn a_flood_of_decisions_is_no_flood_of_lines() {
    let test = "a_flood_of_decisions_is_no_flood_of_lines";
    if !may(test) || !built(test) {
        return;
    }
    let origin = Origin::echo();
    let herald = launch(origin.address(), &objects())
        .args(["--log-level=debug"])
        .start();
    let address = herald.address();
    let began = std::time::Instant::now();
    let clients = [0, 1].map(|_| {
        thread::spawn(move || {
            for _ in 0..1500 {
                drop(TcpStream::connect(address).unwrap());
            }
        })
    });
    for client in clients {
        client.join().unwrap();
    }
    shows(&herald, " lines left out");
    let pauses = began.elapsed().as_millis() / 100 + 2;
    let lines = herald.log().matches("ebpf: s").count();
    assert!(
        lines as u128 <= pauses * 100,
        "{lines} lines in {pauses} pauses"
    );
}

#[test]
fn the_built_in_objects_tell_nothing() {
    if !may("the_built_in_objects_tell_nothing") {
        return;
    }
    let origin = Origin::echo();
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/ebpf");
    let herald = launch(origin.address(), &built_in)
        .args(["--log-level=debug"])
        .start();
    drop(TcpStream::connect(herald.address()).unwrap());
    shows(&herald, "ebpf: chooses among 2 workers");
    assert!(
        !herald.log().contains("ebpf: sockops: "),
        "{}",
        herald.log()
    );
    assert!(!threads(&herald).contains(&"ebpf-log".to_owned()));
}

/// What is no object, one of another layout and one that is not there: each is told with its file's name.
#[test]
fn an_object_that_can_not_be_loaded_is_named() {
    if !may("an_object_that_can_not_be_loaded_is_named") {
        return;
    }
    let origin = Origin::echo();
    let folder = tempfile::tempdir().unwrap();
    // Tried last, after the one with all programs.
    let file = folder.path().join("balance.bpf.o");
    let launch = launch(origin.address(), folder.path());
    let refused = |reason: &str| {
        let (status, log) = launch.try_start().unwrap_err();
        assert_eq!(status.code(), Some(1), "{log}");
        let expected = format!("{}: {reason}", file.display());
        assert!(log.contains(&expected), "{expected} is not in\n{log}");
    };
    refused("No such file");
    fs::write(&file, "not an object").unwrap();
    refused("error parsing BPF object: error parsing ELF data");
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/ebpf/balance.bpf.o");
    let mut other = fs::read(ours).unwrap();
    while let Some(at) = other.windows(7).position(|bytes| bytes == b"LAYOUT_") {
        other[at] = b'K';
    }
    fs::write(&file, &other).unwrap();
    refused("error parsing BPF object: symbol with name LAYOUT_");
}

fn launch(origin: SocketAddr, objects: &Path) -> Launch {
    Launch::new("optional", origin).workers(2).args([
        "--ebpf=require".into(),
        "--ebpf-objects".into(),
        objects.as_os_str().to_owned(),
    ])
}

/// The log has the line of one of both workers.
fn shows_of_any(herald: &Herald, line: impl Fn(usize) -> String) {
    wait::until(&line(0), || {
        let log = herald.log();
        (0..2)
            .any(|worker| log.contains(&line(worker)))
            .then_some(())
    });
}

fn shows(herald: &Herald, text: &str) {
    wait::until(text, || herald.log().contains(text).then_some(()));
}

fn threads(herald: &Herald) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", herald.pid())).unwrap();
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks.flatten().filter_map(name);
    names.map(|name| name.trim().to_owned()).collect()
}

fn built(test: &str) -> bool {
    let tool = "what `cargo xtask ebpf build --debug` makes";
    gate::require(test, tool, objects().join("steering.bpf.o").exists())
}

/// Beside the folder for this test's own files.
fn objects() -> PathBuf {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR"));
    own.with_file_name("ebpf").join("debug")
}
