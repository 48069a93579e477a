//! Scenario 5, the balancers' part: two appliances before the nodes choose the same endpoint for the same connection
//! (Maglev), so that either may be lost without a connection.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use core::time::Duration;

use super::{ALL, Stage};
use crate::demo::client;
use crate::demo::cluster::{Cluster, Edge, Host, Node};
use crate::demo::portolan::Portolan;
use crate::demo::show::{Expected, Judged, Trial};
use crate::process;

const HOSTS: [Host<'static>; 2] = [(5, &[]), (6, &[])];
const ADDRESS: &str = "198.51.100.90";
const DOOR: &str = "198.51.100.90:80";
const CLIENT: &str = "203.0.113.10";
/// Connections that are held while an appliance is lost.
const HELD: u32 = 8;

const MANIFEST: &str = "
apiVersion: v1
kind: Service
metadata: {namespace: default, name: balanced}
spec:
  type: LoadBalancer
  clusterIP: 10.97.0.90
  clusterIPs: [10.97.0.90]
  externalTrafficPolicy: Local
  ports: [{name: http, port: 80}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.90}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: balanced-4, labels: {kubernetes.io/service-name: balanced}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints:
- {addresses: [10.244.1.11], nodeName: balancer}
- {addresses: [10.244.1.12], nodeName: balancer}
- {addresses: [10.244.2.11], nodeName: balancer}
";

pub(super) fn show(stage: &mut Stage<'_>) -> Result<()> {
    let Stage {
        cluster,
        objects,
        portolan,
        show,
    } = stage;
    show.say("two appliances before the nodes, scheduler mh, each given half of the connections");
    let directory = objects.directory().with_file_name("balanced");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("balanced.yaml"), MANIFEST)?;
    let appliance = |host| cluster.edge(host, |node| command(portolan, node, &directory));
    let [first, second] = HOSTS;
    let (mut first, mut second) = (appliance(first)?, appliance(second)?);
    share(cluster, &[&first, &second])?;

    let outside = &cluster.outside;
    let trial = Trial {
        source: Some(CLIENT),
        ..Trial::new(outside, DOOR, 90, Expected::AllOf(&ALL))
    };
    show.trial(&trial.seen_as(CLIENT))?;
    let judged = same_choices(portolan, &first.node, &second.node)?;
    show.row("both appliances", "portolan explain", "", judged);

    let hold = |number: u32| {
        let log = directory.with_file_name(format!("held-balanced-{number}.log"));
        client::hold(outside, &format!("http://{DOOR}"), 20, &log)
    };
    let held = (1..=HELD).map(hold).collect::<Result<Vec<_>>>()?;
    first.check()?;
    drop(first);
    route(cluster, &[&second, &second])?;
    show.say(
        "one appliance is lost, and its half given to the other, which has not seen it before",
    );
    for connection in held {
        show.held(outside, DOOR, connection)?;
    }
    show.trial(&trial.seen_as(CLIENT))?;
    second.check()
}

/// One appliance: the pods count as its own, so that clients' addresses are kept, and connections of the other one go
/// on here.
fn command(portolan: &Portolan, node: &Node, directory: &Path) -> Result<Command> {
    let description = directory
        .with_file_name(&node.place.name)
        .with_extension("yaml");
    let addresses = node.addresses;
    let text = format!(
        "nodeName: balancer\nips: ['{}', '{}']\nscheduler: mh\n",
        addresses.ipv4, addresses.ipv6
    );
    fs::write(&description, text).with_context(|| format!("writing {}", description.display()))?;
    let mut command = portolan.run_by(node, &description, directory);
    command.args(["--mid-stream", "pick-up"]);
    Ok(command)
}

/// The router gives each appliance half of the connections: of both directions, by the client's address and port.
fn share(cluster: &Cluster, appliances: &[&Edge; 2]) -> Result<()> {
    let router = &cluster.router.namespace;
    let ruleset = format!(
        "table ip balancers {{
            chain spread {{
                type filter hook prerouting priority mangle
                ip daddr {ADDRESS} meta mark set jhash ip saddr . tcp sport mod 2 seed 0x1 offset 201
                ip saddr 10.244.0.0/16 ip daddr 203.0.113.0/24 tcp sport 80 \
                    meta mark set jhash ip daddr . tcp dport mod 2 seed 0x1 offset 201
            }}
        }}"
    );
    let mut nft = router.command("nft");
    nft.args(["-f", "-"]);
    process::run(&mut nft, &ruleset, Duration::from_secs(20)).context("sharing connections")?;
    router.ip("rule add fwmark 201 lookup 201\nrule add fwmark 202 lookup 202\n")?;
    route(cluster, appliances)
}

/// Which appliance each half is given.
fn route(cluster: &Cluster, appliances: &[&Edge; 2]) -> Result<()> {
    let [first, second] = appliances.map(|appliance| appliance.node.addresses.ipv4);
    cluster.router.namespace.ip(&format!(
        "route replace default via {first} table 201\n\
         route replace default via {second} table 202\n\
         route replace {ADDRESS} via {second}\n"
    ))
}

/// Would both appliances send the same connections to the same endpoints?
fn same_choices(portolan: &Portolan, first: &Node, second: &Node) -> Result<Judged> {
    let mut chosen = std::collections::BTreeSet::new();
    for port in 40_001..=40_012 {
        let client = format!("{CLIENT}:{port}");
        let question = ["explain", "--json", "--src", &client, "--dst", DOOR];
        let choice = |node| -> Result<String> {
            let answer: serde_json::Value = serde_json::from_str(&portolan.ask(node, &question)?)?;
            Ok(answer["choice"].to_string())
        };
        let (one, other) = (choice(first)?, choice(second)?);
        if one != other {
            return Ok(Err(format!("{client}: {one} and {other}")));
        }
        chosen.insert(one);
    }
    Ok(Ok(format!(
        "of 12 connections each has one endpoint on both; {} endpoints in all",
        chosen.len()
    )))
}
