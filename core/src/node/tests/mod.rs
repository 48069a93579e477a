//! kube-proxy's rules, one test a rule, in both address families: objects go in, and the compiled table is
//! asked what becomes of a flow.

mod affinity_and_health;
mod batches;
mod conflicts;
mod endpoints;
mod following;
mod frontends;
mod masquerade;
mod objects;
mod order;
mod source_ranges;
mod unknown_destinations;

use super::{
    Feed, LocalDetector, Node, NodeConfig, NodePortAddresses, Object, ObjectKey, OtherProxies,
};
use crate::model::{
    Conditions, EndpointPort, EndpointSlice, Ingress, Kind, ObjectRef, Service, ServicePort,
    SliceEndpoint, TrafficPolicy,
};
use crate::net::{Address, Arrival, Family, Prefix, Protocol, Tuple};
use crate::service::{Balance, Draw, Effects, Lookup, Selection, SourceClass, Table, TableLimits};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses of one family, by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct World(Family);

/// Runs a test in both families.
fn both(test: impl Fn(World)) {
    test(World(Family::Ipv4));
    test(World(Family::Ipv6));
}

impl World {
    fn ip(self, v4: &str, v6: &str) -> IpAddr {
        let text = match self.0 {
            Family::Ipv4 => v4,
            Family::Ipv6 => v6,
        };
        text.parse().expect(text)
    }

    fn numbered(self, v4: &str, v6: &str, number: u8) -> IpAddr {
        self.ip(&format!("{v4}{number}"), &format!("{v6}{number}"))
    }

    /// A pod on this node.
    fn pod_here(self, number: u8) -> IpAddr {
        self.numbered("10.200.1.", "fd20:0:0:1::", number)
    }

    /// A pod on another node.
    fn pod_there(self, number: u8) -> IpAddr {
        self.numbered("10.200.2.", "fd20:0:0:2::", number)
    }

    fn cluster_ip(self, number: u8) -> IpAddr {
        self.numbered("10.96.0.", "fd96::", number)
    }

    fn node(self) -> IpAddr {
        self.ip("192.168.66.11", "fd66::11")
    }

    /// This node's second address.
    fn node_second(self) -> IpAddr {
        self.ip("172.16.0.11", "fd67::11")
    }

    fn outside(self) -> IpAddr {
        self.ip("198.51.100.9", "2001:db8:9::9")
    }

    fn external_ip(self) -> IpAddr {
        self.ip("203.0.113.80", "2001:db8:80::80")
    }

    fn lb_ip(self) -> IpAddr {
        self.ip("203.0.113.200", "2001:db8:200::200")
    }

    fn prefix(self, v4: &str, v6: &str) -> Prefix {
        let text = match self.0 {
            Family::Ipv4 => v4,
            Family::Ipv6 => v6,
        };
        text.parse().expect(text)
    }
}

fn config() -> NodeConfig {
    let prefixes = |list: [&str; 2]| list.map(|text| text.parse().expect(text)).to_vec();
    let (v4, v6) = (World(Family::Ipv4), World(Family::Ipv6));
    NodeConfig {
        name: "n1".into(),
        addresses: vec![v4.node(), v6.node(), v4.node_second(), v6.node_second()],
        zone: Some("z1".into()),
        pod_cidrs: prefixes(["10.200.1.0/24", "fd20:0:0:1::/64"]),
        cluster_cidrs: prefixes(["10.200.0.0/16", "fd20::/48"]),
        service_cidrs: prefixes(["10.96.0.0/16", "fd96::/112"]),
        ..NodeConfig::default()
    }
}

/// A node that has been told all there is, which is nothing.
fn node_with(config: NodeConfig) -> Node {
    let mut node = Node::new(config);
    node.synced(Kind::Service);
    node.synced(Kind::EndpointSlice);
    node
}

fn port(name: &str, protocol: Protocol, number: u16) -> ServicePort {
    ServicePort {
        name: name.into(),
        protocol,
        port: number,
        node_port: None,
    }
}

/// `default/web`: TCP port 80 named `http`, ClusterIP number 80.
fn web(world: World) -> Service {
    Service {
        key: ObjectKey::new("default", "web"),
        created: Some(1_000),
        cluster_ips: vec![world.cluster_ip(80)],
        ports: vec![port("http", Protocol::Tcp, 80)],
        ..Service::default()
    }
}

/// The same, with every kind of frontend.
fn web_everywhere(world: World) -> Service {
    let mut service = web(world);
    service.load_balancer = true;
    service.external_ips = vec![world.external_ip()];
    service.ingress = vec![Ingress {
        ip: world.lb_ip(),
        proxy: false,
    }];
    service.ports[0].node_port = Some(30_080);
    service
}

/// The (address, port) of each kind of outer frontend of [`web_everywhere`].
fn outer_frontends(world: World) -> [(IpAddr, u16); 3] {
    [
        (world.node(), 30_080),
        (world.external_ip(), 80),
        (world.lb_ip(), 80),
    ]
}

const READY: Conditions = Conditions {
    ready: true,
    serving: true,
    terminating: false,
};
const DRAINING: Conditions = Conditions {
    ready: false,
    serving: true,
    terminating: true,
};
const ENDED: Conditions = Conditions {
    ready: false,
    serving: false,
    terminating: true,
};
const NOT_READY: Conditions = Conditions {
    ready: false,
    serving: false,
    terminating: false,
};
/// Can serve, but its readiness gate says no, and it is not terminating.
const SERVING_ONLY: Conditions = Conditions {
    ready: false,
    serving: true,
    terminating: false,
};

fn endpoint(address: IpAddr, node: &str, conditions: Conditions) -> SliceEndpoint {
    SliceEndpoint {
        conditions,
        node_name: Some(node.into()),
        ..SliceEndpoint::at(address)
    }
}

fn here(address: IpAddr) -> SliceEndpoint {
    endpoint(address, "n1", READY)
}

fn there(address: IpAddr) -> SliceEndpoint {
    endpoint(address, "n2", READY)
}

/// Slice `default/web-NUMBER` of `default/web`: port `http` is TCP 8080.
fn slice(world: World, number: u8, endpoints: Vec<SliceEndpoint>) -> EndpointSlice {
    EndpointSlice {
        key: ObjectKey::new("default", format!("web-{number}")),
        service_name: "web".into(),
        headless: false,
        weights: crate::model::Weights::default(),
        family: world.0,
        endpoints,
        ports: vec![EndpointPort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 8080,
        }],
    }
}

fn service_ref(name: &str) -> ObjectRef {
    ObjectRef {
        kind: Kind::Service,
        key: ObjectKey::new("default", name),
    }
}

fn slice_ref(number: u8) -> ObjectRef {
    ObjectRef {
        kind: Kind::EndpointSlice,
        key: ObjectKey::new("default", format!("web-{number}")),
    }
}

/// What becomes of the first packet of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// To one of these, sorted; with the source translated or not.
    Forward(Vec<String>, bool),
    Reject,
    NoLocalEndpoint,
    SourceRange,
    Unallocated,
    Pass,
}

/// Endpoints on port 8080, the source kept.
fn kept<const N: usize>(endpoints: [IpAddr; N]) -> Outcome {
    forward(endpoints, false)
}

/// Endpoints on port 8080, the source translated.
fn masqueraded<const N: usize>(endpoints: [IpAddr; N]) -> Outcome {
    forward(endpoints, true)
}

fn forward<const N: usize>(endpoints: [IpAddr; N], masquerade: bool) -> Outcome {
    let mut endpoints: Vec<String> = endpoints
        .iter()
        .map(|address| SocketAddr::new(*address, 8080).to_string())
        .collect();
    endpoints.sort();
    Outcome::Forward(endpoints, masquerade)
}

fn compile(node: &Node) -> Table {
    let limits = TableLimits {
        services: 64,
        frontends: 256,
        endpoints: 256,
        source_ranges: 64,
        hash_buckets: 0,
    };
    let mut table = Table::new(&limits, 7).expect("a small table");
    for edit in Feed::new().edits(node) {
        table
            .apply(&edit, &mut Effects::default())
            .expect("within the limits");
    }
    table
}

/// The first TCP packet from `source` to (address, port).
fn flow(node: &Node, source: IpAddr, destination: (IpAddr, u16)) -> Outcome {
    flow_of(node, source, destination, Protocol::Tcp)
}

fn flow_of(node: &Node, source: IpAddr, destination: (IpAddr, u16), protocol: Protocol) -> Outcome {
    let table = compile(node);
    let (address, port) = destination;
    match (source, address) {
        (IpAddr::V4(source), IpAddr::V4(address)) => {
            outcome::<Ipv4Addr>(&table, source, address, port, protocol)
        }
        (IpAddr::V6(source), IpAddr::V6(address)) => {
            outcome::<Ipv6Addr>(&table, source, address, port, protocol)
        }
        (source, address) => panic!("{source} and {address} are of two families"),
    }
}

fn outcome<A: Address>(
    table: &Table,
    source: A,
    destination: A,
    port: u16,
    protocol: Protocol,
) -> Outcome {
    let hash = table.hash(destination, port, protocol);
    let frontend = match table.lookup(destination, port, protocol, hash) {
        Lookup::Frontend(frontend) => frontend,
        Lookup::Rejected => return Outcome::Reject,
        Lookup::Unallocated => return Outcome::Unallocated,
        Lookup::None => return Outcome::Pass,
    };
    let class = table.classify(source, Arrival::Elsewhere);
    let tuple = Tuple {
        source,
        destination,
        source_port: 40_000,
        destination_port: port,
        protocol,
    };
    let draw = Draw {
        tuple: &tuple,
        random: 0,
        now: 0,
        balance: &Balance::default(),
        peek: false,
    };
    match table.select(frontend, class, None, &draw) {
        Selection::Endpoint { masquerade, .. } => {
            let endpoints = table.choices(frontend, class).map(|id| {
                let entry = table.endpoint(id).expect("a choice exists");
                let address: A = entry.address();
                SocketAddr::new(address.into(), entry.port()).to_string()
            });
            let mut endpoints: Vec<String> = endpoints.collect();
            endpoints.sort();
            Outcome::Forward(endpoints, masquerade)
        }
        Selection::SourceRange => Outcome::SourceRange,
        Selection::NoneUsable => Outcome::Reject,
        Selection::NoneAllowed => Outcome::NoLocalEndpoint,
    }
}

#[test]
fn nothing_is_planned_before_services_and_slices_have_both_been_listed() {
    both(|world| {
        let mut node = Node::new(config());
        let objects = || {
            [
                Object::Service(web(world)),
                Object::EndpointSlice(slice(world, 1, vec![here(world.pod_here(5))])),
            ]
        };
        node.apply(objects());
        assert_eq!(node.plan().port_count(), 0);
        node.synced(Kind::Service);
        assert_eq!(node.plan().port_count(), 0);
        node.synced(Kind::Node);
        assert!(node.plan().port_count() == 0 && !node.is_synced());
        node.synced(Kind::EndpointSlice);
        assert_eq!(node.plan().port_count(), 1);
        assert_eq!(
            flow(&node, world.pod_here(9), (world.cluster_ip(80), 80)),
            kept([world.pod_here(5)])
        );
    });
}

#[test]
fn source_classes_are_told_apart_and_a_pod_prefix_comes_before_a_node_address() {
    let mut config = config();
    config
        .addresses
        .push("10.200.1.1".parse().expect("an address"));
    let table = compile(&node_with(config));
    for (source, class) in [
        ("10.200.7.7", SourceClass::Pod),
        ("10.200.1.1", SourceClass::Pod),
        ("192.168.66.11", SourceClass::Node),
        ("172.16.0.11", SourceClass::Node),
        ("192.168.66.12", SourceClass::Outside),
    ] {
        let address: Ipv4Addr = source.parse().expect(source);
        assert_eq!(
            table.classify(address, Arrival::Elsewhere),
            class,
            "{source}"
        );
    }
    let address: Ipv6Addr = "fd20:0:0:7::7".parse().expect("an address");
    assert_eq!(
        table.classify(address, Arrival::Elsewhere),
        SourceClass::Pod
    );
}

#[test]
fn an_interface_tells_pods_and_its_name_is_taken_whole_or_by_its_beginning() {
    let classes = |detect_local: LocalDetector| {
        let node = node_with(NodeConfig {
            detect_local,
            ..config()
        });
        let table = compile(&node);
        let pods = node.plan().node().pod_interface.clone();
        ["cni0", "cni01", "veth1", "veth", "vet", "eth0"].map(|name| {
            let entered = pods.as_ref().is_some_and(|pods| pods.matches(name));
            let arrival = if entered {
                Arrival::PodInterface
            } else {
                Arrival::Elsewhere
            };
            let address: Ipv4Addr = "192.168.66.11".parse().expect("an address");
            let other: Ipv6Addr = "2001:db8::7".parse().expect("an address");
            (
                table.classify(address, arrival),
                table.classify(other, arrival),
            )
        })
    };
    let pod = (SourceClass::Pod, SourceClass::Pod);
    let no_pod = (SourceClass::Node, SourceClass::Outside);
    assert_eq!(
        classes(LocalDetector::BridgeInterface("cni0".into())),
        [pod, no_pod, no_pod, no_pod, no_pod, no_pod]
    );
    assert_eq!(
        classes(LocalDetector::InterfaceNamePrefix("veth".into())),
        [no_pod, no_pod, pod, pod, no_pod, no_pod]
    );
    // Whoever goes by addresses does not listen to what the host says of interfaces.
    let table = compile(&node_with(config()));
    let outsider: Ipv6Addr = "2001:db8::7".parse().expect("an address");
    assert_eq!(
        table.classify(outsider, Arrival::PodInterface),
        SourceClass::Outside
    );
}
