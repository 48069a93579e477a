//! The shared 64-bit word under everything else, and the fences that go with it.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// Sixty-four bits that threads share.
#[derive(Debug)]
#[repr(transparent)]
pub struct Word(AtomicU64);

impl Word {
    /// A word of this value.
    #[must_use]
    pub fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// Reads; orders nothing.
    #[inline]
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Reads; what the writer of the value did before [`Word::write_release`] is visible afterwards.
    #[inline]
    #[must_use]
    pub fn read_acquire(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Writes; orders nothing.
    #[inline]
    pub fn write(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Writes; publishes all that this thread did before to whoever acquires the value.
    #[inline]
    pub fn write_release(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// Writes `new` if the word still is `old`, acquiring and releasing.
    ///
    /// # Errors
    /// The value found instead, acquired.
    #[inline]
    pub fn swap_if(&self, old: u64, new: u64) -> Result<(), u64> {
        match self
            .0
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => Ok(()),
            Err(found) => Err(found),
        }
    }

    /// Adds, wrapping, for counts that several threads write; gives the count before.
    #[inline]
    pub fn add(&self, amount: u64) -> u64 {
        self.0.fetch_add(amount, Ordering::Relaxed)
    }

    /// Adds, wrapping, for counts that only this thread writes: a plain load and store.
    #[inline]
    pub fn add_unshared(&self, amount: u64) {
        self.write(self.read().wrapping_add(amount));
    }
}

impl Default for Word {
    fn default() -> Self {
        Self::new(0)
    }
}

/// Later writes of this thread are seen only by those who see all its earlier reads and writes done.
#[inline]
pub fn fence_release() {
    fence(Ordering::Release);
}

/// Later reads of this thread happen after all its earlier ones.
#[inline]
pub fn fence_acquire() {
    fence(Ordering::Acquire);
}

/// Orders what this thread swapped into a word before its later reads: of two threads that each swap and then read what
/// the other swapped, one at least sees the other's.
#[inline]
pub fn fence_swapped() {
    // A locked instruction is such a fence; the compiler alone must be told.
    #[cfg(all(target_arch = "x86_64", not(any(loom, miri))))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, miri)))))]
    fence(Ordering::SeqCst);
}

/// Orders this thread's earlier writes before its later reads, for both sides of a store-load pair.
#[inline]
pub(super) fn fence_sequential() {
    fence(Ordering::SeqCst);
}
