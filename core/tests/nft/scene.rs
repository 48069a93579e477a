//! One small cluster and its tables.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use portolan::model::{
    EndpointPort, EndpointSlice, Kind, Object, ObjectKey, ObjectRef, Service, ServicePort,
    SliceEndpoint,
};
use portolan::net::{Family, Instant, Prefix, Protocol};
use portolan::nft::{Table, TableOptions};
use portolan::node::{Node, NodeConfig};
use portolan::packet::build;

use crate::kernel::{Made, Wire};

pub(crate) const NODE: &str = "192.168.66.11";
pub(crate) const CLIENT: &str = "172.20.0.7";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A node's view of Services `default/web-0`, `default/web-1` and so on.
pub(crate) struct Scene {
    pub(crate) node: Node,
    pub(crate) now: Instant,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let mut node = Node::new(NodeConfig {
            name: "here".into(),
            addresses: vec![ip(NODE), ip("fd00:66::11")],
            cluster_cidrs: vec![Prefix::new(ip("10.244.0.0"), 16).expect("a prefix")],
            service_cidrs: vec![Prefix::new(ip("10.96.0.0"), 16).expect("a prefix")],
            ..NodeConfig::default()
        });
        node.synced(Kind::Service);
        node.synced(Kind::EndpointSlice);
        Self {
            node,
            now: Instant::from_secs(1_000),
        }
    }

    pub(crate) fn wire(&self) -> Wire {
        Wire::new(&self.node.config().addresses)
    }

    pub(crate) fn later(&mut self) -> Instant {
        self.now = self.now.after(Duration::from_millis(1_100));
        self.now
    }

    /// Brings a table to the present plan and retires what is not needed.
    pub(crate) fn sync(&mut self, table: &mut Table) {
        table.sync(&self.node, self.now).expect("committed");
        table.poll(self.later()).expect("retired");
        assert_eq!(table.rejections().next(), None);
    }

    /// `default/web-NUMBER`, port 80 at 10.96.HIGH.LOW and at a NodePort, with endpoints 10.244.0.N.
    pub(crate) fn put(&mut self, number: u16, endpoints: &[u8], affinity_seconds: Option<u32>) {
        self.put_of(Protocol::Tcp, number, endpoints, affinity_seconds);
    }

    /// The same with another protocol.
    pub(crate) fn put_of(
        &mut self,
        protocol: Protocol,
        number: u16,
        endpoints: &[u8],
        affinity_seconds: Option<u32>,
    ) {
        let [high, low] = number.to_be_bytes();
        let service = Service {
            key: ObjectKey::new("default", format!("web-{number}")),
            created: Some(i64::from(number)),
            cluster_ips: vec![ip(&format!("10.96.{high}.{low}"))],
            affinity_seconds,
            ports: vec![ServicePort {
                name: "http".into(),
                protocol,
                port: 80,
                node_port: Some(30_000 + number % 1_000).filter(|_| number < 1_000),
            }],
            ..Service::default()
        };
        let slice = EndpointSlice {
            key: ObjectKey::new("default", format!("web-{number}")),
            service_name: service.key.name.clone(),
            headless: false,
            family: Family::Ipv4,
            endpoints: endpoints
                .iter()
                .map(|last| SliceEndpoint::at(ip(&format!("10.244.0.{last}"))))
                .collect(),
            weights: Default::default(),
            ports: vec![EndpointPort {
                name: "http".into(),
                protocol,
                port: 8080,
            }],
        };
        self.node
            .apply([Object::Service(service), Object::EndpointSlice(slice)]);
    }

    pub(crate) fn delete(&mut self, number: u16) {
        let key = ObjectKey::new("default", format!("web-{number}"));
        let kind = Kind::Service;
        self.node.delete(&[ObjectRef { kind, key }]);
    }
}

/// Tables of the default options.
pub(crate) fn open() -> Table {
    Table::open(TableOptions::default()).expect("nftables")
}

/// Opens a connection, and says which endpoint 10.244.0.N it got; `None` if it was not forwarded.
pub(crate) fn connect(wire: &mut Wire, from: &str, source_port: u16, to: &str) -> Option<u8> {
    let source = SocketAddr::new(ip(from), source_port);
    let destination: SocketAddr = to.parse().expect("an address and a port");
    match wire.send(&build::tcp(source, destination).syn().build()) {
        Made::Sent {
            destination: SocketAddr::V4(v4),
            ..
        } if v4.port() == 8080 => Some(v4.ip().octets()[3]),
        Made::Sent { .. } | Made::Nothing | Made::Same | Made::Rejected => None,
    }
}
