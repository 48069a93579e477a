//! Cases of kind `lb`: frontends and their endpoints, complete. The plan says which frontends there are; what they do
//! with new flows is asked of the code that moves packets, for a client outside and for a pod.

pub(crate) mod case;
mod judge;

use super::case::{CaseLimits, NodeDescription};
use super::report::{Outcome, Status};
use super::rig::{Change, Rig};
use super::{Sink, joined};
use case::{LbCase, LbExpect, LbNode};
use core::net::IpAddr;
use judge::{FIRST_PORT, Judge};
use portolan::net::Instant;
use serde_json::{Value, json};

/// A case begins so long after the clock's origin, so that nothing depends on the origin.
const NOW: Instant = Instant::from_secs(1_000_000);

/// Sources that count as pods, the node's own address where it has none, and an outsider's (RFC 2544, RFC 5180; RFC 5737, RFC 3849).
const POD_PREFIXES: [&str; 2] = ["198.18.0.0/15", "2001:2::/48"];
const PODS: [&str; 2] = ["198.18.0.9", "2001:2::9"];
const NODE: [&str; 2] = ["192.0.2.250", "2001:db8:fffe::1"];
const OUTSIDE: [&str; 2] = ["203.0.113.9", "2001:db8:ffff::9"];

/// One expectation: what is expected, and what came or what is wrong.
struct Finding {
    expectation: String,
    tags: Value,
    expected: String,
    result: Result<(), String>,
}

/// The sample address of a list that is of the family of `like`.
fn sample(list: [&str; 2], like: IpAddr) -> Option<IpAddr> {
    let [ipv4, ipv6] = list;
    if like.is_ipv4() { ipv4 } else { ipv6 }.parse().ok()
}

/// Runs one case and hands over what came of each expectation.
pub(crate) fn run(file: &str, case: &LbCase, sink: Sink<'_>) -> std::io::Result<()> {
    let mut findings = Vec::new();
    match described(&case.node).and_then(|node| Rig::new(&node, &CaseLimits::default(), 0)) {
        Ok(mut rig) => steps(&mut rig, case, &mut findings),
        Err(error) => findings.push(Finding {
            expectation: "node".to_owned(),
            tags: Value::Null,
            expected: "a dataplane".to_owned(),
            result: Err(error),
        }),
    }
    for finding in findings {
        let (status, actual) = match finding.result {
            Ok(()) => (Status::Passed, finding.expected.clone()),
            Err(actual) => (Status::Failed, actual),
        };
        sink(&Outcome {
            file: file.to_owned(),
            case: case.name.clone(),
            expectation: finding.expectation,
            status,
            tags: joined(&case.tags, &finding.tags),
            expected: finding.expected,
            actual,
        })?;
    }
    Ok(())
}

fn steps(rig: &mut Rig, case: &LbCase, findings: &mut Vec<Finding>) {
    let manifests = allowed(case, &case.manifests);
    rig.change(&Change {
        apply: &manifests,
        ..Change::default()
    });
    let mut port = FIRST_PORT;
    compare(rig, "", &mut port, &case.expect, findings);
    for (number, step) in (1..).zip(&case.then) {
        let name = step
            .step
            .clone()
            .unwrap_or_else(|| format!("step {number}"));
        let node = match step.node.as_ref().map(described).transpose() {
            Ok(node) => node,
            Err(error) => {
                findings.push(Finding {
                    expectation: format!("{name}: node"),
                    tags: Value::Null,
                    expected: "a node".to_owned(),
                    result: Err(error),
                });
                return;
            }
        };
        rig.change(&Change {
            delete: &step.delete,
            apply: &allowed(case, &step.apply),
            node: node.as_ref(),
        });
        let title = format!("{name}: ");
        compare(rig, &title, &mut port, &step.expect, findings);
    }
}

fn compare(
    rig: &mut Rig,
    step: &str,
    port: &mut u16,
    expect: &LbExpect,
    findings: &mut Vec<Finding>,
) {
    let mut judge = Judge {
        rig,
        step,
        port,
        findings,
    };
    judge.judge(expect);
}

/// Objects as the cluster's configuration lets them be.
fn allowed(case: &LbCase, objects: &[Value]) -> Vec<Value> {
    let mut objects = objects.to_vec();
    if case.config.external_ips == Some(false) {
        for object in &mut objects {
            if let Some(Value::Object(spec)) = object.get_mut("spec") {
                spec.remove("externalIPs");
            }
        }
    }
    objects
}

/// The node in the words of the other kinds. NodePorts are served on the addresses that say so, and on none of a family
/// in which none does.
fn described(node: &LbNode) -> Result<NodeDescription, String> {
    let mut ips: Vec<IpAddr> = node.addresses.iter().map(|one| one.ip.0).collect();
    // To masquerade with, in a family that the case says nothing of.
    for text in NODE {
        let address: IpAddr = text.parse().map_err(|_| "no address".to_owned())?;
        if !ips.iter().any(|ip| ip.is_ipv4() == address.is_ipv4()) {
            ips.push(address);
        }
    }
    let mut doors = vec!["0.0.0.0/32".to_owned(), "::/128".to_owned()];
    for one in node.addresses.iter().filter(|one| one.node_port) {
        let bits = if one.ip.0.is_ipv4() { 32 } else { 128 };
        doors.push(format!("{}/{bits}", one.ip.0));
    }
    let description = json!({
        "nodeName": node.name,
        "zone": node.zone,
        "ips": ips,
        "clusterCIDRs": POD_PREFIXES,
        "nodePortAddresses": doors,
    });
    serde_json::from_value(description).map_err(|error| error.to_string())
}
