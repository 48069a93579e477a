//! The control side: memory, publication, time, and reading.

use super::config::Config;
use super::endpoint_counters::{EndpointAccounts, EndpointStats};
use super::explain::{self, Explanation};
use super::shared::Shared;
use super::stats::{ServiceStats, Stats, Usage};
use super::worker::Worker;
use crate::conntrack::Connection;
use crate::net::{Arrival, EndpointId, Generation, Instant, ServiceId};
use crate::service::{ApplyError, Edit, Effects, Ended, NewTableError, Table};
use crate::sync::{self, Load};
use crate::table::hash::next_seed;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

/// Records looked at by one [`Dataplane::poll`], per family.
const SWEEP_RECORDS: u32 = 16_384;
/// How long after one poll the next is due while there are connections.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// A Service dataplane: tables and connections, shared by its [`Worker`]s.
///
/// One thread at a time publishes and polls (`&mut self`); workers run beside it on any threads.
///
/// ```
/// use portolan::dataplane::{Config, Dataplane, Descriptor, Verdict};
/// use portolan::net::Instant;
///
/// let mut dataplane = Dataplane::new(&Config::default())?;
/// let mut worker = dataplane.worker()?;
/// let mut frames = [0_u8; 64];
/// let mut burst = [Descriptor::new(0, 64)];
/// worker.process_burst(Instant::ZERO, &mut frames, &mut burst);
/// assert_eq!(burst[0].verdict(), Verdict::Drop); // sixty-four zeros are no packet
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Dataplane {
    shared: Arc<Shared>,
    published: sync::Published<Table>,
    seed: u64,
    effects: Effects,
    /// Effects of replaying edits on the other replica: reported before.
    replayed: Effects,
    /// Endpoints that ended in the last publication: to be ended again once no worker reads the one before,
    /// for connections opened meanwhile.
    ended: Vec<Ended>,
    endpoints: EndpointAccounts,
}

/// Why there is no dataplane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewError {
    /// The Service table's memory cannot be had.
    Table(NewTableError),
}

/// Why there is no further worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewWorkerError {
    /// [`super::Limits::workers`].
    pub allowed: u32,
}

/// Why nothing was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// A worker is still in a burst that reads the last generation but one. Not one edit is lost: publish
    /// again, at the latest when that burst is over.
    WorkersBehind {
        /// The generation that it reads.
        oldest: Generation,
    },
}

/// What publishing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The new generation.
    pub generation: Generation,
    /// Edits that were refused, by their position, each for a reason of its own; all others took effect.
    pub refused: Vec<(usize, ApplyError)>,
}

impl fmt::Display for NewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for NewWorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limits.workers: all {} workers exist", self.allowed)
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkersBehind { oldest } => {
                write!(f, "a worker still reads generation {oldest}: publish again")
            }
        }
    }
}

impl core::error::Error for NewError {}
impl core::error::Error for NewWorkerError {}
impl core::error::Error for PublishError {}

impl Dataplane {
    /// Allocates everything that `config` asks for: [`super::Limits::memory`] says how much.
    ///
    /// # Errors
    /// [`NewError`] if the Service table cannot be allocated.
    pub fn new(config: &Config) -> Result<Self, NewError> {
        let limits = &config.limits.table;
        let left = Table::new(limits, config.seed).map_err(NewError::Table)?;
        let right = Table::new(limits, config.seed).map_err(NewError::Table)?;
        let workers = config.limits.workers as usize;
        #[expect(clippy::cast_possible_truncation, reason = "both halves are mixed in")]
        let seed = (config.seed as u64) ^ ((config.seed >> 64) as u64).rotate_left(32);
        Ok(Self {
            shared: Arc::new(Shared::new(config)),
            published: sync::Published::new([left, right], workers),
            seed,
            effects: Effects::default(),
            replayed: Effects::default(),
            ended: Vec::new(),
            endpoints: EndpointAccounts::new(
                config.limits.workers,
                config.limits.counted_endpoints(),
                config.limits.table.services,
            ),
        })
    }

    /// A worker. Its choices follow from the seed and its number, so the same workers make the same choices.
    ///
    /// # Errors
    /// [`NewWorkerError`] if [`super::Limits::workers`] exist.
    pub fn worker(&self) -> Result<Worker, NewWorkerError> {
        let Some(slot) = self.shared.worker_slots.take() else {
            return Err(NewWorkerError {
                allowed: self.shared.workers,
            });
        };
        let mut random = self
            .seed
            .wrapping_add(u64::from(slot).wrapping_mul(0x9e6c_63d0_876a_3f6b));
        let random = next_seed(&mut random);
        let reader = self.published.reader(slot as usize);
        let counters = self.shared.counters.slot(slot as usize);
        let endpoints = self.endpoints.slot(slot as usize);
        Ok(Worker::new(
            Arc::clone(&self.shared),
            reader,
            (counters, endpoints),
            slot,
            random,
        ))
    }

    /// Applies edits to the Service table; each burst that begins afterwards sees all of them, none sees some.
    /// Costs O(edits), whatever the size of the table. `edits` is empty afterwards.
    ///
    /// # Errors
    /// [`PublishError::WorkersBehind`]; `edits` is as it was then.
    pub fn publish(&mut self, edits: &mut Vec<Edit>) -> Result<Published, PublishError> {
        if let Err(behind) = self.published.settle() {
            return Err(PublishError::WorkersBehind {
                oldest: Generation(behind.oldest),
            });
        }
        self.end_again();
        let removed: Vec<ServiceId> = edits
            .iter()
            .filter_map(|edit| match edit {
                Edit::Remove(id) => Some(*id),
                Edit::Put(..) | Edit::Node(_) => None,
            })
            .collect();
        self.effects.ended.clear();
        self.effects.assigned.clear();
        let shared = &self.shared;
        let result =
            self.published
                .publish(edits, &mut self.effects, &mut self.replayed, |effects| {
                    // Before any worker can choose by the new table: what ended is ended, what began has its tag.
                    for ended in &effects.ended {
                        shared.endpoints.end(ended.endpoint);
                    }
                    for assigned in &effects.assigned {
                        shared.endpoints.set_tag(assigned.endpoint, assigned.tag);
                    }
                });
        self.replayed.ended.clear();
        self.replayed.assigned.clear();
        let (generation, refused) = match result {
            Ok(published) => published,
            Err(behind) => {
                return Err(PublishError::WorkersBehind {
                    oldest: Generation(behind.oldest),
                });
            }
        };
        self.endpoints
            .follow(&self.effects, self.published.current());
        for service in removed {
            self.shared.services.reset(service);
            self.endpoints.forget(service);
        }
        let Effects { ended, assigned } = &self.effects;
        // An id that was given away again at once has connections of its next endpoint by now.
        let again: BTreeSet<EndpointId> =
            assigned.iter().map(|assigned| assigned.endpoint).collect();
        self.ended.extend(
            ended
                .iter()
                .filter(|ended| !again.contains(&ended.endpoint)),
        );
        Ok(Published {
            generation: Generation(generation),
            refused,
        })
    }

    /// Connections opened by the generation before the last publication may remember endpoints that ended in
    /// it at their new generation. All workers have left that generation now.
    fn end_again(&mut self) {
        for ended in self.ended.drain(..) {
            self.shared.endpoints.end(ended.endpoint);
        }
    }

    /// Does timed work, bounded: clears some expired connections away, finishes what the last publication
    /// began. Says when it wants to be called again; calling earlier or later is harmless, expired connections
    /// are never used.
    pub fn poll(&mut self, now: Instant) -> Option<Instant> {
        let settled = self.published.settle().is_ok();
        if settled {
            self.end_again();
        }
        let ticks = now.ticks();
        let sweep = |capacity: u32| SWEEP_RECORDS.min(capacity);
        self.shared
            .ipv4
            .sweep(ticks, sweep(self.shared.ipv4.capacity()));
        self.shared
            .ipv6
            .sweep(ticks, sweep(self.shared.ipv6.capacity()));
        let used = self
            .shared
            .ipv4
            .used()
            .saturating_add(self.shared.ipv6.used());
        (used > 0 || !settled).then(|| now.after(SWEEP_INTERVAL))
    }

    /// The generation that bursts see now.
    #[must_use]
    pub fn generation(&self) -> Generation {
        Generation(self.published.generation())
    }

    /// Counts since the start, summed over all workers. Looks at each affinity and fragment record: not for
    /// every burst.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            connections_evicted: [self.shared.ipv4.evicted(), self.shared.ipv6.evicted()],
            usage: Usage {
                connections_ipv4: self.shared.ipv4.used(),
                connections_ipv6: self.shared.ipv6.used(),
                table: self.published.current().usage(),
                affinities: self.shared.affinity.used(),
                fragments: self.shared.fragments.used(),
            },
            ..Stats::from_counters(&self.shared.counters.sum())
        }
    }

    /// What became of packets to one ServicePort since it was put.
    #[must_use]
    pub fn service_stats(&self, service: ServiceId) -> ServiceStats {
        // Without room to count by endpoint, openings are counted by ServicePort.
        let EndpointStats {
            opened,
            original,
            reply,
        } = self.endpoints.service(service, self.published.current());
        let counted = self.shared.services.read(service);
        ServiceStats {
            opened: opened.wrapping_add(counted.opened),
            original,
            reply,
            ..counted
        }
    }

    /// What went to one endpoint, and came back, since it was published; `None` if the id names none now, or
    /// without [`super::Limits::endpoint_counters`].
    #[must_use]
    pub fn endpoint_stats(&self, endpoint: EndpointId) -> Option<EndpointStats> {
        self.endpoints.endpoint(endpoint)
    }

    /// The connections of an endpoint that its Service's scheduler counts; none where the scheduler asks for none, or
    /// of a time when another one did.
    #[must_use]
    pub fn load(&self, endpoint: EndpointId) -> Load {
        self.shared.balance.loads().read(endpoint)
    }

    /// The endpoints that a ServicePort has now, and where they listen.
    pub fn endpoints_of(
        &self,
        service: ServiceId,
    ) -> impl Iterator<Item = (EndpointId, SocketAddr)> + '_ {
        let table = self.published.current();
        let ids = table.endpoints_of(service);
        ids.filter_map(|id| Some((id, table.endpoint_socket(id)?)))
    }

    /// Every connection alive at `now`, in no order.
    pub fn connections(&self, now: Instant) -> impl Iterator<Item = Connection> + '_ {
        let ticks = now.ticks();
        self.shared
            .ipv4
            .iter(ticks)
            .chain(self.shared.ipv6.iter(ticks))
    }

    /// What would become of a packet, and why, by the same code that moves packets. Changes nothing. Where
    /// the choice is random, the one shown is one of [`Explanation::choices`].
    #[must_use]
    pub fn explain(&self, now: Instant, packet: &[u8]) -> Explanation {
        self.explain_from(now, packet, Arrival::Elsewhere)
    }

    /// The same, of a packet of which its host says by what it entered.
    #[must_use]
    pub fn explain_from(&self, now: Instant, packet: &[u8], arrival: Arrival) -> Explanation {
        let table = self.published.current();
        let asked = (packet, arrival);
        explain::explain(table, &self.shared, self.generation(), now, asked)
    }
}
