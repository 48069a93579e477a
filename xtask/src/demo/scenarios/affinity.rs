//! Scenario 3: one client, one pod; until its time is over, the Service is edited, or the pod goes.

use core::time::Duration;
use std::collections::BTreeSet;
use std::thread;

use anyhow::{Context, Result, ensure};

use super::{ALL, Stage, until_settled};
use crate::demo::client;
use crate::demo::cluster::Place;
use crate::demo::show::{Expected, Judged, Trial};

const MANIFEST: &str = "affinity.yaml";
const ON: &str =
    "sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 120}}";
const OFF: &str = "sessionAffinity: None";

/// A little more than the timeout of the Service with the short one.
const IDLE: Duration = Duration::from_millis(3500);

pub(super) fn show(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .show
        .scenario("3  Session affinity: myapp-affinity, ClientIP, timeoutSeconds 120");
    stuck(stage)?;
    many_clients(stage)?;
    switched(stage)?;
    pod_removed(stage)
}

fn stuck(stage: &mut Stage<'_>) -> Result<()> {
    let Stage { cluster, show, .. } = stage;
    for node in &cluster.nodes {
        for to in ["10.96.0.30:80", "[fd00:96::30]:80"] {
            show.trial(&Trial::new(&node.client, to, 40, Expected::One(&ALL)))?;
        }
    }
    Ok(())
}

/// Twelve addresses outside: each keeps its pod, not all have the same one, and all are free again
/// once they have been idle for longer than the timeout.
fn many_clients(stage: &mut Stage<'_>) -> Result<()> {
    let Stage { cluster, show, .. } = stage;
    show.say("twelve clients outside, each asking four times; timeoutSeconds 3");
    let to = "192.168.10.11:30031";
    let first = pods_of_twelve(&cluster.outside, to, 4)?;
    show.row(
        "outside (12 addresses)",
        to,
        &spread(&first),
        each_keeps_one(&first),
    );
    let again = pods_of_twelve(&cluster.outside, to, 1)?;
    let same = if first == again {
        Ok("the same pods again")
    } else {
        Err("a client has moved")
    };
    show.row("at once", to, &spread(&again), owned(same));
    thread::sleep(IDLE);
    let later = pods_of_twelve(&cluster.outside, to, 1)?;
    let free = if first == later {
        Err("nobody was free")
    } else {
        Ok("free to choose again")
    };
    show.row("3.5 s of silence later", to, &spread(&later), owned(free));
    Ok(())
}

fn switched(stage: &mut Stage<'_>) -> Result<()> {
    let Stage {
        cluster,
        objects,
        show,
        ..
    } = stage;
    let (node_1, _) = cluster.nodes();
    let (client, to) = (&node_1.client, "10.96.0.30:80");
    objects.edit(MANIFEST, ON, OFF)?;
    until_settled("sessionAffinity: None", client, to, |answers| {
        answers.by_pod().len() > 1
    })?;
    show.say("edited to sessionAffinity: None, live");
    show.trial(&Trial::new(client, to, 60, Expected::Evenly(&ALL)))?;
    objects.edit(MANIFEST, OFF, ON)?;
    until_settled("sessionAffinity: ClientIP", client, to, |answers| {
        answers.by_pod().len() == 1
    })?;
    show.say("and back to ClientIP");
    show.trial(&Trial::new(client, to, 40, Expected::One(&ALL)))?;
    Ok(())
}

fn pod_removed(stage: &mut Stage<'_>) -> Result<()> {
    let Stage {
        cluster,
        objects,
        show,
        ..
    } = stage;
    let (node_1, _) = cluster.nodes();
    let (client, to) = (&node_1.client, "10.96.0.30:80");
    let answers = client::ask(client, &format!("http://{to}"), 1)?;
    let pod = answers.given.first().context("no answer")?.pod.clone();
    for address in cluster.pod_addresses(&pod)? {
        let node = cluster.node_of(&pod)?;
        let entry = format!(
            "- addresses: ['{address}']\n  nodeName: {}\n  conditions: {{ready: true}}\n  \
             targetRef: {{kind: Pod, namespace: default, name: {pod}}}\n",
            node.place.name
        );
        objects.edit(MANIFEST, &entry, "")?;
    }
    until_settled("the removal", client, to, |answers| {
        answers.unanswered() == 0 && !answers.by_pod().contains_key(pod.as_str())
    })?;
    let others: Vec<_> = ALL.into_iter().filter(|other| *other != pod).collect();
    show.say(&format!(
        "{pod}, which client-1 was stuck to, goes away: the client is free at once"
    ));
    show.trial(&Trial::new(client, to, 40, Expected::One(&others)))?;
    Ok(())
}

/// The pods that answered each of the addresses 203.0.113.10 to .21.
fn pods_of_twelve(outside: &Place, to: &str, requests: u32) -> Result<Vec<BTreeSet<String>>> {
    let ask = |last: u8| -> Result<BTreeSet<String>> {
        let source = format!("203.0.113.{last}");
        let url = format!("http://{to}");
        let answers = client::ask_from(
            outside,
            Some(&source),
            &url,
            requests,
            client::ANSWER_LIMIT_S,
        )?;
        ensure!(
            answers.unanswered() == 0,
            "{source} is not answered: {answers:?}"
        );
        Ok(answers.given.into_iter().map(|answer| answer.pod).collect())
    };
    (10..=21).map(ask).collect()
}

fn each_keeps_one(clients: &[BTreeSet<String>]) -> Judged {
    let distinct: BTreeSet<_> = clients.iter().flatten().collect();
    if clients.iter().any(|pods| pods.len() != 1) {
        Err("a client was served by more than one pod".to_owned())
    } else if distinct.len() < 2 {
        Err("all clients have the same pod".to_owned())
    } else {
        Ok("one pod each, not the same for all".to_owned())
    }
}

/// How many clients each pod has.
fn spread(clients: &[BTreeSet<String>]) -> String {
    let count = |pod: &str| clients.iter().filter(|pods| pods.contains(pod)).count();
    let shown = ALL.iter().map(|pod| format!("{pod} has {}", count(pod)));
    shown.collect::<Vec<_>>().join("  ")
}

fn owned(judged: Result<&str, &str>) -> Judged {
    judged.map(str::to_owned).map_err(str::to_owned)
}
