//! Asking for a cache line before it is needed.

/// Which cache a line is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// The first: of tables that are in the second as a whole.
    First,
    /// The second: the first has room for two dozen requests, and what is asked for beyond them is dropped.
    Second,
}

/// Asks the processor for the first cache line of the element at `index`, if there is one. Changes nothing that a program
/// can see.
#[inline(always)]
pub fn prefetch<T>(elements: &[T], index: usize) {
    ask(elements.as_ptr().wrapping_add(index).cast(), Into::Second);
}

/// The same for every cache line of the element.
#[inline(always)]
pub fn prefetch_whole<T>(elements: &[T], index: usize, into: Into) {
    let first = elements.as_ptr().wrapping_add(index).cast::<i8>();
    for line in 0..size_of::<T>().div_ceil(64) {
        ask(first.wrapping_add(64 * line), into);
    }
}

#[inline(always)]
#[cfg_attr(
    all(target_arch = "x86_64", not(miri)),
    expect(unsafe_code, reason = "the intrinsic takes a pointer")
)]
fn ask(line: *const i8, into: Into) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        // SAFETY: prefetching has no effect but on caches, whatever the address: one that is not mapped is ignored.
        unsafe {
            match into {
                Into::First => _mm_prefetch::<_MM_HINT_T0>(line),
                Into::Second => _mm_prefetch::<_MM_HINT_T1>(line),
            }
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (line, into);
}
