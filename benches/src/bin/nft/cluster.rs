//! A cluster of so many Services with so many endpoints each, as both layouts are given it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use portolan::model::{
    EndpointPort, EndpointSlice, Object, ObjectKey, Service, ServicePort, SliceEndpoint, Weights,
};
use portolan::net::{Family, Protocol};

/// Every Service has this port, and every endpoint that one.
const PORT: u16 = 80;
const TARGET: u16 = 8080;

/// The Service that packets are sent to; its endpoints are addresses of this host.
pub(crate) const ANSWERING: u32 = 0;

/// UDP, because a first packet is then a whole connection. For nftables a protocol is a field like another.
pub(crate) const PROTOCOL: Protocol = Protocol::Udp;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Cluster {
    pub(crate) services: u32,
    pub(crate) endpoints: u32,
}

impl Cluster {
    pub(crate) fn name(service: u32) -> String {
        format!("service-{service}")
    }

    /// Where a Service is served.
    pub(crate) fn frontend(service: u32) -> SocketAddr {
        let base = u32::from(Ipv4Addr::new(10, 96, 0, 1));
        SocketAddr::new(Ipv4Addr::from(base + service).into(), PORT)
    }

    /// The endpoints of a Service. `turn` replaces the first by another, each time.
    pub(crate) fn endpoints(self, service: u32, turn: u32) -> Vec<SocketAddr> {
        let base = u32::from(Ipv4Addr::new(10, 128, 0, 0));
        let own = base + service * self.endpoints;
        let spare = u32::from(Ipv4Addr::new(10, 200, 0, 0));
        (0..self.endpoints)
            .map(|index| match turn {
                1.. if index == 0 => spare + turn,
                _ => own + index,
            })
            .map(|address| SocketAddr::new(Ipv4Addr::from(address).into(), TARGET))
            .collect()
    }

    pub(crate) fn objects(self) -> impl Iterator<Item = Object> {
        (0..self.services).flat_map(move |service| [self.service(service), self.slice(service, 0)])
    }

    fn service(self, service: u32) -> Object {
        let port = ServicePort {
            name: String::from("p"),
            protocol: PROTOCOL,
            port: PORT,
            node_port: None,
        };
        Object::Service(Service {
            key: ObjectKey::new("bench", Self::name(service)),
            cluster_ips: vec![Self::frontend(service).ip()],
            ports: vec![port],
            ..Service::default()
        })
    }

    /// The endpoints of a Service as their object.
    pub(crate) fn slice(self, service: u32, turn: u32) -> Object {
        let endpoint = |address: IpAddr| SliceEndpoint::at(address);
        let addresses = self.endpoints(service, turn);
        Object::EndpointSlice(EndpointSlice {
            key: ObjectKey::new("bench", Self::name(service)),
            service_name: Self::name(service),
            headless: false,
            family: Family::Ipv4,
            endpoints: addresses
                .iter()
                .map(|address| endpoint(address.ip()))
                .collect(),
            weights: Weights::default(),
            ports: vec![EndpointPort {
                name: String::from("p"),
                protocol: PROTOCOL,
                port: TARGET,
            }],
        })
    }
}
