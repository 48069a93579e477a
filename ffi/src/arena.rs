//! The library's allocator: the system's, except while a dataplane is made in memory that its host gave.
//!
//! Rust's collections know one allocator for a program, so giving a dataplane other memory means being that
//! allocator: while [`fill`] runs, what its thread allocates is cut from the host's memory, one piece behind the
//! other, and is never cut again. Freeing such a piece only counts it; with the last one the memory is the host's
//! again. Packet calls neither allocate nor free, so none of this is on their way.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::hint;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::alloc::System;

/// How many dataplanes can lie in memory of hosts at a time.
const ARENAS: usize = 64;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

static REGISTRY: Registry = Registry {
    count: AtomicUsize::new(0),
    locked: AtomicBool::new(false),
    arenas: UnsafeCell::new([Arena::NONE; ARENAS]),
};

thread_local! {
    /// The arena that this thread allocates from.
    static FILLING: Cell<Option<usize>> = const { Cell::new(None) };
}

struct Allocator;

/// One host's memory, from `start` to `end`; no memory if they are equal.
#[derive(Clone, Copy)]
struct Arena {
    start: usize,
    /// Where the next piece is cut.
    next: usize,
    end: usize,
    /// Pieces cut and not freed.
    live: usize,
    /// A dataplane is being made in it.
    filling: bool,
    /// It did not suffice: something was taken from the system instead.
    overflowed: bool,
}

impl Arena {
    const NONE: Self = Self {
        start: 0,
        next: 0,
        end: 0,
        live: 0,
        filling: false,
        overflowed: false,
    };

    fn cut(&mut self, layout: Layout) -> Option<usize> {
        let place = self.next.checked_next_multiple_of(layout.align())?;
        let next = place.checked_add(layout.size())?;
        if next > self.end {
            self.overflowed = true;
            return None;
        }
        self.next = next;
        self.live = self.live.wrapping_add(1);
        Some(place)
    }

    const fn holds(&self, place: usize) -> bool {
        self.start <= place && place < self.end
    }
}

/// All arenas. Looked at under a lock that is held for a few comparisons, and only while there are any.
struct Registry {
    count: AtomicUsize,
    locked: AtomicBool,
    arenas: UnsafeCell<[Arena; ARENAS]>,
}

// SAFETY: the arenas are touched by whoever holds the lock, and by nobody else.
unsafe impl Sync for Registry {}

impl Registry {
    fn with<T>(&self, body: impl FnOnce(&mut [Arena; ARENAS]) -> T) -> T {
        // Acquire and Release pair up: who takes the lock sees what the one before wrote.
        while self.locked.swap(true, Ordering::Acquire) {
            hint::spin_loop();
        }
        // SAFETY: the lock is held; bodies neither allocate, panic nor come here again.
        let result = body(unsafe { &mut *self.arenas.get() });
        self.locked.store(false, Ordering::Release);
        result
    }

    fn is_empty(&self) -> bool {
        // A thread that frees a piece was handed it by whoever made the arena, so it sees the count.
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Cuts a piece, if this thread is filling an arena that has room.
    fn cut(&self, layout: Layout) -> Option<*mut u8> {
        let index = FILLING.try_with(Cell::get).ok().flatten()?;
        let place = self.with(|arenas| arenas.get_mut(index)?.cut(layout))?;
        Some(ptr::with_exposed_provenance_mut(place))
    }

    /// Counts a piece as freed, if it is one of an arena's.
    fn free(&self, piece: *mut u8) -> bool {
        let place = piece.addr();
        self.with(|arenas| {
            let Some(arena) = arenas.iter_mut().find(|arena| arena.holds(place)) else {
                return false;
            };
            arena.live = arena.live.wrapping_sub(1);
            self.release(arena);
            true
        })
    }

    /// Forgets an arena that nothing lies in and nobody fills.
    fn release(&self, arena: &mut Arena) {
        if arena.live == 0 && !arena.filling {
            *arena = Arena::NONE;
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes a host's memory in; `None` if it overlaps what is in already, or there are too many.
    fn begin(&self, start: usize, size: usize) -> Option<Filling> {
        let end = start.checked_add(size)?;
        let index = self.with(|arenas| {
            let overlaps = |arena: &Arena| arena.start < end && start < arena.end;
            if size == 0 || arenas.iter().any(overlaps) {
                return None;
            }
            let index = arenas.iter().position(|arena| arena.end == 0)?;
            *arenas.get_mut(index)? = Arena {
                start,
                next: start,
                end,
                filling: true,
                ..Arena::NONE
            };
            self.count.fetch_add(1, Ordering::Relaxed);
            Some(index)
        })?;
        FILLING.set(Some(index));
        Some(Filling(index))
    }

    fn sufficed(&self, index: usize) -> bool {
        self.with(|arenas| arenas.get(index).is_some_and(|arena| !arena.overflowed))
    }

    fn end(&self, index: usize) {
        self.with(|arenas| {
            if let Some(arena) = arenas.get_mut(index) {
                arena.filling = false;
                self.release(arena);
            }
        });
    }
}

/// This thread is making something in an arena, until this is dropped.
struct Filling(usize);

impl Drop for Filling {
    fn drop(&mut self) {
        FILLING.set(None);
        REGISTRY.end(self.0);
    }
}

// SAFETY: pieces are cut aligned, apart from each other, and within memory that the host has promised to leave alone
// until they are all freed; everything else is the system's allocator's.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(piece) = REGISTRY.cut(layout) {
            return piece;
        }
        // SAFETY: as the caller has promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if let Some(piece) = REGISTRY.cut(layout) {
            // SAFETY: a piece of that size, ours alone.
            unsafe { piece.write_bytes(0, layout.size()) };
            return piece;
        }
        // SAFETY: as the caller has promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if !REGISTRY.is_empty() && REGISTRY.free(piece) {
            return;
        }
        // SAFETY: as the caller has promised; it is no piece of an arena.
        unsafe { System.dealloc(piece, layout) }
    }
}

/// Why nothing was made in a host's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It overlaps memory that another dataplane lies in, or [`ARENAS`] are in use.
    Taken,
    /// It does not suffice.
    TooSmall,
}

/// Runs `body`; what this thread allocates meanwhile is cut from the memory given. What `body` returns is dropped if
/// the memory does not suffice.
///
/// # Safety
/// `memory` is valid for `size` bytes, and the host leaves it alone until all that lies in it is freed.
pub(crate) unsafe fn fill<T>(
    memory: *mut u8,
    size: usize,
    body: impl FnOnce() -> T,
) -> Result<T, Refused> {
    let start = memory.expose_provenance();
    let filling = REGISTRY.begin(start, size).ok_or(Refused::Taken)?;
    let made = body();
    let sufficed = REGISTRY.sufficed(filling.0);
    drop(filling);
    if sufficed {
        Ok(made)
    } else {
        Err(Refused::TooSmall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words for a host's memory, their place and their size in bytes.
    fn memory(words: usize) -> (Vec<u64>, *mut u8, usize) {
        let mut memory = vec![0_u64; words];
        let start = memory.as_mut_ptr().cast();
        (memory, start, words * 8)
    }

    #[test]
    fn memory_is_the_hosts_again_when_the_last_piece_is_freed() {
        let (memory, start, size) = memory(1024);
        let within = |piece: *const u64| memory.as_ptr_range().contains(&piece);
        // SAFETY: `memory` outlives both.
        let made = unsafe { fill(start, size, || (vec![7_u64; 100], Box::new(8_u64))) };
        let (numbers, number) = made.expect("it suffices");
        assert!(within(numbers.as_ptr()) && within(&raw const *number));
        // SAFETY: refused before anything lies there.
        assert_eq!(unsafe { fill(start, 8, || ()) }, Err(Refused::Taken));
        assert!(numbers.iter().all(|number| *number == 7) && *number == 8);
        drop((numbers, number));
        // SAFETY: as above.
        assert_eq!(unsafe { fill(start, size, || ()) }, Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_given_back_and_said() {
        let (_memory, start, size) = memory(16);
        // SAFETY: the memory outlives what was made, which is dropped.
        let made = unsafe { fill(start, size, || (Box::new(1_u8), vec![1_u8; 4096])) };
        assert_eq!(made, Err(Refused::TooSmall));
        // SAFETY: likewise.
        let made = unsafe { fill(start, size, || Box::new(1_u8)) };
        assert_eq!(made, Ok(Box::new(1)));
    }

    #[test]
    fn a_list_that_lies_there_may_grow_out_of_it() {
        let (_memory, start, size) = memory(16);
        // SAFETY: the memory outlives the list.
        let made = unsafe { fill(start, size, || vec![1_u8; 64]) };
        let mut list = made.expect("it suffices");
        list.extend([2; 4096]);
        assert!(list.iter().take(64).all(|byte| *byte == 1) && list.len() == 4160);
    }

    #[test]
    fn a_panic_while_filling_gives_the_memory_back() {
        let (_memory, start, size) = memory(64);
        let panicked = std::panic::catch_unwind(|| {
            // SAFETY: the memory outlives what was made, which is dropped.
            unsafe {
                fill(start, size, || {
                    drop(Box::new(1_u8));
                    panic!("on purpose");
                })
            }
        });
        assert!(panicked.is_err());
        drop(panicked);
        // SAFETY: likewise.
        assert_eq!(unsafe { fill(start, size, || ()) }, Ok(()));
    }
}
