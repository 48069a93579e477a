//! ClientIP affinity, health checks, and what is printed for people.

use super::*;
use crate::plan::{ClusterReason, HealthCheck, LocalReason};

#[test]
fn affinity_is_of_the_service_port_and_holds_while_its_endpoint_may_be_chosen() {
    both(|world| {
        let mut service = web_everywhere(world);
        service.affinity_seconds = Some(600);
        let mut node = node_with(config());
        let endpoints = vec![here(world.pod_here(5)), there(world.pod_there(7))];
        node.apply([
            Object::Service(service),
            Object::EndpointSlice(slice(world, 1, endpoints)),
        ]);
        let table = compile(&node);
        assert_eq!(table.affinity(crate::net::ServiceId(0)), Some(600));
        match world.0 {
            Family::Ipv4 => keeps::<Ipv4Addr>(&table, world),
            Family::Ipv6 => keeps::<Ipv6Addr>(&table, world),
        }
    });
}

fn keeps<A: Address>(table: &Table, world: World) {
    let [inner, outer] =
        [(world.cluster_ip(80), 80), (world.lb_ip(), 80)].map(|(address, port)| {
            let address = A::from_ip(address).expect("of the family");
            let hash = table.hash(address, port, Protocol::Tcp);
            let found = table.lookup(address, port, Protocol::Tcp, hash);
            let Lookup::Frontend(frontend) = found else {
                panic!("{found:?}")
            };
            frontend
        });
    let source = A::from_ip(world.pod_here(9)).expect("of the family");
    let class = table.classify(source, Arrival::Elsewhere);
    let seconds = |frontend| {
        table
            .frontend(frontend)
            .and_then(crate::service::FrontendEntry::affinity_seconds)
    };
    assert_eq!((seconds(inner), seconds(outer)), (Some(600), Some(600)));
    let tuple = Tuple {
        source,
        destination: A::from_ip(world.cluster_ip(80)).expect("of the family"),
        source_port: 40_000,
        destination_port: 80,
        protocol: Protocol::Tcp,
    };
    let balance = Balance::default();
    let draw = |random| Draw {
        tuple: &tuple,
        random,
        now: 0,
        balance: &balance,
        peek: false,
    };
    for kept in table.choices(inner, class) {
        for frontend in [inner, outer] {
            for random in [0, u64::MAX] {
                let selection = table.select(frontend, class, Some(kept), &draw(random));
                let chosen = matches!(selection, Selection::Endpoint { id, .. } if id == kept);
                assert!(chosen, "{selection:?}");
            }
        }
    }
    let stranger = crate::net::EndpointId(200);
    let selection = table.select(inner, class, Some(stranger), &draw(0));
    assert!(matches!(selection, Selection::Endpoint { id, .. } if id != stranger));
}

#[test]
fn the_health_check_counts_distinct_ready_addresses_here_in_both_families() {
    let (v4, v6) = (World(Family::Ipv4), World(Family::Ipv6));
    let mut service = web_everywhere(v4);
    service.cluster_ips.push(v6.cluster_ip(80));
    service.health_check_node_port = Some(32_000);
    service.external_traffic_policy = TrafficPolicy::Local;
    service.ports.push(port("other", Protocol::Udp, 53));
    let mut node = node_with(config());
    node.apply([
        Object::Service(service.clone()),
        Object::EndpointSlice(slice(
            v4,
            1,
            vec![
                here(v4.pod_here(1)),
                here(v4.pod_here(2)),
                there(v4.pod_there(3)),
                endpoint(v4.pod_here(4), "n1", DRAINING),
            ],
        )),
        Object::EndpointSlice(slice(v4, 2, vec![here(v4.pod_here(1))])),
        Object::EndpointSlice(slice(v6, 3, vec![here(v6.pod_here(1))])),
    ]);
    let checks: Vec<(ObjectKey, HealthCheck)> = node.plan().health_checks().collect();
    let check = HealthCheck {
        port: 32_000,
        local_endpoints: 3,
    };
    assert_eq!(checks, [(ObjectKey::new("default", "web"), check)]);
    for change in [
        |service: &mut Service| service.external_traffic_policy = TrafficPolicy::Cluster,
        |service: &mut Service| service.load_balancer = false,
        |service: &mut Service| service.health_check_node_port = None,
    ] {
        let mut without = service.clone();
        change(&mut without);
        node.apply([Object::Service(without)]);
        assert_eq!(node.plan().health_checks().count(), 0);
    }
}

#[test]
fn a_plan_says_what_it_decided_and_why() {
    let world = World(Family::Ipv4);
    let mut node = node_with(config());
    let mut service = web_everywhere(world);
    service.affinity_seconds = Some(10_800);
    service.source_ranges = vec![world.prefix("192.0.2.0/24", "2001:db8::/32")];
    node.apply([
        Object::Service(service),
        Object::EndpointSlice(slice(
            world,
            1,
            vec![
                there(world.pod_there(1)),
                endpoint(world.pod_here(2), "n1", DRAINING),
                endpoint(world.pod_here(3), "n1", ENDED),
            ],
        )),
    ]);
    let port = node.plan().ports().next().expect("one port").1;
    assert_eq!(port.cluster_reason, ClusterReason::AllReady);
    assert_eq!(port.local_reason, LocalReason::Terminating);
    let expected = "\
default/web:http TCP IPv4
  ClusterIP 10.96.0.80:80: pod Cluster, node Cluster masqueraded, outside Cluster masqueraded
  NodePort 192.168.66.11:30080: pod Cluster masqueraded, node Cluster masqueraded, outside Cluster masqueraded
  ExternalIP 203.0.113.80:80: pod Cluster masqueraded, node Cluster masqueraded, outside Cluster masqueraded
  LoadBalancer 203.0.113.200:80: pod Cluster masqueraded, node Cluster masqueraded, outside Cluster masqueraded; only from 192.0.2.0/24
  a client keeps its endpoint for 10800 s
  policy Cluster: all ready endpoints
  policy Local: none here is ready: endpoints here that still serve while they terminate
  -> 10.200.1.2:8080 terminating, here, local-set
  -> 10.200.1.3:8080 terminating, not serving, here
  -> 10.200.2.1:8080 ready, cluster-set
";
    assert_eq!(node.plan().to_string(), expected);
}
