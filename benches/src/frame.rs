//! One packet, written into a frame: 60 bytes over IPv4, 80 over IPv6, checksums right.

use crate::Family;
use crate::flow::End;
use portolan::dataplane::Descriptor;
use portolan::net::Protocol;
use portolan::packet::tcp_flags;

/// Bytes from one frame to the next.
pub const FRAME_STRIDE: usize = 128;

/// What the packet is, beside its ends.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// TCP flags.
    pub flags: u8,
    /// TCP sequence number.
    pub sequence: u32,
    /// TCP acknowledgment number.
    pub acknowledgment: u32,
    /// 20 bytes of data, or of options.
    pub data: bool,
}

impl Shape {
    /// A SYN with Linux's options.
    pub const SYN: Self = Self {
        flags: tcp_flags::SYN,
        sequence: 0,
        acknowledgment: 0,
        data: false,
    };
}

/// MSS, SACK permitted, timestamps, window scale 7, as Linux sends them.
const SYN_OPTIONS: [u8; 20] = [
    2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
];
/// Timestamps, and padding up to the same length.
const ACK_OPTIONS: [u8; 20] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1];

/// Packets side by side, and their descriptors.
#[derive(Debug)]
pub struct Segment {
    /// The frames.
    pub frames: Vec<u8>,
    /// One for each frame in use.
    pub descriptors: Vec<Descriptor>,
}

impl Segment {
    /// Room for `packets`.
    #[must_use]
    pub fn new(packets: usize) -> Self {
        Self {
            frames: vec![0; packets * FRAME_STRIDE],
            descriptors: Vec::with_capacity(packets),
        }
    }

    /// Adds a packet.
    pub(crate) fn push(
        &mut self,
        family: Family,
        protocol: Protocol,
        ends: [End; 2],
        shape: &Shape,
    ) {
        let offset = self.descriptors.len() * FRAME_STRIDE;
        let len = write_frame(
            &mut self.frames[offset..offset + FRAME_STRIDE],
            family,
            protocol,
            ends,
            shape,
        );
        self.descriptors
            .push(Descriptor::new(offset as u32, len as u32));
    }

    /// The packet of descriptor `position`.
    #[must_use]
    pub fn packet(&self, position: usize) -> &[u8] {
        let descriptor = &self.descriptors[position];
        let start = descriptor.offset as usize;
        &self.frames[start..start + descriptor.len as usize]
    }
}

/// Writes a packet at the start of `frame`; its length.
pub(crate) fn write_frame(
    frame: &mut [u8],
    family: Family,
    protocol: Protocol,
    [from, to]: [End; 2],
    shape: &Shape,
) -> usize {
    let message_len = 40_u16;
    let network_len = match family {
        Family::Ipv4 => {
            frame[..12].copy_from_slice(&[
                0x45,
                0,
                0,
                60,
                0,
                0,
                0x40,
                0,
                64,
                protocol.number(),
                0,
                0,
            ]);
            frame[12..16].copy_from_slice(&from.address[..4]);
            frame[16..20].copy_from_slice(&to.address[..4]);
            let checksum = !fold(sum(&frame[..20]));
            frame[10..12].copy_from_slice(&checksum.to_be_bytes());
            20
        }
        Family::Ipv6 => {
            frame[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 40, protocol.number(), 64]);
            frame[8..24].copy_from_slice(&from.address);
            frame[24..40].copy_from_slice(&to.address);
            40
        }
    };
    let addresses = match family {
        Family::Ipv4 => sum(&frame[12..20]),
        Family::Ipv6 => sum(&frame[8..40]),
    };
    let message = &mut frame[network_len..network_len + usize::from(message_len)];
    message.fill(0x5a);
    message[..2].copy_from_slice(&from.port.to_be_bytes());
    message[2..4].copy_from_slice(&to.port.to_be_bytes());
    let field = if protocol == Protocol::Tcp {
        write_tcp(message, shape);
        16
    } else {
        message[4..6].copy_from_slice(&message_len.to_be_bytes());
        6
    };
    message[field..field + 2].fill(0);
    let pseudo = u64::from(message_len) + u64::from(protocol.number());
    let checksum = match !fold(addresses + pseudo + sum(message)) {
        0 => 0xffff,
        checksum => checksum,
    };
    message[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    network_len + usize::from(message_len)
}

fn write_tcp(message: &mut [u8], shape: &Shape) {
    message[4..8].copy_from_slice(&shape.sequence.to_be_bytes());
    message[8..12].copy_from_slice(&shape.acknowledgment.to_be_bytes());
    let words: u8 = if shape.data { 5 } else { 10 };
    message[12..16].copy_from_slice(&[words << 4, shape.flags, 0xff, 0xff]);
    message[18..20].fill(0);
    if !shape.data {
        let options = if shape.flags & tcp_flags::SYN != 0 {
            &SYN_OPTIONS
        } else {
            &ACK_OPTIONS
        };
        message[20..].copy_from_slice(options);
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks_exact(2)
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{client, frontend};
    use portolan::packet::build::verify;

    #[test]
    fn every_frame_has_right_checksums() {
        for family in [Family::Ipv4, Family::Ipv6] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                for number in 0..1_000 {
                    let mut segment = Segment::new(1);
                    let ends = [client(family, number), frontend(family, number)];
                    let shape = Shape {
                        sequence: number.wrapping_mul(77_777),
                        ..Shape::SYN
                    };
                    segment.push(family, protocol, ends, &shape);
                    assert_eq!(
                        verify(segment.packet(0)),
                        Ok(()),
                        "{family:?} {protocol} {number}"
                    );
                }
            }
        }
    }
}
