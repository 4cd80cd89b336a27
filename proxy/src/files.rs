//! The operator's files, read now and again after privileges are gone. Every folder a file lies in
//! is opened once, before they go, and its files are read through that descriptor; a folder that
//! can be opened anew by its path is, so that a folder put in another's place is seen.
//!
//! Takes paths, gives contents, and remembers what it read: that is what a watch watches. Refused:
//! what is not a regular file or is too large.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use thiserror::Error;

/// Files read, and the folders they lie in.
#[derive(Debug, Default)]
pub struct Files {
    folders: Arc<Mutex<BTreeMap<PathBuf, Arc<OwnedFd>>>>,
    seen: Mutex<BTreeMap<PathBuf, Stamp>>,
    /// Whether privileges are gone.
    without_privileges: bool,
}

/// Why a file has no contents.
#[derive(Debug, Error)]
pub enum FileError {
    /// The kernel's answer.
    #[error("{0}")]
    Io(io::Error),
    /// A right that Herald had at its start.
    #[error(
        "{0}; Herald has given up its privileges: this needs restart, or a file that its user may read"
    )]
    NeedsRestart(io::Error),
    /// A folder, a pipe, a device.
    #[error("it is not a regular file")]
    NotRegular,
    /// Beyond the bound.
    #[error("it is larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
}

/// What tells one state of a file from another; nothing where there is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp(Option<[u64; 7]>);

impl Files {
    /// The contents of `path`, at most `bytes_max` of them.
    ///
    /// # Errors
    /// Every [`FileError`].
    pub fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
        let opened = self.open(path);
        let stamp = match &opened {
            Ok(file) => Stamp::of(rustix::fs::fstat(file)),
            Err(_) => self.stamp(path),
        };
        lock(&self.seen).insert(path.to_owned(), stamp);
        let file = opened.map_err(|error| self.refused(error))?;
        if !file.metadata().map_err(FileError::Io)?.is_file() {
            return Err(FileError::NotRegular);
        }
        let mut bytes = Vec::new();
        let mut limited = file.take(bytes_max.saturating_add(1));
        limited.read_to_end(&mut bytes).map_err(FileError::Io)?;
        if bytes.len() as u64 > bytes_max {
            return Err(FileError::TooLarge(bytes_max));
        }
        Ok(bytes)
    }

    /// For another reading of the same files, with the same folders and nothing read yet.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            folders: Arc::clone(&self.folders),
            seen: Mutex::default(),
            without_privileges: true,
        }
    }

    /// Remembers what `before` read too, as it is now: after a reading that failed early, what it
    /// would have gone on to read may be what is mended next.
    pub fn remember(&self, before: &Self) {
        let paths: Vec<PathBuf> = lock(&before.seen).keys().cloned().collect();
        for path in paths {
            let stamp = self.stamp(&path);
            lock(&self.seen).entry(path).or_insert(stamp);
        }
    }

    /// Whether any file is not as it was when it was read.
    pub fn have_changed(&self) -> bool {
        let seen: Vec<(PathBuf, Stamp)> = lock(&self.seen)
            .iter()
            .map(|(path, stamp)| (path.clone(), *stamp))
            .collect();
        seen.iter().any(|(path, stamp)| self.stamp(path) != *stamp)
            || self
                .folders()
                .iter()
                .any(|(path, folder)| is_another(path, folder))
    }

    /// The folders, by the paths they were named by.
    pub fn folders(&self) -> Vec<(PathBuf, Arc<OwnedFd>)> {
        let folders = lock(&self.folders);
        let each = folders.iter();
        each.map(|(path, folder)| (path.clone(), Arc::clone(folder)))
            .collect()
    }

    /// Whether a file of this name was read.
    pub fn know(&self, name: &OsStr) -> bool {
        let seen = lock(&self.seen);
        seen.keys().any(|path| path.file_name() == Some(name))
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let (folder, name) = self.place(path, true)?;
        // NONBLOCK: opening a pipe waits for its writer else.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = rustix::fs::openat(folder.as_fd(), name, flags, Mode::empty())?;
        Ok(File::from(opened))
    }

    fn stamp(&self, path: &Path) -> Stamp {
        match self.place(path, false) {
            Ok((folder, name)) => Stamp::of(rustix::fs::statat(&folder, name, AtFlags::empty())),
            Err(_) => Stamp(None),
        }
    }

    /// The folder of a file, opened anew if that is asked for and can be, and the file's name in it.
    fn place<'p>(&self, path: &'p Path, anew: bool) -> io::Result<(Arc<OwnedFd>, &'p OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let known = lock(&self.folders).get(parent).cloned();
        // Once a reading is enough: whoever puts another folder there touches it afterwards.
        let anew = anew && !self.has_read_in(parent);
        match known {
            Some(known) if !anew => Ok((known, name)),
            known => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                match (rustix::fs::open(parent, flags, Mode::empty()), known) {
                    (Ok(folder), _) => {
                        let folder = Arc::new(folder);
                        lock(&self.folders).insert(parent.to_owned(), Arc::clone(&folder));
                        self.note_link(parent);
                        Ok((folder, name))
                    }
                    // The way there is barred by now; the descriptor still leads there.
                    (Err(_), Some(known)) => Ok((known, name)),
                    (Err(error), None) => Err(error.into()),
                }
            }
        }
    }

    /// A folder that is a symbolic link is replaced where the link lies.
    fn note_link(&self, folder: &Path) {
        let is_link = folder
            .symlink_metadata()
            .is_ok_and(|found| found.is_symlink());
        let (true, Some(parent)) = (is_link, folder.parent()) else {
            return;
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // What can't be opened can't be watched; a reload is asked for then.
        if let Ok(opened) = rustix::fs::open(parent, flags, Mode::empty()) {
            let mut folders = lock(&self.folders);
            folders
                .entry(parent.to_owned())
                .or_insert_with(|| Arc::new(opened));
        }
    }

    fn has_read_in(&self, folder: &Path) -> bool {
        let seen = lock(&self.seen);
        let mut within = seen.range(folder.to_owned()..);
        within.any(|(path, _)| path.parent() == Some(folder))
    }

    fn refused(&self, error: io::Error) -> FileError {
        match error.kind() {
            io::ErrorKind::PermissionDenied if self.without_privileges => {
                FileError::NeedsRestart(error)
            }
            _ => FileError::Io(error),
        }
    }
}

impl Stamp {
    fn of(stat: rustix::io::Result<Stat>) -> Self {
        let Ok(stat) = stat else { return Self(None) };
        let whole = |number: i64| number.cast_unsigned();
        Self(Some([
            stat.st_dev,
            stat.st_ino,
            whole(stat.st_size),
            whole(stat.st_mtime),
            stat.st_mtime_nsec,
            whole(stat.st_ctime),
            stat.st_ctime_nsec,
        ]))
    }
}

/// Whether `path` leads to another folder by now. A path that is barred leads nowhere else.
fn is_another(path: &Path, folder: &OwnedFd) -> bool {
    match (rustix::fs::stat(path), rustix::fs::fstat(folder)) {
        (Ok(there), Ok(here)) => (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino),
        _ => false,
    }
}

/// No panic leaves a map half-changed, so a poisoned lock is as good as a sound one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::FileType;

    use super::*;

    #[test]
    fn a_file_is_read_through_its_folder_wherever_that_went() {
        let place = tempfile::tempdir().unwrap();
        let (folder, moved) = (place.path().join("a"), place.path().join("b"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("f"), "one").unwrap();
        let files = Files::default();
        assert_eq!(files.read(&folder.join("f"), 10).unwrap(), b"one");
        fs::rename(&folder, &moved).unwrap();
        assert!(!files.have_changed());
        let again = files.again();
        assert_eq!(again.read(&folder.join("f"), 10).unwrap(), b"one");
        // A folder that stands there again is the one that is meant.
        fs::create_dir(&folder).unwrap();
        assert!(again.have_changed());
        fs::write(folder.join("f"), "two").unwrap();
        assert_eq!(files.again().read(&folder.join("f"), 10).unwrap(), b"two");
    }

    #[test]
    fn every_change_of_a_file_is_seen_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let (path, link) = (place.path().join("f"), place.path().join("l"));
        fs::write(&path, "one").unwrap();
        std::os::unix::fs::symlink("f", &link).unwrap();
        let files = Files::default();
        let read = || {
            let files = files.again();
            drop(files.read(&path, 10));
            drop(files.read(&link, 10));
            files
        };
        let before = read();
        fs::write(place.path().join("other"), "x").unwrap();
        assert!(!before.have_changed());
        fs::write(&path, "two").unwrap();
        assert!(before.have_changed());
        let before = read();
        fs::write(place.path().join("new"), "two").unwrap();
        fs::rename(place.path().join("new"), &path).unwrap();
        assert!(before.have_changed());
        let before = read();
        fs::remove_file(&path).unwrap();
        assert!(before.have_changed());
        let without = read();
        assert!(!without.have_changed());
        fs::write(&path, "back").unwrap();
        assert!(without.have_changed());
    }

    #[test]
    fn what_is_no_file_of_bounded_size_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let files = Files::default();
        let path = place.path().join("f");
        fs::write(&path, "12345").unwrap();
        assert!(matches!(files.read(&path, 4), Err(FileError::TooLarge(4))));
        let folder = files.read(place.path(), 4);
        assert!(matches!(folder, Err(FileError::NotRegular)));
        let pipe = place.path().join("pipe");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(files.read(&pipe, 4), Err(FileError::NotRegular)));
        assert!(matches!(
            files.read(Path::new("/"), 4),
            Err(FileError::Io(_))
        ));
    }
}
