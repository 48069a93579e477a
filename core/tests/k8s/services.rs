//! v1 Service.

use super::{ips, only, read, texts};
use portolan::model::{Object, Service, TrafficPolicy};
use portolan::net::Protocol;

fn service(text: &str) -> Service {
    let Object::Service(service) = only(text) else {
        panic!("not a Service: {text}");
    };
    service
}

#[test]
fn a_service_of_both_families_is_read_whole() {
    let it = service(
        "
apiVersion: v1
kind: Service
metadata:
  namespace: shop
  name: web
  creationTimestamp: 2026-01-02T03:04:05Z
  labels: {service.kubernetes.io/service-proxy-name: other}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.80
  clusterIPs: [10.96.0.80, 'fd96::80']
  externalIPs: [198.51.100.7, '2001:db8::7', 198.51.100.7]
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  healthCheckNodePort: 32000
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  loadBalancerSourceRanges: [' 203.0.113.0/24 ', '2001:db8::/32']
  publishNotReadyAddresses: true
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080}
  - {name: dns, port: 53, protocol: UDP, targetPort: 5353}
  - {name: sip, port: 80, protocol: SCTP, nodePort: 0}
status:
  loadBalancer:
    ingress: [{ip: 203.0.113.1}, {hostname: lb.example}, {ip: '2001:db8:1::1', ipMode: Proxy}]
",
    );
    assert_eq!(it.key.to_string(), "shop/web");
    assert_eq!(it.created, Some(1_767_323_045));
    assert!(it.load_balancer && it.external_name.is_none() && it.publish_not_ready_addresses);
    assert_eq!(ips(&it.cluster_ips), ["10.96.0.80", "fd96::80"]);
    assert_eq!(ips(&it.external_ips), ["198.51.100.7", "2001:db8::7"]);
    assert_eq!(it.external_traffic_policy, TrafficPolicy::Local);
    assert_eq!(it.internal_traffic_policy, TrafficPolicy::Local);
    assert_eq!(it.health_check_node_port, Some(32_000));
    assert_eq!(it.affinity_seconds, Some(60));
    assert_eq!(it.proxy_name.as_deref(), Some("other"));
    let ranges: Vec<_> = it.source_ranges.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["203.0.113.0/24", "2001:db8::/32"]);
    let ingress: Vec<_> = it
        .ingress
        .iter()
        .map(|it| (it.ip.to_string(), it.proxy))
        .collect();
    assert_eq!(
        ingress,
        [
            ("203.0.113.1".to_string(), false),
            ("2001:db8:1::1".to_string(), true)
        ]
    );
    let ports: Vec<_> = it
        .ports
        .iter()
        .map(|port| (port.name.as_str(), port.protocol, port.port, port.node_port))
        .collect();
    assert_eq!(
        ports,
        [
            ("http", Protocol::Tcp, 80, Some(30_080)),
            ("dns", Protocol::Udp, 53, None),
            ("sip", Protocol::Sctp, 80, None),
        ]
    );
}

#[test]
fn what_a_service_does_not_say_has_the_apis_defaults() {
    let it = service(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: 'fd96::1', ports: [{port: 1}]}}",
    );
    assert_eq!(it.key.to_string(), "default/a");
    assert_eq!(ips(&it.cluster_ips), ["fd96::1"]);
    assert_eq!(
        (it.affinity_seconds, it.created, it.proxy_name),
        (None, None, None)
    );
    assert_eq!(it.external_traffic_policy, TrafficPolicy::Cluster);
    assert_eq!(it.internal_traffic_policy, TrafficPolicy::Cluster);
    assert_eq!(it.ports.len(), 1);
    assert_eq!(it.ports.first().map(|port| port.name.as_str()), Some(""));

    let affinity = service(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {sessionAffinity: ClientIP}}",
    );
    assert_eq!(affinity.affinity_seconds, Some(10_800));
    assert!(
        affinity.cluster_ips.is_empty() && !affinity.headless,
        "none allocated yet"
    );

    let headless = service(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: None, clusterIPs: [None]}}",
    );
    assert!(headless.cluster_ips.is_empty() && headless.headless);

    let external = service(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: ExternalName, externalName: a.example, clusterIP: 10.0.0.1}}",
    );
    assert_eq!(external.external_name.as_deref(), Some("a.example"));
    assert!(external.cluster_ips.is_empty());
}

#[test]
fn leading_zeros_of_octets_and_lengths_are_decimal() {
    let it = service(
        "
apiVersion: v1
kind: Service
metadata: {name: old}
spec:
  clusterIP: 172.30.0.041
  externalIPs: [192.168.099.022]
  loadBalancerSourceRanges: ['203.0.113.000/025']
status: {loadBalancer: {ingress: [{ip: 1.2.3.004}]}}
",
    );
    assert_eq!(ips(&it.cluster_ips), ["172.30.0.41"]);
    assert_eq!(ips(&it.external_ips), ["192.168.99.22"]);
    assert_eq!(
        it.ingress.first().map(|it| it.ip.to_string()).as_deref(),
        Some("1.2.3.4")
    );
    assert_eq!(
        it.source_ranges.first().map(ToString::to_string).as_deref(),
        Some("203.0.113.0/25")
    );
}

/// `spec` (and `status`) of a Service in flow style, the addresses and ports left of it, and what is said.
const BAD_SERVICES: &[(&str, &str, &[&str])] = &[
    (
        "spec: {clusterIP: 10.96.0.1, ports: [{port: 70000}, {name: b, port: 81}]}",
        "10.96.0.1 81/TCP",
        &["spec.ports[0].port: 70000 is not a port: must be between 1 and 65535"],
    ),
    (
        "spec: {clusterIP: 'fd96::1', ports: [{port: 0}, {name: b, port: -1}, {name: c, port: 81}]}",
        "fd96::1 81/TCP",
        &[
            "spec.ports[0].port: 0 is not a port: must be between 1 and 65535",
            "spec.ports[1].port: -1 is not a port: must be between 1 and 65535",
        ],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, ports: [{port: 80, nodePort: 65536, protocol: UDP}]}",
        "10.96.0.1 80/UDP",
        &["spec.ports[0].nodePort: 65536 is not a port: must be between 1 and 65535"],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, ports: [{port: 80, protocol: tcp}, {name: b, port: 81, protocol: SCTP}]}",
        "10.96.0.1 81/SCTP",
        &["spec.ports[0].protocol: \"tcp\" is not a protocol: must be TCP, UDP or SCTP"],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {name: a, port: 81}, {name: b, port: 80}, {name: c, port: 80, protocol: UDP}]}",
        "10.96.0.1 80/TCP 80/UDP",
        &[
            "spec.ports[1].name: \"a\" is taken: must be unique in the Service",
            "spec.ports[2].port: 80/TCP is taken: must be unique in the Service",
        ],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, ports: [{name: a, port: 80, nodePort: 30000}, {name: b, port: 81, nodePort: 30000}, {name: c, port: 81, nodePort: 30000, protocol: UDP}]}",
        "10.96.0.1 80/TCP:30000 81/TCP 81/UDP:30000",
        &["spec.ports[1].nodePort: 30000/TCP is taken: must be unique in the Service"],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, ports: [{name: 'a b', port: 80}]}",
        "10.96.0.1",
        &[
            "spec.ports[0].name: \"a b\" is not a port name: must be 1 to 63 of a-z, 0-9 and -, with a letter or digit at either end (RFC 1123)",
        ],
    ),
    (
        "spec: {clusterIP: 10.96.0.256}",
        "rejected",
        &["spec.clusterIP: \"10.96.0.256\" is not an IP address: must be IPv4 or IPv6"],
    ),
    (
        "spec: {clusterIP: none}",
        "rejected",
        &["spec.clusterIP: \"none\" is not an IP address: must be IPv4 or IPv6"],
    ),
    (
        "spec: {clusterIP: 'fd96::g', clusterIPs: ['fd96::g', 10.96.0.1]}",
        "rejected",
        &["spec.clusterIPs[0]: \"fd96::g\" is not an IP address: must be IPv4 or IPv6"],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.2]}",
        "rejected",
        &[
            "spec.clusterIPs[0]: \"10.96.0.2\" differs from spec.clusterIP, \"10.96.0.1\": must be equal",
        ],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, 'fd96::x', 10.96.0.2, 'fd96::1']}",
        "10.96.0.1 fd96::1",
        &[
            "spec.clusterIPs[1]: \"fd96::x\" is not an IP address: must be IPv4 or IPv6",
            "spec.clusterIPs[2]: 10.96.0.2 is the second of its family: must be at most one of each",
        ],
    ),
    (
        "spec: {clusterIP: None, clusterIPs: [None, 10.96.0.1]}",
        "",
        &["spec.clusterIPs[1]: None must stand alone"],
    ),
    (
        "spec: {clusterIP: 127.0.0.1}",
        "rejected",
        &["spec.clusterIP: 127.0.0.1 is a loopback address: must be a usable address"],
    ),
    (
        "spec: {clusterIP: '::ffff:10.96.0.1'}",
        "rejected",
        &[
            "spec.clusterIP: ::ffff:10.96.0.1 is an IPv4 address in IPv6 notation: must be a usable address",
        ],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, externalIPs: [198.51.100.1, 198.51.100, 0.0.0.0, '::1', 'ff02::1', 'fe80::1', 255.255.255.255, '2001:db8::1']}",
        "10.96.0.1 198.51.100.1 2001:db8::1",
        &[
            "spec.externalIPs[1]: \"198.51.100\" is not an IP address: must be IPv4 or IPv6",
            "spec.externalIPs[2]: 0.0.0.0 is the unspecified address: must be a usable address",
            "spec.externalIPs[3]: ::1 is a loopback address: must be a usable address",
            "spec.externalIPs[4]: ff02::1 is a multicast address: must be a usable address",
            "spec.externalIPs[5]: fe80::1 is a link-local address: must be a usable address",
            "spec.externalIPs[6]: 255.255.255.255 is the broadcast address: must be a usable address",
        ],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, loadBalancerSourceRanges: [10.0.0.0/33, 'fd00::/x', 10.0.0.0/8, '::ffff:1.2.3.4/128']}",
        "10.96.0.1 0.0.0.0/32 ::/128 10.0.0.0/8",
        &[
            "spec.loadBalancerSourceRanges[0]: \"10.0.0.0/33\" is not a CIDR: must be an address and a prefix length, such as 10.96.0.0/16 or fd96::/112",
            "spec.loadBalancerSourceRanges[1]: \"fd00::/x\" is not a CIDR: must be an address and a prefix length, such as 10.96.0.0/16 or fd96::/112",
            "spec.loadBalancerSourceRanges[3]: \"::ffff:1.2.3.4/128\" is not a CIDR: must be an address and a prefix length, such as 10.96.0.0/16 or fd96::/112",
        ],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, type: Loadbalancer, externalTrafficPolicy: local, internalTrafficPolicy: Node, sessionAffinity: Cookie, healthCheckNodePort: 99999}",
        "10.96.0.1",
        &[
            "spec.type: \"Loadbalancer\" is not a type: must be ClusterIP, NodePort, LoadBalancer or ExternalName",
            "spec.internalTrafficPolicy: \"Node\" is not a policy: must be Cluster or Local",
            "spec.externalTrafficPolicy: \"local\" is not a policy: must be Cluster or Local",
            "spec.healthCheckNodePort: 99999 is not a port: must be between 1 and 65535",
            "spec.sessionAffinity: \"Cookie\" is not an affinity: must be None or ClientIP",
        ],
    ),
    (
        "spec: {clusterIP: 'fd96::1', sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}}",
        "fd96::1",
        &[
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401 is not a timeout: must be between 1 and 86400",
        ],
    ),
    (
        "{spec: {clusterIP: 10.96.0.1}, status: {loadBalancer: {ingress: [{ip: 203.0.113.1, ipMode: proxy}, {ip: 203.0.113}, {ip: '2001:db8::9'}]}}}",
        "10.96.0.1 2001:db8::9",
        &[
            "status.loadBalancer.ingress[0].ipMode: \"proxy\" is not a mode: must be VIP or Proxy",
            "status.loadBalancer.ingress[1].ip: \"203.0.113\" is not an IP address: must be IPv4 or IPv6",
        ],
    ),
    ("spec:", "rejected", &["spec: is missing"]),
    (
        "spec: {clusterIP: 10.96.0.1, ports: [{port: abc}]}",
        "rejected",
        &["spec.ports[0].port: invalid type: string \"abc\", expected a number"],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, ports: {port: 80}}",
        "rejected",
        &["spec.ports: invalid type: map, expected a sequence"],
    ),
    (
        "spec: {clusterIP: 10.96.0.1, selector: {app: 5}}",
        "rejected",
        &["spec.selector.app: invalid type: integer `5`, expected a string"],
    ),
];

/// What is left of a Service, in short.
fn rest(service: &Service) -> String {
    let ingress: Vec<_> = service.ingress.iter().map(|it| it.ip).collect();
    let mut words = ips(&service.cluster_ips);
    words.extend(ips(&service.external_ips));
    words.extend(ips(&ingress));
    words.extend(service.source_ranges.iter().map(ToString::to_string));
    words.extend(service.ports.iter().map(|port| {
        let node_port = port.node_port.map(|number| format!(":{number}"));
        format!(
            "{}/{}{}",
            port.port,
            port.protocol,
            node_port.unwrap_or_default()
        )
    }));
    words.join(" ")
}

#[test]
fn a_bad_part_of_a_service_is_named_and_the_rest_is_kept() {
    for &(body, kept, rules) in BAD_SERVICES {
        let body = match body.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            Some(fields) => fields.replace("}, status:", "}\nstatus:"),
            None => body.to_string(),
        };
        let text = format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n{body}\n");
        let decoded = read(&text);
        let expected: Vec<_> = rules
            .iter()
            .map(|rule| format!("Service default/web: {rule}"))
            .collect();
        assert_eq!(texts(&decoded), expected, "{text}");
        let left = match decoded.objects.as_slice() {
            [] => "rejected".to_string(),
            [Object::Service(service)] => rest(service),
            other => panic!("{other:?}"),
        };
        assert_eq!(left, kept, "{text}");
    }
}
