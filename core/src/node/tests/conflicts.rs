//! Two Services that name one address and port, and slices whose Service is unknown.

use super::*;

fn named(world: World, name: &str, created: Option<i64>, cluster_ip: u8) -> Service {
    let mut service = web(world);
    service.key.name = name.into();
    service.created = created;
    service.cluster_ips = vec![world.cluster_ip(cluster_ip)];
    service.external_ips = vec![world.external_ip()];
    service.ports[0].node_port = Some(30_080);
    service
}

fn owners(node: &Node, address: IpAddr) -> Vec<String> {
    node.frontends()
        .filter(|one| one.frontend.address == address)
        .map(|one| one.key.name.clone())
        .collect()
}

#[test]
fn the_older_of_two_services_has_a_contested_frontend_whichever_came_first() {
    both(|world| {
        let old = || Object::Service(named(world, "old", Some(10), 1));
        let new = || Object::Service(named(world, "new", Some(20), 2));
        for order in [[old(), new()], [new(), old()]] {
            let mut node = node_with(config());
            for object in order {
                node.apply([object]);
            }
            assert_eq!(owners(&node, world.external_ip()), ["old"]);
            assert_eq!(owners(&node, world.node()), ["old"]);
            // What is not contested is served all the same.
            assert_eq!(owners(&node, world.cluster_ip(2)), ["new"]);
            let rejections: Vec<String> = node.rejections().map(ToString::to_string).collect();
            let address = world.external_ip();
            assert_eq!(
                rejections,
                [
                    format!("Service default/new: spec.externalIPs: {address} port 80 TCP is served for Service default/old, which is older"),
                    "Service default/new: spec.ports[0].nodePort: 30080 TCP is served for Service default/old, which is older".into(),
                ]
            );
        }
    });
}

#[test]
fn the_loser_gets_the_frontend_when_the_owner_leaves_and_yields_when_it_returns() {
    both(|world| {
        let mut node = node_with(config());
        node.apply([
            Object::Service(named(world, "old", Some(10), 1)),
            Object::Service(named(world, "new", Some(20), 2)),
        ]);
        node.delete(&[service_ref("old")]);
        assert_eq!(owners(&node, world.external_ip()), ["new"]);
        assert_eq!(node.rejections().count(), 0);
        node.apply([Object::Service(named(world, "old", Some(10), 1))]);
        assert_eq!(owners(&node, world.external_ip()), ["old"]);
        assert_eq!(node.rejections().count(), 2);
        let mut gave_up = named(world, "old", Some(10), 1);
        gave_up.external_ips.clear();
        gave_up.ports[0].node_port = None;
        node.apply([Object::Service(gave_up)]);
        assert_eq!(owners(&node, world.external_ip()), ["new"]);
        assert_eq!(node.rejections().count(), 0);
    });
}

#[test]
fn of_two_services_of_one_age_the_name_decides_and_one_without_an_age_yields() {
    both(|world| {
        for (first, second, winner) in [
            (Some(5), Some(5), "a"),
            (None, None, "a"),
            (None, Some(5), "b"),
        ] {
            let mut node = node_with(config());
            node.apply([
                Object::Service(named(world, "a", first, 1)),
                Object::Service(named(world, "b", second, 2)),
            ]);
            assert_eq!(owners(&node, world.external_ip()), [winner]);
        }
    });
}

#[test]
fn services_may_share_an_address_on_different_ports_or_protocols() {
    both(|world| {
        let mut udp = named(world, "udp", Some(20), 2);
        udp.ports[0].protocol = Protocol::Udp;
        let mut other = named(world, "other", Some(30), 3);
        other.ports[0].port = 81;
        other.ports[0].node_port = Some(30_081);
        let mut node = node_with(config());
        let rejections = node.apply([
            Object::Service(named(world, "tcp", Some(10), 1)),
            Object::Service(udp),
            Object::Service(other),
        ]);
        assert_eq!(rejections, []);
        assert_eq!(owners(&node, world.external_ip()).len(), 3);
    });
}

#[test]
fn two_ports_of_a_service_with_one_name_and_protocol_are_named_and_the_first_is_served() {
    both(|world| {
        let mut service = web(world);
        service.ports.push(port("http", Protocol::Tcp, 81));
        let mut node = node_with(config());
        let rejections = node.apply([Object::Service(service)]);
        assert_eq!(rejections.len(), 1);
        assert_eq!(rejections[0].field, "spec.ports[1]");
        assert_eq!(node.frontends().count(), 1);
    });
}

#[test]
fn a_slice_of_an_unknown_service_is_named_until_the_service_comes() {
    both(|world| {
        let mut node = node_with(config());
        let rejections = node.apply([Object::EndpointSlice(slice(
            world,
            1,
            vec![here(world.pod_here(5))],
        ))]);
        assert_eq!(rejections.len(), 1);
        assert_eq!(
            rejections[0].to_string(),
            "EndpointSlice default/web-1: metadata.labels[kubernetes.io/service-name]: there is no Service default/web"
        );
        assert_eq!(node.apply([Object::Service(web(world))]), []);
        assert_eq!(node.rejections().count(), 0);
        let outcome = flow(&node, world.pod_here(9), (world.cluster_ip(80), 80));
        assert_eq!(outcome, kept([world.pod_here(5)]));
        node.delete(&[service_ref("web")]);
        assert_eq!(node.rejections().count(), 1);
    });
}

#[test]
fn a_slice_whose_label_changes_moves_to_the_other_service() {
    both(|world| {
        let mut other = web(world);
        other.key.name = "other".into();
        other.cluster_ips = vec![world.cluster_ip(1)];
        let mut node = node_with(config());
        let mut moving = slice(world, 1, vec![here(world.pod_here(5))]);
        node.apply([
            Object::Service(web(world)),
            Object::Service(other),
            Object::EndpointSlice(moving.clone()),
        ]);
        moving.service_name = "other".into();
        node.apply([Object::EndpointSlice(moving)]);
        let pod = world.pod_here(9);
        assert_eq!(
            flow(&node, pod, (world.cluster_ip(80), 80)),
            Outcome::Reject
        );
        assert_eq!(
            flow(&node, pod, (world.cluster_ip(1), 80)),
            kept([world.pod_here(5)])
        );
    });
}

#[test]
fn of_three_the_two_that_lose_are_told_of_the_same_owner() {
    both(|world| {
        let mut node = node_with(config());
        node.apply([Object::Service(named(world, "youngest", Some(30), 3))]);
        node.apply([Object::Service(named(world, "younger", Some(20), 2))]);
        node.apply([Object::Service(named(world, "oldest", Some(10), 1))]);
        assert_eq!(node.rejections().count(), 4);
        assert!(
            node.rejections()
                .all(|one| one.rule.contains("Service default/oldest"))
        );
    });
}
