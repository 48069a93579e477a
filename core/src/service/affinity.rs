//! Session affinity: which endpoint a client got last, by ServicePort (`sessionAffinity: ClientIP`).
//!
//! As kube-proxy's nftables mode does it: keyed by ServicePort and client address, whichever of the Service's
//! addresses was used; prolonged by each new connection, not by the packets of an open one; forgotten with its
//! endpoint. One table for both families, shared by all threads.

use crate::net::{Address, EndpointId, Family, ServiceId};
use crate::sync::Word;
use crate::table::{Dated, Found, HashKey, InsertError, Sameness, Store};

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

impl Dated for Record {
    fn header(&self) -> &Word {
        &self.header
    }
}

/// Clients and their endpoints.
#[derive(Debug)]
pub struct Affinity {
    key: HashKey,
    store: Store<Record>,
}

const LIVE: u8 = 0;

impl Affinity {
    /// Room for `capacity` (ServicePort, client) pairs.
    #[must_use]
    pub fn new(capacity: u32, seed: u128) -> Self {
        let word = || Word::new(0);
        let record = || Record {
            header: word(),
            service: word(),
            client: [word(), word()],
            kept: word(),
        };
        Self {
            key: HashKey::new(seed, 0xaff1),
            store: Store::new(capacity, record),
        }
    }

    /// Bytes that [`Affinity::new`] allocates.
    #[must_use]
    pub const fn memory_bytes(capacity: u32) -> u64 {
        Store::<Record>::memory_bytes(capacity)
    }

    /// How many records are in use, expired ones not yet reused included. Looks at every record.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.store.used()
    }

    /// What is remembered of a client, if its time has not passed.
    #[must_use]
    pub fn recall<A: Address>(&self, service: ServiceId, client: A, now: u32) -> Option<Kept> {
        let mut kept = None;
        self.store.find(self.hash(service, client), |found| {
            if found.header.deadline() > now {
                kept = kept_of(&found, service, client);
            }
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
        self.store.find(hash, |found| {
            match kept_of(&found, service, client) {
                // Lost to a concurrent refresh: as good.
                Some(old) if old == kept => known = found.advance(LIVE, deadline),
                Some(_) => self.store.release(found, hash),
                None => {}
            }
            known
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
        let Some(claimed) = self
            .store
            .claim(deadline, now, |record| self.hash_of(record))
        else {
            return false;
        };
        let record = claimed.record;
        record.service.write(service_word::<A>(service));
        for (word, value) in record.client.iter().zip(client.to_words()) {
            word.write(value);
        }
        let generation = u64::from(kept.generation) << 32;
        record.kept.write(generation | u64::from(kept.endpoint.0));
        let same = |found: Found<'_, Record>| match kept_of(&found, service, client) {
            Some(_) => Sameness::Same,
            None => Sameness::Different,
        };
        // Another thread remembered the same client at the same moment: that will do.
        !matches!(
            self.store.publish(hash, claimed, LIVE, same),
            Err(InsertError::Full)
        )
    }

    fn hash_of(&self, record: &Record) -> u64 {
        let [high, low] = &record.client;
        self.hash_words(record.service.read(), [high.read(), low.read()])
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

/// What a record remembers, if it is this client's.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves as they were written"
)]
fn kept_of<A: Address>(found: &Found<'_, Record>, service: ServiceId, client: A) -> Option<Kept> {
    let record = found.record;
    let [high, low] = &record.client;
    let same = record.service.read() == service_word::<A>(service)
        && [high.read(), low.read()] == client.to_words();
    let kept = record.kept.read();
    (same && found.confirm()).then_some(Kept {
        endpoint: EndpointId(kept as u32),
        generation: (kept >> 32) as u16,
    })
}
