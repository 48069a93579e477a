//! Whatever came before, the last objects decide what is answered.

use super::world::{alias, cluster_ip, config, endpoint, headless, put, query, reply, slice};
use core::net::IpAddr;
use portolan::dns::{Transport, Zone};
use portolan::model::{EndpointSlice, Service};
use proptest::collection::vec;
use proptest::prelude::*;

const SERVICES: [&str; 3] = ["a", "b", "c"];

/// One Service and its slices, or none.
type Step = (usize, Option<(Service, Vec<EndpointSlice>)>);

fn endpoints() -> impl Strategy<Value = Vec<(u8, Option<u8>, bool)>> {
    vec(
        (1..6_u8, proptest::option::of(0..2_u8), any::<bool>()),
        0..5,
    )
}

fn step() -> impl Strategy<Value = Step> {
    (0..SERVICES.len(), 0..5_u8, 1..5_u8, endpoints()).prop_map(
        |(index, form, number, endpoints)| {
            let name = SERVICES[index];
            let service = match form {
                0 => return (index, None),
                1 => alias(name, "b.shop.svc.cluster.local"),
                2 | 3 => headless(name),
                _ => cluster_ip(name, &format!("10.200.0.{number}")),
            };
            let endpoints = endpoints.into_iter().map(|(last, hostname, ready)| {
                let hostname = hostname.map(|number| format!("host-{number}"));
                let mut one = endpoint(IpAddr::from([10, 200, 0, last]), hostname.as_deref());
                one.conditions.ready = ready;
                one
            });
            let slice = slice(name, "http", endpoints.collect());
            (index, Some((service, vec![slice])))
        },
    )
}

fn apply(zone: &mut Zone, (index, now): &Step) {
    match now {
        Some((service, slices)) => {
            let slices: Vec<_> = slices.iter().collect();
            put(zone, service, &slices);
        }
        None => zone.put_service(&super::world::service(SERVICES[*index]).key, None, &[]),
    }
    zone.publish(1).expect("no reader is inside");
}

/// What is replied to everything that can be asked.
fn replies(zone: &mut Zone) -> Vec<Option<Vec<u8>>> {
    let mut reader = zone.reader().expect("a reader");
    let mut names = vec![
        "shop.svc.cluster.local".to_owned(),
        "200.10.in-addr.arpa".into(),
    ];
    for service in SERVICES {
        let own = format!("{service}.shop.svc.cluster.local");
        for label in ["host-0.", "host-1.", "_http._tcp.", ""] {
            names.push(format!("{label}{own}"));
        }
        names.extend((1..6).map(|last| format!("10-200-0-{last}.{own}")));
    }
    names.extend((1..6).map(|last| format!("{last}.0.200.10.in-addr.arpa")));
    let mut room = vec![0; 65_535];
    let mut all = Vec::new();
    for name in names {
        for kind in [1, 12, 33] {
            let query = query(&name, kind, 0, None);
            let reply = reply(&mut reader, &query, Transport::Tcp, &mut room);
            all.push(reply.map(<[u8]>::to_vec));
        }
    }
    all
}

/// Names of one address stand in the order that their Services came in: any order will do.
fn without_order(replies: Vec<Option<Vec<u8>>>) -> Vec<Option<Vec<u8>>> {
    replies
        .into_iter()
        .map(|reply| {
            reply.map(|mut reply| {
                reply.sort_unstable();
                reply
            })
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_in_the_answers_of_its_last_objects(history in vec(step(), 0..24)) {
        let mut lived = Zone::new(config()).expect("a sound configuration");
        lived.set_synced(true);
        let mut fresh = Zone::new(config()).expect("a sound configuration");
        fresh.set_synced(true);
        for step in &history {
            apply(&mut lived, step);
        }
        for index in 0..SERVICES.len() {
            if let Some(last) = history.iter().rfind(|(of, _)| *of == index) {
                apply(&mut fresh, last);
            }
        }
        // An empty change, so that both have published.
        lived.set_synced(true);
        fresh.set_synced(true);
        lived.publish(1).expect("no reader is inside");
        fresh.publish(1).expect("no reader is inside");
        prop_assert_eq!(without_order(replies(&mut lived)), without_order(replies(&mut fresh)));
    }
}
