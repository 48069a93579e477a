//! Clusters at random: small numbers of addresses and ports, so that packets meet what is there.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portolan::model::{
    Conditions, EndpointPort, EndpointSlice, Ingress, ObjectKey, Service, ServicePort,
    SliceEndpoint, TrafficPolicy,
};
use portolan::net::{Family, Prefix, Protocol};
use portolan::node::{LocalDetector, NodeConfig, NodePortAddresses};

use crate::kernel::PODS;

/// Steele et al., SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// The address of a range with this last number.
pub(crate) fn address(family: Family, range: [u8; 3], last: u8) -> IpAddr {
    let [a, b, c] = range;
    match family {
        Family::Ipv4 => Ipv4Addr::new(a, b, c, last).into(),
        Family::Ipv6 => {
            Ipv6Addr::new(0xfd00, a.into(), b.into(), c.into(), 0, 0, 0, last.into()).into()
        }
    }
}

pub(crate) const NODE: [u8; 3] = [192, 168, 66];
pub(crate) const SERVICES: [u8; 3] = [10, 96, 0];
pub(crate) const LOAD_BALANCERS: [u8; 3] = [203, 0, 113];
pub(crate) const EXTERNAL: [u8; 3] = [198, 51, 100];
pub(crate) const PODS_HERE: [u8; 3] = [10, 244, 1];
pub(crate) const PODS_ELSEWHERE: [u8; 3] = [10, 244, 2];
pub(crate) const OUTSIDE: [u8; 3] = [172, 20, 0];
pub(crate) const PORTS: [u16; 3] = [80, 443, 53];
pub(crate) const NODE_PORTS: u64 = 12;
pub(crate) const SERVICE_COUNT: u64 = 14;

fn prefix(family: Family, range: [u8; 3], wide: bool) -> Prefix {
    let (len, wide_len) = match family {
        Family::Ipv4 => (24, 16),
        Family::Ipv6 => (64, 48),
    };
    Prefix::new(address(family, range, 0), if wide { wide_len } else { len }).expect("a prefix")
}

/// A node of the same name and addresses, described otherwise.
pub(crate) fn node(random: &mut Random) -> NodeConfig {
    let families = [Family::Ipv4, Family::Ipv6];
    NodeConfig {
        name: "here".into(),
        addresses: families
            .iter()
            .flat_map(|family| [11, 12].map(|last| address(*family, NODE, last)))
            .collect(),
        zone: Some("a".into()),
        pod_cidrs: families
            .map(|family| prefix(family, PODS_HERE, false))
            .into(),
        cluster_cidrs: families
            .map(|family| prefix(family, PODS_HERE, true))
            .into(),
        detect_local: match random.below(7) {
            0 => LocalDetector::None,
            1 => LocalDetector::NodeCidr,
            2 => LocalDetector::BridgeInterface(PODS.into()),
            3 => LocalDetector::InterfaceNamePrefix("pod".into()),
            _ => LocalDetector::ClusterCidr,
        },
        masquerade_all: random.once_in(5),
        service_cidrs: if random.once_in(3) {
            Vec::new()
        } else {
            families
                .map(|family| prefix(family, SERVICES, false))
                .into()
        },
        node_port_addresses: if random.once_in(2) {
            NodePortAddresses::Primary
        } else {
            NodePortAddresses::All
        },
        proxy_name: None,
        ..NodeConfig::default()
    }
}

fn policy(random: &mut Random) -> TrafficPolicy {
    random.of(&[
        TrafficPolicy::Cluster,
        TrafficPolicy::Cluster,
        TrafficPolicy::Local,
    ])
}

/// A Service of that number; some fields are often absent.
pub(crate) fn service(random: &mut Random, number: u64, affinity: bool) -> Service {
    let families = [Family::Ipv4, Family::Ipv6];
    let last = number as u8 + 1;
    let mut ports = Vec::new();
    for index in 0..=random.below(2) {
        ports.push(ServicePort {
            name: format!("p{index}"),
            protocol: random.of(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
            port: random.of(&PORTS),
            node_port: random
                .once_in(2)
                .then(|| 30_000 + random.below(NODE_PORTS) as u16),
        });
    }
    let mut some = |range: [u8; 3], times: u64| -> Vec<IpAddr> {
        let random = &mut *random;
        let last = random.below(4) as u8 + 1;
        let all = families.map(|family| address(family, range, last));
        if random.once_in(times) {
            all.into()
        } else {
            Vec::new()
        }
    };
    let (external_ips, ingress) = (some(EXTERNAL, 3), some(LOAD_BALANCERS, 2));
    let mut source_ranges = Vec::new();
    if random.once_in(3) {
        for range in [OUTSIDE, PODS_HERE, NODE] {
            if random.once_in(2) {
                source_ranges
                    .extend(families.map(|family| prefix(family, range, random.once_in(2))));
            }
        }
    }
    Service {
        key: ObjectKey::new("default", format!("service-{number}")),
        created: Some(number as i64),
        cluster_ips: families
            .map(|family| address(family, SERVICES, last))
            .into(),
        external_ips,
        ingress: ingress
            .into_iter()
            .map(|ip| Ingress { ip, proxy: false })
            .collect(),
        load_balancer: true,
        source_ranges,
        internal_traffic_policy: policy(random),
        external_traffic_policy: policy(random),
        affinity_seconds: (affinity && random.once_in(3)).then(|| random.of(&[600, 10_800])),
        ports,
        ..Service::default()
    }
}

/// The endpoints of a Service of that number, in both families, with an address for each of its ports.
pub(crate) fn slices(random: &mut Random, service: &Service) -> Vec<EndpointSlice> {
    let most = random.of(&[0, 1, 2, 3, 5, 9, 12]);
    let mut endpoints = Vec::new();
    for _ in 0..most {
        let here = random.once_in(2);
        endpoints.push((
            here,
            random.below(16) as u8 + 1,
            conditions(random),
            random.below(6),
        ));
    }
    [Family::Ipv4, Family::Ipv6]
        .map(|family| EndpointSlice {
            key: ObjectKey::new("default", format!("{}-{family:?}", service.key.name)),
            service_name: service.key.name.clone(),
            headless: false,
            family,
            endpoints: endpoints
                .iter()
                .map(|(here, last, conditions, zone)| SliceEndpoint {
                    address: address(
                        family,
                        if *here { PODS_HERE } else { PODS_ELSEWHERE },
                        *last,
                    ),
                    conditions: *conditions,
                    node_name: Some(if *here { "here" } else { "elsewhere" }.into()),
                    zone_hints: if *zone == 0 {
                        vec!["a".into()]
                    } else {
                        vec!["a".into(), "b".into()]
                    },
                    node_hints: Vec::new(),
                    hostname: None,
                    pod_name: None,
                })
                .collect(),
            weights: Default::default(),
            ports: service
                .ports
                .iter()
                .map(|port| EndpointPort {
                    name: port.name.clone(),
                    protocol: port.protocol,
                    port: port.port + 8000,
                })
                .collect(),
        })
        .into()
}

fn conditions(random: &mut Random) -> Conditions {
    match random.below(6) {
        0 => Conditions::NOT_READY,
        1 => Conditions {
            ready: false,
            serving: true,
            terminating: true,
        },
        _ => Conditions::READY,
    }
}
