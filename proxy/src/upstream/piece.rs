//! Pieces of a body: slices of what was read, never copies.

use bytes::{Bytes, BytesMut};

/// The first `most` bytes of `read`, or all, or `None` if that is nothing.
pub(super) fn split_at_most(read: &mut BytesMut, most: u64) -> Option<Bytes> {
    let length = usize::try_from(most).map_or(read.len(), |most| read.len().min(most));
    (length > 0).then(|| read.split_to(length).freeze())
}

/// A buffer's length as the framing counts it.
pub(super) fn length_of(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
