//! The same objects make the same plan and the same rejections, whatever happened before.

use super::*;
use crate::model::{self, Rejection, Weights};
use crate::net::Scheduler;
use crate::node::Batch;
use crate::plan::FrontendPlan;
use alloc::collections::BTreeMap;
use proptest::collection::vec;
use proptest::prelude::*;

/// What happens to one object.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a test makes few of them")]
enum Change {
    Put(Object),
    Delete(ObjectRef),
}

#[derive(Debug, Clone)]
enum Step {
    One(Change),
    /// One generation.
    Together(Vec<Change>),
    /// Listed anew: of the objects there were, those whose bit is set.
    Relist(Kind, u16),
    Reconfigure(NodeConfig),
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![
        Just(Protocol::Tcp),
        Just(Protocol::Udp),
        Just(Protocol::Sctp)
    ]
}

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)]
}

/// One of each kind that a small table has room for: the hashing ones want buckets.
fn scheduler() -> impl Strategy<Value = Scheduler> {
    prop_oneof![
        Just(Scheduler::Random),
        Just(Scheduler::WeightedRoundRobin),
        Just(Scheduler::LeastConnection)
    ]
}

fn weights() -> impl Strategy<Value = Weights> {
    (
        proptest::option::of(0..3_u16),
        vec((0..6_u8, 0..3_u16), 0..2),
    )
        .prop_map(|(all, some)| {
            let address = |number| World(Family::Ipv4).pod_here(number);
            let some = some.into_iter();
            Weights {
                all,
                by_address: some
                    .map(|(number, weight)| (address(number), weight))
                    .collect(),
            }
        })
}

/// Few names, addresses and ports, so that everything meets everything.
fn service() -> impl Strategy<Value = Object> {
    let shape = (
        (0..4_u8, 0..3_i64, 0..4_u8),
        any::<[bool; 9]>(),
        (proptest::option::of(scheduler()), weights()),
    );
    let port = (0..2_u8, protocol(), 80..82_u16, 0..3_u16);
    (shape, vec(port, 1..3), policy(), policy()).prop_map(
        |(((name, created, number), flags, (scheduler, weights)), ports, internal, external)| {
            let [
                dual,
                first_v6,
                externals,
                lb,
                proxy,
                foreign,
                headless,
                ranged,
                sticky,
            ] = flags;
            let (v4, v6) = (World(Family::Ipv4), World(Family::Ipv6));
            let mut service = web_everywhere(v4);
            service.key.name = format!("service-{name}");
            service.created = (created > 0).then_some(created);
            let (first, second) = if first_v6 { (v6, v4) } else { (v4, v6) };
            service.cluster_ips = vec![first.cluster_ip(number)];
            if dual {
                service.cluster_ips.push(second.cluster_ip(number));
                service.external_ips.push(v6.external_ip());
                service.ingress.push(Ingress {
                    ip: v6.lb_ip(),
                    proxy,
                });
            }
            if headless {
                service.cluster_ips.clear();
            }
            if !externals {
                service.external_ips.clear();
            }
            if !lb {
                service.ingress.clear();
            }
            if ranged {
                service.source_ranges = ranges(["192.168.0.0/16", "fd66::/64"]);
            }
            service.affinity_seconds = sticky.then_some(60);
            service.load_balancer = lb;
            service.scheduling.scheduler = scheduler;
            service.weights = weights;
            service.proxy_name = (foreign && number == 0).then(|| "other".into());
            service.health_check_node_port = lb.then_some(32_000);
            service.internal_traffic_policy = internal;
            service.external_traffic_policy = external;
            service.ports = ports
                .into_iter()
                .map(|(name, protocol, number, node_port)| ServicePort {
                    name: format!("p{name}"),
                    protocol,
                    port: number,
                    node_port: (node_port > 0).then_some(30_000 + node_port),
                })
                .collect();
            Object::Service(service)
        },
    )
}

fn ranges(texts: [&str; 2]) -> Vec<Prefix> {
    texts.map(|text| text.parse().expect(text)).to_vec()
}

fn slices() -> impl Strategy<Value = Object> {
    let one = (0..6_u8, any::<[bool; 5]>(), 0..3_u8, 0..3_u8);
    let shape = (0..4_u8, 0..4_u8, any::<[bool; 2]>(), 8080..8082_u16);
    (shape, vec(one, 0..4), protocol(), weights()).prop_map(
        |((number, service, [ipv6, headless], port), endpoints, protocol, weights)| {
            let world = World(if ipv6 { Family::Ipv6 } else { Family::Ipv4 });
            let endpoints = endpoints.into_iter().map(|(address, flags, zone, node)| {
                let [ready, serving, terminating, local, vip] = flags;
                let hint = |kind, number| (number > 0).then(|| format!("{kind}{number}"));
                SliceEndpoint {
                    address: if vip && address < 4 {
                        world.cluster_ip(address)
                    } else {
                        world.pod_here(address)
                    },
                    conditions: Conditions {
                        ready,
                        serving,
                        terminating,
                    },
                    node_name: local.then(|| "n1".into()),
                    zone_hints: hint("z", zone).into_iter().collect(),
                    node_hints: hint("n", node).into_iter().collect(),
                    hostname: None,
                    pod_name: None,
                }
            });
            let mut slice = slice(world, number, endpoints.collect());
            slice.service_name = format!("service-{service}");
            slice.headless = headless && number == 3;
            slice.weights = weights;
            slice.ports = (0..2_u8)
                .map(|name| EndpointPort {
                    name: format!("p{name}"),
                    protocol,
                    port,
                })
                .collect();
            Object::EndpointSlice(slice)
        },
    )
}

fn node_object() -> impl Strategy<Value = Object> {
    (1..3_u8, 0..3_u8, any::<[bool; 2]>()).prop_map(|(name, zone, [second, ranged])| {
        let (v4, v6) = (World(Family::Ipv4), World(Family::Ipv6));
        let mut addresses = vec![v4.node(), v6.node()];
        if second {
            addresses.insert(0, v4.node_second());
        }
        Object::Node(model::Node {
            name: format!("n{name}"),
            addresses,
            zone: (zone > 0).then(|| format!("z{zone}")),
            pod_cidrs: if ranged {
                ranges(["10.200.1.0/24", "fd20:0:0:1::/64"])
            } else {
                Vec::new()
            },
            being_deleted: false,
        })
    })
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![
        6 => service(),
        6 => slices(),
        1 => node_object(),
    ]
}

fn reference() -> impl Strategy<Value = ObjectRef> {
    prop_oneof![
        3 => (0..4_u8).prop_map(|name| service_ref(&format!("service-{name}"))),
        3 => (0..4_u8).prop_map(slice_ref),
        1 => (1..3_u8).prop_map(|name| ObjectRef {
            kind: Kind::Node,
            key: ObjectKey::new("", format!("n{name}")),
        }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => object().prop_map(Change::Put),
        1 => reference().prop_map(Change::Delete),
    ]
}

fn setting() -> impl Strategy<Value = NodeConfig> {
    let detector = prop_oneof![
        Just(LocalDetector::ClusterCidr),
        Just(LocalDetector::NodeCidr),
        Just(LocalDetector::None),
        Just(LocalDetector::BridgeInterface("cni0".into())),
        Just(LocalDetector::InterfaceNamePrefix("veth".into())),
    ];
    let doors = prop_oneof![
        Just(NodePortAddresses::Primary),
        Just(NodePortAddresses::All),
        Just(NodePortAddresses::Within(ranges([
            "172.16.0.0/12",
            "fd67::/64"
        ]))),
        Just(NodePortAddresses::Within(vec![
            "192.168.0.0/16".parse().expect("a prefix")
        ])),
    ];
    let shape = (detector, doors, any::<[bool; 6]>(), scheduler());
    shape.prop_map(|(detect_local, doors, flags, scheduler)| {
        let [renamed, told, zoned, masquerade_all, ranged, theirs] = flags;
        let mut config = config();
        if renamed {
            config.name = "n2".into();
        }
        if !told {
            // Then the v1 Node says it.
            config.addresses.clear();
            config.pod_cidrs.clear();
        }
        if !zoned {
            config.zone = None;
        }
        if !ranged {
            config.service_cidrs.clear();
        }
        config.detect_local = detect_local;
        config.node_port_addresses = doors;
        config.masquerade_all = masquerade_all;
        config.schedule.scheduler = scheduler;
        config.proxy_name = (theirs && masquerade_all).then(|| "other".into());
        if renamed == theirs {
            config.other_proxies = OtherProxies::Pass;
        }
        config
    })
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        Just(Kind::Service),
        Just(Kind::EndpointSlice),
        Just(Kind::Node)
    ];
    prop_oneof![
        12 => change().prop_map(Step::One),
        3 => vec(change(), 0..6).prop_map(Step::Together),
        1 => (kind, any::<u16>()).prop_map(|(kind, kept)| Step::Relist(kind, kept)),
        1 => setting().prop_map(Step::Reconfigure),
    ]
}

/// What there is after a history, however it came about.
#[derive(Debug, Clone)]
struct Present {
    config: NodeConfig,
    objects: BTreeMap<ObjectRef, Object>,
}

impl Present {
    fn new() -> Self {
        Self {
            config: config(),
            objects: BTreeMap::new(),
        }
    }

    fn note(&mut self, change: &Change) {
        match change {
            Change::Put(object) => {
                self.objects.insert(object.reference(), object.clone());
            }
            Change::Delete(reference) => {
                self.objects.remove(reference);
            }
        }
    }

    /// Takes one step, and lets a node take it.
    fn step(&mut self, step: &Step, node: &mut Node) {
        match step {
            Step::One(change) => {
                self.note(change);
                match change {
                    Change::Put(object) => node.apply([object.clone()]),
                    Change::Delete(reference) => node.delete(core::slice::from_ref(reference)),
                };
            }
            Step::Together(changes) => {
                let mut batch = Batch::new();
                for change in changes {
                    self.note(change);
                    match change {
                        Change::Put(object) => batch.put(object.clone()),
                        Change::Delete(reference) => batch.delete(reference.clone()),
                    }
                }
                node.commit(batch);
            }
            Step::Relist(kind, kept) => {
                let mut bits = *kept;
                self.objects.retain(|reference, _| {
                    let keep = reference.kind != *kind || bits & 1 != 0;
                    bits = bits.rotate_right(u32::from(reference.kind == *kind));
                    keep
                });
                let listed = self.objects.values();
                let listed = listed.filter(|object| object.reference().kind == *kind);
                node.replace(*kind, listed.cloned());
            }
            Step::Reconfigure(config) => {
                self.config = config.clone();
                node.reconfigure(config.clone());
            }
        }
    }

    /// A node that never knew anything else.
    fn fresh(&self) -> Node {
        let mut node = node_with(self.config.clone());
        node.apply(self.objects.values().cloned());
        node
    }
}

fn sorted_rejections(node: &Node) -> Vec<Rejection> {
    let mut rejections: Vec<Rejection> = node.rejections().cloned().collect();
    rejections.sort();
    rejections
}

/// Two tables serve the same: at every place that is served, and beside it, for every class of senders.
fn serve_alike(one: &Table, other: &Table, node: &Node) {
    for frontend in node.frontends() {
        let IpAddr::V4(_) = frontend.frontend.address else {
            serves_alike::<Ipv6Addr>(one, other, &frontend, World(Family::Ipv6));
            continue;
        };
        serves_alike::<Ipv4Addr>(one, other, &frontend, World(Family::Ipv4));
    }
}

fn serves_alike<A: Address>(one: &Table, other: &Table, at: &FrontendPlan<'_>, world: World) {
    let of = |ip| A::from_ip(ip).expect("of the frontend's family");
    let address = of(at.frontend.address);
    let senders = [
        world.pod_here(9),
        world.pod_there(9),
        world.node(),
        world.node_second(),
        world.outside(),
    ];
    for source in senders.map(of) {
        for port in [at.frontend.port, 7] {
            for protocol in Protocol::ALL {
                assert_eq!(
                    outcome(one, source, address, port, protocol),
                    outcome(other, source, address, port, protocol),
                    "{source} to {address} port {port} {protocol}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_in_the_plan_that_its_last_objects_make(
        steps in vec(step(), 1..60),
        batch in 1..5_usize,
    ) {
        let mut present = Present::new();
        let mut node = present.fresh();
        let mut feed = Feed::new();
        let limits = TableLimits { services: 64, frontends: 512, endpoints: 256, source_ranges: 64, hash_buckets: 0 };
        let mut table = Table::new(&limits, 7).expect("a small table");
        for steps in steps.chunks(batch) {
            for step in steps {
                present.step(step, &mut node);
            }
            for edit in feed.edits(&node) {
                table.apply(&edit, &mut Effects::default()).expect("within the limits");
            }
        }
        let fresh = present.fresh();
        prop_assert_eq!(node.plan(), fresh.plan());
        prop_assert_eq!(sorted_rejections(&node), sorted_rejections(&fresh));
        prop_assert_eq!(node.node_port_addresses(), fresh.node_port_addresses());
        // The table that followed serves what a table made now would.
        let made_now = compile(&fresh);
        serve_alike(&table, &made_now, &node);
        prop_assert_eq!(table.usage(), made_now.usage());
    }

    #[test]
    fn objects_make_one_plan_in_whatever_order_and_batches_they_arrive(
        config in setting(),
        (listed, shuffled) in vec(object(), 1..40).prop_flat_map(|objects| {
            let named = objects.into_iter().map(|object| (object.reference(), object));
            let named: BTreeMap<ObjectRef, Object> = named.collect();
            let listed: Vec<Object> = named.into_values().collect();
            (Just(listed.clone()), Just(listed).prop_shuffle())
        }),
        batch in 1..8_usize,
        synced_after in 0..10_usize,
    ) {
        let mut forward = node_with(config.clone());
        forward.apply(listed);
        let mut node = Node::new(config);
        for (number, objects) in shuffled.chunks(batch).enumerate() {
            if number == synced_after {
                node.synced(Kind::Service);
                node.synced(Kind::EndpointSlice);
            }
            node.apply(objects.to_vec());
        }
        node.synced(Kind::EndpointSlice);
        node.synced(Kind::Service);
        prop_assert_eq!(node.plan(), forward.plan());
        prop_assert_eq!(sorted_rejections(&node), sorted_rejections(&forward));
    }

    #[test]
    fn a_reader_that_looks_now_and_then_ends_where_one_that_always_looks_does(
        steps in vec(step(), 1..40),
        looks in vec(any::<bool>(), 40),
    ) {
        let mut present = Present::new();
        let mut node = present.fresh();
        let mut seen = crate::net::Generation(0);
        let mut followed = BTreeMap::new();
        for (step, look) in steps.iter().zip(looks.into_iter().chain([true])) {
            present.step(step, &mut node);
            if look {
                follow(&node, &mut seen, &mut followed);
            }
        }
        follow(&node, &mut seen, &mut followed);
        prop_assert!(followed.iter().eq(node.plan().ports()));
    }
}

type Ports =
    BTreeMap<alloc::sync::Arc<crate::plan::PortKey>, alloc::sync::Arc<crate::plan::PortPlan>>;

fn follow(node: &Node, seen: &mut crate::net::Generation, followed: &mut Ports) {
    use crate::plan::Change;
    let changes = node.changes(*seen);
    *seen = changes.to;
    if changes.full {
        followed.clear();
    }
    for change in changes.changes {
        match change {
            Change::Put(key, port) => {
                followed.insert(key, port);
            }
            Change::Remove(key) => {
                followed.remove(&key);
            }
            Change::Node(_) => {}
        }
    }
}
