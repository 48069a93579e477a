//! One packet of a burst: where it lies, what came of it. Plain integers, so that C and Go fill it directly.

use crate::net::{Arrival, DropReason, Verdict};
use crate::packet::Offload;

/// One packet of a burst, inside one contiguous buffer of frames.
///
/// The host fills `offset`, `len`, `capacity`, `ingress_tag` and `offload`, and may say in `flags` that a pod's
/// interface delivered the packet; the worker writes the rest. There are no pointers inside: a Go host pays 33 ns a
/// packet for descriptors that point and 1.5 ns for offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Descriptor {
    /// Where the packet's IP header begins, in bytes from the start of the frames.
    pub offset: u32,
    /// Length of the packet in bytes, from the IP header on. In and out: a [`Verdict::Reply`] changes it.
    pub len: u32,
    /// Room for the packet in bytes, from `offset` on; at least `len`. An ICMP error is built inside it.
    pub capacity: u32,
    /// Out: a [`Verdict`] as a number. See [`Descriptor::verdict`].
    pub verdict: u8,
    /// Out: a [`DropReason`] as a number, 0 if the packet was not dropped. See [`Descriptor::drop_reason`].
    pub reason: u8,
    /// In: [`descriptor_flags::FROM_POD`] or 0. Out: the other bits of [`descriptor_flags`].
    pub flags: u16,
    /// In: the host's own tag of where the packet came from. Never read, left as it is.
    pub ingress_tag: u64,
    /// Out: the tag that the host gave to the endpoint (0 if it gave none), so that it need not look the
    /// endpoint up again to know where to send the packet.
    pub endpoint_tag: u64,
    /// In and out: what is left to the sender's or receiver's hardware.
    pub offload: Offload,
}

/// Bits of [`Descriptor::flags`].
pub mod descriptor_flags {
    /// The packet opened a connection.
    pub const NEW: u16 = 1;
    /// The packet travels from the endpoint to the client.
    pub const REPLY_DIRECTION: u16 = 2;
    /// The connection's source is translated too.
    pub const MASQUERADE: u16 = 4;
    /// The connection's endpoint is on this node.
    pub const LOCAL_ENDPOINT: u16 = 8;
    /// The packet is an ICMP error about a connection.
    pub const RELATED: u16 = 16;
    /// In: the packet entered by a pod's interface. Read for the first packet of a connection, on a node that tells
    /// pods by their interfaces ([`crate::service::NodeSpec::pod_interface`]); of no consequence elsewhere.
    pub const FROM_POD: u16 = 1 << 15;
}

impl Descriptor {
    /// A packet of `len` bytes at `offset`, with no room behind it, from nowhere in particular.
    #[must_use]
    pub const fn new(offset: u32, len: u32) -> Self {
        Self {
            offset,
            len,
            capacity: len,
            verdict: 0,
            reason: 0,
            flags: 0,
            ingress_tag: 0,
            endpoint_tag: 0,
            offload: Offload {
                flags: 0,
                gso_type: 0,
                header_len: 0,
                gso_size: 0,
                checksum_start: 0,
                checksum_offset: 0,
                reserved: 0,
            },
        }
    }

    /// By what the packet entered, before its burst is processed.
    #[inline]
    #[must_use]
    pub const fn arrival(&self) -> Arrival {
        if self.flags & descriptor_flags::FROM_POD != 0 {
            Arrival::PodInterface
        } else {
            Arrival::Elsewhere
        }
    }

    /// What the host is to do, as the last burst decided.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match Verdict::from_number(self.verdict) {
            Some(verdict) => verdict,
            None => Verdict::Pass,
        }
    }

    /// Why the packet was dropped, if it was.
    #[must_use]
    pub const fn drop_reason(&self) -> Option<DropReason> {
        DropReason::from_number(self.reason)
    }
}

const _: () = assert!(size_of::<Descriptor>() == 48);
