//! Services and endpoints by number, and the node that plans them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portolan::model::{
    EndpointPort, EndpointSlice, Kind, Object, ObjectKey, ObjectRef, Service, ServicePort,
    SliceEndpoint, TrafficPolicy, Weights,
};
use portolan::net::{Family, Protocol};
use portolan::node::Node;
use portolan::plan::NodeConfig;

const NODE: &str = "this-node";

/// Of each Service the endpoints that there can be.
pub(crate) const ENDPOINTS: u32 = 8;

/// What is served right now of one Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// Is there such a Service?
    pub(crate) exists: bool,
    /// A bit for each endpoint.
    pub(crate) endpoints: u32,
    /// `internalTrafficPolicy: Local`: only endpoints 0 and 1 are on this node.
    pub(crate) local: bool,
    /// `sessionAffinity: ClientIP`.
    pub(crate) affinity: bool,
}

impl State {
    pub(crate) const FULL: Self = Self {
        exists: true,
        endpoints: (1 << ENDPOINTS) - 1,
        local: false,
        affinity: false,
    };

    /// A bit for each endpoint that a packet may go to.
    pub(crate) const fn allowed(self) -> u32 {
        match (self.exists, self.local) {
            (false, _) => 0,
            (true, true) => self.endpoints & 0b11,
            (true, false) => self.endpoints,
        }
    }
}

/// The control plane of one node.
pub(crate) struct Cluster {
    family: Family,
    protocol: Protocol,
    node: Node,
}

impl Cluster {
    pub(crate) fn new(family: Family, protocol: Protocol) -> Self {
        let address = match family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)),
            Family::Ipv6 => "fd01::1".parse().unwrap(),
        };
        let mut node = Node::new(NodeConfig {
            name: String::from(NODE),
            addresses: vec![address],
            ..NodeConfig::default()
        });
        node.synced(Kind::Service);
        node.synced(Kind::EndpointSlice);
        Self {
            family,
            protocol,
            node,
        }
    }

    pub(crate) fn frontend(&self, service: u32) -> SocketAddr {
        let number = service + 10;
        let address = match self.family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::from(0x0a60_0000 + number)),
            Family::Ipv6 => {
                let prefix = u128::from(Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 0));
                IpAddr::V6(Ipv6Addr::from(prefix + u128::from(number)))
            }
        };
        SocketAddr::new(address, 80)
    }

    pub(crate) fn endpoint(&self, service: u32, endpoint: u32) -> SocketAddr {
        let number = service * ENDPOINTS + endpoint + 1;
        let address = match self.family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::from(0x0a02_0000 + number)),
            Family::Ipv6 => {
                let prefix = u128::from(Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 0));
                IpAddr::V6(Ipv6Addr::from(prefix + u128::from(number)))
            }
        };
        SocketAddr::new(address, 8080)
    }

    /// The plan.
    pub(crate) const fn node(&self) -> &Node {
        &self.node
    }

    /// Makes a Service what `state` says.
    pub(crate) fn set(&mut self, service: u32, state: State) {
        self.set_all([(service, state)]);
    }

    /// The same for several at once.
    pub(crate) fn set_all(&mut self, states: impl IntoIterator<Item = (u32, State)>) {
        let mut objects = Vec::new();
        for (service, state) in states {
            if state.exists {
                objects.push(self.service(service, state));
                objects.push(self.slice(service, state));
            } else {
                let key = key(service);
                let [service, slice] = [Kind::Service, Kind::EndpointSlice].map(|kind| ObjectRef {
                    kind,
                    key: key.clone(),
                });
                self.node.delete(&[service, slice]);
            }
        }
        let rejected = self.node.apply(objects);
        assert!(rejected.is_empty(), "{rejected:?}");
    }

    fn service(&self, service: u32, state: State) -> Object {
        let port = ServicePort {
            name: String::from("p"),
            protocol: self.protocol,
            port: 80,
            node_port: None,
        };
        let policy = match state.local {
            true => TrafficPolicy::Local,
            false => TrafficPolicy::Cluster,
        };
        Object::Service(Service {
            key: key(service),
            cluster_ips: vec![self.frontend(service).ip()],
            internal_traffic_policy: policy,
            affinity_seconds: state.affinity.then_some(10),
            ports: vec![port],
            ..Service::default()
        })
    }

    fn slice(&self, service: u32, state: State) -> Object {
        let endpoints = (0..ENDPOINTS).filter(|endpoint| state.endpoints & (1 << endpoint) != 0);
        let endpoints = endpoints.map(|endpoint| SliceEndpoint {
            node_name: (endpoint < 2).then(|| String::from(NODE)),
            ..SliceEndpoint::at(self.endpoint(service, endpoint).ip())
        });
        Object::EndpointSlice(EndpointSlice {
            key: key(service),
            service_name: key(service).name,
            headless: false,
            family: self.family,
            endpoints: endpoints.collect(),
            weights: Weights::default(),
            ports: vec![EndpointPort {
                name: String::from("p"),
                protocol: self.protocol,
                port: 8080,
            }],
        })
    }
}

fn key(service: u32) -> ObjectKey {
    ObjectKey::new("test", format!("service-{service}"))
}
