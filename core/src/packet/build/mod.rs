//! Packets by name, for tests and case files: right unless told to lie.
//!
//! ```
//! use portolan::packet::build;
//! let request = build::udp("10.244.1.5:40000", "10.96.0.10:53").payload(b"query").build();
//! let syn = build::tcp("[fd00::5]:40000", "[fd96::1]:443").syn().build();
//! assert!(build::verify(&request).is_ok() && build::verify(&syn).is_ok());
//! ```
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::integer_division,
    clippy::cast_possible_truncation,
    reason = "builds packets for tests; a name that cannot be understood is the test's mistake"
)]

use super::{Offload, offload_flags, tcp_flags};
use crate::net::Protocol;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

mod emit;
mod mutate;
mod name;
mod sample;

pub use super::verify::{WrongChecksum, verify};
pub use mutate::Mutator;
pub use name::{ToAddress, ToSocket};
pub use sample::{Sample, samples};

/// What the transport (or ICMP) checksum field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checksum {
    Right,
    Off(u16),
    Absent,
    Partial,
}

#[derive(Debug, Clone)]
enum Message {
    Tcp {
        flags: u8,
        sequence: u32,
        acknowledgment: u32,
        window: u16,
        options: Vec<u8>,
        data_offset: Option<u8>,
    },
    Udp {
        length: Option<u16>,
    },
    Sctp {
        verification_tag: u32,
    },
    Icmp {
        kind: u8,
        code: u8,
        rest: u32,
    },
    Raw {
        protocol: u8,
    },
}

/// A packet in the making. Each method says what differs from a plain, right packet.
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    source: SocketAddr,
    destination: SocketAddr,
    message: Message,
    payload: Vec<u8>,
    hop_limit: u8,
    service: u8,
    identification: u32,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    checksum: Checksum,
    header_checksum_off: u16,
    header_words: Option<u8>,
    total_length: Option<u16>,
    trailing: Vec<u8>,
    gso_size: u16,
}

/// A TCP segment: ACK only, no data.
pub fn tcp(source: impl ToSocket, destination: impl ToSocket) -> Builder {
    Builder::new(
        source.to_socket(),
        destination.to_socket(),
        Message::Tcp {
            flags: tcp_flags::ACK,
            sequence: 1_000,
            acknowledgment: 2_000,
            window: 65_535,
            options: Vec::new(),
            data_offset: None,
        },
    )
}

/// A UDP datagram without data.
pub fn udp(source: impl ToSocket, destination: impl ToSocket) -> Builder {
    Builder::new(
        source.to_socket(),
        destination.to_socket(),
        Message::Udp { length: None },
    )
}

/// An SCTP packet without chunks.
pub fn sctp(source: impl ToSocket, destination: impl ToSocket) -> Builder {
    Builder::new(
        source.to_socket(),
        destination.to_socket(),
        Message::Sctp {
            verification_tag: 0x1234_5678,
        },
    )
}

/// A datagram or segment of a protocol known at run time: TCP with ACK, UDP, or SCTP with one DATA chunk.
pub fn transport(protocol: Protocol, source: impl ToSocket, destination: impl ToSocket) -> Builder {
    match protocol {
        Protocol::Tcp => tcp(source, destination),
        Protocol::Udp => udp(source, destination),
        Protocol::Sctp => sctp(source, destination).chunk(0, 3, &[0; 12]),
    }
}

/// An ICMP or ICMPv6 message, by the family of the addresses.
pub fn icmp(source: impl ToAddress, destination: impl ToAddress, kind: u8, code: u8) -> Builder {
    Builder::new(
        SocketAddr::new(source.to_address(), 0),
        SocketAddr::new(destination.to_address(), 0),
        Message::Icmp {
            kind,
            code,
            rest: 0,
        },
    )
}

/// An echo request.
pub fn echo(source: impl ToAddress, destination: impl ToAddress) -> Builder {
    let source = source.to_address();
    let kind = if source.is_ipv4() { 8 } else { 128 };
    icmp(source, destination.to_address(), kind, 0)
        .rest(0x0001_0001)
        .payload(b"echo")
}

/// "Port unreachable" about `quoted`, which is quoted whole.
pub fn port_unreachable(
    source: impl ToAddress,
    destination: impl ToAddress,
    quoted: &[u8],
) -> Builder {
    let source = source.to_address();
    let (kind, code) = if source.is_ipv4() { (3, 3) } else { (1, 4) };
    icmp(source, destination.to_address(), kind, code).payload(quoted)
}

/// "Fragmentation needed" (RFC 1191) or "packet too big" (RFC 4443, 3.2) about `quoted`.
pub fn too_big(
    source: impl ToAddress,
    destination: impl ToAddress,
    mtu: u16,
    quoted: &[u8],
) -> Builder {
    let source = source.to_address();
    let (kind, code) = if source.is_ipv4() { (3, 4) } else { (2, 0) };
    icmp(source, destination.to_address(), kind, code)
        .rest(u32::from(mtu))
        .payload(quoted)
}

/// A packet of another protocol, by its IANA number.
pub fn raw(source: impl ToAddress, destination: impl ToAddress, protocol: u8) -> Builder {
    Builder::new(
        SocketAddr::new(source.to_address(), 0),
        SocketAddr::new(destination.to_address(), 0),
        Message::Raw { protocol },
    )
}

impl Builder {
    fn new(source: SocketAddr, destination: SocketAddr, message: Message) -> Self {
        assert_eq!(
            source.is_ipv4(),
            destination.is_ipv4(),
            "{source} and {destination} are of two families"
        );
        Self {
            source,
            destination,
            message,
            payload: Vec::new(),
            hop_limit: 64,
            service: 0,
            identification: 0x2a2a,
            options: Vec::new(),
            extensions: Vec::new(),
            checksum: Checksum::Right,
            header_checksum_off: 0,
            header_words: None,
            total_length: None,
            trailing: Vec::new(),
            gso_size: 0,
        }
    }

    /// TCP: these flags, of [`tcp_flags`], and no others.
    pub fn flags(mut self, bits: u8) -> Self {
        if let Message::Tcp { flags, .. } = &mut self.message {
            *flags = bits;
        }
        self
    }

    /// TCP: SYN only, with options as Linux sends them (MSS, SACK permitted, window scale 7).
    pub fn syn(self) -> Self {
        self.flags(tcp_flags::SYN)
            .tcp_options(&[2, 4, 5, 180, 4, 2, 1, 3, 3, 7])
    }

    /// TCP: sequence number.
    pub fn sequence(mut self, number: u32) -> Self {
        if let Message::Tcp { sequence, .. } = &mut self.message {
            *sequence = number;
        }
        self
    }

    /// TCP: acknowledgment number.
    pub fn acknowledgment(mut self, number: u32) -> Self {
        if let Message::Tcp { acknowledgment, .. } = &mut self.message {
            *acknowledgment = number;
        }
        self
    }

    /// TCP: window.
    pub fn window(mut self, size: u16) -> Self {
        if let Message::Tcp { window, .. } = &mut self.message {
            *window = size;
        }
        self
    }

    /// TCP: options, padded with zeros to four bytes.
    pub fn tcp_options(mut self, bytes: &[u8]) -> Self {
        if let Message::Tcp { options, .. } = &mut self.message {
            *options = padded(bytes, 4);
        }
        self
    }

    /// TCP: a data offset, in words of four bytes, that may lie.
    pub fn data_offset(mut self, words: u8) -> Self {
        if let Message::Tcp { data_offset, .. } = &mut self.message {
            *data_offset = Some(words);
        }
        self
    }

    /// UDP: a length that may lie.
    pub fn udp_length(mut self, bytes: u16) -> Self {
        if let Message::Udp { length } = &mut self.message {
            *length = Some(bytes);
        }
        self
    }

    /// SCTP: verification tag.
    pub fn verification_tag(mut self, tag: u32) -> Self {
        if let Message::Sctp { verification_tag } = &mut self.message {
            *verification_tag = tag;
        }
        self
    }

    /// SCTP: one more chunk, with its length and padding.
    pub fn chunk(mut self, kind: u8, flags: u8, body: &[u8]) -> Self {
        let [l0, l1] = (body.len() as u16 + 4).to_be_bytes();
        self.payload.extend_from_slice(&[kind, flags, l0, l1]);
        self.payload.extend_from_slice(&padded(body, 4));
        self
    }

    /// SCTP: an INIT chunk with this initiate tag, and the verification tag 0 that it needs.
    pub fn init(self, initiate_tag: u32) -> Self {
        let [t0, t1, t2, t3] = initiate_tag.to_be_bytes();
        self.verification_tag(0).chunk(
            1,
            0,
            &[t0, t1, t2, t3, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1],
        )
    }

    /// ICMP: the last four bytes of the header: identifier and sequence, or MTU.
    pub fn rest(mut self, word: u32) -> Self {
        if let Message::Icmp { rest, .. } = &mut self.message {
            *rest = word;
        }
        self
    }

    /// What the packet carries.
    pub fn payload(mut self, bytes: &[u8]) -> Self {
        self.payload = bytes.to_vec();
        self
    }

    /// `len` bytes of payload, no two neighbours alike.
    pub fn payload_len(mut self, len: usize) -> Self {
        self.payload = (0..len).map(|n| (n * 167 + (n >> 8)) as u8).collect();
        self
    }

    /// TTL or hop limit.
    pub fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = hops;
        self
    }

    /// Type of service or traffic class.
    pub fn type_of_service(mut self, service: u8) -> Self {
        self.service = service;
        self
    }

    /// Names the datagram when it is fragmented; IPv4 has the low half only.
    pub fn identification(mut self, number: u32) -> Self {
        self.identification = number;
        self
    }

    /// IPv4: options, padded with zeros to four bytes.
    pub fn ipv4_options(mut self, bytes: &[u8]) -> Self {
        self.options = padded(bytes, 4);
        self
    }

    /// IPv6: one more extension header; `body` is what follows its next header field, its length included.
    pub fn extension(mut self, number: u8, body: &[u8]) -> Self {
        self.extensions.push((number, body.to_vec()));
        self
    }

    /// IPv6: a hop-by-hop options header of eight bytes.
    pub fn hop_by_hop(self) -> Self {
        self.extension(0, &[0, 1, 4, 0, 0, 0, 0])
    }

    /// IPv6: a destination options header of sixteen bytes.
    pub fn destination_options(self) -> Self {
        self.extension(60, &[1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// IPv6: a routing header of type 4 without addresses.
    pub fn routing(self, segments_left: u8) -> Self {
        self.extension(43, &[0, 4, segments_left, 0, 0, 0, 0])
    }

    /// IPv6: an authentication header with 12 bytes of value.
    pub fn authentication(self) -> Self {
        let mut body = vec![4, 0, 0, 0, 0, 1, 7, 0, 0, 0, 1];
        body.extend_from_slice(&[0xa5; 12]);
        self.extension(51, &body)
    }

    /// IPv6: an atomic fragment header (RFC 6946).
    pub fn atomic_fragment(self) -> Self {
        let [a, b, c, d] = self.identification.to_be_bytes();
        self.extension(44, &[0, 0, 0, a, b, c, d])
    }

    /// No transport checksum: the field is zero.
    pub fn without_checksum(mut self) -> Self {
        self.checksum = Checksum::Absent;
        self
    }

    /// A transport checksum that is wrong in these bits.
    pub fn wrong_checksum(mut self, bits: u16) -> Self {
        self.checksum = Checksum::Off(bits);
        self
    }

    /// The transport checksum is left to hardware; see [`Builder::offload`].
    pub fn partial_checksum(mut self) -> Self {
        self.checksum = Checksum::Partial;
        self
    }

    /// To be segmented by hardware, `size` bytes of payload each, with a partial checksum.
    pub fn segmented(mut self, size: u16) -> Self {
        self.gso_size = size;
        self.partial_checksum()
    }

    /// IPv4: a header checksum that is wrong in these bits.
    pub fn wrong_header_checksum(mut self, bits: u16) -> Self {
        self.header_checksum_off = bits;
        self
    }

    /// IPv4: an IHL, in words of four bytes, that may lie.
    pub fn header_words(mut self, words: u8) -> Self {
        self.header_words = Some(words);
        self
    }

    /// IPv4 total length or IPv6 payload length, that may lie.
    pub fn total_length(mut self, bytes: u16) -> Self {
        self.total_length = Some(bytes);
        self
    }

    /// Link padding behind the packet.
    pub fn trailing(mut self, bytes: &[u8]) -> Self {
        self.trailing = bytes.to_vec();
        self
    }

    /// The offload fields that go with the packet.
    #[must_use]
    pub fn offload(&self) -> Offload {
        let mut offload = Offload::default();
        if self.checksum == Checksum::Partial {
            offload.flags = offload_flags::PARTIAL;
            offload.checksum_start = self.network_len() as u16;
            offload.checksum_offset = self.checksum_field().0 as u16;
        }
        if self.gso_size != 0 {
            offload.gso_size = self.gso_size;
            offload.gso_type = match (self.protocol(), self.source.is_ipv4()) {
                (17, _) => 5,
                (_, true) => 1,
                (_, false) => 4,
            };
        }
        offload
    }

    /// The packet.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let message = self.message();
        let mut packet = self.network_header(self.protocol(), message.len(), None);
        packet.extend_from_slice(&message);
        packet.extend_from_slice(&self.trailing);
        packet
    }

    /// The packet in fragments of `size` bytes of data each; `size` is a multiple of eight.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[must_use]
    pub fn fragments(&self, size: usize) -> Vec<Vec<u8>> {
        assert_eq!(size % 8, 0, "fragments carry a multiple of eight bytes");
        let message = self.message();
        let last = message.len().div_ceil(size).max(1) - 1;
        message
            .chunks(size)
            .enumerate()
            .map(|(n, data)| self.fragment(n * size, n < last, data))
            .collect()
    }

    /// One fragment: `data` at `offset` bytes.
    #[must_use]
    pub fn fragment(&self, offset: usize, more: bool, data: &[u8]) -> Vec<u8> {
        let mut packet =
            self.network_header(self.protocol(), data.len(), Some((offset as u16, more)));
        packet.extend_from_slice(data);
        packet
    }
}

fn padded(bytes: &[u8], to: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(to), 0);
    bytes
}
