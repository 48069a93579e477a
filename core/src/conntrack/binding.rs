//! What a connection ties together: constant for its life, and kept in the words of its record, which lie as a packet's
//! do.

use super::record::{Stored, join, join16, split, split16};
use crate::net::{Direction, EndpointId, Ports, Protocol, Tuple};
use crate::packet::{Delta, PlainRewrite};

/// Bits of a binding's flags. Those that packets' descriptors say too have the same numbers there, which saves a shift.
mod binding_flags {
    /// The connection is one of its endpoint's load.
    pub(super) const COUNTED: u8 = 1;
    /// The source is translated to the node's address.
    pub(super) const MASQUERADE: u8 = 4;
    /// The endpoint is on this node.
    pub(super) const LOCAL_ENDPOINT: u8 = 8;
}

/// The endpoint that a connection goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<A> {
    /// Its address.
    pub address: A,
    /// Its port.
    pub port: u16,
    /// Which endpoint it is.
    pub endpoint: EndpointId,
    /// Its generation, as [`super::Endpoints`] counts.
    pub generation: u16,
    /// Is it on this node?
    pub local: bool,
    /// Is the connection to be one of the endpoint's load ([`crate::sync::Loads`])?
    pub counted: bool,
}

/// What a connection ties together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<A: Stored> {
    /// Source and destination as packets have them: from the client to the frontend, from the endpoint to the client (or
    /// to the node, if masqueraded).
    pub(super) addresses: [A::Pair; 2],
    /// Their ports: those of the original direction in the upper half.
    pub(super) ports: u64,
    pub(super) bound: Bound,
    /// By what checksums of the original direction change: the network header's 16, the transport header's 16.
    pub(super) deltas: u32,
}

/// What of a binding is of no direction: endpoint 32, its generation 16, protocol 8, flags 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound(pub(super) u64);

impl<A: Stored> Binding<A> {
    /// Of a connection to `target`, whose first packet has the tuple `original`, the source of which becomes `source`.
    #[inline(always)]
    pub(super) fn new(
        original: &Tuple<A>,
        target: &Target<A>,
        source: (A, u16),
        masquerade: bool,
    ) -> Self {
        let forward = Tuple {
            source: source.0,
            destination: target.address,
            source_port: source.1,
            destination_port: target.port,
            protocol: original.protocol,
        };
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(masquerade, binding_flags::MASQUERADE)
            | flag(target.local, binding_flags::LOCAL_ENDPOINT)
            | flag(target.counted, binding_flags::COUNTED);
        let kind = u16::from_be_bytes([original.protocol.number(), flags]);
        let bound = Bound(join(target.endpoint.0, join16(target.generation, kind)));
        Self::between(original, &forward, bound)
    }

    /// What makes `forward` of `original`, and back.
    #[inline(always)]
    fn between(original: &Tuple<A>, forward: &Tuple<A>, bound: Bound) -> Self {
        let network = Delta::of_addresses(original, forward);
        let transport = network.plus(Delta::of_ports(original, forward));
        Self {
            addresses: [
                A::pair(original.source, original.destination),
                A::pair(forward.destination, forward.source),
            ],
            ports: join(original.ports().0, forward.ports().turned().0),
            bound,
            deltas: join16(network.to_bits(), transport.to_bits()),
        }
    }

    /// The same with another source port towards the endpoint.
    pub(super) fn with_source_port(&self, source_port: u16) -> Self {
        let forward = Tuple {
            source_port,
            ..self.translated(Direction::Original)
        };
        Self::between(&self.tuple(Direction::Original), &forward, self.bound)
    }

    /// The source port that the endpoint sees.
    #[inline]
    pub(super) const fn source_port(&self) -> u16 {
        Ports(split(self.ports).1).destination()
    }

    /// Addresses and ports of a direction's packets.
    #[inline(always)]
    pub(super) const fn words(&self, direction: Direction) -> (A::Pair, Ports) {
        let [original, reply] = self.addresses;
        let (original_ports, reply_ports) = split(self.ports);
        match direction {
            Direction::Original => (original, Ports(original_ports)),
            Direction::Reply => (reply, Ports(reply_ports)),
        }
    }

    /// The tuple that names the connection in `direction`: as the client sends it, or as the endpoint does.
    #[inline]
    #[must_use]
    pub fn tuple(&self, direction: Direction) -> Tuple<A> {
        let (addresses, ports) = self.words(direction);
        let (source, destination) = A::unpair(addresses);
        Tuple {
            source,
            destination,
            source_port: ports.source(),
            destination_port: ports.destination(),
            protocol: self.protocol(),
        }
    }

    /// What a packet of `direction` becomes.
    #[inline]
    #[must_use]
    pub fn translated(&self, direction: Direction) -> Tuple<A> {
        self.tuple(direction.reverse()).reverse()
    }

    /// The same of a plain packet.
    #[inline(always)]
    #[must_use]
    pub fn rewrite(&self, direction: Direction) -> PlainRewrite<A> {
        let (addresses, ports) = self.words(direction.reverse());
        let (network, transport) = self.deltas(direction);
        PlainRewrite {
            addresses: A::turned(addresses),
            ports: ports.turned(),
            network,
            transport,
        }
    }

    /// By what the checksums of the network header and of the transport header change in `direction`.
    #[inline]
    #[must_use]
    pub const fn deltas(&self, direction: Direction) -> (Delta, Delta) {
        let (network, transport) = split16(self.deltas);
        (
            Delta::from_bits(network).in_direction(direction),
            Delta::from_bits(transport).in_direction(direction),
        )
    }

    /// The endpoint chosen.
    #[inline]
    #[must_use]
    pub const fn endpoint(&self) -> EndpointId {
        self.bound.endpoint()
    }

    /// The endpoint's generation when it was chosen, as [`super::Endpoints`] counts.
    #[inline]
    #[must_use]
    pub const fn endpoint_generation(&self) -> u16 {
        self.bound.endpoint_generation()
    }

    /// The transport protocol.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.bound.protocol()
    }

    /// Is the source translated to the node's address too?
    #[inline]
    #[must_use]
    pub const fn masquerade(&self) -> bool {
        self.bound.masquerade()
    }

    /// Is the endpoint on this node?
    #[inline]
    #[must_use]
    pub const fn local_endpoint(&self) -> bool {
        self.bound.local_endpoint()
    }
}

impl Bound {
    /// The endpoint chosen.
    #[inline(always)]
    #[must_use]
    pub const fn endpoint(self) -> EndpointId {
        EndpointId(split(self.0).0)
    }

    /// The endpoint's generation when it was chosen, as [`super::Endpoints`] counts.
    #[inline(always)]
    #[must_use]
    pub const fn endpoint_generation(self) -> u16 {
        split16(split(self.0).1).0
    }

    /// The transport protocol.
    #[inline(always)]
    #[must_use]
    pub fn protocol(self) -> Protocol {
        Protocol::from_number(self.protocol_number()).unwrap_or(Protocol::Udp)
    }

    #[inline(always)]
    pub(super) const fn protocol_number(self) -> u8 {
        let [.., number, _] = self.0.to_be_bytes();
        number
    }

    /// Is the source translated to the node's address too?
    #[inline(always)]
    #[must_use]
    pub const fn masquerade(self) -> bool {
        self.has(binding_flags::MASQUERADE)
    }

    /// Is the endpoint on this node?
    #[inline(always)]
    #[must_use]
    pub const fn local_endpoint(self) -> bool {
        self.has(binding_flags::LOCAL_ENDPOINT)
    }

    /// Is it one of its endpoint's load ([`crate::sync::Loads`])?
    #[inline(always)]
    #[must_use]
    pub const fn counted(self) -> bool {
        self.has(binding_flags::COUNTED)
    }

    #[inline(always)]
    const fn has(self, flag: u8) -> bool {
        let [.., flags] = self.0.to_be_bytes();
        flags & flag != 0
    }
}
