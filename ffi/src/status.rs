//! What a call answers.

use core::ffi::c_char;

/// What became of a call. Numbers are stable; those that are missing are kept for later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
#[must_use]
pub enum portolan_status {
    /// Done.
    Ok = 0,
    /// There is nothing further in a list. Nothing was written.
    End = 1,
    /// A worker is still in a burst that reads an older generation. Nothing is lost: publish again.
    Again = 2,
    /// A pointer that must be given is NULL.
    Null = 10,
    /// `struct_size` or a stride is not one that this library knows.
    Size = 11,
    /// A value that is not allowed; portolan_error says which.
    Invalid = 12,
    /// The handle is not in a state for this call; portolan_error says why.
    State = 13,
    /// A capacity in portolan_limits is used up.
    Limit = 20,
    /// The memory that the limits ask for cannot be had.
    Memory = 21,
    /// The operating system refused; portolan_error says what, and its answer.
    System = 22,
    /// Another thread is inside a call on the handle. Nothing was done.
    Busy = 30,
    /// An earlier call on the handle failed in an unforeseen way; it can only be freed.
    Poisoned = 31,
    /// This call failed in an unforeseen way: a bug in Portolan. The handle is poisoned.
    Panicked = 32,
}

/// One sentence for a status, for people; never NULL, also for numbers that are no status. Owned by the
/// library, lives for ever. Any thread. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_strstatus(status: i32) -> *const c_char {
    let text = match status {
        0 => c"done",
        1 => c"there is nothing further",
        2 => c"a worker still reads an older generation: publish again",
        10 => c"a pointer that must be given is NULL",
        11 => c"struct_size or a stride is not one that this library knows",
        12 => c"a value is not allowed",
        13 => c"the handle is not in a state for this call",
        20 => c"a limit is used up",
        21 => c"the memory that the limits ask for cannot be had",
        22 => c"the operating system refused",
        30 => c"another thread is inside a call on this handle",
        31 => c"an earlier call on this handle failed in an unforeseen way: free it",
        32 => c"the call failed in an unforeseen way: a bug in Portolan",
        _ => c"no status of this library",
    };
    text.as_ptr()
}
