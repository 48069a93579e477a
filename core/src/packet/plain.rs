//! The common packet, read and written in one go: whole, without options or extension headers, of TCP, UDP or
//! SCTP.
//!
//! What [`Headers`] says in fields is kept here as it lies on the wire and in a connection's record, addresses
//! side by side and ports side by side, so that finding and translating take a few words each.

use super::parse::offload_is_right;
use super::rewrite::{write_tcp, write_udp};
use super::transport;
use super::{Delta, Headers, Kind, Offload, TcpSegment, checksum, offload_flags};
use crate::net::{Address, Family, Ports, Protocol, Tuple};
use core::net::{Ipv4Addr, Ipv6Addr};

/// Is a packet a plain one?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Plain {
    /// Over IPv4.
    Ipv4(PlainHeaders<Ipv4Addr>),
    /// Over IPv6.
    Ipv6(PlainHeaders<Ipv6Addr>),
    /// No, or not a right one: [`super::parse`] says what it is.
    Not,
}

/// The headers of a plain packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainHeaders<A: Address> {
    /// Source and destination.
    pub addresses: A::Pair,
    /// The source's port and the destination's.
    pub ports: Ports,
    /// Length of the packet in bytes, as its IP header says.
    pub end: u32,
    /// The transport protocol.
    pub protocol: Protocol,
    /// Bits of [`super::tcp_flags`]; 0 unless this is TCP.
    pub tcp_flags: u8,
    /// Bytes behind the TCP header; 0 unless this is TCP.
    pub tcp_payload: u32,
    /// Does the transport checksum hold the pseudo-header's sum only ([`offload_flags::PARTIAL`])?
    pub partial: bool,
}

/// A packet whose IP header is that of a plain one.
#[derive(Debug, Clone, Copy)]
pub struct PlainPacket<'packet, A: Address> {
    addresses: A::Pair,
    /// As far as the IP header says.
    bytes: &'packet [u8],
    protocol_number: u8,
    is_tcp: bool,
}

/// What a plain packet's addresses and ports become, as [`super::Rewrite`] says it in fields.
#[derive(Debug, Clone, Copy)]
pub struct PlainRewrite<A: Address> {
    /// Source and destination.
    pub addresses: A::Pair,
    /// The source's port and the destination's.
    pub ports: Ports,
    /// What changes by the addresses.
    pub network: Delta,
    /// What changes by addresses and ports.
    pub transport: Delta,
}

/// Reads a packet that begins with its IP header, if it is a plain one.
#[must_use]
pub fn plain(packet: &[u8], offload: &Offload) -> Plain {
    if let Some(packet) = plain_ipv4(packet) {
        packet.headers(offload).map_or(Plain::Not, Plain::Ipv4)
    } else if let Some(packet) = plain_ipv6(packet) {
        packet.headers(offload).map_or(Plain::Not, Plain::Ipv6)
    } else {
        Plain::Not
    }
}

/// Reads a plain packet's IPv4 header.
#[inline(always)]
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "length and protocol are parts of words"
)]
pub fn plain_ipv4(packet: &[u8]) -> Option<PlainPacket<'_, Ipv4Addr>> {
    let header = packet.first_chunk::<20>()?;
    let (first, rest) = header.split_first_chunk::<8>()?;
    let (middle, last) = rest.split_first_chunk::<4>()?;
    // Words, in whose place bytes would be loaded one by one. Their sum does not depend on the order of bytes (RFC 1071,
    // 2 (B)).
    let last = last.first_chunk::<8>()?;
    let [first, last] = [first, last].map(|word| u64::from_le_bytes(*word));
    let middle = u32::from_le_bytes(*middle);
    // Version 4, a header of five words, no more fragments and no offset.
    if first & 0xff3f_0000_0000_00ff != 0x45 || !checksum::is_minus_zero(first, last, middle) {
        return None;
    }
    let addresses = Ipv4Addr::read_pair(&last.to_le_bytes())?;
    // The second pair of bytes.
    let end = usize::from((first as u32).swap_bytes() as u16);
    Some(PlainPacket {
        addresses,
        bytes: packet.get(..end)?,
        protocol_number: (middle >> 8) as u8,
        // Not compared as the byte that it is, which would make one choice of three of it.
        is_tcp: middle & 0xff00 == 0x0600,
    })
}

/// Reads a plain packet's IPv6 header.
#[inline(always)]
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "length and protocol are parts of a word"
)]
pub fn plain_ipv6(packet: &[u8]) -> Option<PlainPacket<'_, Ipv6Addr>> {
    let header = packet.first_chunk::<40>()?;
    let (first, rest) = header.split_first_chunk::<4>()?;
    let (second, addresses) = rest.split_first_chunk::<4>()?;
    let &[version, ..] = first;
    if version >> 4 != 6 {
        return None;
    }
    let addresses = Ipv6Addr::read_pair(addresses)?;
    let second = u32::from_le_bytes(*second);
    let end = usize::from((second as u16).swap_bytes()).wrapping_add(40);
    Some(PlainPacket {
        addresses,
        bytes: packet.get(..end)?,
        protocol_number: (second >> 16) as u8,
        is_tcp: second & 0xff_0000 == 0x06_0000,
    })
}

/// Length of an IP header without options or extensions.
const fn header_len(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 20,
        Family::Ipv6 => 40,
    }
}

impl<A: Address> PlainPacket<'_, A> {
    /// Is it of the commonest protocol?
    #[inline(always)]
    #[must_use]
    pub const fn is_tcp(&self) -> bool {
        self.is_tcp
    }

    /// Reads the rest, if the packet is a plain one.
    #[inline(always)]
    #[must_use]
    pub fn headers(&self, offload: &Offload) -> Option<PlainHeaders<A>> {
        if self.is_tcp {
            self.tcp(offload)
        } else {
            self.any(offload)
        }
    }

    /// The same of a packet that is of TCP, in as few comparisons as can be.
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "no packet that is no jumbogram is longer than 65,575 bytes"
    )]
    pub fn tcp(&self, offload: &Offload) -> Option<PlainHeaders<A>> {
        let at = usize::from(header_len(A::FAMILY));
        let header = self.bytes.get(at..at.wrapping_add(20))?;
        let header = header.first_chunk::<20>()?;
        let &[s0, s1, d0, d1, .., offset, tcp_flags, _, _, _, _, _, _] = header;
        let header_len = usize::from(offset >> 4) << 2;
        if header_len < 20 {
            return None;
        }
        let headers = PlainHeaders {
            addresses: self.addresses,
            ports: Ports::from_bytes([s0, s1, d0, d1]),
            end: self.bytes.len() as u32,
            protocol: Protocol::Tcp,
            tcp_flags,
            tcp_payload: self.bytes.len().checked_sub(at.wrapping_add(header_len))? as u32,
            partial: false,
        };
        headers.with(offload)
    }

    /// The same of a packet of any protocol.
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "no packet that is no jumbogram is longer than 65,575 bytes"
    )]
    pub fn any(&self, offload: &Offload) -> Option<PlainHeaders<A>> {
        let message = self.bytes.get(usize::from(header_len(A::FAMILY))..)?;
        let protocol = Protocol::from_number(self.protocol_number)?;
        let transport = transport::read(protocol, message, true).ok()?;
        let headers = PlainHeaders {
            addresses: self.addresses,
            ports: transport.ports,
            end: self.bytes.len() as u32,
            protocol,
            tcp_flags: transport.tcp_flags,
            tcp_payload: transport.tcp_payload as u32,
            partial: false,
        };
        headers.with(offload)
    }
}

impl<A: Address> PlainHeaders<A> {
    /// With what is left to hardware. `None`: it cannot be.
    #[inline(always)]
    fn with(mut self, offload: &Offload) -> Option<Self> {
        if !offload.is_none() {
            self.partial = self.is_partial(offload)?;
        }
        Some(self)
    }

    /// `None`: what is left to hardware cannot be.
    #[inline(never)]
    fn is_partial(self, offload: &Offload) -> Option<bool> {
        let partial = offload.flags & offload_flags::PARTIAL != 0
            && offload.checksum_start == u16::from(header_len(A::FAMILY));
        offload_is_right(offload, &self.headers()).then_some(partial)
    }

    /// The same, field by field.
    #[inline]
    #[must_use]
    pub fn headers(&self) -> Headers<A> {
        let (source, destination) = A::unpair(self.addresses);
        Headers {
            tuple: Tuple {
                source,
                destination,
                source_port: self.ports.source(),
                destination_port: self.ports.destination(),
                protocol: self.protocol,
            },
            kind: Kind::Whole,
            end: self.end,
            transport: u16::from(header_len(A::FAMILY)),
            tcp_flags: self.tcp_flags,
        }
    }

    /// The headers' bytes in `frames`, of the packet that begins at `start` and is what they were read from: the IP header,
    /// and so many of the transport header. `None`: it is another one.
    #[inline(always)]
    #[must_use]
    pub fn bytes<const N: usize>(
        frames: &mut [u8],
        start: u32,
    ) -> Option<(&mut [u8], &mut [u8; N])> {
        let (start, at) = (start as usize, usize::from(header_len(A::FAMILY)));
        let end = start.checked_add(at.wrapping_add(N))?;
        let (network, message) = frames.get_mut(start..end)?.split_at_mut_checked(at)?;
        Some((network, message.first_chunk_mut()?))
    }

    /// The TCP segment that the packet carries, a SYN's options included. `None`: none.
    #[inline(always)]
    #[must_use]
    pub fn segment_with_options(&self, packet: &[u8]) -> Option<TcpSegment> {
        let at = usize::from(header_len(A::FAMILY));
        TcpSegment::of_message(packet.get(at..self.end as usize)?)
    }
}

impl<A: Address> PlainRewrite<A> {
    /// Translates the packet that `headers` were read from, as [`super::rewrite`] does. `None`, and nothing written, if
    /// `packet` is another one, or of SCTP.
    #[inline(always)]
    pub fn write(&self, packet: &mut [u8], headers: &PlainHeaders<A>) -> Option<()> {
        match headers.protocol {
            Protocol::Tcp => {
                let (network, header) = PlainHeaders::<A>::bytes(packet, 0)?;
                self.tcp(network, header, headers.partial)
            }
            Protocol::Udp => {
                let (network, header) = PlainHeaders::<A>::bytes(packet, 0)?;
                self.udp(network, header, headers.partial)
            }
            Protocol::Sctp => None,
        }
    }

    /// The same of TCP, whose headers lie apart. `None`: `network` is no IP header.
    #[inline(always)]
    pub fn tcp(&self, network: &mut [u8], header: &mut [u8; 20], partial: bool) -> Option<()> {
        self.network(network)?;
        let deltas = (self.network, self.transport);
        write_tcp(header.first_chunk_mut()?, self.ports, deltas, partial)
    }

    /// The same of UDP.
    #[inline(always)]
    pub fn udp(&self, network: &mut [u8], header: &mut [u8; 8], partial: bool) -> Option<()> {
        self.network(network)?;
        let deltas = (self.network, self.transport);
        write_udp(header, self.ports, deltas, partial)
    }

    #[inline(always)]
    fn network(&self, header: &mut [u8]) -> Option<()> {
        match A::FAMILY {
            Family::Ipv4 => {
                let [.., c0, c1, _, _, _, _, _, _, _, _] = header.first_chunk_mut::<20>()?;
                [*c0, *c1] = self.network.apply([*c0, *c1]);
                A::write_pair(self.addresses, header.get_mut(12..)?)
            }
            Family::Ipv6 => A::write_pair(self.addresses, header.get_mut(8..)?),
        }
    }
}
