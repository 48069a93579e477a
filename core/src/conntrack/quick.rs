//! The common packet's way: of a live connection, whose record is the first that the index named.
//!
//! What [`super::Connections::find`], [`super::Binding`] and [`super::Connections::advance`] say in words is done
//! here on the words themselves: in a record the pairs of addresses, and of ports, lie as they lie in a packet of
//! that direction, so that one comparison finds the tuple, and the other pair, turned round, is what the packet
//! becomes. A direction is a number, and chooses by address or shift, not by branch.

use super::binding::Bound;
use super::connections::{Connections, REFRESH_TICKS, decode};
use super::record::{Record, Stored, join, split};
use super::state::State;
use super::tcp::{self, Side};
use super::udp;
use crate::net::Direction;
use crate::packet::{Delta, PlainHeaders, PlainRewrite, TcpSegment};
use crate::sync::{Header, Life, Word};
use crate::table::Entry;

/// A live connection, as far as its next packet needs it. What is read of it means something only if its header is the
/// same afterwards, which [`Quick::settle`] sees to before it writes.
#[derive(Debug, Clone, Copy)]
pub struct Quick<'table, A: Stored> {
    record: &'table Record<A>,
    header: Header,
    /// Which way the packet goes.
    pub direction: Direction,
}

/// What a packet does to its connection.
#[derive(Debug, Clone, Copy)]
pub struct QuickStep {
    life: Life,
    timeout: u32,
    /// What was remembered of the sender and of both windows, and is to be; nothing of UDP.
    seen: Option<[u64; 2]>,
    checks: [u64; 2],
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

    /// The connection of `candidate`, if it has not expired and is the packet's. `None` says nothing: ask
    /// [`Connections::find`].
    #[inline(always)]
    #[must_use]
    pub fn quick(
        &self,
        candidate: Entry,
        headers: &PlainHeaders<A>,
        now: u32,
    ) -> Option<Quick<'_, A>> {
        let (number, version, direction) = decode(candidate);
        let record = self.records.get(number as usize)?;
        let header = record.header();
        let same = header.version() & 0x7fff == version
            && header.deadline() > now
            && record.pair(direction) == headers.addresses
            && record.ports_of(direction)[0] == headers.ports
            && record.bound().protocol_number() == headers.protocol.number();
        same.then_some(Quick {
            record,
            header,
            direction,
        })
    }

    /// What a plain segment does to a settled TCP connection: `header` and so many bytes of data. `None`: ask
    /// [`Connections::advance`].
    #[inline(always)]
    #[must_use]
    pub fn step_tcp(
        &self,
        quick: &Quick<'_, A>,
        header: &[u8; 20],
        payload_len: u32,
    ) -> Option<QuickStep> {
        if !quick.header.is(Life::Live(tcp::SETTLED.bits())) {
            return None;
        }
        let record = quick.record;
        let checks = record.checks.read();
        let [own, peer] = record.seen_of(quick.direction).map(Word::read);
        // Own window in the upper half.
        let turn = 16 * u32::from(quick.direction as u8);
        let windows = split(checks).1.rotate_left(turn);
        let (own, peer) = (Side::new(own, windows >> 16), Side::new(peer, windows));
        // Read last: what is read before other threads' words cannot wait until it is needed.
        let segment = TcpSegment::of_header(header, payload_len);
        let (next, timeout) = tcp::step_plain(&segment, own, peer, &self.timeouts)?;
        let next_checks = if next.window() == own.window() {
            checks
        } else {
            let windows = (u32::from(next.window()) << 16) | (windows & 0xffff);
            join(split(checks).0, windows.rotate_right(turn))
        };
        Some(QuickStep {
            life: Life::Live(tcp::SETTLED.bits()),
            timeout,
            seen: Some([own.seen(), next.seen()]),
            checks: [checks, next_checks],
        })
    }

    /// What a datagram does to a UDP connection. `None`: ask [`Connections::advance`].
    #[inline(always)]
    #[must_use]
    pub fn step_udp(&self, quick: &Quick<'_, A>, now: u32) -> Option<QuickStep> {
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
        Some(QuickStep {
            life: Life::Live(progress.state.bits()),
            timeout: progress.timeout,
            seen: None,
            checks: [quick.record.checks.read(); 2],
        })
    }
}

impl<A: Stored> Quick<'_, A> {
    /// Endpoint and flags.
    #[inline(always)]
    #[must_use]
    pub fn bound(&self) -> Bound {
        self.record.bound()
    }

    /// Takes the step, and says what the packet becomes. `None`: nothing has changed, the connection has moved on since
    /// it was found.
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "fields are taken out of words"
    )]
    pub fn settle(&self, step: &QuickStep, now: u32) -> Option<PlainRewrite<A>> {
        let Self {
            record,
            header,
            direction,
        } = *self;
        let [checks, next_checks] = step.checks;
        let delta = |bits: u64| Delta::from_bits(bits as u16).in_direction(direction);
        let to = PlainRewrite {
            addresses: A::turned(record.pair(direction.reverse())),
            ports: record.ports_of(direction)[1].turned(),
            network: delta(checks >> 48),
            transport: delta(checks >> 32),
        };
        // The last that is read, and before anything is written.
        if !header.unchanged(&record.header) {
            return None;
        }
        let deadline = now.saturating_add(step.timeout);
        let later = deadline.wrapping_sub(header.deadline());
        // Neither earlier nor later by so much, in one comparison.
        let near = later.wrapping_add(REFRESH_TICKS - 1) < 2 * REFRESH_TICKS - 1;
        if !header.is(step.life) || !near {
            header.advance(&record.header, step.life, deadline).ok()?;
        }
        if let Some([before, after]) = step.seen
            && before != after
        {
            let [seen, _] = record.seen_of(direction);
            seen.write(after);
        }
        if next_checks != checks {
            // Lost to a concurrent change: the next packet announces its window again.
            let _ = record.checks.swap_if(checks, next_checks);
        }
        Some(to)
    }
}
