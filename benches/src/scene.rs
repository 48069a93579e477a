//! A dataplane with Services and connections, and packets for it.

use crate::clock::CpuTime;
use crate::flow::{
    ENDPOINT_PORT, ENDPOINTS_EACH, FRONTEND_PORT, SERVICES, endpoint_address, frontend_address,
    node_address,
};
use crate::sender::Sender;
use core::net::IpAddr;
use core::ops::Range;
use core::time::Duration;
use portolan::dataplane::{Config, Dataplane, Limits, Worker};
use portolan::driver::huge_pages;
use portolan::net::{Protocol, ServiceId};
use portolan::service::{
    Edit, EndpointSet, EndpointSpec, Frontend, FrontendKind, NodeSpec, Schedule, ServiceSpec,
    SourceRule, TableLimits,
};
use std::sync::Arc;

/// Room for connections that are not established: those of a round of [`Case::New`], or a flood's. Half the table if
/// that is less.
const ROOM_FOR_NEW: u32 = 1 << 15;

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
    /// Between addresses that are no Service's, neither frontend nor endpoint.
    Pass,
    /// From endpoints to destinations that are no frontends: it may be an answer, until it is looked up.
    PassFromEndpoint,
    /// First packets of clients that never go on, into a table that is full: some evict one of their kind, others are
    /// dropped.
    SynFlood,
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
    /// 20 bytes of data from the client, then the endpoint's acknowledgment: a connection waits after every other packet,
    /// and netfilter's timeout is another one each time.
    Exchange,
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

/// A dataplane, filled, and who sends packets through it.
#[derive(Debug)]
pub struct Scene {
    setup: Setup,
    dataplane: Dataplane,
    sender: Sender,
    table_bytes: u64,
}

impl Scene {
    /// Makes the table and opens the connections.
    ///
    /// # Panics
    /// If the dataplane does not do what every scene needs: that is a finding, not a figure.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self::beside(setup, 0)
    }

    /// The same, with so many more Services that nobody asks for: [`idle_service`] puts them.
    ///
    /// # Panics
    /// As [`Scene::new`].
    #[must_use]
    pub fn beside(setup: Setup, idle_services: u32) -> Self {
        let config = config(&setup, idle_services);
        let empty = Limits {
            connections_ipv4: 0,
            connections_ipv6: 0,
            ..config.limits
        };
        let table_bytes = config.limits.memory().connections - empty.memory().connections;
        let mut dataplane = Dataplane::new(&config).unwrap_or_else(|error| panic!("{error}"));
        publish(&mut dataplane, edits(&setup));
        let idle = (0..idle_services).map(|number| idle_service(&setup, number, 0));
        publish(&mut dataplane, idle.collect());
        let worker = dataplane.worker().unwrap_or_else(|error| panic!("{error}"));
        let mut sender = Sender::new(setup, worker);
        sender.establish(setup.connections - setup.room_for_new());
        if matches!(
            setup.case,
            Case::EstablishedDnat | Case::EstablishedMasquerade
        ) {
            // A connection's first data moves its deadline, and its first window is remembered: what is measured comes after.
            sender.visit_all();
        }
        let mut scene = Self {
            setup,
            dataplane,
            sender,
            table_bytes,
        };
        if setup.case == Case::SynFlood {
            // Fills what room there is.
            let _ = scene.round(&CpuTime::new(), setup.room_for_new());
        }
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

    /// Moves about `packets` packets of the case; CPU time of the bursts alone, and how many packets.
    ///
    /// # Panics
    /// If a packet's verdict is not the case's.
    pub fn round(&mut self, clock: &CpuTime, packets: u32) -> (Duration, u64) {
        let wanted = match self.setup.case {
            Case::New => packets.min(self.setup.room_for_new()),
            Case::EstablishedDnat
            | Case::EstablishedMasquerade
            | Case::Pass
            | Case::PassFromEndpoint
            | Case::SynFlood => packets,
        };
        let measured = self.sender.round(clock, wanted);
        if self.setup.case == Case::New {
            self.expire();
        }
        measured
    }

    /// Lets the connections of the last round, never answered, expire.
    fn expire(&mut self) {
        let now = self.sender.wait(Duration::from_secs(121));
        let left = u64::from(self.setup.connections - self.setup.room_for_new());
        while self.used() > left {
            let _ = self.dataplane.poll(now);
        }
    }

    /// Connections in the table.
    #[must_use]
    pub fn used(&self) -> u64 {
        let usage = self.dataplane.stats().usage;
        usage.connections_ipv4 + usage.connections_ipv6
    }

    /// The dataplane, and its sender.
    #[must_use]
    pub fn parts(self) -> (Dataplane, Sender) {
        (self.dataplane, self.sender)
    }

    /// The dataplane, and two senders on workers of their own over the same connections: the first sends what clients
    /// send, the second what endpoints answer.
    ///
    /// # Panics
    /// If there is no second worker.
    #[must_use]
    pub fn crossed(self) -> (Dataplane, [Sender; 2]) {
        let worker = another_worker(&self.dataplane);
        let senders = self.sender.crossed(worker);
        (self.dataplane, senders)
    }

    /// The dataplane of a [`Case::SynFlood`], a sender over its established connections, and one who floods.
    ///
    /// # Panics
    /// If there is no second worker.
    #[must_use]
    pub fn flooded(self) -> (Dataplane, Sender, Sender) {
        let worker = another_worker(&self.dataplane);
        let (established, flood) = self.sender.flooded(worker);
        (self.dataplane, established, flood)
    }
}

fn another_worker(dataplane: &Dataplane) -> Worker {
    let worker = dataplane.worker();
    worker.unwrap_or_else(|error| panic!("{error}"))
}

impl Setup {
    pub(crate) fn room_for_new(&self) -> u32 {
        match self.case {
            Case::New | Case::SynFlood => ROOM_FOR_NEW.min(self.connections / 2),
            Case::EstablishedDnat
            | Case::EstablishedMasquerade
            | Case::Pass
            | Case::PassFromEndpoint => 0,
        }
    }
}

/// Publishes edits all of which fit.
///
/// # Panics
/// If one of them does not.
pub fn publish(dataplane: &mut Dataplane, mut edits: Vec<Edit>) {
    let published = dataplane
        .publish(&mut edits)
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(published.refused.is_empty(), "{:?}", published.refused);
}

fn config(setup: &Setup, idle_services: u32) -> Config {
    let (ipv4, ipv6) = match setup.family {
        Family::Ipv4 => (setup.connections, 0),
        Family::Ipv6 => (0, setup.connections),
    };
    let mut config = Config {
        limits: Limits {
            connections_ipv4: ipv4,
            connections_ipv6: ipv6,
            table: TableLimits {
                services: SERVICES + idle_services,
                frontends: SERVICES + idle_services,
                // A changed Service's former endpoint keeps its place for a while.
                endpoints: SERVICES * ENDPOINTS_EACH + 2 * idle_services,
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
    let mut node = NodeSpec {
        addresses: vec![node_address(family)],
        ..NodeSpec::default()
    };
    match node_address(family) {
        IpAddr::V4(address) => node.masquerade_ipv4 = Some(address),
        IpAddr::V6(address) => node.masquerade_ipv6 = Some(address),
    }
    let mut edits = vec![Edit::Node(node)];
    edits.extend((0..SERVICES).map(|number| {
        let first = number * ENDPOINTS_EACH;
        service(setup, number, first..first + ENDPOINTS_EACH)
    }));
    edits
}

/// Puts a Service with one endpoint, which is another one for another `version`.
#[must_use]
pub fn idle_service(setup: &Setup, number: u32, version: u32) -> Edit {
    let endpoint = (SERVICES * ENDPOINTS_EACH + 2 * number) + version % 2;
    service(setup, SERVICES + number, endpoint..endpoint + 1)
}

fn service(setup: &Setup, number: u32, endpoints: Range<u32>) -> Edit {
    let family = setup.family;
    let rule = SourceRule {
        set: EndpointSet::Cluster,
        masquerade: setup.case == Case::EstablishedMasquerade,
    };
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
        endpoints: endpoints.map(endpoint).collect(),
        affinity_seconds: None,
        schedule: Schedule::default(),
    };
    Edit::Put(ServiceId(number), Arc::new(spec))
}
