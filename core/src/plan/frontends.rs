//! Where the ports of one Service are served: addresses, kinds, rules, source ranges.

use super::policy::Policy;
use super::{PortKey, validity};
use crate::model::{Rejection, Service, ServicePort};
use crate::net::{Family, Prefix};
use crate::service::{Frontend, FrontendKind};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

/// One ServicePort of one family before other Services' claims are considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedPort {
    pub(super) key: Arc<PortKey>,
    /// Its place in `spec.ports`.
    pub(super) index: usize,
    /// Sorted; no (address, port) twice.
    pub(super) frontends: Vec<Frontend>,
}

/// Every ServicePort that the node serves for this Service, in every family in which it has a ClusterIP.
pub(super) fn wanted_ports(
    policy: &Policy,
    service: &Service,
    rejections: &mut Vec<Rejection>,
) -> Vec<WantedPort> {
    let mut wanted: Vec<WantedPort> = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let doors = Doors::new(policy, service, family, rejections);
        if doors.cluster_ips.is_empty() {
            continue;
        }
        for (index, port) in service.ports.iter().enumerate() {
            let key = PortKey {
                namespace: service.key.namespace.clone(),
                name: service.key.name.clone(),
                port_name: port.name.clone(),
                protocol: port.protocol,
                family,
            };
            if wanted.iter().any(|earlier| *earlier.key == key) {
                rejections.push(reject(
                    service,
                    format!("spec.ports[{index}]"),
                    format!(
                        "another port has the name \"{}\" and protocol {}",
                        port.name, port.protocol
                    ),
                ));
                continue;
            }
            wanted.push(WantedPort {
                key: Arc::new(key),
                index,
                frontends: doors.frontends(policy, service, port),
            });
        }
    }
    wanted
}

/// The addresses of a Service in one family.
struct Doors {
    family: Family,
    cluster_ips: Vec<IpAddr>,
    external_ips: Vec<IpAddr>,
    ingress: Vec<IpAddr>,
    source_ranges: Vec<Prefix>,
}

impl Doors {
    fn new(
        policy: &Policy,
        service: &Service,
        family: Family,
        rejections: &mut Vec<Rejection>,
    ) -> Self {
        let mut sound = |field: &str, index: usize, ip: IpAddr, link_local: bool| {
            let fault = validity::fault(ip, link_local);
            if let Some(rule) = fault {
                let field = format!("{field}[{index}]");
                rejections.push(reject(service, field, format!("{ip}: {rule}")));
            }
            fault.is_none()
        };
        let of_family = |ip: &IpAddr| Family::of(*ip) == family;
        let mut addresses = |field: &str, list: &[IpAddr]| -> Vec<IpAddr> {
            let own = list.iter().copied().enumerate();
            own.filter(|(index, ip)| of_family(ip) && sound(field, *index, *ip, false))
                .map(|(_, ip)| ip)
                .collect()
        };
        let cluster_ips = addresses("spec.clusterIPs", &service.cluster_ips);
        let external_ips = addresses("spec.externalIPs", &service.external_ips);
        let ingress: Vec<IpAddr> = service
            .ingress
            .iter()
            .enumerate()
            // With `ipMode: Proxy` nothing is served here, ranges included (KEP-1860).
            .filter(|(_, ingress)| !ingress.proxy && of_family(&ingress.ip))
            .filter(|(index, ingress)| {
                // Nothing in the API forbids a link-local load balancer address.
                sound("status.loadBalancer.ingress", *index, ingress.ip, true)
            })
            .map(|(_, ingress)| ingress.ip)
            .collect();
        let source_ranges = source_ranges(policy, service, family, &ingress);
        Self {
            family,
            cluster_ips,
            external_ips,
            ingress,
            source_ranges,
        }
    }

    fn frontends(&self, policy: &Policy, service: &Service, port: &ServicePort) -> Vec<Frontend> {
        let mut frontends: Vec<Frontend> = Vec::new();
        let mut add = |address: IpAddr, number: u16, kind: FrontendKind| {
            let taken = frontends
                .iter()
                .any(|earlier| earlier.address == address && earlier.port == number);
            if !taken {
                frontends.push(Frontend {
                    address,
                    port: number,
                    kind,
                    rules: policy.rules(service, kind, self.family),
                    source_ranges: match kind {
                        FrontendKind::LoadBalancer => self.source_ranges.clone(),
                        FrontendKind::ClusterIp
                        | FrontendKind::NodePort
                        | FrontendKind::ExternalIp => Vec::new(),
                    },
                });
            }
        };
        // Where one Service names an address twice, the first of these is what it is: an external IP that is
        // also a load balancer address has that one's source ranges.
        for address in &self.cluster_ips {
            add(*address, port.port, FrontendKind::ClusterIp);
        }
        for address in &self.ingress {
            add(*address, port.port, FrontendKind::LoadBalancer);
        }
        for address in &self.external_ips {
            add(*address, port.port, FrontendKind::ExternalIp);
        }
        if let Some(number) = port.node_port {
            for address in policy.node_port_addresses(self.family) {
                add(address, number, FrontendKind::NodePort);
            }
        }
        frontends.sort_unstable();
        frontends
    }
}

/// The ranges of one family. Ranges of the other family alone leave this one open, as in kube-proxy.
fn source_ranges(
    policy: &Policy,
    service: &Service,
    family: Family,
    ingress: &[IpAddr],
) -> Vec<Prefix> {
    let own = service.source_ranges.iter().copied();
    let mut ranges: Vec<Prefix> = own
        .filter(|range| Family::of(range.address()) == family)
        .collect();
    let primary = policy.primary(family);
    if primary.is_some_and(|node| ranges.iter().any(|range| range.contains(node))) {
        // Where the node holds the load balancer's address itself, its own processes reach the Service with
        // that address as source; whoever lets the node in means them too.
        ranges.extend(ingress.iter().copied().map(Prefix::host));
    }
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

pub(super) fn reject(
    service: &Service,
    field: impl Into<alloc::string::String>,
    rule: alloc::string::String,
) -> Rejection {
    Rejection {
        object: format!("Service {}", service.key),
        field: field.into(),
        rule,
    }
}
