//! Cases of kind `endpoints`: Pods, Services and Nodes in, slices out.

use super::Bench;
use super::case::{
    EndpointsCase, EndpointsExpect, EndpointsFile, PodTemplate, PortExpect, SliceExpect,
};
use crate::check::Sink;
use crate::check::case::Deletion;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use k8s_openapi::api::discovery::v1::{EndpointPort, EndpointSlice};
use portolan::api::{ENDPOINTS_PER_SLICE, EndpointController};
use portolan::k8s::{Resource, ResourceKind, ResourceRef, decode_resource_value};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tracing::warn;

/// Runs the cases that are wanted.
pub(crate) fn run(
    name: &str,
    file: &EndpointsFile,
    wanted: impl Fn(&str) -> bool,
    sink: Sink<'_>,
) -> std::io::Result<()> {
    for case in file.cases.iter().filter(|case| wanted(&case.name)) {
        let config = case.config.as_ref().unwrap_or(&file.config);
        let limit = config
            .max_endpoints_per_slice
            .unwrap_or(ENDPOINTS_PER_SLICE);
        let mut bench = Bench {
            file: name,
            case: &case.name,
            tags: &case.tags,
            sink: &mut *sink,
        };
        run_case(case, limit, &mut bench)?;
    }
    Ok(())
}

fn run_case(case: &EndpointsCase, limit: usize, bench: &mut Bench<'_>) -> std::io::Result<()> {
    let mut controller = EndpointController::new(limit);
    change(
        &mut controller,
        &[],
        &case.manifests,
        case.pod_template.as_ref(),
    );
    judge(&controller, "", &case.expect, bench)?;
    for (number, step) in (1..).zip(&case.then) {
        change(
            &mut controller,
            &step.delete,
            &step.apply,
            step.pod_template.as_ref(),
        );
        let name = step
            .step
            .clone()
            .unwrap_or_else(|| format!("then {number}"));
        judge(&controller, &format!("{name}: "), &step.expect, bench)?;
    }
    Ok(())
}

/// Deletes, then applies, as one batch.
fn change(
    controller: &mut EndpointController,
    delete: &[Deletion],
    apply: &[Value],
    template: Option<&PodTemplate>,
) {
    for deletion in delete {
        if let Some(kind) = ResourceKind::named(&deletion.kind) {
            set(
                controller,
                &ResourceRef::new(kind, &deletion.namespace, &deletion.name),
                None,
            );
        }
    }
    let pods = template.map(pods).unwrap_or_default();
    for value in apply.iter().cloned().chain(pods) {
        let read = decode_resource_value(value, "manifests");
        for rejection in read.rejections {
            warn!("{rejection}");
        }
        for resource in &read.resources {
            set(controller, &resource.reference(), Some(resource));
        }
    }
    controller.reconcile();
}

fn set(controller: &mut EndpointController, reference: &ResourceRef, object: Option<&Resource>) {
    let key = &reference.key;
    match (reference.kind, object) {
        (ResourceKind::Pod, Some(Resource::Pod(pod))) => controller.set_pod(key, Some(pod)),
        (ResourceKind::Pod, _) => controller.set_pod(key, None),
        (ResourceKind::Node, Some(Resource::Node(node))) => {
            controller.set_node(&key.name, Some(node));
        }
        (ResourceKind::Node, _) => controller.set_node(&key.name, None),
        (ResourceKind::Service, Some(Resource::Service(service))) => {
            controller.set_service(key, Some(service));
        }
        (ResourceKind::Service, _) => controller.set_service(key, None),
        _ => {}
    }
}

/// The Pods of a template.
fn pods(template: &PodTemplate) -> Vec<Value> {
    let pod = |number: u32| {
        let ip = nth(template.first_ip, number).to_string();
        let port = template.container_port.as_ref().and_then(|it| {
            let count = it.ports.len().max(1);
            let port = it
                .ports
                .get(usize::try_from(number).unwrap_or_default() % count)?;
            let mut container_port = json!({ "containerPort": port });
            container_port["name"] = json!(it.name);
            container_port["protocol"] = json!(it.protocol);
            Some(container_port)
        });
        let ready = if template.ready { "True" } else { "False" };
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": template.namespace,
                "name": format!("{}{number}", template.name_prefix),
                "labels": template.labels,
            },
            "spec": {
                "nodeName": template.node_name,
                "containers": [{ "name": "main", "ports": port.into_iter().collect::<Vec<_>>() }],
            },
            "status": {
                "phase": "Running",
                "podIP": ip,
                "podIPs": [{ "ip": ip }],
                "conditions": [{ "type": "Ready", "status": ready }],
            },
        })
    };
    (0..template.count).map(pod).collect()
}

fn nth(first: IpAddr, number: u32) -> IpAddr {
    match first {
        IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4).wrapping_add(number)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6).wrapping_add(number.into())).into(),
    }
}

/// Slices with the same Service, family and ports.
type Groups = BTreeMap<(String, String, Vec<Port>), Vec<EndpointSlice>>;

/// One port of a slice, to be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: String,
    number: Option<i32>,
    protocol: String,
    app_protocol: Option<String>,
}

fn judge(
    controller: &EndpointController,
    step: &str,
    expect: &EndpointsExpect,
    bench: &mut Bench<'_>,
) -> std::io::Result<()> {
    let mut groups = Groups::new();
    for slice in controller.slices() {
        let labels = slice.metadata.labels.as_ref();
        let service = labels.and_then(|it| it.get("kubernetes.io/service-name"));
        let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
        let service = format!("{namespace}/{}", service.map_or("", String::as_str));
        let ports = ports(slice.ports.as_deref().unwrap_or_default());
        let group = (service, slice.address_type.clone(), ports);
        groups.entry(group).or_default().push(slice);
    }
    for wanted in &expect.slices {
        let ports = wanted.ports.as_deref().map(expected_ports);
        let found = groups.keys().find(|(service, family, actual)| {
            *service == wanted.service
                && *family == wanted.address_type
                && ports.as_ref().is_none_or(|ports| ports == actual)
        });
        let name = format!("{step}slices of {} {}", wanted.service, wanted.address_type);
        let Some(group) = found.cloned() else {
            let there: Vec<_> = groups.keys().map(described).collect();
            let actual = Err(format!("none; there are: {}", there.join("; ")));
            bench.judge(
                name,
                format!(
                    "slices with ports {}",
                    shown(ports.as_deref().unwrap_or_default())
                ),
                actual,
            )?;
            continue;
        };
        let slices = groups.remove(&group).unwrap_or_default();
        let (expected, actual) = compare(wanted, &slices);
        bench.judge(name, expected, actual)?;
    }
    let others: Vec<_> = groups.keys().map(described).collect();
    let actual = if others.is_empty() {
        Ok("no others".to_owned())
    } else {
        Err(format!("also {}", others.join("; ")))
    };
    bench.judge(
        format!("{step}no other slices"),
        "no others".to_owned(),
        actual,
    )
}

fn ports(ports: &[EndpointPort]) -> Vec<Port> {
    let port = |it: &EndpointPort| Port {
        name: it.name.clone().unwrap_or_default(),
        number: it.port,
        protocol: it.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        app_protocol: it.app_protocol.clone(),
    };
    sorted(ports.iter().map(port).collect())
}

fn expected_ports(ports: &[PortExpect]) -> Vec<Port> {
    let port = |it: &PortExpect| Port {
        name: it.name.clone(),
        number: it.port,
        protocol: it.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        app_protocol: it.app_protocol.clone(),
    };
    sorted(ports.iter().map(port).collect())
}

fn sorted(mut ports: Vec<Port>) -> Vec<Port> {
    ports.sort();
    ports
}

fn shown(ports: &[Port]) -> String {
    let port = |it: &Port| {
        let number = it
            .number
            .map_or_else(|| "-".to_owned(), |number| number.to_string());
        format!("{:?} {number}/{}", it.name, it.protocol)
    };
    let ports = ports.iter().map(port);
    format!("[{}]", ports.collect::<Vec<_>>().join(", "))
}

fn described((service, family, ports): &(String, String, Vec<Port>)) -> String {
    format!("{service} {family} {}", shown(ports))
}

/// A label that is not as it should be: what was expected, and what there is.
fn wrong_label(wanted: &SliceExpect, slices: &[EndpointSlice]) -> Option<(String, String)> {
    let label = |slice: &EndpointSlice, key: &String| {
        slice
            .metadata
            .labels
            .as_ref()
            .and_then(|it| it.get(key))
            .cloned()
    };
    for (key, value) in &wanted.labels {
        if !slices
            .iter()
            .all(|slice| label(slice, key).as_ref() == Some(value))
        {
            return Some((
                format!("label {key}={value}"),
                "another, or none".to_owned(),
            ));
        }
    }
    let mut absent = wanted.absent_labels.iter();
    let there = absent.find(|key| slices.iter().any(|slice| label(slice, key).is_some()));
    there.map(|key| (format!("no label {key}"), "it is there".to_owned()))
}

/// What was expected of the slices of a group, and what there is.
fn compare(wanted: &SliceExpect, slices: &[EndpointSlice]) -> (String, Result<String, String>) {
    if let Some((expected, actual)) = wrong_label(wanted, slices) {
        return (expected, Err(actual));
    }
    let mut sizes: Vec<usize> = slices
        .iter()
        .map(|it| it.endpoints.as_ref().map_or(0, Vec::len))
        .collect();
    let count: usize = sizes.iter().sum();
    if let Some(expected) = &wanted.slice_sizes {
        let mut expected = expected.clone();
        expected.sort_unstable();
        sizes.sort_unstable();
        if sizes != expected {
            return (format!("slices of {expected:?}"), Err(format!("{sizes:?}")));
        }
    }
    if let Some(expected) = wanted.endpoint_count
        && count != expected
    {
        return (format!("{expected} endpoints"), Err(count.to_string()));
    }
    let Some(expected) = &wanted.endpoints else {
        return (
            format!("{count} endpoints"),
            Ok(format!("{count} endpoints")),
        );
    };
    let actual = slices.iter().flat_map(|it| it.endpoints.iter().flatten());
    let mut actual: Vec<Value> = actual
        .map(|it| comparable(&serde_json::to_value(it).unwrap_or_default()))
        .collect();
    let expected: Vec<Value> = expected.iter().map(comparable).collect();
    let mut missing = Vec::new();
    for endpoint in &expected {
        match actual.iter().position(|it| agrees(endpoint, it)) {
            Some(index) => drop(actual.swap_remove(index)),
            None => missing.push(endpoint),
        }
    }
    let text = |values: &[&Value]| {
        let texts: Vec<_> = values.iter().map(ToString::to_string).collect();
        texts.join(" ")
    };
    let all = text(&expected.iter().collect::<Vec<_>>());
    if missing.is_empty() && actual.is_empty() {
        return (all.clone(), Ok(all));
    }
    let others = text(&actual.iter().collect::<Vec<_>>());
    (
        all,
        Err(format!("without {}; instead {others}", text(&missing))),
    )
}

/// An endpoint without what is not compared, and in one order.
fn comparable(endpoint: &Value) -> Value {
    let mut endpoint = endpoint.clone();
    if let Some(target) = endpoint.get_mut("targetRef").and_then(Value::as_object_mut) {
        target.retain(|key, _| matches!(key.as_str(), "kind" | "namespace" | "name"));
    }
    for list in ["/addresses", "/hints/forZones", "/hints/forNodes"] {
        if let Some(Value::Array(items)) = endpoint.pointer_mut(list) {
            items.sort_by_key(ToString::to_string);
        }
    }
    if let Some(fields) = endpoint.as_object_mut() {
        fields.retain(|_, value| !value.is_null() && *value != json!({}));
    }
    endpoint
}

/// Conditions that are not named are not judged; everything else must be equal.
fn agrees(expected: &Value, actual: &Value) -> bool {
    let conditions = |value: &Value| value.get("conditions").cloned().unwrap_or_default();
    let named = conditions(expected);
    let found = conditions(actual);
    let same = named
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| found.get(key) == Some(value));
    let bare = |value: &Value| {
        let mut value = value.clone();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("conditions");
        }
        value
    };
    same && bare(expected) == bare(actual)
}
