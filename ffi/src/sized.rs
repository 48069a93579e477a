//! Structs that begin with `uint32_t struct_size`, so that they can grow.
//!
//! A caller that knows a shorter, older form gets that much written; one that knows a longer, newer form must
//! leave zero what this library does not know.

use crate::error::Failure;
use crate::status::portolan_status;
use core::slice;

/// A struct of plain integers and pointers that begins with its size.
///
/// # Safety
/// The type is `repr(C)`, begins with `u32`, has no padding, and all zeros are a valid value.
pub(crate) unsafe trait SizedStruct: Copy {
    /// The size it had when it was first published: no caller knows a shorter one.
    const FIRST_SIZE: usize;
}

fn wrong(argument: &str, size: usize, known: usize) -> Failure {
    let message = format!("struct_size is {size}: this library knows {known}");
    Failure::new(portolan_status::Size, argument, message)
}

/// The size that the caller's struct says it has, with a pointer to its bytes.
///
/// # Safety
/// `pointer` is NULL or points to a struct that begins with its own size.
unsafe fn size_of_callers<T: SizedStruct>(
    pointer: *const T,
    argument: &str,
) -> Result<usize, Failure> {
    if pointer.is_null() {
        return Err(Failure::null(argument));
    }
    if !pointer.is_aligned() {
        return Err(Failure::invalid(argument, "is misaligned"));
    }
    // SAFETY: not NULL, aligned; a size stands first, as promised.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    let far = size > 4096; // no struct of ours: a size never written
    if size < T::FIRST_SIZE || far {
        return Err(wrong(argument, size, size_of::<T>()));
    }
    Ok(size)
}

/// Reads a struct from the caller; fields that it does not know are zero.
///
/// # Safety
/// `pointer` is NULL or points to as many readable bytes as the size that stands first there says.
pub(crate) unsafe fn read<T: SizedStruct>(pointer: *const T, argument: &str) -> Result<T, Failure> {
    // SAFETY: as promised.
    let size = unsafe { size_of_callers(pointer, argument) }?;
    // SAFETY: as promised.
    let theirs = unsafe { slice::from_raw_parts(pointer.cast::<u8>(), size) };
    let known = size.min(size_of::<T>());
    if theirs.iter().skip(known).any(|byte| *byte != 0) {
        return Err(wrong(argument, size, size_of::<T>()));
    }
    // SAFETY: all zeros are a value of this type.
    let mut value: T = unsafe { core::mem::zeroed() };
    let ours = (&raw mut value).cast::<u8>();
    // SAFETY: `known` bytes are within both; the value is ours alone.
    unsafe { ours.copy_from_nonoverlapping(theirs.as_ptr(), known) };
    Ok(value)
}

/// Writes a struct to the caller, as much of it as it knows. The caller's `struct_size` stays.
///
/// # Safety
/// `pointer` is NULL or points to as many writable bytes as the size that stands first there says.
pub(crate) unsafe fn write<T: SizedStruct>(
    pointer: *mut T,
    value: &T,
    argument: &str,
) -> Result<(), Failure> {
    // SAFETY: as promised.
    let size = unsafe { size_of_callers(pointer, argument) }?;
    let known = size.min(size_of::<T>()) - size_of::<u32>();
    // SAFETY: a size stands first in both, so what follows lies within each.
    let from = unsafe { (&raw const *value).cast::<u8>().add(size_of::<u32>()) };
    // SAFETY: likewise.
    let to = unsafe { pointer.cast::<u8>().add(size_of::<u32>()) };
    // SAFETY: `known` bytes are within both, and `value` is not the caller's.
    unsafe { to.copy_from_nonoverlapping(from, known) };
    Ok(())
}
