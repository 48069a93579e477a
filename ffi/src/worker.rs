//! Bursts of packets.

use crate::call::{self, control, enter, output};
use crate::dataplane::portolan_dataplane;
use crate::descriptor::portolan_descriptor;
use crate::error::{Failure, portolan_error};
use crate::status::portolan_status;
use core::mem::MaybeUninit;
use core::slice;
use portolan::dataplane::{Descriptor, Worker};
use portolan::net::Instant;
use std::sync::{Mutex, TryLockError};

/// Descriptors of another stride are moved this many at a time.
const MOVED: usize = 128;

/// One thread's way of moving packets. It may move between threads, but is used by one at a time. It keeps
/// what it needs of its dataplane alive, and may be freed before or after it.
#[derive(Debug)]
pub struct portolan_worker {
    pub(crate) worker: Mutex<Worker>,
}

/// Makes a worker: one for each thread that moves packets. PORTOLAN_STATUS_LIMIT if limits.workers exist.
/// Owned by the caller, freed with portolan_worker_free(). Since 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_worker_new(
    dataplane: *mut portolan_dataplane,
    worker: Option<&mut MaybeUninit<*mut portolan_worker>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    control(error, || {
        let worker = output(worker, "worker")?;
        let dataplane = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        let made = dataplane.dataplane.worker().map_err(|full| {
            Failure::new(portolan_status::Limit, "limits.workers", full.to_string())
        })?;
        let made = Box::new(portolan_worker {
            worker: Mutex::new(made),
        });
        worker.write(Box::into_raw(made));
        Ok(())
    })
}

/// Frees a worker and sets the pointer to NULL; its place can be taken by a new one. NULL, and a pointer to
/// NULL, have no effect. PORTOLAN_STATUS_BUSY while another thread is in a burst: nothing is freed then.
/// Since 0.1.
///
/// # Safety
/// `*worker` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_worker_free(
    worker: Option<&mut *mut portolan_worker>,
) -> portolan_status {
    // SAFETY: as promised.
    unsafe { call::free(worker, |handle| call::is_busy(&handle.worker)) }
}

/// Moves one burst of packets: each descriptor gets a verdict, and each packet to be forwarded or answered is
/// rewritten in place. `now_ns` is the host's monotonic clock. `stride` is sizeof(portolan_descriptor).
///
/// `frames` and `descriptors` are read and written during the call only. Allocates nothing, waits for nothing,
/// calls nothing back. Whatever packets and descriptors hold, each gets a verdict; a descriptor that lies
/// outside `frames` is dropped as PORTOLAN_DROP_MALFORMED_DESCRIPTOR. One generation of the services decides
/// the whole burst (with another stride: each 128 packets of it). Every status but PORTOLAN_STATUS_OK leaves
/// packets and descriptors as they are. One thread at a time; another is told PORTOLAN_STATUS_BUSY. Since 0.1.
///
/// # Safety
/// `worker` is NULL or a handle that lives; `frames` is NULL or valid for `frames_size` bytes, `descriptors`
/// for `count` elements `stride` bytes apart.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_worker_process(
    worker: *mut portolan_worker,
    now_ns: u64,
    frames: *mut u8,
    frames_size: usize,
    descriptors: *mut portolan_descriptor,
    stride: u32,
    count: u32,
) -> portolan_status {
    // SAFETY: as promised.
    let Some(worker) = (unsafe { worker.as_ref() }) else {
        return portolan_status::Null;
    };
    let (stride, count) = (stride as usize, count as usize);
    if let Err(status) = check(frames, frames_size, descriptors, stride, count) {
        return status;
    }
    if count == 0 {
        return portolan_status::Ok;
    }
    let mut worker = match worker.worker.try_lock() {
        Ok(worker) => worker,
        Err(TryLockError::WouldBlock) => return portolan_status::Busy,
        Err(TryLockError::Poisoned(_)) => return portolan_status::Poisoned,
    };
    let frames: &mut [u8] = if frames_size == 0 {
        &mut []
    } else {
        // SAFETY: not NULL and no larger than memory (`check`); ours during the call, as promised.
        unsafe { slice::from_raw_parts_mut(frames, frames_size) }
    };
    let now = Instant::from_nanos(now_ns);
    let first = descriptors.cast::<Descriptor>();
    if stride == size_of::<Descriptor>() {
        // SAFETY: not NULL, aligned, no larger than memory (`check`); the layouts are the same (`descriptor`).
        let burst = unsafe { slice::from_raw_parts_mut(first, count) };
        worker.process_burst(now, frames, burst);
    } else {
        // SAFETY: as promised of descriptors that far apart.
        unsafe { process_apart(&mut worker, now, frames, first, stride, count) };
    }
    portolan_status::Ok
}

/// What must hold of the pointers before they are used.
fn check(
    frames: *mut u8,
    frames_size: usize,
    descriptors: *mut portolan_descriptor,
    stride: usize,
    count: usize,
) -> Result<(), portolan_status> {
    let is_known =
        stride >= size_of::<Descriptor>() && stride.is_multiple_of(align_of::<Descriptor>());
    if !is_known {
        return Err(portolan_status::Size);
    }
    if (frames.is_null() && frames_size != 0) || (descriptors.is_null() && count != 0) {
        return Err(portolan_status::Null);
    }
    let bytes = stride.checked_mul(count).map(isize::try_from);
    let fits = matches!(bytes, Some(Ok(_))) && isize::try_from(frames_size).is_ok();
    if !fits || !descriptors.is_aligned() {
        return Err(portolan_status::Invalid);
    }
    Ok(())
}

/// A burst of descriptors of a newer, longer form: moved to ours and back.
///
/// # Safety
/// `first` is aligned and valid for `count` descriptors `stride` bytes apart.
unsafe fn process_apart(
    worker: &mut Worker,
    now: Instant,
    frames: &mut [u8],
    first: *mut Descriptor,
    stride: usize,
    count: usize,
) {
    let mut moved = [Descriptor::default(); MOVED];
    let mut done = 0;
    while done < count {
        let part = MOVED.min(count.wrapping_sub(done));
        let Some(burst) = moved.get_mut(..part) else {
            return;
        };
        for (index, ours) in burst.iter_mut().enumerate() {
            // SAFETY: one of the `count` descriptors.
            let theirs = unsafe { first.byte_add(done.wrapping_add(index).wrapping_mul(stride)) };
            // SAFETY: aligned, because first and stride are.
            *ours = unsafe { theirs.read() };
        }
        worker.process_burst(now, frames, burst);
        for (index, ours) in burst.iter().enumerate() {
            // SAFETY: one of the `count` descriptors.
            let theirs = unsafe { first.byte_add(done.wrapping_add(index).wrapping_mul(stride)) };
            // SAFETY: aligned, because first and stride are.
            unsafe { theirs.write(*ours) };
        }
        done = done.wrapping_add(part);
    }
}
