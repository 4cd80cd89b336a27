//! Memory that is free goes back to the kernel. mimalloc looks for it when it is asked for more,
//! which an idle process never does: what its connections gave back would stay.

#![expect(
    unsafe_code,
    reason = "a function of the allocator that no crate wraps"
)]

/// Gives back whole pages that this thread freed a second ago or earlier.
pub fn give_back() {
    // SAFETY: mi_collect may be called at any time by any thread; it looks at the calling thread's
    // own heap and at memory that no heap owns. It takes no pointer.
    unsafe { libmimalloc_sys::mi_collect(false) }
}
