//! How many connections each endpoint has, exact whichever threads open, move and end them.
//!
//! An endpoint's counts and sixteen bits of its generation share one word, changed by compare-and-swap: a change on
//! behalf of a connection of an earlier generation finds another generation and has no effect. So counts begin at
//! zero with each generation, and return to exactly zero when the last connection of it has ended.

use super::Word;
use crate::net::EndpointId;
use alloc::boxed::Box;

const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// Connections of every endpoint id; at most 2^23 - 1 of each kind for an endpoint.
#[derive(Debug, Default)]
pub struct Loads {
    endpoints: Box<[Endpoint]>,
}

#[derive(Debug)]
struct Endpoint {
    /// Generation 16, active 24, inactive 24.
    counts: Word,
    /// Tick at which it was first considered, plus one; 0: not yet.
    since: Word,
}

/// The connections of one endpoint, as IPVS tells them apart (`activeconns` and `inactconns`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Opening or open.
    pub active: u32,
    /// Closing or closed, and not yet forgotten.
    pub inactive: u32,
}

impl Loads {
    /// Room for `capacity` endpoints.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        let endpoint = |_| Endpoint {
            counts: Word::new(0),
            since: Word::new(0),
        };
        Self {
            endpoints: (0..capacity).map(endpoint).collect(),
        }
    }

    /// Bytes that [`Loads::new`] allocates.
    #[must_use]
    pub const fn memory_bytes(capacity: u32) -> u64 {
        (capacity as u64).saturating_mul(size_of::<Endpoint>() as u64)
    }

    /// The id's next generation begins, without connections. Only one thread at a time, and before any other can
    /// know of that generation.
    pub fn begin(&self, id: EndpointId, generation: u16) {
        if let Some(endpoint) = self.endpoints.get(id.0 as usize) {
            endpoint.since.write(0);
            let begun = u64::from(generation) << (2 * COUNT_BITS);
            while endpoint
                .counts
                .swap_if(endpoint.counts.read(), begun)
                .is_err()
            {}
        }
    }

    /// Counts more (or fewer) connections, of a generation; no effect if that one is over. Tries again only when
    /// another thread counted meanwhile.
    pub fn change(&self, id: EndpointId, generation: u16, active: i32, inactive: i32) {
        let Some(endpoint) = self.endpoints.get(id.0 as usize) else {
            return;
        };
        let mut word = endpoint.counts.read();
        while word >> (2 * COUNT_BITS) == u64::from(generation) {
            let next = changed(word, active, inactive);
            match endpoint.counts.swap_if(word, next) {
                Ok(()) => return,
                Err(found) => word = found,
            }
        }
    }

    /// The connections of an endpoint's present generation.
    #[inline]
    #[must_use]
    pub fn read(&self, id: EndpointId) -> Load {
        let word = self
            .endpoints
            .get(id.0 as usize)
            .map_or(0, |endpoint| endpoint.counts.read());
        Load {
            active: count(word >> COUNT_BITS),
            inactive: count(word),
        }
    }

    /// For how many ticks the endpoint's present generation has been considered; this call may be the first.
    #[must_use]
    pub fn age(&self, id: EndpointId, now: u32) -> u32 {
        let Some(endpoint) = self.endpoints.get(id.0 as usize) else {
            return 0;
        };
        let first = u64::from(now).wrapping_add(1);
        let since = match endpoint.since.read() {
            0 => endpoint.since.swap_if(0, first).err().unwrap_or(first),
            since => since,
        };
        u32::try_from(first.saturating_sub(since)).unwrap_or(0)
    }
}

/// Field by field, so that one that is below zero for a moment, between two threads, borrows from no other.
fn changed(word: u64, active: i32, inactive: i32) -> u64 {
    let field =
        |shift: u32, by: i32| (word >> shift).wrapping_add_signed(i64::from(by)) & COUNT_MASK;
    let generation = word >> (2 * COUNT_BITS);
    (generation << (2 * COUNT_BITS))
        | (field(COUNT_BITS, active) << COUNT_BITS)
        | field(0, inactive)
}

/// A field as it stands, 0 if it is below zero for a moment.
const fn count(word: u64) -> u32 {
    let field = (word & COUNT_MASK) as u32;
    if field < 1 << (COUNT_BITS - 1) {
        field
    } else {
        0
    }
}
