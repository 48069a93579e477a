//! A cluster of so many Services with so many endpoints each: as objects, and as addresses.

use crate::Family;
use crate::flow::{ENDPOINT_PORT, FRONTEND_PORT, endpoint_address, frontend_address, node_address};
use core::net::{IpAddr, SocketAddr};
use portolan::model::{
    EndpointPort, EndpointSlice, Object, ObjectKey, Service, ServicePort, SliceEndpoint, Weights,
};
use portolan::net;
use portolan::net::Protocol;

/// The namespace of all objects.
pub(crate) const NAMESPACE: &str = "bench";
/// The name of each Service's only port.
pub(crate) const PORT_NAME: &str = "http";

/// Services alike: one ClusterIP, one port and as many endpoints each.
#[derive(Debug, Clone, Copy)]
pub struct Cluster {
    /// The family of all addresses.
    pub family: Family,
    /// The protocol of all ports.
    pub protocol: Protocol,
    /// Services, numbered from 0.
    pub services: u32,
    /// Endpoints of each.
    pub endpoints: u32,
}

impl Cluster {
    /// A Service's name.
    #[must_use]
    pub fn name(service: u32) -> String {
        format!("service-{service}")
    }

    /// The node's own address.
    #[must_use]
    pub fn node(self) -> IpAddr {
        node_address(self.family)
    }

    /// Where a Service is served.
    #[must_use]
    pub fn frontend(self, service: u32) -> SocketAddr {
        SocketAddr::new(frontend_address(self.family, service), FRONTEND_PORT)
    }

    /// The endpoints of a Service. `turn` replaces the first by another, each time.
    pub fn endpoints(self, service: u32, turn: u32) -> impl Iterator<Item = SocketAddr> {
        let own = service * self.endpoints;
        let spare = self.services * self.endpoints;
        (0..self.endpoints).map(move |index| {
            let number = match turn {
                1.. if index == 0 => spare + turn,
                _ => own + index,
            };
            SocketAddr::new(endpoint_address(self.family, number), ENDPOINT_PORT)
        })
    }

    /// A Service as its object.
    #[must_use]
    pub fn service(self, service: u32) -> Object {
        let port = ServicePort {
            name: PORT_NAME.into(),
            protocol: self.protocol,
            port: FRONTEND_PORT,
            node_port: None,
        };
        Object::Service(Service {
            key: ObjectKey::new(NAMESPACE, Self::name(service)),
            created: Some(1_700_000_000),
            cluster_ips: vec![self.frontend(service).ip()],
            ports: vec![port],
            ..Service::default()
        })
    }

    /// The endpoints of a Service as their object.
    #[must_use]
    pub fn slice(self, service: u32, turn: u32) -> Object {
        let endpoint = |at: SocketAddr| SliceEndpoint {
            node_name: Some("n2".into()),
            ..SliceEndpoint::at(at.ip())
        };
        Object::EndpointSlice(EndpointSlice {
            key: ObjectKey::new(NAMESPACE, format!("{}-abcde", Self::name(service))),
            service_name: Self::name(service),
            headless: false,
            family: match self.family {
                Family::Ipv4 => net::Family::Ipv4,
                Family::Ipv6 => net::Family::Ipv6,
            },
            endpoints: self.endpoints(service, turn).map(endpoint).collect(),
            weights: Weights::default(),
            ports: vec![EndpointPort {
                name: PORT_NAME.into(),
                protocol: self.protocol,
                port: ENDPOINT_PORT,
            }],
        })
    }
}
