//! Manifests that nobody should write: whatever comes, the registry answers, and gives nothing away twice.

use super::{reference, settings};
use k8s_openapi::jiff::Timestamp;
use portolan::api::{Registry, Settings};
use portolan::k8s::{Resource, ResourceKind, decode_resource_value};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many manifests are tried, unless `PORTOLAN_MANIFESTS` says otherwise.
const MANIFESTS: u64 = 15_000;

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap_or(0)
    }

    fn of<'a, T: ?Sized>(&mut self, values: &[&'a T]) -> &'a T {
        values[self.below(values.len())]
    }
}

/// Values that stand where they should, or anywhere else.
fn odd(draw: &mut Draw) -> Value {
    match draw.below(22) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(i64::MAX),
        4 => json!(65_536),
        5 => json!(30_000 + draw.below(40)),
        6 => json!(""),
        7 => json!("None"),
        8 => json!(format!("10.96.0.{}", draw.below(300))),
        9 => json!(["10.96.0.9", "fd96::9"]),
        10 => json!(["fd96::9"]),
        11 => json!("::ffff:10.0.0.1"),
        12 => json!("a".repeat(300)),
        13 => json!("é\u{0}\n\"x\""),
        14 => json!([]),
        15 => json!({}),
        16 => json!(["IPv6", "IPv4"]),
        17 => {
            json!([{"port": 80, "nodePort": 30_001}, {"name": "b", "port": 80, "protocol": "UDP"}])
        }
        18 => json!(draw.of(&["NodePort", "LoadBalancer", "ExternalName", "ClusterIP"])),
        19 => json!(draw.of(&["SingleStack", "PreferDualStack", "RequireDualStack"])),
        20 => json!(draw.of(&["Local", "Cluster", "ClientIP", "PreferClose"])),
        _ => json!({"app": "web", "x/y/z": "?"}),
    }
}

const SPEC_FIELDS: [&str; 21] = [
    "type",
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "ipFamilyPolicy",
    "ports",
    "selector",
    "externalName",
    "externalIPs",
    "externalTrafficPolicy",
    "internalTrafficPolicy",
    "healthCheckNodePort",
    "loadBalancerIP",
    "loadBalancerClass",
    "loadBalancerSourceRanges",
    "allocateLoadBalancerNodePorts",
    "sessionAffinity",
    "sessionAffinityConfig",
    "trafficDistribution",
    "publishNotReadyAddresses",
    "unknownField",
];

fn manifest(draw: &mut Draw) -> Value {
    let kind = match draw.below(12) {
        0 => "Pod",
        1 => "Node",
        2 => "EndpointSlice",
        3 => "ServiceCIDR",
        _ => "Service",
    };
    let version = match kind {
        "EndpointSlice" => "discovery.k8s.io/v1",
        "ServiceCIDR" => "networking.k8s.io/v1",
        _ => "v1",
    };
    let name = format!("n{}", draw.below(40));
    let mut value = json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80 + draw.below(3)}], "nodeName": "n1"},
        "status": {"podIP": format!("10.0.0.{}", 1 + draw.below(250))},
        "addressType": "IPv4",
    });
    if draw.below(3) == 0 {
        value["spec"]["type"] = json!(draw.of(&["NodePort", "LoadBalancer"]));
    }
    for _ in 0..draw.below(5) {
        let field = draw.of(&SPEC_FIELDS);
        value["spec"][field] = odd(draw);
    }
    match draw.below(12) {
        0 => value["metadata"]["name"] = odd(draw),
        1 => value["metadata"]["annotations"] = odd(draw),
        2 => value["metadata"]["annotations"] = json!({"portolan/load-balancer-ips": odd(draw)}),
        3 => value["status"] = odd(draw),
        field @ (4 | 5) => {
            let field = if field == 4 { "targetPort" } else { "nodePort" };
            if let Some(Value::Object(port)) = value.pointer_mut("/spec/ports/0") {
                port.insert(field.to_owned(), odd(draw));
            }
        }
        6 => {
            value["spec"]["cidrs"] =
                json!([format!("10.{}.0.0/2{}", draw.below(300), draw.below(9))])
        }
        7 => value["spec"] = odd(draw),
        _ => {}
    }
    value
}

/// Everything that Services have, each with its owner; what two have is an error.
fn holdings(registry: &Registry) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    for object in registry.objects() {
        let Resource::Service(service) = object else {
            continue;
        };
        let owner = object.reference().to_string();
        let spec = service.spec.as_ref().expect("a stored spec");
        let ips = spec
            .cluster_ips
            .iter()
            .flatten()
            .filter(|ip| *ip != "None")
            .cloned();
        let mut ports: Vec<i32> = spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| port.node_port)
            .collect();
        ports.dedup();
        ports.extend(spec.health_check_node_port);
        for what in ips.chain(ports.iter().map(ToString::to_string)) {
            if let Some(other) = held.insert(what.clone(), owner.clone()) {
                assert_eq!(other, owner, "{what} is held by two");
            }
        }
    }
    held
}

#[test]
fn whatever_comes_is_answered_and_nothing_is_given_twice() {
    let manifests = std::env::var("PORTOLAN_MANIFESTS");
    let manifests = manifests
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(MANIFESTS);
    let settings = Settings {
        pools: vec![portolan::api::Pool {
            name: "p".to_owned(),
            cidrs: vec!["203.0.113.0/30".parse().expect("a prefix")],
            automatic: true,
        }],
        ..settings()
    };
    let mut registry = Registry::new(settings.clone());
    let mut draw = Draw(42);
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    for number in 0..manifests {
        let value = manifest(&mut draw);
        for resource in decode_resource_value(value.clone(), "hostile").resources {
            let reference = resource.reference();
            let before = registry.object(&reference).cloned();
            match registry.apply(resource, Timestamp::UNIX_EPOCH) {
                Ok(_) => accepted += 1,
                Err(errors) => {
                    refused += 1;
                    assert!(!errors.is_empty(), "{value}");
                    assert_eq!(registry.object(&reference), before.as_ref(), "{value}");
                }
            }
        }
        if draw.below(8) == 0 {
            let name = format!("n{}", draw.below(40));
            let _ = registry.delete(&reference(ResourceKind::Service, &name));
        }
        if number % 500 == 0 {
            registry.take_changes();
            let held = holdings(&registry);
            // What is stored is what is taken: nothing leaks, nothing is forgotten.
            let taken = 2768 - registry.allocators().node_ports.free();
            let ports = held.keys().filter(|what| what.parse::<u16>().is_ok());
            assert_eq!(ports.count(), taken, "after {number}");
            for (what, owner) in &held {
                if let Ok(ip) = what.parse() {
                    let key = registry.allocators().cluster_ips.owner(ip);
                    assert_eq!(
                        key.map(|key| format!("Service {key}")).as_ref(),
                        Some(owner),
                        "{what}"
                    );
                }
            }
        }
    }
    assert!(
        accepted > manifests / 20 && refused > manifests / 20,
        "{accepted} {refused}"
    );
    let stored: Vec<_> = registry.objects().cloned().collect();
    let mut restarted = Registry::new(settings);
    assert_eq!(restarted.restore(stored), []);
    assert_eq!(holdings(&restarted), holdings(&registry));
}
