//! Where a queue's packets come from and where they go: a TUN, one interface, or one of two sides.

use alloc::string::String;
use std::fs::File;
use std::io::{self, Read};

use super::ethernet::{self, Frame};
use super::sys::{self, InterfaceRequest};
use super::virtio;
use super::wire;
use crate::dataplane::{Offload, Verdict};

/// One end of a queue.
#[derive(Debug)]
pub(super) struct End {
    /// The interface's name.
    pub(super) name: String,
    pub(super) file: File,
}

/// What lies before a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// A virtio header, or nothing.
    Packets {
        /// Bytes of it.
        header_len: usize,
    },
    /// A virtio header and a link header, on the interface of this index.
    Frames {
        /// The kernel's number of the interface.
        interface: u32,
    },
}

/// Both ends of a queue.
#[derive(Debug)]
pub(super) struct Port {
    /// Packets are read here.
    pub(super) near: End,
    /// The other side, if there is one.
    pub(super) far: Option<End>,
    pub(super) framing: Framing,
}

/// Which end a packet leaves by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The one that it came by.
    Back,
    /// The other one.
    On,
}

/// What a read brought.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arrived {
    /// A packet, in the room that it was read to.
    Packet(Placed),
    /// A frame that carries none, from here to there in the room, with its virtio header.
    Other { begin: usize, end: usize },
    /// A frame that is the kernel's to answer.
    Kernels,
    /// Nothing that could be processed.
    Unreadable,
    /// Nothing any more: the other end was closed.
    Closed,
}

/// Where a packet lies in its room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    /// Bytes between the end of the room before packets and this one.
    pub(super) skip: usize,
    /// Bytes of its link header.
    pub(super) link_len: usize,
    pub(super) len: usize,
    pub(super) offload: Offload,
}

impl Port {
    /// Room that is wanted before a packet.
    pub(super) const fn room_before(&self) -> usize {
        match self.framing {
            Framing::Packets { header_len } => header_len,
            Framing::Frames { .. } => ethernet::ROOM_BEFORE,
        }
    }

    /// Bytes of the virtio header.
    pub(super) const fn header_len(&self) -> usize {
        match self.framing {
            Framing::Packets { header_len } => header_len,
            Framing::Frames { .. } => virtio::HEADER_LEN,
        }
    }

    /// The end that a packet of this verdict leaves by, if it leaves. What is passed on a single interface is the
    /// kernel's, which has a copy of its own.
    pub(super) const fn way(&self, verdict: Verdict) -> Option<Way> {
        match (verdict, self.framing, &self.far) {
            (Verdict::Drop, ..) | (Verdict::Pass, Framing::Frames { .. }, None) => None,
            (Verdict::Pass | Verdict::Forward, _, Some(_)) => Some(Way::On),
            (Verdict::Pass | Verdict::Forward | Verdict::Reply, ..) => Some(Way::Back),
        }
    }

    pub(super) fn end(&self, way: Way) -> &End {
        match (way, &self.far) {
            (Way::On, Some(far)) => far,
            (Way::On | Way::Back, _) => &self.near,
        }
    }

    /// Reads once.
    pub(super) fn read(&self, room: &mut [u8]) -> io::Result<Arrived> {
        match self.framing {
            Framing::Packets { header_len } => self.read_packet(room, header_len),
            Framing::Frames { .. } => self.read_frame(room),
        }
    }

    fn read_packet(&self, room: &mut [u8], header_len: usize) -> io::Result<Arrived> {
        let len = (&self.near.file).read(room)?;
        if len == 0 {
            return Ok(Arrived::Closed);
        }
        let header = (header_len > 0).then(|| room.first_chunk()).flatten();
        Ok(match len.checked_sub(header_len) {
            None | Some(0) => Arrived::Unreadable,
            Some(len) => Arrived::Packet(Placed {
                skip: 0,
                link_len: 0,
                len,
                offload: header.map(virtio::decode).unwrap_or_default(),
            }),
        })
    }

    fn read_frame(&self, room: &mut [u8]) -> io::Result<Arrived> {
        let read_to = room.get_mut(ethernet::READ_AT..).unwrap_or_default();
        let received = match wire::receive(&self.near.file, read_to) {
            Ok(received) => received,
            // A frame that a virtio header cannot describe (net/packet/af_packet.c, packet_rcv_vnet), or none for us.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                return Ok(Arrived::Unreadable);
            }
            Err(error) => return Err(error),
        };
        if received.is_for_kernel(self.far.is_some()) {
            return Ok(Arrived::Kernels);
        }
        let frame = (!received.is_cut).then(|| Frame::read(room, received.len, received.tag));
        Ok(match frame.flatten() {
            None => Arrived::Unreadable,
            Some(frame) if frame.is_ip => Arrived::Packet(Placed {
                // Behind a virtio header and a plain link header the packet begins where the room ends.
                skip: (frame.begin + virtio::HEADER_LEN + frame.link_len)
                    .saturating_sub(ethernet::ROOM_BEFORE),
                link_len: frame.link_len,
                len: frame.payload_len,
                offload: frame.offload,
            }),
            Some(frame) => {
                let begin = frame.begin;
                let len = virtio::HEADER_LEN + frame.link_len + frame.payload_len;
                Arrived::Other {
                    begin,
                    end: begin + len,
                }
            }
        })
    }

    /// Is the interface there, if only set down?
    pub(super) fn is_there(&self) -> bool {
        let Framing::Frames { interface } = self.framing else {
            return true;
        };
        let mut request = InterfaceRequest::EMPTY;
        request.set_number(interface);
        let operation = libc::SIOCGIFNAME as libc::Ioctl;
        sys::interface_ioctl(&self.near.file, operation, &mut request).is_ok()
    }

    /// Packets that the kernel has dropped since the last call, because they were not read fast enough.
    pub(super) fn missed(&self) -> usize {
        match self.framing {
            Framing::Packets { .. } => 0,
            Framing::Frames { .. } => wire::drops(&self.near.file),
        }
    }
}
