//! Fixed arrays of cache lines, placed so that the host may put them on huge pages.
//!
//! A random access to a table of many megabytes on 4 KiB pages costs a page walk beside the cache line; a host
//! that may ask for huge pages saves it. Asking is the host's ([`Advice`]): this crate makes no system calls.

use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use core::alloc::Layout;
use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

/// What a host does with memory before it is first touched: on Linux, `madvise(MADV_HUGEPAGE)`. The address is
/// of a block of so many bytes that is the caller's alone. Called while a dataplane is made, never later.
pub type Advice = fn(NonNull<u8>, usize);

const HUGE_PAGE_BYTES: usize = 2 << 20;

/// An array that never grows, of things that need no dropping.
pub struct Lines<T> {
    first: NonNull<T>,
    len: usize,
    layout: Layout,
}

#[expect(unsafe_code, reason = "an owned array, as a boxed slice is")]
// SAFETY: `Lines` owns its elements, as a boxed slice does.
unsafe impl<T: Send> Send for Lines<T> {}

#[expect(unsafe_code, reason = "an owned array, as a boxed slice is")]
// SAFETY: `Lines` gives out shared references only, as a shared boxed slice does.
unsafe impl<T: Sync> Sync for Lines<T> {}

impl<T> Lines<T> {
    /// Bytes of an array of `len` elements, alignment included at the most.
    #[must_use]
    pub const fn memory_bytes(len: usize) -> usize {
        len.saturating_mul(size_of::<T>())
    }

    /// `len` elements made by `make`, every one of them touched. With `advice`, arrays of two megabytes and more
    /// begin at a huge page and are shown to it first.
    ///
    /// Memory that cannot be had ends the program, as it does for a vector.
    #[must_use]
    #[expect(
        unsafe_code,
        reason = "allocation at an alignment that a vector does not give"
    )]
    pub fn new(len: usize, advice: Option<Advice>, mut make: impl FnMut() -> T) -> Self {
        const { assert!(!core::mem::needs_drop::<T>() && size_of::<T>() != 0) };
        let plain = Layout::array::<T>(len).unwrap_or(Layout::new::<T>());
        if len == 0 || plain.size() < size_of::<T>() {
            return Self {
                first: NonNull::dangling(),
                len: 0,
                layout: plain,
            };
        }
        let advice = advice.filter(|_| plain.size() >= HUGE_PAGE_BYTES);
        let aligned = if advice.is_some() {
            plain.align_to(HUGE_PAGE_BYTES)
        } else {
            Ok(plain)
        };
        let layout = aligned.unwrap_or(plain);
        // SAFETY: the layout is not of zero bytes: `len` and the element's size are not zero.
        let block = unsafe { alloc(layout) };
        let Some(block) = NonNull::new(block) else {
            handle_alloc_error(layout)
        };
        if let Some(advice) = advice {
            advice(block, layout.size());
        }
        let first = block.cast::<T>();
        for index in 0..len {
            // SAFETY: `index` is below `len`, and the block has room for `len` elements.
            let place = unsafe { first.add(index) };
            // SAFETY: `place` lies in the block, is aligned, and nobody else knows it yet.
            unsafe { place.write(make()) };
        }
        Self { first, len, layout }
    }
}

impl<T> Deref for Lines<T> {
    type Target = [T];

    #[inline]
    #[expect(unsafe_code, reason = "a slice of what was allocated")]
    fn deref(&self) -> &[T] {
        // SAFETY: `new` wrote `len` elements from `first` on, and they live as long as `self`.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T> Drop for Lines<T> {
    #[expect(unsafe_code, reason = "gives back what was allocated")]
    fn drop(&mut self) {
        if self.len != 0 {
            // SAFETY: `new` allocated the block with this layout; the elements need no dropping.
            unsafe { dealloc(self.first.as_ptr().cast(), self.layout) };
        }
    }
}

impl<T> fmt::Debug for Lines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Word;
    use core::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn large_arrays_begin_at_a_huge_page_and_are_shown_to_the_host_first() {
        static SHOWN: AtomicUsize = AtomicUsize::new(0);
        fn note(block: NonNull<u8>, bytes: usize) {
            assert_eq!(block.addr().get() % HUGE_PAGE_BYTES, 0);
            SHOWN.fetch_add(bytes, Ordering::Relaxed);
        }
        let mut next = 0;
        let mut make = || {
            next += 1;
            Word::new(next)
        };
        let small = Lines::new(3, Some(note), &mut make);
        assert_eq!(SHOWN.load(Ordering::Relaxed), 0);
        let large = Lines::new(HUGE_PAGE_BYTES / 8, Some(note), &mut make);
        assert_eq!(SHOWN.load(Ordering::Relaxed), HUGE_PAGE_BYTES);
        assert_eq!(small.iter().map(Word::read).sum::<u64>(), 6);
        assert_eq!(
            large.last().map(Word::read),
            Some(3 + HUGE_PAGE_BYTES as u64 / 8)
        );
        assert!(Lines::new(0, None, || Word::new(0)).is_empty());
    }
}
