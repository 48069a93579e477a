//! A dataplane with one worker, packets by name, and what always holds of a moved packet.
#![allow(dead_code, reason = "each test uses the part that it needs")]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use portolan::conntrack::Connection;
use portolan::dataplane::{
    Config, Dataplane, Descriptor, DropReason, Limits, Offload, Verdict, Worker,
};
use portolan::net::{Instant, Prefix, Protocol, ServiceId, Tuple};
use portolan::packet::{Parsed, build, parse};
use portolan::service::{
    Edit, EndpointSet, EndpointSpec, Frontend, FrontendKind, NodeSpec, Schedule, ServiceSpec,
    SourceRule, TableLimits,
};
use std::sync::Arc;

/// The addresses of one family's little cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cluster {
    pub(crate) name: &'static str,
    /// A pod on this node.
    pub(crate) client: IpAddr,
    pub(crate) other_client: IpAddr,
    pub(crate) outside: IpAddr,
    pub(crate) router: IpAddr,
    pub(crate) vip: IpAddr,
    pub(crate) other_vip: IpAddr,
    pub(crate) unallocated: IpAddr,
    pub(crate) node: IpAddr,
    pub(crate) endpoints: [IpAddr; 4],
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// IPv4 and IPv6.
pub(crate) fn clusters() -> [Cluster; 2] {
    [
        Cluster {
            name: "IPv4",
            client: ip("10.244.1.5"),
            other_client: ip("10.244.1.6"),
            outside: ip("203.0.113.7"),
            router: ip("192.168.66.1"),
            vip: ip("10.96.0.10"),
            other_vip: ip("10.96.0.11"),
            unallocated: ip("10.96.9.9"),
            node: ip("192.168.66.11"),
            endpoints: [
                ip("10.244.2.1"),
                ip("10.244.2.2"),
                ip("10.244.2.3"),
                ip("10.244.2.4"),
            ],
        },
        Cluster {
            name: "IPv6",
            client: ip("fd00:10:244:1::5"),
            other_client: ip("fd00:10:244:1::6"),
            outside: ip("2001:db8::7"),
            router: ip("fd00:66::1"),
            vip: ip("fd00:10:96::a"),
            other_vip: ip("fd00:10:96::b"),
            unallocated: ip("fd00:10:96::99"),
            node: ip("fd00:66::11"),
            endpoints: [
                ip("fd00:10:244:2::1"),
                ip("fd00:10:244:2::2"),
                ip("fd00:10:244:2::3"),
                ip("fd00:10:244:2::4"),
            ],
        },
    ]
}

/// What the table knows of the node in all tests.
pub(crate) fn node() -> NodeSpec {
    let prefix = |text: &str| text.parse::<Prefix>().expect("a prefix");
    NodeSpec {
        addresses: clusters().iter().map(|cluster| cluster.node).collect(),
        pod_prefixes: vec![prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")],
        service_prefixes: vec![prefix("10.96.0.0/16"), prefix("fd00:10:96::/112")],
        masquerade_ipv4: Some(Ipv4Addr::new(192, 168, 66, 11)),
        masquerade_ipv6: Some(Ipv6Addr::new(0xfd00, 0x66, 0, 0, 0, 0, 0, 0x11)),
        ..NodeSpec::default()
    }
}

/// Small tables, so that they can be filled.
pub(crate) fn config() -> Config {
    Config {
        limits: Limits {
            connections_ipv4: 64,
            connections_ipv6: 64,
            table: TableLimits {
                services: 64,
                frontends: 256,
                endpoints: 256,
                source_ranges: 64,
                hash_buckets: 1 << 17,
            },
            affinities: 64,
            fragments: 8,
            workers: 4,
            endpoint_counters: true,
        },
        ..Config::default()
    }
}

pub(crate) fn frontend(
    kind: FrontendKind,
    address: IpAddr,
    port: u16,
    masquerade: bool,
) -> Frontend {
    let rule = SourceRule {
        set: EndpointSet::Cluster,
        masquerade,
    };
    Frontend {
        address,
        port,
        kind,
        rules: [rule; 3],
        source_ranges: Vec::new(),
    }
}

pub(crate) fn cluster_ip(address: IpAddr, port: u16) -> Frontend {
    frontend(FrontendKind::ClusterIp, address, port, false)
}

pub(crate) fn node_port(address: IpAddr, port: u16) -> Frontend {
    frontend(FrontendKind::NodePort, address, port, true)
}

/// The tag of an endpoint in all tests: its port and the last byte of its address.
pub(crate) fn tag_of(address: IpAddr, port: u16) -> u64 {
    let last = match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    (u64::from(port) << 8) | u64::from(last)
}

pub(crate) fn endpoint(address: IpAddr, port: u16) -> EndpointSpec {
    EndpointSpec {
        address,
        port,
        local: false,
        in_cluster_set: true,
        in_local_set: false,
        weight: 1,
        tag: tag_of(address, port),
    }
}

pub(crate) fn service(
    protocol: Protocol,
    mut frontends: Vec<Frontend>,
    mut endpoints: Vec<EndpointSpec>,
) -> ServiceSpec {
    frontends.sort();
    endpoints.sort();
    ServiceSpec {
        protocol,
        frontends,
        endpoints,
        affinity_seconds: None,
        schedule: Schedule::default(),
    }
}

/// A dataplane, one worker, and the time.
pub(crate) struct Rig {
    pub(crate) dataplane: Dataplane,
    pub(crate) worker: Worker,
    pub(crate) now: Instant,
}

/// What became of a packet.
#[derive(Debug, Clone)]
pub(crate) struct Moved {
    pub(crate) verdict: Verdict,
    pub(crate) reason: Option<DropReason>,
    pub(crate) flags: u16,
    pub(crate) tag: u64,
    pub(crate) packet: Vec<u8>,
}

const GUARD: usize = 16;

impl Rig {
    pub(crate) fn new(config: &Config) -> Self {
        let dataplane = Dataplane::new(config).expect("small tables");
        let worker = dataplane.worker().expect("the first worker");
        let mut rig = Self {
            dataplane,
            worker,
            now: Instant::from_secs(1_000),
        };
        rig.publish(vec![Edit::Node(node())]);
        rig
    }

    pub(crate) fn publish(&mut self, mut edits: Vec<Edit>) {
        let published = self
            .dataplane
            .publish(&mut edits)
            .expect("no worker is in a burst");
        assert_eq!(published.refused, vec![], "every edit fits");
    }

    pub(crate) fn put(&mut self, id: u32, spec: ServiceSpec) {
        self.publish(vec![Edit::Put(ServiceId(id), Arc::new(spec))]);
    }

    pub(crate) fn wait(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
    }

    pub(crate) fn send(&mut self, packet: &[u8]) -> Moved {
        self.send_with(packet, Offload::default(), packet.len() + 100)
    }

    /// Moves one packet and holds what always holds: nothing outside its room is written, a packet that is
    /// passed or dropped is untouched, one that is forwarded keeps its length and right checksums.
    pub(crate) fn send_with(&mut self, packet: &[u8], offload: Offload, capacity: usize) -> Moved {
        let mut frames = vec![0xa5; capacity + 2 * GUARD];
        frames[GUARD..GUARD + packet.len()].copy_from_slice(packet);
        let mut descriptor = Descriptor::new(GUARD as u32, packet.len() as u32);
        descriptor.capacity = capacity as u32;
        descriptor.offload = offload;
        descriptor.ingress_tag = 0x1234;
        let mut burst = [descriptor];
        self.worker.process_burst(self.now, &mut frames, &mut burst);
        let [descriptor] = burst;
        assert_eq!(
            descriptor.ingress_tag, 0x1234,
            "the host's tag is the host's"
        );
        assert!(frames[..GUARD].iter().all(|byte| *byte == 0xa5));
        assert!(frames[GUARD + capacity..].iter().all(|byte| *byte == 0xa5));
        let after = &frames[GUARD..GUARD + descriptor.len as usize];
        match descriptor.verdict() {
            Verdict::Pass | Verdict::Drop => assert_eq!(after, packet, "untouched"),
            Verdict::Forward => {
                assert_eq!(after.len(), packet.len());
                if offload == Offload::default() {
                    assert_eq!(build::verify(after), build::verify(packet));
                }
            }
            Verdict::Reply => assert_eq!(build::verify(after), Ok(())),
        }
        assert_eq!(
            descriptor.drop_reason().is_some(),
            descriptor.verdict() == Verdict::Drop,
            "a reason with every drop, and with nothing else"
        );
        Moved {
            verdict: descriptor.verdict(),
            reason: descriptor.drop_reason(),
            flags: descriptor.flags,
            tag: descriptor.endpoint_tag,
            packet: after.to_vec(),
        }
    }

    /// Every connection, in the order of their original tuples.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        let mut all: Vec<_> = self.dataplane.connections(self.now).collect();
        all.sort_by_key(|connection| connection.original);
        all
    }

    /// The state and remaining seconds of the only connection.
    pub(crate) fn only(&self) -> Connection {
        let all = self.connections();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0]
    }
}

impl Moved {
    /// The tuple of a packet that must have been forwarded.
    #[track_caller]
    pub(crate) fn forwarded(&self) -> Tuple<IpAddr> {
        assert_eq!((self.verdict, self.reason), (Verdict::Forward, None));
        tuple(&self.packet)
    }

    #[track_caller]
    pub(crate) fn dropped(&self) -> DropReason {
        assert_eq!(self.verdict, Verdict::Drop);
        self.reason.expect("a reason")
    }

    #[track_caller]
    pub(crate) fn passed(&self) {
        assert_eq!((self.verdict, self.reason), (Verdict::Pass, None));
    }
}

/// The tuple of a well-formed packet; of an ICMP error, the quoted one.
#[track_caller]
pub(crate) fn tuple(packet: &[u8]) -> Tuple<IpAddr> {
    match parse(packet, &Offload::default()) {
        Parsed::Ipv4(headers) => headers.tuple.to_ip(),
        Parsed::Ipv6(headers) => headers.tuple.to_ip(),
        other @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{other:?}"),
    }
}

pub(crate) fn source(tuple: &Tuple<IpAddr>) -> SocketAddr {
    SocketAddr::new(tuple.source, tuple.source_port)
}

pub(crate) fn destination(tuple: &Tuple<IpAddr>) -> SocketAddr {
    SocketAddr::new(tuple.destination, tuple.destination_port)
}

/// A first packet of each protocol: SYN, a datagram, INIT.
pub(crate) fn opening(protocol: Protocol, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    match protocol {
        Protocol::Tcp => build::tcp(from, to).syn().build(),
        Protocol::Udp => build::udp(from, to).payload(b"question").build(),
        Protocol::Sctp => build::sctp(from, to).init(0xfeed_beef).build(),
    }
}

/// What an endpoint says to a first packet of each protocol: SYN and ACK, a datagram, INIT ACK.
pub(crate) fn answer(protocol: Protocol, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    match protocol {
        Protocol::Tcp => build::tcp(from, to)
            .flags(0x12)
            .sequence(5)
            .acknowledgment(1_001)
            .build(),
        Protocol::Udp => build::udp(from, to).build(),
        Protocol::Sctp => build::sctp(from, to)
            .verification_tag(0xfeed_beef)
            .chunk(2, 0, &[0; 16])
            .build(),
    }
}

/// A small generator, so that a failure repeats (`SplitMix64`).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        portolan::table::hash::next_seed(&mut self.0)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The seed of a test that chooses at random: `PORTOLAN_SEED`, or the given one. Printed, so that a failure
/// can be had again.
pub(crate) fn seed(default: u64) -> u64 {
    let seed = std::env::var("PORTOLAN_SEED").ok().map_or(default, |text| {
        text.parse().expect("PORTOLAN_SEED is a number")
    });
    println!("PORTOLAN_SEED={seed}");
    seed
}
