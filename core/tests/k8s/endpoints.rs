//! discovery.k8s.io/v1 EndpointSlice and v1 Endpoints.

use super::{only, read, texts};
use portolan::model::{Conditions, EndpointSlice, Object};
use portolan::net::{Family, Protocol};

fn slice(text: &str) -> EndpointSlice {
    let Object::EndpointSlice(slice) = only(text) else {
        panic!("not a slice: {text}");
    };
    slice
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
