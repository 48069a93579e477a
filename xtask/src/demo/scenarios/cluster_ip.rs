//! Scenario 1: every client reaches every ready pod, and each pod as often as the others.

use anyhow::Result;

use super::{ALL, Stage};
use crate::demo::client::Answer;
use crate::demo::show::{Expected, Trial};

pub(super) fn show(stage: &mut Stage<'_>) -> Result<()> {
    stage.show.scenario(
        "1  ClusterIP: myapp-clusterip, port 80; myapp-named, port 8080 -> targetPort \"web\"",
    );
    every_client(stage)?;
    named_port(stage)
}

fn every_client(stage: &mut Stage<'_>) -> Result<()> {
    let Stage { cluster, show, .. } = stage;
    let (node_1, node_2) = cluster.nodes();
    let (ipv4, ipv6) = ("10.96.0.10:80", "[fd00:96::10]:80");
    for (address, requests) in [(ipv4, 1500), (ipv6, 600)] {
        for client in [&node_1.client, &node_2.client] {
            show.trial(&Trial::new(
                client,
                address,
                requests,
                Expected::Evenly(&ALL),
            ))?;
        }
    }
    show.trial(&Trial::new(&node_1.place, ipv4, 60, Expected::AllOf(&ALL)))?;
    show.trial(&Trial::new(&node_2.place, ipv6, 60, Expected::AllOf(&ALL)))?;
    show.say("a pod that is its own Service's client reaches itself, too (hairpin)");
    let pod = node_1.pod("web-1")?;
    show.trial(&Trial::new(pod, ipv4, 60, Expected::AllOf(&ALL)))?;
    show.trial(&Trial::new(pod, ipv6, 60, Expected::AllOf(&ALL)))?;
    Ok(())
}

/// A port by name may have another number in each slice.
fn named_port(stage: &mut Stage<'_>) -> Result<()> {
    let Stage { cluster, show, .. } = stage;
    let (node_1, node_2) = cluster.nodes();
    show.say("the pods of node-1 have their port \"web\" at 8081, that of node-2 at 8082");
    let (ipv4, ipv6) = ("10.96.0.11:8080", "[fd00:96::11]:8080");
    for (client, address) in [(&node_1.client, ipv4), (&node_2.client, ipv6)] {
        let answers = show.trial(&Trial::new(client, address, 60, Expected::AllOf(&ALL)))?;
        let right = |answer: &Answer| match answer.node.as_str() {
            "node-1" => answer.port == 8081,
            _ => answer.port == 8082,
        };
        let judged = if answers.given.iter().all(right) {
            Ok("each pod at its own number".to_owned())
        } else {
            Err("a pod was asked at another's number".to_owned())
        };
        show.row(&client.name, address, "node-1: 8081  node-2: 8082", judged);
    }
    Ok(())
}
