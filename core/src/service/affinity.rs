//! Session affinity: which endpoint a client got last, by ServicePort (`sessionAffinity: ClientIP`).
//!
//! As kube-proxy's nftables mode does it: keyed by ServicePort and client address, whichever of the Service's
//! addresses was used; prolonged by each new connection, not by the packets of an open one; forgotten with its
//! endpoint. One table for both families, shared by all threads.

use crate::net::{Address, EndpointId, Family, ServiceId};
use crate::sync::{FreeList, Header, Life, Word};
use crate::table::{Entry, HashKey, Index, InsertError, Sameness};
use alloc::boxed::Box;

/// What is remembered of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its generation when it was chosen; another one now means that it ended.
    pub generation: u16,
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Record {
    header: Word,
    /// Family 32, ServicePort 32.
    service: Word,
    client: [Word; 2],
    /// Generation 32, endpoint 32.
    kept: Word,
}

/// Clients and their endpoints.
#[derive(Debug)]
pub struct Affinity {
    key: HashKey,
    index: Index,
    records: Box<[Record]>,
    free: FreeList,
    hand: Word,
}

/// Records looked at to find an expired one.
const SAMPLE: u64 = 64;
const LIVE: Life = Life::Live(0);

impl Affinity {
    /// Room for `capacity` (ServicePort, client) pairs.
    #[must_use]
    pub fn new(capacity: u32, seed: u128) -> Self {
        let word = || Word::new(0);
        let record = |_| Record {
            header: word(),
            service: word(),
            client: [word(), word()],
            kept: word(),
        };
        Self {
            key: HashKey::new(seed, 0xaff1),
            index: Index::new(u64::from(capacity), None),
            records: (0..capacity).map(record).collect(),
            free: FreeList::full(capacity),
            hand: word(),
        }
    }

    /// Bytes that [`Affinity::new`] allocates.
    #[must_use]
    pub const fn memory_bytes(capacity: u32) -> u64 {
        (capacity as u64)
            .saturating_mul(size_of::<Record>() as u64)
            .saturating_add(FreeList::memory_bytes(capacity) as u64)
            .saturating_add(Index::memory_bytes(capacity as u64))
    }

    /// How many records are in use, expired ones not yet reused included. Looks at every record.
    #[must_use]
    pub fn used(&self) -> u64 {
        let free = |record: &&Record| Header::load(&record.header).life() == Life::Free;
        let count = self.records.iter().filter(|record| !free(record)).count();
        count as u64
    }

    /// What is remembered of a client, if its time has not passed.
    #[must_use]
    pub fn recall<A: Address>(&self, service: ServiceId, client: A, now: u32) -> Option<Kept> {
        let mut kept = None;
        self.index.find(self.hash(service, client), |found| {
            kept = self
                .resolve(found, service, client)
                .filter(|(_, header, _)| header.deadline() > now)
                .map(|(_, _, kept)| kept);
            kept.is_some()
        });
        kept
    }

    /// Remembers that a client got an endpoint, for `timeout` ticks from now. `false` if there is no room.
    pub fn remember<A: Address>(
        &self,
        service: ServiceId,
        client: A,
        kept: Kept,
        timeout: u32,
        now: u32,
    ) -> bool {
        let hash = self.hash(service, client);
        let deadline = now.saturating_add(timeout);
        let mut known = false;
        self.index.find(hash, |found| {
            let Some((number, header, old)) = self.resolve(found, service, client) else {
                return false;
            };
            let Some(record) = self.records.get(number as usize) else {
                return false;
            };
            if old == kept {
                // Lost to a concurrent refresh: as good.
                known = header.advance(&record.header, LIVE, deadline).is_ok();
                return known;
            }
            self.release(number, header, hash);
            false
        });
        known || self.insert(service, client, kept, hash, deadline, now)
    }

    fn insert<A: Address>(
        &self,
        service: ServiceId,
        client: A,
        kept: Kept,
        hash: u64,
        deadline: u32,
        now: u32,
    ) -> bool {
        let Some(number) = self.take(now) else {
            return false;
        };
        let Some(record) = self.records.get(number as usize) else {
            return false;
        };
        let header = Header::claim(&record.header, deadline);
        record.service.write(service_word::<A>(service));
        for (word, value) in record.client.iter().zip(client.to_words()) {
            word.write(value);
        }
        record
            .kept
            .write(u64::from(kept.generation) << 32 | u64::from(kept.endpoint.0));
        let same = |found| match self.resolve(found, service, client) {
            Some(_) => Sameness::Same,
            None => Sameness::Different,
        };
        let placed = match entry(number, header) {
            Some(own) => self.index.insert(hash, own, same),
            None => Err(InsertError::Full),
        };
        if placed.is_ok() {
            // Nobody else touches a record that is being opened.
            let _ = header.advance(&record.header, LIVE, deadline);
            return true;
        }
        let _ = header.advance(&record.header, Life::Free, 0);
        self.free.give(number);
        // Another thread remembered the same client at the same moment: that will do.
        matches!(placed, Err(InsertError::Duplicate(_)))
    }

    /// The entry's record, if it is live and this client's.
    fn resolve<A: Address>(
        &self,
        found: Entry,
        service: ServiceId,
        client: A,
    ) -> Option<(u32, Header, Kept)> {
        let (version, number) = decode(found);
        let record = self.records.get(number as usize)?;
        let header = Header::load(&record.header);
        let [high, low] = &record.client;
        let same = header.version() & 0xffff == version
            && header.life() == LIVE
            && record.service.read() == service_word::<A>(service)
            && [high.read(), low.read()] == client.to_words();
        let kept = record.kept.read();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the halves as they were written"
        )]
        let kept = Kept {
            endpoint: EndpointId(kept as u32),
            generation: (kept >> 32) as u16,
        };
        (same && header.confirm(&record.header)).then_some((number, header, kept))
    }

    fn release(&self, number: u32, header: Header, hash: u64) {
        let Some(record) = self.records.get(number as usize) else {
            return;
        };
        if header.advance(&record.header, Life::Free, 0).is_ok() {
            if let Some(entry) = entry(number, header) {
                self.index.remove(hash, entry);
            }
            self.free.give(number);
        }
    }

    fn take(&self, now: u32) -> Option<u32> {
        if let Some(number) = self.free.take() {
            return Some(number);
        }
        let count = self.records.len() as u64;
        let start = self.hand.read();
        self.hand.write(start.wrapping_add(SAMPLE));
        for step in 0..SAMPLE.min(count) {
            self.expire(u32::try_from(start.wrapping_add(step) % count).ok()?, now);
        }
        self.free.take()
    }

    fn expire(&self, number: u32, now: u32) {
        let Some(record) = self.records.get(number as usize) else {
            return;
        };
        let header = Header::load(&record.header);
        if header.life() != LIVE || header.deadline() > now {
            return;
        }
        let [high, low] = &record.client;
        let hash = self.hash_words(record.service.read(), [high.read(), low.read()]);
        self.release(number, header, hash);
    }

    fn hash<A: Address>(&self, service: ServiceId, client: A) -> u64 {
        self.hash_words(service_word::<A>(service), client.to_words())
    }

    const fn hash_words(&self, service: u64, [high, low]: [u64; 2]) -> u64 {
        self.key.hash6([service, high, low, 0, 0, 0])
    }
}

fn service_word<A: Address>(service: ServiceId) -> u64 {
    let family = match A::FAMILY {
        Family::Ipv4 => 4,
        Family::Ipv6 => 6,
    };
    family << 32 | u64::from(service.0)
}

fn entry(number: u32, header: Header) -> Option<Entry> {
    Entry::new((header.version() & 0xffff) << 32 | u64::from(number).wrapping_add(1))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is the number"
)]
const fn decode(entry: Entry) -> (u64, u32) {
    (entry.bits() >> 32, (entry.bits() as u32).wrapping_sub(1))
}
