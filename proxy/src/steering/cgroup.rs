//! A control group of the process's own, to which sockops is attached: sockets belong to the group
//! in which they are made. In the root, or where others live, the process makes `herald-PID` and
//! enters it; it leaves and removes it at its end. Gives the group's folder; refuses where the
//! kernel has no cgroup2, or the folder can't be made or entered. Never gives the root.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why there is no group of our own.
#[derive(Debug, Error)]
pub(super) enum CgroupError {
    /// No cgroup2 file system that holds this process.
    #[error("no cgroup2 file system is mounted")]
    Missing,
    /// A file of it.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
}

/// The group that the process is alone in.
#[derive(Debug)]
pub(super) struct OwnCgroup {
    folder: PathBuf,
    /// Where to go back to, if the group was made here.
    home: Option<PathBuf>,
}

/// Where the process is, and whether it is alone there.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    is_own: bool,
}

impl Place {
    /// Looks, changes nothing.
    pub(super) fn find() -> Result<Self, CgroupError> {
        let mounts = read(Path::new("/proc/self/mountinfo"))?;
        let groups = read(Path::new("/proc/self/cgroup"))?;
        let (mount, path) = cgroup2(&mounts)
            .zip(membership(&groups))
            .ok_or(CgroupError::Missing)?;
        let is_root = path == "/";
        let folder = mount.join(path.trim_start_matches('/'));
        let own = std::process::id().to_string();
        let is_alone = read(&folder.join(PROCESSES))?
            .lines()
            .all(|line| line == own);
        Ok(Self {
            is_own: !is_root && is_alone,
            folder,
        })
    }

    /// The group that would be used.
    pub(super) fn wanted(&self) -> PathBuf {
        match self.is_own {
            true => self.folder.clone(),
            false => self.folder.join(format!("{PREFIX}{}", std::process::id())),
        }
    }

    /// Makes and enters the group, before any socket is made.
    pub(super) fn enter(self) -> Result<OwnCgroup, CgroupError> {
        let folder = self.wanted();
        if self.is_own {
            let home = None;
            return Ok(OwnCgroup { folder, home });
        }
        sweep(&self.folder);
        let at = |path: &Path, error| CgroupError::File {
            path: path.to_owned(),
            error,
        };
        match fs::create_dir(&folder) {
            // Of a process that was killed and had our number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(|error| at(&folder, error))?,
        }
        let group = OwnCgroup {
            folder,
            home: Some(self.folder),
        };
        let processes = group.folder.join(PROCESSES);
        fs::write(&processes, "0").map_err(|error| at(&processes, error))?;
        Ok(group)
    }
}

impl OwnCgroup {
    /// The folder, to attach to.
    pub(super) fn open(&self) -> Result<File, CgroupError> {
        File::open(&self.folder).map_err(|error| CgroupError::File {
            path: self.folder.clone(),
            error,
        })
    }

    /// Its path.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        let Some(home) = &self.home else { return };
        let left = fs::write(home.join(PROCESSES), "0").and_then(|()| fs::remove_dir(&self.folder));
        if let Err(error) = left {
            // The next start sweeps it away.
            tracing::debug!(folder = %self.folder.display(), %error, "the control group stays");
        }
    }
}

/// Removes groups that killed processes left. The kernel refuses while anybody is in one.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_ours = number.is_some_and(|number| number.parse::<u32>().is_ok());
        let is_running = || number.is_some_and(|number| Path::new("/proc").join(number).exists());
        if is_ours && !is_running() {
            drop(fs::remove_dir(entry.path()));
        }
    }
}

fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|error| CgroupError::File {
        path: path.to_owned(),
        error,
    })
}

/// The mount point of cgroup2. proc_pid_mountinfo(5): the fifth field, escaped in octal; the type
/// follows a field that is a hyphen.
fn cgroup2(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let is_cgroup2 = after.split(' ').next() == Some("cgroup2");
        let point = before.split(' ').nth(4)?;
        (is_cgroup2 && !point.contains('\\')).then(|| PathBuf::from(point))
    })
}

/// The path within cgroup2: the line of hierarchy 0, cgroups(7).
fn membership(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

const PROCESSES: &str = "cgroup.procs";
const PREFIX: &str = "herald-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_version_is_found_beside_the_first() {
        let mounts = "30 24 0:27 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755\n\
                      31 30 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n\
                      32 30 0:29 / /sys/fs/cgroup/cpu rw shared:11 - cgroup cgroup rw,cpu\n";
        assert_eq!(
            cgroup2(mounts).unwrap(),
            Path::new("/sys/fs/cgroup/unified")
        );
        assert_eq!(
            cgroup2("30 24 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro"),
            None
        );
        let groups = "4:memory:/a\n1:name=systemd:/b\n0::/system.slice/herald.service\n";
        assert_eq!(membership(groups), Some("/system.slice/herald.service"));
        assert_eq!(membership("4:memory:/a\n"), None);
    }

    #[test]
    fn a_shared_group_is_not_ours() {
        let place = Place {
            folder: PathBuf::from("/x"),
            is_own: false,
        };
        let own = format!("/x/herald-{}", std::process::id());
        assert_eq!(place.wanted(), Path::new(&own));
    }
}
