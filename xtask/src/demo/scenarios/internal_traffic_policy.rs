//! Scenario 2: `Local` keeps to the node's own pods; where there is none, packets vanish, and
//! `portolan explain` says why.

use anyhow::Result;

use super::{Stage, until_settled};
use crate::demo::show::{Expected, Trial};

const MANIFEST: &str = "internal-traffic-policy.yaml";
const PODS: [&str; 2] = ["web-1", "web-2"];

pub(super) fn show(stage: &mut Stage<'_>) -> Result<()> {
    let Stage {
        cluster,
        objects,
        show,
        ..
    } = stage;
    let (node_1, node_2) = cluster.nodes();
    show.scenario("2  internalTrafficPolicy: rs-me-exists-demo, whose two pods are on node-1");
    show.say("Cluster: both nodes' clients are served");
    for client in [&node_1.client, &node_2.client] {
        show.trial(&Trial::new(
            client,
            "10.96.0.20:80",
            60,
            Expected::Evenly(&PODS),
        ))?;
    }
    show.trial(&Trial::new(
        &node_2.client,
        "[fd00:96::20]:80",
        60,
        Expected::Evenly(&PODS),
    ))?;

    objects.edit(
        MANIFEST,
        "internalTrafficPolicy: Cluster",
        "internalTrafficPolicy: Local",
    )?;
    until_settled(
        "internalTrafficPolicy: Local",
        &node_2.client,
        "10.96.0.20:80",
        |answers| answers.given.is_empty(),
    )?;
    show.say("edited to Local: node-1 serves from its own pods, node-2 has none");
    show.trial(&Trial::new(
        &node_1.client,
        "10.96.0.20:80",
        60,
        Expected::Evenly(&PODS),
    ))?;
    show.trial(&Trial::new(
        &node_2.client,
        "10.96.0.20:80",
        1,
        Expected::Silence,
    ))?;
    show.trial(&Trial::new(
        &node_2.client,
        "[fd00:96::20]:80",
        1,
        Expected::Silence,
    ))?;
    explain(stage)
}

/// Asks node-2's own Portolan about the packet that vanished.
fn explain(stage: &mut Stage<'_>) -> Result<()> {
    let Stage {
        cluster,
        portolan,
        show,
        ..
    } = stage;
    let (_, node_2) = cluster.nodes();
    let (from, to) = ("10.244.2.101", "10.96.0.20:80");
    show.say(&format!(
        "why? on node-2: portolan explain --src {from} --dst {to}"
    ));
    let why = portolan.ask(node_2, &["explain", "--src", from, "--dst", to])?;
    why.lines()
        .for_each(|line| show.say(&format!("  | {line}")));
    let judged = if why.contains("internalTrafficPolicy") {
        Ok("it names the policy".to_owned())
    } else {
        Err("the policy is not named".to_owned())
    };
    show.row("portolan explain", to, "", judged);
    show.say("and how often? on node-2: portolan get stats");
    let stats = portolan.ask(node_2, &["get", "stats"])?;
    let counted = |line: &&str| line.contains("no_local_endpoint{default/rs-me-exists-demo");
    let rows: Vec<_> = stats.lines().filter(counted).collect();
    rows.iter()
        .for_each(|line| show.say(&format!("  | {line}")));
    let judged = if rows.is_empty() {
        Err("the drops are not counted".to_owned())
    } else {
        Ok("counted by Service and reason".to_owned())
    };
    show.row("portolan get stats", "", "", judged);
    Ok(())
}
