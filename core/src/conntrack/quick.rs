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
use super::tcp::{self, Sides};
use super::udp;
use crate::net::Direction;
use crate::packet::{Delta, PlainHeaders, PlainRewrite, TcpSegment};
use crate::sync::{Header, Life, Word};
use crate::table::Entry;

/// A live connection, as far as its next packet needs it. What is read of it means something only if its header is the
/// same afterwards, which [`Quick::settle`] sees to before it says what the packet becomes.
#[derive(Debug, Clone, Copy)]
pub struct Quick<'table, A: Stored> {
    record: &'table Record<A>,
    header: Header,
    /// Which way the packet goes.
    pub direction: Direction,
}

/// A burst's moment, and when what its packets refresh expires then. All in ticks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    now: u32,
    /// The deadline of a settled TCP connection that waits for nothing.
    settled: u32,
    /// Of one that waits for an acknowledgment.
    waiting: u32,
    /// A deadline stays that would be later by `later`, if `later + REFRESH_TICKS - 1` is below this: half a second either
    /// way, or less where connections live no longer, so that none that has expired seems near.
    near: u32,
}

impl<A: Stored> Connections<A> {
    /// The moment `now`, in ticks.
    #[must_use]
    pub fn moment(&self, now: u32) -> Moment {
        let timeouts = tcp::settled_timeouts(&self.timeouts);
        let [settled, waiting] = timeouts.map(|timeout| now.saturating_add(timeout));
        Moment {
            now,
            settled,
            waiting,
            near: waiting
                .wrapping_sub(now)
                .min(REFRESH_TICKS)
                .wrapping_add(REFRESH_TICKS - 1),
        }
    }

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
        moment: &Moment,
    ) -> Option<Quick<'_, A>> {
        let (quick, version) = self.named_by(candidate)?;
        let header = quick.header;
        if header.version() & 0x7fff != version || header.deadline() <= moment.now {
            return None;
        }
        let same =
            quick.is_of(headers) && quick.bound().protocol_number() == headers.protocol.number();
        same.then_some(quick)
    }

    /// The TCP connection of `candidate`, if it is settled and the packet's; it may have expired, which
    /// [`Quick::advance_tcp`] sees. `None` says nothing: ask [`Connections::find`].
    #[inline(always)]
    #[must_use]
    pub fn quick_tcp(&self, candidate: Entry, headers: &PlainHeaders<A>) -> Option<Quick<'_, A>> {
        let (quick, version) = self.named_by(candidate)?;
        if !quick.header.is_live(version, tcp::SETTLED.bits()) {
            return None;
        }
        quick.is_of(headers).then_some(quick)
    }

    /// The record of an entry, and which version of it the entry is about.
    #[inline(always)]
    fn named_by(&self, entry: Entry) -> Option<(Quick<'_, A>, u64)> {
        let (number, version, direction) = decode(entry);
        let record = self.records.get(number as usize)?;
        let quick = Quick {
            record,
            header: record.header(),
            direction,
        };
        Some((quick, version))
    }
}

impl<A: Stored> Quick<'_, A> {
    /// Is the connection a packet's, if the protocol is?
    #[inline(always)]
    fn is_of(&self, headers: &PlainHeaders<A>) -> bool {
        A::same(self.record.pair(self.direction), headers.addresses)
            && self.record.ports_of(self.direction)[0] == headers.ports
    }

    /// Endpoint and flags.
    #[inline(always)]
    #[must_use]
    pub fn bound(&self) -> Bound {
        self.record.bound()
    }

    /// Takes the step of a plain segment of a settled TCP connection: `header` and so many bytes of data. Gives what is to
    /// be remembered of its sender. `None`: ask [`Connections::advance`].
    #[inline(always)]
    #[must_use]
    pub fn advance_tcp(
        &mut self,
        header: &[u8; 20],
        payload_len: u32,
        moment: &Moment,
    ) -> Option<u64> {
        let [own, peer] = self.record.seen_of(self.direction).map(Word::read);
        let windows = split(self.record.checks.read()).1.rotate_left(self.turn());
        // Read last: what is read before other threads' words cannot wait until it is needed.
        let segment = TcpSegment::of_header(header, payload_len);
        let sides = Sides {
            seen: [own, peer],
            windows,
        };
        let (next, waits) = tcp::step_plain(&segment, &sides)?;
        let deadline = if waits {
            moment.waiting
        } else {
            moment.settled
        };
        // Neither earlier nor later by so much, and not expired, in one comparison.
        let later = deadline.wrapping_sub(self.header.deadline());
        if later.wrapping_add(REFRESH_TICKS - 1) >= moment.near {
            self.header = self.refreshed(tcp::SETTLED.bits(), deadline, moment.now)?;
        }
        if !sides.is_common(segment.window) {
            self.widened(segment.window)?;
        }
        Some(next)
    }

    /// Takes the step of a datagram of a UDP connection. `None`: ask [`Connections::advance`].
    #[inline(always)]
    #[must_use]
    pub fn advance_udp(&mut self, connections: &Connections<A>, moment: &Moment) -> Option<()> {
        let Life::Live(bits) = self.header.life() else {
            return None;
        };
        let [first, _] = &self.record.seen;
        let progress = udp::advance(
            State::from_bits(bits),
            self.direction,
            first.read(),
            moment.now,
            &connections.timeouts,
        );
        let deadline = moment.now.saturating_add(progress.timeout);
        let later = deadline.wrapping_sub(self.header.deadline());
        let near = later.wrapping_add(REFRESH_TICKS - 1) < 2 * REFRESH_TICKS - 1;
        if progress.state.bits() != bits || !near {
            self.header = self.refreshed(progress.state.bits(), deadline, moment.now)?;
        }
        Some(())
    }

    /// By how many bits both sides' windows are turned, so that the packet's sender's is in the upper half.
    #[inline(always)]
    const fn turn(&self) -> u32 {
        16 * (self.direction as u32)
    }

    /// The header with state and deadline moved, if the connection has not expired and nothing has changed since it was
    /// found.
    #[cold]
    #[inline(never)]
    fn refreshed(self, state: u8, deadline: u32, now: u32) -> Option<Header> {
        if self.header.deadline() <= now {
            return None;
        }
        let life = Life::Live(state);
        self.header
            .advance(&self.record.header, life, deadline)
            .ok()
    }

    /// Remembers the sender's window, which may be greater than those before, if nothing has changed since the connection
    /// was found.
    #[cold]
    #[inline(never)]
    fn widened(self, window: u16) -> Option<()> {
        let checks = self.record.checks.read();
        let windows = split(checks).1.rotate_left(self.turn());
        let windows = tcp::announced(window, windows)?.rotate_right(self.turn());
        if !self.header.unchanged(&self.record.header) {
            return None;
        }
        // Lost to a concurrent change: the next packet announces its window again.
        let _ = self
            .record
            .checks
            .swap_if(checks, join(split(checks).0, windows));
        Some(())
    }

    /// Says what the packet becomes, and remembers what was seen of its sender. `None`: the connection has moved on since
    /// it was found.
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "fields are taken out of words"
    )]
    pub fn settle(&self, seen: Option<u64>) -> Option<PlainRewrite<A>> {
        let Self {
            record,
            header,
            direction,
        } = *self;
        let checks = record.checks.read();
        let delta = |bits: u64| Delta::from_bits(bits as u16).in_direction(direction);
        let to = PlainRewrite {
            addresses: A::turned(record.pair(direction.reverse())),
            ports: record.ports_of(direction)[1].turned(),
            network: delta(checks >> 48),
            transport: delta(checks >> 32),
        };
        // The last that is read, and before anything else is written.
        if !header.unchanged(&record.header) {
            return None;
        }
        if let Some(seen) = seen {
            let [word, _] = record.seen_of(direction);
            if word.read() != seen {
                word.write(seen);
            }
        }
        Some(to)
    }
}
