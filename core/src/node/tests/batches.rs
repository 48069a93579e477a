//! Several changes in one generation, and the host's tags of endpoints.

use super::*;
use crate::net::Generation;
use crate::node::Batch;
use crate::plan::Change;

fn objects(world: World) -> [Object; 2] {
    [
        Object::Service(web(world)),
        Object::EndpointSlice(slice(world, 1, vec![here(world.pod_here(5))])),
    ]
}

fn batch(objects: impl IntoIterator<Item = Object>) -> Batch {
    let mut batch = Batch::new();
    for object in objects {
        batch.put(object);
    }
    batch
}

#[test]
fn a_batch_is_one_generation_whatever_it_puts_and_deletes() {
    both(|world| {
        let mut node = node_with(config());
        let before = node.generation();
        node.commit(batch(objects(world)));
        assert_eq!(node.generation(), Generation(before.0 + 1));

        let mut second = Batch::new();
        second.delete(slice_ref(1));
        second.put(Object::EndpointSlice(slice(
            world,
            2,
            vec![there(world.pod_there(6))],
        )));
        node.commit(second);
        assert_eq!(node.generation(), Generation(before.0 + 2));
        assert_eq!(
            flow(&node, world.pod_here(9), (world.cluster_ip(80), 80)),
            kept([world.pod_there(6)])
        );
    });
}

#[test]
fn of_several_changes_to_one_object_the_last_counts() {
    let world = World(Family::Ipv4);
    let mut node = node_with(config());
    let mut changes = batch(objects(world));
    changes.delete(service_ref("web"));
    node.commit(changes.clone());
    assert_eq!(node.plan().port_count(), 0);
    changes.put(Object::Service(web(world)));
    node.commit(changes);
    assert_eq!(node.plan().port_count(), 1);
}

#[test]
fn a_batch_that_replaces_kinds_forgets_the_others_and_syncs() {
    both(|world| {
        let mut node = Node::new(config());
        let mut first = batch(objects(world));
        first.replace(Kind::Service);
        first.replace(Kind::EndpointSlice);
        assert!(!first.is_empty());
        node.commit(first);
        assert!(node.is_synced());
        assert_eq!(node.plan().port_count(), 1);

        let mut none = Batch::new();
        none.replace(Kind::Service);
        node.commit(none);
        assert_eq!(node.plan().port_count(), 0);
    });
}

#[test]
fn a_tag_reaches_the_endpoint_of_every_service_whenever_it_was_given() {
    both(|world| {
        let tags = |node: &Node| -> Vec<u64> {
            let ports = node.plan().ports();
            ports
                .flat_map(|(_, port)| port.spec.endpoints.iter().map(|endpoint| endpoint.tag))
                .collect()
        };
        let mut node = node_with(config());
        node.set_endpoint_tags([(world.pod_here(5), 55)]);
        node.commit(batch(objects(world)));
        assert_eq!(tags(&node), [55]);

        let seen = node.generation();
        node.set_endpoint_tags([(world.pod_here(5), 56), (world.pod_there(6), 66)]);
        assert_eq!(tags(&node), [56]);
        let changes = node.changes(seen).changes;
        assert!(matches!(&changes[..], [Change::Put(key, _)] if key.name == "web"));

        let seen = node.generation();
        node.set_endpoint_tags([(world.pod_here(5), 56)]);
        assert_eq!(node.generation(), seen, "nothing is different");
        node.set_endpoint_tags([(world.pod_here(5), 0)]);
        assert_eq!(tags(&node), [0]);
    });
}
