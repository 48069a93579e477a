//! One connection's memory: 64 bytes for IPv4, 128 for IPv6.
//!
//! | word | bits from the high end |
//! |---|---|
//! | `header` | version 24, life 8 (state 4, seen reply 1, assured 1), deadline 32 |
//! | `ports` | client 16, frontend 16, endpoint 16, translated client 16; while the record is free: the next free one |
//! | `binding` | endpoint id 32, its generation 16, protocol 8, flags 8 |
//! | `checks` | checksum delta of the network header 16, of the transport header 16, TCP windows 2 × 16 |
//! | `seen` × 2 | by direction. TCP: end of the highest segment 32, highest acknowledgment 32. SCTP: verification tag. UDP: tick of the first packet |
//! | addresses | client, frontend, endpoint, translated client |
//!
//! All but `header`, the windows in `checks` and `seen` is constant for one version. Those three are hints
//! for the state machine and are written without the version being checked: a write that comes too late
//! disturbs the next incarnation's window check until its next packet, and nothing else.

use super::binding::{Binding, Bound};
use super::state::Memory;
use crate::net::{Address, Direction, Ports, Protocol};
use crate::sync::{Header, Word};
use crate::table::HashKey;
use core::net::{Ipv4Addr, Ipv6Addr};

mod sealed {
    use super::{Address, Direction, Word};

    #[expect(
        unnameable_types,
        reason = "how addresses lie in a record is nobody else's business"
    )]
    pub trait AddressWords<A: Address>: Default + Sync + Send {
        /// Sources and destinations by direction.
        fn write(&self, addresses: [A::Pair; 2]);
        /// Source and destination as seen in `direction`.
        fn pair(&self, direction: Direction) -> A::Pair;
    }

    #[derive(Debug, Default)]
    #[expect(unnameable_types, reason = "see AddressWords")]
    pub struct Two(pub(super) [Word; 2]);

    #[derive(Debug, Default)]
    #[expect(unnameable_types, reason = "see AddressWords")]
    pub struct Eight(pub(super) [[Word; 4]; 2]);
}

use sealed::{AddressWords, Eight, Two};

/// A family whose connections can be stored.
pub trait Stored: Address {
    /// The record's address words.
    #[doc(hidden)]
    type Addresses: AddressWords<Self> + core::fmt::Debug;

    /// The hash of what names a connection, as it lies in a packet.
    #[doc(hidden)]
    fn hash_words(key: &HashKey, addresses: Self::Pair, ports: Ports, protocol: Protocol) -> u64;
}

#[inline(always)]
fn ports_and_protocol(ports: Ports, protocol: Protocol) -> u64 {
    u64::from(ports.0) | (u64::from(protocol.number()) << 32)
}

impl Stored for Ipv4Addr {
    type Addresses = Two;

    #[inline(always)]
    fn hash_words(key: &HashKey, addresses: u64, ports: Ports, protocol: Protocol) -> u64 {
        key.hash2(addresses, ports_and_protocol(ports, protocol))
    }
}

impl Stored for Ipv6Addr {
    type Addresses = Eight;

    #[inline(always)]
    fn hash_words(key: &HashKey, [a, b, c, d]: [u64; 4], ports: Ports, protocol: Protocol) -> u64 {
        key.hash6([a, b, c, d, ports_and_protocol(ports, protocol), 0])
    }
}

impl AddressWords<Ipv4Addr> for Two {
    #[inline(always)]
    fn write(&self, addresses: [u64; 2]) {
        for (word, pair) in self.0.iter().zip(addresses) {
            word.write(pair);
        }
    }

    #[inline(always)]
    fn pair(&self, direction: Direction) -> u64 {
        let [own, _] = from(&self.0, direction);
        own.read()
    }
}

impl AddressWords<Ipv6Addr> for Eight {
    #[inline(always)]
    fn write(&self, addresses: [[u64; 4]; 2]) {
        for (word, value) in self.0.iter().flatten().zip(addresses.as_flattened()) {
            word.write(*value);
        }
    }

    #[inline(always)]
    fn pair(&self, direction: Direction) -> [u64; 4] {
        let [own, _] = from(&self.0, direction);
        own.each_ref().map(Word::read)
    }
}

/// One record.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Record<A: Stored> {
    pub(super) header: Word,
    pub(super) ports: Word,
    pub(super) binding: Word,
    pub(super) checks: Word,
    pub(super) seen: [Word; 2],
    addresses: A::Addresses,
}

// The model checker's words are larger.
#[cfg(not(loom))]
const _: () = assert!(size_of::<Record<Ipv4Addr>>() == 64);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Record<Ipv6Addr>>() == 128);

impl<A: Stored> Record<A> {
    pub(super) fn empty() -> Self {
        Self {
            header: Word::new(0),
            ports: Word::new(0),
            binding: Word::new(0),
            checks: Word::new(0),
            seen: [Word::new(0), Word::new(0)],
            addresses: A::Addresses::default(),
        }
    }

    /// Writes all but the header. Only between claiming that and placing the slots.
    #[inline(always)]
    pub(super) fn write(&self, binding: &Binding<A>, windows: u32, seen: [u64; 2]) {
        self.addresses.write(binding.addresses);
        self.ports.write(binding.ports);
        self.binding.write(binding.bound.0);
        self.checks.write(join(binding.deltas, windows));
        for (word, value) in self.seen.iter().zip(seen) {
            word.write(value);
        }
    }

    /// Reads what is constant; means something only if the header confirms afterwards.
    #[inline]
    pub(super) fn read(&self) -> Binding<A> {
        Binding {
            addresses: [Direction::Original, Direction::Reply].map(|way| self.addresses.pair(way)),
            ports: self.ports.read(),
            bound: self.bound(),
            deltas: split(self.checks.read()).0,
        }
    }

    /// The word of deltas and windows, and what the state machine remembers.
    #[inline(always)]
    pub(super) fn memory(&self) -> (u64, Memory) {
        let [original, reply] = &self.seen;
        let checks = self.checks.read();
        let seen = [original.read(), reply.read()];
        (
            checks,
            Memory {
                seen,
                windows: split(checks).1,
            },
        )
    }

    /// A word that means nothing while the record is free.
    pub(super) const fn link(&self) -> &Word {
        &self.ports
    }

    /// Source and destination as seen in `direction`.
    #[inline(always)]
    pub(super) fn pair(&self, direction: Direction) -> A::Pair {
        self.addresses.pair(direction)
    }

    /// What is of no direction.
    #[inline(always)]
    pub(super) fn bound(&self) -> Bound {
        Bound(self.binding.read())
    }

    /// Ports as seen in `direction`, and in the other one.
    #[inline(always)]
    pub(super) fn ports_of(&self, direction: Direction) -> [Ports; 2] {
        let turn = 32 * u32::from(direction as u8);
        let (own, other) = split(self.ports.read().rotate_left(turn));
        [Ports(own), Ports(other)]
    }

    /// What is remembered of the sender in `direction`, and of the receiver.
    #[inline(always)]
    pub(super) fn seen_of(&self, direction: Direction) -> [&Word; 2] {
        from(&self.seen, direction)
    }

    /// Version, life and deadline; before reading anything else.
    #[inline]
    pub(super) fn header(&self) -> Header {
        Header::load(&self.header)
    }
}

/// Both of a pair by direction: that of `direction` first.
#[inline(always)]
const fn from<T>(pair: &[T; 2], direction: Direction) -> [&T; 2] {
    let own = direction as usize & 1;
    [&pair[own], &pair[own ^ 1]]
}

#[inline]
pub(super) const fn join(high: u32, low: u32) -> u64 {
    ((high as u64) << 32) | low as u64
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "each half is taken on its own"
)]
pub(super) const fn split(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[inline]
pub(super) const fn join16(high: u16, low: u16) -> u32 {
    ((high as u32) << 16) | low as u32
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "each half is taken on its own"
)]
pub(super) const fn split16(word: u32) -> (u16, u16) {
    ((word >> 16) as u16, word as u16)
}
