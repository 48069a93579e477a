//! Cases of kind `dns`: objects in, queries as bytes, and the bytes that are answered.

pub(crate) mod case;
mod judge;
mod message;

use super::case::Deletion;
use super::report::{Outcome, Status};
use super::{Sink, joined, rig};
use case::{Cluster, DnsFile, Query, Transport, Wire};
use core::net::IpAddr;
use portolan::dns::{self, Reader, Zone};
use portolan::k8s;
use portolan::model::{Kind, ObjectKey, ObjectRef};
use portolan::node::{Node, NodeConfig};
use serde_json::Value;

/// The longest reply there can be.
const LONGEST: usize = 65_535;

/// Judges every cluster of a file whose name is wanted, and the packets beside them.
pub(crate) fn run(
    name: &str,
    file: &DnsFile,
    wanted: impl Fn(&str) -> bool,
    sink: Sink<'_>,
) -> std::io::Result<()> {
    for cluster in file.clusters.iter().filter(|one| wanted(&one.name)) {
        run_cluster(name, cluster, sink)?;
    }
    if !file.wire.is_empty() && wanted("wire") {
        let config = file.clusters.first().map(|cluster| cluster.config.config());
        let mut rig = Rig::new(config.unwrap_or_default(), true);
        for packet in &file.wire {
            let mut outcome = outcome(name, "wire", &packet.id, &Value::Null);
            outcome.expected = packet.allow.join(" or ");
            let rig = rig.as_mut().map_err(|error| error.clone());
            let judged = rig.and_then(|rig| raw(rig, packet));
            sink(&decided(outcome, judged))?;
        }
    }
    Ok(())
}

fn run_cluster(name: &str, cluster: &Cluster, sink: Sink<'_>) -> std::io::Result<()> {
    let synced = cluster.config.synced.unwrap_or(true);
    let mut rig = match Rig::new(cluster.config.config(), synced) {
        Ok(rig) => rig,
        Err(error) => {
            let outcome = outcome(name, &cluster.name, "config", &cluster.tags);
            return sink(&decided(outcome, Err(error)));
        }
    };
    rig.change(&[], &cluster.objects);
    let mut judge = |rig: &mut Rig, step: &str, queries: &[Query]| {
        for query in queries {
            let tags = joined(&cluster.tags, &query.tags);
            let expectation = format!("{step}{}", query.id);
            let mut outcome = outcome(name, &cluster.name, &expectation, &tags);
            outcome.expected = judge::expected(query);
            let judged = ask(rig, query, &tags);
            sink(&decided(outcome, judged))?;
        }
        Ok::<_, std::io::Error>(())
    };
    judge(&mut rig, "", &cluster.queries)?;
    for (index, step) in cluster.then.iter().enumerate() {
        let name = match &step.step {
            Some(name) => format!("{name}: "),
            None => format!("step {}: ", index + 1),
        };
        rig.change(&step.delete, &step.apply);
        judge(&mut rig, &name, &step.queries)?;
    }
    Ok(())
}

fn outcome(file: &str, case: &str, expectation: &str, tags: &Value) -> Outcome {
    Outcome {
        file: file.to_owned(),
        case: case.to_owned(),
        expectation: expectation.to_owned(),
        status: Status::Failed,
        tags: tags.clone(),
        expected: String::new(),
        actual: String::new(),
    }
}

fn decided(outcome: Outcome, judged: Result<(), String>) -> Outcome {
    match judged {
        Ok(()) => Outcome {
            status: Status::Passed,
            actual: "as expected".to_owned(),
            ..outcome
        },
        Err(actual) => Outcome { actual, ..outcome },
    }
}

/// A node and the zone that follows it.
struct Rig {
    node: Node,
    zone: Zone,
    reader: Reader,
    reply: Vec<u8>,
}

impl Rig {
    fn new(config: dns::Config, synced: bool) -> Result<Self, String> {
        let mut zone = Zone::new(config).map_err(|error| error.to_string())?;
        let mut node = Node::new(NodeConfig::default());
        if synced {
            node.synced(Kind::Service);
            node.synced(Kind::EndpointSlice);
        }
        let reader = zone.reader().ok_or("no reader")?;
        let mut rig = Self {
            node,
            zone,
            reader,
            reply: vec![0; LONGEST],
        };
        rig.change(&[], &[]);
        Ok(rig)
    }

    /// Deletes and applies as one batch.
    fn change(&mut self, delete: &[Deletion], apply: &[Value]) {
        for deletion in delete {
            let key = ObjectKey::new(deletion.namespace.as_str(), deletion.name.as_str());
            if let Some(kind) = rig::kind_of(&deletion.kind) {
                self.node.delete(&[ObjectRef { kind, key }]);
            }
        }
        for (index, value) in apply.iter().enumerate() {
            if let Some((namespace, address)) = pod(value) {
                self.zone.put_pod(namespace, address);
            }
            let decoded = k8s::decode_value(value.clone(), &format!("objects[{index}]"));
            for rejection in &decoded.rejections {
                tracing::warn!("{rejection}");
            }
            self.node.apply(decoded.objects);
        }
        self.zone.follow(&self.node);
        // The only reader is idle.
        let _ = self.zone.publish(1);
    }

    fn answer(&mut self, query: &[u8], transport: Transport) -> (dns::Outcome, &[u8]) {
        let transport = match transport {
            Transport::Udp => dns::Transport::Udp,
            Transport::Tcp => dns::Transport::Tcp,
        };
        let outcome = self.reader.answer(query, transport, &mut self.reply);
        let length = match outcome {
            dns::Outcome::Reply(length) | dns::Outcome::Onward(length) => length,
            dns::Outcome::NotOurs | dns::Outcome::Silent => 0,
        };
        (outcome, self.reply.get(..length).unwrap_or_default())
    }
}

/// The namespace and address of a Pod that has one.
fn pod(value: &Value) -> Option<(&str, IpAddr)> {
    let text = |path| value.pointer(path).and_then(Value::as_str);
    let address = text("/status/podIP")?.parse().ok()?;
    let namespace = text("/metadata/namespace").unwrap_or("default");
    (text("/kind") == Some("Pod")).then_some((namespace, address))
}

fn ask(rig: &mut Rig, query: &Query, tags: &Value) -> Result<(), String> {
    let bytes = message::query(query)?;
    let (outcome, reply) = rig.answer(&bytes, query.transport);
    let reply = match outcome {
        dns::Outcome::Reply(_) | dns::Outcome::Onward(_) => Some(reply),
        dns::Outcome::NotOurs => None,
        dns::Outcome::Silent => return Err("no reply".to_owned()),
    };
    let exact = tags
        .as_array()
        .is_some_and(|tags| tags.iter().any(|tag| tag == "exact-case"));
    let read = reply
        .map(|reply| message::read(&bytes, reply))
        .transpose()?;
    judge::judge(query, read.as_ref(), reply.map_or(0, <[u8]>::len), exact)
}

fn raw(rig: &mut Rig, packet: &Wire) -> Result<(), String> {
    let (outcome, reply) = rig.answer(&packet.hex.0, Transport::Udp);
    let names = match outcome {
        dns::Outcome::Silent => vec!["no-reply".to_owned()],
        // Without anybody to ask, the command refuses.
        dns::Outcome::NotOurs => vec!["not-handled".to_owned(), "REFUSED".to_owned()],
        dns::Outcome::Reply(_) | dns::Outcome::Onward(_) => {
            vec![message::read(&packet.hex.0, reply)?.rcode.to_string()]
        }
    };
    if names.iter().any(|name| packet.allow.contains(name)) {
        Ok(())
    } else {
        Err(names.join(" or "))
    }
}
