//! Scenario 4: a NodePort is open on every node's address, to everyone; and the Service is a
//! ClusterIP Service all the same.

use anyhow::Result;

use super::{ALL, Stage};
use crate::demo::show::{Expected, Trial};

pub(super) fn show(stage: &mut Stage<'_>) -> Result<()> {
    let Stage { cluster, show, .. } = stage;
    let (node_1, node_2) = cluster.nodes();
    show.scenario("4  NodePort: myapp-nodeport, nodePort 30010, on both nodes' addresses");
    let doors = ["192.168.10.11:30010", "192.168.10.12:30010"];
    let doors_ipv6 = ["[fd00:10::11]:30010", "[fd00:10::12]:30010"];
    let outside = &cluster.outside;
    let own = [
        node_1.addresses.ipv4.to_string(),
        node_2.addresses.ipv4.to_string(),
    ];
    for (door, node) in doors.into_iter().zip(&own) {
        let trial = Trial::new(outside, door, 300, Expected::Evenly(&ALL));
        // A pod of the node that was asked could see the client; through another node it cannot,
        // or its answer would not pass that node again. All are told the node's address.
        show.trial(&trial.seen_as(node))?;
    }
    for door in doors_ipv6 {
        show.trial(&Trial::new(outside, door, 150, Expected::Evenly(&ALL)))?;
    }
    let places = [&node_1.place, &node_2.place, &node_1.client, &node_2.client];
    for place in places {
        for door in doors.into_iter().chain(doors_ipv6) {
            show.trial(&Trial::new(place, door, 60, Expected::AllOf(&ALL)))?;
        }
    }
    show.say("the same Service by its cluster IP");
    show.trial(&Trial::new(
        &node_2.client,
        "10.96.0.40:80",
        60,
        Expected::AllOf(&ALL),
    ))?;
    Ok(())
}
