//! What schedulers remember from one choice to the next: shared by all workers, locked by none.

use super::EndpointSet;
use crate::net::{ServiceId, Tuple};
use crate::sync::{Loads, Word};
use alloc::boxed::Box;
use alloc::sync::Arc;

/// Whose turn it is at each ServicePort, and how many connections each endpoint has.
#[derive(Debug, Default)]
pub struct Balance {
    /// For each ServicePort one of each set.
    turns: Box<[Word]>,
    loads: Arc<Loads>,
}

/// What a choice may depend on beside the table.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'packet, A> {
    /// The first packet's.
    pub tuple: &'packet Tuple<A>,
    /// All 64 bits should be random.
    pub random: u64,
    /// Ticks.
    pub now: u32,
    /// What was chosen before.
    pub balance: &'packet Balance,
    /// Says what would be chosen now, and takes nobody's turn.
    pub peek: bool,
}

impl Balance {
    /// For so many ServicePorts, and endpoints whose connections `loads` counts.
    #[must_use]
    pub fn new(services: u32, loads: Arc<Loads>) -> Self {
        let turns = u64::from(services).saturating_mul(2);
        Self {
            turns: (0..turns).map(|_| Word::new(0)).collect(),
            loads,
        }
    }

    /// Bytes that [`Balance::new`] allocates, beside the loads.
    #[must_use]
    pub const fn memory_bytes(services: u32) -> u64 {
        (services as u64).saturating_mul(2 * size_of::<Word>() as u64)
    }

    /// How many connections each endpoint has.
    #[inline]
    #[must_use]
    pub fn loads(&self) -> &Loads {
        &self.loads
    }

    /// The word in which a round robin scheduler keeps whose turn it is.
    #[inline]
    pub(super) fn turn(&self, service: ServiceId, set: EndpointSet) -> Option<&Word> {
        let position = (service.0 as usize).checked_mul(2)?;
        self.turns.get(position.checked_add(set as usize)?)
    }
}
