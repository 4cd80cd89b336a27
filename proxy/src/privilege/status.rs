//! What the kernel says of each thread of this process, in `/proc/self/task/*/status` (proc(5)).

use std::path::PathBuf;
use std::{fs, io};

use thiserror::Error;

/// What every thread is to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Status {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether the bounding set is to be empty too.
    pub(super) bounded: bool,
}

/// Why it is not proven that privileges are gone.
#[derive(Debug, Error)]
pub enum StatusError {
    /// What the kernel says can't be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A thread is not what it is to be.
    #[error("{}: `{line}` after they were given up", path.display())]
    Kept {
        /// The thread's file.
        path: PathBuf,
        /// The line, or the name of one that is missing.
        line: String,
    },
}

/// Whether the words of a line are as they should be.
type IsRight<'a> = &'a dyn Fn(&[&str]) -> bool;

/// Checks every thread; returns how many there are.
pub(super) fn prove(expected: &Status) -> Result<usize, StatusError> {
    let folder = PathBuf::from("/proc/self/task");
    let unreadable = |path: &PathBuf| {
        let path = path.clone();
        |error| StatusError::Unreadable { path, error }
    };
    let mut threads = 0;
    for entry in fs::read_dir(&folder).map_err(unreadable(&folder))? {
        let path = entry.map_err(unreadable(&folder))?.path().join("status");
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        check(&text, expected).map_err(|line| StatusError::Kept { path, line })?;
        threads += 1;
    }
    Ok(threads)
}

/// The first line that is not as expected, or the name of one that is missing.
fn check(text: &str, expected: &Status) -> Result<(), String> {
    let none = |words: &[&str]| matches!(words, [set] if u64::from_str_radix(set, 16) == Ok(0));
    let all = |words: &[&str], number: u32| {
        let number = number.to_string();
        // Real, effective, saved and file system identity.
        words.len() == 4 && words.iter().all(|word| *word == number)
    };
    let wanted: [(&str, IsRight<'_>); 8] = [
        ("Uid", &|words| all(words, expected.uid)),
        ("Gid", &|words| all(words, expected.gid)),
        ("CapInh", &none),
        ("CapPrm", &none),
        ("CapEff", &none),
        ("CapAmb", &none),
        ("CapBnd", &|words| !expected.bounded || none(words)),
        ("NoNewPrivs", &|words| words == ["1"]),
    ];
    for (name, is_right) in wanted {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let words: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
        if !is_right(&words) {
            return Err(format!("{name}: {}", words.join(" ")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Status, check};

    const GONE: &str = "Name:\tworker\nUid:\t33\t33\t33\t33\nGid:\t33\t33\t33\t33\nCapInh:\t0000000000000000\n\
                        CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n\
                        CapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";

    #[test]
    fn anything_kept_or_unsaid_is_told() {
        let expected = Status {
            uid: 33,
            gid: 33,
            bounded: true,
        };
        assert_eq!(check(GONE, &expected), Ok(()));
        for (gone, kept, told) in [
            ("Uid:\t33\t33\t33", "Uid:\t33\t33\t0", "Uid: 33 33 0 33"),
            ("Gid:\t33\t33", "Gid:\t33\t0", "Gid: 33 0 33 33"),
            (
                "CapEff:\t0000000000000000",
                "CapEff:\t0000000000000400",
                "CapEff: 0000000000000400",
            ),
            ("CapAmb:\t0000000000000000\n", "", "CapAmb: "),
            ("CapBnd:\t0", "CapBnd:\t1", "CapBnd: 1000000000000000"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "NoNewPrivs: 0"),
        ] {
            assert_eq!(
                check(&GONE.replace(gone, kept), &expected),
                Err(told.to_owned())
            );
        }
        let unbounded = Status {
            bounded: false,
            ..expected
        };
        assert_eq!(
            check(&GONE.replace("CapBnd:\t0", "CapBnd:\t1"), &unbounded),
            Ok(())
        );
    }
}
