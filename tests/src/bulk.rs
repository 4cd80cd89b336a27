//! Large bodies and what a kernel says of them: origins that answer with as many bytes as asked for, bytes that tell
//! their place, the counters of kernel TLS, and the proxy's own end of a client's connection.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::socket_acceptconn;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::client::{Client, Settings};
use crate::gate;
use crate::herald::{Herald, Launch};
use crate::origin::{Next, Origin, Request};
use crate::pki::Pki;
use crate::records::Folder;
use crate::wait;
use crate::wire::sha256;
use crate::world::World;

/// A body that no pipe and no socket buffer holds whole.
pub const LARGE: usize = 1_000_003;

/// The most that a head is read with: the first bytes of its body come along (see `upstream/limits.rs`).
pub const HEAD_READ_MAX: u64 = 16 * 1024 + 1024;

/// A world whose kernel TLS is at `level` if the kernel has it, with `more` arguments.
pub fn world(level: &str, more: &[&str]) -> World {
    World::around(by_length(), "required", |launch: Launch| {
        launch
            .args(["--ktls", level, "--log-level", "debug"])
            .args(more.iter().copied())
    })
}

/// The same with metrics that can be asked for.
pub fn watched(level: &str) -> (Folder, World) {
    watched_before(by_length(), level)
}

/// The same before another origin.
pub fn watched_before(origin: Origin, level: &str) -> (Folder, World) {
    let folder = Folder::default();
    let world = World::around(origin, "required", |launch: Launch| {
        folder.launch(launch).args(["--ktls", level])
    });
    (folder, world)
}

/// A client with a good certificate.
pub fn good() -> Settings {
    Settings::new(Some(&Pki::shared().good()))
}

/// An HTTP/1.1 connection with a good certificate.
pub fn client(herald: &Herald) -> Client {
    good().connect(herald.address()).unwrap()
}

/// Sends `GET target` and does not wait.
pub fn request(client: &mut Client, target: &str) {
    client
        .send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
        .unwrap();
}

/// Asks for a body and checks each byte of it.
pub fn expect_body(client: &mut Client, length: usize) {
    let answer = client.get(&format!("/{length}")).unwrap();
    assert_eq!(answer.body.sha256, digest(length), "{length}");
}

/// The line in which Herald says what the kernel does.
pub fn told(herald: &Herald) -> String {
    let log = herald.log();
    let line = log.lines().find(|line| line.contains("Kernel TLS is"));
    line.unwrap_or_else(|| panic!("nothing said:\n{log}"))
        .to_owned()
}

/// Descriptors once their number stands still.
pub fn settled(herald: &Herald) -> usize {
    let mut last = usize::MAX;
    wait::until("descriptors to settle", || {
        thread::sleep(Duration::from_millis(300));
        let now = herald.descriptors();
        let is_settled = now == last;
        last = now;
        is_settled.then_some(now)
    })
}

/// Connections whose sending half this guest's kernel has taken over so far, in the thread's network namespace
/// (Documentation/networking/tls.rst).
pub fn sealed() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/tls_stat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("TlsTxSw"));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

/// In a guest the kernel has taken over exactly so many connections; elsewhere none.
pub fn expect_sealed(before: u64, number: u64, what: &str) {
    let expected = if gate::is_guest() { number } else { 0 };
    assert_eq!(sealed() - before, expected, "{what}");
}

/// The guest's kernel is older than 6.5, where bodies are not moved.
pub fn is_before_splice() -> bool {
    release() < (6, 5)
}

/// The kernel takes a second key, or userspace does everything.
pub fn can_rekey() -> bool {
    !gate::is_guest() || release() >= (6, 14)
}

fn release() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Answers `GET /N` with N bytes, `/zero/N` with N zeros, `/die` with less than it declared, `/late/N` after a while.
pub fn by_length() -> Origin {
    Origin::scripted(|request: &Request, stream| answer(&request.target, stream))
}

/// As [`by_length`]; in addition half of the body of `GET /held/N` waits for a word.
pub fn held() -> (Origin, Sender<()>) {
    let (go, word) = mpsc::channel();
    let word = Mutex::new(word);
    let origin = Origin::scripted(move |request: &Request, stream| {
        let Some(length) = request.target.strip_prefix("/held/") else {
            return answer(&request.target, stream);
        };
        let body = bytes(length.parse().unwrap());
        let (first, rest) = body.split_at(body.len() / 2);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), first].concat())?;
        word.lock().unwrap().recv().map_err(io::Error::other)?;
        stream.write_all(rest)?;
        Ok(Next::Keep)
    });
    (origin, go)
}

/// Part of an answer that is read by hand, over HTTP/1.1.
#[derive(Debug, Default)]
pub struct Part(Vec<u8>);

impl Part {
    /// Reads exactly `count` bytes of the answer, with its head.
    pub fn of(client: &mut Client, count: usize) -> Self {
        let mut got = vec![0; count];
        client.stream().read_exact(&mut got).unwrap();
        Self(got)
    }

    /// Reads the rest of an answer whose body has `length` bytes, and checks each of them.
    pub fn finish(mut self, client: &mut Client, length: usize) {
        let got = &mut self.0;
        let head = loop {
            match got.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => {
                    let mut byte = [0];
                    client.stream().read_exact(&mut byte).unwrap();
                    got.extend(byte);
                }
            }
        };
        let had = got.len();
        got.resize(head + length, 0);
        client.stream().read_exact(&mut got[had..]).unwrap();
        assert_eq!(sha256(&got[head..]), digest(length), "{length}");
    }
}

/// The same over a Unix socket. Its thread ends with the process.
pub fn by_length_unix(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut writer = stream.try_clone()?;
                let mut lines = BufReader::new(stream).lines();
                while let Some(line) = lines.next() {
                    let line = line?;
                    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
                    while lines
                        .next()
                        .transpose()?
                        .is_some_and(|line| !line.is_empty())
                    {}
                    if answer(&target, &mut writer)? == Next::Close {
                        break;
                    }
                }
                io::Result::Ok(())
            });
        }
    });
}

/// Answers one request as [`by_length`] does.
///
/// # Errors
///
/// Those of the stream.
pub fn answer(target: &str, stream: &mut impl Write) -> io::Result<Next> {
    if target == "/die" {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n")?;
        stream.write_all(&bytes(1_500_000))?;
        return Ok(Next::Close);
    }
    if let Some(rest) = target.strip_prefix("/late") {
        thread::sleep(Duration::from_millis(400));
        return answer(rest, stream);
    }
    let (length, is_zero) = match target.strip_prefix("/zero/") {
        Some(length) => (length, true),
        None => (&target[1..], false),
    };
    let length = length.parse().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    if is_zero {
        io::copy(&mut io::repeat(0).take(length as u64), stream)?;
    } else {
        stream.write_all(&bytes(length))?;
    }
    Ok(Next::Keep)
}

/// Bytes that tell their place: a piece lost, doubled or moved changes the digest.
pub fn bytes(length: usize) -> Vec<u8> {
    const KEPT: usize = 4 << 20;
    static START: OnceLock<Vec<u8>> = OnceLock::new();
    let start = START.get_or_init(|| made(KEPT));
    if length <= KEPT {
        return start[..length].to_vec();
    }
    // Copies with their number in front: a guest takes long to make so many words.
    let mut bytes = start.repeat(length.div_ceil(KEPT));
    for (number, copy) in bytes.chunks_mut(KEPT).enumerate() {
        copy[..8].copy_from_slice(&number.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn made(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut word = 0_u64;
    while bytes.len() < length {
        word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bytes.extend((word ^ (word >> 29)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The SHA-256 of [`bytes()`], computed once a length.
pub fn digest(length: usize) -> String {
    static KNOWN: Mutex<BTreeMap<usize, String>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    let found = known.entry(length);
    found.or_insert_with(|| sha256(&bytes(length))).clone()
}

/// The proxy's own end of `client`'s connection, for what only an owner can do to a socket (pidfd_getfd(2)).
pub fn proxy_end(herald: &Herald, client: &TcpStream) -> OwnedFd {
    socket_to(herald, client.local_addr().unwrap())
}

/// A socket of the proxy's that is connected to `address`.
pub fn socket_to(herald: &Herald, address: SocketAddr) -> OwnedFd {
    socket_of(herald, |end| {
        let peer = rustix::net::getpeername(end).ok()??;
        Some(SocketAddr::try_from(peer).ok()? == address)
    })
}

/// The socket on which the proxy listens.
pub fn listener(herald: &Herald) -> OwnedFd {
    listener_at(herald, herald.address())
}

/// The socket on which it listens at one of its addresses.
pub fn listener_at(herald: &Herald, address: SocketAddr) -> OwnedFd {
    socket_of(herald, |end| {
        let name = rustix::net::getsockname(end).ok()?;
        let is_listening = socket_acceptconn(end).ok()?;
        Some(is_listening && SocketAddr::try_from(name).ok()? == address)
    })
}

fn socket_of(herald: &Herald, is_wanted: impl Fn(&OwnedFd) -> Option<bool>) -> OwnedFd {
    let pid = Pid::from_raw(i32::try_from(herald.pid()).unwrap()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    wait::until("the proxy's socket", || {
        let listed = fs::read_dir(format!("/proc/{}/fd", herald.pid())).unwrap();
        let numbers = listed.flatten().filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            target.to_str()?.starts_with("socket:").then_some(number)
        });
        let mut sockets = numbers.filter_map(|number| {
            let socket = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?;
            is_wanted(&socket)?.then_some(socket)
        });
        sockets.next()
    })
}
