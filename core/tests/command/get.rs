//! `portolan get`, from files.

use super::files::Files;
use super::run;

#[test]
fn services_are_listed_as_kubectl_lists_them() {
    let files = Files::new("get-services");
    let finished = run(&format!("get services -A {}", files.arguments()));
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert_eq!(
        finished.stdout,
        "\
NAMESPACE     NAME   TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)        AGE
kube-system   dns    ClusterIP   10.43.0.53   <none>        53/UDP         <unknown>
store         shop   NodePort    10.43.0.10   <none>        80:31080/TCP   <unknown>
"
    );
}

#[test]
fn endpoints_are_listed_as_kubectl_lists_them() {
    let files = Files::new("get-endpoints");
    let finished = run(&format!("get endpoints -n store {}", files.arguments()));
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert_eq!(
        finished.stdout,
        "\
NAME   ENDPOINTS                                                        AGE
shop   10.244.2.21:8080,10.244.2.22:8080,10.244.3.23:8080 + 1 more...   <unknown>
"
    );
}

#[test]
fn an_empty_namespace_is_said_on_stderr() {
    let files = Files::new("get-nothing");
    let finished = run(&format!("get services {}", files.arguments()));
    assert_eq!((finished.status, finished.stdout.as_str()), (0, ""));
    assert_eq!(
        finished.stderr,
        "No resources found in default namespace.\n"
    );
}

#[test]
fn json_holds_what_the_table_leaves_out() {
    let files = Files::new("get-json");
    let finished = run(&format!(
        "get endpoints shop -n store --json {}",
        files.arguments()
    ));
    let rows: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(rows[0]["name"], "shop");
    assert_eq!(rows[0]["endpoints"].as_array().map(Vec::len), Some(4));
}

#[test]
fn a_bad_object_is_named_with_field_and_rule_and_everything_else_is_listed() {
    let files = Files::new("get-bad-objects");
    files.write(
        "objects/bad.yaml",
        "
apiVersion: v1
kind: Service
metadata: {namespace: store, name: bad}
spec: {clusterIP: 10.43.0.300, clusterIPs: [10.43.0.300], ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: store, name: half}
spec: {clusterIP: 10.43.0.31, clusterIPs: [10.43.0.31], ports: [{name: a, port: 80}, {name: b, port: 70000}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: store, name: lost, labels: {kubernetes.io/service-name: nobody}}
addressType: IPv4
ports: [{name: '', port: 80}]
endpoints: [{addresses: [10.244.1.1]}]
",
    );
    let finished = run(&format!("get services -n store {}", files.arguments()));
    assert_eq!(finished.status, 0);
    for said in [
        "Service store/bad: spec.clusterIPs[0]",
        "Service store/half: spec.ports[1].port: 70000",
        "EndpointSlice store/lost: metadata.labels[kubernetes.io/service-name]",
    ] {
        assert!(
            finished.stderr.contains(said),
            "{said} is not in:\n{}",
            finished.stderr
        );
    }
    for served in ["shop", "half"] {
        assert!(finished.stdout.contains(served), "{}", finished.stdout);
    }
}

#[test]
fn connections_are_a_running_processes() {
    let files = Files::new("get-connections");
    let finished = run(&format!("get connections {}", files.arguments()));
    assert_eq!((finished.status, finished.stdout.as_str()), (2, ""));
    assert!(
        finished.stderr.contains("running portolan"),
        "{}",
        finished.stderr
    );
    let socket = files.path("nobody.sock");
    let finished = run(&format!("get connections --control {}", socket.display()));
    assert_eq!(finished.status, 2);
    assert!(
        finished.stderr.contains("nobody.sock"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_wrong_node_description_names_its_field() {
    let files = Files::new("get-wrong-node");
    files.write(
        "node.yaml",
        "nodeName: alpha\nclusterCIDRs: [10.244.0.0/40]\n",
    );
    let finished = run(&format!("get services {}", files.arguments()));
    assert_eq!((finished.status, finished.stdout.as_str()), (2, ""));
    assert!(
        finished.stderr.contains("clusterCIDRs[0]"),
        "{}",
        finished.stderr
    );
}
