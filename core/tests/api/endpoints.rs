//! Slices as they follow from Pods, and the older Endpoints beside them.

use super::{apply, reference, settings};
use portolan::api::{EndpointController, Registry, SliceChange};
use portolan::k8s::{Resource, ResourceKind};
use portolan::model::ObjectKey;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn pod(name: &str, app: &str, ready: bool, number: u8) -> Resource {
    let ready = if ready { "True" } else { "False" };
    let yaml = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {app}}}}}, spec: {{nodeName: n1, containers: [{{name: c, ports: [{{name: http, containerPort: {port}}}]}}]}}, status: {{podIP: 10.0.0.{number}, conditions: [{{type: Ready, status: '{ready}'}}]}}}}",
        port = 8080 + u16::from(number % 2),
    );
    super::read(&yaml).pop().expect("a pod")
}

#[test]
fn endpoints_of_the_older_kind_tell_the_same() {
    let mut registry = Registry::new(settings());
    let _ = apply(
        &mut registry,
        "{apiVersion: v1, kind: Node, metadata: {name: n1}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, labels: {team: blue}}, spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}}",
    );
    for (name, ready, number) in [("a", true, 2), ("b", false, 4), ("c", true, 3)] {
        let applied = registry.apply(pod(name, "web", ready, number), Default::default());
        applied.expect("a sound pod");
    }
    registry.take_changes();
    let endpoints = registry
        .endpoints(&ObjectKey::new("default", "web"))
        .expect("made");
    let subsets = endpoints.subsets.expect("subsets");
    let ips = |list: &Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| {
        list.iter()
            .flatten()
            .map(|it| it.ip.clone())
            .collect::<Vec<_>>()
    };
    let told: Vec<_> = subsets
        .iter()
        .map(|it| {
            let ports = it.ports.as_ref().expect("ports");
            (
                ports[0].port,
                ips(&it.addresses),
                ips(&it.not_ready_addresses),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                8080,
                vec!["10.0.0.2".to_owned()],
                vec!["10.0.0.4".to_owned()]
            ),
            (8081, vec!["10.0.0.3".to_owned()], vec![]),
        ]
    );
    assert_eq!(endpoints.metadata.labels.expect("labels")["team"], "blue");
}

#[test]
fn only_slices_that_changed_are_told() {
    let mut controller = EndpointController::new(2);
    let objects = super::read(
        "{apiVersion: v1, kind: Node, metadata: {name: n1}}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80}]}}",
    );
    for object in &objects {
        set(&mut controller, object);
    }
    for number in 1..=6 {
        set(
            &mut controller,
            &pod(&format!("p{number}"), "web", true, number),
        );
    }
    assert_eq!(controller.reconcile().len(), 3);
    assert_eq!(controller.reconcile(), []);
    set(&mut controller, &pod("p3", "web", false, 3));
    let changes = controller.reconcile();
    assert!(
        matches!(changes.as_slice(), [SliceChange::Apply(_)]),
        "{changes:?}"
    );
    set(&mut controller, &pod("p3", "web", false, 3));
    assert_eq!(controller.reconcile(), [], "nothing has changed");
}

#[test]
fn a_slice_of_somebody_elses_keeps_its_name() {
    let mut registry = Registry::new(settings());
    let foreign = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, labels: {kubernetes.io/service-name: other}}, addressType: IPv4, endpoints: []}";
    apply(&mut registry, foreign).expect("sound");
    let web = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}";
    apply(&mut registry, web).expect("sound");
    registry.take_changes();
    let made: Vec<_> = registry
        .slices()
        .filter_map(|it| it.metadata.name)
        .collect();
    assert_eq!(made, ["web-2"]);
    let taken = foreign.replace("web-1", "web-2");
    let errors = apply(&mut registry, &taken).expect_err("a name that is used");
    assert_eq!(errors[0].field, "metadata.name");
    assert!(
        registry
            .object(&reference(ResourceKind::EndpointSlice, "web-1"))
            .is_some()
    );
}

fn set(controller: &mut EndpointController, object: &Resource) {
    let key = object.reference().key;
    if let Resource::Pod(pod) = object {
        controller.set_pod(&key, Some(pod));
    }
    if let Resource::Node(node) = object {
        controller.set_node(&key.name, Some(node));
    }
    if let Resource::Service(service) = object {
        controller.set_service(&key, Some(service));
    }
}

/// What happens to the objects, one thing at a time.
#[derive(Debug, Clone)]
enum Event {
    Pod(u8, u8, bool),
    NoPod(u8),
    Service(u8, u8, bool),
    NoService(u8),
    Node(bool),
    Reconcile,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..12_u8, 0..3_u8, any::<bool>()).prop_map(|(n, app, ready)| Event::Pod(n, app, ready)),
        3 => (0..12_u8).prop_map(Event::NoPod),
        2 => (0..3_u8, 0..3_u8, any::<bool>()).prop_map(|(n, app, named)| Event::Service(n, app, named)),
        1 => (0..3_u8).prop_map(Event::NoService),
        1 => any::<bool>().prop_map(Event::Node),
        4 => Just(Event::Reconcile),
    ]
}

fn service(number: u8, app: u8, named: bool) -> Resource {
    let target = if named { "http" } else { "9090" };
    let yaml = format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: s{number}}}, spec: {{clusterIP: 10.96.0.1, selector: {{app: a{app}}}, ports: [{{port: 80, targetPort: {target}}}]}}}}"
    );
    super::read(&yaml).pop().expect("a service")
}

/// Every endpoint by Service and ports, however packed.
fn told(controller: &EndpointController) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for slice in controller.slices() {
        let service = slice.metadata.labels.expect("labels")["kubernetes.io/service-name"].clone();
        let endpoints = slice.endpoints.unwrap_or_default();
        if endpoints.is_empty() {
            told.insert(format!("{service} nothing"));
        }
        for endpoint in endpoints {
            told.insert(format!("{service} {:?} {endpoint:?}", slice.ports));
        }
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However the objects came about, the endpoints are those of the objects that there are; no slice holds more
    /// than its limit; and whoever followed the changes has the same slices.
    #[test]
    fn changes_one_by_one_amount_to_the_whole(events in prop::collection::vec(event(), 1..60)) {
        let node = super::read("{apiVersion: v1, kind: Node, metadata: {name: n1}}").pop().expect("a node");
        let mut controller = EndpointController::new(2);
        let mut objects: BTreeMap<_, Resource> = BTreeMap::new();
        let mut followed = BTreeMap::new();
        for event in events.into_iter().chain([Event::Reconcile]) {
            let (kind, name, object) = match event {
                Event::Pod(n, app, ready) => {
                    (ResourceKind::Pod, format!("p{n}"), Some(pod(&format!("p{n}"), &format!("a{app}"), ready, n + 1)))
                }
                Event::NoPod(n) => (ResourceKind::Pod, format!("p{n}"), None),
                Event::Service(n, app, named) => (ResourceKind::Service, format!("s{n}"), Some(service(n, app, named))),
                Event::NoService(n) => (ResourceKind::Service, format!("s{n}"), None),
                Event::Node(there) => (ResourceKind::Node, "n1".to_owned(), there.then(|| node.clone())),
                Event::Reconcile => {
                    for change in controller.reconcile() {
                        match change {
                            SliceChange::Apply(slice) => {
                                prop_assert!(slice.endpoints.as_ref().map_or(0, Vec::len) <= 2);
                                followed.insert(slice.metadata.name.clone().unwrap_or_default(), slice);
                            }
                            SliceChange::Delete(key) => {
                                prop_assert!(followed.remove(&key.name).is_some(), "{key} was never told");
                            }
                        }
                    }
                    continue;
                }
            };
            let key = portolan::k8s::ResourceRef::new(kind, "default", &name).key;
            match (&object, kind) {
                (Some(object), _) => set(&mut controller, object),
                (None, ResourceKind::Pod) => controller.set_pod(&key, None),
                (None, ResourceKind::Node) => controller.set_node("n1", None),
                (None, _) => controller.set_service(&key, None),
            }
            match object {
                Some(object) => drop(objects.insert((kind, name), object)),
                None => drop(objects.remove(&(kind, name))),
            }
        }
        let mut whole = EndpointController::new(2);
        for object in objects.values() {
            set(&mut whole, object);
        }
        whole.reconcile();
        prop_assert_eq!(told(&controller), told(&whole));
        let now: Vec<_> = controller.slices().collect();
        let mut known: Vec<_> = followed.into_values().collect();
        known.sort_by_key(|it| it.metadata.name.clone());
        let mut now = now;
        now.sort_by_key(|it| it.metadata.name.clone());
        prop_assert_eq!(now, known);
    }
}
