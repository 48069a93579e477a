//! Random edits against the plainest possible table.

use super::super::cluster_ips::ClusterIps;
use super::*;
use crate::net::{Address, Arrival, Prefix, Scheduler};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use proptest::collection::vec;
use proptest::prelude::*;

type Place = (IpAddr, u16, Protocol);

/// What the table should be.
#[derive(Debug, Default)]
struct Model {
    services: BTreeMap<ServiceId, ServiceSpec>,
    owners: BTreeMap<Place, ServiceId>,
    node: NodeSpec,
    /// Endpoints alive, by what the effects said.
    endpoints: BTreeMap<EndpointId, u64>,
}

impl Model {
    /// Is there room?
    fn takes(&self, edit: &Edit, limits: &TableLimits) -> bool {
        let Edit::Put(id, new) = edit else {
            return true;
        };
        let count = |of: fn(&ServiceSpec) -> usize| {
            let others = self.services.iter().filter(|(other, _)| *other != id);
            others.map(|(_, spec)| of(spec)).sum::<usize>() + of(new)
        };
        let ranges = |spec: &ServiceSpec| {
            spec.frontends
                .iter()
                .map(|one| one.source_ranges.len())
                .sum()
        };
        id.0 < limits.services
            && count(|spec| spec.frontends.len()) <= limits.frontends as usize
            && count(|spec| spec.endpoints.len()) <= limits.endpoints as usize
            && count(ranges) <= limits.source_ranges as usize
            && count(|spec| put_schedule::buckets_wanted(spec) as usize)
                <= limits.hash_buckets as usize
    }

    fn apply(&mut self, edit: &Edit) {
        match edit {
            Edit::Put(id, spec) => {
                self.owners.retain(|_, owner| owner != id);
                for one in &spec.frontends {
                    let place = (one.address, one.port, spec.protocol);
                    self.owners.insert(place, *id);
                }
                self.services.insert(*id, ServiceSpec::clone(spec));
            }
            Edit::Remove(id) => {
                self.owners.retain(|_, owner| owner != id);
                self.services.remove(id);
            }
            Edit::Node(spec) => self.node = spec.clone(),
        }
    }

    fn frontend(&self, place: &Place) -> Option<(&ServiceSpec, &Frontend)> {
        let spec = self.services.get(self.owners.get(place)?)?;
        let mut own = spec.frontends.iter();
        let own = own.find(|one| (one.address, one.port) == (place.0, place.1));
        Some((spec, own.expect("an owner has the frontend")))
    }

    fn class(&self, source: IpAddr) -> SourceClass {
        if self
            .node
            .pod_prefixes
            .iter()
            .any(|prefix| prefix.contains(source))
        {
            SourceClass::Pod
        } else if self.node.addresses.contains(&source) {
            SourceClass::Node
        } else {
            SourceClass::Outside
        }
    }

    /// In words, what becomes of a flow.
    fn outcome(&self, source: IpAddr, place: Place) -> String {
        let Some((spec, frontend)) = self.frontend(&place) else {
            let services = self.services.values();
            let known = services
                .flat_map(|spec| &spec.frontends)
                .any(|one| one.kind == FrontendKind::ClusterIp && one.address == place.0);
            let mut prefixes = self.node.service_prefixes.iter();
            return match (known, prefixes.any(|prefix| prefix.contains(place.0))) {
                (true, _) => "rejected".into(),
                (false, true) => "unallocated".into(),
                (false, false) => "none".into(),
            };
        };
        let ranges = &frontend.source_ranges;
        if !ranges.is_empty() && !ranges.iter().any(|range| range.contains(source)) {
            return "source range".into();
        }
        let rule = frontend.rules[self.class(source) as usize];
        let in_set = |one: &&EndpointSpec| one.takes(rule.set);
        let chosen = spec.endpoints.iter().filter(in_set);
        let chosen: BTreeSet<(SocketAddr, bool, u64)> = chosen
            .map(|one| (SocketAddr::new(one.address, one.port), one.local, one.tag))
            .collect();
        let usable =
            |one: &EndpointSpec| one.takes(EndpointSet::Cluster) || one.takes(EndpointSet::Local);
        if !chosen.is_empty() {
            format!("{chosen:?} {} {:?}", rule.masquerade, spec.affinity_seconds)
        } else if spec.endpoints.iter().any(usable) {
            "none allowed".into()
        } else {
            "none usable".into()
        }
    }
}

/// The same words from the table.
fn answer<A: Address>(table: &Table, source: A, at: A, port: u16, protocol: Protocol) -> String {
    let hash = table.hash(at, port, protocol);
    let frontend = match table.lookup(at, port, protocol, hash) {
        Lookup::Frontend(frontend) => frontend,
        Lookup::Rejected => return "rejected".into(),
        Lookup::Unallocated => return "unallocated".into(),
        Lookup::None => return "none".into(),
    };
    let class = table.classify(source, Arrival::Elsewhere);
    let tuple = tuple(source, at, port, protocol);
    match table.select(
        frontend,
        class,
        None,
        &draw(&tuple, u64::MAX / 3, &Balance::default()),
    ) {
        Selection::SourceRange => "source range".into(),
        Selection::NoneUsable => "none usable".into(),
        Selection::NoneAllowed => "none allowed".into(),
        Selection::Endpoint { id, masquerade } => {
            let choices: Vec<EndpointId> = table.choices(frontend, class).collect();
            assert!(choices.contains(&id), "{id} is one of {choices:?}");
            let service = table.frontend(frontend).expect("found").service();
            let places = choices.iter().map(|id| {
                let entry = table.endpoint(*id).expect("a choice exists");
                assert_eq!(entry.service(), service);
                let at: A = entry.address();
                let place = SocketAddr::new(at.into(), entry.port());
                (place, entry.is_local(), entry.tag())
            });
            let places: BTreeSet<(SocketAddr, bool, u64)> = places.collect();
            format!("{places:?} {masquerade} {:?}", table.affinity(service))
        }
    }
}

fn ask(table: &Table, source: IpAddr, (at, port, protocol): Place) -> String {
    match (source, at) {
        (IpAddr::V4(source), IpAddr::V4(at)) => {
            answer::<Ipv4Addr>(table, source, at, port, protocol)
        }
        (IpAddr::V6(source), IpAddr::V6(at)) => {
            answer::<Ipv6Addr>(table, source, at, port, protocol)
        }
        (source, at) => panic!("{source} and {at} are of two families"),
    }
}

const BASES: [[&str; 3]; 2] = [
    ["10.96.0.0", "10.200.0.0", "192.0.2.0"],
    ["fd96::", "fd20::", "2001:db8::"],
];

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![
        Just(Protocol::Tcp),
        Just(Protocol::Udp),
        Just(Protocol::Sctp)
    ]
}

fn a_spec() -> impl Strategy<Value = ServiceSpec> {
    let frontends = vec((0..4_u32, 80..82_u16, any::<[bool; 3]>(), 0..3_u32), 0..4);
    let endpoints = vec((0..30_u32, any::<[bool; 3]>(), 0..3_u64, 0..4_u16), 0..25);
    let scheduler = (any::<bool>(), 0..Scheduler::ALL.len()).prop_map(|(scheduled, number)| {
        if scheduled {
            Scheduler::ALL[number]
        } else {
            Scheduler::Random
        }
    });
    let choice = (scheduler, 0..2_u16);
    (
        0..2_usize,
        protocol(),
        frontends,
        endpoints,
        0..3_u32,
        choice,
    )
        .prop_map(
            |(
                family,
                protocol,
                frontends,
                endpoints,
                affinity,
                (scheduler, slow_start_seconds),
            )| {
                let [service, pod, outside] = BASES[family];
                let frontends: BTreeMap<(IpAddr, u16), Frontend> = frontends
                    .into_iter()
                    .map(|(number, port, [cluster, local, balanced], ranges)| {
                        let at = numbered(if cluster { service } else { outside }, number);
                        let mut one = frontend(at, port);
                        if !cluster {
                            one.kind = if balanced {
                                FrontendKind::LoadBalancer
                            } else {
                                FrontendKind::NodePort
                            };
                        }
                        if local {
                            one.rules[0] = LOCAL;
                        }
                        let range = |number| Prefix::host(numbered(pod, number));
                        one.source_ranges = (0..ranges).map(range).collect();
                        ((at, port), one)
                    })
                    .collect();
                let endpoints: BTreeMap<IpAddr, EndpointSpec> = endpoints
                    .into_iter()
                    .map(|(number, [local, cluster_set, local_set], tag, weight)| {
                        let at = numbered(pod, number);
                        let one = EndpointSpec {
                            local,
                            in_cluster_set: cluster_set,
                            in_local_set: local_set,
                            weight,
                            tag,
                            ..endpoint(at, 8080)
                        };
                        (at, one)
                    })
                    .collect();
                ServiceSpec {
                    protocol,
                    frontends: frontends.into_values().collect(),
                    endpoints: endpoints.into_values().collect(),
                    affinity_seconds: (affinity > 0).then_some(affinity),
                    schedule: Schedule {
                        scheduler,
                        slow_start_seconds,
                        seed: 5,
                    },
                }
            },
        )
}

fn an_edit() -> impl Strategy<Value = Edit> {
    let node = any::<[bool; 3]>().prop_map(|[pods, services, own]| {
        let prefix = |on: bool, text: &str| on.then(|| text.parse().expect(text));
        Edit::Node(NodeSpec {
            addresses: if own {
                vec![address("192.0.2.1"), address("2001:db8::1")]
            } else {
                Vec::new()
            },
            pod_prefixes: [prefix(pods, "10.200.0.0/29"), prefix(pods, "fd20::/125")]
                .into_iter()
                .flatten()
                .collect(),
            service_prefixes: [
                prefix(services, "10.96.0.0/31"),
                prefix(services, "fd96::/112"),
            ]
            .into_iter()
            .flatten()
            .collect(),
            ..NodeSpec::default()
        })
    });
    prop_oneof![
        8 => (0..9_u32, a_spec()).prop_map(|(id, spec)| put(id, spec)),
        2 => (0..9_u32).prop_map(|id| Edit::Remove(ServiceId(id))),
        1 => node,
    ]
}

fn universe() -> Vec<(IpAddr, Place)> {
    let mut flows = Vec::new();
    for [service, pod, outside] in BASES {
        for base in [service, outside] {
            for number in 0..4 {
                for port in 80..83 {
                    for protocol in Protocol::ALL {
                        for source in [numbered(pod, 1), numbered(pod, 20), numbered(outside, 1)] {
                            flows.push((source, (numbered(base, number), port, protocol)));
                        }
                    }
                }
            }
        }
    }
    flows
}

/// The effects account for every endpoint, and one that stays keeps its id.
fn account(model: &mut Model, table: &Table, edit: &Edit, effects: &Effects) {
    for ended in &effects.ended {
        assert!(
            model.endpoints.remove(&ended.endpoint).is_some(),
            "{ended:?} was alive"
        );
    }
    for assigned in &effects.assigned {
        model.endpoints.insert(assigned.endpoint, assigned.tag);
    }
    let expected: usize = model
        .services
        .values()
        .map(|spec| spec.endpoints.len())
        .sum();
    assert_eq!(model.endpoints.len(), expected, "after {edit:?}");
    for (id, tag) in &model.endpoints {
        let entry = table.endpoint(*id).expect("alive by the effects");
        assert_eq!(entry.tag(), *tag);
    }
}

fn ids_by_place(table: &Table, service: ServiceId) -> BTreeMap<([u64; 2], u16), EndpointId> {
    let ids = (0..table.limits().endpoints).map(EndpointId);
    ids.filter_map(|id| {
        let entry = table
            .endpoint(id)
            .filter(|entry| entry.service() == service)?;
        Some(((entry.address_words(), entry.port()), id))
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_edits_leave_the_table_that_the_model_is_and_equal_replicas(
        edits in vec(an_edit(), 1..40),
    ) {
        let (mut left, mut right) = (table(small()), table(small()));
        let mut model = Model::default();
        for edit in &edits {
            let before = model.services.clone();
            let mut effects = [Effects::default(), Effects::default()];
            let [on_left, on_right] = &mut effects;
            let id = match edit {
                Edit::Put(id, _) | Edit::Remove(id) => *id,
                Edit::Node(_) => ServiceId(u32::MAX),
            };
            let ids = ids_by_place(&left, id);
            let result = left.apply(edit, on_left);
            prop_assert_eq!(right.apply(edit, on_right), result);
            prop_assert_eq!(&effects[0], &effects[1]);
            prop_assert_eq!(result.is_ok(), model.takes(edit, &small()), "{:?}", result);
            if result.is_err() {
                prop_assert_eq!(&effects[0], &Effects::default());
                continue;
            }
            model.apply(edit);
            account(&mut model, &left, edit, &effects[0]);
            if let (Edit::Put(id, spec), Some(old)) = (edit, before.get(&id))
                && spec.protocol == old.protocol
            {
                let now = ids_by_place(&left, *id);
                for (place, id) in &now {
                    if let Some(old) = ids.get(place) {
                        prop_assert_eq!(id, old);
                    }
                }
            }
        }
        for (source, place) in universe() {
            prop_assert_eq!(ask(&left, source, place), model.outcome(source, place), "{} to {:?}", source, place);
        }
        prop_assert_eq!(format!("{left:?}"), format!("{right:?}"));
        prop_assert_eq!(left.usage().services as usize, model.services.len());
        // Nothing is left behind: an emptied table counts nothing and finds nothing.
        for id in 0..small().services {
            apply(&mut left, &Edit::Remove(ServiceId(id)));
        }
        prop_assert_eq!(left.usage(), TableUsage::default());
        prop_assert_eq!(left.buckets.free_buckets(), small().hash_buckets);
        prop_assert_eq!(left.cluster_ips_outside, [ClusterIps::NONE; 2]);
        prop_assert!(left.ipv4.is_empty() && left.ipv6.is_empty());
    }
}
