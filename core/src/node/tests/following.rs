//! Generations, changes, relists, and the feed to a table.

use super::*;
use crate::dataplane::{Config, Dataplane};
use crate::net::{Generation, ServiceId};
use crate::plan::Change;
use crate::service::{ApplyError, Edit};

const V4: World = World(Family::Ipv4);

fn named(name: &str, number: u8) -> Object {
    let mut service = web(V4);
    service.key.name = name.into();
    service.cluster_ips = vec![V4.cluster_ip(number)];
    Object::Service(service)
}

fn words(node: &Node, since: Generation) -> Vec<String> {
    let changes = node.changes(since).changes;
    changes
        .iter()
        .map(|change| match change {
            Change::Put(key, _) => format!("put {}", key.name),
            Change::Remove(key) => format!("remove {}", key.name),
            Change::Node(_) => "node".into(),
        })
        .collect()
}

#[test]
fn a_reader_is_told_each_key_once_however_often_it_changed() {
    let mut node = node_with(config());
    node.apply([named("a", 1), named("b", 2), named("c", 3)]);
    assert!(node.changes(Generation(0)).full);
    assert_eq!(
        words(&node, Generation(0)),
        ["node", "put a", "put b", "put c"]
    );
    let seen = node.generation();
    assert!(words(&node, seen).is_empty());
    node.apply([named("b", 12)]);
    node.apply([named("b", 22)]);
    node.delete(&[service_ref("a")]);
    node.apply([named("a", 1)]);
    node.delete(&[service_ref("c")]);
    let changes = node.changes(seen);
    assert!(!changes.full);
    assert_eq!(changes.to, node.generation());
    assert_eq!(words(&node, seen), ["remove c", "put b", "put a"]);
}

#[test]
fn what_changes_nothing_is_no_new_generation() {
    let mut node = node_with(config());
    node.apply([named("a", 1)]);
    let generation = node.generation();
    node.apply([named("a", 1)]);
    node.delete(&[service_ref("unknown")]);
    node.reconfigure(config());
    node.synced(Kind::Service);
    // A selector, a label: what the plan does not read.
    let mut service = web(V4);
    service.key.name = "a".into();
    service.cluster_ips = vec![V4.cluster_ip(1)];
    service.publish_not_ready_addresses = true;
    node.apply([Object::Service(service)]);
    assert_eq!(node.generation(), generation);
}

#[test]
fn a_reader_too_far_behind_is_given_everything() {
    let mut node = node_with(config());
    node.apply([named("stays", 1)]);
    let seen = node.generation();
    for _ in 0..5_000_u32 / 100 {
        let names: Vec<String> = (0..100)
            .map(|number| format!("{number}-{}", node.generation()))
            .collect();
        node.apply(names.iter().map(|name| named(name, 9)));
        let gone: Vec<ObjectRef> = names.iter().map(|name| service_ref(name)).collect();
        node.delete(&gone);
    }
    let changes = node.changes(seen);
    assert!(changes.full, "5,000 removals are more than are remembered");
    assert_eq!(words(&node, seen), ["node", "put stays"]);
    // A generation that never was is no reason to say nothing.
    assert!(node.changes(Generation(u64::MAX)).full);
}

#[test]
fn a_relist_forgets_what_it_does_not_name_and_counts_as_synced() {
    let mut node = Node::new(config());
    node.apply([named("a", 1), named("b", 2)]);
    node.replace(Kind::EndpointSlice, []);
    let rejections = node.replace(
        Kind::Service,
        [
            named("b", 2),
            named("c", 3),
            Object::EndpointSlice(slice(V4, 1, Vec::new())),
        ],
    );
    assert_eq!(rejections.len(), 1);
    assert_eq!(
        rejections[0].to_string(),
        "EndpointSlice default/web-1: kind: EndpointSlice in a list of Service"
    );
    let names: Vec<String> = node
        .plan()
        .ports()
        .map(|(key, _)| key.name.clone())
        .collect();
    assert_eq!(names, ["b", "c"]);
}

#[test]
fn a_feed_keeps_ids_and_tells_a_table_only_what_differs_for_it() {
    let mut node = node_with(config());
    let mut feed = Feed::new();
    node.apply([named("a", 1), named("b", 2)]);
    let edits = feed.edits(&node);
    assert!(matches!(edits[0], Edit::Node(_)));
    assert!(matches!(edits[1], Edit::Put(ServiceId(0), _)));
    assert!(matches!(edits[2], Edit::Put(ServiceId(1), _)));
    assert_eq!(feed.edits(&node), []);
    assert_eq!(
        feed.key(ServiceId(1)).map(|key| key.name.as_str()),
        Some("b")
    );
    node.apply([named("b", 3)]);
    assert!(matches!(
        feed.edits(&node)[..],
        [Edit::Put(ServiceId(1), _)]
    ));
    // An endpoint that is not ready is for people only.
    let b = EndpointSlice {
        service_name: "b".into(),
        ..slice(V4, 1, vec![endpoint(V4.pod_here(1), "n1", NOT_READY)])
    };
    node.apply([Object::EndpointSlice(b)]);
    assert_eq!(feed.edits(&node), []);
    node.delete(&[service_ref("a")]);
    assert_eq!(feed.edits(&node), [Edit::Remove(ServiceId(0))]);
    assert_eq!(feed.key(ServiceId(0)), None);
}

#[test]
fn what_a_table_refused_is_offered_again_when_something_changes() {
    let mut node = node_with(config());
    let mut feed = Feed::new();
    node.apply([named("a", 1), named("b", 2)]);
    assert_eq!(feed.edits(&node).len(), 3);
    feed.refused(ServiceId(1), ApplyError::MixedFamilies);
    assert_eq!(feed.edits(&node), []);
    node.delete(&[service_ref("a")]);
    let edits = feed.edits(&node);
    assert!(matches!(
        edits[..],
        [Edit::Remove(ServiceId(0)), Edit::Put(ServiceId(1), _)]
    ));
    feed.refused(ServiceId(1), ApplyError::MixedFamilies);
    node.delete(&[service_ref("b")]);
    assert_eq!(feed.edits(&node), [Edit::Remove(ServiceId(1))]);
}

#[test]
fn a_contested_frontend_moves_in_the_table_in_one_batch_whatever_the_ids() {
    for (old, new) in [("a", "z"), ("z", "a")] {
        let contested = |name: &str, created, number| {
            let mut service = web(V4);
            service.key.name = name.into();
            service.created = Some(created);
            service.cluster_ips = vec![V4.cluster_ip(number)];
            service.external_ips = vec![V4.external_ip()];
            Object::Service(service)
        };
        let mut node = node_with(config());
        let mut feed = Feed::new();
        let limits = TableLimits {
            services: 4,
            frontends: 4,
            endpoints: 4,
            source_ranges: 0,
            hash_buckets: 0,
        };
        let mut table = Table::new(&limits, 1).expect("a small table");
        let mut follow = |node: &Node| {
            for edit in feed.edits(node) {
                table
                    .apply(&edit, &mut Effects::default())
                    .expect("within the limits");
            }
            let address = Ipv4Addr::from_ip(V4.external_ip()).expect("IPv4");
            let hash = table.hash(address, 80, Protocol::Tcp);
            match table.lookup(address, 80, Protocol::Tcp, hash) {
                Lookup::Frontend(frontend) => {
                    let service = table.frontend(frontend).expect("found").service();
                    feed.key(service).map(|key| key.name.clone())
                }
                Lookup::Rejected | Lookup::Unallocated | Lookup::None => None,
            }
        };
        node.apply([contested(new, 20, 2)]);
        assert_eq!(follow(&node).as_deref(), Some(new));
        node.apply([contested(old, 10, 1)]);
        assert_eq!(follow(&node).as_deref(), Some(old));
        // Their ages change places: one batch, one puts and the other gives up.
        node.apply([contested(old, 30, 1)]);
        assert_eq!(follow(&node).as_deref(), Some(new));
        node.delete(&[service_ref(new)]);
        assert_eq!(follow(&node).as_deref(), Some(old));
    }
}

#[test]
fn a_dataplane_follows_and_what_it_has_no_room_for_is_named_until_there_is_room() {
    let mut config_of = Config::default();
    config_of.limits.connections_ipv4 = 64;
    config_of.limits.connections_ipv6 = 64;
    config_of.limits.table.frontends = 2;
    let mut dataplane = Dataplane::new(&config_of).expect("a small dataplane");
    let mut node = node_with(config());
    let mut feed = Feed::new();
    node.apply([named("a", 1), named("b", 2), named("c", 3)]);
    let generation = feed
        .publish(&node, &mut dataplane)
        .expect("no worker is behind");
    assert_eq!(dataplane.generation(), generation);
    let rejections: Vec<String> = feed.rejections().map(|one| one.to_string()).collect();
    assert_eq!(
        rejections,
        [
            "Service default/c: spec.ports[name=http,protocol=TCP]: no room in the Service table: 3 frontends wanted, 2 allowed"
        ]
    );
    assert_eq!(dataplane.stats().usage.table.services, 2);
    assert_eq!(feed.publish(&node, &mut dataplane), Ok(generation));
    node.delete(&[service_ref("a")]);
    assert!(
        feed.publish(&node, &mut dataplane)
            .expect("no worker is behind")
            > generation
    );
    assert_eq!(feed.rejections().count(), 0);
    assert_eq!(dataplane.stats().usage.table.frontends, 2);
}
