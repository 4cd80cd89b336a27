//! Tells when files have changed (inotify(7)). Folders are watched, not files: certificates are
//! replaced by renaming or by turning a symbolic link, and a watched file would be the old one. The
//! watches are set through descriptors of the folders, the first before privileges go.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout};

use crate::files::Files;

/// A watch on folders.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
    /// Whether the last folder could not be watched, and that was told.
    is_incomplete: bool,
    /// The newest watch; the kernel numbers them upwards.
    newest: i32,
    /// Whether a folder came to be watched whose files had been read before.
    has_grown: bool,
}

#[derive(Debug)]
enum Inotify {
    /// No runtime yet.
    Fresh(OwnedFd),
    Driven(AsyncFd<OwnedFd>),
    Broken,
}

impl Watch {
    /// Watches the folders of `files`. Needs no runtime.
    ///
    /// # Errors
    /// A kernel or a limit (`fs.inotify.max_user_instances`) that allows no watch at all.
    pub fn new(files: &Files) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut watch = Self {
            inotify: Inotify::Fresh(inotify),
            is_incomplete: false,
            newest: 0,
            has_grown: false,
        };
        watch.follow(files);
        Ok(watch)
    }

    /// Watches the folders of `files` too. What can't be watched is told once.
    pub fn follow(&mut self, files: &Files) {
        let inotify = match &self.inotify {
            Inotify::Fresh(inotify) => inotify,
            Inotify::Driven(inotify) => inotify.get_ref(),
            Inotify::Broken => return,
        };
        let mut refused = None;
        for (path, folder) in files.folders() {
            // The one way to watch what a descriptor leads to. Watching twice is one watch.
            let link = format!("/proc/self/fd/{}", folder.as_raw_fd());
            match inotify::add_watch(inotify, link, events()) {
                Ok(watch) => {
                    self.has_grown |= watch > self.newest;
                    self.newest = self.newest.max(watch);
                }
                Err(error) => refused = Some((path, error)),
            }
        }
        if let (Some((folder, error)), false) = (&refused, self.is_incomplete) {
            let folder = folder.display();
            tracing::warn!(%folder, %error, "files there are not watched: a reload must be asked for");
        }
        self.is_incomplete = refused.is_some();
    }

    /// Returns when a file is another than the one that `files` read, and has been left alone for
    /// a moment: whoever writes it may not be done.
    pub async fn changed(&mut self, files: &Files) {
        // A file that changed between its reading and the watch on its folder woke nobody.
        let mut is_missed = std::mem::take(&mut self.has_grown) && files.have_changed();
        loop {
            if !std::mem::take(&mut is_missed) {
                self.stirred(files).await;
            }
            let deadline = Instant::now() + SETTLING_MAX;
            while Instant::now() < deadline && timeout(QUIET, self.stirred(files)).await.is_ok() {}
            if files.have_changed() {
                return;
            }
        }
    }

    /// Returns when something happens in the folders that may be about one of the files.
    async fn stirred(&mut self, files: &Files) {
        if let Inotify::Fresh(_) = &self.inotify
            && let Inotify::Fresh(inotify) = std::mem::replace(&mut self.inotify, Inotify::Broken)
        {
            #[expect(
                deprecated,
                reason = "for types that lie about their descriptor; an OwnedFd does not"
            )]
            let driven = AsyncFd::with_interest(inotify, Interest::READABLE);
            match driven {
                Ok(driven) => self.inotify = Inotify::Driven(driven),
                Err(error) => tracing::error!(%error, "files are not watched"),
            }
        }
        let Inotify::Driven(inotify) = &self.inotify else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut ready) = inotify.readable().await else {
                return std::future::pending().await;
            };
            if take_events(inotify.get_ref(), files) {
                return;
            }
            ready.clear_ready();
        }
    }
}

/// Reads what has happened, to the end; whether any of it may be about one of the files.
fn take_events(inotify: &OwnedFd, files: &Files) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(inotify, &mut buffer);
    let mut is_ours = false;
    // The error is that there are no more.
    while let Ok(event) = reader.next() {
        let name = event
            .file_name()
            .map(|name| OsStr::from_bytes(name.to_bytes()));
        let is_known = name.is_none_or(|name| files.know(name));
        // Of other files only those count that appear or go: a link may be turned to them.
        is_ours |= is_known
            || !event
                .events()
                .intersects(ReadFlags::MODIFY | ReadFlags::ATTRIB);
    }
    is_ours
}

fn events() -> WatchFlags {
    WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::ATTRIB
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR
}

/// A file left alone for this long is done.
const QUIET: Duration = Duration::from_millis(50);
/// Files that never rest are looked at after this long.
const SETTLING_MAX: Duration = Duration::from_millis(500);
