//! Connection tracking and the Service table against a model that is obviously right: a map, no lock, no hash.
//!
//! Random packets, publications and time go to both; verdicts, tuples, uniqueness and use must agree.

mod common;

use common::{
    Cluster, Rig, cluster_ip, clusters, config, destination, endpoint, opening, service, source,
};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use portolan::dataplane::{Config, DropReason, Limits, Verdict, descriptor_flags};
use portolan::net::{Protocol, Scheduler, ServiceId, Tuple};
use portolan::packet::build;
use portolan::service::{Schedule, ServiceSpec};
use portolan::sync::Load;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const CAPACITY: u32 = 12;
const AFFINITY_SECONDS: u64 = 40;
const DOORS: usize = 3;

/// One step. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    /// A first packet, or another one like it.
    Open {
        door: usize,
        client: usize,
        port: u16,
    },
    /// The endpoint of the n-th connection answers.
    Answer {
        nth: usize,
    },
    /// The client of the n-th connection resets it, exactly; one that was never answered is forgotten.
    Close {
        nth: usize,
    },
    /// Door `door` now has these endpoints.
    Serve {
        door: usize,
        endpoints: Vec<usize>,
    },
    Wait {
        seconds: u64,
    },
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..DOORS, 0..2_usize, 1..6_u16).prop_map(|(door, client, port)| Step::Open { door, client, port }),
        4 => (0..20_usize).prop_map(|nth| Step::Answer { nth }),
        1 => (0..20_usize).prop_map(|nth| Step::Close { nth }),
        2 => (0..DOORS, vec(0..4_usize, 0..4)).prop_map(|(door, endpoints)| Step::Serve { door, endpoints }),
        2 => (1..45_u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Poll),
    ]
}

/// A connection as the model knows it.
#[derive(Debug, Clone)]
struct Known {
    door: usize,
    reply: Tuple<IpAddr>,
    /// Seconds since the start.
    deadline: u64,
    begun: u64,
    answered: bool,
    closed: bool,
    /// The endpoint's life when it was chosen.
    life: u64,
}

struct Model {
    rig: Rig,
    cluster: Cluster,
    now: u64,
    known: BTreeMap<Tuple<IpAddr>, Known>,
    /// Of each door, its endpoints and their lives.
    serving: [BTreeMap<IpAddr, u64>; DOORS],
    lives: u64,
    /// Of each door and client: endpoint, its life, and until when.
    kept: BTreeMap<(usize, IpAddr), (IpAddr, u64, u64)>,
}

/// Those of the doors; the first two count connections.
const SCHEDULERS: [Scheduler; DOORS] = [
    Scheduler::LeastConnection,
    Scheduler::WeightedLeastConnection,
    Scheduler::Random,
];

/// Door 0 is UDP, door 1 is TCP, door 2 is UDP with affinity.
const fn protocol(door: usize) -> Protocol {
    if door == 1 {
        Protocol::Tcp
    } else {
        Protocol::Udp
    }
}

impl Model {
    fn new(cluster: Cluster) -> Self {
        let plain = config();
        let mut model = Self {
            rig: Rig::new(&Config {
                limits: Limits {
                    connections_ipv4: CAPACITY,
                    connections_ipv6: CAPACITY,
                    ..plain.limits
                },
                ..plain
            }),
            cluster,
            now: 0,
            known: BTreeMap::new(),
            serving: Default::default(),
            lives: 0,
            kept: BTreeMap::new(),
        };
        for door in 0..DOORS {
            model.serve(door, &[0, 1, 2]);
        }
        model
    }

    fn address(&self, door: usize) -> SocketAddr {
        SocketAddr::new(self.cluster.vip, 80 + door as u16)
    }

    fn serve(&mut self, door: usize, chosen: &[usize]) {
        let servers: BTreeSet<IpAddr> = chosen.iter().map(|n| self.cluster.endpoints[*n]).collect();
        self.serving[door].retain(|server, _| servers.contains(server));
        for server in &servers {
            self.lives += 1;
            self.serving[door].entry(*server).or_insert(self.lives);
        }
        // All doors lead to one port, so that one client reaches one endpoint by two of them.
        let endpoints = servers
            .iter()
            .map(|server| endpoint(*server, 8_080))
            .collect();
        let address = self.address(door);
        let spec = service(
            protocol(door),
            vec![cluster_ip(address.ip(), address.port())],
            endpoints,
        );
        let affinity_seconds = (door == 2).then_some(AFFINITY_SECONDS as u32);
        let schedule = Schedule {
            scheduler: SCHEDULERS[door],
            ..Schedule::default()
        };
        self.rig.put(
            door as u32,
            ServiceSpec {
                affinity_seconds,
                schedule,
                ..spec
            },
        );
    }

    fn is_cut(&self, known: &Known) -> bool {
        protocol(known.door) == Protocol::Udp
            && self.serving[known.door].get(&known.reply.source) != Some(&known.life)
    }

    fn alive(&self, original: &Tuple<IpAddr>) -> Option<&Known> {
        self.known
            .get(original)
            .filter(|known| known.deadline > self.now)
    }

    fn timeout(known: &Known, now: u64) -> u64 {
        match (protocol(known.door), known.closed, known.answered) {
            (Protocol::Udp, _, true) if now > known.begun + 2 => 120,
            (Protocol::Udp, ..) => 30,
            (_, true, _) => 10,
            (_, false, true) => 60,
            (_, false, false) => 120,
        }
    }

    fn open(&mut self, door: usize, client: usize, port: u16) {
        let client = [self.cluster.client, self.cluster.other_client][client];
        let from = SocketAddr::new(client, port);
        let packet = opening(protocol(door), from, self.address(door));
        let original = common::tuple(&packet);
        let before = self
            .alive(&original)
            .cloned()
            .filter(|known| !self.is_cut(known));
        let moved = self.rig.send(&packet);
        let now = self.now;
        if let Some(known) = before.filter(|known| !known.closed) {
            // It stays where it is, whatever became of the Service.
            assert_eq!(moved.forwarded(), known.reply.reverse());
            assert_eq!(moved.flags & descriptor_flags::NEW, 0);
            let entry = self.known.get_mut(&original).expect("known");
            // A SYN in SYN_RECV is an old one, and prolongs nothing.
            if protocol(door) == Protocol::Udp || !known.answered {
                entry.deadline = now + Self::timeout(&known, now);
            }
            return;
        }
        // What was there, expired, cut or closed, is gone.
        self.known.remove(&original);
        match moved.verdict {
            Verdict::Reply => assert!(self.serving[door].is_empty(), "rejected beside endpoints"),
            Verdict::Drop => {
                assert_eq!(moved.reason, Some(DropReason::ConnectionTableFull));
                let unanswered = |known: &&Known| known.deadline > now && !known.closed;
                let full = self.known.values().filter(unanswered).count();
                assert!(full > 0, "refused by an empty table");
                self.forget_evicted();
            }
            Verdict::Forward => {
                self.opened(door, client, original, &moved.forwarded(), moved.flags)
            }
            Verdict::Pass => panic!("a frontend's packet passed"),
        }
    }

    fn opened(
        &mut self,
        door: usize,
        client: IpAddr,
        original: Tuple<IpAddr>,
        forward: &Tuple<IpAddr>,
        flags: u16,
    ) {
        assert_eq!(flags & descriptor_flags::NEW, descriptor_flags::NEW);
        let server = forward.destination;
        let life = *self.serving[door]
            .get(&server)
            .expect("an endpoint that serves");
        assert_eq!((forward.source, forward.destination_port), (client, 8_080));
        if door == 2 {
            if let Some((kept, its_life, until)) = self.kept.get(&(door, client))
                && *until > self.now
                && self.serving[door].get(kept) == Some(its_life)
            {
                assert_eq!(server, *kept, "affinity");
            }
            self.kept
                .insert((door, client), (server, life, self.now + AFFINITY_SECONDS));
        }
        self.forget_evicted();
        let mut known = Known {
            door,
            reply: forward.reverse(),
            deadline: 0,
            begun: self.now,
            answered: false,
            closed: false,
            life,
        };
        known.deadline = self.now + Self::timeout(&known, self.now);
        let clash = self
            .known
            .values()
            .any(|other| other.deadline > self.now && other.reply == known.reply);
        assert!(
            !clash || self.known.values().any(|other| self.is_cut(other)),
            "two share {}",
            known.reply
        );
        self.known.insert(original, known);
    }

    /// Whom a full table evicted is its own choice, within the rules: never answered UDP.
    fn forget_evicted(&mut self) {
        let shown: BTreeSet<_> = self.rig.connections().iter().map(|c| c.original).collect();
        let now = self.now;
        let mut lost = Vec::new();
        self.known.retain(|original, known| {
            let gone = known.deadline > now && !shown.contains(original);
            if gone {
                lost.push(known.clone());
            }
            !gone
        });
        for known in lost {
            let safe =
                protocol(known.door) == Protocol::Udp && known.answered && !self.is_cut(&known);
            assert!(!safe, "evicted: {known:?}");
        }
    }

    fn nth(&self, nth: usize) -> Option<(Tuple<IpAddr>, Known)> {
        let alive: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.deadline > self.now)
            .collect();
        let (original, known) = alive.get(nth % alive.len().max(1))?;
        Some((**original, (*known).clone()))
    }

    fn answer(&mut self, nth: usize) {
        let Some((original, known)) = self.nth(nth) else {
            return;
        };
        let (from, to) = (source(&known.reply), destination(&known.reply));
        let packet = match protocol(known.door) {
            Protocol::Tcp => build::tcp(from, to)
                .flags(0x12)
                .sequence(5)
                .acknowledgment(1_001),
            Protocol::Udp | Protocol::Sctp => build::udp(from, to).payload(b"answer"),
        };
        let moved = self.rig.send(&packet.build());
        if self.is_cut(&known) {
            moved.passed();
            self.known.remove(&original);
            return;
        }
        // reply(reply(t)) = t
        assert_eq!(moved.forwarded(), original.reverse());
        assert_ne!(moved.flags & descriptor_flags::REPLY_DIRECTION, 0);
        let now = self.now;
        let entry = self.known.get_mut(&original).expect("alive");
        let first = !entry.answered;
        entry.answered = true;
        if protocol(known.door) == Protocol::Udp || (first && !entry.closed) {
            entry.deadline = now + Self::timeout(&entry.clone(), now);
        }
    }

    fn close(&mut self, nth: usize) {
        let Some((original, known)) = self.nth(nth) else {
            return;
        };
        if protocol(known.door) != Protocol::Tcp || known.closed {
            return;
        }
        let reset = build::tcp(source(&original), destination(&original))
            .flags(0x04)
            .sequence(1_001);
        assert_eq!(
            self.rig.send(&reset.build()).forwarded(),
            known.reply.reverse()
        );
        let now = self.now;
        if !known.answered {
            self.known.remove(&original);
            return;
        }
        let entry = self.known.get_mut(&original).expect("alive");
        entry.closed = true;
        entry.deadline = now + 10;
    }

    /// What is shown is what is known; no two share a tuple; use is within the limit.
    fn agree(&self) {
        let shown: BTreeMap<_, _> = self
            .rig
            .connections()
            .iter()
            .map(|c| (c.original, c.reply))
            .collect();
        let known: BTreeMap<_, _> = self
            .known
            .iter()
            .filter(|(_, known)| known.deadline > self.now)
            .map(|(original, known)| (*original, known.reply))
            .collect();
        assert_eq!(shown, known);
        let mut tuples = BTreeSet::new();
        for (original, reply) in &shown {
            assert!(
                tuples.insert(*original) && tuples.insert(*reply),
                "a tuple twice"
            );
        }
        let usage = self.rig.dataplane.stats().usage;
        let used = usage.connections_ipv4 + usage.connections_ipv6;
        assert!(
            (shown.len() as u64..=u64::from(CAPACITY)).contains(&used),
            "{used} used"
        );
    }

    /// Each endpoint's load is its connections, now that no expired one is left.
    fn count(&self) {
        for (door, scheduler) in SCHEDULERS.iter().enumerate() {
            for (id, at) in self.rig.dataplane.endpoints_of(ServiceId(door as u32)) {
                let mut load = Load::default();
                let own = self.known.values().filter(|known| {
                    known.deadline > self.now
                        && known.door == door
                        && known.reply.source == at.ip()
                        && self.serving[door].get(&at.ip()) == Some(&known.life)
                });
                for known in own.filter(|_| scheduler.counts_connections()) {
                    if known.closed {
                        load.inactive += 1;
                    } else {
                        load.active += 1;
                    }
                }
                assert_eq!(self.rig.dataplane.load(id), load, "{at} of door {door}");
            }
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Open { door, client, port } => self.open(*door, *client, *port),
            Step::Answer { nth } => self.answer(*nth),
            Step::Close { nth } => self.close(*nth),
            Step::Serve { door, endpoints } => self.serve(*door, endpoints),
            Step::Wait { seconds } => {
                self.now += seconds;
                self.rig.wait(Duration::from_secs(*seconds));
            }
            Step::Poll => {
                self.rig.dataplane.poll(self.rig.now);
                self.forget_evicted();
                self.count();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_dataplane_does_what_the_model_does(steps in vec(step(), 1..200)) {
        for cluster in clusters() {
            let mut model = Model::new(cluster);
            for step in &steps {
                model.take(step);
                model.agree();
            }
            model.rig.wait(Duration::from_secs(500));
            model.now += 500;
            prop_assert_eq!(model.rig.dataplane.poll(model.rig.now), None, "return to zero");
            model.count();
        }
    }
}
