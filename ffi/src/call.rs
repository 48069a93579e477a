//! What every control call does: find the handle, keep others out, catch panics, report.

use crate::error::{Failure, c_string, portolan_error};
use crate::status::portolan_status;
use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::{Mutex, MutexGuard, TryLockError};

/// Where words about a failure go.
pub(crate) type ErrorOut<'call> = Option<&'call mut MaybeUninit<*mut portolan_error>>;

/// Runs the body of a control call. A panic becomes a status.
pub(crate) fn control(
    error: ErrorOut<'_>,
    body: impl FnOnce() -> Result<(), Failure>,
) -> portolan_status {
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        Err(Failure::new(
            portolan_status::Panicked,
            "",
            "this is a bug in Portolan; the handle can only be freed",
        ))
    });
    match outcome {
        Ok(()) => portolan_status::Ok,
        Err(failure) => failure.give(error),
    }
}

/// Enters a handle, or says who is in the way. A panic while inside poisons it.
pub(crate) fn enter<'handle, T>(
    handle: Option<&'handle Mutex<T>>,
    argument: &str,
) -> Result<MutexGuard<'handle, T>, Failure> {
    let handle = handle.ok_or_else(|| Failure::null(argument))?;
    handle.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Failure::new(
            portolan_status::Busy,
            argument,
            "another thread is inside a call on it",
        ),
        TryLockError::Poisoned(_) => Failure::new(
            portolan_status::Poisoned,
            argument,
            "an earlier call on it panicked",
        ),
    })
}

/// An output that must be given.
pub(crate) fn output<'call, T>(
    output: Option<&'call mut MaybeUninit<T>>,
    argument: &str,
) -> Result<&'call mut MaybeUninit<T>, Failure> {
    output.ok_or_else(|| Failure::null(argument))
}

/// Frees a handle, unless a call on it is running, and sets the caller's pointer to NULL.
///
/// # Safety
/// `*handle` is NULL or came from `Box::into_raw` of this type and was not freed.
pub(crate) unsafe fn free<H>(
    handle: Option<&mut *mut H>,
    is_busy: impl FnOnce(&H) -> bool,
) -> portolan_status {
    let Some(pointer) = handle else {
        return portolan_status::Ok;
    };
    // SAFETY: NULL or a handle that lives, as promised.
    if unsafe { pointer.as_ref() }.is_some_and(is_busy) {
        return portolan_status::Busy;
    }
    // SAFETY: as promised; nobody is inside, and the caller gives the handle up.
    let owned = unsafe { take_box(Some(pointer)) };
    match catch_unwind(AssertUnwindSafe(|| drop(owned))) {
        Ok(()) => portolan_status::Ok,
        Err(_) => portolan_status::Panicked,
    }
}

/// Is a call running on it? (Of a poisoned handle: no.)
pub(crate) fn is_busy<T>(handle: &Mutex<T>) -> bool {
    matches!(handle.try_lock(), Err(TryLockError::WouldBlock))
}

/// Takes what `*pointer` points to, and leaves NULL.
///
/// # Safety
/// `*pointer` is NULL or came from `Box::into_raw` of this type and was not freed.
pub(crate) unsafe fn take_box<H>(pointer: Option<&mut *mut H>) -> Option<Box<H>> {
    let taken = core::mem::replace(pointer?, core::ptr::null_mut());
    // SAFETY: as promised.
    (!taken.is_null()).then(|| unsafe { Box::from_raw(taken) })
}

/// Bytes that the caller lends for the call; NULL if there are none of them.
///
/// # Safety
/// `pointer` is NULL or valid for reading `size` bytes, unchanged while `'call` lasts.
pub(crate) unsafe fn bytes<'call>(
    pointer: *const u8,
    size: usize,
    argument: &str,
) -> Result<&'call [u8], Failure> {
    // SAFETY: as promised.
    unsafe { slice(pointer, size, argument) }
}

/// An array that the caller lends for the call; NULL if it is empty.
///
/// # Safety
/// `pointer` is NULL or valid for reading `count` elements, unchanged while `'call` lasts.
pub(crate) unsafe fn slice<'call, T>(
    pointer: *const T,
    count: usize,
    argument: &str,
) -> Result<&'call [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Failure::null(argument));
    }
    let fits = count
        .checked_mul(size_of::<T>())
        .is_some_and(|size| isize::try_from(size).is_ok());
    if !fits || !pointer.is_aligned() {
        return Err(Failure::invalid(
            argument,
            "is misaligned or larger than memory",
        ));
    }
    // SAFETY: not NULL, aligned, no larger than memory; readable as promised.
    Ok(unsafe { core::slice::from_raw_parts(pointer, count) })
}

/// An array whose elements have no size of their own: the stride says which form of them the caller knows.
///
/// # Safety
/// As of [`slice`].
pub(crate) unsafe fn array<'call, T>(
    pointer: *const T,
    count: usize,
    stride: usize,
    field: &str,
) -> Result<&'call [T], Failure> {
    if count != 0 && stride != size_of::<T>() {
        return Err(Failure::new(
            portolan_status::Size,
            field,
            format!("stride {stride}: this library knows {}", size_of::<T>()),
        ));
    }
    // SAFETY: as promised.
    unsafe { slice(pointer, count, field) }
}

/// A string that the caller lends for the call, UTF-8; NULL is none.
///
/// # Safety
/// As of [`text`].
pub(crate) unsafe fn text_or_none<'call>(
    pointer: *const c_char,
    argument: &str,
) -> Result<Option<&'call str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: as promised.
    unsafe { text(pointer, argument) }.map(Some)
}

/// A string that the caller lends for the call, UTF-8.
///
/// # Safety
/// `pointer` is NULL or a NUL-terminated string, unchanged while `'call` lasts.
pub(crate) unsafe fn text<'call>(
    pointer: *const c_char,
    argument: &str,
) -> Result<&'call str, Failure> {
    if pointer.is_null() {
        return Err(Failure::null(argument));
    }
    // SAFETY: not NULL; terminated as promised.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str()
        .map_err(|_| Failure::invalid(argument, "is not UTF-8"))
}

/// Writes text for people to a buffer of the caller's, and how many bytes all of it takes, NUL included.
///
/// # Safety
/// `buffer` is NULL or valid for writing `capacity` bytes.
pub(crate) unsafe fn write_text(
    text: &str,
    buffer: *mut c_char,
    capacity: usize,
    needed: Option<&mut MaybeUninit<usize>>,
) -> Result<(), Failure> {
    let needed = output(needed, "needed")?;
    if buffer.is_null() && capacity != 0 {
        return Err(Failure::null("text"));
    }
    let text = c_string(text);
    needed.write(text.as_bytes_with_nul().len());
    if let Some(room) = capacity.checked_sub(1) {
        let copied = text.as_bytes().len().min(room);
        // SAFETY: at most `capacity` bytes with the NUL, which are writable, as promised.
        unsafe { buffer.copy_from_nonoverlapping(text.as_ptr(), copied) };
        // SAFETY: `copied` is less than `capacity`.
        let end = unsafe { buffer.add(copied) };
        // SAFETY: likewise.
        unsafe { end.write(0) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_poisons_the_handle_and_later_calls_say_so() {
        let handle = Mutex::new(0);
        let status = control(None, || {
            let _inside = enter(Some(&handle), "node")?;
            panic!("on purpose");
        });
        assert_eq!(status, portolan_status::Panicked);
        let status = control(None, || enter(Some(&handle), "node").map(drop));
        assert_eq!(status, portolan_status::Poisoned);
        assert!(!is_busy(&handle), "a poisoned handle can be freed");
    }

    #[test]
    fn a_second_caller_is_told_that_the_handle_is_busy() {
        let handle = Mutex::new(0);
        let inside = enter(Some(&handle), "node");
        let status = control(None, || enter(Some(&handle), "node").map(drop));
        assert_eq!(status, portolan_status::Busy);
        assert!(is_busy(&handle));
        drop(inside);
        assert!(!is_busy(&handle));
    }
}
