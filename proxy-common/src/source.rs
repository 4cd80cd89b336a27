//! How many connections of a source prefix live: one word, which several CPUs change at once.
//!
//! The word is changed as a whole (a `u64`, `born` in its low half), and so the order of the halves
//! is part of the layout.

use core::mem::{align_of, offset_of, size_of};

/// The value of a prefix that has live connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct SourceLive {
    /// When the entry was made: the low half of the nanoseconds of `CLOCK_MONOTONIC`. Tells an entry
    /// from another one that had the same memory before.
    pub born: u32,
    /// Connections; zero: the entry is about to be deleted. [`FREE`]: it could not be.
    pub live: u32,
}

/// [`SourceLive::live`] of an entry that has no connection and stayed: its prefix's next connection
/// takes it.
pub const FREE: u32 = 1 << 31;

/// What one connection adds to the word.
pub const LIVE_ONE: u64 = 1 << 32;

impl SourceLive {
    /// From the word.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
        Self {
            born: u32::from_le_bytes([a, b, c, d]),
            live: u32::from_le_bytes([e, f, g, h]),
        }
    }

    /// As the word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        (self.live as u64) << 32 | self.born as u64
    }

    /// The connections that live.
    #[inline(always)]
    pub const fn connections(self) -> u32 {
        self.live & !FREE
    }

    /// The value with one connection more, at the time `now`: of a new life if nobody has it. Nothing
    /// if it is about to be deleted.
    #[inline(always)]
    pub const fn entered(self, now: u32) -> Option<Self> {
        match self.live {
            0 => None,
            FREE => Some(Self { born: now, live: 1 }),
            live => Some(Self {
                born: self.born,
                live: live.wrapping_add(1),
            }),
        }
    }
}

const _: () = assert!(size_of::<SourceLive>() == 8);
const _: () = assert!(align_of::<SourceLive>() == 8);
const _: () = assert!(offset_of!(SourceLive, born) == 0);
const _: () = assert!(offset_of!(SourceLive, live) == 4);
// The kernel objects are little-endian, and so is every machine that Herald runs on.
const _: () = assert!(cfg!(target_endian = "little"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_the_value_in_memory() {
        let value = SourceLive { born: 7, live: 9 };
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&7_u32.to_ne_bytes());
        bytes[4..].copy_from_slice(&9_u32.to_ne_bytes());
        assert_eq!(value.word(), u64::from_ne_bytes(bytes));
        assert_eq!(SourceLive::from_word(value.word()), value);
        let less = value.word().wrapping_sub(LIVE_ONE);
        assert_eq!(SourceLive::from_word(less).connections(), 8);
    }

    #[test]
    fn nobody_enters_what_is_about_to_go() {
        let value = |born, live| SourceLive { born, live };
        assert_eq!(value(7, 1).entered(8), Some(value(7, 2)));
        assert_eq!(value(7, 0).entered(8), None);
        assert_eq!(value(7, FREE).entered(8), Some(value(8, 1)));
        assert_eq!(value(7, FREE).connections(), 0);
    }
}
