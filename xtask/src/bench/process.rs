//! A process group of the bench: started on its cores, measured, and ended with us.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::command::{self, Failure};

/// The processes of a peer, the origin or a load.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) child: Child,
    leader: Pid,
}

impl Group {
    /// Starts a command of `pinned` in a group of its own.
    pub(super) fn start(mut command: Command) -> Result<Self, Failure> {
        command.process_group(0);
        let child = command.spawn().map_err(|error| {
            Failure::new(format!("{}: {error}", command.get_program().display()))
        })?;
        let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let leader = leader.ok_or_else(|| Failure::new("a process without an id"))?;
        Ok(Self { child, leader })
    }

    /// Processes that live in the group.
    pub(super) fn processes(&self) -> Vec<String> {
        let wanted = self.leader.as_raw_pid().to_string();
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            .filter(|name| group_of(name).is_some_and(|group| group == wanted))
            .collect()
    }

    /// CPU nanoseconds of all threads, by the scheduler's own clock (Documentation/scheduler/
    /// sched-stats.rst: the first word is time spent on the CPU).
    pub(super) fn cpu(&self) -> Result<u64, Failure> {
        let mut total = 0;
        for process in self.processes() {
            let tasks = format!("/proc/{process}/task");
            for task in fs::read_dir(&tasks).into_iter().flatten().flatten() {
                let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
                total += nanos.unwrap_or(0_u64);
            }
        }
        if total == 0 {
            return Err(Failure::new("a measured process is gone"));
        }
        Ok(total)
    }

    /// Proportional set size, KiB: shared pages count in part.
    pub(super) fn pss(&self) -> u64 {
        self.sum("smaps_rollup", "Pss:")
    }

    /// The most resident memory so far, KiB.
    pub(super) fn peak(&self) -> u64 {
        self.sum("status", "VmHWM:")
    }

    fn sum(&self, file: &str, field: &str) -> u64 {
        let value = |process: &String| {
            let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        self.processes().iter().filter_map(value).sum()
    }

    /// Waits until something listens; fails if the process ends before.
    pub(super) fn await_listener(&mut self, at: SocketAddr, log: &Path) -> Result<(), Failure> {
        let patience = Instant::now() + START_TIME_MAX;
        while TcpStream::connect(at).is_err() {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > patience {
                let said = fs::read_to_string(log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(3).collect();
                let state = match ended {
                    Some(status) => format!("ended ({status})"),
                    None => "does not listen".to_owned(),
                };
                return Err(Failure::new(format!("{state}: {}", last.join(" | "))));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group that is gone already takes no signal, and is awaited all the same.
        let mut told = kill_process_group(self.leader, Signal::TERM);
        let patience = Instant::now() + Duration::from_secs(2);
        while Instant::now() < patience {
            if matches!(self.child.try_wait(), Ok(Some(_))) && self.processes().is_empty() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        if told.is_ok() {
            told = kill_process_group(self.leader, Signal::KILL);
        }
        if let Err(problem) = told
            .map_err(std::io::Error::from)
            .and_then(|()| self.child.wait())
        {
            eprintln!(
                "xtask: process group {}: {problem}",
                self.leader.as_raw_pid()
            );
        }
    }
}

/// A command that runs `program` on `cores` and ends with us.
pub(super) fn pinned(program: &Path, cores: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    // Ten thousand clients with an origin connection each; HAProxy won't start with less than
    // its arithmetic asks for. Who may not raise the limit finds out in the `idle` scenario.
    let limit = ["--nofile=65536:65536"];
    if command::succeeds(Command::new("prlimit").args(limit).arg("true")) {
        command.arg("prlimit").args(limit);
    }
    if let Some(cores) = cores {
        command.args(["taskset", "-c", cores]);
    }
    command.arg(program).stdin(Stdio::null());
    command
}

/// Sends what a command says to a file.
pub(super) fn log_to(command: &mut Command, log: &Path) -> Result<(), Failure> {
    let file = fs::File::create(log)
        .and_then(|file| file.try_clone().map(|copy| (file, copy)))
        .map_err(|error| Failure::new(format!("{}: {error}", log.display())))?;
    command.stdout(file.0).stderr(file.1);
    Ok(())
}

/// A loopback address that nobody listens on now.
pub(super) fn free_address() -> Result<SocketAddr, Failure> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Failure::new(format!("no free port: {error}")))
}

/// The process group, fifth field of proc_pid_stat(5); the second may hold spaces.
fn group_of(process: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name
        .split_ascii_whitespace()
        .nth(2)
        .map(str::to_owned)
}

const START_TIME_MAX: Duration = Duration::from_secs(10);
