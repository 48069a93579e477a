//! Reading the objects themselves, and which of them changed since a revision.

use super::*;
use crate::node::Revision;

const V4: World = World(Family::Ipv4);

fn named(name: &str) -> Object {
    let mut service = web(V4);
    service.key.name = name.into();
    Object::Service(service)
}

fn touched(node: &Node, since: Revision) -> Vec<String> {
    let services = node.touched(since).services;
    services.into_iter().map(|key| key.name).collect()
}

#[test]
fn a_reader_is_told_each_service_once_whether_known_or_gone_and_before_anything_is_planned() {
    let mut node = Node::new(config());
    node.apply([named("a"), named("b"), named("c")]);
    let first = node.touched(Revision::default());
    assert!(first.full && first.namespaces);
    assert_eq!(touched(&node, Revision::default()), ["a", "b", "c"]);
    assert!(touched(&node, first.to).is_empty());
    node.synced(Kind::Service);
    node.synced(Kind::EndpointSlice);
    assert!(touched(&node, first.to).is_empty(), "planning changes none");
    node.delete(&[service_ref("a"), service_ref("c")]);
    node.apply([named("a"), named("b")]);
    let later = node.touched(first.to);
    assert!(!later.full && !later.namespaces);
    assert_eq!(touched(&node, first.to), ["a", "c"], "b is as it was");
    let gone = ObjectKey::new("default", "c");
    assert!(node.objects_of(&gone).service.is_none());
}

#[test]
fn a_reader_that_missed_services_no_longer_remembered_is_told_all_there_are() {
    let mut node = node_with(config());
    node.apply([named("a"), named("stays")]);
    let since = node.touched(Revision::default()).to;
    node.delete(&[service_ref("a")]);
    for _ in 0..5_000 {
        node.apply([named("b")]);
        node.delete(&[service_ref("b")]);
    }
    let all = node.touched(since);
    assert!(all.full);
    assert_eq!(touched(&node, since), ["stays"]);
}

#[test]
fn a_slice_touches_its_service_and_is_read_with_it() {
    let mut node = node_with(config());
    node.apply([named("web")]);
    let since = node.touched(Revision::default()).to;
    node.apply([Object::EndpointSlice(slice(
        V4,
        1,
        vec![here(V4.pod_here(1))],
    ))]);
    assert_eq!(touched(&node, since), ["web"]);
    let objects = node.objects_of(&ObjectKey::new("default", "web"));
    assert!(objects.service.is_some());
    assert_eq!(objects.slices.len(), 1);
}

#[test]
fn namespaces_come_and_go() {
    let mut node = node_with(config());
    let since = node.touched(Revision::default()).to;
    node.apply([Object::Namespace("empty".into())]);
    assert!(node.touched(since).namespaces);
    assert_eq!(node.namespaces().collect::<Vec<_>>(), ["empty"]);
    let since = node.touched(since).to;
    node.replace(Kind::Namespace, []);
    assert!(node.touched(since).namespaces);
    assert_eq!(node.namespaces().count(), 0);
}
