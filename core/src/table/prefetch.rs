//! Asking for a cache line before it is needed.

/// Which cache lines are brought into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// The first: for lines of a table that the second has room for.
    First,
    /// The second: the first takes some two dozen requests at a time, drops what is asked for beyond them, and a burst's
    /// lines are more.
    Second,
}

/// Asks the processor for the first cache line of the element at `index`, into the second cache; for nothing if there is no
/// such element. Changes nothing that a program can see.
#[inline(always)]
pub fn prefetch<T>(elements: &[T], index: usize) {
    ask(elements.as_ptr().wrapping_add(index).cast(), Cache::Second);
}

/// The same for every cache line of the element, into the cache of choice.
#[inline(always)]
pub fn prefetch_whole<T>(elements: &[T], index: usize, cache: Cache) {
    let first = elements.as_ptr().wrapping_add(index).cast::<i8>();
    for line in 0..size_of::<T>().div_ceil(64) {
        ask(first.wrapping_add(64 * line), cache);
    }
}

#[inline(always)]
#[cfg_attr(
    all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)),
    expect(unsafe_code, reason = "an instruction that takes any address")
)]
fn ask(line: *const i8, cache: Cache) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        match cache {
            // SAFETY: prefetching has no effect but on caches, whatever the address: one that is not mapped is ignored.
            Cache::First => unsafe { _mm_prefetch::<_MM_HINT_T0>(line) },
            // SAFETY: as above.
            Cache::Second => unsafe { _mm_prefetch::<_MM_HINT_T1>(line) },
        }
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    match cache {
        // SAFETY: as on x86-64: a hint, which a processor may ignore and which never faults.
        Cache::First => unsafe {
            core::arch::asm!("prfm pldl1keep, [{}]", in(reg) line, options(nostack, preserves_flags));
        },
        // SAFETY: as above.
        Cache::Second => unsafe {
            core::arch::asm!("prfm pldl2keep, [{}]", in(reg) line, options(nostack, preserves_flags));
        },
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = (line, cache);
}
