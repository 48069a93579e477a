//! The common packet's way: of a live connection, whose record is the first that the index named.
//!
//! What [`super::Connections::find`], [`super::Binding`] and [`super::Connections::advance`] say in words is done
//! here on the words themselves: in a record the pairs of addresses, and of ports, lie as they lie in a packet of
//! that direction, so that one comparison finds the tuple, and the other pair, turned round, is what the packet
//! becomes. A direction is a number, and chooses by address or shift, not by branch.

use super::binding::binding_flags;
use super::connections::{Connections, REFRESH_TICKS, decode};
use super::record::{Record, Stored, join, split};
use super::state::State;
use super::tcp::{self, Side};
use super::udp;
use crate::net::{Direction, EndpointId};
use crate::packet::{Delta, PlainHeaders, PlainRewrite, TcpSegment};
use crate::sync::{Header, Life};
use crate::table::Entry;

/// A live connection, as far as its next packet needs it.
#[derive(Debug, Clone, Copy)]
pub struct Quick<'table, A: Stored> {
    record: &'table Record<A>,
    header: Header,
    /// Checksum deltas and windows.
    checks: u64,
    binding: u64,
    /// Addresses and ports of the other direction.
    addresses: A::Pair,
    ports: u32,
    /// Which way the packet goes.
    pub direction: Direction,
}

impl<A: Stored> Connections<A> {
    /// The hash of a plain packet's tuple.
    #[inline(always)]
    #[must_use]
    pub fn hash_plain(&self, headers: &PlainHeaders<A>) -> u64 {
        A::hash_words(
            &self.key,
            headers.addresses,
            headers.ports,
            headers.protocol,
        )
    }

    /// The connection of `candidate`, if it is live and the packet's. `None` says nothing: ask
    /// [`Connections::find`].
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "fields are taken out of words"
    )]
    pub fn quick(
        &self,
        candidate: Entry,
        headers: &PlainHeaders<A>,
        now: u32,
    ) -> Option<Quick<'_, A>> {
        let (number, version, direction) = decode(candidate);
        let record = self.records.get(number as usize)?;
        let header = record.header();
        let (own, other) = record.pair_of(direction);
        // Own ports in the upper half.
        let turn = 32 * u32::from(direction as u8);
        let ports = record.ports.read().rotate_left(turn);
        let binding = record.binding.read();
        let checks = record.checks.read();
        let same = header.version() & 0x7fff == version
            && matches!(header.life(), Life::Live(_))
            && header.deadline() > now
            && own == headers.addresses
            && split(ports).0 == headers.ports
            && (binding >> 8) as u8 == headers.protocol.number();
        if !same || !header.unchanged(&record.header) {
            return None;
        }
        Some(Quick {
            record,
            header,
            checks,
            binding,
            addresses: other,
            ports: split(ports).1,
            direction,
        })
    }

    /// Steps a settled TCP connection by a plain segment. `None`: nothing has changed, ask
    /// [`Connections::advance`].
    #[inline(always)]
    #[must_use]
    pub fn advance_tcp(&self, quick: &Quick<'_, A>, segment: &TcpSegment, now: u32) -> Option<()> {
        if quick.header.life() != Life::Live(tcp::SETTLED.bits()) {
            return None;
        }
        let [own_seen, peer_seen] = quick.record.seen_of(quick.direction);
        // The windows of the original direction lie in the upper half.
        let shift = 16 * u32::from(quick.direction.reverse() as u8);
        let windows = split(quick.checks).1;
        let own = Side::new(own_seen.read(), windows >> shift);
        let peer = Side::new(peer_seen.read(), windows >> (16 ^ shift));
        let (next, timeout) = tcp::step_plain(segment, own, peer, &self.timeouts)?;
        refresh(quick, tcp::SETTLED, timeout, now)?;
        if next.seen() != own.seen() {
            own_seen.write(next.seen());
        }
        if next.window() != own.window() {
            let kept = windows & !(0xffff << shift);
            let windows = kept | (u32::from(next.window()) << shift);
            // Lost to a concurrent change: the next packet announces its window again.
            let deltas = split(quick.checks).0;
            let _ = quick
                .record
                .checks
                .swap_if(quick.checks, join(deltas, windows));
        }
        Some(())
    }

    /// Steps a UDP connection. `None`: nothing has changed, ask [`Connections::advance`].
    #[inline(always)]
    #[must_use]
    pub fn advance_udp(&self, quick: &Quick<'_, A>, now: u32) -> Option<()> {
        let Life::Live(bits) = quick.header.life() else {
            return None;
        };
        let [first, _] = &quick.record.seen;
        let progress = udp::advance(
            State::from_bits(bits),
            quick.direction,
            first.read(),
            now,
            &self.timeouts,
        );
        refresh(quick, progress.state, progress.timeout, now)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "fields are taken out of words"
)]
impl<A: Stored> Quick<'_, A> {
    /// What the packet becomes.
    #[inline(always)]
    #[must_use]
    pub fn rewrite(&self) -> PlainRewrite<A> {
        let delta = |bits: u64| Delta::from_bits(bits as u16).in_direction(self.direction);
        PlainRewrite {
            addresses: A::turned(self.addresses),
            ports: self.ports.rotate_left(16),
            network: delta(self.checks >> 48),
            transport: delta(self.checks >> 32),
        }
    }

    /// The endpoint.
    #[inline(always)]
    #[must_use]
    pub const fn endpoint(&self) -> EndpointId {
        EndpointId(split(self.binding).0)
    }

    /// Its generation when it was chosen.
    #[inline(always)]
    #[must_use]
    pub const fn endpoint_generation(&self) -> u16 {
        (self.binding >> 16) as u16
    }

    /// Is the source translated to the node's address too?
    #[inline(always)]
    #[must_use]
    pub const fn masquerade(&self) -> bool {
        self.binding as u8 & binding_flags::MASQUERADE != 0
    }

    /// Is the endpoint on this node?
    #[inline(always)]
    #[must_use]
    pub const fn local_endpoint(&self) -> bool {
        self.binding as u8 & binding_flags::LOCAL_ENDPOINT != 0
    }
}

/// Writes state and deadline where they move. `None`: another thread moved them first.
#[inline(always)]
fn refresh<A: Stored>(quick: &Quick<'_, A>, state: State, timeout: u32, now: u32) -> Option<()> {
    let Quick { record, header, .. } = *quick;
    let (life, deadline) = (Life::Live(state.bits()), now.saturating_add(timeout));
    if header.life() != life || deadline.abs_diff(header.deadline()) >= REFRESH_TICKS {
        header.advance(&record.header, life, deadline).ok()?;
    }
    Some(())
}
