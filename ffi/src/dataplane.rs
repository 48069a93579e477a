//! The dataplane's control side: make, fill, publish, poll.

use crate::arena::{self, Refused};
use crate::call::{self, control, enter, output};
use crate::error::{Failure, portolan_error};
use crate::limits::{self, portolan_limits};
use crate::node::{NodeState, portolan_node};
use crate::rejections::portolan_rejections;
use crate::service::{portolan_node_spec, portolan_service};
use crate::sized;
use crate::status::portolan_status;
use core::mem::MaybeUninit;
use portolan::dataplane::{Config, Dataplane, PublishError};
use portolan::model::Rejection;
use portolan::net::{Generation, Instant, ServiceId};
use portolan::node::Feed;
use portolan::plan::PortKey;
use portolan::service::{ApplyError, Edit};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Bytes of a seed for portolan_dataplane_new().
pub const PORTOLAN_SEED_BYTES: usize = 16;

/// portolan_dataplane_poll() has nothing to do until something else happens.
pub const PORTOLAN_NEVER: u64 = u64::MAX;

/// A Service dataplane: tables and connections. One thread at a time controls it; workers run beside it on any
/// threads.
#[derive(Debug)]
pub struct portolan_dataplane {
    pub(crate) state: Mutex<DataplaneState>,
}

/// What is behind the handle.
#[derive(Debug)]
pub(crate) struct DataplaneState {
    pub(crate) dataplane: Dataplane,
    services: u32,
    source: Source,
}

/// Who fills the Service table. It is one of the two for as long as the dataplane lives, because both hand out
/// ids.
#[derive(Debug)]
pub(crate) enum Source {
    Nobody,
    /// Edits that wait to be published, and the ids that were put and not removed.
    Hand(Vec<Edit>, BTreeSet<u32>),
    /// The node that has this identity.
    Node(u64, Feed),
}

impl DataplaneState {
    /// The edits of a host that fills services by hand.
    fn hand(&mut self) -> Result<&mut Vec<Edit>, Failure> {
        if matches!(self.source, Source::Nobody) {
            self.source = Source::Hand(Vec::new(), BTreeSet::new());
        }
        match &mut self.source {
            Source::Hand(edits, _) => Ok(edits),
            Source::Nobody | Source::Node(..) => Err(Failure::new(
                portolan_status::State,
                "dataplane",
                "is filled from a node: services cannot be put by hand too",
            )),
        }
    }

    /// The feed from a node.
    fn feed(&mut self, identity: u64) -> Result<(&mut Feed, &mut Dataplane), Failure> {
        if matches!(self.source, Source::Nobody) {
            self.source = Source::Node(identity, Feed::new());
        }
        match &mut self.source {
            Source::Node(known, feed) if *known == identity => Ok((feed, &mut self.dataplane)),
            Source::Nobody | Source::Node(..) | Source::Hand(..) => Err(Failure::new(
                portolan_status::State,
                "node",
                "is not the one that fills this dataplane",
            )),
        }
    }

    /// What the plan calls a ServicePort, if a node fills this dataplane.
    pub(crate) fn service_name(&self, id: ServiceId) -> String {
        match &self.source {
            Source::Node(_, feed) => feed.key(id).map(ToString::to_string).unwrap_or_default(),
            Source::Nobody | Source::Hand(..) => format!("service {id}"),
        }
    }

    /// Every service that packets see, and what the plan calls it.
    pub(crate) fn services(&self) -> Vec<(ServiceId, Option<&PortKey>)> {
        match &self.source {
            Source::Nobody => Vec::new(),
            Source::Hand(_, ids) => ids.iter().map(|id| (ServiceId(*id), None)).collect(),
            Source::Node(_, feed) => (0..self.services)
                .map(ServiceId)
                .filter_map(|id| Some((id, Some(feed.key(id)?))))
                .collect(),
        }
    }

    fn publish_node(&mut self, node: &NodeState) -> Result<(Generation, Vec<Rejection>), Failure> {
        let (feed, dataplane) = self.feed(node.identity)?;
        let generation = feed.publish(&node.node, dataplane).map_err(again)?;
        Ok((generation, feed.rejections().collect()))
    }

    fn publish_hand(&mut self) -> Result<(Generation, Vec<Rejection>), Failure> {
        let mut edits = core::mem::take(self.hand()?);
        if edits.is_empty() {
            return Ok((self.dataplane.generation(), Vec::new()));
        }
        let names: Vec<String> = edits.iter().map(name).collect();
        let ids: Vec<_> = edits.iter().map(id_after).collect();
        let published = self.dataplane.publish(&mut edits).map_err(again);
        if published.is_err() {
            *self.hand()? = edits;
        }
        let published = published?;
        if let Source::Hand(_, known) = &mut self.source {
            let was_refused = |position| {
                let mut refused = published.refused.iter();
                refused.any(|(refused, _)| *refused == position)
            };
            for (position, after) in ids.into_iter().enumerate() {
                match after {
                    Some((id, true)) if !was_refused(position) => drop(known.insert(id)),
                    Some((id, false)) => drop(known.remove(&id)),
                    Some(_) | None => {}
                }
            }
        }
        let refused = published.refused.iter().map(|(position, error)| Rejection {
            object: names.get(*position).cloned().unwrap_or_default(),
            field: String::new(),
            rule: error.to_string(),
        });
        Ok((published.generation, refused.collect()))
    }
}

/// Which service the edit concerns, and whether it is there afterwards.
fn id_after(edit: &Edit) -> Option<(u32, bool)> {
    match edit {
        Edit::Put(id, _) => Some((id.0, true)),
        Edit::Remove(id) => Some((id.0, false)),
        Edit::Node(_) => None,
    }
}

fn name(edit: &Edit) -> String {
    match edit {
        Edit::Put(id, _) | Edit::Remove(id) => format!("service {id}"),
        Edit::Node(_) => "node".to_owned(),
    }
}

fn again(error: PublishError) -> Failure {
    Failure::new(portolan_status::Again, "", error.to_string())
}

/// How a dataplane is to be made, from C's arguments.
///
/// # Safety
/// `limits` is NULL or points to as many readable bytes as its `struct_size` says; `seed` is NULL or points to
/// 16 readable bytes.
unsafe fn config(limits: *const portolan_limits, seed: *const u8) -> Result<Config, Failure> {
    // SAFETY: as promised.
    let seed = unsafe { call::bytes(seed, PORTOLAN_SEED_BYTES, "seed") }?;
    let seed = seed.first_chunk().copied().unwrap_or_default();
    // SAFETY: as promised.
    let limits = unsafe { sized::read(limits, "limits") }?;
    Ok(Config {
        limits: limits.to_limits(),
        masquerade_ports: limits.masquerade_ports()?,
        options: limits.options()?,
        timeouts: limits.timeouts.to_timeouts()?,
        memory_advice: limits.advice()?,
        seed: u128::from_le_bytes(seed),
    })
}

fn refused(why: impl Into<String>) -> Failure {
    Failure::new(portolan_status::Memory, "limits", why)
}

fn make(config: &Config) -> Result<Box<portolan_dataplane>, Failure> {
    let made = Dataplane::new(config).map_err(|error| refused(error.to_string()))?;
    Ok(Box::new(portolan_dataplane {
        state: Mutex::new(DataplaneState {
            dataplane: made,
            services: config.limits.table.services,
            source: Source::Nobody,
        }),
    }))
}

/// Makes a dataplane and takes all of its memory, as portolan_memory_required() says. The seed is the key of
/// every hash and the start of every choice: PORTOLAN_SEED_BYTES from a good source, kept secret; the same seed and
/// packets give the same bytes out. PORTOLAN_STATUS_MEMORY if the memory cannot be had, PORTOLAN_STATUS_INVALID of
/// options and timeouts that are none. Owned by the caller, freed with portolan_dataplane_free(). Since 0.1.
///
/// # Safety
/// `limits` is NULL or points to as many readable bytes as its `struct_size` says; `seed` is NULL or points
/// to 16 readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_new(
    limits: *const portolan_limits,
    seed: *const u8,
    dataplane: Option<&mut MaybeUninit<*mut portolan_dataplane>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    control(error, || {
        let out = output(dataplane, "dataplane")?;
        // SAFETY: as promised.
        let config = unsafe { config(limits, seed) }?;
        let bytes = limits::memory_required(&config.limits);
        // Asked for and given back at once: running out inside would end the process.
        let mut trial: Vec<u8> = Vec::new();
        usize::try_from(bytes)
            .ok()
            .and_then(|bytes| trial.try_reserve_exact(bytes).ok())
            .ok_or_else(|| refused(format!("{bytes} bytes cannot be had")))?;
        drop(trial);
        out.write(Box::into_raw(make(&config)?));
        Ok(())
    })
}

/// Makes a dataplane in the caller's memory, huge pages or a NUMA node's for instance: its tables, its connections
/// and its counts, everything that portolan_memory_required() counts, which is how many bytes it must have. Only
/// what publishing notes, errors and lists come from the system. PORTOLAN_STATUS_MEMORY if it does not suffice,
/// PORTOLAN_STATUS_STATE if another dataplane lies there or 64 do in other places.
///
/// The memory is the dataplane's until it has been freed and all of its workers and drivers have; limits.memory_advice
/// says nothing about it. Otherwise as portolan_dataplane_new(). Since 0.1.
///
/// # Safety
/// `limits` and `seed` as of portolan_dataplane_new(); `memory` is NULL or valid for `memory_size` bytes, which
/// nobody else uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_new_in(
    limits: *const portolan_limits,
    seed: *const u8,
    memory: *mut u8,
    memory_size: usize,
    dataplane: Option<&mut MaybeUninit<*mut portolan_dataplane>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    control(error, || {
        let out = output(dataplane, "dataplane")?;
        // SAFETY: as promised.
        let config = unsafe { config(limits, seed) }?;
        let config = Config {
            memory_advice: None,
            ..config
        };
        if memory.is_null() {
            return Err(Failure::null("memory"));
        }
        let required = limits::memory_required(&config.limits);
        if required > memory_size as u64 {
            return Err(Failure::new(
                portolan_status::Memory,
                "memory_size",
                format!("{memory_size} bytes: these limits need {required}"),
            ));
        }
        // SAFETY: as promised.
        let made = unsafe { arena::fill(memory, memory_size, || make(&config)) };
        let made = made.map_err(|why| match why {
            Refused::Taken => Failure::new(
                portolan_status::State,
                "memory",
                "is another dataplane's, or too many lie in memory of hosts",
            ),
            Refused::TooSmall => refused(format!("{memory_size} bytes do not suffice")),
        })?;
        out.write(Box::into_raw(made?));
        Ok(())
    })
}

/// Frees a dataplane and sets the pointer to NULL. Its workers go on with the services that they have until
/// they are freed too. NULL, and a pointer to NULL, have no effect. PORTOLAN_STATUS_BUSY while another thread
/// is inside a call: nothing is freed then. Since 0.1.
///
/// # Safety
/// `*dataplane` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_free(
    dataplane: Option<&mut *mut portolan_dataplane>,
) -> portolan_status {
    // SAFETY: as promised.
    unsafe { call::free(dataplane, |handle| call::is_busy(&handle.state)) }
}

/// Notes a service that is new or different; packets see it after portolan_dataplane_publish(). What the
/// struct points to is copied. PORTOLAN_STATUS_STATE if a node fills this dataplane. Since 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives; `service` is NULL or valid, and what it points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_put_service(
    dataplane: *mut portolan_dataplane,
    service: *const portolan_service,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    control(error, || {
        let mut state = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        // SAFETY: as promised.
        let service = unsafe { sized::read(service, "service") }?;
        let allowed = state.services;
        let edits = state.hand()?;
        if service.id >= allowed {
            let message = format!(
                "{} is too large: must be less than limits.services, {allowed}",
                service.id
            );
            return Err(Failure::new(portolan_status::Limit, "service.id", message));
        }
        // SAFETY: as promised of what it points to.
        let spec = unsafe { service.to_spec() }?;
        let mixed = {
            let addresses = spec.frontends.iter().map(|frontend| frontend.address);
            let mut families = addresses
                .chain(spec.endpoints.iter().map(|endpoint| endpoint.address))
                .map(|address| address.is_ipv4());
            families
                .next()
                .is_some_and(|first| families.any(|other| other != first))
        };
        if mixed {
            let message = ApplyError::MixedFamilies.to_string();
            return Err(Failure::invalid("service", message));
        }
        edits.push(Edit::Put(ServiceId(service.id), Arc::new(spec)));
        Ok(())
    })
}

/// Notes that a service is gone; no effect if there is none of this id. Packets see it after
/// portolan_dataplane_publish(). PORTOLAN_STATUS_STATE if a node fills this dataplane. Since 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_remove_service(
    dataplane: *mut portolan_dataplane,
    id: u32,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    control(error, || {
        let mut state = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        state.hand()?.push(Edit::Remove(ServiceId(id)));
        Ok(())
    })
}

/// Notes what is known of the node. Packets see it after portolan_dataplane_publish(). PORTOLAN_STATUS_STATE if
/// a node fills this dataplane. Since 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives; `node` is NULL or valid, and what it points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_set_node(
    dataplane: *mut portolan_dataplane,
    node: *const portolan_node_spec,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    control(error, || {
        let mut state = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        let edits = state.hand()?;
        // SAFETY: as promised.
        let node = unsafe { sized::read(node, "node") }?;
        // SAFETY: as promised of what it points to.
        edits.push(Edit::Node(unsafe { node.to_spec() }?));
        Ok(())
    })
}

/// Makes everything that changed visible to packets at once: each burst that begins afterwards sees all of it,
/// none sees some. `node` fills the dataplane, or is NULL where services are put by hand; it is the one or the
/// other for as long as the dataplane lives. Costs what changed, whatever the number of services.
///
/// Writes the generation (NULL: not wanted) and what the limits have no room for (NULL: not wanted; else a
/// list to be freed with portolan_rejections_free()); all else takes effect. PORTOLAN_STATUS_AGAIN while a
/// worker is still in a burst that reads an older generation: nothing is lost, publish again. Since 0.1.
///
/// # Safety
/// `dataplane` and `node` are NULL or handles that live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_publish(
    dataplane: *mut portolan_dataplane,
    node: *mut portolan_node,
    generation: Option<&mut MaybeUninit<u64>>,
    rejections: Option<&mut MaybeUninit<*mut portolan_rejections>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(error, || {
        let mut state = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        let (now, refused) = match node {
            Some(node) => {
                let node = enter(Some(&node.state), "node")?;
                state.publish_node(&node)?
            }
            None => state.publish_hand()?,
        };
        if let Some(generation) = generation {
            generation.write(now.0);
        }
        portolan_rejections::give(&refused, rejections);
        Ok(())
    })
}

/// Does timed work, a bounded amount: clears expired connections away. Writes when it wants to be called again,
/// on the clock of `now_ns`, or PORTOLAN_NEVER; calling earlier or later is harmless. Since 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_poll(
    dataplane: *mut portolan_dataplane,
    now_ns: u64,
    next_ns: Option<&mut MaybeUninit<u64>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    control(None, || {
        let mut state = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        let next = state.dataplane.poll(Instant::from_nanos(now_ns));
        if let Some(next_ns) = next_ns {
            next_ns.write(next.map_or(PORTOLAN_NEVER, Instant::as_nanos));
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan::dataplane::Limits;
    use portolan::service::TableLimits;

    fn limits(connections: u32, services: u32, workers: u32) -> Limits {
        Limits {
            connections_ipv4: connections,
            connections_ipv6: connections / 3,
            table: TableLimits {
                services,
                frontends: services * 2,
                endpoints: services * 5,
                source_ranges: services / 2,
                hash_buckets: services * 16,
            },
            affinities: services * 7,
            fragments: connections / 16,
            workers,
            endpoint_counters: true,
        }
    }

    /// Makes a dataplane in as much memory as is said to be required, and says how much that is.
    fn make_in_what_is_required(limits: Limits) -> u64 {
        let required = limits::memory_required(&limits);
        let mut memory: Vec<u8> = vec![0; usize::try_from(required).unwrap()];
        let config = Config {
            limits,
            ..Config::default()
        };
        // SAFETY: the memory outlives what is made in it.
        let made = unsafe { arena::fill(memory.as_mut_ptr(), memory.len(), || make(&config)) };
        assert!(matches!(made, Ok(Ok(_))), "{limits:?}: {required} bytes");
        required
    }

    #[test]
    fn what_is_required_suffices_and_is_little_more_than_the_tables() {
        for connections in [0, 1, 100, 5_000, 100_000] {
            for services in [0, 1, 77, 4_000] {
                for workers in [0, 1, 7] {
                    let limits = limits(connections, services, workers);
                    let required = make_in_what_is_required(limits);
                    let tables = limits.memory().total();
                    assert!(required < tables + tables / 50 + (128 << 10), "{limits:?}");
                }
            }
        }
    }
}
