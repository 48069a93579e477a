//! The same objects make the same plan and the same rejections, whatever happened before.

use super::*;
use crate::model::Rejection;
use alloc::collections::BTreeMap;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a test makes few of them")]
enum Step {
    Put(Object),
    Delete(ObjectRef),
    Reconfigure(bool),
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

/// Few names, addresses and ports, so that everything meets everything.
fn service() -> impl Strategy<Value = Object> {
    let shape = (0..4_u8, 0..3_i64, 0..4_u8, any::<[bool; 6]>());
    let port = (0..2_u8, protocol(), 80..82_u16, 0..3_u16);
    (shape, vec(port, 1..3), policy(), policy()).prop_map(
        |((name, created, number, flags), ports, internal, external)| {
            let [dual, externals, lb, foreign, headless, ranged] = flags;
            let (v4, v6) = (World(Family::Ipv4), World(Family::Ipv6));
            let mut service = web_everywhere(v4);
            service.key.name = format!("service-{name}");
            service.created = (created > 0).then_some(created);
            service.cluster_ips = vec![v4.cluster_ip(number)];
            if dual {
                service.cluster_ips.push(v6.cluster_ip(number));
                service.external_ips.push(v6.external_ip());
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
                service.source_ranges = std_ranges();
            }
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

fn std_ranges() -> Vec<Prefix> {
    vec!["192.168.0.0/16".parse().expect("a prefix")]
}

fn slices() -> impl Strategy<Value = Object> {
    let one = (0..6_u8, any::<[bool; 5]>(), 0..3_u8);
    (0..3_u8, 0..4_u8, any::<bool>(), vec(one, 0..4), protocol()).prop_map(
        |(number, service, ipv6, endpoints, protocol)| {
            let world = World(if ipv6 { Family::Ipv6 } else { Family::Ipv4 });
            let endpoints = endpoints.into_iter().map(|(address, flags, hint)| {
                let [ready, serving, terminating, local, vip] = flags;
                let zones = (hint > 0).then(|| format!("z{hint}"));
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
                    zone_hints: zones.into_iter().collect(),
                    node_hints: Vec::new(),
                    hostname: None,
                    pod_name: None,
                }
            });
            let mut slice = slice(world, number, endpoints.collect());
            slice.service_name = format!("service-{service}");
            slice.ports = (0..2_u8)
                .map(|name| EndpointPort {
                    name: format!("p{name}"),
                    protocol,
                    port: 8080,
                })
                .collect();
            Object::EndpointSlice(slice)
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => service().prop_map(Step::Put),
        5 => slices().prop_map(Step::Put),
        2 => (0..4_u8).prop_map(|name| Step::Delete(service_ref(&format!("service-{name}")))),
        2 => (0..3_u8).prop_map(|number| Step::Delete(slice_ref(number))),
        1 => any::<bool>().prop_map(Step::Reconfigure),
    ]
}

fn setting(all_node_ports: bool) -> NodeConfig {
    let mut config = config();
    if all_node_ports {
        config.node_port_addresses = NodePortAddresses::All;
        config.zone = None;
    }
    config
}

fn sorted_rejections(node: &Node) -> Vec<Rejection> {
    let mut rejections: Vec<Rejection> = node.rejections().cloned().collect();
    rejections.sort();
    rejections
}

fn fresh(config: NodeConfig, objects: impl Iterator<Item = Object>) -> Node {
    let mut node = node_with(config);
    node.apply(objects);
    node
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_in_the_plan_that_its_last_objects_make(
        steps in vec(step(), 1..60),
        batch in 1..5_usize,
    ) {
        let mut node = node_with(setting(false));
        let mut feed = Feed::new();
        let limits = TableLimits { services: 64, frontends: 256, endpoints: 256, source_ranges: 64, hash_buckets: 0 };
        let mut table = Table::new(&limits, 7).expect("a small table");
        let mut latest: BTreeMap<ObjectRef, Object> = BTreeMap::new();
        let mut all_node_ports = false;
        for steps in steps.chunks(batch) {
            let mut put = Vec::new();
            for step in steps {
                match step {
                    Step::Put(object) => {
                        latest.insert(object.reference(), object.clone());
                        put.push(object.clone());
                    }
                    Step::Delete(reference) => {
                        node.apply(core::mem::take(&mut put));
                        latest.remove(reference);
                        node.delete(core::slice::from_ref(reference));
                    }
                    Step::Reconfigure(all) => {
                        all_node_ports = *all;
                        node.reconfigure(setting(*all));
                    }
                }
            }
            node.apply(put);
            for edit in feed.edits(&node) {
                table.apply(&edit, &mut Effects::default()).expect("within the limits");
            }
        }
        let forward = fresh(setting(all_node_ports), latest.values().cloned());
        let mut backward = node_with(setting(all_node_ports));
        for object in latest.values().rev() {
            backward.apply([object.clone()]);
        }
        prop_assert_eq!(node.plan(), forward.plan());
        prop_assert_eq!(backward.plan(), forward.plan());
        prop_assert_eq!(sorted_rejections(&node), sorted_rejections(&forward));
        prop_assert_eq!(sorted_rejections(&backward), sorted_rejections(&forward));
        // The table that followed serves what a table made now would.
        for one in node.frontends() {
            let IpAddr::V4(address) = one.frontend.address else { continue };
            let sources = [World(Family::Ipv4).pod_here(9), World(Family::Ipv4).outside()];
            for source in sources {
                let source = Ipv4Addr::from_ip(source).expect("IPv4");
                let (port, protocol) = (one.frontend.port, one.key.protocol);
                prop_assert_eq!(
                    outcome(&table, source, address, port, protocol),
                    outcome(&compile(&node), source, address, port, protocol)
                );
            }
        }
        prop_assert_eq!(table.usage(), compile(&node).usage());
    }

    #[test]
    fn a_reader_that_looks_now_and_then_ends_where_one_that_always_looks_does(
        steps in vec(step(), 1..40),
        looks in vec(any::<bool>(), 40),
    ) {
        let mut node = node_with(setting(false));
        let mut seen = crate::net::Generation(0);
        let mut followed = BTreeMap::new();
        for (step, look) in steps.into_iter().zip(looks.into_iter().chain([true])) {
            match step {
                Step::Put(object) => { node.apply([object]); }
                Step::Delete(reference) => { node.delete(&[reference]); }
                Step::Reconfigure(all) => { node.reconfigure(setting(all)); }
            }
            if look {
                follow(&node, &mut seen, &mut followed);
            }
        }
        follow(&node, &mut seen, &mut followed);
        prop_assert_eq!(&followed, node.plan().ports());
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
