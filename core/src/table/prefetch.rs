//! Asking for a cache line before it is needed.

/// Asks the processor to load the first cache line of `value`. Changes nothing that a program can see.
#[inline]
#[cfg_attr(
    all(target_arch = "x86_64", not(miri)),
    expect(unsafe_code, reason = "the intrinsic takes a pointer")
)]
pub fn prefetch<T>(value: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let pointer: *const i8 = core::ptr::from_ref(value).cast();
        // SAFETY: prefetching has no effect but on caches, whatever the address; this one is valid.
        unsafe { core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T1 }>(pointer) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = value;
}
