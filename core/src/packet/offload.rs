//! What a packet's sender or receiver left to hardware.

/// The meaning of `struct virtio_net_hdr` (virtio 1.2, 5.1.6), with offsets counted from the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Offload {
    /// Bits of [`offload_flags`].
    pub flags: u8,
    /// `VIRTIO_NET_HDR_GSO_*`: 0 none, 1 TCPv4, 3 UDP fragmentation, 4 TCPv6, 5 UDP segmentation; bit 7 ECN.
    pub gso_type: u8,
    /// Length of all headers, in bytes, to be copied to each segment; a hint.
    pub header_len: u16,
    /// Payload bytes of each segment; 0 without segmentation.
    pub gso_size: u16,
    /// With [`offload_flags::PARTIAL`]: where checksumming begins, in bytes from the IP header.
    pub checksum_start: u16,
    /// With [`offload_flags::PARTIAL`]: where the checksum lies, in bytes from `checksum_start`.
    pub checksum_offset: u16,
    /// Zero.
    pub reserved: u16,
}

impl Offload {
    /// Is nothing left to hardware?
    #[inline]
    #[must_use]
    pub const fn is_none(&self) -> bool {
        u16::from_le_bytes([self.flags, self.gso_type])
            & u16::from_le_bytes([offload_flags::PARTIAL, 0xff])
            == 0
    }
}

/// Bits of [`Offload::flags`].
pub mod offload_flags {
    /// The transport checksum field holds the uncomplemented sum of the pseudo-header; the rest is still to
    /// be summed (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
    pub const PARTIAL: u8 = 1;
    /// The transport checksum was verified by whoever delivered the packet (`VIRTIO_NET_HDR_F_DATA_VALID`).
    pub const VALID: u8 = 2;
}
