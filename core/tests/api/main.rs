//! The API server's part as a host uses it: objects in, completed objects and slices out.

mod endpoints;
mod hostile;
mod registry;
mod scale;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::jiff::Timestamp;
use portolan::api::{Outcome, Registry, ServiceRange, Settings};
use portolan::k8s::{Resource, ResourceKind, ResourceRef, decode_resources};
use portolan::model::Rejection;

/// A cluster of both families.
fn settings() -> Settings {
    let ranges = ["10.96.0.0/16", "fd96::/112"];
    Settings {
        service_ranges: ranges.iter().map(|text| range(text)).collect(),
        seed: 7,
        ..Settings::default()
    }
}

fn range(text: &str) -> ServiceRange {
    let prefix = text.parse().expect("a prefix");
    ServiceRange::new(prefix).expect("a range with addresses")
}

fn read(yaml: &str) -> Vec<Resource> {
    let read = decode_resources(yaml.as_bytes(), "test");
    assert_eq!(read.rejections, [], "{yaml}");
    read.resources
}

/// Applies every object of a manifest; what came of the last one.
fn apply(registry: &mut Registry, yaml: &str) -> Result<Outcome, Vec<Rejection>> {
    let mut outcome = Ok(Outcome::Unchanged);
    for resource in read(yaml) {
        outcome = registry.apply(resource, Timestamp::UNIX_EPOCH);
    }
    outcome
}

fn reference(kind: ResourceKind, name: &str) -> ResourceRef {
    ResourceRef::new(kind, "default", name)
}

fn service<'a>(registry: &'a Registry, name: &str) -> &'a Service {
    match registry.object(&reference(ResourceKind::Service, name)) {
        Some(Resource::Service(service)) => service,
        other => panic!("{name} is {other:?}"),
    }
}

fn spec<'a>(registry: &'a Registry, name: &str) -> &'a ServiceSpec {
    service(registry, name).spec.as_ref().expect("a spec")
}

fn cluster_ip(registry: &Registry, name: &str) -> String {
    spec(registry, name).cluster_ip.clone().expect("an address")
}

fn node_port(registry: &Registry, name: &str) -> i32 {
    let ports = spec(registry, name).ports.as_ref().expect("ports");
    ports[0].node_port.expect("a node port")
}
