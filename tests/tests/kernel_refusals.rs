//! What keeps connections out of the kernel, wholly or in part, and that nothing is lost for it: a module, a cipher or a pipe
//! that is not there, a socket that takes no keys, a splice that is refused. Natively userspace does the same.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use aya::maps::{Map, MapData, SockMap};
use herald_tests::bulk::{
    LARGE, Part, by_length, client, expect_body, expect_sealed, good, held, is_before_splice,
    proxy_end, request, sealed, told, watched, watched_before, world,
};
use herald_tests::gate;
use herald_tests::herald::{Herald, Launch};
use herald_tests::records::Folder;
use herald_tests::wait;
use herald_tests::world::World;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use rustls::CipherSuite;

/// Where nobody asked for kernel TLS nothing is loaded for it: one line says that it was not found, and no warning. Who
/// asks for it by name gets the kernel to look for the module, and is warned.
#[test]
fn without_the_module_userspace_serves_and_says_so() {
    if !gate::guest("without_the_module_userspace_serves_and_says_so") {
        return;
    }
    module("rmmod", "tls");
    let folder = Folder::default();
    let asked = folder.path("asked");
    let script = format!("#!/bin/sh\necho $* >>{}\nexit 1\n", asked.display());
    let loader = folder.path("modprobe");
    fs::write(&loader, script).unwrap();
    fs::set_permissions(&loader, Permissions::from_mode(0o755)).unwrap();
    fs::write("/proc/sys/kernel/modprobe", loader.to_str().unwrap()).unwrap();

    let unasked = World::around(by_length(), "required", |launch: Launch| {
        launch.args(["--log-level", "debug"])
    });
    let log = unasked.herald.log();
    let about = || log.lines().filter(|line| line.contains("ernel TLS"));
    assert_eq!(about().count(), 1, "{log}");
    let why = match is_before_splice() {
        true => "splice needs a kernel of 6.5",
        false => "`modprobe tls`",
    };
    for part in ["INFO", "Kernel TLS is off", why] {
        assert!(about().all(|line| line.contains(part)), "{log}");
    }
    expect_body(&mut client(&unasked.herald), LARGE);
    let wanted = || fs::read_to_string(&asked).unwrap_or_default();
    assert!(!wanted().contains("tls"), "{}", wanted());

    let world = world("splice", &[]);
    let told = told(&world.herald);
    expect_body(&mut client(&world.herald), LARGE);
    assert_eq!(sealed(), 0);
    assert!(wanted().contains("tcp-ulp-tls"), "{}", wanted());
    module("insmod", "tls");
    for part in ["Kernel TLS is off", "is the module `tls` loaded?", "WARN"] {
        assert!(told.contains(part), "{told}");
    }
    expect_body(&mut client(&world.herald), LARGE);
    assert_eq!(sealed(), 0, "found at the start, or not at all");
}

/// What a splice is refused: to write into what is open for appending (`do_splice` in the kernel's fs/splice.c), which
/// `write` to a socket does not look at. The pipe holds bytes by then; they are taken back, and the rest is copied.
#[test]
fn a_splice_that_is_refused_within_a_body_is_followed_by_copying() {
    for stuck in [false, true] {
        let (origin, go) = held();
        let (folder, world) = watched_before(origin, "splice");
        let spliced = || folder.metric("herald_ktls_spliced_bytes_total");
        let before = sealed();
        let mut client = client(&world.herald);
        expect_body(&mut client, LARGE);
        let end = proxy_end(&world.herald, &client.stream().sock);
        let target = if stuck { "/4194304" } else { "/held/4194304" };
        if stuck {
            set_socket_recv_buffer_size(&client.stream().sock, 64 << 10).unwrap();
            set_socket_send_buffer_size(&end, 64 << 10).unwrap();
        }
        request(&mut client, target);
        let part = Part::of(&mut client, 1_000_000);
        if stuck {
            // All buffers fill, and the pipe is left half emptied.
            settle(&spliced);
        }
        let flags = fcntl_getfl(&end).unwrap();
        fcntl_setfl(&end, flags | OFlags::APPEND).unwrap();
        if !stuck {
            go.send(()).unwrap();
        }
        part.finish(&mut client, 4 << 20);
        let in_kernel = gate::is_guest() && !is_before_splice();
        let given_up = folder.metric("herald_ktls_unspliced_total");
        assert_eq!(given_up, u64::from(in_kernel), "{stuck}");
        let moved = spliced();
        assert_eq!(moved > LARGE as u64, in_kernel, "{stuck}: {moved}");
        assert!(moved < (LARGE + (3 << 20)) as u64, "{stuck}: {moved}");
        // For good, also when it could be had again; and other connections have it.
        fcntl_setfl(&end, flags).unwrap();
        expect_body(&mut client, LARGE);
        assert_eq!(spliced(), moved, "{stuck}");
        expect_sealed(before, 1, "it is still sealed by the kernel");
        expect_body(&mut self::client(&world.herald), LARGE);
        assert_eq!(spliced() > moved, in_kernel, "{stuck}");
    }
}

/// Where no pipe can be had the body is copied: here because the process may open nothing more.
#[test]
fn without_a_pipe_bodies_are_copied() {
    let (folder, world) = watched("splice");
    let before = sealed();
    let mut client = client(&world.herald);
    expect_body(&mut client, 1);
    let pid = Pid::from_raw(i32::try_from(world.herald.pid()).unwrap());
    let none = Rlimit {
        current: Some(0),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let usual = prlimit(pid, Resource::Nofile, none).unwrap();
    expect_body(&mut client, LARGE);
    prlimit(pid, Resource::Nofile, usual).unwrap();
    expect_body(&mut client, LARGE);
    expect_sealed(before, 1, "sealed by the kernel all the same");
    assert_eq!(folder.metric("herald_ktls_spliced_bytes_total"), 0);
    let in_kernel = gate::is_guest() && !is_before_splice();
    let given_up = folder.metric("herald_ktls_unspliced_total");
    assert_eq!(given_up, u64::from(in_kernel));
}

/// Waits until a number stands still.
fn settle(number: &impl Fn() -> u64) {
    let mut last = u64::MAX;
    wait::until("a number to stand still", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = number();
        let is_still = now == last;
        last = now;
        is_still.then_some(())
    });
}

/// A socket in a sockmap takes no keys (CVE-2026-93824): the connection stays in userspace, and that is counted each
/// time and said once.
#[test]
fn a_socket_in_a_sockmap_is_served_from_userspace() {
    if !gate::guest("a_socket_in_a_sockmap_is_served_from_userspace") {
        return;
    }
    let (folder, world) = watched("splice");
    let object = aya_obj::Map::new_from_params(SOCKMAP, 4, 4, 2, 0);
    let data = MapData::create(object, "tests", None).unwrap();
    let mut map = SockMap::try_from(Map::SockMap(data)).unwrap();
    let before = sealed();
    for index in 0..2 {
        let mut client = client(&world.herald);
        let end = proxy_end(&world.herald, &client.stream().sock);
        map.set(index, &end, 0).unwrap();
        drop(end);
        expect_body(&mut client, LARGE);
        expect_body(&mut client, LARGE);
    }
    expect_sealed(before, 0, "in a sockmap");
    expect_refused(&folder, &world.herald, "keys_refused", 2);
    expect_body(&mut client(&world.herald), LARGE);
    expect_sealed(before, 1, "in none");
}

/// Without one of the ciphers its connections stay in userspace and the others do not, whether it was missing at the
/// start or went later.
#[test]
fn without_a_cipher_its_connections_are_served_from_userspace() {
    if !gate::guest("without_a_cipher_its_connections_are_served_from_userspace") {
        return;
    }
    let chacha20 = good().suite(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    let (folder, world) = watched("tx");
    module("rmmod", "chacha20poly1305");
    let before = sealed();
    for _ in 0..2 {
        expect_body(
            &mut chacha20.connect(world.herald.address()).unwrap(),
            LARGE,
        );
    }
    expect_sealed(before, 0, "it went later");
    expect_refused(&folder, &world.herald, "keys_refused", 2);
    let (folder, world) = watched("tx");
    assert!(!told(&world.herald).contains("ChaCha20"));
    let before = sealed();
    for _ in 0..2 {
        expect_body(
            &mut chacha20.connect(world.herald.address()).unwrap(),
            LARGE,
        );
    }
    expect_sealed(before, 0, "it never was");
    expect_refused(&folder, &world.herald, "cipher_missing", 2);
    expect_body(&mut client(&world.herald), LARGE);
    expect_sealed(before, 1, "another cipher");
    module("insmod", "chacha20poly1305");
}

/// A client that updates its keys first leaves an answer of rustls behind that the kernel could not go on from.
#[test]
fn a_refusal_is_counted_each_time_and_said_once() {
    let (folder, world) = watched("tx");
    for _ in 0..3 {
        let mut client = client(&world.herald);
        client.stream().conn.refresh_traffic_keys().unwrap();
        expect_body(&mut client, LARGE);
    }
    if gate::is_guest() {
        expect_refused(&folder, &world.herald, "keys_changed", 3);
    }
}

fn expect_refused(folder: &Folder, herald: &Herald, reason: &str, number: u64) {
    let series = format!("herald_ktls_refusals_total{{reason=\"{reason}\"}}");
    assert_eq!(folder.metric(&series), number, "{reason}");
    // The count may be here before the line is.
    let log = wait::until("the line about it", || {
        let log = herald.log();
        log.contains("kernel TLS refused").then_some(log)
    });
    assert_eq!(log.matches("kernel TLS refused").count(), 1, "{log}");
    assert!(log.contains(reason), "{log}");
}

/// `rmmod` or `insmod` of a module that the guest has loaded at its start.
fn module(tool: &str, name: &str) {
    let file = fs::read_dir("/modules")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(&format!("-{name}.ko")))
        .unwrap();
    let argument = if tool == "insmod" {
        file.as_os_str()
    } else {
        name.as_ref()
    };
    let status = Command::new(tool).arg(argument).status().unwrap();
    assert!(status.success(), "{tool} {name}");
}

/// The type of a sockmap (linux/bpf.h).
const SOCKMAP: u32 = 15;
