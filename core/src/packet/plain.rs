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
    if let Some(headers) = plain_ipv4(packet, offload) {
        Plain::Ipv4(headers)
    } else if let Some(headers) = plain_ipv6(packet, offload) {
        Plain::Ipv6(headers)
    } else {
        Plain::Not
    }
}

/// Of a plain packet over IPv4.
#[inline(always)]
#[must_use]
pub fn plain_ipv4(packet: &[u8], offload: &Offload) -> Option<PlainHeaders<Ipv4Addr>> {
    let header = packet.first_chunk::<20>()?;
    let (head, rest) = header.split_first_chunk::<8>()?;
    let (middle, rest) = rest.split_first_chunk::<4>()?;
    // The sum does not depend on the order of bytes (RFC 1071, 2 (B)).
    let words = [head, rest.first_chunk()?].map(|word| u64::from_le_bytes(*word));
    let [first, last] = words;
    // Version 4, a header of five words, no more fragments and no offset.
    if first & 0xff3f_0000_0000_00ff != 0x45
        || !checksum::is_minus_zero(first, last, u32::from_le_bytes(*middle))
    {
        return None;
    }
    let addresses = Ipv4Addr::read_pair(rest)?;
    let &[_, number, _, _] = middle;
    let &[_, _, l0, l1, ..] = head;
    let end = u16::from_be_bytes([l0, l1]);
    let message = packet.get(20..usize::from(end))?;
    PlainHeaders::read(addresses, u32::from(end), number, message, offload)
}

/// Of a plain packet over IPv6.
#[inline(always)]
#[must_use]
pub fn plain_ipv6(packet: &[u8], offload: &Offload) -> Option<PlainHeaders<Ipv6Addr>> {
    let header = packet.first_chunk::<40>()?;
    let &[first, _, _, _, l0, l1, number, _, ref addresses @ ..] = header;
    if first >> 4 != 6 {
        return None;
    }
    let end = u32::from(u16::from_be_bytes([l0, l1])).wrapping_add(40);
    let message = packet.get(40..end as usize)?;
    let addresses = Ipv6Addr::read_pair(addresses)?;
    PlainHeaders::read(addresses, end, number, message, offload)
}

/// Length of an IP header without options or extensions.
const fn header_len(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 20,
        Family::Ipv6 => 40,
    }
}

impl<A: Address> PlainHeaders<A> {
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "no message is longer than 65,535 bytes"
    )]
    fn read(
        addresses: A::Pair,
        end: u32,
        number: u8,
        message: &[u8],
        offload: &Offload,
    ) -> Option<Self> {
        // The commonest first.
        let protocol = if number == Protocol::Tcp.number() {
            Protocol::Tcp
        } else {
            Protocol::from_number(number)?
        };
        let transport = transport::read(protocol, message, true).ok()?;
        let mut headers = Self {
            addresses,
            ports: transport.ports,
            end,
            protocol,
            tcp_flags: transport.tcp_flags,
            tcp_payload: transport.tcp_payload as u32,
            partial: false,
        };
        if !offload.is_none() {
            headers.partial = headers.is_partial(offload)?;
        }
        Some(headers)
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

    /// The headers' bytes in `packet`, which is what they were read from: the IP header, and so many of the transport
    /// header. `None`: it is another one.
    #[inline(always)]
    #[must_use]
    pub fn bytes<'packet, const N: usize>(
        &self,
        packet: &'packet mut [u8],
    ) -> Option<(&'packet mut [u8], &'packet mut [u8; N])> {
        let at = usize::from(header_len(A::FAMILY));
        let (network, message) = packet.split_at_mut_checked(at)?;
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
                let (network, header) = headers.bytes(packet)?;
                self.tcp(network, header, headers.partial)
            }
            Protocol::Udp => {
                let (network, header) = headers.bytes(packet)?;
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
