//! A network namespace of a test's own: its addresses and ports are nobody else's.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Runs `test` in a new network namespace whose loopback is up. What it starts is in there too.
pub fn within<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    // A thread of its own: a namespace is a thread's, and tests may share theirs.
    let thread = thread::spawn(|| {
        enter();
        ip(&["link", "set", "lo", "up"]);
        test()
    });
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Gives this host another address.
pub fn address(address: &str) {
    ip(&["address", "add", address, "dev", "lo"]);
}

/// unshare(2) is not safe to call from here: a child makes the namespace and holds it open.
fn enter() {
    let mut child = Command::new("unshare")
        .args(["-n", "sh", "-c", "echo; read end"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut made = [0];
    let mut said = child.stdout.take().unwrap();
    said.read_exact(&mut made).unwrap();
    let namespace = File::open(format!("/proc/{}/ns/net", child.id())).unwrap();
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {arguments:?}");
}
