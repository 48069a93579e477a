//! Manifests, good and bad, against what must come of them.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use portolan::k8s::{Decoded, decode};
use portolan::model::{Conditions, EndpointSlice, Node, Object, Service, TrafficPolicy};
use portolan::net::{Family, Protocol};

fn read(text: &str) -> Decoded {
    decode(text.as_bytes(), "test.yaml")
}

fn texts(decoded: &Decoded) -> Vec<String> {
    decoded.rejections.iter().map(ToString::to_string).collect()
}

/// The only object, of which nothing is wrong.
fn only(text: &str) -> Object {
    let decoded = read(text);
    assert_eq!(texts(&decoded), [""; 0], "{text}");
    assert_eq!(decoded.objects.len(), 1, "{text}");
    decoded.objects.into_iter().next().expect("one object")
}

fn service(text: &str) -> Service {
    let Object::Service(service) = only(text) else {
        panic!("not a Service: {text}");
    };
    service
}

fn slice(text: &str) -> EndpointSlice {
    let Object::EndpointSlice(slice) = only(text) else {
        panic!("not a slice: {text}");
    };
    slice
}

fn node(text: &str) -> Node {
    let Object::Node(node) = only(text) else {
        panic!("not a Node: {text}");
    };
    node
}

fn ips(addresses: &[core::net::IpAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
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
    assert!(it.load_balancer && !it.external_name && it.publish_not_ready_addresses);
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
    assert!(affinity.cluster_ips.is_empty(), "none allocated yet");

    let headless = service(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: None, clusterIPs: [None]}}",
    );
    assert!(headless.cluster_ips.is_empty());

    let external = service(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: ExternalName, externalName: a.example, clusterIP: 10.0.0.1}}",
    );
    assert!(external.external_name && external.cluster_ips.is_empty());
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

#[test]
fn a_slice_is_read_whole() {
    let it = slice(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: shop
  labels: {kubernetes.io/service-name: web, service.kubernetes.io/headless: ''}
addressType: IPv6
endpoints:
- addresses: ['fd20:0:1::5', 'not looked at']
  nodeName: n1
  hints: {forZones: [{name: z1}, {name: z2}], forNodes: [{name: n1}]}
- {addresses: ['fd20:0:2::7'], conditions: {ready: false, terminating: true}}
- {addresses: ['fd20:0:2::8'], conditions: {ready: false, serving: false}}
ports:
- {name: http, port: 8080}
- {name: '', port: 53, protocol: UDP}
- {port: 38412, protocol: SCTP}
- {name: nowhere}
- {name: zero, port: 0}
",
    );
    assert_eq!(
        (it.key.to_string().as_str(), it.service_name.as_str()),
        ("shop/web-1", "web")
    );
    assert!(it.headless);
    assert_eq!(it.family, Family::Ipv6);
    let [first, second, third] = it.endpoints.as_slice() else {
        panic!("three endpoints, not {:?}", it.endpoints);
    };
    assert_eq!(first.address.to_string(), "fd20:0:1::5");
    assert_eq!(first.conditions, Conditions::READY);
    assert_eq!(first.node_name.as_deref(), Some("n1"));
    assert_eq!(first.zone_hints, ["z1", "z2"]);
    assert_eq!(first.node_hints, ["n1"]);
    let draining = Conditions {
        ready: false,
        serving: true,
        terminating: true,
    };
    assert_eq!(second.conditions, draining, "absent serving is true");
    assert_eq!(third.conditions, Conditions::NOT_READY);
    let ports: Vec<_> = it
        .ports
        .iter()
        .map(|port| (port.name.as_str(), port.protocol, port.port))
        .collect();
    assert_eq!(
        ports,
        [
            ("http", Protocol::Tcp, 8080),
            ("", Protocol::Udp, 53),
            ("", Protocol::Sctp, 38_412),
        ],
        "ports without a number are left out, those without a name are unnamed"
    );
}

/// What follows `kind` of an EndpointSlice, the endpoints and ports left of it, and what is said.
const BAD_SLICES: &[(&str, &str, &[&str])] = &[
    (
        "addressType: IPv4\nendpoints: [{addresses: ['fd20::1']}, {addresses: [10.0.0.1]}]\nports: [{port: 80}]",
        "10.0.0.1 80",
        &["endpoints[0].addresses[0]: fd20::1 is not IPv4: must be, since addressType is IPv4"],
    ),
    (
        "addressType: IPv6\nendpoints: [{addresses: []}, {addresses: ['fd20::1']}, {addresses: [10.0.0.1]}]\nports: [{port: 80}]",
        "fd20::1 80",
        &[
            "endpoints[0].addresses: is empty: must hold the endpoint's address",
            "endpoints[2].addresses[0]: 10.0.0.1 is not IPv6: must be, since addressType is IPv6",
        ],
    ),
    (
        "addressType: IPv4\nendpoints: [{addresses: [10.0.0]}, {addresses: [169.254.0.1]}]\nports: [{port: 65536}, {port: 80, protocol: ICMP}, {port: 80, name: B}, {name: c, port: 81}]",
        "81",
        &[
            "endpoints[0].addresses[0]: \"10.0.0\" is not an IP address: must be IPv4 or IPv6",
            "endpoints[1].addresses[0]: 169.254.0.1 is a link-local address: must be a usable address",
            "ports[0].port: 65536 is not a port: must be between 1 and 65535",
            "ports[1].protocol: \"ICMP\" is not a protocol: must be TCP, UDP or SCTP",
            "ports[2].name: \"B\" is not a port name: must be 1 to 63 of a-z, 0-9 and -, with a letter or digit at either end (RFC 1123)",
        ],
    ),
    (
        "addressType: ipv4",
        "rejected",
        &["addressType: \"ipv4\" is not an address type: must be IPv4, IPv6 or FQDN"],
    ),
    (
        "addressType: IPv4\nendpoints: [{addresses: 10.0.0.1}]",
        "rejected",
        &["endpoints[0].addresses: invalid type: string \"10.0.0.1\", expected a sequence"],
    ),
    (
        "addressType: IPv6\nports: [{port: '80'}]",
        "rejected",
        &["ports[0].port: invalid type: string \"80\", expected a number"],
    ),
];

#[test]
fn a_bad_part_of_a_slice_is_named_and_the_rest_is_kept() {
    for &(body, kept, rules) in BAD_SLICES {
        let text = format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}\n{body}\n"
        );
        let decoded = read(&text);
        let expected: Vec<_> = rules
            .iter()
            .map(|rule| format!("EndpointSlice default/web-1: {rule}"))
            .collect();
        assert_eq!(texts(&decoded), expected, "{text}");
        let left = match decoded.objects.as_slice() {
            [] => "rejected".to_string(),
            [Object::EndpointSlice(slice)] => {
                let endpoints = slice.endpoints.iter().map(|it| it.address.to_string());
                let ports = slice.ports.iter().map(|it| it.port.to_string());
                endpoints.chain(ports).collect::<Vec<_>>().join(" ")
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(left, kept, "{text}");
    }
}

#[test]
fn slices_of_host_names_are_ignored_and_slices_of_no_service_are_rejected() {
    let decoded = read(
        "
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: names}, addressType: FQDN, endpoints: [{addresses: [a.example]}]}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: stray}, addressType: IPv4}
",
    );
    assert!(decoded.objects.is_empty());
    assert_eq!(decoded.ignored, ["EndpointSlice default/names"]);
    assert_eq!(
        texts(&decoded),
        [
            "EndpointSlice default/stray: metadata.labels[kubernetes.io/service-name]: is missing: must name the slice's Service"
        ]
    );
}

#[test]
fn endpoints_become_a_slice_per_subset_and_family() {
    let decoded = read(
        "
apiVersion: v1
kind: Endpoints
metadata: {name: db, namespace: shop}
subsets:
- addresses: [{ip: 10.0.0.1, nodeName: n1}, {ip: 'fd20::1'}, {ip: 10.0.0.300}]
  notReadyAddresses: [{ip: 10.0.0.2}, {ip: 127.0.0.1}]
  ports: [{port: 5432}, {name: m, port: 0}]
- addresses: [{ip: 10.0.0.9}]
  ports: [{name: alt, port: 5433, protocol: SCTP}]
",
    );
    assert_eq!(
        texts(&decoded),
        [
            "Endpoints shop/db: subsets[0].ports[1].port: 0 is not a port: must be between 1 and 65535",
            "Endpoints shop/db: subsets[0].addresses[2].ip: \"10.0.0.300\" is not an IP address: must be IPv4 or IPv6",
            "Endpoints shop/db: subsets[0].notReadyAddresses[1].ip: 127.0.0.1 is a loopback address: must be a usable address",
        ]
    );
    let [Object::Endpoints(endpoints)] = decoded.objects.as_slice() else {
        panic!("Endpoints, not {:?}", decoded.objects);
    };
    assert_eq!(endpoints.key.to_string(), "shop/db");
    let slices: Vec<_> = endpoints
        .slices
        .iter()
        .map(|it| {
            (
                it.key.to_string(),
                it.service_name.as_str(),
                it.endpoints.len(),
                it.ports.len(),
            )
        })
        .collect();
    assert_eq!(
        slices,
        [
            ("shop/db#0-ipv4".to_string(), "db", 2, 1),
            ("shop/db#0-ipv6".to_string(), "db", 1, 1),
            ("shop/db#1-ipv4".to_string(), "db", 1, 1),
        ]
    );
    let first = endpoints.slices.first().expect("three slices");
    let ready: Vec<_> = first
        .endpoints
        .iter()
        .map(|it| it.conditions.ready)
        .collect();
    assert_eq!(ready, [true, false]);
    assert_eq!(
        first
            .endpoints
            .first()
            .and_then(|it| it.node_name.as_deref()),
        Some("n1")
    );
}

#[test]
fn a_node_is_read_with_internal_addresses_first() {
    let it = node(
        "
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: no}}
spec: {podCIDR: 10.200.1.0/24, podCIDRs: [10.200.1.0/24, 'fd20:0:1::/64'], taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}
status:
  addresses:
  - {type: Hostname, address: n1}
  - {type: ExternalIP, address: 198.51.100.11}
  - {type: InternalIP, address: 192.168.66.11}
  - {type: InternalIP, address: 'fd66::11'}
  - {type: InternalIP, address: 192.168.66.11}
",
    );
    assert_eq!(it.name, "n1");
    assert_eq!(it.zone.as_deref(), Some("no"), "YAML 1.2: no is a string");
    assert_eq!(
        ips(&it.addresses),
        ["192.168.66.11", "fd66::11", "198.51.100.11"]
    );
    let cidrs: Vec<_> = it.pod_cidrs.iter().map(ToString::to_string).collect();
    assert_eq!(cidrs, ["10.200.1.0/24", "fd20:0:1::/64"]);
    assert!(it.being_deleted);

    let single =
        node("{apiVersion: v1, kind: Node, metadata: {name: n2}, spec: {podCIDR: 10.200.2.0/24}}");
    assert_eq!(single.pod_cidrs.len(), 1);
    assert!(!single.being_deleted && single.zone.is_none());

    let leaving = node(
        "{apiVersion: v1, kind: Node, metadata: {name: n3, deletionTimestamp: '2026-01-01T00:00:00Z'}}",
    );
    assert!(leaving.being_deleted);
}

#[test]
fn a_bad_part_of_a_node_is_named_and_the_rest_is_kept() {
    let decoded = read(
        "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.200.1.0, 'fd20::/64']}
status: {addresses: [{type: InternalIP, address: n1.example}, {type: InternalIP, address: 10.0.0.1}]}
",
    );
    assert_eq!(
        texts(&decoded),
        [
            "Node n1: status.addresses[0].address: \"n1.example\" is not an IP address: must be IPv4 or IPv6",
            "Node n1: spec.podCIDRs[0]: \"10.200.1.0\" is not a CIDR: must be an address and a prefix length, such as 10.96.0.0/16 or fd96::/112",
        ]
    );
    let [Object::Node(it)] = decoded.objects.as_slice() else {
        panic!("a Node, not {:?}", decoded.objects);
    };
    assert_eq!((it.addresses.len(), it.pod_cidrs.len()), (1, 1));
}
