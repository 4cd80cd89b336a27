//! The maps that both objects have, and the counters of decisions.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, ReusePortSockArray};
use aya_ebpf::macros::btf_map;
use proxy_common::counter::{COUNTERS, Counter};
use proxy_common::load::WORKERS_MAX;
use proxy_common::{Address, LAYOUT_VERSION, SERVICES_MAX, WorkerLoad};

/// What workers publish; they write through a mapping of the array's memory.
#[btf_map]
pub static WORKERS: Array<WorkerLoad, { WORKERS_MAX as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();

/// Listening sockets: service times [`WORKERS_MAX`] plus worker.
#[btf_map]
pub static SOCKETS: ReusePortSockArray<{ (SERVICES_MAX * WORKERS_MAX) as usize }> =
    ReusePortSockArray::new();

/// From a listening address to its service. Not from a socket: where two processes share an
/// address, the kernel may ask about a socket of the other one.
#[btf_map]
pub static SERVICES: HashMap<Address, u32, { SERVICES_MAX as usize }> = HashMap::new();

/// One word a [`Counter`].
#[btf_map]
pub static COUNTS: PerCpuArray<u64, { COUNTERS as usize }> = PerCpuArray::new();

/// User space sets a global of its own version's name before the load: an object of another layout
/// has none of that name and is refused.
#[unsafe(no_mangle)]
pub static LAYOUT_5: u32 = LAYOUT_VERSION;
const _: () = assert!(LAYOUT_VERSION == 5);

/// How many workers there are; user space sets it before the load.
#[unsafe(no_mangle)]
pub static WORKER_COUNT: u32 = 0;

/// A global that user space has written before the load.
#[inline(always)]
pub fn global(word: &'static u32) -> u32 {
    // SAFETY: a reference is readable. Volatile, since the compiler sees the value of the source.
    unsafe { core::ptr::read_volatile(word) }
}

/// Counts a decision; on its own CPU, so nobody else writes the word.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(word) = COUNTS.get_ptr_mut(counter.index()) {
        // SAFETY: the map gave the pointer; the entry lives as long as the map.
        unsafe { *word = (*word).wrapping_add(1) };
    }
}
