//! From bytes to [`Headers`]: what each family's parser shares.

use super::transport;
use super::{Headers, Kind, Offload, Parsed, Plain, ipv4, ipv6, offload_flags, plain};
use crate::net::{Address, DropReason, Family, Protocol, Tuple};

/// Parses the packet that begins with its IP header at the first byte of `packet`.
///
/// The IP header's total length decides where the packet ends: bytes behind it are link padding, and a packet
/// that claims more than there is is malformed. IPv4 options and IPv6 extension headers are skipped. The
/// IPv4 header checksum is verified; transport checksums are not, because an update keeps a wrong one wrong.
/// `offload` must fit what the packet holds, or it is [`DropReason::MalformedOffload`].
#[must_use]
#[inline]
pub fn parse(packet: &[u8], offload: &Offload) -> Parsed {
    match plain(packet, offload) {
        Plain::Ipv4(headers) => Parsed::Ipv4(headers.headers()),
        Plain::Ipv6(headers) => Parsed::Ipv6(headers.headers()),
        Plain::Not => parse_any(packet, offload),
    }
}

/// What [`parse`] does for packets that are not plain; gives the same for those that are.
#[cold]
#[inline(never)]
pub(crate) fn parse_any(packet: &[u8], offload: &Offload) -> Parsed {
    match packet.first().map(|first| first >> 4) {
        Some(4) => match ipv4::parse(packet, offload) {
            Ok(headers) => Parsed::Ipv4(headers),
            Err(refusal) => refusal.into(),
        },
        Some(6) => match ipv6::parse(packet, offload) {
            Ok(headers) => Parsed::Ipv6(headers),
            Err(refusal) => refusal.into(),
        },
        Some(_) => Parsed::Malformed(DropReason::MalformedHeader),
        None => Parsed::Malformed(DropReason::MalformedTruncated),
    }
}

/// Why there are no headers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    /// A protocol that no Service carries.
    NotOurs,
    /// Not a packet.
    Malformed(DropReason),
}

impl Refusal {
    pub(super) const TRUNCATED: Self = Self::Malformed(DropReason::MalformedTruncated);
    pub(super) const HEADER: Self = Self::Malformed(DropReason::MalformedHeader);
    pub(super) const EXTENSIONS: Self = Self::Malformed(DropReason::MalformedExtensions);
}

impl From<Refusal> for Parsed {
    #[inline]
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotOurs => Self::NotOurs,
            Refusal::Malformed(reason) => Self::Malformed(reason),
        }
    }
}

/// The IP header's part of [`Headers`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Network<A> {
    pub(super) source: A,
    pub(super) destination: A,
    /// Where the packet ends, in bytes.
    pub(super) end: u32,
    /// Where the header behind the IP header and its options or extensions begins, in bytes.
    pub(super) transport: u16,
}

impl<A: Address> Network<A> {
    /// Headers of ICMP that is no error about a connection.
    pub(super) fn other(&self) -> Headers<A> {
        self.headers(Protocol::Udp, Kind::Other)
    }

    /// A fragment without transport header.
    pub(super) fn later_fragment(
        &self,
        protocol: Protocol,
        datagram: u32,
        offset: u16,
        more: bool,
    ) -> Result<Headers<A>, Refusal> {
        let len = self.end.wrapping_sub(u32::from(self.transport));
        // No datagram is longer than 65,535 bytes, whatever its fragments say.
        if len == 0 || u32::from(offset).wrapping_add(len) > 65_535 {
            return Err(Refusal::HEADER);
        }
        let kind = Kind::LaterFragment {
            datagram,
            offset,
            more,
        };
        Ok(self.headers(protocol, kind))
    }

    /// A packet or first fragment with its transport header at the start of `message`.
    pub(super) fn with_transport(
        &self,
        protocol: Protocol,
        kind: Kind,
        message: &[u8],
        offload: &Offload,
    ) -> Result<Headers<A>, Refusal> {
        let whole = matches!(kind, Kind::Whole);
        let transport = transport::read(protocol, message, whole).map_err(Refusal::Malformed)?;
        let mut headers = self.headers(protocol, kind);
        headers.tuple.source_port = transport.ports.source();
        headers.tuple.destination_port = transport.ports.destination();
        headers.tcp_flags = transport.tcp_flags;
        if !offload_is_right(offload, &headers) {
            return Err(Refusal::Malformed(DropReason::MalformedOffload));
        }
        Ok(headers)
    }

    #[inline]
    fn headers(&self, protocol: Protocol, kind: Kind) -> Headers<A> {
        Headers {
            tuple: Tuple {
                source: self.source,
                destination: self.destination,
                source_port: 0,
                destination_port: 0,
                protocol,
            },
            kind,
            end: self.end,
            transport: self.transport,
            tcp_flags: 0,
        }
    }
}

/// `VIRTIO_NET_HDR_GSO_ECN`.
const GSO_ECN: u8 = 0x80;

/// Do the offload fields describe this packet (virtio 1.2, 5.1.6)?
pub(super) fn offload_is_right<A: Address>(offload: &Offload, headers: &Headers<A>) -> bool {
    let protocol = headers.tuple.protocol;
    if offload.flags & offload_flags::PARTIAL != 0 && !partial_fits(offload, headers) {
        return false;
    }
    if offload.gso_type == 0 {
        return true;
    }
    let segmentable = match (offload.gso_type & !GSO_ECN, A::FAMILY) {
        (1, Family::Ipv4) | (4, Family::Ipv6) => protocol == Protocol::Tcp,
        (3 | 5, Family::Ipv4 | Family::Ipv6) => {
            protocol == Protocol::Udp && offload.gso_type & GSO_ECN == 0
        }
        _ => false,
    };
    segmentable && offload.gso_size != 0 && matches!(headers.kind, Kind::Whole)
}

/// A partial checksum is that of the packet's own transport header, or of a packet that a whole UDP datagram
/// carries (a tunnel's inner checksum; the outer one is then complete or absent).
fn partial_fits<A: Address>(offload: &Offload, headers: &Headers<A>) -> bool {
    if !matches!(headers.kind, Kind::Whole) {
        return false;
    }
    let protocol = headers.tuple.protocol;
    let start = offload.checksum_start;
    if start == headers.transport {
        return offload.checksum_offset == transport::checksum_offset(protocol);
    }
    let payload = u32::from(headers.transport).wrapping_add(8);
    let field_end = u32::from(start)
        .wrapping_add(u32::from(offload.checksum_offset))
        .wrapping_add(2);
    protocol == Protocol::Udp && u32::from(start) >= payload && field_end <= headers.end
}
