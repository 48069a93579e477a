//! A dataplane with Services and connections, and packets for it.

use crate::clock::CpuTime;
use crate::flow::{
    ENDPOINT_PORT, ENDPOINTS_EACH, End, FRONTEND_PORT, SERVICES, client, endpoint_address,
    frontend, frontend_address, node_address, stranger,
};
use crate::frame::{Segment, Shape};
use core::net::IpAddr;
use core::time::Duration;
use portolan::dataplane::{Config, Dataplane, Limits, Verdict, Worker};
use portolan::driver::huge_pages;
use portolan::net::{Direction, Instant, Protocol, ServiceId};
use portolan::packet::tcp_flags;
use portolan::service::{
    Edit, EndpointSet, EndpointSpec, Frontend, FrontendKind, NodeSpec, Schedule, ServiceSpec,
    SourceRule, TableLimits,
};
use portolan::table::hash::next_seed;
use std::sync::Arc;

/// Packets that are filled, then timed, together: 64 KiB of frames, so that they are in the second-level
/// cache, as packets are that a driver has just touched.
pub const SEGMENT_PACKETS: usize = 512;

/// New connections in a round of [`Case::New`], at most; half the table if that is less.
const NEW_EACH_ROUND: u32 = 1 << 15;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What kind of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Case {
    /// Of established connections, destination translated; both directions alike.
    EstablishedDnat,
    /// The same with the source translated too.
    EstablishedMasquerade,
    /// First packets of new connections; the table is full afterwards.
    New,
    /// To destinations that are no frontends.
    Pass,
}

/// Which connections are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// All alike.
    Uniform,
    /// The nth most popular one n times less than the first.
    Zipf,
}

/// What packets of established TCP connections do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// 20 bytes of data each, so that every packet moves what the connection remembers.
    Data,
    /// Acknowledge what was acknowledged, so that nothing moves.
    Ack,
}

/// One scene.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// What is timed.
    pub case: Case,
    /// Connections in the table, which has room for exactly these.
    pub connections: u32,
    /// Their family.
    pub family: Family,
    /// Their protocol: TCP or UDP.
    pub protocol: Protocol,
    /// Packets a burst.
    pub burst: usize,
    /// Which of them are chosen.
    pub distribution: Distribution,
    /// What their packets do.
    pub traffic: Traffic,
}

/// What the sender of a packet must remember of a connection.
#[derive(Debug, Clone, Copy)]
struct Flow {
    endpoint: u16,
    /// The source port that the endpoint sees.
    port: u16,
    /// The next sequence number of client and endpoint.
    next: [u32; 2],
}

/// A dataplane, filled.
#[derive(Debug)]
pub struct Scene {
    setup: Setup,
    dataplane: Dataplane,
    worker: Worker,
    flows: Vec<Flow>,
    segment: Segment,
    now: Instant,
    random: u64,
    /// Number of the next client never seen before.
    fresh: u32,
    table_bytes: u64,
}

impl Scene {
    /// Makes the table and opens the connections.
    ///
    /// # Panics
    /// If the dataplane does not do what every scene needs: that is a finding, not a figure.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let config = config(&setup);
        let empty = Limits {
            connections_ipv4: 0,
            connections_ipv6: 0,
            ..config.limits
        };
        let table_bytes = config.limits.memory().connections - empty.memory().connections;
        let mut dataplane = Dataplane::new(&config).unwrap_or_else(|error| panic!("{error}"));
        let published = dataplane
            .publish(&mut edits(&setup))
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(published.refused.is_empty(), "{:?}", published.refused);
        let worker = dataplane.worker().unwrap_or_else(|error| panic!("{error}"));
        let mut scene = Self {
            setup,
            dataplane,
            worker,
            flows: Vec::new(),
            segment: Segment::new(SEGMENT_PACKETS),
            now: Instant::from_secs(1),
            random: 42,
            fresh: setup.connections,
            table_bytes,
        };
        scene.establish(setup.connections - scene.new_each_round());
        scene
    }

    /// What was asked for.
    #[must_use]
    pub const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Bytes of the connection table, index included.
    #[must_use]
    pub const fn table_bytes(&self) -> u64 {
        self.table_bytes
    }

    fn new_each_round(&self) -> u32 {
        match self.setup.case {
            Case::New => NEW_EACH_ROUND.min(self.setup.connections / 2),
            Case::EstablishedDnat | Case::EstablishedMasquerade | Case::Pass => 0,
        }
    }

    fn establish(&mut self, count: u32) {
        for first in (0..count).step_by(SEGMENT_PACKETS) {
            let numbers = first..count.min(first + SEGMENT_PACKETS as u32);
            self.segment.descriptors.clear();
            for number in numbers.clone() {
                self.push_first(number);
            }
            self.run(Verdict::Forward);
            for position in 0..numbers.len() {
                let flow = self.opened(position);
                self.flows.push(flow);
            }
        }
        // A UDP flow is a stream when it is answered after two seconds.
        self.now = self.now.after(Duration::from_secs(5));
        for (direction, flags) in [
            (Direction::Reply, tcp_flags::SYN | tcp_flags::ACK),
            (Direction::Original, tcp_flags::ACK),
        ] {
            for first in (0..count).step_by(SEGMENT_PACKETS) {
                self.segment.descriptors.clear();
                for number in first..count.min(first + SEGMENT_PACKETS as u32) {
                    self.push(number, direction, flags, false);
                }
                self.run(Verdict::Forward);
            }
        }
    }

    /// The flow of a first packet that was just translated.
    fn opened(&self, position: usize) -> Flow {
        let packet = self.segment.packet(position);
        let (destination, transport) = match self.setup.family {
            Family::Ipv4 => (18, 20),
            Family::Ipv6 => (38, 40),
        };
        let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        Flow {
            endpoint: word(destination) - 1,
            port: word(transport),
            next: [1, 0],
        }
    }

    fn push_first(&mut self, number: u32) {
        let Setup {
            family, protocol, ..
        } = self.setup;
        let ends = [client(family, number), frontend(family, number)];
        self.segment.push(family, protocol, ends, &Shape::SYN);
    }

    /// A packet of an open connection.
    fn push(&mut self, number: u32, direction: Direction, flags: u8, data: bool) {
        let Setup {
            case,
            family,
            protocol,
            ..
        } = self.setup;
        let flow = &mut self.flows[number as usize];
        let ends = match direction {
            Direction::Original => [client(family, number), frontend(family, number)],
            Direction::Reply => {
                let endpoint = End::new(
                    endpoint_address(family, u32::from(flow.endpoint)),
                    ENDPOINT_PORT,
                );
                let mut source = client(family, number);
                if case == Case::EstablishedMasquerade {
                    source = End::new(node_address(family), flow.port);
                }
                [endpoint, source]
            }
        };
        let (own, peer) = (direction as usize, direction.reverse() as usize);
        let shape = Shape {
            flags,
            sequence: flow.next[own],
            acknowledgment: flow.next[peer],
            data,
        };
        let occupied = u32::from(flags & tcp_flags::SYN != 0) + if data { 20 } else { 0 };
        flow.next[own] = flow.next[own].wrapping_add(occupied);
        self.segment.push(family, protocol, ends, &shape);
    }

    /// Fills the segment with up to `packets` packets of the case; how many there are.
    fn fill(&mut self, packets: usize) -> usize {
        self.segment.descriptors.clear();
        let Setup {
            case,
            family,
            protocol,
            traffic,
            ..
        } = self.setup;
        let count = packets.min(SEGMENT_PACKETS);
        for _ in 0..count {
            match case {
                Case::EstablishedDnat | Case::EstablishedMasquerade => {
                    let number = self.choose();
                    let direction = if next_seed(&mut self.random) & 1 == 0 {
                        Direction::Original
                    } else {
                        Direction::Reply
                    };
                    self.push(number, direction, tcp_flags::ACK, traffic == Traffic::Data);
                }
                Case::New => {
                    let number = self.fresh;
                    self.fresh = self.fresh.wrapping_add(1);
                    self.push_first(number);
                }
                Case::Pass => {
                    let number = self.choose();
                    let ends = [client(family, number), stranger(family, number)];
                    self.segment.push(family, protocol, ends, &Shape::SYN);
                }
            }
        }
        count
    }

    /// The number of a connection, as the distribution has it.
    fn choose(&mut self) -> u32 {
        let random = next_seed(&mut self.random);
        let count = self.setup.connections;
        let rank = match self.setup.distribution {
            Distribution::Uniform => ((u128::from(random) * u128::from(count)) >> 64) as u32,
            Distribution::Zipf => {
                // The continuous distribution with density 1/x between 1 and count + 1.
                let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
                ((unit * f64::from(count + 1).ln()).exp() as u32).clamp(1, count) - 1
            }
        };
        // Neighbours in popularity are no neighbours in memory.
        (u64::from(rank) * 0x9e37_79b1 % u64::from(count)) as u32
    }

    fn expected(&self) -> Verdict {
        match self.setup.case {
            Case::Pass => Verdict::Pass,
            Case::EstablishedDnat | Case::EstablishedMasquerade | Case::New => Verdict::Forward,
        }
    }

    /// Moves about `packets` packets of the case; CPU time of the bursts alone, and how many packets.
    ///
    /// # Panics
    /// If a packet's verdict is not the case's.
    pub fn round(&mut self, clock: &CpuTime, packets: u32) -> (Duration, u64) {
        let wanted = match self.setup.case {
            Case::New => packets.min(self.new_each_round()),
            Case::EstablishedDnat | Case::EstablishedMasquerade | Case::Pass => packets,
        };
        let (mut time, mut moved) = (Duration::ZERO, 0);
        while moved < wanted as usize {
            moved += self.fill(wanted as usize - moved);
            time += clock.time(|| self.bursts());
            self.check(self.expected());
        }
        if self.setup.case == Case::New {
            self.expire();
        }
        (time, moved as u64)
    }

    /// Lets the connections of the last round, never answered, expire.
    fn expire(&mut self) {
        self.now = self.now.after(Duration::from_secs(121));
        let left = u64::from(self.setup.connections - self.new_each_round());
        let used = |dataplane: &Dataplane| {
            let usage = dataplane.stats().usage;
            usage.connections_ipv4 + usage.connections_ipv6
        };
        while used(&self.dataplane) > left {
            let _ = self.dataplane.poll(self.now);
        }
    }

    fn run(&mut self, expected: Verdict) {
        self.bursts();
        self.check(expected);
    }

    /// Moves what is in the segment, in bursts.
    fn bursts(&mut self) {
        let Segment {
            frames,
            descriptors,
        } = &mut self.segment;
        for burst in descriptors.chunks_mut(self.setup.burst) {
            crate::burst_under_test(&mut self.worker, self.now, frames, burst);
        }
    }

    fn check(&self, expected: Verdict) {
        for descriptor in &self.segment.descriptors {
            let found = (descriptor.verdict(), descriptor.drop_reason());
            assert_eq!(found, (expected, None), "{:?}", self.setup);
        }
    }
}

fn config(setup: &Setup) -> Config {
    let (ipv4, ipv6) = match setup.family {
        Family::Ipv4 => (setup.connections, 0),
        Family::Ipv6 => (0, setup.connections),
    };
    let mut config = Config {
        limits: Limits {
            connections_ipv4: ipv4,
            connections_ipv6: ipv6,
            table: TableLimits {
                services: SERVICES,
                frontends: SERVICES,
                endpoints: SERVICES * ENDPOINTS_EACH,
                source_ranges: 1,
                hash_buckets: 0,
            },
            affinities: 1,
            fragments: 1,
            workers: 2,
            endpoint_counters: true,
        },
        seed: 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834,
        memory_advice: Some(huge_pages),
        ..Config::default()
    };
    // Rounds of new connections make time pass; established ones are to outlive it, as TCP's do anyway.
    config.timeouts.udp_stream = Duration::from_secs(5 * 24 * 3600);
    config
}

fn edits(setup: &Setup) -> Vec<Edit> {
    let family = setup.family;
    let rule = SourceRule {
        set: EndpointSet::Cluster,
        masquerade: setup.case == Case::EstablishedMasquerade,
    };
    let mut node = NodeSpec {
        addresses: vec![node_address(family)],
        ..NodeSpec::default()
    };
    match node_address(family) {
        IpAddr::V4(address) => node.masquerade_ipv4 = Some(address),
        IpAddr::V6(address) => node.masquerade_ipv6 = Some(address),
    }
    let service = |number: u32| {
        let first = number * ENDPOINTS_EACH;
        let endpoint = |endpoint: u32| EndpointSpec {
            address: endpoint_address(family, endpoint),
            port: ENDPOINT_PORT,
            local: false,
            in_cluster_set: true,
            in_local_set: false,
            weight: 1,
            tag: u64::from(endpoint),
        };
        let frontend = Frontend {
            address: frontend_address(family, number),
            port: FRONTEND_PORT,
            kind: FrontendKind::ClusterIp,
            rules: [rule; 3],
            source_ranges: Vec::new(),
        };
        let spec = ServiceSpec {
            protocol: setup.protocol,
            frontends: vec![frontend],
            endpoints: (first..first + ENDPOINTS_EACH).map(endpoint).collect(),
            affinity_seconds: None,
            schedule: Schedule::default(),
        };
        Edit::Put(ServiceId(number), Arc::new(spec))
    };
    let mut edits = vec![Edit::Node(node)];
    edits.extend((0..SERVICES).map(service));
    edits
}
