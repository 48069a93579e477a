//! Packets between addresses that no Service ever had pass without a look at the connections; all others are looked at,
//! whatever has become of the Services meanwhile.

use crate::common::{
    Cluster, Rig, answer, clusters, config, destination, endpoint, frontend, opening, service,
    source,
};
use core::net::SocketAddr;
use portolan::dataplane::descriptor_flags;
use portolan::net::{Protocol, ServiceId};
use portolan::packet::build;
use portolan::service::{Edit, FrontendKind};

/// A load balancer's address, outside every ServiceCIDR.
fn door(cluster: &Cluster) -> SocketAddr {
    SocketAddr::new(cluster.router, 80)
}

/// Opens a connection to `door`, then removes the Service from both replicas of the table. What the endpoint received.
fn outlive(rig: &mut Rig, cluster: &Cluster, protocol: Protocol, masquerade: bool) -> Vec<u8> {
    let address = door(cluster).ip();
    let frontends = vec![frontend(
        FrontendKind::LoadBalancer,
        address,
        80,
        masquerade,
    )];
    let endpoints = vec![endpoint(cluster.endpoints[0], 8080)];
    rig.put(0, service(protocol, frontends, endpoints));
    let client = SocketAddr::new(cluster.outside, 40_000);
    let opened = rig.send(&opening(protocol, client, door(cluster)));
    opened.forwarded();
    rig.publish(vec![Edit::Remove(ServiceId(0))]);
    rig.publish(vec![Edit::Remove(ServiceId(0))]);
    opened.packet
}

/// After a packet that passed, the worker looks for more like it first.
fn pass_a_stranger(rig: &mut Rig, cluster: &Cluster) {
    let ends = [cluster.outside, cluster.other_client].map(|address| SocketAddr::new(address, 9));
    rig.send(&opening(Protocol::Tcp, ends[0], ends[1])).passed();
}

#[test]
fn a_connection_whose_addresses_are_no_services_any_more_is_found_both_ways() {
    for cluster in clusters() {
        for protocol in [Protocol::Tcp, Protocol::Sctp] {
            for masquerade in [false, true] {
                let mut rig = Rig::new(&config());
                let received = outlive(&mut rig, &cluster, protocol, masquerade);
                let received = crate::common::tuple(&received);
                let client = SocketAddr::new(cluster.outside, 40_000);
                pass_a_stranger(&mut rig, &cluster);
                let again = rig.send(&opening(protocol, client, door(&cluster)));
                assert_eq!(again.forwarded(), received, "{protocol} {}", cluster.name);
                pass_a_stranger(&mut rig, &cluster);
                let said = answer(protocol, destination(&received), source(&received));
                let back = rig.send(&said).forwarded();
                assert_eq!(
                    (source(&back), destination(&back)),
                    (door(&cluster), client)
                );
            }
        }
    }
}

#[test]
fn a_connection_to_an_endpoint_that_is_gone_is_told_from_one_to_it_by_a_service() {
    for cluster in clusters() {
        for protocol in [Protocol::Tcp, Protocol::Sctp] {
            let mut rig = Rig::new(&config());
            let received = outlive(&mut rig, &cluster, protocol, false);
            let client = SocketAddr::new(cluster.outside, 40_000);
            let server = destination(&crate::common::tuple(&received));
            pass_a_stranger(&mut rig, &cluster);
            let direct = rig.send(&opening(protocol, client, server));
            let direct_tuple = direct.forwarded();
            assert_eq!(destination(&direct_tuple), server);
            assert_ne!(
                source(&direct_tuple),
                client,
                "its answers would be the other's"
            );
            assert_eq!(direct.flags & descriptor_flags::NEW, descriptor_flags::NEW);
            let said = answer(protocol, server, source(&direct_tuple));
            let back = rig.send(&said).forwarded();
            assert_eq!((source(&back), destination(&back)), (server, client));
        }
    }
}

#[test]
fn a_flood_to_nobody_leaves_no_trace() {
    for cluster in clusters() {
        let mut rig = Rig::new(&config());
        let address = door(&cluster).ip();
        let frontends = vec![frontend(FrontendKind::LoadBalancer, address, 80, false)];
        let endpoints = vec![endpoint(cluster.endpoints[0], 8080)];
        rig.put(0, service(Protocol::Tcp, frontends, endpoints));
        let before = rig.dataplane.stats().usage;
        for port in 1..=1_000 {
            for to in cluster.endpoints {
                let client = SocketAddr::new(cluster.outside, port);
                let packet = build::tcp(client, SocketAddr::new(to, port)).syn().build();
                rig.send(&packet).passed();
            }
        }
        assert_eq!(rig.connections(), vec![]);
        assert_eq!(rig.dataplane.stats().usage, before);
        let client = SocketAddr::new(cluster.outside, 7);
        rig.send(&opening(Protocol::Tcp, client, door(&cluster)))
            .forwarded();
    }
}
