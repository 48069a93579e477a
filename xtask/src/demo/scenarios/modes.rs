//! Scenario 9: the proxy mode is what `KubeProxyConfiguration` says, and changes while connections are held.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{EDIT_LIMIT, Stage};
use crate::demo::client::{self, Answers};
use crate::demo::cluster::{Edge, Host, Node};
use crate::demo::portolan::Portolan;
use crate::demo::routing;
use crate::demo::show::{Expected, Judged, Show, Trial};
use crate::process;

const BOTH: [&str; 2] = ["mode-1", "mode-2"];
const HOST: Host<'static> = (4, &[("mode-1", 11), ("mode-2", 12)]);
const DOOR: &str = "10.96.0.90:80";
const DOOR_IPV6: &str = "[fd00:96::90]:80";

const MANIFEST: &str = "
apiVersion: v1
kind: Service
metadata: {namespace: default, name: modes}
spec: {clusterIP: 10.96.0.90, clusterIPs: [10.96.0.90, 'fd00:96::90'], ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: modes-4, labels: {kubernetes.io/service-name: modes}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints: [{addresses: [10.244.4.11], nodeName: node-4}, {addresses: [10.244.4.12], nodeName: node-4}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: modes-6, labels: {kubernetes.io/service-name: modes}}
addressType: IPv6
ports: [{name: http, port: 80}]
endpoints: [{addresses: ['fd00:244:4::11'], nodeName: node-4}, {addresses: ['fd00:244:4::12'], nodeName: node-4}]
";

pub(super) fn show(stage: &mut Stage<'_>) -> Result<()> {
    let Stage {
        cluster,
        objects,
        portolan,
        show,
    } = stage;
    show.scenario("9  Proxy mode: a KubeProxyConfiguration, edited while connections are held");
    let directory = objects.directory().with_file_name("modes");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("modes.yaml"), MANIFEST)?;
    let config = objects.directory().with_file_name("kube-proxy.yaml");
    write(&config, "mode: ipvs\nipvs: {scheduler: rr}\n")?;
    let mut edge = cluster.edge(HOST, |node| {
        let mut command = portolan.run_by(node, &objects.describe(node)?, &directory);
        command.arg("--config").arg(&config);
        Ok(command)
    })?;
    let node = &edge.node;
    routing::share_with_kernel(&node.place.namespace)?;

    show.say("mode: ipvs, ipvs.scheduler: rr: the userspace dataplane, each pod in its turn");
    in_turns(show, node)?;
    let url = format!("http://{DOOR}");
    let log = |name: &str| directory.with_file_name(name);
    let before = client::hold(&node.client, &url, 40, &log("held-before.log"))?;

    switch(&config, "mode: nftables\n", node, true)?;
    show.say("edited to mode: nftables: new connections are the kernel's");
    from_both(show, &edge, [DOOR, DOOR_IPV6])?;
    let between = client::hold(&node.client, &url, 25, &log("held-between.log"))?;

    switch(&config, "mode: ipvs\nipvs: {scheduler: mh}\n", node, false)?;
    show.say("and to mode: ipvs, ipvs.scheduler: mh: in userspace again, by another scheduler");
    // First where the kernel has just ended a thousand: no answer may be taken for theirs.
    from_both(show, &edge, [DOOR_IPV6, DOOR])?;
    let judged = scheduler_is(portolan, node, "mh")?;
    show.row(&node.place.name, "portolan explain", "", judged);
    show.say("the connections that were opened before and between");
    show.held(&node.client, DOOR, before)?;
    show.held(&node.client, DOOR, between)?;

    show.say("a field that is wrong changes nothing");
    write(&config, "mode: iptable\n")?;
    show.trial(&Trial::new(
        &edge.node.client,
        DOOR,
        60,
        Expected::AllOf(&BOTH),
    ))?;
    edge.check()
}

fn write(config: &Path, fields: &str) -> Result<()> {
    let text = format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n{fields}"
    );
    let draft = config.with_extension("draft");
    fs::write(&draft, text)?;
    fs::rename(&draft, config).with_context(|| format!("writing {}", config.display()))
}

/// Edits the mode, and waits until the kernel's table knows the Service, or has let go of it.
fn switch(config: &Path, fields: &str, node: &Node, kernel: bool) -> Result<()> {
    write(config, fields)?;
    process::until("the mode changes", EDIT_LIMIT, || {
        let mut nft = node.place.namespace.command("nft");
        nft.args(["list", "table", "ip", "portolan"]);
        let listed = process::output(&mut nft, "", EDIT_LIMIT)?;
        Ok(listed.stdout.contains("10.96.0.90") == kernel)
    })
}

/// Round robin, and one client: no pod answers twice in a row.
fn in_turns(show: &mut Show, node: &Node) -> Result<()> {
    let trial = Trial::new(&node.client, DOOR, 60, Expected::AllOf(&BOTH));
    let answers: Answers = show.trial(&trial)?;
    let pods = answers.given.iter().map(|answer| &answer.pod);
    let twice = pods
        .clone()
        .zip(pods.skip(1))
        .any(|(one, next)| one == next);
    let judged = if twice {
        Err("a pod answered twice in a row".to_owned())
    } else {
        Ok("in turns".to_owned())
    };
    show.row(&node.client.name, DOOR, "", judged);
    Ok(())
}

/// A pod and the node ask, of whom the node is masqueraded: so often that the backends' source ports would meet.
fn from_both(show: &mut Show, edge: &Edge, doors: [&str; 2]) -> Result<()> {
    for to in doors {
        for (place, requests) in [(&edge.node.client, 60), (&edge.node.place, 1_000)] {
            show.trial(&Trial::new(place, to, requests, Expected::AllOf(&BOTH)))?;
        }
    }
    Ok(())
}

/// Does `portolan explain` name this scheduler?
fn scheduler_is(portolan: &Portolan, node: &Node, name: &str) -> Result<Judged> {
    let question = ["explain", "--src", "10.244.4.101", "--dst", DOOR];
    let text = portolan.ask(node, &question)?;
    let line = text.lines().find(|line| line.starts_with("scheduler"));
    let line = line.unwrap_or("no line says the scheduler");
    Ok(if line.contains(&format!("{name}:")) {
        Ok(line.to_owned())
    } else {
        Err(line.to_owned())
    })
}
