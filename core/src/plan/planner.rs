//! Keeps a plan up to date: a changed Service costs what its own ports cost.

use super::claims::{Claims, Place};
use super::endpoints::{categorize, local_ready_count, visible};
use super::frontends::{WantedPort, reject, wanted_ports};
use super::log::ChangeLog;
use super::policy::Policy;
use super::{Changes, HealthCheck, Plan, PortKey, PortPlan, validity};
use crate::model::{EndpointSlice, Kind, ObjectKey, Rejection, Service, TrafficPolicy};
use crate::net::{Family, Generation};
use crate::service::{EndpointSpec, Frontend, FrontendKind, ServiceSpec};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

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
    fn of_service(&self, key: &ObjectKey) -> ServiceObjects<'_>;
}

/// What was concluded for one Service.
#[derive(Debug, Default)]
struct Conclusions {
    created: Option<i64>,
    wanted: Vec<WantedPort>,
    cluster_ips: Vec<IpAddr>,
    /// Sorted, each once.
    endpoint_addresses: Vec<IpAddr>,
    /// Of the objects themselves, whatever other Services there are.
    own_rejections: Vec<Rejection>,
    /// All.
    rejections: Vec<Rejection>,
}

/// The plan, and what is needed to change it in O(change).
#[derive(Debug, Default)]
pub(crate) struct Planner {
    policy: Policy,
    plan: Plan,
    log: ChangeLog,
    claims: Claims,
    /// How many Services have a ClusterIP.
    cluster_ips: BTreeMap<IpAddr, u32>,
    /// Services by the addresses of their endpoints.
    by_endpoint: BTreeSet<(IpAddr, Arc<ObjectKey>)>,
    conclusions: BTreeMap<Arc<ObjectKey>, Conclusions>,
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
        let all = self.conclusions.values();
        all.flat_map(|conclusions| &conclusions.rejections)
    }

    /// Plans again what these Services' objects have become, all of it in one generation. Returns the
    /// Services that were looked at: these, and those that they touch.
    pub(crate) fn update(
        &mut self,
        objects: &impl Objects,
        policy: Option<Policy>,
        changed: BTreeSet<Arc<ObjectKey>>,
    ) -> BTreeSet<Arc<ObjectKey>> {
        let before = self.log.generation();
        self.log.advance();
        if let Some(policy) = policy {
            if policy.spec != self.plan.node || before == Generation(0) {
                self.plan.node = policy.spec.clone();
                self.log.node();
            }
            self.policy = policy;
        }
        let mut affected = BTreeSet::new();
        for key in &changed {
            self.gather(key, &objects.of_service(key), &mut affected);
        }
        for port in self.claims.settle() {
            affected.insert(Arc::new(port.service()));
        }
        affected.extend(changed);
        for key in &affected {
            self.conclude(key, &objects.of_service(key));
        }
        if !self.log.changed_now() {
            self.log.retreat(before);
        }
        affected
    }

    /// First step: what this Service claims, and which others that touches.
    fn gather(
        &mut self,
        key: &Arc<ObjectKey>,
        objects: &ServiceObjects<'_>,
        affected: &mut BTreeSet<Arc<ObjectKey>>,
    ) {
        let mut next = Conclusions::default();
        if let Some(service) = objects.service {
            next.created = service.created;
            if !service.external_name {
                next.cluster_ips.clone_from(&service.cluster_ips);
                next.cluster_ips.sort_unstable();
                next.cluster_ips.dedup();
            }
            if self.policy.serves(service) {
                next.wanted = wanted_ports(&self.policy, service, &mut next.own_rejections);
            }
        }
        next.endpoint_addresses = endpoint_addresses(&objects.slices);
        let old = self.conclusions.remove(key).unwrap_or_default();
        self.claim(&old, &next);
        self.index_cluster_ips(&old, &next, affected);
        self.index_endpoints(key, &old, &next);
        // What is planned now stays known until the second step compares.
        let gone = old
            .wanted
            .into_iter()
            .filter(|port| !next.wanted.iter().any(|other| other.key == port.key));
        let gone: Vec<Arc<PortKey>> = gone.map(|port| port.key).collect();
        self.remove_ports(&gone);
        if objects.service.is_some() || !objects.slices.is_empty() {
            self.conclusions.insert(Arc::clone(key), next);
        }
    }

    fn claim(&mut self, old: &Conclusions, next: &Conclusions) {
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
                self.claims
                    .add(place(port, frontend), next.created, &port.key);
            }
        }
    }

    fn index_cluster_ips(
        &mut self,
        old: &Conclusions,
        next: &Conclusions,
        affected: &mut BTreeSet<Arc<ObjectKey>>,
    ) {
        if old.cluster_ips == next.cluster_ips {
            return;
        }
        for address in &next.cluster_ips {
            let count = self.cluster_ips.entry(*address).or_default();
            *count = count.saturating_add(1);
        }
        for address in &old.cluster_ips {
            if let Some(count) = self.cluster_ips.get_mut(address) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.cluster_ips.remove(address);
                }
            }
        }
        for address in old.cluster_ips.iter().chain(&next.cluster_ips) {
            let least = (*address, Arc::new(ObjectKey::default()));
            let same = self.by_endpoint.range(least..);
            let same = same.take_while(|(endpoint, _)| endpoint == address);
            affected.extend(same.map(|(_, service)| Arc::clone(service)));
        }
    }

    fn index_endpoints(&mut self, key: &Arc<ObjectKey>, old: &Conclusions, next: &Conclusions) {
        let (old, next) = (&old.endpoint_addresses, &next.endpoint_addresses);
        for address in old.iter().filter(|ip| next.binary_search(ip).is_err()) {
            self.by_endpoint.remove(&(*address, Arc::clone(key)));
        }
        for address in next.iter().filter(|ip| old.binary_search(ip).is_err()) {
            self.by_endpoint.insert((*address, Arc::clone(key)));
        }
    }

    fn remove_ports(&mut self, gone: &[Arc<PortKey>]) {
        for key in gone {
            if self.plan.ports.remove(key).is_some() {
                self.log.remove(key);
            }
        }
    }

    /// Second step, when all claims are known: the plan of each port.
    fn conclude(&mut self, key: &Arc<ObjectKey>, objects: &ServiceObjects<'_>) {
        let Some(mut conclusions) = self.conclusions.remove(key) else {
            return;
        };
        conclusions
            .rejections
            .clone_from(&conclusions.own_rejections);
        self.reject_slices(objects, &mut conclusions.rejections);
        if let Some(service) = objects.service {
            let sound = |address| self.endpoint_fault(address).is_none();
            let health_check = health_check(service).map(|port| HealthCheck {
                port,
                local_endpoints: local_ready_count(&self.policy, &objects.slices, sound),
            });
            for port in &conclusions.wanted {
                let plan = self.port_plan(
                    service,
                    port,
                    objects,
                    health_check,
                    &mut conclusions.rejections,
                );
                self.put(port, plan);
            }
        }
        conclusions.rejections.sort_unstable();
        conclusions.rejections.dedup();
        self.conclusions.insert(Arc::clone(key), conclusions);
    }

    fn put(&mut self, port: &WantedPort, plan: PortPlan) {
        let before = self.plan.ports.get_key_value(&port.key);
        let key = match before {
            Some((_, before)) if **before == plan => return,
            Some((key, _)) => Arc::clone(key),
            None => Arc::clone(&port.key),
        };
        self.log.put(&key);
        self.plan.ports.insert(key, Arc::new(plan));
    }

    fn port_plan(
        &self,
        service: &Service,
        port: &WantedPort,
        objects: &ServiceObjects<'_>,
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
        let sound = |address| self.endpoint_fault(address).is_none();
        let categories = categorize(&self.policy, &objects.slices, &port.key, sound);
        let serving = categories.endpoints.iter().zip(&categories.serving);
        let endpoints = serving
            .filter(|(_, serving)| **serving)
            .map(|(endpoint, _)| EndpointSpec {
                address: endpoint.address.ip(),
                port: endpoint.address.port(),
                local: endpoint.local,
                in_cluster_set: endpoint.in_cluster_set,
                in_local_set: endpoint.in_local_set,
                tag: 0,
            })
            .collect();
        PortPlan {
            spec: Arc::new(ServiceSpec {
                protocol: port.key.protocol,
                frontends,
                endpoints,
                affinity_seconds: service.affinity_seconds,
            }),
            endpoints: categories.endpoints,
            cluster_reason: categories.cluster_reason,
            local_reason: categories.local_reason,
            health_check,
        }
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

    fn reject_slices(&self, objects: &ServiceObjects<'_>, rejections: &mut Vec<Rejection>) {
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
                    let Some(rule) = self.endpoint_fault(endpoint.address) else {
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
    pub(crate) fn rejections_of(&self, services: &BTreeSet<Arc<ObjectKey>>) -> Vec<Rejection> {
        let conclusions = services.iter().filter_map(|key| self.conclusions.get(key));
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
        Kind::EndpointSlice | Kind::Service | Kind::Node => (
            slice.key.clone(),
            "metadata.labels[kubernetes.io/service-name]",
        ),
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
