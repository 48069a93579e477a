//! Userspace and kernel agree: generated clusters, each change of them brought to both, the same packets through
//! both, the same verdicts, endpoints and source addresses.
//!
//! `PORTOLAN_SEED` replays, `PORTOLAN_ROUNDS` goes on for longer.

use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use core::time::Duration;
use std::collections::BTreeSet;

use portolan::dataplane::{Config, Dataplane, Verdict};
use portolan::model::{Kind, Object, ObjectKey, ObjectRef};
use portolan::net::{Arrival, Family, Instant, Protocol};
use portolan::nft::{Table, TableOptions};
use portolan::node::{Feed, Node, NodeConfig};
use portolan::packet::build;
use portolan::service::SourceClass;

use crate::generate::{self, Random};
use crate::kernel::{Made, Wire, in_namespace};

/// Both backends, and the cluster that they serve.
struct Both {
    node: Node,
    feed: Feed,
    dataplane: Dataplane,
    table: Table,
    wire: Wire,
    now: Instant,
    /// Those of the kernel's, none of which a client has.
    masquerade_ports: Option<RangeInclusive<u16>>,
    next_port: u16,
}

impl Both {
    fn new(config: NodeConfig, masquerade_ports: Option<RangeInclusive<u16>>) -> Self {
        let mut options = TableOptions::default();
        options.layout.masquerade_ports = masquerade_ports.clone();
        let wire = Wire::new(&config.addresses);
        let mut node = Node::new(config);
        node.synced(Kind::Service);
        node.synced(Kind::EndpointSlice);
        Self {
            node,
            feed: Feed::new(),
            dataplane: Dataplane::new(&Config::default()).expect("a dataplane"),
            table: Table::open(options).expect("nftables"),
            wire,
            now: Instant::from_secs(1_000),
            masquerade_ports,
            next_port: 20_000,
        }
    }

    /// Brings the plan to both.
    fn publish(&mut self) {
        self.feed
            .publish(&self.node, &mut self.dataplane)
            .expect("published");
        self.feed
            .publish(&self.node, &mut self.dataplane)
            .expect("published");
        self.table.sync(&self.node, self.now).expect("committed");
        // What is there for packets on their way only is gone.
        self.now = self.now.after(Duration::from_millis(1_100));
        self.table.poll(self.now).expect("retired");
    }

    /// Sends a packet through both and compares. Returns the endpoint that it got and those that it may get.
    fn compare(&mut self, flow: &Flow, label: &str) -> Option<(SocketAddr, Vec<SocketAddr>)> {
        self.next_port = if self.next_port >= 60_000 {
            20_000
        } else {
            self.next_port + 1
        };
        let packet = flow.packet(self.next_port);
        let dataplane = &self.dataplane;
        let expected = dataplane.explain_from(self.now, &packet, flow.arrival);
        let made = self.wire.send_by(flow.arrival, &packet);
        let context = || format!("{label}: {flow:?}: kernel {made:?}, userspace {expected:#?}");
        match (expected.verdict, made) {
            (Verdict::Pass, Made::Same) | (Verdict::Drop, Made::Nothing) => None,
            // Who is the node itself hears of it without the wire.
            (Verdict::Reply, Made::Rejected) => None,
            (Verdict::Reply, Made::Nothing) if self.is_node(flow.source) => None,
            (
                Verdict::Forward,
                Made::Sent {
                    source,
                    destination: endpoint,
                },
            ) => {
                assert!(expected.choices.contains(&endpoint), "{}", context());
                let masquerade = source.ip() != flow.source;
                // The node's own address may be what masquerading gives.
                let unseen = !masquerade && self.is_node(source.ip());
                let wanted = self.masquerades(flow, endpoint.ip());
                assert!(masquerade == wanted || wanted && unseen, "{}", context());
                // Which of the node's addresses the kernel takes is the kernel's choice.
                assert!(!masquerade || self.is_node(source.ip()), "{}", context());
                if let Some(ports) = &self.masquerade_ports {
                    assert_eq!(ports.contains(&source.port()), wanted, "{}", context());
                }
                Some((endpoint, expected.choices.clone()))
            }
            _ => panic!("{}", context()),
        }
    }

    fn is_node(&self, address: IpAddr) -> bool {
        self.node.config().addresses.contains(&address)
    }

    /// Is the source of a flow translated on its way to an endpoint? By the rule of its class, and always towards
    /// itself.
    fn masquerades(&self, flow: &Flow, endpoint: IpAddr) -> bool {
        let mut frontends = self.node.frontends();
        let found = frontends.find(|one| {
            (one.frontend.address, one.frontend.port, one.key.protocol)
                == (flow.destination, flow.port, flow.protocol)
        });
        let spec = self.node.plan().node();
        let by_interface = spec.pod_interface.is_some() && flow.arrival == Arrival::PodInterface;
        let mut pods = spec.pod_prefixes.iter();
        let class = if by_interface || pods.any(|pods| pods.contains(flow.source)) {
            SourceClass::Pod
        } else if spec.addresses.contains(&flow.source) {
            SourceClass::Node
        } else {
            SourceClass::Outside
        };
        let rule = found.map(|one| one.frontend.rules[class as usize].masquerade);
        rule == Some(true) || endpoint == flow.source
    }
}

/// The first packet of a connection.
#[derive(Debug, Clone, Copy)]
struct Flow {
    arrival: Arrival,
    protocol: Protocol,
    source: IpAddr,
    destination: IpAddr,
    port: u16,
}

impl Flow {
    fn random(random: &mut Random, both: &Both) -> Self {
        let family = random.of(&[Family::Ipv4, Family::Ipv6]);
        let low = random.below(16) as u8 + 1;
        let source = match random.below(8) {
            0..=2 => generate::address(family, generate::PODS_HERE, low),
            3 | 4 => generate::address(family, generate::PODS_ELSEWHERE, low),
            5 => generate::address(family, generate::NODE, 11 + random.below(2) as u8),
            _ => generate::address(family, generate::OUTSIDE, low),
        };
        let arrival = random.of(&[Arrival::Elsewhere, Arrival::PodInterface]);
        // Mostly what is served; sometimes beside it.
        let frontends: Vec<_> = both
            .node
            .frontends()
            .filter(|one| one.key.family == family)
            .map(|one| (one.frontend.address, one.frontend.port, one.key.protocol))
            .collect();
        if !frontends.is_empty() && !random.once_in(6) {
            let (destination, port, protocol) = random.of(&frontends);
            return Self {
                arrival,
                protocol,
                source,
                destination,
                port,
            };
        }
        let range = random.of(&[
            generate::SERVICES,
            generate::LOAD_BALANCERS,
            generate::EXTERNAL,
        ]);
        Self {
            arrival,
            protocol: random.of(&Protocol::ALL),
            source,
            destination: generate::address(family, range, random.below(20) as u8 + 1),
            port: random.of(&generate::PORTS),
        }
    }

    fn packet(&self, source_port: u16) -> Vec<u8> {
        let source = SocketAddr::new(self.source, source_port);
        let destination = SocketAddr::new(self.destination, self.port);
        match self.protocol {
            Protocol::Tcp => build::tcp(source, destination).syn().build(),
            Protocol::Udp => build::udp(source, destination).payload(b"query").build(),
            Protocol::Sctp => build::sctp(source, destination).init(7).build(),
        }
    }
}

/// Changes some objects of the cluster.
fn change(random: &mut Random, both: &mut Both, affinity: bool) {
    if random.once_in(12) {
        both.node.reconfigure(generate::node(random));
    }
    for _ in 0..=random.below(3) {
        let number = random.below(generate::SERVICE_COUNT);
        let service = generate::service(random, number, affinity);
        let slices = generate::slices(random, &service);
        if random.once_in(6) {
            let gone = ObjectRef {
                kind: Kind::Service,
                key: ObjectKey::new("default", format!("service-{number}")),
            };
            both.node.delete(&[gone]);
        } else if random.once_in(3) {
            both.node
                .apply(slices.into_iter().map(Object::EndpointSlice));
        } else {
            let slices = slices.into_iter().map(Object::EndpointSlice);
            both.node.apply(slices.chain([Object::Service(service)]));
        }
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Compares both for so many rounds.
fn agree(rounds: u64, masquerade_ports: Option<RangeInclusive<u16>>) {
    let seed = from_environment("PORTOLAN_SEED", 1);
    let mut random = Random(seed);
    let mut both = Both::new(generate::node(&mut random), masquerade_ports);
    let mut forwarded = 0;
    for round in 0..from_environment("PORTOLAN_ROUNDS", rounds) {
        let label = format!("PORTOLAN_SEED={seed}, round {round}");
        change(&mut random, &mut both, false);
        both.publish();
        for _ in 0..12 {
            let flow = Flow::random(&mut random, &both);
            forwarded += u32::from(both.compare(&flow, &label).is_some());
        }
        // Every endpoint that may be chosen is.
        let flow = Flow::random(&mut random, &both);
        let mut seen = BTreeSet::new();
        let mut tries = 0;
        while let Some((endpoint, choices)) = both.compare(&flow, &label) {
            seen.insert(endpoint);
            tries += 1;
            if seen.len() == choices.len() {
                break;
            }
            assert!(
                tries < 64 * choices.len(),
                "{label}: {flow:?}: only {seen:?} of {choices:?}"
            );
        }
        assert!(both.table.rejections().next().is_none(), "{label}");
    }
    assert!(forwarded > 100, "nothing was tried");
}

#[test]
fn kernel_and_userspace_treat_every_connection_alike() {
    in_namespace("kernel_and_userspace_treat_every_connection_alike", || {
        agree(1_000, None);
    });
}

#[test]
fn what_the_kernel_masquerades_it_gives_ports_of_the_range() {
    in_namespace(
        "what_the_kernel_masquerades_it_gives_ports_of_the_range",
        || agree(100, Some(10_000..=19_999)),
    );
}
