//! Addition that no other CPU can get between. The target has loads and stores only in the
//! language's atomics; the machine has the instruction (`BPF_ATOMIC | BPF_ADD`, since Linux 3.18).

/// Adds `value` to `*word`; two's complement, so that adding `-1` as `u64` takes one away.
///
/// # Safety
///
/// `word` is an aligned word of a map's value that the verifier knows.
#[inline(always)]
pub unsafe fn add(word: *mut u64, value: u64) {
    // SAFETY: the caller's. The instruction reads and writes `*word` alone.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({word} + 0) += {value}",
            word = in(reg) word,
            value = in(reg) value,
            options(nostack),
        );
    }
}
