//! v1 Node, and what a host says of its own node.

use super::{ips, only, read, texts};
use portolan::k8s::decode_node_config;
use portolan::model::{Node, Object};
use portolan::plan::{LocalDetector, NodePortAddresses, OtherProxies};

fn node(text: &str) -> Node {
    let Object::Node(node) = only(text) else {
        panic!("not a Node: {text}");
    };
    node
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

#[test]
fn a_node_description_is_read_with_defaults() {
    let text = "
nodeName: n1
ips: [192.168.66.11, 'fd66::11']
zone: z1
podCIDRs: [10.200.1.0/24, 'fd20:0:1::/64']
clusterCIDRs: [10.200.0.0/16, 'fd20::/48']
serviceCIDRs: [10.96.0.0/16, 'fd96::/112']
detectLocal: None
masqueradeAll: true
nodePortAddresses: [192.168.66.11/32]
";
    let config = decode_node_config(text.as_bytes(), "node.yaml").expect("sound");
    assert_eq!(
        (config.name.as_str(), config.zone.as_deref()),
        ("n1", Some("z1"))
    );
    assert_eq!(config.addresses.len(), 2);
    assert_eq!(
        (
            config.pod_cidrs.len(),
            config.cluster_cidrs.len(),
            config.service_cidrs.len()
        ),
        (2, 2, 2)
    );
    assert_eq!(config.detect_local, LocalDetector::None);
    assert!(config.masquerade_all);
    assert!(matches!(config.node_port_addresses, NodePortAddresses::Within(it) if it.len() == 1));

    let least = decode_node_config(b"nodeName: n1", "node.yaml").expect("sound");
    assert_eq!(least.detect_local, LocalDetector::ClusterCidr);
    assert_eq!(least.node_port_addresses, NodePortAddresses::Primary);
    let all = decode_node_config(
        b"{\"nodeName\": \"n1\", \"nodePortAddresses\": [\"all\"]}",
        "node.json",
    );
    assert_eq!(
        all.expect("sound").node_port_addresses,
        NodePortAddresses::All
    );
}

#[test]
fn everything_wrong_in_a_node_description_is_said() {
    let cases: &[(&str, &[&str])] = &[
        (
            "{nodeName: N1, ips: [10.0.0.1, 10.0.0], podCIDRs: [10.0.0.0], detectLocal: Bridge, nodePortAddresses: [primary, all]}",
            &[
                "n: nodeName: \"N1\" is not a name: must be 1 to 253 of a-z, 0-9, - and ., with a letter or digit at either end (RFC 1123)",
                "n: ips[1]: \"10.0.0\" is not an IP address: must be IPv4 or IPv6",
                "n: podCIDRs[0]: \"10.0.0.0\" is not a CIDR: must be an address and a prefix length, such as 10.96.0.0/16 or fd96::/112",
                "n: detectLocal: \"Bridge\" is not a way to tell pods: must be ClusterCIDR, NodeCIDR, \
                 BridgeInterface, InterfaceNamePrefix or None",
                "n: nodePortAddresses[0]: \"primary\" is not a CIDR: must be an address and a prefix length, such as 10.96.0.0/16 or fd96::/112",
                "n: nodePortAddresses[1]: \"all\" is not a CIDR: must be an address and a prefix length, such as 10.96.0.0/16 or fd96::/112",
            ],
        ),
        (
            "{nodeName: n1, podCidrs: []}",
            &[
                "n: podCidrs: unknown field `podCidrs`, expected one of `nodeName`, `ips`, `zone`, `podCIDRs`, `clusterCIDRs`, `detectLocal`, `bridgeInterface`, `interfaceNamePrefix`, `masqueradeAll`, `serviceCIDRs`, `nodePortAddresses`, `scheduler`, `slowStart`, `magle…",
            ],
        ),
        (
            "{nodeName: n1, masqueradeAll: yes}",
            &["n: masqueradeAll: invalid type: string \"yes\", expected a boolean"],
        ),
        (
            "{nodeName: n1, detectLocal: BridgeInterface, interfaceNamePrefix: veth, otherProxies: Ignore}",
            &[
                "n: bridgeInterface: is missing: BridgeInterface needs it",
                "n: otherProxies: \"Ignore\" is not known: must be Drop or Pass",
            ],
        ),
        ("{ips: []}", &["n: missing field `nodeName`"]),
    ];
    for (text, expected) in cases {
        let said = decode_node_config(text.as_bytes(), "n").expect_err(text);
        let said: Vec<_> = said.iter().map(ToString::to_string).collect();
        assert_eq!(said, *expected, "{text}");
    }
    let said = decode_node_config(b"nodeName: n1\nips: [", "n").expect_err("broken");
    assert!(said[0].to_string().starts_with("n:"), "{}", said[0]);
}

#[test]
fn a_node_description_says_by_which_interfaces_pods_send_and_what_becomes_of_other_proxies_services()
 {
    for (text, detector, others) in [
        (
            "{nodeName: n1, detectLocal: BridgeInterface, bridgeInterface: cni0}",
            LocalDetector::BridgeInterface("cni0".into()),
            OtherProxies::Drop,
        ),
        (
            "{nodeName: n1, detectLocal: InterfaceNamePrefix, interfaceNamePrefix: veth, otherProxies: Pass}",
            LocalDetector::InterfaceNamePrefix("veth".into()),
            OtherProxies::Pass,
        ),
        (
            "{nodeName: n1, otherProxies: Drop}",
            LocalDetector::ClusterCidr,
            OtherProxies::Drop,
        ),
    ] {
        let config = decode_node_config(text.as_bytes(), "n").expect(text);
        assert_eq!(
            (config.detect_local, config.other_proxies),
            (detector, others)
        );
    }
}
