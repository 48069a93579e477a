//! One replica of the compiled Service table: memory of fixed size, taken once.

use super::address_marks::AddressMarks;
use super::bucket_tables::{BucketTable, BucketTables};
use super::cluster_ips::ClusterIps;
use super::frontend_map::FrontendMap;
use super::id_list::{IdList, Pages};
use super::node_table::NodeTable;
use super::range_list::{self, Ranges};
use super::{FrontendKind, Schedule, SourceClass, SourceRule, TableLimits};
use crate::net::{Address, EndpointId, Family, Protocol, Scheduler, ServiceId};
use crate::service::EndpointSet;
use crate::table::HashKey;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

/// Tells this table's hash from others made with the same seed.
const HASH_PURPOSE: u64 = 0x5e1c_e000;
pub(super) const NONE: u32 = u32::MAX;

/// The endpoints of a ServicePort, in the order: Local set only, both sets, Cluster set only, no set. So each
/// set is one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct EndpointRuns {
    pub(super) local_len: u32,
    pub(super) cluster_start: u32,
    pub(super) cluster_len: u32,
    pub(super) list: IdList,
}

/// One frontend, with all that choosing an endpoint needs: one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub struct FrontendEntry {
    pub(super) service: u32,
    /// For each source class two bits: the set, masquerade.
    pub(super) rules: u8,
    pub(super) kind: FrontendKind,
    /// 0: uniformly at random, all endpoints alike. Else bits [`SCHEDULED`] and [`COUNTED`].
    pub(super) scheduling: u8,
    pub(super) ranges: u32,
    /// 0: no affinity.
    pub(super) affinity_seconds: u32,
    pub(super) runs: EndpointRuns,
}

const _: () = assert!(size_of::<FrontendEntry>() == 64);

/// The endpoint is chosen by the [`ServiceRecord`]'s schedule.
pub(super) const SCHEDULED: u8 = 1;
/// Connections are counted for each endpoint.
pub(super) const COUNTED: u8 = 2;

/// One endpoint: half a cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(32))]
pub struct EndpointEntry {
    pub(super) address: [u64; 2],
    pub(super) tag: u64,
    pub(super) service: u32,
    pub(super) port: u16,
    /// Bits [`LOCAL`] and so on; 0 in an entry that is free.
    pub(super) flags: u8,
}

const _: () = assert!(size_of::<EndpointEntry>() == 32);

pub(super) const IN_USE: u8 = 1;
pub(super) const LOCAL: u8 = 2;
pub(super) const IN_CLUSTER_SET: u8 = 4;
pub(super) const IN_LOCAL_SET: u8 = 8;

/// Where a frontend is found, and which is the next of its ServicePort. Not read by packets.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrontendLink {
    pub(super) address: [u64; 2],
    pub(super) port: u16,
    pub(super) next: u32,
}

/// One ServicePort.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServiceRecord {
    pub(super) in_use: bool,
    pub(super) family: Family,
    pub(super) protocol: Protocol,
    pub(super) affinity_seconds: u32,
    pub(super) first_frontend: u32,
    pub(super) frontend_count: u32,
    pub(super) range_count: u32,
    pub(super) runs: EndpointRuns,
    pub(super) schedule: Schedule,
    /// By set.
    pub(super) weights: [SetWeights; 2],
    /// By set, for schedulers that hash.
    pub(super) tables: [BucketTable; 2],
}

/// What weighted round robin must know of a set's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SetWeights {
    pub(super) greatest: u16,
    /// The greatest that divides all.
    pub(super) divisor: u16,
}

impl ServiceRecord {
    pub(super) const FREE: Self = Self {
        in_use: false,
        family: Family::Ipv4,
        protocol: Protocol::Tcp,
        affinity_seconds: 0,
        first_frontend: NONE,
        frontend_count: 0,
        range_count: 0,
        runs: EndpointRuns {
            local_len: 0,
            cluster_start: 0,
            cluster_len: 0,
            list: IdList::EMPTY,
        },
        schedule: Schedule {
            scheduler: Scheduler::Random,
            slow_start_seconds: 0,
            seed: 0,
        },
        weights: [SetWeights::EQUAL; 2],
        tables: [BucketTable::EMPTY; 2],
    };

    #[inline]
    pub(super) const fn weights_of(&self, set: EndpointSet) -> SetWeights {
        let [cluster, local] = self.weights;
        match set {
            EndpointSet::Cluster => cluster,
            EndpointSet::Local => local,
        }
    }

    #[inline]
    pub(super) const fn bucket_table(&self, set: EndpointSet) -> &BucketTable {
        let [cluster, local] = &self.tables;
        match set {
            EndpointSet::Cluster => cluster,
            EndpointSet::Local => local,
        }
    }

    /// Buckets of both tables, as they are counted.
    pub(super) const fn bucket_cost(&self) -> u32 {
        let [cluster, local] = &self.tables;
        BucketTables::cost(cluster.len()).saturating_add(BucketTables::cost(local.len()))
    }
}

impl SetWeights {
    pub(super) const EQUAL: Self = Self {
        greatest: 1,
        divisor: 1,
    };
}

/// How much of a table is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableUsage {
    /// ServicePorts.
    pub services: u32,
    /// Frontends.
    pub frontends: u32,
    /// Endpoints.
    pub endpoints: u32,
    /// Source ranges.
    pub source_ranges: u32,
    /// Buckets of hashing schedulers' tables.
    pub hash_buckets: u32,
}

/// One replica of the Service table. Packets read it; edits change it while nobody reads
/// ([`crate::sync::Published`]).
///
/// # Cost
/// A lookup that finds nothing reads four bytes of an array that holds as much for every bucket of frontends, and two
/// cache lines inside a Service range; one that finds a frontend reads two lines. Choosing an endpoint reads one more,
/// and one for each power of 16 beyond 8 endpoints. An edit costs O(frontends + endpoints of its ServicePort), whatever
/// the size of the table.
#[derive(Debug)]
pub struct Table {
    pub(super) limits: TableLimits,
    pub(super) usage: TableUsage,
    pub(super) key: HashKey,
    pub(super) ipv4: FrontendMap<u32, 5>,
    pub(super) ipv6: FrontendMap<[u64; 2], 2>,
    pub(super) frontends: Vec<FrontendEntry>,
    pub(super) links: Vec<FrontendLink>,
    pub(super) free_frontend: u32,
    pub(super) endpoints: Vec<EndpointEntry>,
    /// By endpoint id.
    pub(super) weights: Vec<u16>,
    /// Ids that ended, oldest first: an id rests as long as can be before it names another endpoint.
    pub(super) free_endpoints: VecDeque<u32>,
    pub(super) unused_endpoints: u32,
    pub(super) services: Vec<ServiceRecord>,
    pub(super) pages: Pages,
    pub(super) ranges: Ranges,
    pub(super) buckets: BucketTables,
    pub(super) node: NodeTable,
    /// ClusterIPs outside every Service prefix, for IPv4 and IPv6.
    pub(super) cluster_ips_outside: [ClusterIps; 2],
    /// Of what is or was a frontend's or an endpoint's.
    pub(super) marks: AddressMarks,
}

/// The memory that a table of these limits needs cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewTableError {
    /// How much was asked for.
    pub bytes: u64,
}

impl fmt::Display for NewTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes for a service table cannot be had", self.bytes)
    }
}

impl core::error::Error for NewTableError {}

impl Table {
    /// An empty table. `seed` must be secret and the same for both replicas.
    ///
    /// # Errors
    /// [`NewTableError`] if there is not enough memory.
    pub fn new(limits: &TableLimits, seed: u128) -> Result<Self, NewTableError> {
        Self::allocate(limits, seed).ok_or_else(|| NewTableError {
            bytes: Self::memory_bytes(limits),
        })
    }

    fn allocate(limits: &TableLimits, seed: u128) -> Option<Self> {
        let entries = Self::map_entries(limits);
        let mut free_endpoints = VecDeque::new();
        free_endpoints
            .try_reserve_exact(limits.endpoints as usize)
            .ok()?;
        let mut links = filled(limits.frontends, FrontendLink::FREE)?;
        for (link, next) in links.iter_mut().zip(1..limits.frontends) {
            link.next = next;
        }
        Some(Self {
            limits: *limits,
            usage: TableUsage::default(),
            key: HashKey::new(seed, HASH_PURPOSE),
            ipv4: FrontendMap::new(entries)?,
            ipv6: FrontendMap::new(entries)?,
            frontends: filled(limits.frontends, FrontendEntry::FREE)?,
            links,
            free_frontend: if limits.frontends == 0 { NONE } else { 0 },
            endpoints: filled(limits.endpoints, EndpointEntry::FREE)?,
            weights: filled(limits.endpoints, 0)?,
            free_endpoints,
            unused_endpoints: 0,
            services: filled(limits.services, ServiceRecord::FREE)?,
            pages: Pages::new(limits.endpoints)?,
            ranges: Ranges::new(limits.source_ranges)?,
            buckets: BucketTables::new(limits.hash_buckets)?,
            node: NodeTable::new(),
            cluster_ips_outside: [ClusterIps::NONE; 2],
            marks: AddressMarks::new(Self::addresses(limits))?,
        })
    }

    /// Bytes that one replica of these limits takes, computed without taking them.
    ///
    /// Each family's map is made for all frontends, since all may be of one family, and for as many
    /// ClusterIPs. An endpoint costs some 50 bytes, a frontend about 230, a ServicePort 72.
    #[must_use]
    pub const fn memory_bytes(limits: &TableLimits) -> u64 {
        let entries = Self::map_entries(limits);
        let per_frontend = (size_of::<FrontendEntry>() + size_of::<FrontendLink>()) as u64;
        let per_endpoint =
            (size_of::<EndpointEntry>() + size_of::<u32>() + size_of::<u16>()) as u64;
        FrontendMap::<u32, 5>::memory_bytes(entries)
            .saturating_add(FrontendMap::<[u64; 2], 2>::memory_bytes(entries))
            .saturating_add((limits.frontends as u64).saturating_mul(per_frontend))
            .saturating_add((limits.endpoints as u64).saturating_mul(per_endpoint))
            .saturating_add(
                (limits.services as u64).saturating_mul(size_of::<ServiceRecord>() as u64),
            )
            .saturating_add(Pages::memory_bytes(limits.endpoints))
            .saturating_add(Ranges::memory_bytes(limits.source_ranges))
            .saturating_add(BucketTables::memory_bytes(limits.hash_buckets))
            .saturating_add(NodeTable::MEMORY_BYTES)
            .saturating_add(AddressMarks::memory_bytes(Self::addresses(limits)))
    }

    /// A frontend is one entry, and its address may be another.
    const fn map_entries(limits: &TableLimits) -> u64 {
        (limits.frontends as u64).saturating_mul(2)
    }

    /// Each frontend and each endpoint may have one of its own.
    const fn addresses(limits: &TableLimits) -> u64 {
        (limits.frontends as u64).saturating_add(limits.endpoints as u64)
    }

    /// What the table was made for.
    #[must_use]
    pub const fn limits(&self) -> &TableLimits {
        &self.limits
    }

    /// How much of it is in use.
    #[must_use]
    pub const fn usage(&self) -> TableUsage {
        self.usage
    }
}

fn filled<T: Copy>(count: u32, value: T) -> Option<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(count as usize).ok()?;
    list.resize(count as usize, value);
    Some(list)
}

impl FrontendLink {
    pub(super) const FREE: Self = Self {
        address: [0; 2],
        port: 0,
        next: NONE,
    };
}

impl FrontendEntry {
    pub(super) const FREE: Self = Self {
        service: NONE,
        rules: 0,
        kind: FrontendKind::ClusterIp,
        scheduling: 0,
        ranges: range_list::EMPTY,
        affinity_seconds: 0,
        runs: ServiceRecord::FREE.runs,
    };

    /// Whose frontend it is.
    #[must_use]
    #[inline]
    pub const fn service(&self) -> ServiceId {
        ServiceId(self.service)
    }

    /// What kind of door.
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> FrontendKind {
        self.kind
    }

    /// For how many seconds a client keeps its endpoint; `None` without affinity.
    #[must_use]
    #[inline]
    pub const fn affinity_seconds(&self) -> Option<u32> {
        match self.affinity_seconds {
            0 => None,
            seconds => Some(seconds),
        }
    }

    /// The rule for a class of senders.
    #[must_use]
    #[inline]
    pub const fn rule(&self, class: SourceClass) -> SourceRule {
        let bits = self.rules >> (2 * class as u8);
        SourceRule {
            set: if bits & 1 == 0 {
                EndpointSet::Cluster
            } else {
                EndpointSet::Local
            },
            masquerade: bits & 2 != 0,
        }
    }

    /// Is an endpoint chosen in another way than uniformly at random?
    #[inline]
    pub(super) const fn is_scheduled(&self) -> bool {
        self.scheduling & SCHEDULED != 0
    }

    /// Must connections be counted for each endpoint ([`Scheduler::counts_connections`])?
    #[must_use]
    #[inline]
    pub const fn counts_connections(&self) -> bool {
        self.scheduling & COUNTED != 0
    }

    /// How many endpoints of a set may be chosen.
    #[must_use]
    #[inline]
    pub const fn endpoint_count(&self, set: EndpointSet) -> u32 {
        match set {
            EndpointSet::Cluster => self.runs.cluster_len,
            EndpointSet::Local => self.runs.local_len,
        }
    }
}

impl EndpointEntry {
    pub(super) const FREE: Self = Self {
        address: [0; 2],
        tag: 0,
        service: NONE,
        port: 0,
        flags: 0,
    };

    /// Its address, of the family of its ServicePort.
    #[must_use]
    #[inline]
    pub fn address<A: Address>(&self) -> A {
        A::from_words(self.address)
    }

    /// Its address as [`Address::to_words`] writes it.
    #[must_use]
    #[inline]
    pub const fn address_words(&self) -> [u64; 2] {
        self.address
    }

    /// Its port.
    #[must_use]
    #[inline]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The host's tag.
    #[must_use]
    #[inline]
    pub const fn tag(&self) -> u64 {
        self.tag
    }

    /// Is it on this node?
    #[must_use]
    #[inline]
    pub const fn is_local(&self) -> bool {
        self.flags & LOCAL != 0
    }

    /// Its ServicePort.
    #[must_use]
    #[inline]
    pub const fn service(&self) -> ServiceId {
        ServiceId(self.service)
    }

    /// May it be chosen for new connections from this set?
    #[must_use]
    #[inline]
    pub const fn is_in(&self, set: EndpointSet) -> bool {
        let bit = match set {
            EndpointSet::Cluster => IN_CLUSTER_SET,
            EndpointSet::Local => IN_LOCAL_SET,
        };
        self.flags & bit != 0
    }
}

/// The number of an endpoint as an index.
#[inline]
pub(super) const fn index(id: EndpointId) -> usize {
    id.0 as usize
}
