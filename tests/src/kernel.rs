//! What the kernel knows of a process: its capabilities, its control group, its eBPF programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The capability to load eBPF programs, and the one for those that touch the network (capability.h).
pub const CAP_BPF: u32 = 39;
/// See [`CAP_BPF`].
pub const CAP_NET_ADMIN: u32 = 12;

/// Whether this process has all of `capabilities`.
pub fn may(capabilities: &[u32]) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .unwrap();
    let effective = u64::from_str_radix(effective.trim(), 16).unwrap();
    capabilities.iter().all(|bit| effective >> bit & 1 == 1)
}

/// The ids of the eBPF programs that process `pid` holds.
pub fn programs_of(pid: u32) -> BTreeSet<u32> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_to_string(descriptor.path()).ok())
        .filter(|text| text.contains("prog_jited"))
        .filter_map(|text| {
            let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
            id?.trim().parse().ok()
        })
        .collect()
}

/// The ids of all eBPF programs of the system.
pub fn programs() -> BTreeSet<u32> {
    aya::programs::loaded_programs()
        .map(|program| program.unwrap().id())
        .collect()
}

/// The cgroup2 path of process `pid`.
pub fn cgroup_of(pid: u32) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"));
    path.unwrap().to_owned()
}

/// Where cgroup2 is mounted.
pub fn cgroup2() -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let mut lines = mounts.lines().map(|line| line.split(' '));
    let point = lines.find_map(|mut line| {
        let point = line.nth(1)?;
        (line.next() == Some("cgroup2")).then(|| Path::new(point).to_owned())
    });
    point.unwrap()
}
