//! A full table: what makes room, in which order, and what never does.

use crate::common::{Rig, cluster_ip, clusters, config, endpoint, opening, service};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use portolan::dataplane::{Config, DropReason, Limits};
use portolan::net::Protocol;
use portolan::packet::build;

const CAPACITY: u32 = 8;

fn small() -> Rig {
    let config = config();
    let mut rig = Rig::new(&Config {
        limits: Limits {
            connections_ipv4: CAPACITY,
            connections_ipv6: CAPACITY,
            ..config.limits
        },
        ..config
    });
    for (family, cluster) in clusters().iter().enumerate() {
        for protocol in Protocol::ALL {
            let id =
                family as u32 * 256 % 64 + u32::from(protocol.number()) % 30 + family as u32 * 31;
            let endpoints = vec![endpoint(cluster.endpoints[0], 8080)];
            rig.put(
                id,
                service(protocol, vec![cluster_ip(cluster.vip, 80)], endpoints),
            );
        }
    }
    rig
}

struct Flow<'rig> {
    rig: &'rig mut Rig,
    client: IpAddr,
    vip: IpAddr,
    server: IpAddr,
}

impl Flow<'_> {
    fn open(&mut self, protocol: Protocol, port: u16) -> Option<DropReason> {
        let client = SocketAddr::new(self.client, port);
        let packet = opening(protocol, client, SocketAddr::new(self.vip, 80));
        self.rig.send(&packet).reason
    }

    fn answer_udp(&mut self, port: u16) {
        let answer = build::udp((self.server, 8080), (self.client, port)).build();
        self.rig.send(&answer).forwarded();
    }

    fn establish_tcp(&mut self, port: u16) -> Option<DropReason> {
        let refused = self.open(Protocol::Tcp, port);
        if refused.is_some() {
            return refused;
        }
        let accept = build::tcp((self.server, 8080), (self.client, port)).flags(0x12);
        self.rig
            .send(&accept.sequence(5).acknowledgment(1_001).build())
            .forwarded();
        let confirm = build::tcp((self.client, port), (self.vip, 80)).sequence(1_001);
        self.rig
            .send(&confirm.acknowledgment(6).build())
            .forwarded();
        None
    }

    fn ports(&self) -> Vec<(Protocol, u16)> {
        let all = self.rig.connections();
        let mut ports: Vec<_> = all
            .iter()
            .map(|c| (c.protocol(), c.original.source_port))
            .collect();
        ports.sort_unstable();
        ports
    }
}

#[test]
fn room_is_made_by_expired_then_half_open_then_one_way_and_never_by_assured_ones() {
    for cluster in clusters() {
        let mut rig = small();
        let mut flow = Flow {
            rig: &mut rig,
            client: cluster.client,
            vip: cluster.vip,
            server: cluster.endpoints[0],
        };
        // Two established, two half-open (the first is older), two one-way, one answered, one soon expired.
        assert_eq!(flow.open(Protocol::Sctp, 1), None);
        for port in [2, 3] {
            assert_eq!(flow.establish_tcp(port), None);
        }
        flow.rig.wait(Duration::from_secs(10));
        assert_eq!(flow.open(Protocol::Udp, 6), None);
        assert_eq!(flow.open(Protocol::Tcp, 4), None);
        flow.rig.wait(Duration::from_secs(1));
        assert_eq!(flow.open(Protocol::Tcp, 5), None);
        assert_eq!(flow.open(Protocol::Udp, 7), None);
        assert_eq!(flow.open(Protocol::Udp, 8), None);
        flow.answer_udp(8);

        let mut lost = Vec::new();
        for port in 101..=105 {
            let before = flow.ports();
            assert_eq!(flow.establish_tcp(port), None, "port {port}");
            let after = flow.ports();
            lost.extend(before.into_iter().filter(|entry| !after.contains(entry)));
        }
        use Protocol::{Tcp, Udp};
        // The SCTP association had expired and is no longer shown.
        assert_eq!(
            lost,
            [(Tcp, 4), (Tcp, 5), (Udp, 6), (Udp, 7)],
            "{}",
            cluster.name
        );
        assert_eq!(
            flow.establish_tcp(106),
            Some(DropReason::ConnectionTableFull)
        );
        assert_eq!(flow.ports().len(), CAPACITY as usize);
        let stats = flow.rig.dataplane.stats();
        assert_eq!(
            stats.connections_evicted.iter().sum::<u64>(),
            4,
            "clearing away is no eviction"
        );
        assert_eq!(stats.drops_for(DropReason::ConnectionTableFull), 1);
    }
}

#[test]
fn one_familys_full_table_is_not_the_others() {
    let [four, six] = clusters();
    let mut rig = small();
    for cluster in [four, six] {
        let mut flow = Flow {
            rig: &mut rig,
            client: cluster.client,
            vip: cluster.vip,
            server: cluster.endpoints[0],
        };
        for port in 1..=CAPACITY as u16 {
            assert_eq!(flow.establish_tcp(port), None);
        }
        assert_eq!(
            flow.establish_tcp(99),
            Some(DropReason::ConnectionTableFull)
        );
    }
}

#[test]
fn every_record_comes_back_when_everything_has_expired_and_was_swept() {
    let mut rig = small();
    for round in 0..50_u16 {
        for cluster in clusters() {
            let mut flow = Flow {
                rig: &mut rig,
                client: cluster.client,
                vip: cluster.vip,
                server: cluster.endpoints[0],
            };
            for port in 0..CAPACITY as u16 {
                assert_eq!(flow.open(Protocol::Udp, round * 100 + port + 1), None);
            }
        }
        let usage = rig.dataplane.stats().usage;
        assert_eq!((usage.connections_ipv4, usage.connections_ipv6), (8, 8));
        rig.wait(Duration::from_secs(31));
        let (dataplane, now) = (&mut rig.dataplane, rig.now);
        assert_eq!(dataplane.poll(now), None, "nothing is left to wait for");
        let usage = dataplane.stats().usage;
        assert_eq!((usage.connections_ipv4, usage.connections_ipv6), (0, 0));
    }
}
