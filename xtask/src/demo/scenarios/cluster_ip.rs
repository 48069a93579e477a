//! Scenario 1: every client reaches every ready pod, and each pod as often as the others.

use anyhow::Result;

use super::{ALL, Stage};
use crate::demo::show::{Expected, Trial};

pub(super) fn show(stage: &mut Stage<'_>) -> Result<()> {
    let Stage { cluster, show, .. } = stage;
    show.scenario(
        "1  ClusterIP: myapp-clusterip, port 80; myapp-named, port 8080 -> targetPort \"web\"",
    );
    let (node_1, node_2) = cluster.nodes();
    for (client, requests) in [(&node_1.client, 1500), (&node_2.client, 1500)] {
        show.trial(&Trial::new(
            client,
            "10.96.0.10:80",
            requests,
            Expected::Evenly(&ALL),
        ))?;
    }
    show.trial(&Trial::new(
        &node_1.client,
        "[fd00:96::10]:80",
        600,
        Expected::Evenly(&ALL),
    ))?;
    show.trial(&Trial::new(
        &node_2.client,
        "[fd00:96::10]:80",
        600,
        Expected::Evenly(&ALL),
    ))?;
    show.trial(&Trial::new(
        &node_1.place,
        "10.96.0.10:80",
        60,
        Expected::AllOf(&ALL),
    ))?;
    show.trial(&Trial::new(
        &node_2.place,
        "[fd00:96::10]:80",
        60,
        Expected::AllOf(&ALL),
    ))?;
    show.say("a pod that is its own Service's client reaches itself, too (hairpin)");
    show.trial(&Trial::new(
        node_1.pod("web-1")?,
        "10.96.0.10:80",
        60,
        Expected::AllOf(&ALL),
    ))?;
    show.say(
        "a named targetPort may have another number in each slice: 8081 on node-1, 8082 on node-2",
    );
    let answers = show.trial(&Trial::new(
        &node_1.client,
        "10.96.0.11:8080",
        60,
        Expected::AllOf(&ALL),
    ))?;
    let ports = answers
        .given
        .iter()
        .all(|answer| answer.port == if answer.node == "node-1" { 8081 } else { 8082 });
    let judged = if ports {
        Ok("every pod was asked at its own number".to_owned())
    } else {
        Err("a pod was asked at another's number".to_owned())
    };
    show.row(
        "client-1",
        "10.96.0.11:8080",
        "node-1: 8081  node-2: 8082",
        judged,
    );
    show.trial(&Trial::new(
        &node_2.client,
        "[fd00:96::11]:8080",
        60,
        Expected::AllOf(&ALL),
    ))?;
    Ok(())
}
