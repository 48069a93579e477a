//! One packet of a burst, as C sees it.

use portolan::dataplane::{Descriptor, Offload, descriptor_flags, offload_flags};

/// The packet opened a connection. (A bit of portolan_descriptor.flags.)
pub const PORTOLAN_FLAG_NEW: u16 = 1;
/// The packet travels from the endpoint to the client.
pub const PORTOLAN_FLAG_REPLY_DIRECTION: u16 = 2;
/// The connection's source is translated too.
pub const PORTOLAN_FLAG_MASQUERADE: u16 = 4;
/// The connection's endpoint is on this node.
pub const PORTOLAN_FLAG_LOCAL_ENDPOINT: u16 = 8;
/// The packet is an ICMP error about a connection.
pub const PORTOLAN_FLAG_RELATED: u16 = 16;
/// In: the packet entered by a pod's interface. Read for first packets, on a node that tells pods by their interfaces.
pub const PORTOLAN_FLAG_FROM_POD: u16 = 0x8000;

/// The transport checksum field holds the sum of the pseudo-header only (virtio: NEEDS_CSUM). (A bit of
/// portolan_offload.flags.)
pub const PORTOLAN_OFFLOAD_PARTIAL: u8 = 1;
/// The transport checksum was verified already (virtio: DATA_VALID).
pub const PORTOLAN_OFFLOAD_VALID: u8 = 2;

/// What a packet's sender or receiver leaves to hardware: the meaning of struct virtio_net_hdr (virtio 1.2,
/// 5.1.6), offsets counted from the IP header. All zeros: nothing. This struct never grows.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_offload {
    /// Bits of PORTOLAN_OFFLOAD_...
    pub flags: u8,
    /// VIRTIO_NET_HDR_GSO_...: 0 none, 1 TCPv4, 3 UDP fragmentation, 4 TCPv6, 5 UDP segmentation; bit 7 ECN.
    pub gso_type: u8,
    /// Length of all headers in bytes; a hint.
    pub header_len: u16,
    /// Payload bytes of each segment; 0 without segmentation.
    pub gso_size: u16,
    /// With PORTOLAN_OFFLOAD_PARTIAL: where checksumming begins, in bytes from the IP header.
    pub checksum_start: u16,
    /// With PORTOLAN_OFFLOAD_PARTIAL: where the checksum lies, in bytes from checksum_start.
    pub checksum_offset: u16,
    /// Zero.
    pub reserved: u16,
}

/// One packet of a burst, inside one buffer of frames. The host fills offset, len, capacity, ingress_tag and
/// offload, and may set PORTOLAN_FLAG_FROM_POD; the worker writes the rest. It holds no pointers; arrays of it have a stride, so that it can grow.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_descriptor {
    /// In: where the packet's IP header begins, in bytes from the start of the frames.
    pub offset: u32,
    /// In and out: length of the packet in bytes, from the IP header on. PORTOLAN_VERDICT_REPLY changes it.
    pub len: u32,
    /// In: room for the packet in bytes, from offset on; at least len. An ICMP error is built inside it.
    pub capacity: u32,
    /// Out: PORTOLAN_VERDICT_...
    pub verdict: u8,
    /// Out: PORTOLAN_DROP_..., 0 if the packet was not dropped. portolan_strdrop() says it in words.
    pub reason: u8,
    /// In: PORTOLAN_FLAG_FROM_POD or 0. Out: the other bits of PORTOLAN_FLAG_...
    pub flags: u16,
    /// The host's own tag of where the packet came from. Never read, left as it is.
    pub ingress_tag: u64,
    /// Out: the tag that the host gave to the endpoint; 0 if none.
    pub endpoint_tag: u64,
    /// In and out: what is left to hardware.
    pub offload: portolan_offload,
}

/// The two are one: a burst is processed where C put it.
macro_rules! same_layout {
    ($theirs:ty, $ours:ty, $($field:ident),*) => {
        const _: () = {
            assert!(size_of::<$theirs>() == size_of::<$ours>());
            assert!(align_of::<$theirs>() == align_of::<$ours>());
            $(assert!(core::mem::offset_of!($theirs, $field) == core::mem::offset_of!($ours, $field));)*
        };
    };
}
same_layout!(
    portolan_descriptor,
    Descriptor,
    offset,
    len,
    capacity,
    verdict,
    reason,
    flags,
    ingress_tag,
    endpoint_tag,
    offload
);
same_layout!(
    portolan_offload,
    Offload,
    flags,
    gso_type,
    header_len,
    gso_size,
    checksum_start,
    checksum_offset,
    reserved
);
const _: () = {
    assert!(PORTOLAN_FLAG_NEW == descriptor_flags::NEW);
    assert!(PORTOLAN_FLAG_REPLY_DIRECTION == descriptor_flags::REPLY_DIRECTION);
    assert!(PORTOLAN_FLAG_MASQUERADE == descriptor_flags::MASQUERADE);
    assert!(PORTOLAN_FLAG_LOCAL_ENDPOINT == descriptor_flags::LOCAL_ENDPOINT);
    assert!(PORTOLAN_FLAG_RELATED == descriptor_flags::RELATED);
    assert!(PORTOLAN_FLAG_FROM_POD == descriptor_flags::FROM_POD);
    assert!(PORTOLAN_OFFLOAD_PARTIAL == offload_flags::PARTIAL);
    assert!(PORTOLAN_OFFLOAD_VALID == offload_flags::VALID);
};
