//! Whatever the input, decoding ends with an answer, and what is good in it is found.

use portolan::k8s::{decode, decode_node_config};
use portolan::model::Object;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Sound objects of every kind and both families.
fn sound() -> Vec<Value> {
    vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"}},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.80", "clusterIPs": ["10.96.0.80", "fd96::80"],
                "externalIPs": ["198.51.100.7"], "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}, "externalTrafficPolicy": "Local",
                "loadBalancerSourceRanges": ["203.0.113.0/24"], "selector": {"app": "web"},
                "ports": [{"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080},
                    {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "2001:db8::1", "ipMode": "VIP"}, {"hostname": "lb"}]}}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv6",
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [{"addresses": ["fd20:0:1::5"], "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": "n1", "hints": {"forZones": [{"name": "z1"}], "forNodes": [{"name": "n1"}]}}],
            "ports": [{"name": "http", "protocol": "SCTP", "port": 8080}]}),
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db"},
            "subsets": [{"addresses": [{"ip": "10.0.0.1", "nodeName": "n1"}, {"ip": "fd20::1"}],
                "notReadyAddresses": [{"ip": "10.0.0.2"}], "ports": [{"port": 5432, "protocol": "TCP"}]}]}),
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}},
            "spec": {"podCIDRs": ["10.200.1.0/24", "fd20:0:1::/64"], "taints": [{"key": "a", "effect": "NoSchedule"}]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.168.66.11"}]}}),
    ]
}

/// Values of all sorts, the ones that fields are made of among them.
fn any_value() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "",
        "None",
        "10.0.0.1",
        "fd00::1",
        "::ffff:1.2.3.4",
        "0.0.0.0",
        "10.0.0.0/8",
        "TCP",
        "Local",
        "List",
        "Node",
        "IPv4",
        "FQDN",
        "v1",
        "---",
        "\u{0}\n\u{1b}[2J",
        "010.1.1.1",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1_i64..70_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{0,10}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Replaces, or removes, one of the values inside, chosen by walking down.
fn mutate(value: &mut Value, steps: &[usize], new: Option<Value>) {
    let Some((&step, rest)) = steps.split_first() else {
        *value = new.unwrap_or(Value::Null);
        return;
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            let index = step % items.len();
            if rest.is_empty() && new.is_none() {
                items.remove(index);
            } else {
                mutate(&mut items[index], rest, new);
            }
        }
        Value::Object(fields) if !fields.is_empty() => {
            let index = step % fields.len();
            let key = fields.keys().nth(index).cloned().unwrap_or_default();
            if rest.is_empty() && new.is_none() {
                fields.remove(&key);
            } else if let Some(inner) = fields.get_mut(&key) {
                mutate(inner, rest, new);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => *value = new.unwrap_or(Value::Null),
    }
}

/// The input's shape, of these values.
fn write(shape: u8, values: &[Value]) -> String {
    let texts = values.iter().map(ToString::to_string);
    match shape % 4 {
        0 => json!({"apiVersion": "v1", "kind": "List", "items": values}).to_string(),
        1 => texts.collect::<Vec<_>>().join("\n"),
        2 => texts.collect::<Vec<_>>().join("\n---\n"),
        _ => Value::from(values.to_vec()).to_string(),
    }
}

fn objects(text: &str) -> Vec<Object> {
    decode(text.as_bytes(), "in").objects
}

proptest! {
    #[test]
    fn arbitrary_bytes_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes, "in");
        let _ = decode_node_config(&bytes, "in");
    }

    #[test]
    fn arbitrary_syntax_ends_in_an_answer(
        words in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ":", ",", "\"", "'", "\n", "  ", "- ", "---\n", "...\n", "|\n", ">-\n", "&a ", "*a", "<<: ",
            "? ", "!!str ", "! ", "%YAML 1.1\n", "#", "\t", "kind: List\n", "items:\n", "apiVersion: v1\n", "kind: Service\n",
            "metadata:\n", "name: a\n", "spec:\n", "ports:\n", "port: 1\n", "\"kind\":\"List\"", "\\u0000", "\u{feff}", "é", "0x1", "1e999", ".inf",
        ]), 0..60)
    ) {
        let text = words.concat();
        let _ = decode(text.as_bytes(), "in");
        let _ = decode_node_config(text.as_bytes(), "in");
    }

    #[test]
    fn a_mutated_object_costs_no_other(
        victim in 0_usize..4,
        steps in prop::collection::vec(any::<usize>(), 1..7),
        new in prop::option::of(any_value()),
        shape in any::<u8>(),
    ) {
        let sound = sound();
        let mut mutated = sound[victim].clone();
        mutate(&mut mutated, &steps, new);
        // What stands among others may be several objects by now, but not the others.
        let mut values = sound.clone();
        values[victim] = mutated;
        let found = objects(&write(shape, &values));
        for (index, value) in sound.iter().enumerate().filter(|(index, _)| *index != victim) {
            let alone = objects(&value.to_string());
            prop_assert_eq!(alone.len(), 1);
            prop_assert!(found.contains(&alone[0]), "object {} is lost: {:?}", index, found);
        }
    }

    #[test]
    fn a_cut_object_costs_no_other(victim in 0_usize..4, cut in any::<prop::sample::Index>(), documents in any::<bool>()) {
        let sound = sound();
        let mut texts: Vec<String> = sound.iter().map(ToString::to_string).collect();
        let len = texts[victim].len();
        texts[victim].truncate(cut.index(len));
        let found = objects(&texts.join(if documents { "\n---\n" } else { "\n" }));
        for value in sound.iter().enumerate().filter_map(|(index, it)| (index != victim).then_some(it)) {
            prop_assert!(found.contains(&objects(&value.to_string())[0]), "lost: {}", value);
        }
    }
}
