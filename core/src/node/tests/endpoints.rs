//! Which endpoints may be chosen (readiness, policy, hints, merging of slices).

use super::*;

/// The endpoints that a pod and an outsider reach, with policy Local on both sides.
fn served(world: World, endpoints: Vec<SliceEndpoint>) -> (Outcome, Outcome) {
    let mut service = web_everywhere(world);
    service.external_traffic_policy = TrafficPolicy::Local;
    let mut node = node_with(config());
    node.apply([
        Object::Service(service),
        Object::EndpointSlice(slice(world, 1, endpoints)),
    ]);
    (
        flow(&node, world.pod_here(9), (world.cluster_ip(80), 80)),
        flow(&node, world.outside(), (world.node(), 30_080)),
    )
}

/// A case: conditions of an endpoint here and of one elsewhere, then what a pod gets at the ClusterIP and what
/// an outsider gets.
type Case = (&'static str, [Conditions; 2], Outcome, Outcome);

fn readiness_cases(here: IpAddr, there: IpAddr) -> [Case; 8] {
    let (no_local, reject) = (Outcome::NoLocalEndpoint, Outcome::Reject);
    let (both, draining) = (kept([here, there]), [DRAINING, DRAINING]);
    let case = |name, conditions, cluster, local| (name, conditions, cluster, local);
    [
        case("both ready", [READY, READY], both.clone(), kept([here])),
        case(
            "here drains",
            [DRAINING, READY],
            kept([there]),
            kept([here]),
        ),
        case(
            "there drains",
            [READY, DRAINING],
            kept([here]),
            kept([here]),
        ),
        case("both drain", draining, both, kept([here])),
        case(
            "there drains, here ended",
            [ENDED, DRAINING],
            kept([there]),
            no_local.clone(),
        ),
        case("there only", [NOT_READY, READY], kept([there]), no_local),
        case(
            "serving, not ready",
            [SERVING_ONLY; 2],
            reject.clone(),
            reject.clone(),
        ),
        case("none usable", [ENDED, NOT_READY], reject.clone(), reject),
    ]
}

#[test]
fn readiness_decides_and_each_set_falls_back_to_draining_endpoints_on_its_own() {
    both(|world| {
        let (here, there) = (world.pod_here(5), world.pod_there(7));
        for (name, [conditions_here, conditions_there], cluster, local) in
            readiness_cases(here, there)
        {
            let endpoints = vec![
                endpoint(here, "n1", conditions_here),
                endpoint(there, "n2", conditions_there),
            ];
            let outcomes = served(world, endpoints);
            assert_eq!(outcomes, (cluster, local), "{name}, {world:?}");
        }
        let outcomes = served(world, Vec::new());
        assert_eq!(outcomes, (Outcome::Reject, Outcome::Reject));
    });
}

#[test]
fn internal_traffic_policy_local_keeps_cluster_ip_traffic_on_the_node_for_everybody() {
    both(|world| {
        let mut service = web_everywhere(world);
        service.internal_traffic_policy = TrafficPolicy::Local;
        let mut node = node_with(config());
        let endpoints = vec![here(world.pod_here(5)), there(world.pod_there(7))];
        node.apply([
            Object::Service(service),
            Object::EndpointSlice(slice(world, 1, endpoints)),
        ]);
        let frontend = (world.cluster_ip(80), 80);
        let local = world.pod_here(5);
        assert_eq!(flow(&node, world.pod_here(9), frontend), kept([local]));
        assert_eq!(flow(&node, world.node(), frontend), masqueraded([local]));
        assert_eq!(flow(&node, world.outside(), frontend), masqueraded([local]));
        // The other side is not touched by it.
        let all = [local, world.pod_there(7)];
        assert_eq!(
            flow(&node, world.outside(), (world.lb_ip(), 80)),
            masqueraded(all)
        );
        node.apply([Object::EndpointSlice(slice(
            world,
            1,
            vec![there(world.pod_there(7))],
        ))]);
        assert_eq!(
            flow(&node, world.pod_here(9), frontend),
            Outcome::NoLocalEndpoint
        );
    });
}

fn hinted(address: IpAddr, zones: &[&str], nodes: &[&str]) -> SliceEndpoint {
    SliceEndpoint {
        zone_hints: zones.iter().map(|zone| (*zone).into()).collect(),
        node_hints: nodes.iter().map(|node| (*node).into()).collect(),
        ..there(address)
    }
}

/// What a pod of node `n1` in zone `z1` gets at the ClusterIP.
fn assert_chosen(name: &str, world: World, endpoints: Vec<SliceEndpoint>, expected: &Outcome) {
    let mut node = node_with(config());
    node.apply([
        Object::Service(web(world)),
        Object::EndpointSlice(slice(world, 1, endpoints)),
    ]);
    let outcome = flow(&node, world.pod_here(9), (world.cluster_ip(80), 80));
    assert_eq!(outcome, *expected, "{name}, {world:?}");
}

#[test]
fn hints_narrow_the_cluster_set_by_node_first_and_by_zone_else() {
    both(|world| {
        let (a, b) = (world.pod_here(1), world.pod_there(2));
        let cases = [
            (
                "zone",
                [hinted(a, &["z1"], &[]), hinted(b, &["z2"], &[])],
                kept([a]),
            ),
            (
                "several zones",
                [hinted(a, &["z2", "z1"], &[]), hinted(b, &["z1"], &[])],
                kept([a, b]),
            ),
            (
                "node before zone",
                [hinted(a, &["z2"], &["n1"]), hinted(b, &["z1"], &["n2"])],
                kept([a]),
            ),
            (
                "other nodes: zone",
                [hinted(a, &["z1"], &["n3"]), hinted(b, &["z2"], &["n2"])],
                kept([a]),
            ),
        ];
        for (name, endpoints, expected) in cases {
            assert_chosen(name, world, endpoints.into(), &expected);
        }
    });
}

#[test]
fn hints_that_are_incomplete_or_name_nobody_here_do_not_count() {
    both(|world| {
        let (a, b) = (world.pod_here(1), world.pod_there(2));
        let cases = [
            (
                "one without node hints: zone",
                [hinted(a, &["z2"], &["n1"]), hinted(b, &["z1"], &[])],
                kept([b]),
            ),
            (
                "one without any: all",
                [hinted(a, &["z1"], &["n1"]), there(b)],
                kept([a, b]),
            ),
            (
                "none for this zone: all",
                [hinted(a, &["z2"], &[]), hinted(b, &["z3"], &[])],
                kept([a, b]),
            ),
        ];
        for (name, endpoints, expected) in cases {
            assert_chosen(name, world, endpoints.into(), &expected);
        }
    });
}

#[test]
fn hints_count_on_ready_endpoints_only() {
    both(|world| {
        let [a, b, c] = [1, 2, 3].map(|number| world.pod_there(number));
        let with = |conditions, one| SliceEndpoint { conditions, ..one };
        let (near, far) = (hinted(a, &["z1"], &[]), hinted(b, &["z2"], &[]));
        let unready = with(NOT_READY, there(c));
        assert_chosen(
            "one not ready has none",
            world,
            vec![near.clone(), far.clone(), unready],
            &kept([a]),
        );
        let unready = with(NOT_READY, near.clone());
        assert_chosen(
            "only one not ready is near",
            world,
            vec![unready, far],
            &kept([b]),
        );
        let draining = vec![with(DRAINING, near), with(DRAINING, there(b))];
        assert_chosen("all drain", world, draining, &kept([a, b]));
    });
}

#[test]
fn without_a_zone_zone_hints_do_not_count_and_a_zone_learnt_later_makes_them_count() {
    both(|world| {
        let mut config = config();
        config.zone = None;
        let mut node = node_with(config);
        let hinted = |address, zone: &str| SliceEndpoint {
            zone_hints: vec![zone.into()],
            ..there(address)
        };
        let (a, b) = (world.pod_there(1), world.pod_there(2));
        node.apply([
            Object::Service(web(world)),
            Object::EndpointSlice(slice(world, 1, vec![hinted(a, "z1"), hinted(b, "z2")])),
        ]);
        let frontend = (world.cluster_ip(80), 80);
        assert_eq!(flow(&node, world.pod_here(9), frontend), kept([a, b]));
        node.apply([Object::Node(crate::model::Node {
            name: "n1".into(),
            zone: Some("z2".into()),
            being_deleted: true,
            ..crate::model::Node::default()
        })]);
        assert_eq!(flow(&node, world.pod_here(9), frontend), kept([b]));
        assert!(node.is_being_deleted());
        node.delete(&[ObjectRef {
            kind: Kind::Node,
            key: ObjectKey::new("", "n1"),
        }]);
        assert_eq!(flow(&node, world.pod_here(9), frontend), kept([a, b]));
    });
}

#[test]
fn hints_never_apply_to_the_local_set() {
    both(|world| {
        let mut service = web_everywhere(world);
        service.external_traffic_policy = TrafficPolicy::Local;
        let (a, b) = (world.pod_here(1), world.pod_here(2));
        let hinted = |address, zone: &str| SliceEndpoint {
            zone_hints: vec![zone.into()],
            ..here(address)
        };
        let mut node = node_with(config());
        node.apply([
            Object::Service(service),
            Object::EndpointSlice(slice(world, 1, vec![hinted(a, "z1"), hinted(b, "z2")])),
        ]);
        assert_eq!(
            flow(&node, world.outside(), (world.lb_ip(), 80)),
            kept([a, b])
        );
        assert_eq!(
            flow(&node, world.pod_here(9), (world.lb_ip(), 80)),
            kept([a])
        );
    });
}

#[test]
fn slices_of_a_service_are_merged_and_of_duplicates_the_local_one_counts() {
    both(|world| {
        let (a, b, c) = (world.pod_here(1), world.pod_there(2), world.pod_there(3));
        let mut service = web_everywhere(world);
        service.external_traffic_policy = TrafficPolicy::Local;
        let mut node = node_with(config());
        node.apply([
            Object::Service(service),
            Object::EndpointSlice(slice(world, 1, vec![there(a), there(b)])),
            Object::EndpointSlice(slice(world, 2, vec![here(a), there(c)])),
        ]);
        assert_eq!(
            flow(&node, world.pod_here(9), (world.cluster_ip(80), 80)),
            kept([a, b, c])
        );
        assert_eq!(flow(&node, world.outside(), (world.lb_ip(), 80)), kept([a]));
    });
}

#[test]
fn ports_are_matched_by_name_and_protocol_and_slices_may_resolve_a_name_differently() {
    both(|world| {
        let (a, b) = (world.pod_there(1), world.pod_there(2));
        let mut service = web(world);
        service.ports = vec![
            port("dns", Protocol::Udp, 53),
            port("dns", Protocol::Tcp, 53),
            port("sctp", Protocol::Sctp, 38_412),
        ];
        let resolved = |number, endpoint, ports: &[(&str, Protocol, u16)]| {
            let ports = ports.iter().map(|(name, protocol, port)| EndpointPort {
                name: (*name).into(),
                protocol: *protocol,
                port: *port,
            });
            Object::EndpointSlice(EndpointSlice {
                ports: ports.collect(),
                ..slice(world, number, vec![there(endpoint)])
            })
        };
        let mut node = node_with(config());
        let (tcp, udp, sctp) = (Protocol::Tcp, Protocol::Udp, Protocol::Sctp);
        node.apply([
            Object::Service(service),
            resolved(
                1,
                a,
                &[("dns", udp, 5353), ("dns", tcp, 5354), ("sctp", sctp, 9)],
            ),
            resolved(2, b, &[("dns", udp, 1053), ("other", tcp, 53)]),
        ]);
        let at = |endpoints: &[(IpAddr, u16)]| {
            let mut list: Vec<String> = endpoints
                .iter()
                .map(|(address, port)| SocketAddr::new(*address, *port).to_string())
                .collect();
            list.sort();
            Outcome::Forward(list, false)
        };
        let pod = world.pod_here(9);
        let dns = (world.cluster_ip(80), 53);
        assert_eq!(flow_of(&node, pod, dns, udp), at(&[(a, 5353), (b, 1053)]));
        assert_eq!(flow_of(&node, pod, dns, tcp), at(&[(a, 5354)]));
        assert_eq!(
            flow_of(&node, pod, (world.cluster_ip(80), 38_412), sctp),
            at(&[(a, 9)])
        );
    });
}

#[test]
fn headless_slices_and_slices_of_the_other_family_are_not_seen() {
    both(|world| {
        let other = World(match world.0 {
            Family::Ipv4 => Family::Ipv6,
            Family::Ipv6 => Family::Ipv4,
        });
        let headless = EndpointSlice {
            headless: true,
            ..slice(world, 1, vec![here(world.pod_here(5))])
        };
        let mut node = node_with(config());
        node.apply([
            Object::Service(web(world)),
            Object::EndpointSlice(headless),
            Object::EndpointSlice(slice(other, 2, vec![here(other.pod_here(6))])),
        ]);
        let frontend = (world.cluster_ip(80), 80);
        assert_eq!(flow(&node, world.pod_here(9), frontend), Outcome::Reject);
    });
}

#[test]
fn endpoints_objects_serve_only_where_there_is_no_slice() {
    both(|world| {
        let old = crate::model::Endpoints {
            key: ObjectKey::new("default", "web"),
            slices: vec![EndpointSlice {
                key: ObjectKey::new("default", "web#0"),
                ..slice(world, 0, vec![there(world.pod_there(1))])
            }],
        };
        let mut node = node_with(config());
        node.apply([Object::Service(web(world)), Object::Endpoints(old)]);
        let frontend = (world.cluster_ip(80), 80);
        let pod = world.pod_here(9);
        assert_eq!(flow(&node, pod, frontend), kept([world.pod_there(1)]));
        node.apply([Object::EndpointSlice(slice(
            world,
            1,
            vec![here(world.pod_here(5))],
        ))]);
        assert_eq!(flow(&node, pod, frontend), kept([world.pod_here(5)]));
        node.delete(&[slice_ref(1)]);
        assert_eq!(flow(&node, pod, frontend), kept([world.pod_there(1)]));
        node.delete(&[ObjectRef {
            kind: Kind::Endpoints,
            key: ObjectKey::new("default", "web"),
        }]);
        assert_eq!(flow(&node, pod, frontend), Outcome::Reject);
    });
}

#[test]
fn endpoints_that_nothing_can_be_sent_to_are_named_and_left_out() {
    for (world, bad) in [
        (
            World(Family::Ipv4),
            [
                "127.0.0.1",
                "0.0.0.0",
                "224.0.0.1",
                "169.254.1.1",
                "255.255.255.255",
            ]
            .as_slice(),
        ),
        (
            World(Family::Ipv6),
            ["::1", "::", "ff02::1", "fe80::1", "::ffff:10.0.0.1"].as_slice(),
        ),
    ] {
        for address in bad {
            let bad = here(address.parse().expect(address));
            let good = world.pod_here(5);
            let mut node = node_with(config());
            let rejections = node.apply([
                Object::Service(web(world)),
                Object::EndpointSlice(slice(world, 1, vec![here(good), bad])),
            ]);
            assert_eq!(rejections.len(), 1, "{address}");
            assert_eq!(rejections[0].object, "EndpointSlice default/web-1");
            assert_eq!(rejections[0].field, "endpoints[1].addresses[0]");
            assert!(rejections[0].rule.starts_with(address), "{}", rejections[0]);
            let outcome = flow(&node, world.pod_here(9), (world.cluster_ip(80), 80));
            assert_eq!(outcome, kept([good]), "{address}");
        }
    }
}

#[test]
fn an_endpoint_that_is_a_cluster_ip_is_left_out_while_that_service_exists() {
    both(|world| {
        let mut other = web(world);
        other.key.name = "other".into();
        other.cluster_ips = vec![world.cluster_ip(7)];
        let mut node = node_with(config());
        let endpoints = vec![there(world.cluster_ip(7)), there(world.pod_there(1))];
        node.apply([
            Object::Service(web(world)),
            Object::EndpointSlice(slice(world, 1, endpoints)),
        ]);
        let frontend = (world.cluster_ip(80), 80);
        let pod = world.pod_here(9);
        assert_eq!(
            flow(&node, pod, frontend),
            kept([world.cluster_ip(7), world.pod_there(1)])
        );
        let rejections = node.apply([Object::Service(other)]);
        assert!(
            rejections
                .iter()
                .any(|one| one.rule.contains("must not be the ClusterIP"))
        );
        assert_eq!(flow(&node, pod, frontend), kept([world.pod_there(1)]));
        node.delete(&[service_ref("other")]);
        assert_eq!(node.rejections().count(), 0);
        assert_eq!(
            flow(&node, pod, frontend),
            kept([world.cluster_ip(7), world.pod_there(1)])
        );
    });
}
