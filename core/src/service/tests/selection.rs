//! The choice of an endpoint.

use super::*;
use crate::net::Scheduler;
use crate::table::hash::next_seed;
use alloc::collections::BTreeMap;
use core::net::Ipv4Addr;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);

fn found(table: &Table, number: u32) -> FrontendRef {
    let IpAddr::V4(at) = numbered("10.96.0.0", number) else {
        panic!("an IPv4 base")
    };
    let hash = table.hash(at, 80, Protocol::Tcp);
    table.prefetch::<Ipv4Addr>(hash);
    match table.lookup(at, 80, Protocol::Tcp, hash) {
        Lookup::Frontend(frontend) => frontend,
        Lookup::Rejected | Lookup::Unallocated | Lookup::None => panic!("{number} is not served"),
    }
}

fn choose(table: &Table, frontend: FrontendRef, random: u64) -> EndpointId {
    let tuple = tuple(CLIENT, Ipv4Addr::new(10, 96, 0, 0), 80, Protocol::Tcp);
    let balance = Balance::default();
    let draw = draw(&tuple, random, &balance);
    match table.select(frontend, SourceClass::Pod, None, &draw) {
        Selection::Endpoint { id, .. } => id,
        Selection::SourceRange | Selection::NoneUsable | Selection::NoneAllowed => {
            panic!("endpoints are there")
        }
    }
}

#[test]
fn every_endpoint_is_chosen_equally_often_whatever_their_number() {
    let limits = TableLimits {
        services: 1,
        frontends: 1,
        endpoints: 1_000,
        source_ranges: 0,
        hash_buckets: 0,
    };
    for endpoints in [1, 2, 3, 7, 8, 9, 16, 17, 100, 257, 1_000] {
        let mut table = table(limits);
        apply(&mut table, &put(0, spec(0, endpoints)));
        let frontend = found(&table, 0);
        let mut counts: BTreeMap<EndpointId, u32> = BTreeMap::new();
        let mut seed = 1;
        let draws = endpoints * 1_000;
        for _ in 0..draws {
            let id = choose(&table, frontend, next_seed(&mut seed));
            *counts.entry(id).or_default() += 1;
        }
        assert_eq!(counts.len(), endpoints as usize);
        // 1,000 expected of each; six standard deviations are 190.
        let even = |count: &u32| (810..=1_190).contains(count);
        assert!(counts.values().all(even), "{endpoints}: {counts:?}");
        // The ends of the range of random numbers are the first and the last.
        assert_ne!(choose(&table, frontend, 0), EndpointId(u32::MAX));
        assert!(
            endpoints == 1 || choose(&table, frontend, 0) != choose(&table, frontend, u64::MAX)
        );
    }
}

#[test]
fn an_id_rests_as_long_as_can_be_before_it_names_another_endpoint() {
    let mut table = table(TableLimits {
        endpoints: 4,
        ..small()
    });
    let at = |number| ServiceSpec {
        endpoints: vec![endpoint(numbered("10.200.0.0", number), 8080)],
        ..spec(0, 0)
    };
    let ids: Vec<u32> = (0..9)
        .map(|number| {
            apply(&mut table, &put(0, at(number))).assigned[0]
                .endpoint
                .0
        })
        .collect();
    assert_eq!(ids, [0, 1, 2, 3, 0, 1, 2, 3, 0]);
}

#[test]
fn an_endpoint_keeps_its_id_through_changes_of_set_and_tag_and_the_effects_say_so() {
    let mut table = table(small());
    apply(&mut table, &put(3, spec(0, 3)));
    let mut changed = spec(0, 3);
    changed.endpoints[1].tag = 77;
    changed.endpoints[2].in_cluster_set = false;
    let effects = apply(&mut table, &put(3, changed.clone()));
    let tagged = Assigned {
        endpoint: EndpointId(1),
        tag: 77,
    };
    assert_eq!(
        effects,
        Effects {
            ended: vec![],
            assigned: vec![tagged]
        }
    );
    changed.endpoints.remove(0);
    let effects = apply(&mut table, &put(3, changed.clone()));
    let ended = |id| Ended {
        endpoint: EndpointId(id),
        protocol: Protocol::Tcp,
    };
    assert_eq!(
        effects,
        Effects {
            ended: vec![ended(0)],
            assigned: vec![]
        }
    );
    // Another protocol is another ServicePort: nothing lives on.
    changed.protocol = Protocol::Udp;
    let effects = apply(&mut table, &put(3, changed));
    assert_eq!(effects.ended, [ended(1), ended(2)]);
    assert_eq!(effects.assigned.len(), 2);
    let effects = apply(&mut table, &Edit::Remove(ServiceId(3)));
    assert!(
        effects
            .ended
            .iter()
            .all(|ended| ended.protocol == Protocol::Udp)
    );
    assert_eq!(effects.ended.len(), 2);
}

#[test]
fn a_choice_is_blind_only_if_nothing_but_chance_decides_it() {
    let choice = |scheduler, slow_start_seconds, affinity_seconds, pod_interface| {
        let mut table = table(small());
        let schedule = Schedule {
            scheduler,
            slow_start_seconds,
            seed: 0,
        };
        let spec = ServiceSpec {
            schedule,
            affinity_seconds,
            ..spec(0, 2)
        };
        apply(&mut table, &put(0, spec));
        apply(
            &mut table,
            &Edit::Node(NodeSpec {
                pod_interface,
                ..NodeSpec::default()
            }),
        );
        let frontend = found(&table, 0);
        let entry = table.frontend(frontend).expect("it is served");
        (table.chooses_blindly(frontend), entry.counts_connections())
    };
    let bridge = Some(PodInterface::Bridge("cni0".into()));
    assert_eq!(choice(Scheduler::Random, 0, None, None), (true, false));
    assert_eq!(choice(Scheduler::Random, 30, None, None), (false, false));
    assert_eq!(choice(Scheduler::Random, 0, Some(60), None), (false, false));
    assert_eq!(choice(Scheduler::Random, 0, None, bridge), (false, false));
    assert_eq!(choice(Scheduler::RoundRobin, 0, None, None), (false, false));
    assert_eq!(
        choice(Scheduler::LeastConnection, 0, None, None),
        (false, true)
    );
    assert_eq!(choice(Scheduler::NeverQueue, 30, None, None), (false, true));
}
