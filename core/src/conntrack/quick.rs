//! The common packet's way: of a live connection, whose record is the first that the index named.
//!
//! What [`super::Connections::find`] and [`super::Binding`] say in words is done here on the words themselves:
//! in a record the pairs of addresses, and of ports, lie as they lie in a packet of that direction, so that one
//! comparison finds the tuple, and the other pair, turned round, is what the packet becomes.

use super::connections::{Connections, decode};
use super::record::{Record, Stored, binding_flags, split};
use crate::net::{Direction, EndpointId, Tuple};
use crate::packet::{Delta, Rewrite};
use crate::sync::{Header, Life};
use crate::table::Entry;

/// A live connection, as far as its next packet needs it.
#[derive(Debug, Clone, Copy)]
pub struct Quick<'table, A: Stored> {
    pub(super) record: &'table Record<A>,
    pub(super) header: Header,
    /// Which way the packet goes.
    pub direction: Direction,
    /// What the packet becomes.
    pub rewrite: Rewrite<A>,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its generation when it was chosen.
    pub endpoint_generation: u16,
    /// The source is translated to the node's address too.
    pub masquerade: bool,
    /// The endpoint is on this node.
    pub local_endpoint: bool,
}

impl<A: Stored> Connections<A> {
    /// The connection of `candidate`, if it is live and this tuple's. `None` says nothing: ask
    /// [`Connections::find`].
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "fields are taken out of words"
    )]
    pub fn quick(&self, candidate: Entry, tuple: &Tuple<A>, now: u32) -> Option<Quick<'_, A>> {
        let (number, version, direction) = decode(candidate);
        let record = self.records.get(number as usize)?;
        let header = record.header();
        let [original, reply] = record.pairs();
        let ports = record.ports.read();
        let binding = record.binding.read();
        let deltas = split(record.checks.read()).0;
        // Own pair and the other side's, ports likewise.
        let (own, other, ports) = match direction {
            Direction::Original => (original, reply, ports),
            Direction::Reply => (reply, original, ports.rotate_left(32)),
        };
        let own_ports = (u32::from(tuple.source_port) << 16) | u32::from(tuple.destination_port);
        let same = header.version() & 0x7fff == version
            && matches!(header.life(), Life::Live(_))
            && header.deadline() > now
            && own == A::pair(tuple.source, tuple.destination)
            && split(ports).0 == own_ports
            && (binding >> 8) as u8 == tuple.protocol.number();
        if !same || !header.confirm(&record.header) {
            return None;
        }
        let (destination, source) = A::unpair(other);
        let flags = binding as u8;
        let delta = |bits: u32| match direction {
            Direction::Original => Delta::from_bits(bits as u16),
            Direction::Reply => Delta::from_bits(bits as u16).negated(),
        };
        Some(Quick {
            record,
            header,
            direction,
            rewrite: Rewrite {
                source,
                destination,
                source_port: ports as u16,
                destination_port: (ports >> 16) as u16,
                network: delta(deltas >> 16),
                transport: delta(deltas),
            },
            endpoint: EndpointId(split(binding).0),
            endpoint_generation: (binding >> 16) as u16,
            masquerade: flags & binding_flags::MASQUERADE != 0,
            local_endpoint: flags & binding_flags::LOCAL_ENDPOINT != 0,
        })
    }
}
