//! Packets of this kernel, moved on threads of the library: the host touches none. Linux only.

use crate::call::{self, control, enter, output, text};
use crate::dataplane::{DataplaneState, portolan_dataplane};
use crate::error::{Failure, c_string, portolan_error};
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use core::ffi::{c_char, c_int};
use core::mem::MaybeUninit;
use portolan::dataplane::Descriptor;
use portolan::driver::{self, Device, Driver, QueueStats, RunError, RunOptions, Tun, TunOptions};
use portolan::net::Instant;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A device whose packets are moved. Its threads, named portolan-q0 and so on, block all signals; there is one for
/// each queue. Controlled by one thread at a time.
#[derive(Debug)]
pub struct portolan_driver {
    driver: Driver,
    device: CString,
    losses: Vec<CString>,
}

/// A TUN device: opened by name, or given as descriptors that are open. Fields that are left zero take their default.
/// What it points to is read during the call only.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_tun_options {
    /// sizeof(portolan_tun_options).
    pub struct_size: u32,
    /// How many queues to ask for, each with a thread and a worker; 0: one. Not with descriptors.
    pub queues: u32,
    /// The interface's name, at most 15 bytes; "%d" in it lets the kernel number it. With descriptors: what errors
    /// call it, if they are none of a TUN; NULL then is "".
    pub name: *const c_char,
    /// One descriptor for each queue of one TUN opened with IFF_NO_PI, or sockets that carry one packet a datagram:
    /// duplicated, the caller's own stay open. They are made non-blocking. NULL: open the interface by name.
    pub descriptors: *const c_int,
    /// How many there are.
    pub descriptor_count: usize,
    /// Memory for one burst's packets of each queue, in bytes; 0: 256 KiB.
    pub frames_bytes: usize,
    /// Set the interface's MTU; 0: leave it. Not with descriptors.
    pub mtu: u32,
    /// 1: set the interface up. Not with descriptors.
    pub up: u8,
    /// 1: let the interface outlive this process. Not with descriptors.
    pub persistent: u8,
    /// 1: do not ask for checksum and segmentation offload. Not with descriptors.
    pub no_offload: u8,
    /// 1: complete checksums and cut segments in software even if the device would take them.
    pub software_offload: u8,
    /// 1: packets on these descriptors are led by struct virtio_net_hdr; a TUN is asked itself.
    pub virtio_header: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// Counts of one queue since its start.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_driver_stats {
    /// sizeof(portolan_driver_stats).
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// IP packets read. One packet to be segmented counts as one.
    pub received_packets: u64,
    /// Bytes read, from the IP header on.
    pub received_bytes: u64,
    /// Packets written, each segment made in software for itself.
    pub sent_packets: u64,
    /// Bytes written, from the IP header on.
    pub sent_bytes: u64,
    /// Packets with PORTOLAN_VERDICT_PASS.
    pub passed: u64,
    /// Packets with PORTOLAN_VERDICT_FORWARD.
    pub forwarded: u64,
    /// Packets with PORTOLAN_VERDICT_REPLY.
    pub replied: u64,
    /// Packets with PORTOLAN_VERDICT_DROP.
    pub dropped: u64,
    /// Bursts processed.
    pub bursts: u64,
    /// Times the thread waited for packets.
    pub waits: u64,
    /// Reads shorter than their headers, or longer than any packet, or that make no sense: never processed.
    pub unreadable: u64,
    /// Checksums completed in software.
    pub software_checksums: u64,
    /// Segments made in software.
    pub software_segments: u64,
    /// Packets lost because their offload fields contradict them.
    pub unsegmentable: u64,
    /// Packets lost because the device had no room for them, though it was waited for.
    pub refused_writes: u64,
    /// Packets that the device took only a part of.
    pub short_writes: u64,
    /// Packets lost because the device answered with an error.
    pub failed_writes: u64,
    /// The errno of the last failed write; 0 if there was none.
    pub last_write_error: u64,
    /// CPU time that the queue's thread has used, in nanoseconds; brought up to date now and then.
    pub cpu_nanos: u64,
    /// Frames without an IP packet, such as ARP: sent on to the other side, or left to the kernel. None of a TUN.
    pub other_frames: u64,
    /// Frames that the kernel dropped because this queue did not read them fast enough; brought up to date now and
    /// then. A TUN counts its own, as dropped on transmission.
    pub missed_frames: u64,
}

// SAFETY: repr(C), integers and pointers without padding (ffi/tests/c/layout.c holds it).
unsafe impl SizedStruct for portolan_tun_options {
    const FIRST_SIZE: usize = size_of::<Self>();
}

// SAFETY: repr(C), two u32, then u64 only.
unsafe impl SizedStruct for portolan_driver_stats {
    const FIRST_SIZE: usize = size_of::<Self>();
}

impl From<QueueStats> for portolan_driver_stats {
    fn from(stats: QueueStats) -> Self {
        Self {
            struct_size: 0,
            reserved: 0,
            received_packets: stats.received_packets,
            received_bytes: stats.received_bytes,
            sent_packets: stats.sent_packets,
            sent_bytes: stats.sent_bytes,
            passed: stats.passed,
            forwarded: stats.forwarded,
            replied: stats.replied,
            dropped: stats.dropped,
            bursts: stats.bursts,
            waits: stats.waits,
            unreadable: stats.unreadable,
            software_checksums: stats.software_checksums,
            software_segments: stats.software_segments,
            unsegmentable: stats.unsegmentable,
            refused_writes: stats.refused_writes,
            short_writes: stats.short_writes,
            failed_writes: stats.failed_writes,
            last_write_error: stats.last_write_error,
            cpu_nanos: stats.cpu_nanos,
            other_frames: stats.other_frames,
            missed_frames: stats.missed_frames,
        }
    }
}

pub(crate) fn system(message: impl Into<String>) -> Failure {
    Failure::new(portolan_status::System, "options", message)
}

/// How threads run, of numbers that are zero where nothing was asked for.
pub(crate) const fn run_options(frames_bytes: usize, software_offload: u8) -> RunOptions {
    RunOptions {
        frames_bytes: if frames_bytes == 0 {
            1 << 18
        } else {
            frames_bytes
        },
        software_offload: software_offload != 0,
    }
}

impl portolan_tun_options {
    const fn run_options(self) -> RunOptions {
        run_options(self.frames_bytes, self.software_offload)
    }

    /// # Safety
    /// Its pointers are NULL or valid for reading what the counts beside them say; the name is NUL-terminated.
    unsafe fn open(self) -> Result<Tun, Failure> {
        // SAFETY: as promised.
        let name = unsafe { call::text_or_none(self.name, "options.name") }?;
        // SAFETY: as promised.
        let descriptors = unsafe {
            call::slice(
                self.descriptors,
                self.descriptor_count,
                "options.descriptors",
            )
        }?;
        if !descriptors.is_empty() {
            let owned: Result<Vec<OwnedFd>, Failure> = descriptors.iter().map(duplicate).collect();
            let name = name.unwrap_or_default();
            return Tun::from_descriptors(name, owned?, self.virtio_header != 0)
                .map_err(|error| system(error.to_string()));
        }
        // SAFETY: as promised.
        let name = unsafe { text(self.name, "options.name") }?;
        let options = TunOptions {
            queues: self.queues.max(1) as usize,
            offload: self.no_offload == 0,
            persistent: self.persistent != 0,
            mtu: (self.mtu != 0).then_some(self.mtu),
            up: self.up != 0,
            ..TunOptions::new(name)
        };
        Tun::open(&options).map_err(|error| system(error.to_string()))
    }
}

/// A descriptor of the host's, once more.
pub(crate) fn duplicate(descriptor: &c_int) -> Result<OwnedFd, Failure> {
    if *descriptor < 0 {
        return Err(Failure::invalid(
            "options",
            format!("{descriptor} is no descriptor"),
        ));
    }
    // SAFETY: not -1; that it is open is asked of the kernel, which refuses it if it is not.
    let borrowed = unsafe { BorrowedFd::borrow_raw(*descriptor) };
    borrowed
        .try_clone_to_owned()
        .map_err(|error| system(format!("descriptor {descriptor}: fcntl(F_DUPFD): {error}")))
}

/// Runs `body` with all signals blocked, so that threads started meanwhile handle none of the host's.
fn without_signals<T>(body: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: a filled set, and room for another.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = body();
    // SAFETY: the set that was written above; the other is not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), core::ptr::null_mut()) };
    result
}

/// Opens a TUN device and moves its packets through the dataplane, on a thread of the library for each queue, until
/// portolan_driver_stop() or the device goes: packets to be forwarded, answered or passed are written back, others
/// are dropped and counted. What the system did not grant (offload, queues) is no failure: see
/// portolan_driver_loss(). Each queue takes a worker: PORTOLAN_STATUS_LIMIT if there are not as many left.
/// PORTOLAN_STATUS_SYSTEM if the system refuses. The device is opened in the calling thread's network namespace.
///
/// Polling and publishing stay the host's: portolan_dataplane_poll() on the clock of portolan_driver_now(). The
/// driver is stopped before its dataplane is freed, or after: it keeps what it needs. Since 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives; `options` is NULL or valid, and what it points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_driver_start(
    dataplane: *mut portolan_dataplane,
    options: *const portolan_tun_options,
    driver: Option<&mut MaybeUninit<*mut portolan_driver>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    control(error, || {
        let out = output(driver, "driver")?;
        let state = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        // SAFETY: as promised.
        let options = unsafe { sized::read(options, "options") }?;
        // SAFETY: as promised of what it points to.
        let tun = unsafe { options.open() }?;
        let started = start(&state, tun.into(), &options.run_options())?;
        out.write(Box::into_raw(Box::new(started)));
        Ok(())
    })
}

/// Moves a device's packets through the dataplane, with a worker for each of its queues.
pub(crate) fn start(
    state: &DataplaneState,
    device: Device,
    options: &RunOptions,
) -> Result<portolan_driver, Failure> {
    let name = c_string(device.name());
    let losses = device.losses().iter();
    let losses = losses.map(|loss| c_string(&loss.to_string())).collect();
    let mut processors = Vec::new();
    for _ in 0..device.capabilities().queues {
        let mut worker = state.dataplane.worker().map_err(|full| {
            Failure::new(portolan_status::Limit, "limits.workers", full.to_string())
        })?;
        processors.push(
            move |now: Instant, frames: &mut [u8], burst: &mut [Descriptor]| {
                worker.process_burst(now, frames, burst);
            },
        );
    }
    let driver = without_signals(|| Driver::start(device, processors, options)).map_err(ended)?;
    Ok(portolan_driver {
        driver,
        device: name,
        losses,
    })
}

fn ended(error: RunError) -> Failure {
    Failure::new(portolan_status::System, "driver", error.to_string())
}

/// Writes to `bytes` how much memory portolan_driver_start() takes with these options for each queue, threads' stacks
/// not counted; portolan_driver_start_af_packet() takes as much for the same frames_bytes. Opens nothing. Any thread.
/// Since 0.1.
///
/// # Safety
/// `options` is NULL or points to as many readable bytes as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_driver_memory_required(
    options: *const portolan_tun_options,
    bytes: Option<&mut MaybeUninit<u64>>,
) -> portolan_status {
    control(None, || {
        let bytes = output(bytes, "bytes")?;
        // SAFETY: as promised.
        let options = unsafe { sized::read(options, "options") }?;
        bytes.write(options.run_options().memory_bytes(1) as u64);
        Ok(())
    })
}

/// The interface's name, or both with "+" between; NULL of NULL. Lives as long as the driver. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_driver_name(driver: Option<&portolan_driver>) -> *const c_char {
    driver.map_or(core::ptr::null(), |driver| driver.device.as_ptr())
}

/// One sentence on something that was asked for and not granted, and what that costs, counted from 0; NULL if there
/// is no further. Lives as long as the driver. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_driver_loss(
    driver: Option<&portolan_driver>,
    index: usize,
) -> *const c_char {
    let loss = driver.and_then(|driver| driver.losses.get(index));
    loss.map_or(core::ptr::null(), |loss| loss.as_ptr())
}

/// A descriptor that becomes readable when the driver has ended by itself, to be waited for with poll(); not to be
/// read or closed. -1 of NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_driver_fd(driver: Option<&portolan_driver>) -> c_int {
    driver.map_or(-1, |driver| driver.driver.as_fd().as_raw_fd())
}

/// Writes the counts of one queue, counted from 0. PORTOLAN_STATUS_END if there is none of that number. Its thread
/// is not held up. Since 0.1.
///
/// # Safety
/// `driver` is NULL or a handle that lives; `stats` is NULL or points to as many writable bytes as its
/// `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_driver_stats_read(
    driver: *const portolan_driver,
    queue: u32,
    stats: *mut portolan_driver_stats,
) -> portolan_status {
    // SAFETY: as promised.
    let driver = unsafe { driver.as_ref() };
    control(None, || {
        let driver = driver.ok_or_else(|| Failure::null("driver"))?;
        let counts = driver
            .driver
            .stats()
            .nth(queue as usize)
            .ok_or_else(|| Failure::new(portolan_status::End, "queue", "is beyond the last"))?;
        // SAFETY: as promised.
        unsafe { sized::write(stats, &counts.into(), "stats") }
    })
}

/// Stops the threads, waits for them, frees the driver and sets the pointer to NULL. Its workers' places can be taken
/// by new ones. PORTOLAN_STATUS_SYSTEM if it had ended by itself, with the reason in `error`; it is freed all the
/// same. NULL, and a pointer to NULL, have no effect. Since 0.1.
///
/// # Safety
/// `*driver` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_driver_stop(
    driver: Option<&mut *mut portolan_driver>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let taken = unsafe { call::take_box(driver) };
    control(error, || match taken {
        Some(driver) => driver.driver.stop().map(drop).map_err(ended),
        None => Ok(()),
    })
}

/// The time on the clock that drivers use, in nanoseconds: CLOCK_MONOTONIC. The `now_ns` of all other calls must be
/// on it too where a driver runs. Any thread. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_driver_now() -> u64 {
    driver::now().as_nanos()
}
