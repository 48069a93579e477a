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

use super::state::Memory;
use crate::net::{Address, Direction, EndpointId, Protocol, Tuple};
use crate::packet::Delta;
use crate::sync::{Header, Word};
use crate::table::HashKey;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Client, frontend, endpoint, translated client.
type Quad<A> = [A; 4];

mod sealed {
    use super::{Address, Direction, Quad, Word};

    #[expect(
        unnameable_types,
        reason = "how addresses lie in a record is nobody else's business"
    )]
    pub trait AddressWords<A: Address>: Default + Sync + Send {
        fn write(&self, addresses: Quad<A>);
        fn read(&self) -> Quad<A>;
        /// Source and destination as seen in `direction`, and in the other one.
        fn pair_of(&self, direction: Direction) -> (A::Pair, A::Pair);
        fn last(&self) -> &Word;
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
    fn hash_words(key: &HashKey, addresses: Self::Pair, ports: u32, protocol: Protocol) -> u64;
}

#[inline]
fn ports_and_protocol(ports: u32, protocol: Protocol) -> u64 {
    (u64::from(ports) << 16) | u64::from(protocol.number())
}

impl Stored for Ipv4Addr {
    type Addresses = Two;

    #[inline]
    fn hash_words(key: &HashKey, addresses: u64, ports: u32, protocol: Protocol) -> u64 {
        key.hash2(addresses, ports_and_protocol(ports, protocol))
    }
}

impl Stored for Ipv6Addr {
    type Addresses = Eight;

    #[inline]
    fn hash_words(key: &HashKey, [a, b, c, d]: [u64; 4], ports: u32, protocol: Protocol) -> u64 {
        key.hash6([a, b, c, d, ports_and_protocol(ports, protocol), 0])
    }
}

impl AddressWords<Ipv4Addr> for Two {
    fn write(&self, [client, frontend, endpoint, translated]: Quad<Ipv4Addr>) {
        let Self([first, second]) = self;
        first.write(join(client.to_bits(), frontend.to_bits()));
        second.write(join(endpoint.to_bits(), translated.to_bits()));
    }

    #[inline]
    fn read(&self) -> Quad<Ipv4Addr> {
        let Self([first, second]) = self;
        let ((client, frontend), (endpoint, translated)) =
            (split(first.read()), split(second.read()));
        [client, frontend, endpoint, translated].map(Ipv4Addr::from_bits)
    }

    #[inline(always)]
    fn pair_of(&self, direction: Direction) -> (u64, u64) {
        let [own, other] = from(&self.0, direction);
        (own.read(), other.read())
    }

    #[inline]
    fn last(&self) -> &Word {
        let Self([_, last]) = self;
        last
    }
}

impl AddressWords<Ipv6Addr> for Eight {
    fn write(&self, addresses: Quad<Ipv6Addr>) {
        let words = addresses.into_iter().flat_map(Ipv6Addr::to_words);
        for (word, bits) in self.0.iter().flatten().zip(words) {
            word.write(bits);
        }
    }

    #[inline]
    fn read(&self) -> Quad<Ipv6Addr> {
        let Self([[a, b, c, d], [e, f, g, h]]) = self;
        [[a, b], [c, d], [e, f], [g, h]]
            .map(|[high, low]| Ipv6Addr::from_words([high.read(), low.read()]))
    }

    #[inline(always)]
    fn pair_of(&self, direction: Direction) -> ([u64; 4], [u64; 4]) {
        let [own, other] = from(&self.0, direction);
        let read = |pair: &[Word; 4]| [0, 1, 2, 3].map(|word: usize| pair[word & 3].read());
        (read(own), read(other))
    }

    #[inline]
    fn last(&self) -> &Word {
        let Self([_, [.., last]]) = self;
        last
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

/// Bits of a binding's flags.
pub(super) mod binding_flags {
    /// The source is translated to the node's address.
    pub(in crate::conntrack) const MASQUERADE: u8 = 1;
    /// The endpoint is on this node.
    pub(in crate::conntrack) const LOCAL_ENDPOINT: u8 = 2;
    /// Source address or port differ between the directions (masquerade, or a port that was taken).
    pub(in crate::conntrack) const SOURCE_TRANSLATED: u8 = 4;
    /// The connection is one of its endpoint's load.
    pub(in crate::conntrack) const COUNTED: u8 = 8;
}

/// What a connection ties together: constant for its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<A> {
    /// From the client to the frontend, as the client sends it.
    pub original: Tuple<A>,
    /// From the endpoint to the client (or to the node, if masqueraded), as the endpoint sends it.
    pub reply: Tuple<A>,
    /// The endpoint chosen.
    pub endpoint: EndpointId,
    /// The endpoint's generation when it was chosen, as [`super::Endpoints`] counts.
    pub endpoint_generation: u16,
    /// The source is translated to the node's address too.
    pub masquerade: bool,
    /// The endpoint is on this node.
    pub local_endpoint: bool,
    /// It is one of its endpoint's load ([`crate::sync::Loads`]).
    pub counted: bool,
    /// What the network header's checksum differs by in the original direction.
    pub network: Delta,
    /// What the transport header's checksum differs by in the original direction.
    pub transport: Delta,
}

/// Whose load a connection is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) endpoint: EndpointId,
    pub(super) generation: u16,
    pub(super) protocol: Protocol,
}

impl<A: Address> Binding<A> {
    /// The tuple that names the connection in `direction`.
    #[inline]
    #[must_use]
    pub const fn tuple(&self, direction: Direction) -> Tuple<A> {
        match direction {
            Direction::Original => self.original,
            Direction::Reply => self.reply,
        }
    }

    /// What a packet of `direction` becomes.
    #[inline]
    #[must_use]
    pub const fn translated(&self, direction: Direction) -> Tuple<A> {
        self.tuple(direction.reverse()).reverse()
    }
}

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

    /// Writes what is constant. Only between claiming the header and placing the slots.
    pub(super) fn write(&self, binding: &Binding<A>, windows: u32, seen: [u64; 2]) {
        let Binding {
            original, reply, ..
        } = binding;
        self.addresses.write([
            original.source,
            original.destination,
            reply.source,
            reply.destination,
        ]);
        self.ports.write(join(
            join16(original.source_port, original.destination_port),
            join16(reply.source_port, reply.destination_port),
        ));
        let masquerade = if binding.masquerade {
            binding_flags::MASQUERADE
        } else {
            0
        };
        let local = if binding.local_endpoint {
            binding_flags::LOCAL_ENDPOINT
        } else {
            0
        };
        let translated =
            (original.source, original.source_port) != (reply.destination, reply.destination_port);
        let translated = if translated {
            binding_flags::SOURCE_TRANSLATED
        } else {
            0
        };
        let counted = if binding.counted {
            binding_flags::COUNTED
        } else {
            0
        };
        self.binding.write(join(
            binding.endpoint.0,
            join16(
                binding.endpoint_generation,
                u16::from_be_bytes([
                    original.protocol.number(),
                    masquerade | local | translated | counted,
                ]),
            ),
        ));
        let deltas = join16(binding.network.to_bits(), binding.transport.to_bits());
        self.checks.write(join(deltas, windows));
        for (word, value) in self.seen.iter().zip(seen) {
            word.write(value);
        }
    }

    /// Whose load it is, if it is anybody's; means something only if the header confirms afterwards.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "fields are taken out of the word"
    )]
    pub(super) fn counted(&self) -> Option<Counted> {
        let word = self.binding.read();
        if word as u8 & binding_flags::COUNTED == 0 {
            return None;
        }
        Some(Counted {
            endpoint: EndpointId(split(word).0),
            generation: (word >> 16) as u16,
            protocol: Protocol::from_number((word >> 8) as u8)?,
        })
    }

    /// Reads what is constant; means something only if the header confirms afterwards.
    #[inline]
    pub(super) fn read(&self) -> Binding<A> {
        let [client, frontend, endpoint, translated] = self.addresses.read();
        let (client_ports, endpoint_ports) = split(self.ports.read());
        let (id, rest) = split(self.binding.read());
        let (generation, kind) = split16(rest);
        let [protocol, flags] = kind.to_be_bytes();
        let protocol = Protocol::from_number(protocol).unwrap_or(Protocol::Udp);
        let (network, transport) = split16(split(self.checks.read()).0);
        let (client_port, frontend_port) = split16(client_ports);
        let (endpoint_port, translated_port) = split16(endpoint_ports);
        Binding {
            original: Tuple {
                source: client,
                destination: frontend,
                source_port: client_port,
                destination_port: frontend_port,
                protocol,
            },
            reply: Tuple {
                source: endpoint,
                destination: translated,
                source_port: endpoint_port,
                destination_port: translated_port,
                protocol,
            },
            endpoint: EndpointId(id),
            endpoint_generation: generation,
            masquerade: flags & binding_flags::MASQUERADE != 0,
            local_endpoint: flags & binding_flags::LOCAL_ENDPOINT != 0,
            counted: flags & binding_flags::COUNTED != 0,
            network: Delta::from_bits(network),
            transport: Delta::from_bits(transport),
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

    /// Source and destination as seen in `direction`, and in the other one.
    #[inline(always)]
    pub(super) fn pair_of(&self, direction: Direction) -> (A::Pair, A::Pair) {
        self.addresses.pair_of(direction)
    }

    /// What is remembered of the sender in `direction`, and of the receiver.
    #[inline(always)]
    pub(super) fn seen_of(&self, direction: Direction) -> [&Word; 2] {
        from(&self.seen, direction)
    }

    /// A word of the record's last cache line, to be asked for beside the first.
    #[inline]
    pub(super) fn last_word(&self) -> &Word {
        self.addresses.last()
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
const fn split16(word: u32) -> (u16, u16) {
    ((word >> 16) as u16, word as u16)
}
