//! Where a Service is served.

use super::*;
use crate::service::FrontendKind;
use alloc::collections::BTreeSet;

fn served_at(node: &Node) -> BTreeSet<(FrontendKind, SocketAddr)> {
    let frontends = node.frontends().map(|one| one.frontend);
    frontends
        .map(|one| (one.kind, SocketAddr::new(one.address, one.port)))
        .collect()
}

#[test]
fn a_service_is_served_at_every_kind_of_address_it_has() {
    both(|world| {
        let mut node = node_with(config());
        node.apply([Object::Service(web_everywhere(world))]);
        let expected = [
            (
                FrontendKind::ClusterIp,
                SocketAddr::new(world.cluster_ip(80), 80),
            ),
            (
                FrontendKind::NodePort,
                SocketAddr::new(world.node(), 30_080),
            ),
            (
                FrontendKind::ExternalIp,
                SocketAddr::new(world.external_ip(), 80),
            ),
            (
                FrontendKind::LoadBalancer,
                SocketAddr::new(world.lb_ip(), 80),
            ),
        ];
        assert_eq!(served_at(&node), BTreeSet::from(expected));
    });
}

#[test]
fn a_dual_stack_service_is_served_in_both_families_and_a_single_stack_one_in_its_own() {
    let (v4, v6) = (World(Family::Ipv4), World(Family::Ipv6));
    let mut service = web_everywhere(v4);
    service.cluster_ips.push(v6.cluster_ip(80));
    service.external_ips.push(v6.external_ip());
    let mut node = node_with(config());
    node.apply([
        Object::Service(service.clone()),
        Object::EndpointSlice(slice(v4, 1, vec![here(v4.pod_here(5))])),
        Object::EndpointSlice(slice(v6, 2, vec![here(v6.pod_here(6))])),
    ]);
    for world in [v4, v6] {
        let number = if world == v4 { 5 } else { 6 };
        for frontend in [
            (world.cluster_ip(80), 80),
            (world.node(), 30_080),
            (world.external_ip(), 80),
        ] {
            let outcome = flow(&node, world.outside(), frontend);
            assert_eq!(
                outcome,
                masqueraded([world.pod_here(number)]),
                "{frontend:?}"
            );
        }
    }
    // Without a ClusterIP of the family, nothing in it: external IPs and NodePorts neither.
    service.cluster_ips = vec![v6.cluster_ip(80)];
    node.apply([Object::Service(service)]);
    assert!(
        served_at(&node)
            .iter()
            .all(|(_, address)| address.is_ipv6())
    );
    assert_eq!(
        flow(&node, v4.outside(), (v4.external_ip(), 80)),
        Outcome::Pass
    );
}

#[test]
fn services_that_are_not_ours_or_have_no_cluster_ip_are_not_served() {
    both(|world| {
        let everywhere = || web_everywhere(world);
        for (name, service) in [
            (
                "ExternalName",
                Service {
                    external_name: Some("www.example.com".into()),
                    ..everywhere()
                },
            ),
            (
                "headless",
                Service {
                    cluster_ips: Vec::new(),
                    ..everywhere()
                },
            ),
            (
                "of another proxy",
                Service {
                    proxy_name: Some("other".into()),
                    ..everywhere()
                },
            ),
        ] {
            let mut node = node_with(config());
            node.apply([Object::Service(everywhere())]);
            assert!(!served_at(&node).is_empty());
            node.apply([Object::Service(service)]);
            assert!(served_at(&node).is_empty(), "{name}");
            assert_eq!(node.plan().port_count(), 0, "{name}");
        }
        let mut named = config();
        named.proxy_name = Some("other".into());
        let mut node = node_with(named);
        node.apply([Object::Service(everywhere())]);
        assert!(served_at(&node).is_empty());
        let ours = Service {
            proxy_name: Some("other".into()),
            ..everywhere()
        };
        node.apply([Object::Service(ours)]);
        assert!(!served_at(&node).is_empty());
    });
}

#[test]
fn ip_mode_proxy_is_not_served_at_all() {
    both(|world| {
        let mut service = web_everywhere(world);
        service.ingress[0].proxy = true;
        service.source_ranges = vec![Prefix::host(world.outside())];
        let mut node = node_with(config());
        node.apply([Object::Service(service)]);
        assert_eq!(
            flow(&node, world.outside(), (world.lb_ip(), 80)),
            Outcome::Pass
        );
        assert_eq!(
            flow(&node, world.pod_here(9), (world.lb_ip(), 80)),
            Outcome::Pass
        );
    });
}

#[test]
fn node_ports_are_served_on_the_addresses_that_the_node_says() {
    both(|world| {
        let within = |list: &[Prefix]| NodePortAddresses::Within(list.to_vec());
        let first = world.prefix("192.168.66.0/24", "fd66::/64");
        let second = world.prefix("172.16.0.0/12", "fd67::/64");
        let neither = world.prefix("10.0.0.0/8", "fd00:1::/64");
        let foreign: Prefix = match world.0 {
            Family::Ipv4 => "fd00::/64".parse().expect("a prefix"),
            Family::Ipv6 => "10.0.0.0/8".parse().expect("a prefix"),
        };
        let (one, two) = (world.node(), world.node_second());
        for (name, selection, expected) in [
            ("primary", NodePortAddresses::Primary, vec![one]),
            ("all", NodePortAddresses::All, vec![one, two]),
            ("within the first", within(&[first]), vec![one]),
            ("within the second", within(&[second]), vec![two]),
            ("within both", within(&[second, first]), vec![one, two]),
            ("within none", within(&[neither]), vec![]),
            (
                "prefixes of the other family only",
                within(&[foreign]),
                vec![one, two],
            ),
        ] {
            let mut config = config();
            config.node_port_addresses = selection;
            config.addresses.insert(0, world.ip("127.0.0.1", "::1"));
            let mut node = node_with(config);
            node.apply([Object::Service(web_everywhere(world))]);
            let served = served_at(&node);
            let ports = served
                .iter()
                .filter(|(kind, _)| *kind == FrontendKind::NodePort);
            let addresses: BTreeSet<IpAddr> = ports.map(|(_, address)| address.ip()).collect();
            assert_eq!(
                addresses,
                expected.into_iter().collect(),
                "{name}, {world:?}"
            );
        }
    });
}

#[test]
fn a_node_port_is_only_its_number_and_protocol_on_node_port_addresses() {
    both(|world| {
        let mut node = node_with(config());
        node.apply([
            Object::Service(web_everywhere(world)),
            Object::EndpointSlice(slice(world, 1, vec![here(world.pod_here(5))])),
        ]);
        let outside = world.outside();
        assert_eq!(
            flow_of(&node, outside, (world.node(), 30_080), Protocol::Udp),
            Outcome::Pass
        );
        assert_eq!(
            flow(&node, outside, (world.node_second(), 30_080)),
            Outcome::Pass
        );
        assert_eq!(flow(&node, outside, (world.node(), 80)), Outcome::Pass);
    });
}

#[test]
fn addresses_that_cannot_be_served_are_named_and_the_rest_is_served() {
    for (world, bad) in [
        (World(Family::Ipv4), ["127.0.0.1", "0.0.0.0", "239.1.1.1"]),
        (World(Family::Ipv6), ["::1", "::", "ff0e::1"]),
    ] {
        for address in bad {
            let mut service = web_everywhere(world);
            let ip = address.parse().expect(address);
            service.external_ips.push(ip);
            service.ingress.push(Ingress { ip, proxy: false });
            let mut node = node_with(config());
            let rejections = node.apply([Object::Service(service)]);
            let fields: Vec<&str> = rejections.iter().map(|one| one.field.as_str()).collect();
            assert_eq!(
                fields,
                ["spec.externalIPs[1]", "status.loadBalancer.ingress[1]"]
            );
            assert_eq!(rejections[0].object, "Service default/web");
            assert_eq!(served_at(&node).len(), 4);
        }
    }
}

#[test]
fn an_external_ip_that_is_also_a_load_balancer_address_keeps_its_source_ranges() {
    both(|world| {
        let mut service = web_everywhere(world);
        service.external_ips.push(world.lb_ip());
        service.source_ranges = vec![Prefix::host(world.pod_here(1))];
        let mut node = node_with(config());
        node.apply([
            Object::Service(service),
            Object::EndpointSlice(slice(world, 1, vec![here(world.pod_here(5))])),
        ]);
        assert_eq!(
            flow(&node, world.outside(), (world.lb_ip(), 80)),
            Outcome::SourceRange
        );
    });
}
