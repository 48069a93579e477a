//! Frames that a link of the router receives as from a driver: 64 at a time, in the caller's CPU time, without a sender.
//!
//! The kernel runs an XDP program on frames that it makes itself (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18); the program
//! copies the next of those that are prepared in a map, and passes it on to the network stack.
#![expect(unsafe_code, reason = "bpf, which neither std nor rustix offers")]

use crate::clock::CpuTime;
use core::time::Duration;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Bytes of the longest frame.
pub(super) const FRAME_BYTES: usize = 96;

// linux/bpf.h
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const LIVE_FRAMES: u32 = 1 << 1;

/// Prepared frames, the program that takes one after the other, and the links that it is attached to: only there are the
/// queues known that frames are said to come from.
#[derive(Debug)]
pub(super) struct Live {
    len: usize,
    capacity: u32,
    frames: OwnedFd,
    program: OwnedFd,
    _links: Vec<OwnedFd>,
}

impl Live {
    /// Room for `capacity` frames of `len` bytes, for links of this thread's network namespace. What arrives at these
    /// links in other ways is replaced by prepared frames as well.
    pub(super) fn new(len: usize, capacity: u32, links: &[u32]) -> io::Result<Self> {
        let frames = object(
            MAP_CREATE,
            &mut MapCreate {
                map_type: MAP_TYPE_ARRAY,
                key_size: 4,
                value_size: FRAME_BYTES as u32,
                max_entries: capacity + 1,
            },
        )?;
        let instructions = program(frames.as_raw_fd(), len);
        let program = object(
            PROG_LOAD,
            &mut ProgLoad {
                prog_type: PROG_TYPE_XDP,
                insn_cnt: instructions.len() as u32,
                insns: address(instructions.as_ptr()),
                license: address(c"GPL".as_ptr()),
            },
        )?;
        let attach = |link: &u32| {
            let mut attributes = LinkCreate {
                prog_fd: number(&program),
                target_ifindex: *link,
                attach_type: ATTACH_XDP,
                flags: 0,
            };
            object(LINK_CREATE, &mut attributes)
        };
        let links = links.iter().map(attach).collect::<io::Result<_>>()?;
        Ok(Self {
            len,
            capacity,
            frames,
            program,
            _links: links,
        })
    }

    /// Has a link receive these frames; CPU time that it takes.
    pub(super) fn receive<'frame>(
        &self,
        clock: &CpuTime,
        link: u32,
        frames: impl Iterator<Item = &'frame [u8; FRAME_BYTES]>,
    ) -> io::Result<Duration> {
        let mut count = 0;
        for frame in frames.take(self.capacity as usize) {
            count += 1;
            self.put(count, frame)?;
        }
        // The first entry counts those that are taken.
        self.put(0, &[0; FRAME_BYTES])?;
        let (some, from) = (
            [0_u8; FRAME_BYTES],
            XdpMd {
                data_end: self.len as u32,
                ingress_ifindex: link,
                ..XdpMd::default()
            },
        );
        let mut attributes = TestRun {
            prog_fd: number(&self.program),
            data_size_in: self.len as u32,
            data_in: address(&raw const some),
            repeat: count,
            ctx_size_in: size_of::<XdpMd>() as u32,
            ctx_in: address(&raw const from),
            flags: LIVE_FRAMES,
            ..TestRun::default()
        };
        let mut ran = Ok(0);
        let took = clock.time(|| ran = bpf(PROG_TEST_RUN, &mut attributes));
        ran.map(|_| took)
    }

    fn put(&self, key: u32, frame: &[u8; FRAME_BYTES]) -> io::Result<()> {
        let mut attributes = MapUpdate {
            map_fd: number(&self.frames),
            padding: 0,
            key: address(&raw const key),
            value: address(frame.as_ptr()),
            flags: 0,
        };
        bpf(MAP_UPDATE_ELEM, &mut attributes).map(drop)
    }
}

/// An instruction: operation, registers, offset, number.
const fn op(code: u8, to: u8, from: u8, offset: i16, number: i32) -> u64 {
    let [o0, o1] = offset.to_le_bytes();
    let [n0, n1, n2, n3] = number.to_le_bytes();
    u64::from_ne_bytes([code, from << 4 | to, o0, o1, n0, n1, n2, n3])
}

/// The entry whose number lies on the stack, in r0; away by `miss` instructions if there is none.
fn look_up(map: i32, miss: i16) -> [u64; 6] {
    [
        op(0x18, 1, 1, 0, map), // r1 = map, of two instructions' length
        0,
        op(0xbf, 2, 10, 0, 0),   // r2 = frame pointer
        op(0x07, 2, 0, 0, -4),   // r2 -= 4
        op(0x85, 0, 0, 0, 1),    // r0 = bpf_map_lookup_elem(r1, r2)
        op(0x15, 0, 0, miss, 0), // if r0 == 0, away
    ]
}

/// Counts in the first entry of `map`, copies the entry of that number over the packet, and passes it on.
fn program(map: i32, len: usize) -> Vec<u64> {
    let mut copy = Vec::new();
    let mut at = 0;
    while at < len {
        // As much as is left, in the widest words: r3 = entry, packet = r3.
        let (bytes, load, store) = match len - at {
            8.. => (8, 0x79, 0x7b),
            4.. => (4, 0x61, 0x63),
            2.. => (2, 0x69, 0x6b),
            _ => (1, 0x71, 0x73),
        };
        copy.extend([op(load, 3, 0, at as i16, 0), op(store, 2, 3, at as i16, 0)]);
        at += bytes;
    }
    let pass = [op(0xb7, 0, 0, 0, 2), op(0x95, 0, 0, 0, 0)];
    let drop = [op(0xb7, 0, 0, 0, 1), op(0x95, 0, 0, 0, 0)];
    let check = [
        op(0x61, 2, 6, 0, 0), // r2 = packet
        op(0x61, 3, 6, 4, 0), // r3 = its end
        op(0xbf, 4, 2, 0, 0),
        op(0x07, 4, 0, 0, len as i32),
        op(0x2d, 4, 3, (copy.len() + pass.len()) as i16, 0), // if r2 + len > r3, drop
    ];
    let count = [
        op(0x61, 7, 0, 0, 0), // r7 = first entry's word
        op(0x07, 7, 0, 0, 1),
        op(0x63, 0, 7, 0, 0),
        op(0x63, 10, 7, -4, 0), // on the stack
    ];
    let second = look_up(map, (check.len() + copy.len() + pass.len()) as i16);
    let behind_first = count.len() + second.len() + check.len() + copy.len() + pass.len();
    [
        &[op(0xbf, 6, 1, 0, 0), op(0x62, 10, 0, -4, 0)][..], // r6 = what is told of the packet; 0 on the stack
        &look_up(map, behind_first as i16),
        &count,
        &second,
        &check,
        &copy,
        &pass,
        &drop,
    ]
    .concat()
}

/// What `bpf` is told, of each of its operations only as much as is not 0.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

#[derive(Default)]
#[repr(C)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

#[derive(Default)]
#[repr(C)]
struct XdpMd {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.addr() as u64
}

fn number(descriptor: &OwnedFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// An operation that makes something.
fn object<T>(operation: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    let descriptor = bpf(operation, attributes)?;
    // SAFETY: the kernel has just given us this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn bpf<T>(operation: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: `T` is laid out as the kernel's attributes of the operation are; what its addresses point to lives as long
    // as the caller's variables, which is longer than the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            operation,
            &raw mut *attributes,
            size_of::<T>(),
        )
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(error.kind(), format!("bpf: {error}")));
    }
    Ok(result as libc::c_int)
}
