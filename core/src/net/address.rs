//! Address families. Hot code is written once, generic over [`Address`], and compiled twice.

use core::fmt::{Debug, Display};
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// RFC 791.
    Ipv4,
    /// RFC 8200.
    Ipv6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

mod sealed {
    #[expect(
        unnameable_types,
        reason = "what cannot be named cannot be implemented elsewhere"
    )]
    pub trait Sealed {}
    impl Sealed for core::net::Ipv4Addr {}
    impl Sealed for core::net::Ipv6Addr {}
}

/// An address of one family, known at compile time. Implemented by [`Ipv4Addr`] and [`Ipv6Addr`] only.
pub trait Address:
    Copy + Eq + Ord + Hash + Debug + Display + Into<IpAddr> + Send + Sync + sealed::Sealed + 'static
{
    /// The family.
    const FAMILY: Family;
    /// The all-zero address.
    const UNSPECIFIED: Self;
    /// The address as two 64-bit words, high word first; an IPv4 address is the low half of the low word.
    fn to_words(self) -> [u64; 2];
    /// The inverse of [`Address::to_words`].
    fn from_words(words: [u64; 2]) -> Self;
    /// Two addresses side by side, byte for byte as source and destination lie in an IP header.
    type Pair: Copy + Eq + Debug;
    /// Puts two addresses side by side.
    fn pair(first: Self, second: Self) -> Self::Pair;
    /// The inverse of [`Address::pair`].
    fn unpair(pair: Self::Pair) -> (Self, Self);
    /// Are these the same? Word by word: what was read in words cannot be compared in vectors without waiting for them.
    fn same(one: Self::Pair, other: Self::Pair) -> bool;
    /// The pair with its addresses exchanged.
    fn turned(pair: Self::Pair) -> Self::Pair;
    /// The pair that `bytes` begin with; `None` if they are too few.
    fn read_pair(bytes: &[u8]) -> Option<Self::Pair>;
    /// The inverse of [`Address::read_pair`]; `None`, and nothing written, if there is too little room.
    fn write_pair(pair: Self::Pair, bytes: &mut [u8]) -> Option<()>;
    /// `Some` if the address is of this family.
    fn from_ip(ip: IpAddr) -> Option<Self>;
}

impl Address for Ipv4Addr {
    const FAMILY: Family = Family::Ipv4;
    const UNSPECIFIED: Self = Self::UNSPECIFIED;

    #[inline]
    fn to_words(self) -> [u64; 2] {
        [0, u64::from(self.to_bits())]
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is the address"
    )]
    fn from_words(words: [u64; 2]) -> Self {
        Self::from_bits(words[1] as u32)
    }

    type Pair = u64;

    #[inline]
    fn pair(first: Self, second: Self) -> u64 {
        ((u64::from(first.to_bits()) << 32) | u64::from(second.to_bits())).to_be()
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half is taken on its own"
    )]
    fn unpair(pair: u64) -> (Self, Self) {
        let pair = u64::from_be(pair);
        (
            Self::from_bits((pair >> 32) as u32),
            Self::from_bits(pair as u32),
        )
    }

    #[inline(always)]
    fn same(one: u64, other: u64) -> bool {
        one == other
    }

    #[inline]
    fn turned(pair: u64) -> u64 {
        pair.rotate_left(32)
    }

    #[inline]
    fn read_pair(bytes: &[u8]) -> Option<u64> {
        Some(u64::from_ne_bytes(*bytes.first_chunk()?))
    }

    #[inline]
    fn write_pair(pair: u64, bytes: &mut [u8]) -> Option<()> {
        *bytes.first_chunk_mut()? = pair.to_ne_bytes();
        Some(())
    }

    fn from_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }
}

impl Address for Ipv6Addr {
    const FAMILY: Family = Family::Ipv6;
    const UNSPECIFIED: Self = Self::UNSPECIFIED;

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half is taken on its own"
    )]
    fn to_words(self) -> [u64; 2] {
        let bits = self.to_bits();
        [(bits >> 64) as u64, bits as u64]
    }

    #[inline]
    fn from_words(words: [u64; 2]) -> Self {
        Self::from_bits((u128::from(words[0]) << 64) | u128::from(words[1]))
    }

    type Pair = [u64; 4];

    #[inline]
    fn pair(first: Self, second: Self) -> [u64; 4] {
        let ([a, b], [c, d]) = (first.to_words(), second.to_words());
        [a, b, c, d].map(u64::to_be)
    }

    #[inline]
    fn unpair(pair: [u64; 4]) -> (Self, Self) {
        let [a, b, c, d] = pair.map(u64::from_be);
        (Self::from_words([a, b]), Self::from_words([c, d]))
    }

    #[inline(always)]
    fn same([a, b, c, d]: [u64; 4], [e, f, g, h]: [u64; 4]) -> bool {
        (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
    }

    #[inline]
    fn turned([a, b, c, d]: [u64; 4]) -> [u64; 4] {
        [c, d, a, b]
    }

    #[inline]
    fn read_pair(bytes: &[u8]) -> Option<[u64; 4]> {
        let (words, _) = bytes.first_chunk::<32>()?.as_chunks::<8>();
        let &[a, b, c, d] = words else {
            return None;
        };
        Some([a, b, c, d].map(u64::from_ne_bytes))
    }

    #[inline]
    fn write_pair(pair: [u64; 4], bytes: &mut [u8]) -> Option<()> {
        let (fields, _) = bytes.first_chunk_mut::<32>()?.as_chunks_mut::<8>();
        for (field, word) in fields.iter_mut().zip(pair) {
            *field = word.to_ne_bytes();
        }
        Some(())
    }

    fn from_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }
}
