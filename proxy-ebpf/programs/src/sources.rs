//! How many connections of each source prefix are established, exact: sockops adds and takes away,
//! user space reads.
//!
//! A prefix is in the table only while one of its connections lives. Two things could go wrong, and
//! each is kept off by the word itself ([`SourceLive`]):
//!
//! - *One CPU takes the last connection away while another adds one.* Taking away is one addition
//!   that can't fail; who takes the last is told so by the old value, alone, and deletes the key.
//!   A count of zero is nobody's to add to: adding is a compare-exchange of a word that isn't zero,
//!   so nothing is written into an entry that is about to go, and nothing has to be taken back.
//! - *The hash map uses a deleted entry again at once, for another prefix, under the pointer that
//!   somebody holds.* Each entry carries the moment of its birth, in the same word: the exchange
//!   fails for any other life of the same memory. Who takes away is counted in it, which keeps the
//!   entry in its place until that very instruction.

use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::btf_map;
use proxy_common::rate::PREFIXES_MAX;
use proxy_common::source::{FREE, LIVE_ONE};
use proxy_common::{Prefix, SourceLive};

use crate::atomic;

/// The prefixes with live connections. Not an LRU map: a live prefix stays.
#[btf_map]
static SOURCES: HashMap<Prefix, SourceLive, { PREFIXES_MAX as usize }> = HashMap::new();

/// One more connection of `prefix`, at the time `now_ns`. False if it can't be counted: the table is
/// full, or other CPUs were in between each of eight times. Written out, since without CAP_PERFMON the
/// verifier follows a loop with helpers past its end, as a CPU may that guesses.
#[inline(always)]
pub fn enter(prefix: &Prefix, now_ns: u64) -> bool {
    let born = now_ns as u32;
    try_enter(prefix, born)
        .or_else(|| try_enter(prefix, born))
        .or_else(|| try_enter(prefix, born))
        .or_else(|| try_enter(prefix, born))
        .or_else(|| try_enter(prefix, born))
        .or_else(|| try_enter(prefix, born))
        .or_else(|| try_enter(prefix, born))
        .or_else(|| try_enter(prefix, born))
        .unwrap_or(false)
}

/// Whether it is counted; nothing where another CPU was in between.
#[inline(always)]
fn try_enter(prefix: &Prefix, born: u32) -> Option<bool> {
    let Some(entry) = SOURCES.get_ptr_mut(prefix) else {
        return match SOURCES.insert(prefix, SourceLive { born, live: 1 }, BPF_NOEXIST) {
            Ok(()) => Some(true),
            Err(EEXIST) => None,
            Err(_) => Some(false),
        };
    };
    let word = entry.cast::<u64>();
    // SAFETY: the map gave the pointer, and the word is aligned. Volatile: other CPUs write it.
    let seen = unsafe { word.read_volatile() };
    let more = SourceLive::from_word(seen).entered(born)?;
    // SAFETY: as above.
    let is_counted = unsafe { atomic::exchange(word, seen, more.word()) } == seen;
    is_counted.then_some(true)
}

/// One connection less, of those that [`enter`] has counted. False if there is no such entry.
#[inline(always)]
pub fn leave(prefix: &Prefix) -> bool {
    let Some(entry) = SOURCES.get_ptr_mut(prefix) else {
        return false;
    };
    let word = entry.cast::<u64>();
    // SAFETY: the map gave the pointer, and the word is aligned.
    let before = unsafe { atomic::fetch_add(word, LIVE_ONE.wrapping_neg()) };
    let SourceLive { born, live } = SourceLive::from_word(before);
    if live != 1 || SOURCES.remove(prefix).is_ok() {
        return true;
    }
    // This CPU was interrupted while it held the bucket's lock. The entry stays, for its prefix's next
    // connection; nobody else writes a word whose count is zero.
    // SAFETY: as above.
    unsafe { word.write_volatile(SourceLive { born, live: FREE }.word()) };
    true
}

/// `linux/bpf.h` and `asm-generic/errno-base.h`: the bindings leave one out.
const BPF_NOEXIST: u64 = 1;
const EEXIST: i32 = -17;
