//! The words in which workers tell the kernel how busy they are: the memory of a map, which the
//! kernel's choice reads and the workers write without a system call. Takes the map's descriptor,
//! gives a slot a worker; a slot of nobody costs a branch.

#![expect(
    unsafe_code,
    reason = "a shared mapping of a kernel map, and atomic words in it"
)]

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use proxy_common::WorkerLoad;
use proxy_common::load::WORKERS_MAX;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// [`WorkerLoad`] as memory that others read meanwhile.
#[derive(Debug)]
#[repr(C)]
struct Words {
    heartbeat_ns: AtomicU64,
    busy_since_ns: AtomicU64,
    connections_open: AtomicU32,
    handshakes_in_flight: AtomicU32,
    padding: [u64; 5],
}

const _: () = assert!(size_of::<Words>() == size_of::<WorkerLoad>());
const _: () = assert!(offset_of!(Words, heartbeat_ns) == offset_of!(WorkerLoad, heartbeat_ns));
const _: () = assert!(offset_of!(Words, busy_since_ns) == offset_of!(WorkerLoad, busy_since_ns));
const _: () =
    assert!(offset_of!(Words, connections_open) == offset_of!(WorkerLoad, connections_open));
const _: () = assert!(
    offset_of!(Words, handshakes_in_flight) == offset_of!(WorkerLoad, handshakes_in_flight)
);

const LENGTH: usize = WORKERS_MAX as usize * size_of::<Words>();

/// The map's memory.
#[derive(Debug)]
struct Mapping(NonNull<Words>);

// SAFETY: all access goes through shared references to atomics; the mapping is fixed until the
// last owner drops it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: address and length are those of the mapping, and no slot is left: each owns it.
        if let Err(error) = unsafe { munmap(self.0.as_ptr().cast(), LENGTH) } {
            tracing::debug!(%error, "munmap");
        }
    }
}

/// All workers' words.
#[derive(Clone, Debug)]
pub struct SharedLoads(Arc<Mapping>);

impl SharedLoads {
    /// Maps the array `map`, which must have been made with `BPF_F_MMAPABLE` and hold
    /// [`WORKERS_MAX`] entries: the kernel refuses to map less than that.
    pub fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else knows it.
        let address = unsafe { mmap(null_mut(), LENGTH, access, MapFlags::SHARED, map, 0) }?;
        let words = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self(Arc::new(Mapping(words))))
    }

    /// The words of worker `index`, which only that worker writes; nobody's past the end.
    pub fn slot(&self, index: usize) -> LoadSlot {
        let exists = index < WORKERS_MAX as usize;
        LoadSlot(exists.then(|| Slot {
            mapping: Arc::clone(&self.0),
            index,
        }))
    }
}

#[derive(Clone, Debug)]
struct Slot {
    mapping: Arc<Mapping>,
    index: usize,
}

impl Slot {
    fn words(&self) -> &Words {
        // SAFETY: `slot` checked the index against the mapping's length.
        let words = unsafe { self.mapping.0.add(self.index) };
        // SAFETY: the kernel zeroed the memory, any bytes are valid words, the mapping lives as
        // long as `self`, and every write, also the kernel's, is of whole aligned words.
        unsafe { words.as_ref() }
    }
}

/// Where a worker writes; or nowhere.
#[derive(Clone, Debug, Default)]
pub struct LoadSlot(Option<Slot>);

impl LoadSlot {
    /// Whether anybody reads.
    pub fn is_read(&self) -> bool {
        self.0.is_some()
    }

    /// The worker's timer came at `now`, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn beat(&self, now: u64) {
        if let Some(slot) = &self.0 {
            slot.words().heartbeat_ns.store(now, Ordering::Relaxed);
        }
    }

    /// The worker has got events, at `now`, and works on them.
    pub fn busy(&self, now: u64) {
        if let Some(slot) = &self.0 {
            slot.words().busy_since_ns.store(now, Ordering::Relaxed);
        }
    }

    /// The worker has nothing left to do and waits.
    pub fn idle(&self) {
        self.busy(0);
    }

    /// Counts a client connection as long as the result lives.
    pub fn connection(&self) -> Counted<'_> {
        Counted::new(self.0.as_ref().map(|slot| &slot.words().connections_open))
    }

    /// Counts a handshake as long as the result lives.
    pub fn handshake(&self) -> Counted<'_> {
        Counted::new(
            self.0
                .as_ref()
                .map(|slot| &slot.words().handshakes_in_flight),
        )
    }
}

/// Something that is counted while it lasts.
#[derive(Debug)]
pub struct Counted<'a>(Option<&'a AtomicU32>);

impl<'a> Counted<'a> {
    /// One writer: no instruction that locks a bus is needed.
    fn new(word: Option<&'a AtomicU32>) -> Self {
        if let Some(word) = word {
            let count = word.load(Ordering::Relaxed).saturating_add(1);
            word.store(count, Ordering::Relaxed);
        }
        Self(word)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(word) = self.0 {
            let count = word.load(Ordering::Relaxed).saturating_sub(1);
            word.store(count, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn a_worker_writes_its_own_words_and_no_others() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LENGTH as u64).unwrap();
        let loads = SharedLoads::new(file.as_fd()).unwrap();
        let slot = loads.slot(2);
        slot.beat(7);
        slot.busy(8);
        let connection = slot.connection();
        let handshake = slot.handshake();
        let second = slot.connection();
        let word = |file: &File, offset: u64| {
            let mut bytes = [0; 24];
            file.read_exact_at(&mut bytes, offset).unwrap();
            bytes
        };
        let mut expected = [0; 24];
        expected[0] = 7;
        expected[8] = 8;
        expected[16] = 2;
        expected[20] = 1;
        assert_eq!(word(&file, 128), expected);
        assert_eq!(word(&file, 64), [0; 24]);
        assert_eq!(word(&file, 192), [0; 24]);
        drop((connection, handshake, second));
        slot.idle();
        expected = [0; 24];
        expected[0] = 7;
        assert_eq!(word(&file, 128), expected);
    }

    #[test]
    fn nobody_reads_past_the_last_worker() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LENGTH as u64).unwrap();
        let loads = SharedLoads::new(file.as_fd()).unwrap();
        assert!(loads.slot(WORKERS_MAX as usize - 1).is_read());
        let none = loads.slot(WORKERS_MAX as usize);
        assert!(!none.is_read());
        none.beat(1);
        drop(none.connection());
    }
}
