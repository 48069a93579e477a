//! The demo's scenarios without a kernel: smoltcp hosts make real TCP connections through the
//! dataplane of two nodes, all in this process, on a clock of its own.
//!
//! `cargo run --example in_memory --features k8s`, or `cargo xtask demo` where network namespaces
//! are refused.

mod cluster;
mod host;
mod node;

use cluster::{Answers, Cluster};
use core::error::Error;
use std::process::ExitCode;

const CLIENT_1: [&str; 2] = ["10.244.1.101", "fd00:244:1::101"];
const CLIENT_2: [&str; 2] = ["10.244.2.101", "fd00:244:2::101"];
const OUTSIDE: [&str; 2] = ["203.0.113.10", "2001:db8:203::10"];
const ALL: [&str; 3] = ["web-1", "web-2", "web-3"];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let manifests = manifests()?;
    let mut shown = Shown {
        cluster: Cluster::new(&manifests)?,
        manifests,
        rows: 0,
        wrong: 0,
    };
    cluster_ip(&mut shown)?;
    internal_traffic_policy(&mut shown)?;
    affinity(&mut shown)?;
    node_port(&mut shown)?;
    println!(
        "\n{} passed, {} failed",
        shown.rows - shown.wrong,
        shown.wrong
    );
    Ok(if shown.wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Shown {
    cluster: Cluster,
    manifests: Vec<(String, String)>,
    rows: u32,
    wrong: u32,
}

impl Shown {
    /// One row: who asks where, who answers, and whether that is right.
    fn row(
        &mut self,
        from: &str,
        to: &str,
        requests: u32,
        right: impl Fn(&Answers) -> bool,
    ) -> Result<Answers, Box<dyn Error>> {
        let answers = self.cluster.ask(from, to, requests)?;
        let who: Vec<_> = answers
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let mark = if right(&answers) { "ok" } else { "WRONG" };
        self.rows += 1;
        self.wrong += u32::from(mark == "WRONG");
        println!("  {from:<18} -> {to:<24} {:<36} {mark}", who.join("  "));
        Ok(answers)
    }

    /// Edits one manifest on both nodes.
    fn edit(&mut self, file: &str, old: &str, new: &str) -> Result<(), Box<dyn Error>> {
        let found = self.manifests.iter_mut().find(|(name, _)| name == file);
        let (_, text) = found.ok_or("no such manifest")?;
        *text = text.replace(old, new);
        self.cluster
            .nodes
            .iter_mut()
            .try_for_each(|node| node.apply(file, text))
    }
}

fn cluster_ip(shown: &mut Shown) -> Result<(), Box<dyn Error>> {
    println!("1  ClusterIP: every pod, each as often as the others");
    for clients in [CLIENT_1, CLIENT_2] {
        for (from, to) in clients
            .into_iter()
            .zip(["10.96.0.10:80", "[fd00:96::10]:80"])
        {
            shown.row(from, to, 600, |answers| {
                is_exactly(answers, &ALL) && is_even(answers)
            })?;
        }
    }
    shown.row(CLIENT_1[0], "10.96.0.11:8080", 60, |answers| {
        is_exactly(answers, &ALL)
    })?;
    Ok(())
}

fn internal_traffic_policy(shown: &mut Shown) -> Result<(), Box<dyn Error>> {
    println!("2  internalTrafficPolicy: the pods are on node-1");
    let (to, pods) = ("10.96.0.20:80", ["web-1", "web-2"]);
    shown.row(CLIENT_1[0], to, 60, |answers| is_exactly(answers, &pods))?;
    shown.row(CLIENT_2[0], to, 60, |answers| is_exactly(answers, &pods))?;
    let (old, new) = (
        "internalTrafficPolicy: Cluster",
        "internalTrafficPolicy: Local",
    );
    shown.edit("internal-traffic-policy.yaml", old, new)?;
    println!("   edited to Local");
    shown.row(CLIENT_1[0], to, 60, |answers| is_exactly(answers, &pods))?;
    shown.row(CLIENT_2[0], to, 2, |answers| {
        is_exactly(answers, &["silence"])
    })?;
    if let Some(reason) = shown.cluster.nodes[1].last_drop {
        println!("   why? node-2 dropped the packets: {reason}");
    }
    shown.row(CLIENT_2[1], "[fd00:96::20]:80", 2, |answers| {
        is_exactly(answers, &["silence"])
    })?;
    Ok(())
}

fn affinity(shown: &mut Shown) -> Result<(), Box<dyn Error>> {
    println!("3  Session affinity: one client, one pod");
    let to = "10.96.0.30:80";
    for (from, to) in CLIENT_1.into_iter().zip([to, "[fd00:96::30]:80"]) {
        shown.row(from, to, 40, |answers| answers.len() == 1)?;
    }
    shown.row(CLIENT_2[0], to, 40, |answers| answers.len() == 1)?;
    let on =
        "sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 120}}";
    shown.edit("affinity.yaml", on, "sessionAffinity: None")?;
    println!("   edited to None");
    shown.row(CLIENT_1[0], to, 60, |answers| is_exactly(answers, &ALL))?;
    Ok(())
}

fn node_port(shown: &mut Shown) -> Result<(), Box<dyn Error>> {
    println!("4  NodePort 30010: on both nodes, from outside and from pods");
    let doors = [
        ["192.168.10.11:30010", "[fd00:10::11]:30010"],
        ["192.168.10.12:30010", "[fd00:10::12]:30010"],
    ];
    for clients in [OUTSIDE, CLIENT_1, CLIENT_2] {
        for door in doors {
            for (from, to) in clients.into_iter().zip(door) {
                shown.row(from, to, 60, |answers| is_exactly(answers, &ALL))?;
            }
        }
    }
    Ok(())
}

/// Did these answer, all of them, and nobody else?
fn is_exactly(answers: &Answers, names: &[&str]) -> bool {
    answers.keys().map(String::as_str).eq(names.iter().copied())
}

/// Are three shares even? Chi-square with two degrees of freedom, once in a million.
fn is_even(answers: &Answers) -> bool {
    let expected = f64::from(answers.values().sum::<u32>()) / answers.len() as f64;
    let terms = answers
        .values()
        .map(|count| (f64::from(*count) - expected).powi(2) / expected);
    terms.sum::<f64>() <= 27.63
}

/// The manifests of the demo, by file name.
fn manifests() -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../xtask/demo");
    let mut manifests = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        manifests.push((name, std::fs::read_to_string(entry.path())?));
    }
    Ok(manifests)
}
