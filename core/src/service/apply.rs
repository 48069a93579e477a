//! Editing a table while nobody reads it.

use super::cluster_ips::ClusterIps;
use super::frontend_map::{ADDRESS, OUTER_ADDRESS};
use super::lookup::{key_ipv4, key_ipv6};
use super::prefix_words::words;
use super::put_schedule::buckets_wanted;
use super::range_list;
use super::table::{
    COUNTED, EndpointEntry, EndpointRuns, FrontendEntry, FrontendLink, IN_CLUSTER_SET,
    IN_LOCAL_SET, IN_USE, LOCAL, NONE, SCHEDULED, ServiceRecord, Table, index,
};
use super::{
    ApplyError, Assigned, Edit, Effects, Ended, EndpointSet, EndpointSpec, Frontend, FrontendKind,
    LimitExceeded, MAX_FOREIGN_ADDRESSES, MAX_NODE_ADDRESSES, MAX_NODE_PREFIXES, NodeSpec,
    Schedule, ServiceSpec, SourceRule, TableLimit,
};
use crate::net::{EndpointId, Family, Protocol, Scheduler, ServiceId};
use crate::sync::Replica;
use alloc::vec::Vec;

/// An endpoint that a ServicePort had before an edit, by where it listens.
type Before = ([u64; 2], u16, EndpointId);

impl Replica for Table {
    type Edit = Edit;
    type Effects = Effects;
    type Refusal = ApplyError;

    fn apply(&mut self, edit: &Edit, effects: &mut Effects) -> Result<(), ApplyError> {
        Self::apply(self, edit, effects)
    }
}

impl Table {
    /// Would [`Table::apply`] take this edit as things stand?
    ///
    /// # Errors
    /// [`ApplyError`] names the limit or the rule that is in the way.
    pub fn check(&self, edit: &Edit) -> Result<(), ApplyError> {
        match edit {
            Edit::Put(id, spec) => {
                family(spec)?;
                self.check_put(*id, spec).map_err(ApplyError::LimitExceeded)
            }
            Edit::Remove(_) => Ok(()),
            Edit::Node(spec) => check_node(spec).map_err(ApplyError::LimitExceeded),
        }
    }

    fn check_put(&self, id: ServiceId, spec: &ServiceSpec) -> Result<(), LimitExceeded> {
        within(
            TableLimit::Services,
            u64::from(id.0).saturating_add(1),
            self.limits.services,
        )?;
        let old = self.record(id);
        for (what, used, before, count, allowed) in [
            (
                TableLimit::Frontends,
                self.usage.frontends,
                old.frontend_count,
                spec.frontends.len(),
                self.limits.frontends,
            ),
            (
                TableLimit::Endpoints,
                self.usage.endpoints,
                old.runs.list.len(),
                spec.endpoints.len(),
                self.limits.endpoints,
            ),
            (
                TableLimit::SourceRanges,
                self.usage.source_ranges,
                old.range_count,
                range_count(spec),
                self.limits.source_ranges,
            ),
            (
                TableLimit::HashBuckets,
                self.usage.hash_buckets,
                old.bucket_cost(),
                buckets_wanted(spec) as usize,
                self.limits.hash_buckets,
            ),
        ] {
            let others = u64::from(used.saturating_sub(before));
            within(what, others.saturating_add(count as u64), allowed)?;
        }
        Ok(())
    }

    /// Applies one edit. Equal tables stay equal under equal edits; the cost is that of the edit's own
    /// ServicePort before and after.
    ///
    /// What happened to endpoints is added to `effects`.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing has changed then.
    pub fn apply(&mut self, edit: &Edit, effects: &mut Effects) -> Result<(), ApplyError> {
        self.check(edit)?;
        match edit {
            Edit::Put(id, spec) => self.put(*id, spec, effects),
            Edit::Remove(id) => self.remove(*id, effects),
            Edit::Node(spec) => self.set_node(spec),
        }
        Ok(())
    }

    fn record(&self, id: ServiceId) -> ServiceRecord {
        self.services
            .get(id.0 as usize)
            .copied()
            .unwrap_or(ServiceRecord::FREE)
    }

    fn set_record(&mut self, id: ServiceId, record: ServiceRecord) {
        if let Some(place) = self.services.get_mut(id.0 as usize) {
            *place = record;
        }
    }

    fn put(&mut self, id: ServiceId, spec: &ServiceSpec, effects: &mut Effects) {
        let old = self.record(id);
        self.remove_frontends(&old);
        let family = family(spec).unwrap_or(Family::Ipv4);
        let before = self.endpoints_before(&old, family, spec.protocol, effects);
        self.pages.release(&old.runs.list);
        self.release_buckets(&old);
        let (runs, ids) = self.put_endpoints(id, spec, before, effects);
        let mut record = ServiceRecord {
            in_use: true,
            family,
            protocol: spec.protocol,
            affinity_seconds: spec.affinity_seconds.unwrap_or(0),
            runs,
            schedule: spec.schedule,
            ..ServiceRecord::FREE
        };
        self.put_schedule(&mut record, spec, &ids);
        for frontend in &spec.frontends {
            self.add_frontend(id, &mut record, frontend);
        }
        if !old.in_use {
            self.usage.services = self.usage.services.saturating_add(1);
        }
        self.set_record(id, record);
    }

    fn remove(&mut self, id: ServiceId, effects: &mut Effects) {
        let old = self.record(id);
        if !old.in_use {
            return;
        }
        self.remove_frontends(&old);
        for position in 0..old.runs.list.len() {
            if let Some(endpoint) = self.pages.id(&old.runs.list, position) {
                self.end(endpoint, old.protocol, effects);
            }
        }
        self.pages.release(&old.runs.list);
        self.release_buckets(&old);
        self.set_record(id, ServiceRecord::FREE);
        self.usage.services = self.usage.services.saturating_sub(1);
    }

    /// The endpoints that may keep their ids, sorted by where they listen. All end if none may.
    fn endpoints_before(
        &mut self,
        old: &ServiceRecord,
        family: Family,
        protocol: Protocol,
        effects: &mut Effects,
    ) -> Vec<Before> {
        let ids =
            (0..old.runs.list.len()).filter_map(|position| self.pages.id(&old.runs.list, position));
        let ids: Vec<EndpointId> = ids.collect();
        if old.family != family || old.protocol != protocol {
            for id in ids {
                self.end(id, old.protocol, effects);
            }
            return Vec::new();
        }
        let mut before: Vec<Before> = ids
            .into_iter()
            .filter_map(|id| {
                let entry = self.endpoint(id)?;
                Some((entry.address, entry.port, id))
            })
            .collect();
        before.sort_unstable();
        before
    }

    /// Ends the endpoints that are gone, assigns ids to those that are new, and lists all by set. Gives the ids in
    /// the order of `spec` too.
    fn put_endpoints(
        &mut self,
        service: ServiceId,
        spec: &ServiceSpec,
        before: Vec<Before>,
        effects: &mut Effects,
    ) -> (EndpointRuns, Vec<EndpointId>) {
        let mut kept = Vec::new();
        kept.resize(before.len(), false);
        let mut places: Vec<Option<EndpointId>> = Vec::with_capacity(spec.endpoints.len());
        for endpoint in &spec.endpoints {
            let place = (words(endpoint.address), endpoint.port);
            let found = before.binary_search_by(|(address, port, _)| (*address, *port).cmp(&place));
            let id = found.ok().and_then(|position| {
                let mark = kept.get_mut(position)?;
                let (_, _, id) = before.get(position)?;
                // A second endpoint at one place gets an id of its own.
                (!core::mem::replace(mark, true)).then_some(*id)
            });
            places.push(id);
        }
        for ((_, _, id), kept) in before.into_iter().zip(kept) {
            if !kept {
                self.end(id, spec.protocol, effects);
            }
        }
        let mut ids = Vec::with_capacity(spec.endpoints.len());
        for (endpoint, place) in spec.endpoints.iter().zip(places) {
            let id = place.unwrap_or_else(|| self.begin());
            self.set_endpoint(service, id, endpoint, place.is_none(), effects);
            ids.push(id);
        }
        // In the set of policy Local, in both, in that of policy Cluster, in neither: each set is a run.
        let mut listed = Vec::with_capacity(ids.len());
        let sets = [(true, false), (true, true), (false, true), (false, false)];
        let [local, both, cluster, _] = sets.map(|(local, cluster)| {
            let here = spec.endpoints.iter().zip(&ids).filter(|(endpoint, _)| {
                endpoint.takes(EndpointSet::Local) == local
                    && endpoint.takes(EndpointSet::Cluster) == cluster
            });
            listed.extend(here.map(|(_, id)| *id));
            count(&listed)
        });
        let runs = EndpointRuns {
            local_len: both,
            cluster_start: local,
            cluster_len: cluster.saturating_sub(local),
            list: self.pages.make(&listed),
        };
        (runs, ids)
    }

    fn set_endpoint(
        &mut self,
        service: ServiceId,
        id: EndpointId,
        spec: &EndpointSpec,
        new: bool,
        effects: &mut Effects,
    ) {
        let Some(entry) = self.endpoints.get_mut(index(id)) else {
            return;
        };
        if new || entry.tag != spec.tag {
            effects.assigned.push(Assigned {
                endpoint: id,
                tag: spec.tag,
            });
        }
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let address = words(spec.address);
        self.marks.add(address);
        *entry = EndpointEntry {
            address,
            tag: spec.tag,
            service: service.0,
            port: spec.port,
            flags: IN_USE
                | flag(spec.local, LOCAL)
                | flag(spec.takes(EndpointSet::Cluster), IN_CLUSTER_SET)
                | flag(spec.takes(EndpointSet::Local), IN_LOCAL_SET),
        };
        if let Some(weight) = self.weights.get_mut(index(id)) {
            *weight = spec.weight;
        }
    }

    /// An id never used before, or else the one that has been free longest.
    fn begin(&mut self) -> EndpointId {
        self.usage.endpoints = self.usage.endpoints.saturating_add(1);
        if self.unused_endpoints < self.limits.endpoints {
            let id = self.unused_endpoints;
            self.unused_endpoints = id.saturating_add(1);
            return EndpointId(id);
        }
        EndpointId(self.free_endpoints.pop_front().unwrap_or(NONE))
    }

    fn end(&mut self, endpoint: EndpointId, protocol: Protocol, effects: &mut Effects) {
        if let Some(entry) = self.endpoints.get_mut(index(endpoint)) {
            *entry = EndpointEntry::FREE;
            self.free_endpoints.push_back(endpoint.0);
            self.usage.endpoints = self.usage.endpoints.saturating_sub(1);
            effects.ended.push(Ended { endpoint, protocol });
        }
    }

    fn add_frontend(&mut self, service: ServiceId, record: &mut ServiceRecord, spec: &Frontend) {
        let position = self.free_frontend;
        let address = words(spec.address);
        let Some(link) = self.links.get_mut(position as usize) else {
            return;
        };
        self.marks.add(address);
        self.free_frontend = link.next;
        *link = FrontendLink {
            address,
            port: spec.port,
            next: record.first_frontend,
        };
        let ranges = self.ranges.make(&spec.source_ranges);
        if let Some(entry) = self.frontends.get_mut(position as usize) {
            *entry = FrontendEntry {
                service: service.0,
                rules: rule_bits(&spec.rules),
                kind: spec.kind,
                scheduling: scheduling_bits(&record.schedule),
                ranges,
                affinity_seconds: record.affinity_seconds,
                runs: record.runs,
            };
        }
        let range_count = count(&spec.source_ranges);
        record.first_frontend = position;
        record.frontend_count = record.frontend_count.saturating_add(1);
        record.range_count = record.range_count.saturating_add(range_count);
        self.usage.frontends = self.usage.frontends.saturating_add(1);
        self.usage.source_ranges = self.usage.source_ranges.saturating_add(range_count);
        self.map_put(
            record.family,
            address,
            spec.port,
            record.protocol.number(),
            position,
        );
        self.count_address(spec.kind, record.family, address, true);
    }

    fn remove_frontends(&mut self, record: &ServiceRecord) {
        let protocol = record.protocol.number();
        let mut position = record.first_frontend;
        while let (Some(link), Some(entry)) = (
            self.links.get(position as usize).copied(),
            self.frontends.get(position as usize).copied(),
        ) {
            // Another ServicePort may have been put over it since.
            if self.find_in_map(record.family, link.address, link.port, protocol) == Some(position)
            {
                self.map_remove(record.family, link.address, link.port, protocol);
            }
            self.count_address(entry.kind, record.family, link.address, false);
            if entry.ranges != range_list::EMPTY {
                self.ranges.release(entry.ranges);
            }
            if let Some(place) = self.frontends.get_mut(position as usize) {
                *place = FrontendEntry::FREE;
            }
            if let Some(place) = self.links.get_mut(position as usize) {
                place.next = self.free_frontend;
            }
            self.free_frontend = position;
            position = link.next;
        }
        self.usage.frontends = self.usage.frontends.saturating_sub(record.frontend_count);
        self.usage.source_ranges = self.usage.source_ranges.saturating_sub(record.range_count);
    }

    /// Counts frontends at an address, so that it stays known as long as one is there. The node's own addresses
    /// are not a Service's.
    fn count_address(&mut self, kind: FrontendKind, family: Family, address: [u64; 2], more: bool) {
        let marker = match kind {
            FrontendKind::ClusterIp => ADDRESS,
            FrontendKind::ExternalIp | FrontendKind::LoadBalancer => OUTER_ADDRESS,
            FrontendKind::NodePort => return,
        };
        let before = self
            .find_in_map(family, address, 0, marker)
            .unwrap_or_default();
        let after = if more {
            before.saturating_add(1)
        } else {
            before.saturating_sub(1)
        };
        if after == 0 {
            self.map_remove(family, address, 0, marker);
        } else {
            self.map_put(family, address, 0, marker, after);
        }
        let changed = (before == 0) != (after == 0);
        if changed && marker == ADDRESS && !self.node.in_service_prefix(family, address) {
            let [ipv4, ipv6] = &mut self.cluster_ips_outside;
            let outside = match family {
                Family::Ipv4 => ipv4,
                Family::Ipv6 => ipv6,
            };
            if more {
                outside.add(address);
            } else {
                outside.remove();
            }
        }
    }

    fn map_put(&mut self, family: Family, address: [u64; 2], port: u16, protocol: u8, value: u32) {
        let hash = self.hash_words(family, address, port, protocol);
        match family {
            Family::Ipv4 => self
                .ipv4
                .put(hash, key_ipv4(address, port, protocol), value),
            Family::Ipv6 => self
                .ipv6
                .put(hash, key_ipv6(address, port, protocol), value),
        }
    }

    fn map_remove(&mut self, family: Family, address: [u64; 2], port: u16, protocol: u8) {
        let hash = self.hash_words(family, address, port, protocol);
        match family {
            Family::Ipv4 => self.ipv4.remove(hash, &key_ipv4(address, port, protocol)),
            Family::Ipv6 => self.ipv6.remove(hash, &key_ipv6(address, port, protocol)),
        }
    }

    fn set_node(&mut self, spec: &NodeSpec) {
        self.node.set(spec);
        let outside = |family, address: [u64; 2]| !self.node.in_service_prefix(family, address);
        let [mut ipv4, mut ipv6] = [ClusterIps::NONE; 2];
        let addresses = self.ipv4.addresses().map(|low| [0, u64::from(low)]);
        for address in addresses.filter(|address| outside(Family::Ipv4, *address)) {
            ipv4.add(address);
        }
        for address in self.ipv6.addresses() {
            if outside(Family::Ipv6, address) {
                ipv6.add(address);
            }
        }
        self.cluster_ips_outside = [ipv4, ipv6];
    }
}

fn rule_bits(rules: &[SourceRule; 3]) -> u8 {
    let bits = |rule: &SourceRule| (rule.set as u8) | (u8::from(rule.masquerade) << 1);
    let [pod, node, outside] = rules;
    bits(pod) | (bits(node) << 2) | (bits(outside) << 4)
}

fn scheduling_bits(schedule: &Schedule) -> u8 {
    let scheduled = schedule.scheduler != Scheduler::Random || schedule.slow_start_seconds != 0;
    let counted = schedule.scheduler.counts_connections();
    (u8::from(scheduled) * SCHEDULED) | (u8::from(counted) * COUNTED)
}

/// The family of all of a ServicePort's addresses.
fn family(spec: &ServiceSpec) -> Result<Family, ApplyError> {
    let frontends = spec.frontends.iter().map(|frontend| frontend.address);
    let endpoints = spec.endpoints.iter().map(|endpoint| endpoint.address);
    let mut families = frontends.chain(endpoints).map(Family::of);
    let first = families.next().unwrap_or(Family::Ipv4);
    if families.all(|family| family == first) {
        Ok(first)
    } else {
        Err(ApplyError::MixedFamilies)
    }
}

fn range_count(spec: &ServiceSpec) -> usize {
    spec.frontends
        .iter()
        .map(|frontend| frontend.source_ranges.len())
        .sum()
}

fn count<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

fn within(what: TableLimit, wanted: u64, allowed: u32) -> Result<(), LimitExceeded> {
    if wanted <= u64::from(allowed) {
        Ok(())
    } else {
        Err(LimitExceeded {
            what,
            wanted,
            allowed,
        })
    }
}

fn check_node(spec: &NodeSpec) -> Result<(), LimitExceeded> {
    let counts = [
        (
            TableLimit::NodeAddresses,
            spec.addresses.len(),
            MAX_NODE_ADDRESSES,
        ),
        (
            TableLimit::PodPrefixes,
            spec.pod_prefixes.len(),
            MAX_NODE_PREFIXES,
        ),
        (
            TableLimit::ServicePrefixes,
            spec.service_prefixes.len(),
            MAX_NODE_PREFIXES,
        ),
        (
            TableLimit::ForeignAddresses,
            spec.foreign_addresses.len(),
            MAX_FOREIGN_ADDRESSES,
        ),
    ];
    for (what, wanted, allowed) in counts {
        within(what, wanted as u64, allowed)?;
    }
    Ok(())
}
