//! Scenario 10: live edits, on a host without a cluster. It allocates, judges and makes endpoints itself; what scenarios 1, 4 and 7
//! show of a cluster's Services holds here too, and an edit that is refused changes nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{EDIT_LIMIT, Stage};
use crate::demo::client;
use crate::demo::cluster::{Edge, Host, Node};
use crate::demo::portolan::Portolan;
use crate::demo::show::{Expected, Judged, Show, Trial};
use crate::process;

/// Every pod of the host.
const BOTH: [&str; 2] = ["edge-1", "edge-2"];
const HOST: Host<'static> = (3, &[("edge-1", 11), ("edge-2", 12)]);

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: edge}
spec: {selector: {app: edge}, ports: [{port: 80, targetPort: web}]}
";

pub(super) fn show(stage: &mut Stage<'_>) -> Result<()> {
    let Stage {
        cluster,
        objects,
        portolan,
        show,
    } = stage;
    show.scenario(
        "10 Editing live, on a host without a cluster: `portolan run --store`, a Service without an address",
    );
    let store = objects.directory().with_file_name("store");
    fs::create_dir_all(&store)?;
    let mut edge = cluster.edge(HOST, |node| portolan.run_store(node, objects, &store))?;
    allocated(portolan, &edge, show)?;
    node_ports(portolan, &edge, &cluster.outside, show)?;
    readiness(portolan, &edge, show)?;
    edits(portolan, &edge, show, &store.with_file_name("held.log"))?;
    edge.check()
}

/// A Pod of the host, ready or not.
fn pod(name: &str, last: u8, ready: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: edge}}}}
spec: {{nodeName: node-3, containers: [{{name: main, ports: [{{name: web, containerPort: 8081}}]}}]}}
status: {{phase: Running, podIP: 10.244.3.{last}, conditions: [{{type: Ready, status: '{ready}'}}]}}
"
    )
}

/// Applies a manifest, which must be accepted.
fn apply(portolan: &Portolan, node: &Node, manifest: &str) -> Result<()> {
    let said = portolan.tell(node, &["apply", "-f", "-"], manifest)?;
    ensure!(said.status.success(), "apply: {}", said.stderr);
    Ok(())
}

/// A Service as the host keeps it.
fn service(portolan: &Portolan, node: &Node, name: &str) -> Result<Value> {
    let said = portolan.ask(node, &["get", "services", name, "-o", "json"])?;
    serde_json::from_str(&said).context("reading a Service")
}

fn door(service: &Value) -> Result<String> {
    let address = service["spec"]["clusterIP"]
        .as_str()
        .context("no address")?;
    let port = &service["spec"]["ports"][0]["port"];
    Ok(format!("{address}:{port}"))
}

/// Scenario 1, with an address that nobody chose.
fn allocated(portolan: &Portolan, edge: &Edge, show: &mut Show) -> Result<()> {
    let node = &edge.node;
    let pods = [pod("edge-1", 11, "True"), pod("edge-2", 12, "True")].concat();
    apply(portolan, node, &format!("{SERVICE}{pods}"))?;
    let door = door(&service(portolan, node, "edge")?)?;
    for place in [&node.client, &node.place] {
        show.trial(&Trial::new(place, &door, 300, Expected::Evenly(&BOTH)))?;
    }
    apply(portolan, node, SERVICE)?;
    let again = self::door(&service(portolan, node, "edge")?)?;
    let judged = if again == door {
        Ok("applied again, the address stays".to_owned())
    } else {
        Err(format!("it has become {again}"))
    };
    show.row(&node.place.name, &door, "", judged);
    Ok(())
}

/// Scenario 4: a port is given, or refused with the reason.
fn node_ports(
    portolan: &Portolan,
    edge: &Edge,
    outside: &crate::demo::cluster::Place,
    show: &mut Show,
) -> Result<()> {
    let node = &edge.node;
    let named = |name: &str, node_port: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{type: NodePort, \
             selector: {{app: edge}}, ports: [{{port: 80, targetPort: 8081{node_port}}}]}}}}"
        )
    };
    apply(portolan, node, &named("any-port", ""))?;
    let given = service(portolan, node, "any-port")?["spec"]["ports"][0]["nodePort"].clone();
    let given = given.as_u64().context("no node port")?;
    ensure!(
        (30_000..=32_767).contains(&given),
        "{given} is out of range"
    );
    let door = format!("{}:{given}", node.addresses.ipv4);
    show.trial(&Trial::new(outside, &door, 150, Expected::Evenly(&BOTH)))?;
    let refusals = [
        (
            named("low", ", nodePort: 80"),
            "The range of valid ports is 30000-32767",
        ),
        (
            named("second", &format!(", nodePort: {given}")),
            "Service default/any-port has it",
        ),
    ];
    for (manifest, reason) in refusals {
        let judged = refused(portolan, node, &manifest, reason)?;
        show.row(&node.place.name, "portolan apply", "a node port", judged);
    }
    Ok(())
}

/// Applies a manifest that must be refused for this reason.
fn refused(portolan: &Portolan, node: &Node, manifest: &str, reason: &str) -> Result<Judged> {
    let said = portolan.tell(node, &["apply", "-f", "-"], manifest)?;
    let right = !said.status.success() && said.stderr.contains(reason);
    Ok(if right {
        Ok(format!("refused: {reason}"))
    } else {
        Err(format!("{}{}", said.stdout, said.stderr))
    })
}

/// Scenario 7: endpoints follow readiness, the Service untouched.
fn readiness(portolan: &Portolan, edge: &Edge, show: &mut Show) -> Result<()> {
    let node = &edge.node;
    let door = door(&service(portolan, node, "edge")?)?;
    let (first, both) = (&BOTH[..1], &BOTH[..]);
    for (ready, endpoints, expected) in [
        ("False", "10.244.3.11:8081", first),
        ("True", "10.244.3.11:8081,10.244.3.12:8081", both),
    ] {
        show.say(&format!("edge-2 says Ready: {ready}"));
        apply(portolan, node, &pod("edge-2", 12, ready))?;
        let listed = portolan.ask(node, &["get", "endpoints", "edge"])?;
        let line = listed.lines().nth(1).unwrap_or_default();
        let judged = if line.split_whitespace().nth(1) == Some(endpoints) {
            Ok(endpoints.to_owned())
        } else {
            Err(line.to_owned())
        };
        show.row(&node.place.name, "get endpoints", "", judged);
        show.trial(&Trial::new(
            &node.client,
            &door,
            60,
            Expected::AllOf(expected),
        ))?;
    }
    Ok(())
}

/// An edit is judged first; a sound one takes effect at once.
fn edits(portolan: &Portolan, edge: &Edge, show: &mut Show, log: &Path) -> Result<()> {
    let node = &edge.node;
    let door = door(&service(portolan, node, "edge")?)?;
    let wrong = SERVICE.replace("port: 80,", "port: 80000,");
    let reason = "spec.ports[0].port: Invalid value: 80000";
    let judged = refused(portolan, node, &wrong, reason)?;
    show.row(&node.place.name, "portolan apply", "port 80000", judged);
    show.trial(&Trial::new(&node.client, &door, 60, Expected::AllOf(&BOTH)))?;
    show.say("the Service's port becomes 8080, while a connection to port 80 is held");
    let held = client::hold(&node.client, &format!("http://{door}"), 20, log)?;
    apply(portolan, node, &SERVICE.replace("port: 80,", "port: 8080,"))?;
    let moved = self::door(&service(portolan, node, "edge")?)?;
    process::until("the new port is served", EDIT_LIMIT, || {
        Ok(client::ask(&node.client, &format!("http://{moved}"), 1)?.unanswered() == 0)
    })?;
    show.trial(&Trial::new(
        &node.client,
        &moved,
        60,
        Expected::AllOf(&BOTH),
    ))?;
    show.held(&node.client, &door, held)
}
