//! The system calls that `std` does not offer, each behind a safe function. Nothing else in the driver is unsafe.
#![expect(
    unsafe_code,
    reason = "system calls; every block is one call whose pointers outlive it"
)]

use alloc::string::String;
use core::time::Duration;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::net::Instant;

/// The name and the widest member of `struct ifreq`, without its union: numbers are put in and taken out as
/// bytes. 40 bytes, the kernel's size on 64-bit machines and more than its size on 32-bit ones.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    value: [u8; 24],
}

const _: () = assert!(size_of::<InterfaceRequest>() >= size_of::<libc::ifreq>());

impl InterfaceRequest {
    /// A request about no interface, to be filled by the kernel.
    pub(super) const EMPTY: Self = Self {
        name: [0; libc::IFNAMSIZ],
        value: [0; 24],
    };

    /// A request about the interface `name`; `None` if the name is longer than the kernel takes (15 bytes).
    pub(super) fn new(name: &str) -> Option<Self> {
        let mut request = Self::EMPTY;
        // One byte stays zero: the kernel's names end with it.
        if name.len() >= request.name.len() || name.bytes().any(|byte| byte == 0) {
            return None;
        }
        request
            .name
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        Some(request)
    }

    /// The name that the kernel wrote.
    pub(super) fn name(&self) -> String {
        let bytes = self
            .name
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// `ifr_flags`, 16 bits wide.
    pub(super) fn flags(&self) -> u16 {
        let [first, second, ..] = self.value;
        u16::from_ne_bytes([first, second])
    }

    /// Sets `ifr_flags`.
    pub(super) fn set_flags(&mut self, flags: u16) {
        let [first, second, ..] = &mut self.value;
        [*first, *second] = flags.to_ne_bytes();
    }

    /// The number in `ifr_ifindex`.
    pub(super) fn number(&self) -> u32 {
        let [n0, n1, n2, n3, ..] = self.value;
        u32::from_ne_bytes([n0, n1, n2, n3])
    }

    /// Sets `ifr_mtu`, in bytes, or `ifr_ifindex`.
    pub(super) fn set_number(&mut self, number: u32) {
        if let Some(field) = self.value.first_chunk_mut::<4>() {
            *field = number.to_ne_bytes();
        }
    }
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// An ioctl that reads and writes a `struct ifreq`.
pub(super) fn interface_ioctl(
    file: &impl AsRawFd,
    operation: libc::Ioctl,
    request: &mut InterfaceRequest,
) -> io::Result<()> {
    let pointer: *mut InterfaceRequest = request;
    // SAFETY: the request is at least as large as `struct ifreq` (asserted above) and is exclusively ours for
    // the whole call; the kernel writes no pointer into it for the operations of this driver.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), operation, pointer) }).map(|_| ())
}

/// An ioctl whose argument is a number.
pub(super) fn number_ioctl(
    file: &impl AsRawFd,
    operation: libc::Ioctl,
    number: u32,
) -> io::Result<()> {
    // SAFETY: the operations called with this function take their argument by value; no memory is touched.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), operation, libc::c_ulong::from(number)) })
        .map(|_| ())
}

/// An ioctl whose argument points to an `int` that the kernel reads.
pub(super) fn pointed_number_ioctl(
    file: &impl AsRawFd,
    operation: libc::Ioctl,
    number: libc::c_int,
) -> io::Result<()> {
    let pointer: *const libc::c_int = &raw const number;
    // SAFETY: the kernel reads one int from `number`, which lives until the call returns.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), operation, pointer) }).map(|_| ())
}

/// Makes reads and writes of an already open file return instead of wait.
pub(super) fn set_nonblocking(file: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: F_GETFL takes no argument and touches no memory.
    let flags = checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: F_SETFL takes a number and touches no memory.
    checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })
        .map(|_| ())
}

/// A datagram socket, which the interface ioctls want; it sends nothing.
pub(super) fn control_socket() -> io::Result<OwnedFd> {
    // SAFETY: takes numbers, touches no memory.
    let number =
        checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the kernel has just given us this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A counter that [`poll_two`] can wait for.
pub(super) fn event() -> io::Result<File> {
    // SAFETY: takes numbers, touches no memory.
    let number = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the kernel has just given us this descriptor, so nobody else owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Waits until `file` is ready for `events` or `stop` is readable, or until the time is over. Errors of the
/// file count as ready: the next read or write reports them.
pub(super) fn poll_two(
    file: &impl AsRawFd,
    events: libc::c_short,
    stop: &impl AsRawFd,
    timeout_ms: libc::c_int,
) -> io::Result<()> {
    let mut waited = [
        libc::pollfd {
            fd: file.as_raw_fd(),
            events,
            revents: 0,
        },
        libc::pollfd {
            fd: stop.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        },
    ];
    // SAFETY: the array has the two entries announced and is exclusively ours for the whole call.
    match checked(unsafe { libc::poll(waited.as_mut_ptr(), 2, timeout_ms) }) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
    }
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let pointer: *mut libc::timespec = &raw mut time;
    // SAFETY: the kernel writes one timespec into `time`, which is exclusively ours for the whole call. Should
    // it refuse (it does not for the clocks of this file), `time` stays zero.
    let _ = unsafe { libc::clock_gettime(id, pointer) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// The monotonic clock, as the moment that the packet calls want.
pub(super) fn monotonic() -> Instant {
    Instant::ZERO.after(clock(libc::CLOCK_MONOTONIC))
}

/// CPU time that the calling thread has used, in the kernel and outside it.
pub(super) fn thread_cpu_time() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Two ends of a socket that keeps packets apart and tells when the other end is closed: a device for tests.
#[cfg(test)]
pub(super) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two numbers into `ends`, which is exclusively ours for the whole call.
    checked(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    let [near, far] = ends;
    // SAFETY: the kernel has just given us this descriptor, so nobody else owns it.
    let near = unsafe { OwnedFd::from_raw_fd(near) };
    // SAFETY: as above.
    let far = unsafe { OwnedFd::from_raw_fd(far) };
    Ok((near, far))
}

/// Asks for huge pages for a block of memory: [`crate::dataplane::Config::memory_advice`] on Linux. Where they
/// are refused, pages are as they come.
pub fn huge_pages(block: core::ptr::NonNull<u8>, bytes: usize) {
    // SAFETY: this advice changes how memory is backed, never what it holds; an address that is not ours is
    // refused with an error, which leaves things as they were.
    unsafe { libc::madvise(block.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
}
