//! Ethernet frames of this kernel, moved on threads of the library: the host touches none. Linux only.

use crate::call::{self, control, enter, output, text};
use crate::dataplane::portolan_dataplane;
use crate::driver::{portolan_driver, run_options, start, system};
use crate::error::{Failure, portolan_error};
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use core::ffi::c_char;
use core::mem::MaybeUninit;
use portolan::driver::{AfPacket, AfPacketOptions};

/// Packet sockets on one Ethernet interface or on two. Fields that are left zero take their default. What it points to
/// is read during the call only.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_af_packet_options {
    /// sizeof(portolan_af_packet_options).
    pub struct_size: u32,
    /// How many sockets share an interface's frames, by connection, each with a thread and a worker; 0: one. Between
    /// two interfaces each has as many.
    pub queues: u32,
    /// The interface's name, at most 15 bytes; with other_side, the one on this side.
    pub name: *const c_char,
    /// The interface on the other side of a bump in the wire; NULL: a next hop.
    pub other_side: *const c_char,
    /// Memory for one burst's packets of each queue, in bytes; 0: 256 KiB.
    pub frames_bytes: usize,
    /// 1: set the interfaces up.
    pub up: u8,
    /// 1: complete checksums and cut segments in software even if the kernel would.
    pub software_offload: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

// SAFETY: repr(C), integers and pointers without padding (ffi/tests/c/layout.c holds it).
unsafe impl SizedStruct for portolan_af_packet_options {
    const FIRST_SIZE: usize = size_of::<Self>();
}

impl portolan_af_packet_options {
    /// # Safety
    /// Its strings are NULL or NUL-terminated.
    unsafe fn open(self) -> Result<AfPacket, Failure> {
        // SAFETY: as promised.
        let name = unsafe { text(self.name, "options.name") }?;
        // SAFETY: as promised.
        let other_side = unsafe { call::text_or_none(self.other_side, "options.other_side") }?;
        let options = AfPacketOptions {
            other_side: other_side.map(str::to_owned),
            queues: self.queues.max(1) as usize,
            up: self.up != 0,
            ..AfPacketOptions::next_hop(name)
        };
        AfPacket::open(&options).map_err(|error| system(error.to_string()))
    }
}

/// Opens packet sockets and moves their packets through the dataplane; otherwise as portolan_driver_start(), for hosts
/// whose kernel does not route what is for Services. Takes CAP_NET_RAW.
///
/// On one interface it is a next hop: it takes the IP packets that other stations send to the interface's address. What
/// is forwarded or answered goes back to the station that sent it, which routes it by its new destination; what is
/// passed is left to the kernel, which has a copy. Between two it is a bump in the wire: what comes by one interface
/// leaves by the other, link addresses as they were, frames that are no IP too; answers go back. Neither resolves
/// neighbours. Checksums, segments and VLAN tags are kept as the interfaces have them. The kernel sees all frames as
/// well, so give the interfaces no addresses that Services use. Since 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives; `options` is NULL or valid, and what it points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_driver_start_af_packet(
    dataplane: *mut portolan_dataplane,
    options: *const portolan_af_packet_options,
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
        let sockets = unsafe { options.open() }?;
        let run = run_options(options.frames_bytes, options.software_offload);
        let started = start(&state, sockets.into(), &run)?;
        out.write(Box::into_raw(Box::new(started)));
        Ok(())
    })
}
