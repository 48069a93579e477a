//! Opening a connection: both directions at once, or not at all.
//!
//! The reply's slot is placed first, because it may have to choose another source port; then the original's;
//! then the record becomes live by one swap, and with it both directions. Of two threads that open the same
//! tuple, the later finds the earlier's slot. If that record is live, it is used; if it is still being
//! opened, it is stopped (its life is swapped to free, which its opener notices when it wants to make it
//! live, and starts again). So there never are two, and nobody waits.

use super::connections::{Connections, Hit, entry};
use super::record::join;
use super::record::{Binding, Stored};
use super::state::{Progress, Transport, open};
use crate::net::{Direction, EndpointId, Tuple};
use crate::packet::Delta;
use crate::sync::{Header, Life};
use crate::table::{Entry, InsertError, Sameness};
use core::ops::RangeInclusive;

/// Tries before a packet that loses every race is dropped.
const MAX_RACES: u32 = 8;

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
pub struct Opening<A> {
    /// The first packet's tuple.
    pub original: Tuple<A>,
    /// Its hash ([`Connections::hash`]).
    pub hash: u64,
    /// The endpoint's address and port.
    pub endpoint_address: A,
    /// The endpoint's port.
    pub endpoint_port: u16,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its generation.
    pub endpoint_generation: u16,
    /// Is it on this node?
    pub local_endpoint: bool,
    /// Is it to be one of the endpoint's load?
    pub counted: bool,
    /// May a TCP segment that is no SYN open it?
    pub pick_up: bool,
    /// `Some(address)`: the source becomes this address, with a source port out of `ports`.
    pub masquerade: Option<A>,
    /// Ports for masquerading, and for flows whose own port is taken.
    pub ports: SourcePorts,
    /// Chooses among them.
    pub random: u64,
}

/// Why no connection was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
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
    /// Opens a connection for a first packet. `usable` says whether a source port may be given out.
    ///
    /// Returns the connection, found in the original direction, and its reply's hash if it is new: another worker may
    /// have opened the same one meanwhile.
    ///
    /// # Errors
    /// [`OpenError`]; nothing has changed then.
    pub fn open(
        &self,
        opening: &Opening<A>,
        transport: &Transport,
        now: u32,
        usable: impl Fn(u16) -> bool,
    ) -> Result<(Hit<'_, A>, Option<u64>), OpenError> {
        debug_assert_eq!(opening.hash, self.hash(&opening.original));
        let progress =
            open(transport, opening.pick_up, now, &self.timeouts).ok_or(OpenError::NotAnOpening)?;
        for _ in 0..MAX_RACES {
            let number = self.take(now).ok_or(OpenError::TableFull)?;
            match self.attempt(number, opening, &progress, now, &usable) {
                Ok(Some((hit, reply_hash))) => return Ok((hit, Some(reply_hash))),
                Ok(None) => {
                    if let Some(hit) = self.find(&opening.original, opening.hash, now) {
                        return Ok((hit, None));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(OpenError::TableFull)
    }

    /// Asks for the cache line where the reply will most likely be placed.
    #[inline]
    pub fn ask_for_reply(&self, opening: &Opening<A>) {
        self.prefetch(self.hash(&opening.forward(opening.first_port()).reverse()));
    }

    fn take(&self, now: u32) -> Option<u32> {
        // A record freed by one thread may be taken by another, hence a few tries.
        for _ in 0..4 {
            if let Some(number) = self.take_free() {
                return Some(number);
            }
            if !self.make_room(now) {
                return None;
            }
        }
        None
    }

    /// One try to open with record `number`, which is free again unless a connection is returned, and its reply's
    /// hash. `None`: another thread is opening, or has opened, the same tuple.
    #[inline(always)]
    fn attempt(
        &self,
        number: u32,
        opening: &Opening<A>,
        progress: &Progress,
        now: u32,
        usable: &impl Fn(u16) -> bool,
    ) -> Result<Option<(Hit<'_, A>, u64)>, OpenError> {
        let record = self
            .records
            .get(number as usize)
            .ok_or(OpenError::TableFull)?;
        let deadline = now.saturating_add(progress.timeout);
        let header = Header::claim(&record.header, deadline);
        let placed = self.place_reply(number, header, opening, progress, now, usable);
        let (binding, reply_hash) = match placed {
            Ok(placed) => placed,
            Err(error) => {
                self.abandon(number, header, &[]);
                return Err(error);
            }
        };
        let reply = (Direction::Reply, reply_hash);
        let original = (Direction::Original, opening.hash);
        match self.place(number, header, original, &binding.original, now) {
            Ok(()) => {}
            Err(InsertError::Duplicate(_)) => {
                self.abandon(number, header, &[reply]);
                return Ok(None);
            }
            Err(InsertError::Full) => {
                self.abandon(number, header, &[reply]);
                return Err(OpenError::TableFull);
            }
        }
        let life = Life::Live(progress.state.bits());
        // Before anyone can end it.
        self.count(&binding, None, Some(progress.state));
        match header.advance(&record.header, life, deadline) {
            Ok(header) => {
                let hit = Hit {
                    record,
                    number,
                    header,
                    direction: Direction::Original,
                    binding,
                };
                Ok(Some((hit, reply_hash)))
            }
            Err(_) => {
                self.count(&binding, Some(progress.state), None);
                self.abandon(number, header, &[reply, original]);
                Ok(None)
            }
        }
    }

    /// Writes the record and claims its reply tuple, with the first source port that is free; gives the
    /// tuple's hash too.
    #[inline(always)]
    fn place_reply(
        &self,
        number: u32,
        header: Header,
        opening: &Opening<A>,
        progress: &Progress,
        now: u32,
        usable: &impl Fn(u16) -> bool,
    ) -> Result<(Binding<A>, u64), OpenError> {
        let first = opening.first_port();
        let own = opening.masquerade.is_none();
        if own || usable(first) {
            // Free but seldom not, and placing it finds out.
            let (binding, hash) = self.binding(opening, first);
            if self.place_with(number, header, (&binding, hash), progress, now)? {
                return Ok((binding, hash));
            }
        }
        self.place_elsewhere(number, header, opening, progress, now, usable)
    }

    /// The same when the first port is not to be had.
    #[cold]
    #[inline(never)]
    fn place_elsewhere(
        &self,
        number: u32,
        header: Header,
        opening: &Opening<A>,
        progress: &Progress,
        now: u32,
        usable: &impl Fn(u16) -> bool,
    ) -> Result<(Binding<A>, u64), OpenError> {
        let exhausted = join(opening.endpoint.0.wrapping_add(1), now);
        let tries = if self.written.exhausted.read() == exhausted {
            TRIES_WHEN_EXHAUSTED
        } else {
            usize::MAX
        };
        // Of a masqueraded connection the first was tried.
        let tried = usize::from(opening.masquerade.is_some());
        let ports = opening.ports.permutation(opening.random).skip(tried);
        for port in ports.filter(|port| usable(*port)).take(tries) {
            let (binding, hash) = self.binding(opening, port);
            if !self.is_taken(&binding.reply, hash, now)
                && self.place_with(number, header, (&binding, hash), progress, now)?
            {
                return Ok((binding, hash));
            }
        }
        self.written.exhausted.write(exhausted);
        Err(OpenError::NoSourcePort)
    }

    /// What the connection ties together with a source port, and its reply's hash.
    #[inline(always)]
    fn binding(&self, opening: &Opening<A>, port: u16) -> (Binding<A>, u64) {
        let binding = opening.binding(port);
        let hash = self.hash(&binding.reply);
        (binding, hash)
    }

    /// Writes the record and claims its reply tuple; `false` if another connection has it.
    #[inline(always)]
    fn place_with(
        &self,
        number: u32,
        header: Header,
        (binding, hash): (&Binding<A>, u64),
        progress: &Progress,
        now: u32,
    ) -> Result<bool, OpenError> {
        let record = self.records.get(number as usize);
        let record = record.ok_or(OpenError::TableFull)?;
        let seen = progress.seen.unwrap_or([0, 0]);
        record.write(binding, progress.windows.unwrap_or(0), seen);
        let reply = (Direction::Reply, hash);
        match self.place(number, header, reply, &binding.reply, now) {
            Ok(()) => Ok(true),
            Err(InsertError::Duplicate(_)) => Ok(false),
            Err(InsertError::Full) => Err(OpenError::TableFull),
        }
    }

    fn is_taken(&self, tuple: &Tuple<A>, hash: u64, now: u32) -> bool {
        let taken = |found| self.sameness(found, tuple, now) == Sameness::Same;
        self.index.find(hash, taken).is_some()
    }

    fn place(
        &self,
        number: u32,
        header: Header,
        (direction, hash): (Direction, u64),
        tuple: &Tuple<A>,
        now: u32,
    ) -> Result<(), InsertError> {
        let own = entry(number, header.version(), direction).ok_or(InsertError::Full)?;
        self.index
            .insert(hash, own, |found| self.sameness(found, tuple, now))
    }

    /// Does a live connection have this tuple? One that expired is cleared away, one being opened is stopped.
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
    fn abandon(&self, number: u32, header: Header, placed: &[(Direction, u64)]) {
        if let Some(record) = self.records.get(number as usize) {
            // If another thread stopped it, it is free already.
            let _ = header.advance(&record.header, Life::Free, 0);
        }
        for (direction, hash) in placed {
            if let Some(entry) = entry(number, header.version(), *direction) {
                self.index.remove(*hash, entry);
            }
        }
        self.give(number);
    }
}

impl<A: Stored> Opening<A> {
    /// The source port that is tried first: the client's own, as netfilter does where nothing demands another.
    fn first_port(&self) -> u16 {
        let own = self.original.source_port;
        match self.masquerade {
            Some(_) => self.ports.permutation(self.random).next().unwrap_or(own),
            None => own,
        }
    }

    /// The first packet as the endpoint is to see it, if its source port becomes `port`.
    fn forward(&self, port: u16) -> Tuple<A> {
        Tuple {
            source: self.masquerade.unwrap_or(self.original.source),
            destination: self.endpoint_address,
            source_port: port,
            destination_port: self.endpoint_port,
            protocol: self.original.protocol,
        }
    }

    /// What the connection ties together then.
    fn binding(&self, port: u16) -> Binding<A> {
        let (original, forward) = (self.original, self.forward(port));
        let addresses = Delta::of_addresses(&original, &forward);
        Binding {
            original,
            reply: forward.reverse(),
            endpoint: self.endpoint,
            endpoint_generation: self.endpoint_generation,
            masquerade: self.masquerade.is_some(),
            local_endpoint: self.local_endpoint,
            counted: self.counted,
            network: addresses,
            transport: addresses.plus(Delta::of_ports(&original, &forward)),
        }
    }
}
