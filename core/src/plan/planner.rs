//! Keeps a plan up to date: a changed Service costs what its own ports cost.

use super::claims::{Claim, Claims, Place};
use super::endpoints::{categorize, local_ready_count, visible};
use super::frontends::{WantedPort, reject, wanted_ports};
use super::log::ChangeLog;
use super::plan::Planned;
use super::policy::Policy;
use super::{Changes, HealthCheck, Plan, PortKey, PortPlan, validity};
use crate::model::{EndpointSlice, Kind, ObjectKey, Rejection, Service, TrafficPolicy};
use crate::net::{Family, Generation};
use crate::service::{EndpointSpec, Frontend, FrontendKind, NodeSpec, ServiceSpec};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

/// Numbers the Services that a store has objects of. A number stands for one Service until the planner has
/// been told that no object of it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServiceNumber(pub(crate) u32);

/// The objects of one Service.
#[derive(Debug)]
pub(crate) struct ServiceObjects<'store> {
    /// The Service, if it is known.
    pub(crate) service: Option<&'store Service>,
    /// Its slices.
    pub(crate) slices: Vec<&'store EndpointSlice>,
    /// What the slices were made of.
    pub(crate) slice_kind: Kind,
}

/// Where the planner reads objects.
pub(crate) trait Objects {
    /// Those of one Service.
    fn of_service(&self, number: ServiceNumber) -> ServiceObjects<'_>;
}

/// What was concluded for one Service.
#[derive(Debug, Default)]
struct Conclusions {
    created: Option<i64>,
    wanted: Vec<WantedPort>,
    cluster_ips: Vec<IpAddr>,
    /// ClusterIPs that another proxy serves.
    foreign_addresses: Vec<IpAddr>,
    /// Sorted, each once.
    endpoint_addresses: Vec<IpAddr>,
    /// Of the objects themselves, whatever other Services there are.
    own_rejections: Vec<Rejection>,
    /// All.
    rejections: Vec<Rejection>,
}

/// Addresses of endpoints to which nothing can be sent, and why. There is hardly ever one.
type Faults = BTreeMap<IpAddr, &'static str>;

/// The plan, and what is needed to change it in O(change).
#[derive(Debug, Default)]
pub(crate) struct Planner {
    policy: Policy,
    plan: Plan,
    log: ChangeLog,
    claims: Claims,
    /// How many Services have a ClusterIP.
    cluster_ips: BTreeMap<IpAddr, u32>,
    /// How many Services that another proxy serves have a ClusterIP.
    foreign_addresses: BTreeMap<IpAddr, u32>,
    /// Services by the addresses of their endpoints.
    by_endpoint: BTreeSet<(IpAddr, ServiceNumber)>,
    /// The host's tags of endpoints; none is 0.
    endpoint_tags: BTreeMap<IpAddr, u64>,
    /// By [`ServiceNumber`].
    conclusions: Vec<Conclusions>,
    /// To be named in the plan when all Services are concluded.
    new_ports: Vec<(Arc<PortKey>, ServiceNumber)>,
}

impl Planner {
    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) const fn generation(&self) -> Generation {
        self.log.generation()
    }

    pub(crate) fn changes(&self, since: Generation) -> Changes {
        self.log.since(since, &self.plan)
    }

    pub(crate) fn rejections(&self) -> impl Iterator<Item = &Rejection> {
        let all = self.conclusions.iter();
        all.flat_map(|conclusions| &conclusions.rejections)
    }

    /// Plans again what these Services' objects have become, all of it in one generation. Returns the
    /// Services that were looked at: these, and those that they touch.
    pub(crate) fn update(
        &mut self,
        objects: &impl Objects,
        policy: Option<Policy>,
        changed: &[ServiceNumber],
    ) -> Vec<ServiceNumber> {
        let before = self.log.generation();
        self.log.advance();
        let mut node_differs = policy.is_some();
        if let Some(policy) = policy {
            self.policy = policy;
        }
        let mut affected = changed.to_vec();
        for number in changed {
            node_differs |= self.gather(*number, &objects.of_service(*number), &mut affected);
        }
        if node_differs {
            self.conclude_node(before);
        }
        affected.extend(self.claims.settle());
        affected.sort_unstable();
        affected.dedup();
        for number in &affected {
            self.conclude(*number, &objects.of_service(*number));
        }
        let new_ports = core::mem::take(&mut self.new_ports);
        self.plan.name(new_ports);
        if !self.log.changed_now() {
            self.log.retreat(before);
        }
        affected
    }

    /// What is known of the node itself, and of the Services that are not served on it.
    fn conclude_node(&mut self, before: Generation) {
        let node = NodeSpec {
            foreign_addresses: self.foreign_addresses.keys().copied().collect(),
            ..self.policy.spec.clone()
        };
        if node != self.plan.node || before == Generation(0) {
            self.plan.node = node;
            self.log.node();
        }
    }

    /// First step: what this Service claims, and which others that touches. Is the node's part of the plan another
    /// now?
    fn gather(
        &mut self,
        number: ServiceNumber,
        objects: &ServiceObjects<'_>,
        affected: &mut Vec<ServiceNumber>,
    ) -> bool {
        let mut next = Conclusions::default();
        if let Some(service) = objects.service {
            next.created = service.created;
            if service.external_name.is_none() {
                next.cluster_ips.clone_from(&service.cluster_ips);
                next.cluster_ips.sort_unstable();
                next.cluster_ips.dedup();
            }
            next.foreign_addresses = self.policy.foreign_addresses(service);
            if self.policy.serves(service) {
                next.wanted = wanted_ports(&self.policy, service, &mut next.own_rejections);
            }
        }
        next.endpoint_addresses = endpoint_addresses(&objects.slices);
        let old = self.take(number);
        self.claim(number, &old, &next);
        self.index_cluster_ips(&old, &next, affected);
        self.index_endpoints(number, &old, &next);
        let foreign = self.index_foreign(&old, &next);
        self.remove_ports(number, &next.wanted);
        self.give(number, next);
        foreign
    }

    fn take(&mut self, number: ServiceNumber) -> Conclusions {
        let place = self.conclusions.get_mut(number.0 as usize);
        place.map(core::mem::take).unwrap_or_default()
    }

    fn give(&mut self, number: ServiceNumber, conclusions: Conclusions) {
        let position = number.0 as usize;
        if self.conclusions.len() <= position {
            let len = position.saturating_add(1);
            self.conclusions.resize_with(len, Conclusions::default);
        }
        if let Some(place) = self.conclusions.get_mut(position) {
            *place = conclusions;
        }
    }

    fn claim(&mut self, number: ServiceNumber, old: &Conclusions, next: &Conclusions) {
        if old.wanted == next.wanted && old.created == next.created {
            return;
        }
        for port in &old.wanted {
            for frontend in &port.frontends {
                self.claims.remove(place(port, frontend), &port.key);
            }
        }
        for port in &next.wanted {
            for frontend in &port.frontends {
                let claim = Claim::new(next.created, &port.key, number);
                self.claims.add(place(port, frontend), claim);
            }
        }
    }

    fn index_cluster_ips(
        &mut self,
        old: &Conclusions,
        next: &Conclusions,
        affected: &mut Vec<ServiceNumber>,
    ) {
        if old.cluster_ips == next.cluster_ips {
            return;
        }
        recount(&mut self.cluster_ips, &old.cluster_ips, &next.cluster_ips);
        for address in old.cluster_ips.iter().chain(&next.cluster_ips) {
            affected.extend(self.with_endpoint(*address));
        }
    }

    /// Are other addresses known now to be served by other proxies?
    fn index_foreign(&mut self, old: &Conclusions, next: &Conclusions) -> bool {
        let (old, next) = (&old.foreign_addresses, &next.foreign_addresses);
        if old != next {
            recount(&mut self.foreign_addresses, old, next);
        }
        old != next
    }

    /// The Services that have an endpoint at this address.
    fn with_endpoint(&self, address: IpAddr) -> impl Iterator<Item = ServiceNumber> + '_ {
        let all = (address, ServiceNumber(0))..=(address, ServiceNumber(u32::MAX));
        self.by_endpoint.range(all).map(|(_, service)| *service)
    }

    /// Notes the host's tags of endpoints; 0 is none. Returns the Services to be planned again.
    pub(crate) fn set_endpoint_tags(
        &mut self,
        tags: impl IntoIterator<Item = (IpAddr, u64)>,
    ) -> Vec<ServiceNumber> {
        let mut touched = Vec::new();
        for (address, tag) in tags {
            let before = if tag == 0 {
                self.endpoint_tags.remove(&address)
            } else {
                self.endpoint_tags.insert(address, tag)
            };
            if before.unwrap_or_default() != tag {
                touched.extend(self.with_endpoint(address));
            }
        }
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    fn index_endpoints(&mut self, number: ServiceNumber, old: &Conclusions, next: &Conclusions) {
        let (old, next) = (&old.endpoint_addresses, &next.endpoint_addresses);
        for address in old.iter().filter(|ip| next.binary_search(ip).is_err()) {
            self.by_endpoint.remove(&(*address, number));
        }
        for address in next.iter().filter(|ip| old.binary_search(ip).is_err()) {
            self.by_endpoint.insert((*address, number));
        }
    }

    /// Takes what is not wanted any more out of the plan.
    fn remove_ports(&mut self, number: ServiceNumber, wanted: &[WantedPort]) {
        let gone = |port: &mut Planned| wanted.iter().all(|wanted| wanted.key != port.key);
        let ports = self.plan.of_service_mut(number);
        let gone: Vec<Planned> = ports.extract_if(.., gone).collect();
        for port in gone {
            self.plan.forget(&port.key);
            self.log.remove(&port.key, port.stamp);
        }
    }

    /// Second step, when all claims are known: the plan of each port.
    fn conclude(&mut self, number: ServiceNumber, objects: &ServiceObjects<'_>) {
        let mut conclusions = self.take(number);
        conclusions
            .rejections
            .clone_from(&conclusions.own_rejections);
        let faults = self.endpoint_faults(&conclusions.endpoint_addresses);
        self.reject_slices(objects, &faults, &mut conclusions.rejections);
        if let Some(service) = objects.service {
            let sound = |address| !faults.contains_key(&address);
            let health_check = health_check(service).map(|port| HealthCheck {
                port,
                local_endpoints: local_ready_count(&self.policy, &objects.slices, sound),
            });
            for port in &conclusions.wanted {
                let rejections = &mut conclusions.rejections;
                let plan =
                    self.port_plan(service, port, objects, &faults, health_check, rejections);
                self.put(number, &port.key, plan);
            }
        }
        conclusions.rejections.sort_unstable();
        conclusions.rejections.dedup();
        self.give(number, conclusions);
    }

    fn put(&mut self, number: ServiceNumber, key: &Arc<PortKey>, plan: PortPlan) {
        let ports = self.plan.of_service_mut(number);
        if let Some(before) = ports.iter_mut().find(|port| port.key == *key) {
            if *before.plan != plan {
                before.plan = Arc::new(plan);
                before.stamp = self.log.put(key, number, Some(before.stamp));
            }
            return;
        }
        ports.push(Planned {
            key: Arc::clone(key),
            plan: Arc::new(plan),
            stamp: self.log.put(key, number, None),
        });
        self.new_ports.push((Arc::clone(key), number));
    }

    fn port_plan(
        &self,
        service: &Service,
        port: &WantedPort,
        objects: &ServiceObjects<'_>,
        faults: &Faults,
        health_check: Option<HealthCheck>,
        rejections: &mut Vec<Rejection>,
    ) -> PortPlan {
        let mut frontends = Vec::with_capacity(port.frontends.len());
        for frontend in &port.frontends {
            match self.claims.owner(&place(port, frontend)) {
                Some(owner) if *owner != port.key => {
                    rejections.push(contested(service, port, frontend, owner));
                }
                Some(_) | None => frontends.push(frontend.clone()),
            }
        }
        let sound = |address| !faults.contains_key(&address);
        let categories = categorize(
            &self.policy,
            &service.weights,
            &objects.slices,
            &port.key,
            sound,
        );
        let serving = categories.endpoints.iter().zip(&categories.serving);
        let endpoints = serving
            .filter(|(_, serving)| **serving)
            .map(|(endpoint, _)| EndpointSpec {
                address: endpoint.address.ip(),
                port: endpoint.address.port(),
                local: endpoint.local,
                in_cluster_set: endpoint.in_cluster_set,
                in_local_set: endpoint.in_local_set,
                weight: endpoint.weight,
                tag: self.tag(endpoint.address.ip()),
            })
            .collect();
        PortPlan {
            spec: Arc::new(ServiceSpec {
                protocol: port.key.protocol,
                frontends,
                endpoints,
                affinity_seconds: service.affinity_seconds,
                schedule: self.policy.schedule(service),
            }),
            endpoints: categories.endpoints,
            cluster_reason: categories.cluster_reason,
            local_reason: categories.local_reason,
            health_check,
        }
    }

    fn tag(&self, address: IpAddr) -> u64 {
        self.endpoint_tags
            .get(&address)
            .copied()
            .unwrap_or_default()
    }

    /// Those of these addresses to which nothing can be sent.
    fn endpoint_faults(&self, addresses: &[IpAddr]) -> Faults {
        let addresses = addresses.iter().copied();
        let faults = addresses.filter_map(|address| Some((address, self.endpoint_fault(address)?)));
        faults.collect()
    }

    /// Why nothing can be sent to this address.
    fn endpoint_fault(&self, address: IpAddr) -> Option<&'static str> {
        validity::fault(address, false).or_else(|| {
            // "The endpoint IP addresses cannot be the cluster IPs of other Kubernetes Services, because
            // kube-proxy doesn't support virtual IPs as a destination" (Kubernetes, "Service").
            self.cluster_ips
                .contains_key(&address)
                .then_some("must not be the ClusterIP of a Service")
        })
    }

    fn reject_slices(
        &self,
        objects: &ServiceObjects<'_>,
        faults: &Faults,
        rejections: &mut Vec<Rejection>,
    ) {
        let kind = objects.slice_kind;
        if objects.service.is_none() {
            for slice in &objects.slices {
                let (name, field) = slice_name(kind, slice);
                rejections.push(Rejection {
                    object: format!("{kind} {name}"),
                    field: field.into(),
                    rule: format!(
                        "there is no Service {}/{}",
                        slice.key.namespace, slice.service_name
                    ),
                });
            }
            return;
        }
        if objects
            .service
            .is_some_and(|service| !self.policy.serves(service))
        {
            return;
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            for slice in visible(&objects.slices, family) {
                for (index, endpoint) in slice.endpoints.iter().enumerate() {
                    let Some(rule) = faults.get(&endpoint.address) else {
                        continue;
                    };
                    let field = if kind == Kind::Endpoints {
                        "subsets".into()
                    } else {
                        format!("endpoints[{index}].addresses[0]")
                    };
                    rejections.push(Rejection {
                        object: format!("{kind} {}", slice_name(kind, slice).0),
                        field,
                        rule: format!("{}: {rule}", endpoint.address),
                    });
                }
            }
        }
    }

    /// Of these Services.
    pub(crate) fn rejections_of(&self, services: &[ServiceNumber]) -> Vec<Rejection> {
        let conclusions = services
            .iter()
            .filter_map(|number| self.conclusions.get(number.0 as usize));
        conclusions
            .flat_map(|conclusions| conclusions.rejections.iter().cloned())
            .collect()
    }
}

/// The name of the object that a slice was made of, and the field that names its Service.
fn slice_name(kind: Kind, slice: &EndpointSlice) -> (ObjectKey, &'static str) {
    match kind {
        Kind::Endpoints => {
            let key = ObjectKey::new(slice.key.namespace.as_str(), slice.service_name.as_str());
            (key, "metadata.name")
        }
        Kind::EndpointSlice | Kind::Service | Kind::Node | Kind::Namespace => (
            slice.key.clone(),
            "metadata.labels[kubernetes.io/service-name]",
        ),
    }
}

/// Counts the holders of addresses: one holds `next` now instead of `old`.
fn recount(counts: &mut BTreeMap<IpAddr, u32>, old: &[IpAddr], next: &[IpAddr]) {
    for address in next {
        let count = counts.entry(*address).or_default();
        *count = count.saturating_add(1);
    }
    for address in old {
        if let Some(count) = counts.get_mut(address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(address);
            }
        }
    }
}

fn place(port: &WantedPort, frontend: &Frontend) -> Place {
    (frontend.address, frontend.port, port.key.protocol)
}

fn endpoint_addresses(slices: &[&EndpointSlice]) -> Vec<IpAddr> {
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    let mut addresses: Vec<IpAddr> = endpoints.map(|endpoint| endpoint.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Load balancers ask only those Services that keep outside traffic on the node it reached.
fn health_check(service: &Service) -> Option<u16> {
    let asked = service.load_balancer && service.external_traffic_policy == TrafficPolicy::Local;
    service.health_check_node_port.filter(|_| asked)
}

fn contested(
    service: &Service,
    port: &WantedPort,
    frontend: &Frontend,
    owner: &PortKey,
) -> Rejection {
    let Frontend {
        address,
        port: number,
        ..
    } = frontend;
    let protocol = port.key.protocol;
    let owner = owner.service();
    let (field, what) = match frontend.kind {
        FrontendKind::ClusterIp => ("spec.clusterIPs".into(), format!("{address} port {number}")),
        FrontendKind::NodePort => (
            format!("spec.ports[{}].nodePort", port.index),
            format!("{number}"),
        ),
        FrontendKind::ExternalIp => (
            "spec.externalIPs".into(),
            format!("{address} port {number}"),
        ),
        FrontendKind::LoadBalancer => (
            "status.loadBalancer.ingress".into(),
            format!("{address} port {number}"),
        ),
    };
    let rule = format!("{what} {protocol} is served for Service {owner}, which is older");
    reject(service, field, rule)
}
