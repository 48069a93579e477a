//! Every object, as an API server without clients would keep them.

use super::allocate::{self, Allocators, ClusterIps, LoadBalancerIps, NodePorts, ServiceRange};
use super::endpoints::{EndpointController, SliceChange};
use super::field::{Errors, FieldError};
use super::service::{defaults, families, spec, update, validate};
use super::{Settings, kinds, syntax};
use crate::k8s::{Resource, ResourceKind, ResourceRef};
use crate::model::{ObjectKey, Rejection};
use crate::net::{Family, Prefix};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use k8s_openapi::api::{core::v1 as core_v1, discovery::v1 as discovery};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// What came of an object that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was none of this name.
    Created,
    /// It is different now.
    Configured,
    /// It is as it was.
    Unchanged,
}

impl Outcome {
    /// The word that `kubectl apply` prints.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What has become of one object, be it stored or made by the endpoint controller.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which object.
    pub reference: ResourceRef,
    /// It, as it is now; `None` if it is gone.
    pub object: Option<Resource>,
}

/// Objects that have been validated and completed, and everything that follows from them.
///
/// ```
/// use portolan::api::{Registry, ServiceRange, Settings};
/// use portolan::k8s::{Resource, decode_resources};
///
/// let mut registry = Registry::new(Settings {
///     service_ranges: "10.96.0.0/16".parse().ok().and_then(ServiceRange::new).into_iter().collect(),
///     ..Settings::default()
/// });
/// let manifest = b"{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}";
/// for resource in decode_resources(manifest, "web.yaml").resources {
///     registry.apply(resource, Default::default()).expect("a sound Service");
/// }
/// let Some(Resource::Service(web)) = registry.objects().next() else { panic!("it is stored") };
/// let address = web.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
/// assert!(address.is_some_and(|address| address.starts_with("10.96.")));
/// ```
#[derive(Debug)]
pub struct Registry {
    settings: Settings,
    objects: BTreeMap<ResourceRef, Resource>,
    allocators: Allocators,
    endpoints: EndpointController,
    /// The node that this runs on, for whoever has no Node object of it.
    own_node: Option<(String, Box<core_v1::Node>)>,
    /// Services that wait for a load balancer address, and why.
    waiting: BTreeMap<ObjectKey, String>,
    changed: BTreeSet<ResourceRef>,
}

impl Registry {
    /// No objects yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let seed = settings.seed;
        Self {
            objects: BTreeMap::new(),
            allocators: Allocators {
                cluster_ips: ClusterIps::new(settings.service_ranges.clone(), seed),
                node_ports: NodePorts::new(settings.node_ports, seed),
                load_balancer_ips: LoadBalancerIps::new(settings.pools.clone()),
            },
            endpoints: EndpointController::new(settings.endpoints_per_slice),
            own_node: None,
            waiting: BTreeMap::new(),
            changed: BTreeSet::new(),
            settings,
        }
    }

    /// Says which node this is, for Pods that stand on it: a host without a cluster need not describe itself twice.
    /// A Node object of the same name counts instead.
    pub fn set_own_node(&mut self, node: core_v1::Node) {
        let name = node.metadata.name.clone().unwrap_or_default();
        self.own_node = Some((name.clone(), Box::new(node)));
        self.refresh_node(&name);
    }

    /// Other ranges and pools from now on. What is allocated stays, but for load balancer addresses that no pool
    /// holds any more.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.allocators.node_ports.set_range(settings.node_ports);
        self.allocators
            .load_balancer_ips
            .set_pools(settings.pools.clone());
        self.settings = settings;
        self.refresh_ranges();
        let services = self
            .objects
            .keys()
            .filter(|it| it.kind == ResourceKind::Service);
        for key in services.map(|it| it.key.clone()).collect::<Vec<_>>() {
            self.rebalance(&key);
        }
    }

    /// Every object that was accepted, by kind and name. Slices that were made are not among them.
    pub fn objects(&self) -> impl Iterator<Item = &Resource> {
        self.objects.values()
    }

    /// One object.
    #[must_use]
    pub fn object(&self, reference: &ResourceRef) -> Option<&Resource> {
        self.objects.get(reference)
    }

    /// The slices that were made, as they are now.
    pub fn slices(&self) -> impl Iterator<Item = discovery::EndpointSlice> + '_ {
        self.endpoints.slices()
    }

    /// The Endpoints of a Service that has its endpoints made; its own object, if somebody gave one, stands among
    /// the objects.
    #[must_use]
    pub fn endpoints(&self, service: &ObjectKey) -> Option<core_v1::Endpoints> {
        self.endpoints.endpoints(service)
    }

    /// Services that wait for a load balancer address, and why.
    #[must_use]
    pub const fn waiting(&self) -> &BTreeMap<ObjectKey, String> {
        &self.waiting
    }

    /// Who has what.
    #[must_use]
    pub const fn allocators(&self) -> &Allocators {
        &self.allocators
    }

    /// Takes objects back that were accepted before, as after a restart: nothing is judged, everything is kept.
    ///
    /// An address or a port that two of them have stays with the one that comes first by name; the other one loses it,
    /// and is given another by its next [`Self::apply`]. What a registry accepted does not come to that; it is told.
    pub fn restore(&mut self, resources: impl IntoIterator<Item = Resource>) -> Vec<Rejection> {
        let mut contested = Vec::new();
        let mut stored: BTreeMap<_, _> = resources
            .into_iter()
            .map(|it| (it.reference(), it))
            .collect();
        for (reference, resource) in &mut stored {
            if let Resource::Service(service) = resource {
                defaults::fill_stored(service, self.allocators.families().first().copied());
                for rule in self.allocators.hold(&reference.key, service) {
                    contested.push(Rejection {
                        object: format!("{reference}"),
                        field: "spec".into(),
                        rule,
                    });
                }
                self.allocators.hold_balanced(&reference.key, service);
            }
        }
        for (reference, resource) in stored {
            self.store(reference, resource);
        }
        contested
    }

    /// Creates or replaces an object; `now` is when it was created, if it was not before.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the API server's words. Nothing has changed then.
    pub fn apply(&mut self, new: Resource, now: Timestamp) -> Result<Outcome, Vec<Rejection>> {
        let reference = new.reference();
        let old = self.objects.get(&reference).cloned();
        let mut new = if let Resource::Service(service) = new {
            let admitted = self.admit(&reference.key, *service);
            Resource::Service(Box::new(admitted.map_err(|errors| {
                let name = format!("{reference}");
                let told = errors.iter().map(|error| error.of(&name));
                told.collect::<Vec<_>>()
            })?))
        } else {
            let wrong = kinds::validate(&new, old.as_ref());
            if !wrong.is_empty() {
                return Err(wrong);
            }
            self.check_slice_name(&reference)?;
            new
        };
        let created = old
            .as_ref()
            .and_then(|old| old.metadata().creation_timestamp.clone());
        let metadata = new.metadata_mut();
        metadata.creation_timestamp = created
            .or(metadata.creation_timestamp.take())
            .or(Some(Time(now)));
        if old.as_ref() == Some(&new) {
            return Ok(Outcome::Unchanged);
        }
        let outcome = if old.is_some() {
            Outcome::Configured
        } else {
            Outcome::Created
        };
        self.store(reference, new);
        Ok(outcome)
    }

    /// Deletes an object; false if there is none.
    ///
    /// # Errors
    ///
    /// A ServiceCIDR that addresses of Services lie in stays, as it would in a cluster.
    pub fn delete(&mut self, reference: &ResourceRef) -> Result<bool, Vec<Rejection>> {
        let Some(resource) = self.objects.get(reference) else {
            return Ok(false);
        };
        if let Resource::ServiceCidr(_) = resource
            && let Some((address, owner)) = self.stranded(&self.ranges(Some(&reference.key)))
        {
            return Err(alloc::vec![Rejection {
                object: format!("{reference}"),
                field: "spec.cidrs".into(),
                rule: format!("Forbidden: in use: Service {owner} has {address}"),
            }]);
        }
        if let Resource::Service(service) = resource {
            let service = service.clone();
            self.allocators
                .release_difference(&reference.key, &service, None);
        }
        self.objects.remove(reference);
        self.changed.insert(reference.clone());
        self.follow(reference);
        Ok(true)
    }

    /// What has changed since this was last called: stored objects, then slices that follow from them.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let changed = core::mem::take(&mut self.changed);
        let stored = changed.into_iter().map(|reference| Change {
            object: self.objects.get(&reference).cloned(),
            reference,
        });
        let mut changes: Vec<Change> = stored.collect();
        changes.extend(
            self.endpoints
                .reconcile()
                .into_iter()
                .map(|change| match change {
                    SliceChange::Apply(slice) => {
                        let slice = Resource::EndpointSlice(Box::new(slice));
                        Change {
                            reference: slice.reference(),
                            object: Some(slice),
                        }
                    }
                    SliceChange::Delete(key) => Change {
                        reference: ResourceRef {
                            kind: ResourceKind::EndpointSlice,
                            key,
                        },
                        object: None,
                    },
                }),
        );
        changes
    }

    /// Completes a Service and gives it what it needs. On success it must be stored: what it was given is taken.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; nothing is taken then.
    pub fn admit(
        &mut self,
        key: &ObjectKey,
        mut new: core_v1::Service,
    ) -> Result<core_v1::Service, Vec<FieldError>> {
        let reference = ResourceRef {
            kind: ResourceKind::Service,
            key: key.clone(),
        };
        let old = match self.objects.get(&reference) {
            Some(Resource::Service(old)) => Some(&**old),
            _ => None,
        };
        let mut errors = Errors::default();
        defaults::normalize(&mut new);
        defaults::fill(&mut new);
        if !self.settings.pools.is_empty() {
            // The status is ours to write.
            new.status = old.and_then(|old| old.status.clone());
        }
        match old {
            Some(old) => update::prepare(&mut new, old),
            None => defaults::list_cluster_ip(&mut new),
        }
        families::fill(&mut new, old, &self.allocators.families(), &mut errors);
        validate::validate(&new, &mut errors);
        allocate::validate_annotations(&new, &mut errors);
        if let Some(old) = old {
            update::validate(&new, old, &mut errors);
        }
        self.allocators.allocate(key, &mut new, old, &mut errors);
        if errors.0.is_empty() {
            Ok(new)
        } else {
            Err(distinct(errors.0))
        }
    }

    /// Stores an object that has been admitted, and what follows from it.
    fn store(&mut self, reference: ResourceRef, resource: Resource) {
        let old = self.objects.insert(reference.clone(), resource);
        if let (Some(Resource::Service(old)), Some(Resource::Service(new))) =
            (&old, self.objects.get(&reference))
        {
            self.allocators
                .release_difference(&reference.key, old, Some(new));
        }
        self.changed.insert(reference.clone());
        if reference.kind == ResourceKind::Service {
            self.balance(&reference.key);
        }
        self.follow(&reference);
    }

    /// Tells whoever depends on an object that it has changed, or is gone.
    fn follow(&mut self, reference: &ResourceRef) {
        let ResourceRef { kind, key } = reference;
        let exists = self.objects.contains_key(reference);
        match (kind, self.objects.get(reference)) {
            (ResourceKind::Pod, Some(Resource::Pod(pod))) => self.endpoints.set_pod(key, Some(pod)),
            (ResourceKind::Pod, _) => self.endpoints.set_pod(key, None),
            (ResourceKind::Node, _) => self.refresh_node(&key.name),
            (ResourceKind::Service, Some(Resource::Service(service))) => {
                self.endpoints.set_service(key, Some(service));
            }
            (ResourceKind::Service, _) => {
                self.endpoints.set_service(key, None);
                self.waiting.remove(key);
            }
            (ResourceKind::EndpointSlice, _) => self.endpoints.set_foreign(key, exists),
            (ResourceKind::ServiceCidr, _) => self.refresh_ranges(),
            (ResourceKind::Endpoints | ResourceKind::Namespace, _) => {}
        }
        if *kind == ResourceKind::Service {
            self.serve_waiting();
        }
    }

    fn refresh_node(&mut self, name: &str) {
        let reference = ResourceRef::new(ResourceKind::Node, "", name);
        let stored = match self.objects.get(&reference) {
            Some(Resource::Node(node)) => Some(&**node),
            _ => None,
        };
        let own = self.own_node.as_ref().filter(|(own, _)| own == name);
        let node = stored.or(own.map(|(_, node)| &**node));
        self.endpoints.set_node(name, node);
    }

    fn refresh_ranges(&mut self) {
        let ranges = self.ranges(None);
        self.allocators.cluster_ips.set_ranges(ranges);
    }

    /// The configured ranges and those of ServiceCIDR objects but one.
    fn ranges(&self, without: Option<&ObjectKey>) -> Vec<ServiceRange> {
        let mut ranges = self.settings.service_ranges.clone();
        for (reference, resource) in &self.objects {
            if let Resource::ServiceCidr(it) = resource
                && Some(&reference.key) != without
            {
                let cidrs = it.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
                let prefixes = cidrs.filter_map(|text| syntax::cidr(text));
                for range in prefixes.filter_map(ServiceRange::new) {
                    if !ranges.contains(&range) {
                        ranges.push(range);
                    }
                }
            }
        }
        ranges
    }

    /// An address that lies in a range now and would lie in none of these.
    fn stranded(&self, left: &[ServiceRange]) -> Option<(core::net::IpAddr, ObjectKey)> {
        let within = |ranges: &[ServiceRange], ip| {
            ranges
                .iter()
                .any(|range| Prefix::contains(range.prefix(), ip))
        };
        self.objects.iter().find_map(|(reference, resource)| {
            let Resource::Service(service) = resource else {
                return None;
            };
            let ips = spec(service).cluster_ips.iter().flatten();
            let ips = ips.filter_map(|text| text.parse().ok());
            let mut lost = ips.filter(|ip| {
                within(self.allocators.cluster_ips.ranges(), *ip) && !within(left, *ip)
            });
            lost.next().map(|ip| (ip, reference.key.clone()))
        })
    }

    /// A slice of a name that the endpoint controller uses would be overwritten.
    fn check_slice_name(&self, reference: &ResourceRef) -> Result<(), Vec<Rejection>> {
        let made =
            reference.kind == ResourceKind::EndpointSlice && self.endpoints.made(&reference.key);
        if !made {
            return Ok(());
        }
        Err(alloc::vec![Rejection {
            object: format!("{reference}"),
            field: "metadata.name".into(),
            rule: "Invalid value: a slice of this name has been made for a Service's selector"
                .into(),
        }])
    }

    /// Gives a Service that is stored its load balancer addresses.
    fn balance(&mut self, key: &ObjectKey) {
        let reference = ResourceRef {
            kind: ResourceKind::Service,
            key: key.clone(),
        };
        let Some(Resource::Service(service)) = self.objects.get_mut(&reference) else {
            return;
        };
        match self.allocators.balance(key, service) {
            Ok(()) => self.waiting.remove(key),
            Err(error) => self.waiting.insert(key.clone(), format!("{error}")),
        };
    }

    /// As [`Self::balance`], and notes a change if there is one.
    fn rebalance(&mut self, key: &ObjectKey) {
        let reference = ResourceRef {
            kind: ResourceKind::Service,
            key: key.clone(),
        };
        let before = self.objects.get(&reference).cloned();
        self.balance(key);
        if self.objects.get(&reference) != before.as_ref() {
            self.changed.insert(reference);
        }
    }

    /// Something may have become free.
    fn serve_waiting(&mut self) {
        for key in self.waiting.keys().cloned().collect::<Vec<_>>() {
            self.rebalance(&key);
        }
    }

    /// The family that a Service gets if it says nothing.
    #[must_use]
    pub fn default_family(&self) -> Option<Family> {
        self.allocators.families().first().copied()
    }
}

/// Without repeats, in order: two rules may say the same of a field.
fn distinct(errors: Vec<FieldError>) -> Vec<FieldError> {
    let mut seen = BTreeSet::new();
    errors
        .into_iter()
        .filter(|error| seen.insert(error.clone()))
        .collect()
}
