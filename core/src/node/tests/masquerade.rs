//! Which set each class of senders gets, and who is masqueraded.

use super::*;

/// Pod, node and outsider at the ClusterIP, then at an outer frontend (all three kinds must agree).
fn matrix(
    world: World,
    config: NodeConfig,
    change: impl Fn(&mut Service),
) -> ([Outcome; 3], [Outcome; 3]) {
    let mut service = web_everywhere(world);
    change(&mut service);
    let mut node = node_with(config);
    let endpoints = vec![here(world.pod_here(5)), there(world.pod_there(7))];
    node.apply([
        Object::Service(service),
        Object::EndpointSlice(slice(world, 1, endpoints)),
    ]);
    let senders = [world.pod_here(9), world.node(), world.outside()];
    let row = |frontend| senders.map(|sender| flow(&node, sender, frontend));
    let [node_port, external_ip, lb_ip] = outer_frontends(world).map(row);
    assert_eq!(node_port, external_ip);
    assert_eq!(node_port, lb_ip);
    (row((world.cluster_ip(80), 80)), node_port)
}

fn local(service: &mut Service) {
    service.external_traffic_policy = TrafficPolicy::Local;
}

#[test]
fn policy_cluster_keeps_only_a_pods_address_and_only_at_the_cluster_ip() {
    both(|world| {
        let all = [world.pod_here(5), world.pod_there(7)];
        let (inner, outer) = matrix(world, config(), |_| {});
        assert_eq!(inner, [kept(all), masqueraded(all), masqueraded(all)]);
        assert_eq!(
            outer,
            [masqueraded(all), masqueraded(all), masqueraded(all)]
        );
    });
}

#[test]
fn external_policy_local_short_circuits_pods_and_the_node_and_keeps_outsiders_addresses() {
    both(|world| {
        let all = [world.pod_here(5), world.pod_there(7)];
        let (inner, outer) = matrix(world, config(), local);
        assert_eq!(inner, [kept(all), masqueraded(all), masqueraded(all)]);
        assert_eq!(
            outer,
            [kept(all), masqueraded(all), kept([world.pod_here(5)])]
        );
    });
}

#[test]
fn masquerade_all_translates_pods_at_cluster_ips_and_changes_nothing_else() {
    both(|world| {
        let all = [world.pod_here(5), world.pod_there(7)];
        let mut config = config();
        config.masquerade_all = true;
        let (inner, outer) = matrix(world, config, local);
        assert_eq!(
            inner,
            [masqueraded(all), masqueraded(all), masqueraded(all)]
        );
        assert_eq!(
            outer,
            [kept(all), masqueraded(all), kept([world.pod_here(5)])]
        );
    });
}

#[test]
fn without_a_detector_nobody_is_translated_at_cluster_ips_and_pods_are_outsiders() {
    both(|world| {
        let all = [world.pod_here(5), world.pod_there(7)];
        let mut config = config();
        config.detect_local = LocalDetector::None;
        let (inner, outer) = matrix(world, config.clone(), local);
        assert_eq!(inner, [kept(all), kept(all), kept(all)]);
        let here = kept([world.pod_here(5)]);
        assert_eq!(outer, [here.clone(), masqueraded(all), here]);
        config.masquerade_all = true;
        let (inner, _) = matrix(world, config, local);
        assert_eq!(
            inner,
            [masqueraded(all), masqueraded(all), masqueraded(all)]
        );
    });
}

#[test]
fn where_interfaces_tell_who_enters_by_none_of_them_is_no_pod_whatever_the_address() {
    both(|world| {
        let all = [world.pod_here(5), world.pod_there(7)];
        for detector in [
            LocalDetector::BridgeInterface("cni0".into()),
            LocalDetector::InterfaceNamePrefix("veth".into()),
        ] {
            let mut config = config();
            config.detect_local = detector;
            // No prefix is asked.
            config.cluster_cidrs.clear();
            let (inner, outer) = matrix(world, config, local);
            assert_eq!(
                inner,
                [masqueraded(all), masqueraded(all), masqueraded(all)]
            );
            let here = kept([world.pod_here(5)]);
            assert_eq!(outer, [here.clone(), masqueraded(all), here]);
        }
    });
}

#[test]
fn a_detector_of_the_other_family_only_is_none() {
    both(|world| {
        let all = [world.pod_here(5), world.pod_there(7)];
        let mut config = config();
        config
            .cluster_cidrs
            .retain(|prefix| Family::of(prefix.address()) != world.0);
        let (inner, _) = matrix(world, config, |_| {});
        assert_eq!(inner, [kept(all), kept(all), kept(all)]);
    });
}

#[test]
fn node_cidr_counts_this_nodes_pods_only() {
    both(|world| {
        let mut config = config();
        config.detect_local = LocalDetector::NodeCidr;
        let mut node = node_with(config);
        let all = [world.pod_here(5)];
        node.apply([
            Object::Service(web(world)),
            Object::EndpointSlice(slice(world, 1, vec![here(world.pod_here(5))])),
        ]);
        let frontend = (world.cluster_ip(80), 80);
        assert_eq!(flow(&node, world.pod_here(9), frontend), kept(all));
        assert_eq!(flow(&node, world.pod_there(9), frontend), masqueraded(all));
    });
}

#[test]
fn what_the_host_leaves_empty_is_taken_from_the_node_object_of_the_same_name() {
    let mut node = node_with(NodeConfig {
        name: "n1".into(),
        detect_local: LocalDetector::NodeCidr,
        ..NodeConfig::default()
    });
    let full = config();
    let object = |name: &str| {
        Object::Node(crate::model::Node {
            name: name.into(),
            addresses: full.addresses.clone(),
            zone: None,
            pod_cidrs: full.pod_cidrs.clone(),
            being_deleted: false,
        })
    };
    node.apply([object("n2")]);
    assert!(node.plan().node().addresses.is_empty());
    node.apply([object("n1")]);
    assert_eq!(node.plan().node().addresses, full.addresses);
    assert_eq!(node.plan().node().pod_prefixes, full.pod_cidrs);
    let primary = World(Family::Ipv4).node();
    assert_eq!(
        node.plan().node().masquerade_ipv4.map(IpAddr::V4),
        Some(primary)
    );
    node.reconfigure(NodeConfig {
        name: "n3".into(),
        ..NodeConfig::default()
    });
    assert!(node.plan().node().addresses.is_empty());
}
