//! Annotations that say how endpoints are chosen.

use portolan::k8s::{Decoded, decode, decode_node_config};
use portolan::model::{Object, Weights};
use portolan::net::Scheduler;

fn service(annotations: &str) -> Decoded {
    let text = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: web, annotations: {{{annotations}}}}}
spec: {{clusterIP: 10.96.0.80, ports: [{{port: 80}}]}}
"
    );
    decode(text.as_bytes(), "web.yaml")
}

fn fields(decoded: &Decoded) -> Vec<&str> {
    let rejections = decoded.rejections.iter();
    rejections
        .map(|rejection| rejection.field.as_str())
        .collect()
}

#[test]
fn a_service_names_its_scheduler_slow_start_and_weights() {
    let decoded = service(
        "portolan/scheduler: wlc, portolan/slow-start: 1m30s, portolan/weight: '2, 10.200.1.7=5, fd20::7 = 0'",
    );
    assert_eq!(fields(&decoded), Vec::<&str>::new());
    let [Object::Service(web)] = decoded.objects.as_slice() else {
        panic!("{decoded:?}")
    };
    assert_eq!(
        web.scheduling.scheduler,
        Some(Scheduler::WeightedLeastConnection)
    );
    assert_eq!(web.scheduling.slow_start_seconds, Some(90));
    let weight = |address: &str| web.weights.of(address.parse().expect("an address"));
    assert_eq!(weight("10.200.1.7"), Some(5));
    assert_eq!(weight("fd20::7"), Some(0));
    assert_eq!(weight("10.200.1.8"), Some(2));
}

#[test]
fn what_is_wrong_in_an_annotation_is_left_to_the_node_and_named() {
    for (annotation, field) in [
        (
            "portolan/scheduler: fastest",
            "metadata.annotations[portolan/scheduler]",
        ),
        (
            "portolan/slow-start: soon",
            "metadata.annotations[portolan/slow-start]",
        ),
        (
            "portolan/slow-start: 30h",
            "metadata.annotations[portolan/slow-start]",
        ),
        (
            "portolan/weight: '65536'",
            "metadata.annotations[portolan/weight]",
        ),
        (
            "portolan/weight: '-1'",
            "metadata.annotations[portolan/weight]",
        ),
        (
            "portolan/weight: 'web-1=3'",
            "metadata.annotations[portolan/weight]",
        ),
        (
            "portolan/weight: ''",
            "metadata.annotations[portolan/weight]",
        ),
    ] {
        let decoded = service(annotation);
        assert_eq!(fields(&decoded), [field], "{annotation}");
        let [Object::Service(web)] = decoded.objects.as_slice() else {
            panic!("the Service is served all the same: {annotation}")
        };
        assert_eq!(web.scheduling, portolan::model::Scheduling::default());
        assert_eq!(web.weights, Weights::default());
    }
}

#[test]
fn a_slice_and_endpoints_have_weights_too() {
    let text = br#"
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}, annotations: {portolan/weight: "7"}}
addressType: IPv4
endpoints: [{addresses: [10.200.1.7]}]
ports: [{port: 8080}]
---
apiVersion: v1
kind: Endpoints
metadata: {name: old, annotations: {portolan/weight: "10.200.1.7=0"}}
subsets: [{addresses: [{ip: 10.200.1.7}], ports: [{port: 8080}]}]
"#;
    let decoded = decode(text, "slices.yaml");
    assert_eq!(fields(&decoded), Vec::<&str>::new());
    let address = "10.200.1.7".parse().expect("an address");
    let weights = decoded.objects.iter().map(|object| match object {
        Object::EndpointSlice(slice) => slice.weights.of(address),
        Object::Endpoints(endpoints) => endpoints.slices[0].weights.of(address),
        Object::Service(_) | Object::Node(_) | Object::Namespace(_) => panic!("{object:?}"),
        _ => panic!("a kind of its own: {object:?}"),
    });
    assert_eq!(weights.collect::<Vec<_>>(), [Some(7), Some(0)]);
}

#[test]
fn the_nodes_description_says_what_services_do_not() {
    let config = decode_node_config(
        b"{nodeName: n1, scheduler: mh, slowStart: 10s, maglevSeed: 42}",
        "node.yaml",
    )
    .expect("sound");
    assert_eq!(config.schedule.scheduler, Scheduler::Maglev);
    assert_eq!(
        (config.schedule.slow_start_seconds, config.schedule.seed),
        (10, 42)
    );
    for (text, field) in [
        ("{nodeName: n1, scheduler: best}", "scheduler"),
        ("{nodeName: n1, slowStart: later}", "slowStart"),
        ("{nodeName: n1, maglevSeed: -1}", "maglevSeed"),
    ] {
        let errors = decode_node_config(text.as_bytes(), "node.yaml").expect_err(text);
        assert_eq!(errors[0].field, field);
    }
}
