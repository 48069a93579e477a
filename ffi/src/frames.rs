//! Memory for bursts: the library's, or a host's that is registered, with descriptors for it.

use crate::call::{self, control, output};
use crate::descriptor::portolan_descriptor;
use crate::error::{Failure, portolan_error};
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use core::alloc::Layout;
use core::mem::MaybeUninit;
use portolan::dataplane::Descriptor;
use std::alloc::{alloc_zeroed, dealloc};

/// Frames of the library begin at a page.
const PAGE: usize = 4096;

/// Frames of one size, one behind the other, and a descriptor for each. Owned by the caller; one thread at a time, as
/// a worker that moves them.
#[derive(Debug)]
pub struct portolan_frames {
    base: *mut u8,
    bytes: usize,
    frame_size: u32,
    descriptors: Vec<Descriptor>,
    /// The layout of memory that is ours; `None` of a host's.
    owned: Option<Layout>,
}

/// Where frames and descriptors lie: the arguments of portolan_worker_process().
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_frame_layout {
    /// sizeof(portolan_frame_layout).
    pub struct_size: u32,
    /// How many frames there are, each with a descriptor.
    pub count: u32,
    /// Room for one packet, in bytes: frame i begins at i times this.
    pub frame_size: u32,
    /// sizeof(portolan_descriptor) of this library: how far apart descriptors lie.
    pub stride: u32,
    /// Where the frames begin.
    pub base: *mut u8,
    /// How many bytes they take.
    pub bytes: usize,
    /// The descriptors. Their offset and capacity are set; the host sets len, and what else it knows.
    pub descriptors: *mut portolan_descriptor,
}

// SAFETY: repr(C), four u32, two pointers and a size.
unsafe impl SizedStruct for portolan_frame_layout {
    const FIRST_SIZE: usize = size_of::<Self>();
}

impl portolan_frames {
    fn new(
        base: *mut u8,
        bytes: usize,
        count: u32,
        frame_size: u32,
        owned: Option<Layout>,
    ) -> Self {
        let offsets = (0..count).map(|index| index.wrapping_mul(frame_size));
        Self {
            base,
            bytes,
            frame_size,
            descriptors: offsets.map(|at| Descriptor::new(at, frame_size)).collect(),
            owned,
        }
    }
}

impl Drop for portolan_frames {
    fn drop(&mut self) {
        if let Some(layout) = self.owned {
            // SAFETY: allocated by `portolan_frames_new` with this layout.
            unsafe { dealloc(self.base, layout) };
        }
    }
}

/// Makes `count` frames of `frame_size` bytes in memory of the library, zeros, beginning at a page, and a descriptor
/// for each. Together they are less than 4 GiB: PORTOLAN_STATUS_INVALID otherwise. PORTOLAN_STATUS_MEMORY if that
/// cannot be had. Freed with portolan_frames_free(). Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_frames_new(
    count: u32,
    frame_size: u32,
    frames: Option<&mut MaybeUninit<*mut portolan_frames>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    control(error, || {
        let out = output(frames, "frames")?;
        let bytes = count.checked_mul(frame_size).filter(|bytes| *bytes != 0);
        let Some(bytes) = bytes.and_then(|bytes| usize::try_from(bytes).ok()) else {
            return Err(Failure::invalid(
                "count",
                format!("{count} frames of {frame_size} bytes: must be between 1 byte and 4 GiB"),
            ));
        };
        let cannot = || Failure::new(portolan_status::Memory, "count", "cannot be had");
        let layout = Layout::from_size_align(bytes, PAGE).map_err(|_| cannot())?;
        // SAFETY: the layout is not of zero bytes.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return Err(cannot());
        }
        let made = portolan_frames::new(base, bytes, count, frame_size, Some(layout));
        out.write(Box::into_raw(Box::new(made)));
        Ok(())
    })
}

/// Makes frames of memory that the host has, a UMEM, a guest's or a pool's: as many of `frame_size` bytes as fit, and
/// a descriptor for each in memory of the library. The memory stays the host's, and must until the frames are freed
/// with portolan_frames_free(). Since 0.1.
///
/// # Safety
/// `memory` is NULL or valid for `memory_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_frames_register(
    memory: *mut u8,
    memory_size: usize,
    frame_size: u32,
    frames: Option<&mut MaybeUninit<*mut portolan_frames>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    control(error, || {
        let out = output(frames, "frames")?;
        if memory.is_null() {
            return Err(Failure::null("memory"));
        }
        let size = u32::try_from(memory_size).ok();
        let count = size.and_then(|size| size.checked_div(frame_size));
        let Some(count) = count.filter(|count| *count != 0) else {
            return Err(Failure::invalid(
                "memory_size",
                format!(
                    "{memory_size} bytes for frames of {frame_size}: must hold one, below 4 GiB"
                ),
            ));
        };
        let made = portolan_frames::new(memory, memory_size, count, frame_size, None);
        out.write(Box::into_raw(Box::new(made)));
        Ok(())
    })
}

/// Writes where frames and descriptors lie; they stay there until they are freed. Since 0.1.
///
/// # Safety
/// `frames` is NULL or a handle that lives; `layout` is NULL or points to as many writable bytes as its
/// `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_frames_layout(
    frames: *mut portolan_frames,
    layout: *mut portolan_frame_layout,
) -> portolan_status {
    // SAFETY: as promised; one thread at a time.
    let frames = unsafe { frames.as_mut() };
    control(None, || {
        let frames = frames.ok_or_else(|| Failure::null("frames"))?;
        let value = portolan_frame_layout {
            struct_size: 0,
            count: u32::try_from(frames.descriptors.len()).unwrap_or_default(),
            frame_size: frames.frame_size,
            stride: u32::try_from(size_of::<Descriptor>()).unwrap_or_default(),
            base: frames.base,
            bytes: frames.bytes,
            descriptors: frames.descriptors.as_mut_ptr().cast(),
        };
        // SAFETY: as promised.
        unsafe { sized::write(layout, &value, "layout") }
    })
}

/// Frees frames and sets the pointer to NULL; registered memory is the host's alone again. NULL, and a pointer to
/// NULL, have no effect. Since 0.1.
///
/// # Safety
/// `*frames` is NULL or came from this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_frames_free(frames: Option<&mut *mut portolan_frames>) {
    // SAFETY: as promised.
    drop(unsafe { call::take_box(frames) });
}
