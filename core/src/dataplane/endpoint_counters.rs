//! What goes to each endpoint and comes back: counted by each worker on lines of its own, added up when asked.
//!
//! A worker writes plain words that no other thread writes, so a packet pays for one cache line and no lock
//! prefix. Counts are never set back, because only a worker may write them: the publishing thread remembers
//! what an id had counted when it began to name another endpoint, and takes that off.

use crate::net::{Direction, EndpointId, ServiceId};
use crate::service::{Effects, EndpointEntry, Table};
use crate::sync::Word;
use alloc::boxed::Box;
use alloc::sync::Arc;

/// Packets and bytes one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Packets forwarded. Of a datagram in fragments the first counts; ICMP errors do not.
    pub packets: u64,
    /// Their bytes, from the IP header on.
    pub bytes: u64,
}

/// What went to an endpoint since it was published, and came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Connections opened.
    pub opened: u64,
    /// From clients to the endpoint.
    pub original: Traffic,
    /// From the endpoint to clients.
    pub reply: Traffic,
}

impl Traffic {
    const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_sub(other.packets),
            bytes: self.bytes.wrapping_sub(other.bytes),
        }
    }
}

impl EndpointStats {
    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            opened: self.opened.wrapping_add(other.opened),
            original: self.original.plus(other.original),
            reply: self.reply.plus(other.reply),
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            opened: self.opened.wrapping_sub(other.opened),
            original: self.original.minus(other.original),
            reply: self.reply.minus(other.reply),
        }
    }
}

/// Both directions of one endpoint: half a cache line, and never across two.
#[derive(Debug, Default)]
#[repr(align(32))]
struct Line {
    original: [Word; 2],
    reply: [Word; 2],
}

const _: () = assert!(size_of::<Line>() == 32);

/// What one worker counted. Only this worker writes.
#[derive(Debug)]
pub(super) struct EndpointCounters {
    lines: Box<[Line]>,
    /// Apart, because it is written once a connection.
    opened: Box<[Word]>,
}

impl EndpointCounters {
    fn new(capacity: u32) -> Self {
        Self {
            lines: (0..capacity).map(|_| Line::default()).collect(),
            opened: (0..capacity).map(|_| Word::default()).collect(),
        }
    }

    /// Counts a packet that was forwarded. Without room, which is how counting is switched off, nothing.
    #[inline]
    pub(super) fn packet(&self, endpoint: EndpointId, direction: Direction, bytes: u64) {
        if let Some(line) = self.lines.get(endpoint.0 as usize) {
            let [packets, total] = match direction {
                Direction::Original => &line.original,
                Direction::Reply => &line.reply,
            };
            packets.add_unshared(1);
            total.add_unshared(bytes);
        }
    }

    /// Counts a connection that was opened. `false` without room.
    #[inline]
    pub(super) fn opened(&self, endpoint: EndpointId) -> bool {
        let opened = self.opened.get(endpoint.0 as usize);
        opened.map(|opened| opened.add_unshared(1)).is_some()
    }

    fn read(&self, endpoint: EndpointId) -> EndpointStats {
        let index = endpoint.0 as usize;
        let traffic = |[packets, bytes]: &[Word; 2]| Traffic {
            packets: packets.read(),
            bytes: bytes.read(),
        };
        let line = self.lines.get(index);
        EndpointStats {
            opened: self.opened.get(index).map_or(0, Word::read),
            original: line.map(|line| traffic(&line.original)).unwrap_or_default(),
            reply: line.map(|line| traffic(&line.reply)).unwrap_or_default(),
        }
    }
}

/// What an endpoint id names, and what it had counted before.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    service: Option<ServiceId>,
    base: EndpointStats,
}

/// The counts of all workers, for the publishing thread to read and to account for.
#[derive(Debug)]
pub(super) struct EndpointAccounts {
    workers: Box<[Arc<EndpointCounters>]>,
    accounts: Box<[Account]>,
    /// By ServicePort: what was counted for endpoints that it had before.
    ended: Box<[EndpointStats]>,
}

impl EndpointAccounts {
    /// Counts for `workers` workers; no room anywhere if `endpoints` is 0.
    pub(super) fn new(workers: u32, endpoints: u32, services: u32) -> Self {
        let services = if endpoints == 0 { 0 } else { services };
        Self {
            workers: (0..workers)
                .map(|_| Arc::new(EndpointCounters::new(endpoints)))
                .collect(),
            accounts: (0..endpoints).map(|_| Account::default()).collect(),
            ended: (0..services).map(|_| EndpointStats::default()).collect(),
        }
    }

    /// Bytes that [`EndpointAccounts::new`] allocates.
    pub(super) const fn memory_bytes(workers: u32, endpoints: u32, services: u32) -> u64 {
        let (workers, endpoints) = (workers as u64, endpoints as u64);
        let counter = size_of::<Line>().saturating_add(size_of::<Word>()) as u64;
        let services = if endpoints == 0 { 0 } else { services as u64 };
        endpoints
            .saturating_mul(counter)
            .saturating_mul(workers)
            .saturating_add(endpoints.saturating_mul(size_of::<Account>() as u64))
            .saturating_add(services.saturating_mul(size_of::<EndpointStats>() as u64))
    }

    /// The counts of worker `slot`, for it alone to write.
    pub(super) fn slot(&self, slot: usize) -> Arc<EndpointCounters> {
        let none = || Arc::new(EndpointCounters::new(0));
        self.workers.get(slot).map_or_else(none, Arc::clone)
    }

    /// Follows a publication. What bursts of the generation before still count for an endpoint that ended goes
    /// to whichever endpoint has its id; ids rest as long as can be.
    pub(super) fn follow(&mut self, effects: &Effects, table: &Table) {
        for ended in &effects.ended {
            let total = self.total(ended.endpoint);
            let Some(account) = self.accounts.get_mut(ended.endpoint.0 as usize) else {
                continue;
            };
            let counted = total.minus(account.base);
            let service = account.service.take();
            account.base = total;
            let Some(service) = service else {
                continue;
            };
            if let Some(sum) = self.ended.get_mut(service.0 as usize) {
                *sum = sum.plus(counted);
            }
        }
        for assigned in &effects.assigned {
            let total = self.total(assigned.endpoint);
            let Some(account) = self.accounts.get_mut(assigned.endpoint.0 as usize) else {
                continue;
            };
            // One that is named already only has another tag.
            if account.service.is_none() {
                let entry = table.endpoint(assigned.endpoint);
                account.service = entry.map(EndpointEntry::service);
                account.base = total;
            }
        }
    }

    /// The id now names another ServicePort, or none.
    pub(super) fn forget(&mut self, service: ServiceId) {
        if let Some(ended) = self.ended.get_mut(service.0 as usize) {
            *ended = EndpointStats::default();
        }
    }

    /// Since the id began to name its endpoint; `None` if it names none, or if nothing is counted.
    pub(super) fn endpoint(&self, endpoint: EndpointId) -> Option<EndpointStats> {
        let account = self.accounts.get(endpoint.0 as usize)?;
        account.service?;
        Some(self.total(endpoint).minus(account.base))
    }

    /// Of a ServicePort's endpoints, those included that it no longer has.
    pub(super) fn service(&self, service: ServiceId, table: &Table) -> EndpointStats {
        let ended = self.ended.get(service.0 as usize);
        let sum = ended.copied().unwrap_or_default();
        let living = table.endpoints_of(service);
        living
            .filter_map(|endpoint| self.endpoint(endpoint))
            .fold(sum, EndpointStats::plus)
    }

    fn total(&self, endpoint: EndpointId) -> EndpointStats {
        let workers = self.workers.iter();
        workers
            .map(|worker| worker.read(endpoint))
            .fold(EndpointStats::default(), EndpointStats::plus)
    }
}
