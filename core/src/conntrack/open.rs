//! Opening a connection: both directions at once, or not at all.
//!
//! The answer's slot is placed first, because it may have to choose another source port; then the original's;
//! then the record becomes live by one swap, and with it both directions. Of two threads that open the same
//! tuple, at least one finds the other's slot. If that record is live, it is used; if it is still being
//! opened, it is stopped (its life is swapped to free, which its opener notices when it wants to make it
//! live). So there never are two, and nobody waits: whoever was overtaken looks again.

use super::binding::{Binding, Target};
use super::connections::{Connections, Hit, entry};
use super::record::{Record, Stored, join};
use super::state::{Progress, State, Transport, open};
use crate::net::{Direction, Tuple};
use crate::sync::{Header, Life};
use crate::table::{Entry, InsertError, Sameness};
use core::ops::RangeInclusive;

/// Source ports that may be given to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourcePorts {
    low: u16,
    span: u32,
}

impl SourcePorts {
    /// The ports of `range`; an empty range becomes its first port.
    #[must_use]
    pub fn new(range: &RangeInclusive<u16>) -> Self {
        let (low, high) = (*range.start(), *range.end());
        Self {
            low,
            span: u32::from(high.saturating_sub(low)).wrapping_add(1),
        }
    }

    /// Every port once, in an order that `random` chooses.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "remainders are below the span"
    )]
    const fn permutation(self, random: u64) -> Permutation {
        // Never 0, which the compiler does not know; a remainder by 0 would panic.
        let span = if self.span == 0 { 1 } else { self.span };
        Permutation {
            low: self.low,
            span,
            offset: (random as u32) % span,
            stride: (random >> 32) as u32,
            left: span,
        }
    }
}

/// Ports of a range, each once.
#[derive(Debug, Clone)]
struct Permutation {
    low: u16,
    span: u32,
    /// Of the last port given, once one was.
    offset: u32,
    /// Made less than the span and without a common divisor with it, so that it visits every port, when it is first
    /// needed.
    stride: u32,
    left: u32,
}

impl Iterator for Permutation {
    type Item = u16;

    #[expect(clippy::cast_possible_truncation, reason = "offsets are below 65,536")]
    fn next(&mut self) -> Option<u16> {
        let rest = self.left.checked_sub(1)?;
        let span = self.span.max(1);
        if self.left != span {
            if rest.wrapping_add(2) == span {
                self.stride = (self.stride % span) | 1;
                while gcd(self.stride, span) != 1 {
                    self.stride = self.stride.wrapping_add(2);
                }
            }
            self.offset = self.offset.wrapping_add(self.stride) % span;
        }
        self.left = rest;
        Some(self.low.wrapping_add(self.offset as u16))
    }
}

const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// What is to be opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening<A: Stored> {
    /// What is tied together if the source port that is tried first is to be had.
    binding: Binding<A>,
    /// The hash of the first packet's tuple.
    hash: u64,
    /// The hash of its answer's.
    answer: u64,
    /// Ports for masquerading, and for flows whose own port is taken.
    ports: SourcePorts,
    /// Chooses among them.
    random: u64,
}

/// Why no connection was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// Another thread is opening, or has opened, a connection of this tuple: it is to be looked for.
    Overtaken,
    /// The packet opens none (`NoConnection`).
    NotAnOpening,
    /// The table is full of connections that must not be evicted.
    TableFull,
    /// Every source port towards the endpoint is in use.
    NoSourcePort,
}

/// Ports tried when the whole range was just found in use.
const TRIES_WHEN_EXHAUSTED: usize = 64;

impl<A: Stored> Connections<A> {
    /// Opens a connection for a first packet, which `pick_up` may be a TCP segment other than a SYN. `usable` says
    /// whether a source port may be given out.
    ///
    /// Returns the connection, found in the original direction, and its answer's hash.
    ///
    /// # Errors
    /// [`OpenError`]; nothing has changed then.
    #[inline(always)]
    pub fn open(
        &self,
        opening: &Opening<A>,
        transport: &Transport,
        pick_up: bool,
        now: u32,
        usable: impl Fn(u16) -> bool,
    ) -> Result<(Hit<'_, A>, u64), OpenError> {
        let progress =
            open(transport, pick_up, now, &self.timeouts).ok_or(OpenError::NotAnOpening)?;
        let Some(draft) = self.draft(&progress, now) else {
            return Err(OpenError::TableFull);
        };
        let (mut binding, mut answer) = (&opening.binding, opening.answer);
        let elsewhere;
        // Free but seldom not, and placing it finds out.
        if (binding.masquerade() && !usable(binding.source_port()))
            || !self.place_with(draft, binding, answer)?
        {
            elsewhere = self.place_elsewhere(draft, opening, &usable)?;
            binding = &elsewhere;
            answer = self.hash_of(binding, Direction::Reply);
        }
        let (reply, original) = (
            (Direction::Reply, answer),
            (Direction::Original, opening.hash),
        );
        if let Err(error) = self.place(draft, binding, original) {
            self.abandon(draft, &[reply]);
            return Err(match error {
                InsertError::Duplicate(_) => OpenError::Overtaken,
                InsertError::Full => OpenError::TableFull,
            });
        }
        let state = Some(progress.state);
        // Before anyone can end it.
        self.count(binding.bound, None, state);
        let Some(hit) = draft.live(progress.state, binding) else {
            self.count(binding.bound, state, None);
            self.abandon(draft, &[reply, original]);
            return Err(OpenError::Overtaken);
        };
        Ok((hit, answer))
    }

    /// Asks for the cache line where the answer will most likely be placed.
    #[inline]
    pub fn ask_for_answer(&self, opening: &Opening<A>) {
        self.prefetch(opening.answer);
    }

    /// Asks for the cache lines where the connection will be placed instead, where those asked for before are full.
    #[inline]
    pub fn ask_for_places(&self, opening: &Opening<A>) {
        self.index.prefetch_place(opening.answer);
        self.index.prefetch_place(opening.hash);
    }

    /// A free record, claimed.
    #[inline(always)]
    fn draft(&self, progress: &Progress, now: u32) -> Option<Draft<'_, A>> {
        let number = self.take_free().or_else(|| self.take_from_others(now))?;
        let record = self.records.get(number as usize)?;
        let deadline = now.saturating_add(progress.timeout);
        Some(Draft {
            record,
            number,
            header: Header::claim(&record.header, deadline),
            windows: progress.windows.unwrap_or(0),
            seen: progress.seen.unwrap_or([0, 0]),
            now,
        })
    }

    /// A free record, made free.
    #[cold]
    #[inline(never)]
    fn take_from_others(&self, now: u32) -> Option<u32> {
        // A record freed by one thread may be taken by another, hence a few tries.
        for _ in 0..4 {
            if !self.make_room(now) {
                return None;
            }
            if let Some(number) = self.take_free() {
                return Some(number);
            }
        }
        None
    }

    /// Writes the record and places its answer's tuple; `false` if another connection has it.
    #[inline(always)]
    fn place_with(
        &self,
        draft: Draft<'_, A>,
        binding: &Binding<A>,
        answer: u64,
    ) -> Result<bool, OpenError> {
        draft.record.write(binding, draft.windows, draft.seen);
        match self.place(draft, binding, (Direction::Reply, answer)) {
            Ok(()) => Ok(true),
            Err(InsertError::Duplicate(_)) => Ok(false),
            Err(InsertError::Full) => {
                self.abandon(draft, &[]);
                Err(OpenError::TableFull)
            }
        }
    }

    /// The same when the first port is not to be had, with the first that is.
    #[cold]
    #[inline(never)]
    fn place_elsewhere(
        &self,
        draft: Draft<'_, A>,
        opening: &Opening<A>,
        usable: &impl Fn(u16) -> bool,
    ) -> Result<Binding<A>, OpenError> {
        let first = &opening.binding;
        let exhausted = join(first.endpoint().0.wrapping_add(1), draft.now);
        let tries = if self.written.exhausted.read() == exhausted {
            TRIES_WHEN_EXHAUSTED
        } else {
            usize::MAX
        };
        // Of a masqueraded connection the first was tried.
        let tried = usize::from(first.masquerade());
        let ports = opening.ports.permutation(opening.random).skip(tried);
        for port in ports.filter(|port| usable(*port)).take(tries) {
            let binding = first.with_source_port(port);
            let answer = self.hash_of(&binding, Direction::Reply);
            if !self.is_taken(&binding.tuple(Direction::Reply), answer, draft.now)
                && self.place_with(draft, &binding, answer)?
            {
                return Ok(binding);
            }
        }
        self.written.exhausted.write(exhausted);
        self.abandon(draft, &[]);
        Err(OpenError::NoSourcePort)
    }

    fn is_taken(&self, tuple: &Tuple<A>, hash: u64, now: u32) -> bool {
        let taken = |found| self.sameness(found, tuple, now) == Sameness::Same;
        self.index.find(hash, taken).is_some()
    }

    #[inline(always)]
    fn place(
        &self,
        draft: Draft<'_, A>,
        binding: &Binding<A>,
        (direction, hash): (Direction, u64),
    ) -> Result<(), InsertError> {
        let Draft {
            number,
            header,
            now,
            ..
        } = draft;
        let own = entry(number, header.version(), direction);
        self.index.insert(hash, own, |found| {
            self.sameness(found, &binding.tuple(direction), now)
        })
    }

    /// Does a live connection have this tuple? One that expired is cleared away, one being opened is stopped.
    #[cold]
    #[inline(never)]
    fn sameness(&self, found: Entry, tuple: &Tuple<A>, now: u32) -> Sameness {
        let Some(hit) = self.resolve(found) else {
            return Sameness::Different;
        };
        if hit.binding.tuple(hit.direction) != *tuple {
            return Sameness::Different;
        }
        match hit.header.life() {
            Life::Free => Sameness::Different,
            Life::Opening => match hit.header.advance(&hit.record.header, Life::Free, 0) {
                // Its opener notices, and gives the record back.
                Ok(_) => Sameness::Different,
                Err(found) if found.version() != hit.header.version() => Sameness::Different,
                Err(found) if found.life() == Life::Free => Sameness::Different,
                Err(_) => Sameness::Same,
            },
            Life::Live(_) if hit.header.deadline() > now => Sameness::Same,
            Life::Live(_) => {
                if self.close(hit) {
                    Sameness::Different
                } else {
                    Sameness::Same
                }
            }
        }
    }

    /// Gives a record back that did not become live.
    #[cold]
    #[inline(never)]
    fn abandon(&self, draft: Draft<'_, A>, placed: &[(Direction, u64)]) {
        let Draft {
            record,
            number,
            header,
            ..
        } = draft;
        // If another thread stopped it, it is free already.
        let _ = header.advance(&record.header, Life::Free, 0);
        for (direction, hash) in placed {
            let entry = entry(number, header.version(), *direction);
            self.index.remove(*hash, entry);
        }
        self.give(number);
    }
}

/// A record of nobody else's, on its way to be a connection's.
#[derive(Debug, Clone, Copy)]
struct Draft<'table, A: Stored> {
    record: &'table Record<A>,
    number: u32,
    header: Header,
    /// What the state machine remembers of the first packet.
    windows: u32,
    seen: [u64; 2],
    now: u32,
}

impl<'table, A: Stored> Draft<'table, A> {
    /// Makes it a connection. `None`: another thread has stopped it.
    #[inline(always)]
    fn live(self, state: State, binding: &Binding<A>) -> Option<Hit<'table, A>> {
        let Self {
            record,
            number,
            header,
            ..
        } = self;
        let life = Life::Live(state.bits());
        let live = header.advance(&record.header, life, header.deadline());
        Some(Hit {
            record,
            number,
            header: live.ok()?,
            direction: Direction::Original,
            binding: *binding,
        })
    }
}

impl<A: Stored> Opening<A> {
    /// Of a connection to `target`, whose first packet has the tuple `original`, of this hash in `connections`. With
    /// `masquerade` the source becomes this address, with a port out of `ports` that `random` chooses; otherwise it
    /// stays as it is, unless the answer's tuple is another connection's, which takes another port.
    #[inline(always)]
    #[must_use]
    pub fn new(
        connections: &Connections<A>,
        (original, hash): (&Tuple<A>, u64),
        target: &Target<A>,
        masquerade: Option<A>,
        (ports, random): (SourcePorts, u64),
    ) -> Self {
        debug_assert_eq!(hash, connections.hash(original));
        let own = original.source_port;
        let source = match masquerade {
            Some(address) => (address, ports.permutation(random).next().unwrap_or(own)),
            // The client's own, as netfilter does where nothing demands another.
            None => (original.source, own),
        };
        let binding = Binding::new(original, target, source, masquerade.is_some());
        let (addresses, ports_of_answer) = binding.words(Direction::Reply);
        Self {
            binding,
            hash,
            answer: A::hash_words(
                &connections.key,
                addresses,
                ports_of_answer,
                original.protocol,
            ),
            ports,
            random,
        }
    }

    /// The hash of the first packet's tuple.
    #[inline]
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// What is tied together if the source port that is tried first is to be had.
    #[inline]
    #[must_use]
    pub const fn binding(&self) -> &Binding<A> {
        &self.binding
    }
}
