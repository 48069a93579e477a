//! What names a connection on the wire.

use super::{Address, Protocol};
use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// Source and destination of a packet of one transport protocol, as seen on the wire.
///
/// `A` is [`core::net::Ipv4Addr`] or [`core::net::Ipv6Addr`] on the hot path and [`IpAddr`] off it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple<A> {
    /// Who sent it.
    pub source: A,
    /// Whom it is for.
    pub destination: A,
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// Netfilter's two directions of a connection. As wide as what it chooses by: a byte was widened anew for each use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u64)]
pub enum Direction {
    /// From the client that opened the connection.
    Original = 0,
    /// From the endpoint.
    Reply = 1,
}

impl Direction {
    /// The opposite direction.
    #[must_use]
    #[inline]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// Two ports side by side, byte for byte as source and destination lie in a transport header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports(pub u32);

impl Ports {
    /// Puts two ports side by side.
    #[must_use]
    #[inline]
    pub const fn new(source: u16, destination: u16) -> Self {
        Self((((source as u32) << 16) | destination as u32).to_be())
    }

    /// The source's.
    #[must_use]
    #[inline]
    pub const fn source(self) -> u16 {
        (u32::from_be(self.0) >> 16) as u16
    }

    /// The destination's.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is taken")]
    pub const fn destination(self) -> u16 {
        u32::from_be(self.0) as u16
    }

    /// As they are read.
    #[must_use]
    #[inline]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(bytes))
    }

    /// As they are written.
    #[must_use]
    #[inline]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }

    /// Both exchanged.
    #[must_use]
    #[inline]
    pub const fn turned(self) -> Self {
        Self(self.0.rotate_left(16))
    }
}

impl<A: Copy> Tuple<A> {
    /// Both ports.
    #[must_use]
    #[inline]
    pub const fn ports(&self) -> Ports {
        Ports::new(self.source_port, self.destination_port)
    }

    /// Source and destination exchanged: the tuple of an answer where nothing is translated.
    #[must_use]
    #[inline]
    pub const fn reverse(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

impl<A: Address> Tuple<A> {
    /// The same tuple with the family forgotten.
    #[must_use]
    pub fn to_ip(self) -> Tuple<IpAddr> {
        Tuple {
            source: self.source.into(),
            destination: self.destination.into(),
            source_port: self.source_port,
            destination_port: self.destination_port,
            protocol: self.protocol,
        }
    }
}

impl Tuple<IpAddr> {
    /// The same tuple in family `A`; `None` unless both addresses are of it.
    #[must_use]
    pub fn of_family<A: Address>(self) -> Option<Tuple<A>> {
        Some(Tuple {
            source: A::from_ip(self.source)?,
            destination: A::from_ip(self.destination)?,
            source_port: self.source_port,
            destination_port: self.destination_port,
            protocol: self.protocol,
        })
    }
}

impl<A: Copy + Into<IpAddr>> fmt::Display for Tuple<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = SocketAddr::new(self.source.into(), self.source_port);
        let destination = SocketAddr::new(self.destination.into(), self.destination_port);
        write!(f, "{} {source} -> {destination}", self.protocol)
    }
}
