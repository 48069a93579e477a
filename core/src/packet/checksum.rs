//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use crate::net::{Address, Direction, Family, Tuple};

/// A change of a one's complement sum: what equation 3 of RFC 1624 adds when fields change.
///
/// Deltas of different fields add up, so a connection keeps one for its addresses and one for addresses and
/// ports, and each packet costs one addition for each checksum. An update keeps the distance to the right
/// checksum: what was wrong stays wrong by the same error. Kept in the order of bytes of the packet, which sums do not
/// depend on (RFC 1071, 2 (B)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delta(u16);

impl Delta {
    /// No change.
    pub const ZERO: Self = Self(0);

    /// From the number that a record keeps.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The number that a record keeps.
    #[must_use]
    #[inline]
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// Of one field that changes, at an even offset.
    #[must_use]
    #[inline]
    pub const fn of_field(from: [u8; 2], to: [u8; 2]) -> Self {
        let (from, to) = (u16::from_ne_bytes(from), u16::from_ne_bytes(to));
        Self::from_sum((!from as u64).wrapping_add(to as u64))
    }

    /// Of the two addresses: of the IPv4 header's checksum, and of the pseudo-header of either family.
    #[must_use]
    #[inline]
    pub fn of_addresses<A: Address>(from: &Tuple<A>, to: &Tuple<A>) -> Self {
        let removed = address_sum(from.source).wrapping_add(address_sum(from.destination));
        let added = address_sum(to.source).wrapping_add(address_sum(to.destination));
        // A multiple of 0xffff that is greater than any sum of addresses.
        let minus_zero = 0xffff_u64 << 20;
        Self::of_numbers(minus_zero.wrapping_sub(removed).wrapping_add(added))
    }

    /// Of the two ports.
    #[must_use]
    #[inline]
    pub fn of_ports<A: Copy>(from: &Tuple<A>, to: &Tuple<A>) -> Self {
        let [source, destination] = [!from.source_port, !from.destination_port].map(u64::from);
        let added = u64::from(to.source_port).wrapping_add(u64::from(to.destination_port));
        Self::of_numbers(source.wrapping_add(destination).wrapping_add(added))
    }

    /// Both changes.
    #[must_use]
    #[inline]
    pub const fn plus(self, other: Self) -> Self {
        Self::from_sum((self.0 as u64).wrapping_add(other.0 as u64))
    }

    /// The change as a packet of the original direction needs it, or undone for one of the reply's. No change, undone,
    /// is minus zero: it writes as 0 a field of 0xffff, which says the same (RFC 1624, 3).
    #[must_use]
    #[inline(always)]
    pub const fn in_direction(self, direction: Direction) -> Self {
        Self(self.0 ^ (direction as u16).wrapping_neg())
    }

    /// The checksum field after the change.
    #[must_use]
    #[inline(always)]
    pub const fn apply(self, checksum: [u8; 2]) -> [u8; 2] {
        // Taking from what is complemented is adding to what is not.
        let (sum, borrow) = u16::from_ne_bytes(checksum).overflowing_sub(self.0);
        sum.wrapping_sub(borrow as u16).to_ne_bytes()
    }

    /// The UDP checksum field after the change: zero means none and stays zero (RFC 768, RFC 6935), and what
    /// comes out as zero is written as 0xffff.
    #[must_use]
    #[inline(always)]
    pub const fn apply_udp(self, checksum: [u8; 2]) -> [u8; 2] {
        match (checksum, self.apply(checksum)) {
            ([0, 0], _) => [0, 0],
            (_, [0, 0]) => [0xff, 0xff],
            (_, updated) => updated,
        }
    }

    /// An uncomplemented sum after the change, as a checksum field holds it under
    /// [`super::offload_flags::PARTIAL`].
    #[must_use]
    #[inline]
    pub const fn apply_to_sum(self, sum: [u8; 2]) -> [u8; 2] {
        let (sum, carry) = u16::from_ne_bytes(sum).overflowing_add(self.0);
        sum.wrapping_add(carry as u16).to_ne_bytes()
    }

    /// Of a sum of fields as numbers.
    #[inline]
    const fn of_numbers(sum: u64) -> Self {
        Self(Self::from_sum(sum).0.to_be())
    }

    #[inline]
    const fn from_sum(sum: u64) -> Self {
        // Minus zero would turn a sum of zero into 0xffff: no change must change nothing.
        match fold(sum) {
            0xffff => Self(0),
            folded => Self(folded),
        }
    }
}

/// Folds a sum of 16-bit and 32-bit words to 16 bits, carries added back in.
#[inline]
pub(super) const fn fold(sum: u64) -> u16 {
    // Adding a number to itself with its halves exchanged leaves, in the upper half, the sum of both halves
    // and its own carry.
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) & 0xffff_ffff;
    let [a, b, c, d, ..] = sum.to_le_bytes();
    let sum = u32::from_le_bytes([a, b, c, d]);
    ((sum.wrapping_add(sum.rotate_left(16)) >> 16) & 0xffff) as u16
}

#[inline]
pub(super) fn address_sum<A: Address>(address: A) -> u64 {
    let [high, low] = address.to_words();
    match A::FAMILY {
        Family::Ipv4 => low,
        Family::Ipv6 => (high >> 32)
            .wrapping_add(high & 0xffff_ffff)
            .wrapping_add(low >> 32)
            .wrapping_add(low & 0xffff_ffff),
    }
}

/// The one's complement sum of `bytes`; an odd last byte counts as the high half of a word.
#[must_use]
pub(super) fn sum(bytes: &[u8]) -> u16 {
    // RFC 1071, 2 (B): the sum does not depend on the order of bytes, so words are swapped once, at the end.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total = 0_u64;
    for word in words {
        total = total.wrapping_add(u64::from(u32::from_ne_bytes(*word)));
    }
    let mut last = [0_u8; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total = total.wrapping_add(u64::from(u32::from_ne_bytes(last)));
    u16::from_be(fold(total))
}

/// Do the words of an IPv4 header without options, not all zero, add up to minus zero, as they do with the right checksum?
#[inline(always)]
pub(super) fn is_minus_zero(a: u64, b: u64, c: u32) -> bool {
    let (sum, carry) = a.carrying_add(b, false);
    let (sum, carry) = sum.carrying_add(u64::from(c), carry);
    // A carry is worth one, because 2^64 is one more than a multiple of 0xffff. A remainder by a constant is a product.
    sum.wrapping_add(u64::from(carry)).is_multiple_of(0xffff)
}

/// The Internet checksum of `bytes`: of an IPv4 header or ICMP message whose checksum field is zero, the
/// value of that field; of one that carries its checksum, zero if that is right.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    !sum(bytes)
}

/// The checksum of `message` (transport header and data) under the pseudo-header of RFC 9293, 3.1, and
/// RFC 8200, 8.1. `protocol` is the IANA number. Zero if the message carries its checksum and it is right; the
/// caller writes UDP's zero as 0xffff.
#[must_use]
pub fn transport_checksum<A: Address>(
    source: A,
    destination: A,
    protocol: u8,
    message: &[u8],
) -> u16 {
    let pseudo = pseudo_header_sum(source, destination, protocol, message.len());
    !fold(u64::from(sum(message)).wrapping_add(u64::from(pseudo)))
}

/// The pseudo-header's sum, folded and not complemented.
pub(super) fn pseudo_header_sum<A: Address>(
    source: A,
    destination: A,
    protocol: u8,
    length: usize,
) -> u16 {
    fold(
        address_sum(source)
            .wrapping_add(address_sum(destination))
            .wrapping_add(u64::from(protocol))
            .wrapping_add(u64::try_from(length).unwrap_or(0)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checksum over one word that changes, one that does not, and nothing else.
    fn full(word: u16, other: u16) -> u16 {
        let [a, b] = word.to_be_bytes();
        let [c, d] = other.to_be_bytes();
        checksum(&[a, b, c, d])
    }

    #[test]
    fn an_incremental_update_equals_the_full_sum_for_every_word() {
        for other in [1, 0x00ff, 0x7fff, 0x8000, 0xfffe, 0xffff] {
            for to in [0_u16, 1, 0x1234, 0x7fff, 0x8000, 0xfffe, 0xffff] {
                for from in 0..=u16::MAX {
                    let delta = Delta::of_field(from.to_be_bytes(), to.to_be_bytes());
                    let before = full(from, other).to_be_bytes();
                    let after = full(to, other).to_be_bytes();
                    assert_eq!(
                        delta.apply(before),
                        after,
                        "{from:#x} to {to:#x}, {other:#x}"
                    );
                    let undone = delta.in_direction(Direction::Reply);
                    assert_eq!(undone.apply(after), before);
                    assert_eq!(delta.plus(undone), Delta::ZERO);
                    assert_eq!(delta.in_direction(Direction::Original), delta);
                }
            }
        }
    }

    #[test]
    fn no_change_changes_nothing() {
        for sum in 0..=u16::MAX {
            let sum = sum.to_be_bytes();
            let delta = Delta::of_field(sum, sum);
            assert_eq!(delta, Delta::ZERO);
            assert_eq!(delta.apply(sum), sum);
            assert_eq!(delta.apply_udp(sum), sum);
            assert_eq!(delta.apply_to_sum(sum), sum);
            let undone = delta.in_direction(Direction::Reply);
            let same = if sum == [0xff; 2] { [0; 2] } else { sum };
            assert_eq!(undone.apply(sum), same);
            assert_eq!(undone.apply_udp(sum), sum);
        }
    }

    #[test]
    fn sums_fold_like_a_slow_reference() {
        let bytes: alloc::vec::Vec<u8> = (0..9_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        for start in 0..9 {
            for end in [start, start + 1, start + 2, start + 7, 1_500, 8_999, 9_000] {
                let mut slow = 0_u32;
                for (n, byte) in bytes[start..end].iter().enumerate() {
                    slow += u32::from(*byte) << if n % 2 == 0 { 8 } else { 0 };
                    slow = (slow & 0xffff) + (slow >> 16);
                }
                assert_eq!(u32::from(sum(&bytes[start..end])), slow, "{start}..{end}");
            }
        }
        assert_eq!(fold(u64::MAX), 0xffff);
        assert_eq!(fold(0x1_0000), 1);
        assert_eq!(fold(0xffff_ffff_0000_0001), 1);
    }
}
