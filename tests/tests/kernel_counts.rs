//! What passing bodies on costs, counted in the guests of `cargo xtask vm` and `cargo xtask bench ktls`: system calls, bytes
//! that cross into userspace, instructions.

use std::fs;

use herald_tests::bulk::{HEAD_READ_MAX, LARGE, by_length, client, expect_body, good, told, world};
use herald_tests::client::Client;
use herald_tests::gate;
use herald_tests::herald::{Herald, Launch};
use herald_tests::world::World;

/// What it costs to pass a body on, as `strace` would count it: system calls of the proxy's threads and the bytes that
/// these read and wrote in userspace. With splice that is at most the first read of each body.
#[test]
fn a_spliced_body_does_not_enter_userspace() {
    if !gate::guest("a_spliced_body_does_not_enter_userspace") {
        return;
    }
    const LENGTH: usize = 4 << 20;
    for level in ["off", "tx", "splice"] {
        let world = world(level, &[]);
        let mut client = client(&world.herald);
        expect_body(&mut client, LARGE);
        let crossed = crossings(world.herald.pid(), || expect_body(&mut client, LENGTH));
        let each = |number: u64| number / (LENGTH as u64 >> 20);
        println!(
            "COUNT a MiB of body, {}: {} system calls; {} bytes read, {} written, {} spliced twice",
            effective(&world.herald),
            each(crossed.calls),
            each(crossed.read),
            each(crossed.written),
            each(crossed.spliced) / 2,
        );
        let body = LENGTH as u64;
        if effective(&world.herald) == "splice" {
            assert!(crossed.read <= HEAD_READ_MAX, "{} read", crossed.read);
            assert!(crossed.written <= HEAD_READ_MAX, "{}", crossed.written);
            assert!(crossed.spliced >= 2 * (body - HEAD_READ_MAX));
        } else {
            assert!(crossed.read >= body && crossed.written >= body);
            assert_eq!(crossed.spliced, 0);
        }
    }
}

/// What a process's threads did between two moments.
#[derive(Debug, Default)]
struct Crossings {
    calls: u64,
    read: u64,
    written: u64,
    /// Into the pipe and out of it.
    spliced: u64,
}

/// Runs `during` while the kernel traces the ends of the system calls of process `pid`.
fn crossings(pid: u32, during: impl FnOnce()) -> Crossings {
    let tracing = |file: &str| format!("/sys/kernel/tracing/{file}");
    let set = |file: &str, text: &str| fs::write(tracing(file), text).unwrap();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let tasks: Vec<_> = tasks
        .map(|task| task.unwrap().file_name().into_string().unwrap())
        .collect();
    set("buffer_size_kb", "8192");
    set("set_event_pid", &tasks.join(" "));
    set("trace", "");
    set("events/raw_syscalls/sys_exit/enable", "1");
    during();
    set("events/raw_syscalls/sys_exit/enable", "0");
    let mut crossings = Crossings::default();
    for line in fs::read_to_string(tracing("trace")).unwrap().lines() {
        let Some((_, rest)) = line.split_once("sys_exit: NR ") else {
            continue;
        };
        let (number, result) = rest.split_once(" = ").unwrap();
        let result = result.trim().parse::<i64>().unwrap_or(0).max(0);
        let bytes = u64::try_from(result).unwrap();
        crossings.calls += 1;
        match number {
            // read, readv, recvfrom, recvmsg (arch/x86/entry/syscalls/syscall_64.tbl).
            "0" | "19" | "45" | "47" => crossings.read += bytes,
            // write, writev, sendto, sendmsg.
            "1" | "20" | "44" | "46" => crossings.written += bytes,
            "275" => crossings.spliced += bytes,
            _ => {}
        }
    }
    crossings
}

/// One virtual CPU whose nanosecond is one instruction: what the scheduler says of the proxy's
/// threads is the number of instructions they ran.
#[test]
fn instructions_for_each_level() {
    if !gate::counting("instructions_for_each_level") {
        return;
    }
    for counted in COUNTED {
        for level in ["off", "tx", "splice"] {
            let world = World::around(by_length(), "required", |launch: Launch| {
                launch.args(["--ktls", level])
            });
            let each = counted.instructions(&world.herald);
            println!("COUNT {} {} {each}", effective(&world.herald), counted.name);
        }
    }
}

/// What is counted: some bodies one after the other, again and again. The table's rows are in xtask/src/vm/counts.rs.
struct Counted {
    name: &'static str,
    /// A body that comes before the counting, on the same connection.
    first: Option<usize>,
    bodies: &'static [usize],
    rounds: u64,
    /// A new connection each round, its handshake included.
    connects: bool,
}

impl Counted {
    const fn on_one(name: &'static str, bodies: &'static [usize], rounds: u64) -> Self {
        Self {
            name,
            first: None,
            bodies,
            rounds,
            connects: false,
        }
    }

    const fn behind_a_large_one(self) -> Self {
        Self {
            first: Some(1 << 20),
            ..self
        }
    }

    const fn on_a_new_connection_each(self) -> Self {
        Self {
            connects: true,
            ..self
        }
    }

    fn instructions(&self, herald: &Herald) -> u64 {
        let settings = good().build();
        let connect = || Client::connect(herald.address(), &settings).unwrap();
        let round = |client: &mut Client| {
            for length in self.bodies {
                expect_length(client, *length);
            }
        };
        let mut client = connect();
        if let Some(first) = self.first {
            expect_length(&mut client, first);
        }
        // The first connection to the origin and, where there is one, the hand-over are not a request's.
        round(&mut client);
        let before = cpu_nanoseconds(herald.pid());
        for _ in 0..self.rounds {
            if self.connects {
                client = connect();
            }
            round(&mut client);
        }
        (cpu_nanoseconds(herald.pid()) - before) / self.rounds
    }
}

const COUNTED: [Counted; 10] = [
    Counted::on_one("1KiB", &[1 << 10], 200),
    Counted::on_one("1KiB-behind", &[1 << 10], 200).behind_a_large_one(),
    Counted::on_one("64KiB", &[1 << 16], 60),
    Counted::on_one("64KiB-behind", &[1 << 16], 60).behind_a_large_one(),
    Counted::on_one("mixed", &MIXED, 4),
    Counted::on_one("128KiB", &[1 << 17], 60),
    Counted::on_one("128KiB-new", &[1 << 17], 16).on_a_new_connection_each(),
    Counted::on_one("1MiB-new", &[1 << 20], 8).on_a_new_connection_each(),
    Counted::on_one("1MiB", &[1 << 20], 16),
    Counted::on_one("64MiB", &[1 << 26], 1),
];
/// 1 MiB, and then 32 times 1 KiB.
const MIXED: [usize; 33] = {
    let mut bodies = [1 << 10; 33];
    bodies[0] = 1 << 20;
    bodies
};

fn expect_length(client: &mut Client, length: usize) {
    let answer = client.get(&format!("/zero/{length}")).unwrap();
    assert_eq!(answer.body.length, length as u64);
}

/// The level in force: a kernel may not have the one that was asked for.
fn effective(herald: &Herald) -> String {
    let told = told(herald);
    let (_, rest) = told.split_once("Kernel TLS is ").unwrap();
    rest.split([' ', '.']).next().unwrap().to_owned()
}

fn cpu_nanoseconds(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .map(|task| {
            let path = task.unwrap().path().join("schedstat");
            let text = fs::read_to_string(path).unwrap();
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        })
        .sum()
}
