//! Every status, word for word, and the sockets that follow the plan.

use super::{Answer, Contested, Listener, Listeners, Moment, ProxyHealth, ServiceHealth};
use crate::model::{
    EndpointPort, EndpointSlice, Kind, Node as NodeObject, Object, ObjectKey, ObjectRef, Service,
    ServicePort, SliceEndpoint, TrafficPolicy,
};
use crate::net::{Family, Instant, Protocol};
use crate::node::Node;
use crate::plan::{NodeConfig, NodePortAddresses};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

/// 2026-07-01T12:00:00Z.
const NOON: u64 = 1_782_907_200;

/// So many seconds after noon. The monotonic clock began elsewhere.
fn at(seconds: u64) -> Moment {
    Moment {
        clock: Instant::from_secs(1_000 + seconds),
        unix: Duration::from_secs(NOON + seconds),
    }
}

fn header<'answer>(answer: &'answer Answer, name: &str) -> Option<&'answer str> {
    let mut headers = answer.headers.iter();
    headers
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.as_str())
}

fn service_health(local_endpoints: u32) -> ServiceHealth {
    ServiceHealth {
        service: ObjectKey::new("default", "web"),
        local_endpoints,
    }
}

#[test]
fn moments_print_as_rfc_3339() {
    for (seconds, nanos, text) in [
        (0, 0, "1970-01-01T00:00:00Z"),
        (951_782_399, 0, "2000-02-28T23:59:59Z"),
        (951_868_799, 999_999_999, "2000-02-29T23:59:59.999999999Z"),
        (951_868_800, 1, "2000-03-01T00:00:00.000000001Z"),
        (4_107_542_399, 0, "2100-02-28T23:59:59Z"),
        (4_107_542_400, 500_000_000, "2100-03-01T00:00:00.5Z"),
        (NOON, 120_000, "2026-07-01T12:00:00.00012Z"),
    ] {
        let moment = Moment {
            clock: Instant::ZERO,
            unix: Duration::new(seconds, nanos),
        };
        assert_eq!(moment.to_string(), text);
    }
}

#[test]
fn a_service_is_well_with_endpoints_here_and_a_healthy_proxy() {
    for (count, proxy, status) in [
        (0, true, 503),
        (0, false, 503),
        (1, true, 200),
        (1, false, 503),
        (250, true, 200),
    ] {
        let answer = service_health(count).answer(proxy);
        assert_eq!(answer.status, status, "{count} endpoints, proxy {proxy}");
        let body = format!(
            "{{\"service\":{{\"namespace\":\"default\",\"name\":\"web\"}},\
             \"localEndpoints\":{count},\"serviceProxyHealthy\":{proxy}}}"
        );
        assert_eq!(answer.body, body);
        assert_eq!(header(&answer, "Content-Type"), Some("application/json"));
        assert_eq!(header(&answer, "X-Content-Type-Options"), Some("nosniff"));
        let weight = header(&answer, "X-Load-Balancing-Endpoint-Weight");
        assert_eq!(weight, Some(count.to_string().as_str()));
    }
}

#[test]
fn names_are_escaped() {
    let health = ServiceHealth {
        service: ObjectKey::new("a\"b", "c\\d\n\u{1f}é"),
        local_endpoints: 0,
    };
    let body = health.answer(true).body;
    let expected = r#"{"service":{"namespace":"a\"b","name":"c\\d\u000a\u001fé"},"localEndpoints":0,"serviceProxyHealthy":true}"#;
    assert_eq!(body, expected);
}

#[test]
fn a_proxy_that_starts_reads_healthy_however_long_it_takes() {
    let mut health = ProxyHealth::default();
    health.queued(Family::Ipv4, at(0));
    let answer = health.healthz(at(3_600), true);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        r#"{"lastUpdated":"2026-07-01T13:00:00Z","currentTime":"2026-07-01T13:00:00Z","nodeEligible":true,"healthy":true,"status":{}}"#
    );
    assert_eq!(health.livez(at(3_600)).status, 200);
}

#[test]
fn a_change_may_wait_for_less_than_twice_the_sync_period() {
    let mut health = ProxyHealth::default();
    health.updated(Family::Ipv4, at(0));
    health.updated(Family::Ipv6, at(5));
    health.queued(Family::Ipv6, at(10));
    // A later one does not make the oldest younger.
    health.queued(Family::Ipv6, at(40));
    assert!(health.is_healthy(at(69)));
    assert_eq!(health.livez(at(69)).status, 200);
    assert!(!health.is_healthy(at(70)));
    let answer = health.livez(at(70));
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body,
        "{\"lastUpdated\":\"2026-07-01T12:00:05Z\",\"currentTime\":\"2026-07-01T12:01:10Z\",\
         \"healthy\":false,\"status\":{\
         \"IPv4\":{\"lastUpdated\":\"2026-07-01T12:00:00Z\",\"healthy\":true},\
         \"IPv6\":{\"lastUpdated\":\"2026-07-01T12:00:05Z\",\"healthy\":false}}}"
    );
    assert_eq!(health.healthz(at(70), true).status, 503);
    health.updated(Family::Ipv6, at(71));
    assert!(health.is_healthy(at(1_000_000)), "nothing waits");
}

#[test]
fn a_period_of_ones_own_counts() {
    let mut health = ProxyHealth::new(Duration::from_secs(1));
    health.updated(Family::Ipv4, at(0));
    health.queued(Family::Ipv4, at(1));
    assert!(health.is_healthy(at(2)));
    assert!(!health.is_healthy(at(3)));
    assert_eq!(health.last_updated(Family::Ipv4), Some(at(0)));
}

#[test]
fn a_node_about_to_go_is_live_but_not_healthy() {
    let mut health = ProxyHealth::default();
    health.updated(Family::Ipv4, at(0));
    let answer = health.healthz(at(9), false);
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body,
        "{\"lastUpdated\":\"2026-07-01T12:00:00Z\",\"currentTime\":\"2026-07-01T12:00:09Z\",\
         \"nodeEligible\":false,\"healthy\":false,\"status\":{\
         \"IPv4\":{\"lastUpdated\":\"2026-07-01T12:00:00Z\",\"healthy\":true}}}"
    );
    assert_eq!(health.livez(at(9)).status, 200);
    let never = ProxyHealth::default().healthz(at(9), false).body;
    assert!(never.starts_with(r#"{"lastUpdated":"0001-01-01T00:00:00Z","#));
}

#[test]
fn a_node_is_eligible_until_it_is_deleted_or_gone() {
    let mut node = node(NodePortAddresses::Primary);
    assert!(node.is_eligible(), "nobody gave a v1 Node");
    let mut object = NodeObject {
        name: "n1".into(),
        ..NodeObject::default()
    };
    node.apply([Object::Node(object.clone())]);
    assert!(node.is_eligible());
    object.being_deleted = true;
    node.apply([Object::Node(object.clone())]);
    assert!(!node.is_eligible(), "deletion timestamp or taint");
    object.being_deleted = false;
    node.apply([Object::Node(object)]);
    assert!(node.is_eligible());
    node.delete(&[ObjectRef {
        kind: Kind::Node,
        key: ObjectKey::new("", "n1"),
    }]);
    assert!(!node.is_eligible(), "gone");
    node.reconfigure(NodeConfig {
        name: "n2".into(),
        ..node.config().clone()
    });
    assert!(node.is_eligible(), "another node");
}

fn node(node_port_addresses: NodePortAddresses) -> Node {
    let ip = |text: &str| -> IpAddr { text.parse().expect(text) };
    let mut node = Node::new(NodeConfig {
        name: "n1".into(),
        addresses: vec![ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::1")],
        node_port_addresses,
        ..NodeConfig::default()
    });
    node.synced(Kind::Service);
    node.synced(Kind::EndpointSlice);
    node
}

fn web(name: &str, health_check_node_port: u16) -> Object {
    Object::Service(Service {
        key: ObjectKey::new("default", name),
        cluster_ips: vec!["10.96.0.80".parse().expect("an address")],
        load_balancer: true,
        external_traffic_policy: TrafficPolicy::Local,
        health_check_node_port: Some(health_check_node_port),
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        ..Service::default()
    })
}

fn pods(count: u8) -> Object {
    let endpoint = |number| SliceEndpoint {
        node_name: Some("n1".into()),
        ..SliceEndpoint::at(IpAddr::from([10, 200, 1, number]))
    };
    Object::EndpointSlice(EndpointSlice {
        key: ObjectKey::new("default", "web-1"),
        service_name: "web".into(),
        family: Family::Ipv4,
        ports: vec![EndpointPort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 8080,
        }],
        endpoints: (1..=count).map(endpoint).collect(),
        headless: false,
        weights: crate::model::Weights::default(),
    })
}

fn socket(text: &str) -> SocketAddr {
    text.parse().expect(text)
}

fn open(listeners: &Listeners) -> Vec<(String, u32)> {
    let all = listeners.iter();
    all.map(|(at, health)| (at.to_string(), health.local_endpoints))
        .collect()
}

#[test]
fn sockets_follow_the_plan() {
    let mut node = node(NodePortAddresses::Primary);
    let mut listeners = Listeners::new();
    assert_eq!(listeners.follow(&node), super::ListenerChanges::default());
    node.apply([web("web", 32_000)]);
    let changes = listeners.follow(&node);
    let wanted = ["192.0.2.1:32000", "[2001:db8::1]:32000"];
    let opened = wanted.map(|text| Listener {
        address: socket(text),
        service: ObjectKey::new("default", "web"),
    });
    assert_eq!((changes.close, changes.open), (vec![], opened.to_vec()));
    node.apply([pods(2)]);
    assert_eq!(listeners.follow(&node), super::ListenerChanges::default());
    assert_eq!(listeners.at(socket(wanted[0])), Some(&service_health(2)));
    node.apply([web("web", 32_001)]);
    let changes = listeners.follow(&node);
    assert_eq!(changes.close, wanted.map(socket));
    assert_eq!(changes.open.len(), 2);
    assert_eq!(listeners.at(socket(wanted[0])), None);
    node.delete(&[ObjectRef {
        kind: Kind::Service,
        key: ObjectKey::new("default", "web"),
    }]);
    let changes = listeners.follow(&node);
    assert_eq!((changes.close.len(), changes.open.len()), (2, 0));
    assert_eq!(open(&listeners), []);
}

#[test]
fn sockets_stand_at_the_node_port_addresses() {
    for (selection, wanted) in [
        (
            NodePortAddresses::All,
            vec!["192.0.2.1:32000", "192.0.2.2:32000", "[2001:db8::1]:32000"],
        ),
        (
            NodePortAddresses::Within(vec![
                "192.0.2.2/32".parse().expect("a prefix"),
                "2001:db8:f::/48".parse().expect("a prefix"),
            ]),
            vec!["192.0.2.2:32000"],
        ),
    ] {
        let mut node = node(selection);
        node.apply([web("web", 32_000)]);
        let mut listeners = Listeners::new();
        listeners.follow(&node);
        let wanted: Vec<(String, u32)> = wanted.iter().map(|at| (at.to_string(), 0)).collect();
        assert_eq!(open(&listeners), wanted);
    }
}

#[test]
fn the_first_of_two_services_has_a_port() {
    let mut node = node(NodePortAddresses::Primary);
    node.apply([web("web", 32_000), web("other", 32_000)]);
    let mut listeners = Listeners::new();
    listeners.follow(&node);
    let contested = Contested {
        port: 32_000,
        owner: ObjectKey::new("default", "other"),
        refused: ObjectKey::new("default", "web"),
    };
    assert_eq!(
        contested.to_string(),
        "Service default/web: spec.healthCheckNodePort: 32000 is answered for Service default/other"
    );
    assert_eq!(listeners.contested(), [contested]);
}
