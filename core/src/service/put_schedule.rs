//! What an edit prepares for its ServicePort's scheduler.

use super::bucket_tables::{BucketTable, BucketTables};
use super::hashing::{self, HASH_BUCKETS, Place};
use super::prefix_words::words;
use super::table::{ServiceRecord, SetWeights, Table};
use super::{EndpointSet, EndpointSpec, ServiceSpec};
use crate::net::{EndpointId, Scheduler};
use alloc::vec::Vec;

const SETS: [EndpointSet; 2] = [EndpointSet::Cluster, EndpointSet::Local];

/// How many buckets the tables of a ServicePort take up.
pub(super) fn buckets_wanted(spec: &ServiceSpec) -> u32 {
    let tables = SETS.map(|set| BucketTables::cost(table_len(spec, set)));
    let [cluster, local] = tables;
    cluster.saturating_add(local)
}

/// The length of a set's table; 0 if the scheduler needs none, or no frontend the set.
fn table_len(spec: &ServiceSpec, set: EndpointSet) -> u32 {
    let mut rules = spec.frontends.iter().flat_map(|frontend| &frontend.rules);
    let taking = || spec.endpoints.iter().filter(|endpoint| endpoint.takes(set));
    if !hashes(spec.schedule.scheduler) || taking().next().is_none() {
        return 0;
    }
    if !rules.any(|rule| rule.set == set) {
        return 0;
    }
    if spec.schedule.scheduler == Scheduler::Maglev {
        hashing::maglev_len(u32::try_from(taking().count()).unwrap_or(u32::MAX))
    } else {
        HASH_BUCKETS
    }
}

const fn hashes(scheduler: Scheduler) -> bool {
    matches!(
        scheduler,
        Scheduler::SourceHashing | Scheduler::DestinationHashing | Scheduler::Maglev
    )
}

const fn is_member(endpoint: &EndpointSpec, set: EndpointSet) -> bool {
    match set {
        EndpointSet::Cluster => endpoint.in_cluster_set,
        EndpointSet::Local => endpoint.in_local_set,
    }
}

impl Table {
    /// Takes tables for the record's scheduler; `ids` are those of `spec.endpoints`. There is room, because it was
    /// counted.
    pub(super) fn put_schedule(
        &mut self,
        record: &mut ServiceRecord,
        spec: &ServiceSpec,
        ids: &[EndpointId],
    ) {
        if spec.schedule.scheduler == Scheduler::WeightedRoundRobin {
            record.weights = SETS.map(|set| set_weights(spec, set));
        }
        record.tables = SETS.map(|set| match table_len(spec, set) {
            0 => BucketTable::EMPTY,
            len => self.buckets.make(&bucket_ids(spec, ids, set, len)),
        });
        let used = self.usage.hash_buckets;
        self.usage.hash_buckets = used.saturating_add(record.bucket_cost());
    }

    pub(super) fn release_buckets(&mut self, record: &ServiceRecord) {
        for table in &record.tables {
            self.buckets.release(table);
        }
        let used = self.usage.hash_buckets;
        self.usage.hash_buckets = used.saturating_sub(record.bucket_cost());
    }
}

/// The endpoint of each bucket.
fn bucket_ids(
    spec: &ServiceSpec,
    ids: &[EndpointId],
    set: EndpointSet,
    len: u32,
) -> Vec<EndpointId> {
    let members = spec.endpoints.iter().zip(ids);
    let members = members.filter(|(endpoint, _)| is_member(endpoint, set));
    let place = |(endpoint, _): (&EndpointSpec, &EndpointId)| Place {
        address: words(endpoint.address),
        port: endpoint.port,
        weight: endpoint.weight,
    };
    let places: Vec<Place> = members.clone().map(place).collect();
    let member_ids: Vec<EndpointId> = members.map(|(_, id)| *id).collect();
    let scheduler = spec.schedule.scheduler;
    let buckets = if scheduler == Scheduler::Maglev {
        hashing::maglev(&places, len, spec.schedule.seed)
    } else {
        hashing::in_turn(&places, scheduler == Scheduler::SourceHashing)
    };
    let id = |number: u32| member_ids.get(number as usize).copied();
    buckets.into_iter().filter_map(id).collect()
}

fn set_weights(spec: &ServiceSpec, set: EndpointSet) -> SetWeights {
    let taking = spec.endpoints.iter().filter(|endpoint| endpoint.takes(set));
    let weights = taking.map(|endpoint| u32::from(endpoint.weight));
    let divisor = weights.clone().fold(0, hashing::gcd);
    match (weights.max(), u16::try_from(divisor)) {
        (Some(greatest), Ok(divisor)) => SetWeights {
            greatest: u16::try_from(greatest).unwrap_or(u16::MAX),
            divisor,
        },
        (None, _) | (_, Err(_)) => SetWeights::EQUAL,
    }
}
