//! The kernel programs by themselves, on this kernel and on those of the guests of `cargo xtask vm`: nobody runs the workers
//! that they choose among, so that a test says how busy each is. IPv4 and IPv6.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use herald_tests::lookup::key;
use herald_tests::netns;
use herald_tests::programs::Programs;
use herald_tests::steering::may;
use herald_tests::wait;
use proxy_common::load::HEARTBEAT_EXPIRY_NS;
use proxy_common::{Counter, WorkerLoad};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

/// What the workers publish decides, each word of it, and for both of two listeners. One that has been silent for half a
/// second gets nothing while another lives; where none does, the kernel's hash chooses.
#[test]
fn the_least_busy_of_those_that_live_is_chosen() {
    if !may("the_least_busy_of_those_that_live_is_chosen") {
        return;
    }
    netns::within(|| {
        let services = ADDRESSES.map(Service::new);
        let mut programs = Programs::load(2);
        for (index, service) in (0..).zip(&services) {
            programs.balance(index, key(service.address), &service.listeners);
        }
        let open = |connections_open| WorkerLoad {
            connections_open,
            ..alive()
        };
        let shaking = WorkerLoad {
            handshakes_in_flight: 1,
            ..open(3)
        };
        let late = |nanoseconds| WorkerLoad {
            heartbeat_ns: now() - nanoseconds,
            busy_since_ns: now() - nanoseconds,
            ..WorkerLoad::default()
        };
        let silent = || WorkerLoad {
            heartbeat_ns: now() - HEARTBEAT_EXPIRY_NS - 1,
            ..WorkerLoad::default()
        };
        let mut chosen = 0;
        for (loads, least) in [
            ([open(10), open(3)], 1),
            ([open(10), open(11)], 0),
            ([open(10), shaking], 0),
            ([open(20), shaking], 1),
            ([late(20_000_000), open(99)], 1),
            ([open(9_000), silent()], 0),
            ([silent(), open(9_000)], 1),
            ([WorkerLoad::default(), open(9_000)], 1),
        ] {
            programs.publish(0, loads[0]);
            programs.publish(1, loads[1]);
            for service in &services {
                assert_eq!(service.met(), least, "{loads:?}, {}", service.address);
                chosen += 1;
            }
        }
        assert!(programs.count(Counter::Chosen) >= chosen);
        assert_eq!(programs.count(Counter::ChosenByHash), 0);
        programs.publish(0, silent());
        programs.publish(1, silent());
        for service in &services {
            service.met();
        }
        assert!(programs.count(Counter::ChosenByHash) >= 2);
    });
}

/// What a listener has in its queue when it closes is not reset: the program is asked once more (SELECT_OR_MIGRATE).
#[test]
fn what_waits_at_a_listener_that_closes_moves_on() {
    if !may("what_waits_at_a_listener_that_closes_moves_on") {
        return;
    }
    netns::within(|| {
        for address in ADDRESSES {
            let service = Service::new(address);
            let mut programs = Programs::load(2);
            programs.balance(0, key(service.address), &service.listeners);
            let busy = WorkerLoad {
                connections_open: 100,
                ..alive()
            };
            programs.publish(0, alive());
            programs.publish(1, busy);
            let mut clients: Vec<_> = (0..WAITING)
                .map(|_| TcpStream::connect(service.address).unwrap())
                .collect();
            let [first, second] = service.listeners;
            let nobody = second.accept().unwrap_err();
            assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
            programs.publish(0, WorkerLoad::default());
            drop(first);
            for (number, client) in (0..).zip(&mut clients) {
                client.write_all(&[number]).unwrap();
            }
            let mut told: Vec<_> = (0..WAITING).map(|_| read_one(&second)).collect();
            told.sort_unstable();
            let all: Vec<u8> = (0..WAITING).collect();
            assert_eq!(told, all, "{address}");
            assert_eq!(programs.count(Counter::Migrated), u64::from(WAITING));
        }
    });
}

/// An address on which each of two workers listens.
struct Service {
    listeners: [TcpListener; 2],
    address: SocketAddr,
}

impl Service {
    fn new(address: &str) -> Self {
        let address = address.parse().unwrap();
        let listeners = [listen(address), listen(address)];
        Self { listeners, address }
    }

    /// Connects; who got it.
    fn met(&self) -> usize {
        let _client = TcpStream::connect(self.address).unwrap();
        wait::until("the connection to come", || {
            let mut listeners = self.listeners.iter();
            listeners.position(|listener| listener.accept().is_ok())
        })
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(128).unwrap();
    socket.into()
}

fn read_one(listener: &TcpListener) -> u8 {
    let (mut stream, _) = wait::until("a connection", || listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    byte[0]
}

/// Idle, and fresh for as long as a slow guest may take: what comes from the future is.
fn alive() -> WorkerLoad {
    WorkerLoad {
        heartbeat_ns: now() + 10 * NANOS_PER_SECOND,
        ..WorkerLoad::default()
    }
}

/// The clock of `bpf_ktime_get_ns`.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap();
    part(now.tv_sec) * NANOS_PER_SECOND + part(now.tv_nsec)
}

/// A listener whose port the kernel has chosen has lost it by the time of a migration.
const ADDRESSES: [&str; 2] = ["127.0.0.1:8443", "[::1]:8443"];
const WAITING: u8 = 5;
const NANOS_PER_SECOND: u64 = 1_000_000_000;
