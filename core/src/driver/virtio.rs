//! `struct virtio_net_hdr` to and from [`Offload`]: the header that lies before every packet of a TUN opened
//! with `IFF_VNET_HDR`, and of a packet socket with `PACKET_VNET_HDR`.
//!
//! Only the layout is known here. Whether the offsets fit the packet is for [`crate::packet`] to judge.

use crate::packet::Offload;

/// Bytes of the header in its first form, without `num_buffers` (virtio 1.2, 5.1.6; `TUNSETVNETHDRSZ`).
pub const HEADER_LEN: usize = 10;

/// Bits of `gso_type` (virtio 1.2, 5.1.6).
pub mod gso_type {
    /// Not to be segmented.
    pub const NONE: u8 = 0;
    /// TCP over IPv4.
    pub const TCP_IPV4: u8 = 1;
    /// UDP, to be fragmented (UFO). Never asked for by this driver.
    pub const UDP_FRAGMENTATION: u8 = 3;
    /// TCP over IPv6.
    pub const TCP_IPV6: u8 = 4;
    /// UDP, each segment a datagram (USO).
    pub const UDP_SEGMENTATION: u8 = 5;
    /// Set beside a TCP type when the segments carry ECN's CWR flag.
    pub const ECN: u8 = 0x80;
}

/// Reads a header. TUN writes numbers in the machine's own byte order, unless `TUNSETVNETLE` or
/// `TUNSETVNETBE` said otherwise, which this driver never does.
#[must_use]
pub const fn decode(header: &[u8; HEADER_LEN]) -> Offload {
    let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = *header;
    Offload {
        flags,
        gso_type,
        header_len: u16::from_ne_bytes([h0, h1]),
        gso_size: u16::from_ne_bytes([g0, g1]),
        checksum_start: u16::from_ne_bytes([s0, s1]),
        checksum_offset: u16::from_ne_bytes([o0, o1]),
        reserved: 0,
    }
}

/// Writes a header; the opposite of [`decode`].
#[must_use]
pub const fn encode(offload: &Offload) -> [u8; HEADER_LEN] {
    let [h0, h1] = offload.header_len.to_ne_bytes();
    let [g0, g1] = offload.gso_size.to_ne_bytes();
    let [s0, s1] = offload.checksum_start.to_ne_bytes();
    let [o0, o1] = offload.checksum_offset.to_ne_bytes();
    [
        offload.flags,
        offload.gso_type,
        h0,
        h1,
        g0,
        g1,
        s0,
        s1,
        o0,
        o1,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        let offload = Offload {
            flags: 1,
            gso_type: 4,
            header_len: 0x0102,
            gso_size: 0x0304,
            checksum_start: 0x0506,
            checksum_offset: 0x0708,
            reserved: 0,
        };
        let header = encode(&offload);
        assert_eq!(header.first_chunk(), Some(&[1, 4]));
        let mut numbers = header.get(2..).unwrap_or_default().chunks_exact(2);
        for expected in [0x0102_u16, 0x0304, 0x0506, 0x0708] {
            assert_eq!(numbers.next(), Some(expected.to_ne_bytes().as_slice()));
        }
    }

    #[test]
    fn decode_is_the_opposite_of_encode() {
        for byte in 0..=u8::MAX {
            let mut header = [0; HEADER_LEN];
            for (position, field) in (0_u8..).zip(&mut header) {
                *field = byte
                    .wrapping_mul(31)
                    .wrapping_add(position.wrapping_mul(byte));
            }
            assert_eq!(encode(&decode(&header)), header);
        }
    }
}
