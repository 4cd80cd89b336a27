//! The machine: which cores are whose, how busy they were, and what it is.

use std::fs;
use std::process::Command;
use std::thread;

use crate::command::Failure;

/// Which cores the peer has, and which the generator and the origin.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// `taskset` lists; `None` if nothing is pinned.
    pub(super) peer_cores: Option<&'static str>,
    pub(super) load_cores: Option<&'static str>,
    /// Worker threads a peer gets.
    pub(super) workers: usize,
    pub(super) cores: usize,
    pub(super) processor: String,
    pub(super) kernel: String,
}

impl Machine {
    pub(super) fn look(all_cores: bool) -> Result<Self, Failure> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        if cores < 2 {
            return Err(Failure::new(
                "the bench needs two cores: one for the peer, one for generator and origin",
            ));
        }
        let processors = read("/proc/cpuinfo")?;
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, name)| name);
        Ok(Self {
            peer_cores: (!all_cores).then_some("0"),
            load_cores: (!all_cores).then_some("1"),
            workers: if all_cores { cores } else { 1 },
            cores,
            processor: processor.to_owned(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        })
    }

    /// Nanoseconds in which the cores we use did anything for anyone, or were taken by the
    /// hypervisor (proc_stat(5): all but idle and iowait; guest time is in user time already).
    pub(super) fn busy(&self) -> Result<u64, Failure> {
        let all = read("/proc/stat")?;
        let mut ticks = 0;
        for line in all.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(core) = words.next().and_then(|word| word.strip_prefix("cpu")) else {
                continue;
            };
            let ours = self.peer_cores.is_none() || core == "0" || core == "1";
            if core.is_empty() || !ours {
                continue;
            }
            let fields: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
            let [user, nice, system, _, _, irq, soft, steal, ..] = fields[..] else {
                return Err(Failure::new("/proc/stat is not as expected"));
            };
            ticks += user + nice + system + irq + soft + steal;
        }
        Ok(ticks * NANOS_PER_TICK)
    }
}

/// The time, as in 2026-11-24T09:30:00Z.
pub(super) fn now() -> Result<String, Failure> {
    let text = crate::command::read(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]))?;
    Ok(text.trim().to_owned())
}

pub(super) fn read(file: &str) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| Failure::new(format!("{file}: {error}")))
}

/// USER_HZ is 100 on every Linux that Herald runs on.
const NANOS_PER_TICK: u64 = 10_000_000;
