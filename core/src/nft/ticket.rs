//! What a packet carries through the chains.
//!
//! Rules have no memory of their own, and the packet's mark belongs to others. But the destination of a packet
//! that is about to be translated is ours: whatever is written there, DNAT overwrites. So the first rule writes
//! a ticket into it, which says whose connection this is and how its endpoint is chosen; the chains of the nat
//! hook read it bit by bit; and the last rule replaces it by the endpoint's address.

use super::Bytes;
use crate::net::Family;
use crate::service::EndpointSet;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bits of a ticket, most significant first: twenty of a ServicePort's number, one of the endpoint set, eleven
/// of how to choose, or of an endpoint. In IPv6 it is the lowest 32 bits of `::/96`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u32);

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// At random, of so many slots.
    Plain(SizeClass),
    /// Senders of different classes get different sets.
    BySource,
    /// There is no endpoint in the set: drop.
    Nowhere,
    /// A client keeps its endpoint: the index of the timeout, and of how many slots a new client chooses.
    Sticky(u8, SizeClass),
}

/// How many slots are drawn from: exactly up to eight, then powers of two. A slot without endpoint is drawn again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeClass(u8);

impl SizeClass {
    /// Up to here every number of slots is a class of its own.
    const EXACT: u32 = 8;
    /// All of them, smallest first.
    pub const COUNT: u8 = 21;

    /// The smallest class that has so many slots; `None` above 65,536, and for none.
    #[must_use]
    pub const fn of(slots: u32) -> Option<Self> {
        let class = match slots {
            0 | 65_537.. => return None,
            1..=Self::EXACT => slots - 1,
            // 9..=16 is class 8, and so on.
            _ => slots.next_power_of_two().trailing_zeros() + 4,
        };
        Some(Self(class as u8))
    }

    /// All of them, smallest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// How many slots are drawn from.
    #[must_use]
    pub const fn slots(self) -> u32 {
        let class = self.0 as u32;
        if class < Self::EXACT {
            class + 1
        } else {
            1 << (class - 4)
        }
    }

    /// Is there a slot for each number that is drawn?
    pub(super) const fn is_exact(self) -> bool {
        (self.0 as u32) < Self::EXACT
    }

    /// The class below, of which every slot is filled wherever this one is used.
    #[must_use]
    pub const fn below(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(class) => Some(Self(class)),
            None => None,
        }
    }

    /// Its bits in a ticket.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }
}

impl Ticket {
    /// The ServicePort's number.
    pub const NUMBER: u32 = 0xffff_f000;
    /// The endpoint set: 0 is Cluster's.
    pub const SET: u32 = 0x0000_0800;
    /// How an endpoint is chosen, without the number of slots.
    pub const KIND: u32 = 0x0000_07e0;
    /// The number of slots.
    pub const SIZE: u32 = 0x0000_001f;
    /// ServicePorts of one family that can be told apart.
    pub const NUMBERS: u32 = 1 << 20;
    /// Endpoints of one ServicePort with session affinity that can be told apart; 0 is none.
    pub const ENDPOINTS: u16 = 1 << 11;
    /// Timeouts of session affinity that can be told apart.
    pub const TIMEOUTS: u8 = 61;

    /// An endpoint set of a ServicePort.
    #[must_use]
    pub const fn new(number: u32, set: EndpointSet) -> Self {
        let set = match set {
            EndpointSet::Cluster => 0,
            EndpointSet::Local => Self::SET,
        };
        Self(number << 12 | set)
    }

    /// The same with how an endpoint is chosen.
    #[must_use]
    pub const fn with(self, choice: Choice) -> Self {
        Self(self.0 & !(Self::KIND | Self::SIZE) | choice.bits())
    }

    /// The same with an endpoint.
    #[must_use]
    pub const fn endpoint(self, number: u16) -> Self {
        Self(self.0 & !(Self::KIND | Self::SIZE) | number as u32)
    }

    /// The ticket that a key or data begins with; `None` if it is too short for one.
    #[must_use]
    pub fn of_key(key: &Bytes, family: Family) -> Option<Self> {
        let bytes = match family {
            Family::Ipv4 => key.as_slice().get(..4)?,
            Family::Ipv6 => key.as_slice().get(12..16)?,
        };
        Some(Self(u32::from_be_bytes(bytes.try_into().ok()?)))
    }

    /// The endpoint set, without how an endpoint is chosen, or which.
    #[must_use]
    pub const fn set(self) -> Self {
        Self(self.0 & (Self::NUMBER | Self::SET))
    }

    /// The ServicePort's number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 >> 12
    }

    /// The number of an endpoint with session affinity, if this names one.
    #[must_use]
    pub const fn endpoint_number(self) -> u16 {
        (self.0 & (Self::KIND | Self::SIZE)) as u16
    }

    /// All its bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// As a field of a key or of data.
    #[must_use]
    pub fn append_to(self, bytes: Bytes, family: Family) -> Bytes {
        bytes.address(Self::address(self.0, family))
    }

    /// Bits of a ticket as an address, the way rules write them.
    #[must_use]
    pub fn address(bits: u32, family: Family) -> IpAddr {
        match family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(bits)),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits))),
        }
    }
}

impl Choice {
    /// The bits of [`Ticket::KIND`] and [`Ticket::SIZE`].
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Plain(size) => size.bits(),
            Self::BySource => 1 << 5,
            Self::Nowhere => 2 << 5,
            Self::Sticky(timeout, size) => (3 + timeout as u32) << 5 | size.bits(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_of_a_class_is_always_filled() {
        for slots in 1..=65_536 {
            let class = SizeClass::of(slots).expect("a class");
            assert!(
                class.slots() >= slots && class.slots() < 2 * slots,
                "{slots}"
            );
            let below = class.below().map_or(0, SizeClass::slots);
            assert!(below < slots, "the class below {slots} is full");
        }
        assert_eq!(SizeClass::of(0), None);
        assert_eq!(SizeClass::of(65_537), None);
        assert_eq!(SizeClass::of(65_536).map(SizeClass::bits), Some(20));
        assert_eq!(SizeClass::all().count(), 21);
    }

    #[test]
    fn the_parts_of_a_ticket_do_not_overlap() {
        let parts = [Ticket::NUMBER, Ticket::SET, Ticket::KIND, Ticket::SIZE];
        assert_eq!(parts.iter().fold(0, |all, part| all | part), u32::MAX);
        assert_eq!(parts.iter().map(|part| part.count_ones()).sum::<u32>(), 32);
        let largest = Choice::Sticky(Ticket::TIMEOUTS - 1, SizeClass(20));
        assert_eq!(largest.bits() & !(Ticket::KIND | Ticket::SIZE), 0);
    }
}
