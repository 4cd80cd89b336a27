//! Memory that must never be read: a range of addresses without pages behind them. A slice of it
//! stands for bytes that lie in a pipe; whoever mistook it for bytes would be stopped by the
//! processor, so that what was not moved in the kernel cannot be sent by accident.
//! Takes a length, gives a slice; `None` where the kernel gives no range.

#![expect(
    unsafe_code,
    reason = "a mapping without access rights, and slices of it"
)]

use std::ptr;
use std::sync::OnceLock;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// The most bytes that one slice can stand for.
pub const LENGTH_MAX: usize = 1 << 20;

/// `length` bytes of the range, or of as much as there is of it.
pub fn slice(length: usize) -> Option<&'static [u8]> {
    range()?.get(..length.min(LENGTH_MAX))
}

/// Whether `bytes` begins in the range. An empty slice does not.
pub fn holds(bytes: &[u8]) -> bool {
    let Some(range) = RANGE.get().copied().flatten() else {
        return false;
    };
    !bytes.is_empty() && range.as_ptr_range().contains(&bytes.as_ptr())
}

static RANGE: OnceLock<Option<&'static [u8]>> = OnceLock::new();

fn range() -> Option<&'static [u8]> {
    *RANGE.get_or_init(|| {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let mapped =
            unsafe { mmap_anonymous(ptr::null_mut(), LENGTH_MAX, ProtFlags::empty(), flags) };
        let start = mapped.ok()?.cast::<u8>();
        // SAFETY: the range is mapped for the life of the process, is not null, holds LENGTH_MAX
        // bytes of alignment 1, and nobody writes to it. Nobody reads it either: a read faults
        // (that is its purpose) and never gives a value.
        Some(unsafe { std::slice::from_raw_parts(start, LENGTH_MAX) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel takes nothing from there either: a slice that went to a socket as if it were
    /// bytes sends none.
    #[test]
    fn a_slice_cannot_be_written_to_a_socket() {
        use std::io::{ErrorKind, Read as _, Write as _};
        use std::os::unix::net::UnixStream;

        let (mut near, mut far) = UnixStream::pair().unwrap();
        let some = slice(1000).unwrap();
        let bad_address = rustix::io::Errno::FAULT.raw_os_error();
        let error = near.write(some).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(bad_address));
        let bufs = [std::io::IoSlice::new(some), std::io::IoSlice::new(b"x")];
        let error = near.write_vectored(&bufs).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(bad_address));
        far.set_nonblocking(true).unwrap();
        let error = far.read(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn slices_of_the_range_are_known_and_others_are_not() {
        assert!(!holds(b"bytes"));
        let some = slice(1000).unwrap();
        assert_eq!(some.len(), 1000);
        assert!(holds(some));
        assert!(holds(&some[999..]));
        assert!(!holds(&some[1000..]));
        assert!(!holds(b"bytes"));
        assert_eq!(slice(usize::MAX).unwrap().len(), LENGTH_MAX);
    }
}
