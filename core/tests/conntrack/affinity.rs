//! Session affinity: a client keeps its endpoint, for a time, as long as the endpoint serves.

use crate::common::{Rig, cluster_ip, clusters, config, endpoint, opening, service};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use portolan::dataplane::{Config, Limits};
use portolan::net::Protocol;
use portolan::service::ServiceSpec;
use std::collections::BTreeSet;

fn sticky(protocol: Protocol, vips: &[IpAddr], servers: &[IpAddr]) -> ServiceSpec {
    let frontends = vips.iter().map(|vip| cluster_ip(*vip, 80)).collect();
    let endpoints = servers
        .iter()
        .map(|server| endpoint(*server, 8080))
        .collect();
    ServiceSpec {
        affinity_seconds: Some(60),
        ..service(protocol, frontends, endpoints)
    }
}

fn chosen(rig: &mut Rig, protocol: Protocol, client: IpAddr, port: u16, vip: IpAddr) -> IpAddr {
    let packet = opening(
        protocol,
        SocketAddr::new(client, port),
        SocketAddr::new(vip, 80),
    );
    rig.send(&packet).forwarded().destination
}

#[test]
fn a_client_keeps_its_endpoint_by_either_address_until_its_time_has_passed() {
    for cluster in clusters() {
        for protocol in Protocol::ALL {
            let mut rig = Rig::new(&config());
            let vips = [cluster.vip, cluster.other_vip];
            rig.put(0, sticky(protocol, &vips, &cluster.endpoints));
            let first = chosen(&mut rig, protocol, cluster.client, 1, cluster.vip);
            for port in 2..=20 {
                rig.wait(Duration::from_secs(50));
                let vip = vips[usize::from(port) % 2];
                let again = chosen(&mut rig, protocol, cluster.client, port, vip);
                assert_eq!(again, first, "each new connection prolongs it");
            }
            let mut seen = BTreeSet::new();
            for port in 100..140 {
                rig.wait(Duration::from_secs(60));
                seen.insert(chosen(
                    &mut rig,
                    protocol,
                    cluster.client,
                    port,
                    cluster.vip,
                ));
            }
            assert_eq!(
                seen.len(),
                4,
                "after sixty seconds it is chosen anew: {seen:?}"
            );
        }
    }
}

#[test]
fn clients_are_spread_and_their_endpoint_is_forgotten_when_it_ends() {
    for cluster in clusters() {
        let mut rig = Rig::new(&config());
        rig.put(0, sticky(Protocol::Tcp, &[cluster.vip], &cluster.endpoints));
        let first = chosen(&mut rig, Protocol::Tcp, cluster.client, 1, cluster.vip);
        let others: Vec<_> = cluster
            .endpoints
            .into_iter()
            .filter(|server| *server != first)
            .collect();
        rig.put(0, sticky(Protocol::Tcp, &[cluster.vip], &others));
        let second = chosen(&mut rig, Protocol::Tcp, cluster.client, 2, cluster.vip);
        assert_ne!(second, first);
        // The first one comes back: the client stays with the second.
        rig.put(0, sticky(Protocol::Tcp, &[cluster.vip], &cluster.endpoints));
        for port in 3..20 {
            assert_eq!(
                chosen(&mut rig, Protocol::Tcp, cluster.client, port, cluster.vip),
                second
            );
        }
    }
}

#[test]
fn a_full_affinity_table_serves_and_counts() {
    let [cluster, _] = clusters();
    let plain = config();
    let mut rig = Rig::new(&Config {
        limits: Limits {
            affinities: 4,
            ..plain.limits
        },
        ..plain
    });
    rig.put(0, sticky(Protocol::Udp, &[cluster.vip], &cluster.endpoints));
    for host in 1..=6_u8 {
        let client = IpAddr::from([10, 244, 9, host]);
        chosen(&mut rig, Protocol::Udp, client, 1, cluster.vip);
    }
    assert_eq!(rig.dataplane.stats().affinities_not_kept, 2);
    rig.wait(Duration::from_secs(60));
    chosen(
        &mut rig,
        Protocol::Udp,
        IpAddr::from([10, 244, 9, 9]),
        1,
        cluster.vip,
    );
    assert_eq!(
        rig.dataplane.stats().affinities_not_kept,
        2,
        "expired ones make room"
    );
}
