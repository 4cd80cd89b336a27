//! Marks on sockets that connect to an origin, by which the kernel programs know them for the
//! service's own and what they are to be set to. Takes the map of marks; without one nothing is
//! marked. No capability is needed for what has its descriptor (since Linux 6.0; before, where
//! `kernel.unprivileged_bpf_disabled` is set, bpf(2) is refused and the log says so once).

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use aya::maps::{Map, MapData, MapError, SkStorage};
use proxy_common::mark::ROLE_UPSTREAM;
use proxy_common::{SocketMark, TcpProfile};

/// Where a worker marks its sockets; or nowhere.
#[derive(Clone, Debug, Default)]
pub struct Marks(Option<Arc<Mutex<Marking>>>);

/// Each worker has its own, so that nobody waits for the lock.
#[derive(Debug)]
struct Marking {
    map: SkStorage<MapData, SocketMark>,
    has_failed: bool,
}

impl Marks {
    /// A descriptor of its own of `map`.
    ///
    /// # Errors
    /// Those of the kernel, and a map of another kind.
    pub fn new(map: BorrowedFd<'_>) -> Result<Self, MapError> {
        let map = map.try_clone_to_owned()?;
        let map = Map::SkStorage(MapData::from_fd(map)?).try_into()?;
        let has_failed = false;
        Ok(Self(Some(Arc::new(Mutex::new(Marking {
            map,
            has_failed,
        })))))
    }

    /// Whether marks reach anybody.
    pub fn are_read(&self) -> bool {
        self.0.is_some()
    }

    /// Has `socket`, which does not connect yet, set up as `profile` says when it is connected. It is
    /// of use without.
    pub fn mark(&self, socket: &impl AsRawFd, profile: TcpProfile) {
        let Some(marking) = &self.0 else { return };
        let mut marking = marking.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = SocketMark {
            role: ROLE_UPSTREAM,
            profile,
            ..SocketMark::default()
        };
        if let Err(error) = marking.map.insert(socket, mark, 0)
            && !marking.has_failed
        {
            marking.has_failed = true;
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "upstream_tcp_profile: a socket can't be marked");
        }
    }
}
