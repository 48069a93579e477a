//! What Services are given: ClusterIPs, node ports, load balancer addresses.
//!
//! A Service gets everything or nothing: whatever fails gives back what was taken before it. Who has what is known
//! from the stored Services alone, so that after a restart nothing is given away twice.

mod cluster_ips;
mod node_ports;
mod pools;
mod range;

pub use cluster_ips::{AddressError, ClusterIps, ServiceRange};
pub use node_ports::{NodePortRange, NodePorts, PortError};
pub use pools::{Claim, LoadBalancerIps, Pool, PoolError};

use super::field::Errors;
use super::service::{HEADLESS, LOAD_BALANCER, SpecExt, family_of_name, spec};
use crate::model::ObjectKey;
use crate::net::Family;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use k8s_openapi::api::core::v1::{
    LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec,
};

/// Asks for certain load balancer addresses, one of each family at most, separated by commas.
pub const LOAD_BALANCER_IPS: &str = "portolan/load-balancer-ips";

/// Services with the same value here may have one load balancer address together, each its own ports of it.
pub const ALLOW_SHARED_IP: &str = "portolan/allow-shared-ip";

/// All three allocators.
#[derive(Debug, Clone)]
pub struct Allocators {
    /// ClusterIPs.
    pub cluster_ips: ClusterIps,
    /// Node ports.
    pub node_ports: NodePorts,
    /// Load balancer addresses.
    pub load_balancer_ips: LoadBalancerIps,
}

/// What has been taken and can be given back.
#[derive(Debug, Default)]
struct Taken {
    ips: Vec<IpAddr>,
    ports: Vec<u16>,
}

impl Allocators {
    /// Families that ClusterIPs can be had of, the default first.
    pub(super) fn families(&self) -> Vec<Family> {
        let mut families = Vec::new();
        for range in self.cluster_ips.ranges() {
            let family = Family::of(range.prefix().address());
            if !families.contains(&family) {
                families.push(family);
            }
        }
        families
    }

    /// Gives a Service what it lacks beside what `old` had. On errors nothing has been taken. What `old` had and the
    /// new one has not is still taken afterwards: [`Self::release_difference`] gives it back, once the new one is
    /// stored.
    pub(super) fn allocate(
        &mut self,
        key: &ObjectKey,
        new: &mut Service,
        old: Option<&Service>,
        errors: &mut Errors,
    ) {
        let found = errors.0.len();
        let mut taken = Taken::default();
        let before = old.map(held).unwrap_or_default();
        let addresses_are_sound = !["spec.clusterIPs", "spec.ipFamilies", "spec.ipFamilyPolicy"]
            .iter()
            .any(|field| errors.touch(field));
        let spec = new.spec.get_or_insert_default();
        if addresses_are_sound {
            self.take_ips(key, spec, &before, &mut taken, errors);
        }
        if spec.needs_node_port() {
            self.take_ports(key, spec, &before, &mut taken, errors);
        }
        self.take_health_port(key, spec, &before, &mut taken, errors);
        // Errors of before count too: a Service that is refused takes nothing.
        if errors.0.len() > found || found > 0 {
            for ip in taken.ips {
                self.cluster_ips.release(ip);
            }
            for port in taken.ports {
                self.node_ports.release(port);
            }
        }
    }

    fn take_ips(
        &mut self,
        key: &ObjectKey,
        spec: &mut ServiceSpec,
        before: &Held,
        taken: &mut Taken,
        errors: &mut Errors,
    ) {
        if !spec.needs_cluster_ip() || spec.is_headless() {
            return;
        }
        let mut ips = spec.ips().to_vec();
        for (index, family) in spec.families().iter().enumerate() {
            let Some(family) = family_of_name(family) else {
                continue;
            };
            match ips.get(index) {
                Some(text) => {
                    let Ok(ip) = text.parse() else { continue };
                    if before.ips.contains(&ip) {
                        continue;
                    }
                    match self.cluster_ips.allocate(ip, key) {
                        Ok(()) => taken.ips.push(ip),
                        Err(error) => {
                            let rule = format!("failed to allocate IP {text}: {error}");
                            errors.invalid("spec.clusterIPs", spec.ips(), rule);
                        }
                    }
                }
                None => match self.cluster_ips.allocate_next(family, key) {
                    Ok(ip) => {
                        taken.ips.push(ip);
                        ips.push(ip.to_string());
                    }
                    Err(error) => {
                        let rule = format!("failed to allocate a serviceIP: {error}");
                        errors.internal("spec.clusterIPs", rule);
                    }
                },
            }
        }
        spec.cluster_ip = ips.first().cloned();
        spec.cluster_ips = Some(ips).filter(|ips| !ips.is_empty());
    }

    fn take_ports(
        &mut self,
        key: &ObjectKey,
        spec: &mut ServiceSpec,
        before: &Held,
        taken: &mut Taken,
        errors: &mut Errors,
    ) {
        let wanted =
            spec.kind() != LOAD_BALANCER || spec.allocate_load_balancer_node_ports.unwrap_or(true);
        let ports = spec.ports.as_deref_mut().unwrap_or_default();
        for (index, port) in ports.iter().enumerate() {
            let Some(number) = port.node_port else {
                continue;
            };
            let own = u16::try_from(number)
                .is_ok_and(|it| before.ports.contains(&it) || taken.ports.contains(&it));
            // Two ports of one Service may have one number; a duplicate of both number and protocol is told of
            // by the rules.
            if own {
                continue;
            }
            match self.take_port(key, number) {
                Ok(number) => taken.ports.push(number),
                Err(error) => {
                    errors.invalid(format!("spec.ports[{index}].nodePort"), &number, error);
                }
            }
        }
        if !wanted {
            return;
        }
        for index in 0..ports.len() {
            if ports.get(index).is_none_or(|port| port.node_port.is_some()) {
                continue;
            }
            let number = match sibling(ports, index) {
                Some(number) => number,
                None => match self.node_ports.allocate_next(key) {
                    Ok(number) => {
                        taken.ports.push(number);
                        number.into()
                    }
                    Err(error) => {
                        let field = format!("spec.ports[{index}].nodePort");
                        errors.internal(field, format!("failed to allocate a nodePort: {error}"));
                        continue;
                    }
                },
            };
            if let Some(port) = ports.get_mut(index) {
                port.node_port = Some(number);
            }
        }
    }

    fn take_port(&mut self, key: &ObjectKey, number: i32) -> Result<u16, PortError> {
        let port = u16::try_from(number);
        let port = port.map_err(|_| PortError::NotInRange(self.node_ports.range()))?;
        self.node_ports.allocate(port, key)?;
        Ok(port)
    }

    fn take_health_port(
        &mut self,
        key: &ObjectKey,
        spec: &mut ServiceSpec,
        before: &Held,
        taken: &mut Taken,
        errors: &mut Errors,
    ) {
        const FIELD: &str = "spec.healthCheckNodePort";
        if !spec.needs_health_check() || errors.touch(FIELD) {
            return;
        }
        match spec.health_check_node_port {
            Some(number) if u16::try_from(number).ok() == before.health_port => {}
            Some(number) => match self.take_port(key, number) {
                Ok(port) => taken.ports.push(port),
                Err(error) => {
                    let rule = format!(
                        "failed to allocate requested HealthCheck NodePort {number}: {error}"
                    );
                    errors.invalid(FIELD, &number, rule);
                }
            },
            None => match self.node_ports.allocate_next(key) {
                Ok(port) => {
                    taken.ports.push(port);
                    spec.health_check_node_port = Some(port.into());
                }
                Err(error) => {
                    let rule = format!("failed to allocate a HealthCheck NodePort: {error}");
                    errors.internal(FIELD, rule);
                }
            },
        }
    }

    /// Notes what a stored Service has. What another one has already is taken from it and told: it must be given
    /// something else.
    pub(super) fn hold(&mut self, key: &ObjectKey, service: &mut Service) -> Vec<String> {
        let mut contested = Vec::new();
        let taken = held(service);
        let spec = service.spec.get_or_insert_default();
        for ip in taken.ips {
            if let Err(error) = self.cluster_ips.hold(ip, key) {
                contested.push(format!("{ip}: {error}"));
                let text = ip.to_string();
                // The second of two is given again in its place; without the first there is no list.
                let ips = spec.cluster_ips.get_or_insert_default();
                let kept = ips.iter().position(|it| *it == text).unwrap_or(0);
                ips.truncate(kept);
                spec.cluster_ip = ips.first().cloned();
            }
        }
        for port in taken.ports {
            if let Err(error) = self.node_ports.hold(port, key) {
                contested.push(format!("{port}: {error}"));
                let mut ports = spec.ports.iter_mut().flatten();
                ports
                    .by_ref()
                    .filter(|it| it.node_port == Some(port.into()))
                    .for_each(|it| it.node_port = None);
            }
        }
        if let Some(port) = taken.health_port
            && let Err(error) = self.node_ports.hold(port, key)
        {
            contested.push(format!("{port}: {error}"));
            spec.health_check_node_port = None;
        }
        contested
    }

    /// Gives back what `old` had and `new` has not; without `new`, everything.
    pub(super) fn release_difference(
        &mut self,
        key: &ObjectKey,
        old: &Service,
        new: Option<&Service>,
    ) {
        let (old_held, kept) = (held(old), new.map(held).unwrap_or_default());
        for ip in old_held.ips.difference(&kept.ips) {
            if self.cluster_ips.owner(*ip) == Some(key) {
                self.cluster_ips.release(*ip);
            }
        }
        let (old_ports, kept_ports) = (old_held.all_ports(), kept.all_ports());
        for port in old_ports.difference(&kept_ports) {
            if self.node_ports.owner(*port) == Some(key) {
                self.node_ports.release(*port);
            }
        }
        if new.is_none_or(|new| spec(new).kind() != LOAD_BALANCER) {
            self.load_balancer_ips.release(key, &ingress_ips(old));
        }
    }

    /// Gives a Service of type LoadBalancer its addresses and writes them into its status. An error says why it has
    /// none, and that it waits; a Service of another implementation's class is left alone.
    pub(super) fn balance(
        &mut self,
        key: &ObjectKey,
        service: &mut Service,
    ) -> Result<(), PoolError> {
        let spec = spec(service);
        let ours = spec.kind() == LOAD_BALANCER && spec.load_balancer_class.is_none();
        if !ours || self.load_balancer_ips.is_empty() {
            return Ok(());
        }
        let had = ingress_ips(service);
        let families: Vec<_> = spec
            .families()
            .iter()
            .filter_map(|name| family_of_name(name))
            .collect();
        let (wanted, claim) = (wanted_ips(service), claim(service));
        let outcome = self
            .load_balancer_ips
            .assign(key, &wanted, &families, &had, &claim);
        let ips = outcome.as_deref().unwrap_or_default();
        let ingress = ips.iter().map(|ip| LoadBalancerIngress {
            ip: Some(ip.to_string()),
            ip_mode: Some("VIP".to_string()),
            ..LoadBalancerIngress::default()
        });
        service.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus {
            ingress: Some(ingress.collect()).filter(|list: &Vec<_>| !list.is_empty()),
        });
        outcome.map(drop)
    }

    /// Notes the load balancer addresses of a stored Service, if they can still be had.
    pub(super) fn hold_balanced(&mut self, key: &ObjectKey, service: &Service) {
        let had = ingress_ips(service);
        if spec(service).kind() == LOAD_BALANCER && !had.is_empty() {
            let families: Vec<_> = had.iter().map(|ip| Family::of(*ip)).collect();
            // Who cannot have them any more is told when the Service is next looked at.
            let _ = self
                .load_balancer_ips
                .assign(key, &had, &families, &had, &claim(service));
        }
    }
}

/// The node port of another port with the same number, which this one has too: DNS on TCP and UDP, for instance.
fn sibling(ports: &[ServicePort], index: usize) -> Option<i32> {
    let own = ports.get(index)?;
    let same = |other: &&ServicePort| other.port == own.port && other.protocol != own.protocol;
    let taken = |number| {
        let same_door =
            |it: &ServicePort| it.node_port == Some(number) && it.protocol == own.protocol;
        ports.iter().any(same_door)
    };
    let mut siblings = ports.iter().filter(same).filter_map(|port| port.node_port);
    siblings.find(|number| !taken(*number))
}

/// What a Service has of the ranges.
#[derive(Debug, Default)]
struct Held {
    ips: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
    health_port: Option<u16>,
}

impl Held {
    fn all_ports(&self) -> BTreeSet<u16> {
        self.ports.iter().copied().chain(self.health_port).collect()
    }
}

fn held(service: &Service) -> Held {
    let spec = spec(service);
    let port = |number: i32| u16::try_from(number).ok();
    let mut held = Held::default();
    if spec.needs_cluster_ip() {
        let ips = spec
            .ips()
            .iter()
            .map(String::as_str)
            .chain([spec.single_ip()]);
        let ips = ips.filter(|text| *text != HEADLESS);
        held.ips
            .extend(ips.filter_map(|text| text.parse::<IpAddr>().ok()));
    }
    if spec.needs_node_port() {
        let ports = spec.ports.iter().flatten();
        held.ports
            .extend(ports.filter_map(|it| it.node_port).filter_map(port));
    }
    if spec.needs_health_check() {
        held.health_port = spec.health_check_node_port.and_then(port);
    }
    held
}

fn ingress_ips(service: &Service) -> Vec<IpAddr> {
    let status = service
        .status
        .as_ref()
        .and_then(|it| it.load_balancer.as_ref());
    let ingress = status
        .and_then(|it| it.ingress.as_deref())
        .unwrap_or_default();
    ingress
        .iter()
        .filter_map(|it| it.ip.as_ref()?.parse().ok())
        .collect()
}

/// The addresses that are asked for by name, in the field or in the annotation.
fn wanted_ips(service: &Service) -> Vec<IpAddr> {
    let annotations = service.metadata.annotations.as_ref();
    let annotation = annotations.and_then(|it| it.get(LOAD_BALANCER_IPS));
    let texts = annotation.or(spec(service).load_balancer_ip.as_ref());
    let texts = texts.into_iter().flat_map(|text| text.split(','));
    texts.filter_map(|text| text.trim().parse().ok()).collect()
}

fn claim(service: &Service) -> Claim {
    let spec = spec(service);
    let annotations = service.metadata.annotations.as_ref();
    let key = annotations.and_then(|it| it.get(ALLOW_SHARED_IP));
    let ports = spec.ports.iter().flatten();
    Claim {
        ports: ports
            .map(|it| {
                (
                    it.protocol.clone().unwrap_or_else(|| "TCP".to_string()),
                    it.port,
                )
            })
            .collect(),
        sharing_key: key.filter(|key| !key.is_empty()).cloned(),
        local: spec.external_traffic_policy.as_deref() == Some("Local"),
        selector: spec.selector.clone().unwrap_or_default(),
    }
}

/// What is wrong with the addresses asked for by annotation: the API has no rule for those.
pub(super) fn validate_annotations(service: &Service, errors: &mut Errors) {
    let annotations = service.metadata.annotations.as_ref();
    let empty = BTreeMap::new();
    if let Some(text) = annotations.unwrap_or(&empty).get(LOAD_BALANCER_IPS) {
        let field = format!("metadata.annotations[{LOAD_BALANCER_IPS}]");
        let mut families = BTreeSet::new();
        for part in text.split(',').map(str::trim) {
            match super::syntax::ip(part) {
                None => errors.invalid(&field, part, super::syntax::NOT_AN_IP),
                Some(ip) => {
                    if !families.insert(Family::of(ip)) {
                        let rule = "may specify no more than one IP for each IP family";
                        errors.invalid(&field, text, rule);
                    }
                }
            }
        }
    }
}
