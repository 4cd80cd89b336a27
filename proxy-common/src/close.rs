//! What the kernel knew of a connection when it ended: counters that user space can't read any
//! more once it has closed the socket. The kernel counts a FIN as one byte; its own reckoning of
//! which FIN was counted comes with the event.

use core::mem::{align_of, offset_of, size_of};

/// One ended connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct CloseEvent {
    /// The socket's cookie (`SO_COOKIE`), which is never used again while the system runs.
    pub cookie: u64,
    /// Bytes sent and acknowledged by the peer, an acknowledged FIN included. The SYN of a
    /// connection that was accepted is not among them.
    pub bytes_acked: u64,
    /// Bytes received, a FIN included.
    pub bytes_received: u64,
    /// From established to closed, in nanoseconds.
    pub duration_ns: u64,
    /// Smoothed round trip, in microseconds.
    pub srtt_us: u32,
    /// Least round trip, in microseconds; all ones if none was measured.
    pub min_rtt_us: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// [`crate::mark::ROLE_CLIENT`] or [`crate::mark::ROLE_UPSTREAM`].
    pub role: u32,
    /// Index of the listening address.
    pub service: u32,
    /// The worker.
    pub worker: u32,
    /// [`FIN_ACKED`] and [`FIN_RECEIVED`].
    pub flags: u32,
    /// Zero.
    pub padding: u32,
}

/// [`CloseEvent::flags`]: our FIN was acknowledged, and counts in `bytes_acked`.
pub const FIN_ACKED: u32 = 1;
/// [`CloseEvent::flags`]: the peer's FIN came, and counts in `bytes_received`.
pub const FIN_RECEIVED: u32 = 2;

impl CloseEvent {
    /// The event that these bytes of the ring are; nothing if they are of another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<4>();
        let words: &[[u8; 4]; WORDS] = words.try_into().ok()?;
        if !rest.is_empty() {
            return None;
        }
        let words = words.map(u32::from_ne_bytes);
        let [
            cookie @ ..,
            srtt_us,
            min_rtt_us,
            retransmits,
            role,
            service,
            worker,
            flags,
            padding,
        ] = words;
        let [a, b, c, d, e, f, g, h] = cookie;
        Some(Self {
            cookie: wide(a, b),
            bytes_acked: wide(c, d),
            bytes_received: wide(e, f),
            duration_ns: wide(g, h),
            srtt_us,
            min_rtt_us,
            retransmits,
            role,
            service,
            worker,
            flags,
            padding,
        })
    }

    /// Bytes of the application's that the peer has acknowledged.
    pub const fn sent(&self) -> u64 {
        let fin = (self.flags & FIN_ACKED != 0) as u64;
        self.bytes_acked.saturating_sub(fin)
    }

    /// Bytes of the peer's application that the kernel has received, read or not.
    pub const fn received(&self) -> u64 {
        let fin = (self.flags & FIN_RECEIVED != 0) as u64;
        self.bytes_received.saturating_sub(fin)
    }
}

/// The word that two halves are, in this machine's order.
const fn wide(first: u32, second: u32) -> u64 {
    let (low, high) = match cfg!(target_endian = "little") {
        true => (first, second),
        false => (second, first),
    };
    low as u64 | (high as u64) << 32
}

const WORDS: usize = 16;

const _: () = assert!(size_of::<CloseEvent>() == 4 * WORDS);
const _: () = assert!(align_of::<CloseEvent>() == 8);
const _: () = assert!(offset_of!(CloseEvent, bytes_acked) == 8);
const _: () = assert!(offset_of!(CloseEvent, bytes_received) == 16);
const _: () = assert!(offset_of!(CloseEvent, duration_ns) == 24);
const _: () = assert!(offset_of!(CloseEvent, srtt_us) == 32);
const _: () = assert!(offset_of!(CloseEvent, min_rtt_us) == 36);
const _: () = assert!(offset_of!(CloseEvent, retransmits) == 40);
const _: () = assert!(offset_of!(CloseEvent, role) == 44);
const _: () = assert!(offset_of!(CloseEvent, service) == 48);
const _: () = assert!(offset_of!(CloseEvent, worker) == 52);
const _: () = assert!(offset_of!(CloseEvent, flags) == 56);
const _: () = assert!(offset_of!(CloseEvent, padding) == 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_from_its_bytes_and_only_from_all_of_them() {
        let mut bytes = [0; 64];
        for (place, word) in bytes.chunks_mut(8).zip([7_u64, 101, 202, 303]) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        for (place, word) in bytes[32..].chunks_mut(4).zip([1_u32, 2, 3, 4, 5, 6, 3, 0]) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        let event = CloseEvent::from_bytes(&bytes).unwrap();
        assert_eq!(
            (event.cookie, event.sent(), event.received()),
            (7, 100, 201)
        );
        assert_eq!(
            (event.duration_ns, event.srtt_us, event.min_rtt_us),
            (303, 1, 2)
        );
        assert_eq!((event.retransmits, event.role), (3, 4));
        assert_eq!((event.service, event.worker), (5, 6));
        assert_eq!(CloseEvent::from_bytes(&bytes[..63]), None);
        assert_eq!(CloseEvent::from_bytes(&[0; 65]), None);
    }

    #[test]
    fn what_was_no_fin_is_not_taken_off() {
        let reset = CloseEvent {
            bytes_acked: 10,
            bytes_received: 20,
            ..CloseEvent::default()
        };
        assert_eq!((reset.sent(), reset.received()), (10, 20));
    }
}
