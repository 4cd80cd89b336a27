//! Changes of a word that no other CPU can get between. The target has loads and stores only in the
//! language's atomics; the machine has the instructions (`BPF_ATOMIC | BPF_ADD`, since Linux 3.18;
//! with `BPF_FETCH`, and `BPF_CMPXCHG`, since 5.12).

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

/// [`add`], which tells what the word was.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub unsafe fn fetch_add(word: *mut u64, value: u64) -> u64 {
    let mut old = value;
    // SAFETY: the caller's. The instruction reads and writes `*word` and its own operand.
    unsafe {
        core::arch::asm!(
            "{value} = atomic_fetch_add((u64 *)({word} + 0), {value})",
            word = in(reg) word,
            value = inout(reg) old,
            options(nostack),
        );
    }
    old
}

/// Makes `new` of `*word` if it is `seen`; tells what it was.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub unsafe fn exchange(word: *mut u64, seen: u64, new: u64) -> u64 {
    let mut old = seen;
    // SAFETY: the caller's. The instruction reads and writes `*word` and R0, which is its operand.
    unsafe {
        core::arch::asm!(
            "r0 = cmpxchg_64({word} + 0, r0, {new})",
            word = in(reg) word,
            new = in(reg) new,
            inout("r0") old,
            options(nostack),
        );
    }
    old
}
