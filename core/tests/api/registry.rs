//! What is accepted, what is given, what is given back.

use super::{apply, cluster_ip, node_port, range, read, reference, service, settings, spec};
use portolan::api::{Outcome, Pool, Registry, Settings};
use portolan::k8s::{Resource, ResourceKind};

fn told(errors: Vec<portolan::model::Rejection>) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_service_without_an_address_is_given_one_and_keeps_it() {
    let mut registry = Registry::new(settings());
    let manifest =
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}";
    assert_eq!(apply(&mut registry, manifest), Ok(Outcome::Created));
    let given = cluster_ip(&registry, "web");
    assert_eq!(apply(&mut registry, manifest), Ok(Outcome::Unchanged));
    assert_eq!(cluster_ip(&registry, "web"), given);
    let edited = manifest.replace("port: 80", "port: 81");
    assert_eq!(apply(&mut registry, &edited), Ok(Outcome::Configured));
    assert_eq!(cluster_ip(&registry, "web"), given);
}

#[test]
fn a_refusal_names_field_rule_and_owner_and_leaves_the_old_state() {
    let mut registry = Registry::new(settings());
    let first = "{apiVersion: v1, kind: Service, metadata: {name: first}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30010}]}}";
    let second = first.replace("name: first", "name: second");
    assert_eq!(apply(&mut registry, first), Ok(Outcome::Created));
    let errors = apply(&mut registry, &second).expect_err("the port is taken");
    assert_eq!(
        told(errors),
        [
            "Service default/second: spec.ports[0].nodePort: Invalid value: 30010: provided port is already allocated: \
          Service default/first has it"
        ]
    );
    let edited = first.replace("30010", "80");
    let errors = apply(&mut registry, &edited).expect_err("out of range");
    assert_eq!(
        told(errors),
        [
            "Service default/first: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. \
          The range of valid ports is 30000-32767"
        ]
    );
    assert_eq!(node_port(&registry, "first"), 30010);
}

#[test]
fn a_refused_service_takes_nothing() {
    let mut registry = Registry::new(Settings {
        service_ranges: vec![range("10.0.0.0/30")],
        ..settings()
    });
    let refused = "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: NodePort, ports: [{name: x, port: 80}, {name: y, port: 81, nodePort: 1}]}}";
    for _ in 0..5 {
        apply(&mut registry, refused).expect_err("a node port out of range");
    }
    let allocators = registry.allocators();
    assert_eq!(allocators.node_ports.free(), 2768);
    assert_eq!(allocators.cluster_ips.used(&range("10.0.0.0/30")), 0);
    for name in ["b", "c"] {
        let sound = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{ports: [{{port: 80}}]}}}}"
        );
        assert_eq!(apply(&mut registry, &sound), Ok(Outcome::Created));
    }
    let one_more =
        "{apiVersion: v1, kind: Service, metadata: {name: d}, spec: {ports: [{port: 80}]}}";
    let errors = apply(&mut registry, one_more).expect_err("the range is full");
    assert_eq!(errors[0].field, "spec.clusterIPs");
    assert!(errors[0].rule.contains("range is full"), "{errors:?}");
}

#[test]
fn what_is_deleted_or_becomes_another_type_gives_back_what_it_had() {
    let mut registry = Registry::new(settings());
    let node_port_service = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: NodePort, clusterIP: 10.96.3.4, ports: [{port: 80, nodePort: 30010}]}}";
    apply(&mut registry, node_port_service).expect("sound");
    let plain =
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}";
    apply(&mut registry, plain).expect("sound");
    assert_eq!(registry.allocators().node_ports.owner(30010), None);
    assert_eq!(cluster_ip(&registry, "web"), "10.96.3.4");
    let external = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: ExternalName, externalName: example.com}}";
    apply(&mut registry, external).expect("sound");
    let address = "10.96.3.4".parse().expect("an address");
    assert_eq!(registry.allocators().cluster_ips.owner(address), None);
    apply(&mut registry, node_port_service).expect("everything is free again");
    assert_eq!(
        registry.delete(&reference(ResourceKind::Service, "web")),
        Ok(true)
    );
    assert_eq!(registry.allocators().cluster_ips.owner(address), None);
    assert_eq!(registry.allocators().node_ports.owner(30010), None);
    assert_eq!(
        registry.delete(&reference(ResourceKind::Service, "web")),
        Ok(false)
    );
}

#[test]
fn after_a_restart_everybody_has_what_he_had() {
    let mut registry = Registry::new(settings());
    for number in 0..200 {
        let manifest = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s{number}}}, spec: {{type: NodePort, ipFamilyPolicy: RequireDualStack, ports: [{{port: 80}}]}}}}"
        );
        apply(&mut registry, &manifest).expect("sound");
    }
    let stored: Vec<Resource> = registry.objects().cloned().collect();
    let mut restarted = Registry::new(settings());
    assert_eq!(restarted.restore(stored.clone()), []);
    assert_eq!(restarted.objects().cloned().collect::<Vec<_>>(), stored);
    // The same seed draws the same numbers: if they were not known to be taken, they would be given away again.
    for number in 200..400 {
        let manifest = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s{number}}}, spec: {{type: NodePort, ipFamilyPolicy: RequireDualStack, ports: [{{port: 80}}]}}}}"
        );
        apply(&mut restarted, &manifest).expect("sound");
    }
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..400 {
        let name = format!("s{number}");
        let ips = spec(&restarted, &name)
            .cluster_ips
            .clone()
            .expect("addresses");
        assert_eq!(ips.len(), 2);
        for ip in ips
            .into_iter()
            .chain([node_port(&restarted, &name).to_string()])
        {
            assert!(seen.insert(ip.clone()), "{ip} twice");
        }
    }
}

#[test]
fn a_load_balancer_waits_until_an_address_is_free() {
    let pool = Pool {
        name: "public".to_owned(),
        cidrs: vec!["203.0.113.7/32".parse().expect("a prefix")],
        automatic: true,
    };
    let mut registry = Registry::new(Settings {
        pools: vec![pool],
        ..settings()
    });
    let balanced = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}}}"
        )
    };
    let ingress = |registry: &Registry, name: &str| {
        let status = service(registry, name).status.clone().unwrap_or_default();
        let ingress = status
            .load_balancer
            .unwrap_or_default()
            .ingress
            .unwrap_or_default();
        ingress
            .iter()
            .filter_map(|it| it.ip.clone())
            .collect::<Vec<_>>()
    };
    apply(&mut registry, &balanced("a")).expect("sound");
    apply(&mut registry, &balanced("b")).expect("sound, but it waits");
    assert_eq!(ingress(&registry, "a"), ["203.0.113.7"]);
    assert_eq!(ingress(&registry, "b"), [""; 0]);
    assert_eq!(registry.waiting().len(), 1);
    registry.take_changes();
    registry
        .delete(&reference(ResourceKind::Service, "a"))
        .expect("deleted");
    assert_eq!(ingress(&registry, "b"), ["203.0.113.7"]);
    assert_eq!(registry.waiting().len(), 0);
    let changed: Vec<_> = registry
        .take_changes()
        .into_iter()
        .map(|it| it.reference)
        .collect();
    assert!(
        changed.contains(&reference(ResourceKind::Service, "b")),
        "{changed:?}"
    );
}

#[test]
fn a_service_cidr_adds_addresses_and_stays_while_they_are_used() {
    let mut registry = Registry::new(settings());
    let more = "{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: more}, spec: {cidrs: [10.97.0.0/24]}}";
    let web = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.97.0.9, ports: [{port: 80}]}}";
    apply(&mut registry, web).expect_err("not in range yet");
    apply(&mut registry, more).expect("sound");
    apply(&mut registry, web).expect("in range");
    let cidr = portolan::k8s::ResourceRef::new(ResourceKind::ServiceCidr, "", "more");
    let errors = registry.delete(&cidr).expect_err("in use");
    assert!(
        errors[0].rule.contains("Service default/web has 10.97.0.9"),
        "{errors:?}"
    );
    let changed = more.replace("10.97", "10.98");
    let errors = apply(&mut registry, &changed).expect_err("immutable");
    assert_eq!(errors[0].field, "spec.cidrs");
    registry
        .delete(&reference(ResourceKind::Service, "web"))
        .expect("deleted");
    assert_eq!(registry.delete(&cidr), Ok(true));
}

#[test]
fn what_the_dataplane_could_not_serve_is_refused_in_other_kinds_too() {
    let mut registry = Registry::new(settings());
    for (manifest, field) in [
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {podIP: x}}",
            "status.podIP",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: A}}",
            "metadata.name",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: a/../../b}}",
            "metadata.name",
        ),
        (
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a, labels: {kubernetes.io/service-name: a}}, addressType: IPv4, endpoints: [{addresses: ['::1']}]}",
            "endpoints[0].addresses[0]",
        ),
        (
            "{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: a}, spec: {cidrs: [10.0.0.0/32]}}",
            "spec.cidrs[0]",
        ),
    ] {
        let resource = read(manifest).pop().expect("an object");
        let errors = registry.apply(resource, k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
        let errors = errors.expect_err(manifest);
        assert!(
            errors.iter().any(|error| error.field == field),
            "{manifest}: {errors:?}"
        );
    }
    assert_eq!(registry.objects().count(), 0);
}
