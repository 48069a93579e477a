//! Scenario 5, the nodes' part: traffic to the load balancer's address is served on whichever node
//! it reaches; `externalTrafficPolicy: Local` keeps the client's address.

use anyhow::Result;

use super::{ALL, Stage, until_settled};
use crate::demo::show::{Expected, Trial};

const MANIFEST: &str = "load-balancer.yaml";
const ADDRESS: &str = "198.51.100.80";
const CLIENT: &str = "203.0.113.10";

pub(super) fn show(stage: &mut Stage<'_>) -> Result<()> {
    let Stage {
        cluster,
        objects,
        show,
        ..
    } = stage;
    let router = &cluster.router.namespace;
    let outside = &cluster.outside;
    let to = "198.51.100.80:80";
    let from = Trial {
        source: Some(CLIENT),
        ..Trial::new(outside, to, 90, Expected::AllOf(&ALL))
    };
    show.scenario(
        "5  LoadBalancer: myapp-loadbalancer, 198.51.100.80, spread over both nodes by the router",
    );
    router.ip(&format!(
        "route add {ADDRESS} nexthop via 192.168.10.11 nexthop via 192.168.10.12\n"
    ))?;
    show.trial(&from)?;
    router.ip(&format!("route replace {ADDRESS} via 192.168.10.12\n"))?;
    show.say("node-1 gone from the router: node-2 serves on");
    show.trial(&from.seen_as("192.168.10.12"))?;

    objects.edit(
        MANIFEST,
        "externalTrafficPolicy: Cluster",
        "externalTrafficPolicy: Local",
    )?;
    until_settled("externalTrafficPolicy: Local", outside, to, |answers| {
        answers.given.iter().all(|answer| answer.node == "node-2")
    })?;
    show.say(
        "edited to externalTrafficPolicy: Local: the node's own pods, and they see the client",
    );
    show.trial(
        &Trial {
            expected: Expected::AllOf(&["web-3"]),
            ..from
        }
        .seen_as(CLIENT),
    )?;
    router.ip(&format!("route replace {ADDRESS} via 192.168.10.11\n"))?;
    until_settled("the same on node-1", outside, to, |answers| {
        answers.given.iter().all(|answer| answer.node == "node-1")
    })?;
    let on_node_1 = Expected::Evenly(&["web-1", "web-2"]);
    show.trial(
        &Trial {
            expected: on_node_1,
            ..from
        }
        .seen_as(CLIENT),
    )?;
    Ok(())
}
