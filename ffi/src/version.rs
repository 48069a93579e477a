//! Which library this is.

use core::ffi::{CStr, c_char};

/// The version of the interface that this header describes. Compare with portolan_abi_version().
pub const PORTOLAN_ABI_VERSION: u32 = 1;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };

/// The version of the interface that the library has: PORTOLAN_ABI_VERSION of the header it was built
/// with. It grows with every incompatible change. Any thread. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_abi_version() -> u32 {
    PORTOLAN_ABI_VERSION
}

/// The library's version in words, such as "0.1.0". Owned by the library, lives for ever. Any thread.
/// Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_version_string() -> *const c_char {
    VERSION.as_ptr()
}
