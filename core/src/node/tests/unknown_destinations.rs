//! Reject, drop or pass where no frontend is.

use super::*;

#[test]
fn an_undeclared_port_or_protocol_of_a_cluster_ip_is_rejected() {
    both(|world| {
        let mut node = node_with(config());
        node.apply([
            Object::Service(web_everywhere(world)),
            Object::EndpointSlice(slice(world, 1, vec![here(world.pod_here(5))])),
        ]);
        let pod = world.pod_here(9);
        let address = world.cluster_ip(80);
        assert_eq!(flow(&node, pod, (address, 81)), Outcome::Reject);
        assert_eq!(
            flow_of(&node, pod, (address, 80), Protocol::Udp),
            Outcome::Reject
        );
        assert_eq!(
            flow_of(&node, pod, (address, 80), Protocol::Sctp),
            Outcome::Reject
        );
        // Undeclared ports of other addresses are none of ours.
        for address in [world.lb_ip(), world.external_ip(), world.node()] {
            assert_eq!(flow(&node, pod, (address, 81)), Outcome::Pass);
        }
    });
}

#[test]
fn an_address_in_a_service_cidr_that_no_service_has_is_dropped() {
    both(|world| {
        let mut node = node_with(config());
        node.apply([Object::Service(web(world))]);
        let unknown = (world.cluster_ip(99), 80);
        assert_eq!(
            flow(&node, world.pod_here(9), unknown),
            Outcome::Unallocated
        );
        node.delete(&[service_ref("web")]);
        let gone = (world.cluster_ip(80), 80);
        assert_eq!(flow(&node, world.pod_here(9), gone), Outcome::Unallocated);
        node.reconfigure(NodeConfig {
            service_cidrs: Vec::new(),
            ..config()
        });
        assert_eq!(flow(&node, world.pod_here(9), unknown), Outcome::Pass);
    });
}

#[test]
fn a_cluster_ip_that_another_proxy_serves_is_dropped_or_on_request_left_alone() {
    both(|world| {
        let theirs = |name: Option<&str>| Service {
            proxy_name: name.map(Into::into),
            ..web(world)
        };
        let pod = world.pod_here(9);
        let served = (world.cluster_ip(80), 80);
        let mut node = node_with(config());
        node.apply([Object::Service(theirs(Some("mesh")))]);
        assert_eq!(flow(&node, pod, served), Outcome::Unallocated);
        node.reconfigure(NodeConfig {
            other_proxies: OtherProxies::Pass,
            ..config()
        });
        assert_eq!(flow(&node, pod, served), Outcome::Pass);
        // Undeclared ports are the other proxy's as well; other addresses stay nobody's.
        assert_eq!(flow(&node, pod, (served.0, 81)), Outcome::Pass);
        let unknown = (world.cluster_ip(99), 80);
        assert_eq!(flow(&node, pod, unknown), Outcome::Unallocated);

        // The label may come and go, and the Service too.
        node.apply([Object::Service(theirs(None))]);
        assert_eq!(flow(&node, pod, served), Outcome::Reject);
        node.apply([Object::Service(theirs(Some("mesh")))]);
        assert_eq!(flow(&node, pod, served), Outcome::Pass);
        node.delete(&[service_ref("web")]);
        assert_eq!(flow(&node, pod, served), Outcome::Unallocated);

        // For the other proxy, those without the label are another's.
        let mut mesh = node_with(NodeConfig {
            proxy_name: Some("mesh".into()),
            other_proxies: OtherProxies::Pass,
            ..config()
        });
        mesh.apply([Object::Service(theirs(None))]);
        assert_eq!(flow(&mesh, pod, served), Outcome::Pass);
        mesh.apply([Object::Service(theirs(Some("mesh")))]);
        assert_eq!(flow(&mesh, pod, served), Outcome::Reject);
    });
}

#[test]
fn a_cluster_ip_outside_every_service_cidr_is_known_all_the_same() {
    both(|world| {
        let mut service = web(world);
        service.cluster_ips = vec![world.ip("10.111.0.1", "fd97::1")];
        let frontend = service.cluster_ips[0];
        for service_cidrs in [config().service_cidrs, Vec::new()] {
            let mut node = node_with(NodeConfig {
                service_cidrs,
                ..config()
            });
            node.apply([Object::Service(service.clone())]);
            assert_eq!(
                flow(&node, world.pod_here(9), (frontend, 81)),
                Outcome::Reject
            );
            assert_eq!(
                flow(&node, world.pod_here(9), (world.pod_there(1), 81)),
                Outcome::Pass
            );
            node.delete(&[service_ref("web")]);
            assert_eq!(
                flow(&node, world.pod_here(9), (frontend, 81)),
                Outcome::Pass
            );
        }
    });
}

#[test]
fn a_service_without_usable_endpoints_is_rejected_at_every_frontend_for_everybody() {
    both(|world| {
        for policy in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
            let mut service = web_everywhere(world);
            service.internal_traffic_policy = policy;
            service.external_traffic_policy = policy;
            let mut node = node_with(config());
            node.apply([Object::Service(service)]);
            for frontend in outer_frontends(world)
                .into_iter()
                .chain([(world.cluster_ip(80), 80)])
            {
                for sender in [world.pod_here(9), world.node(), world.outside()] {
                    assert_eq!(flow(&node, sender, frontend), Outcome::Reject);
                }
            }
        }
    });
}
