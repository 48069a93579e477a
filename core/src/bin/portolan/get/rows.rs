//! What `portolan get` lists, as rows: made where the objects are, printed where the user is.

use super::{Resource, Row};
use crate::CommandError;
use crate::serving::{Serving, service_of};
use core::net::SocketAddr;
use portolan::conntrack::Connection;
use portolan::dataplane::{Dataplane, DropReason};
use portolan::driver::QueueStats;
use portolan::model::{EndpointSlice, Object, ObjectKey, ObjectRef, Service};
use portolan::net::Instant;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Endpoints that a table shows before it says how many more there are, as kubectl does.
const SHOWN_ENDPOINTS: usize = 3;

/// Rows of what is known without a running process.
pub(crate) fn offline(serving: &Serving, resource: Resource) -> Result<Value, CommandError> {
    match resource {
        Resource::Services => Ok(serde_json::to_value(services(serving.objects()))?),
        Resource::Endpoints => Ok(serde_json::to_value(endpoints(serving.objects()))?),
        Resource::Connections
        | Resource::Stats
        | Resource::Endpointslices
        | Resource::Pods
        | Resource::Nodes
        | Resource::Namespaces
        | Resource::Servicecidrs => {
            Err("connections and counters are a running portolan's: leave out --objects".into())
        }
    }
}

/// One Service.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceRow {
    namespace: String,
    name: String,
    r#type: String,
    cluster_ips: Vec<String>,
    external_ips: Vec<String>,
    ports: Vec<String>,
    created: Option<i64>,
}

impl Row for ServiceRow {
    const HEADER: &'static [&'static str] = &[
        "NAME",
        "TYPE",
        "CLUSTER-IP",
        "EXTERNAL-IP",
        "PORT(S)",
        "AGE",
    ];

    fn cells(&self) -> Vec<String> {
        let none = if self.r#type == "LoadBalancer" {
            "<pending>"
        } else {
            "<none>"
        };
        vec![
            self.name.clone(),
            self.r#type.clone(),
            // kubectl shows the first one only; the second is what a dual-stack user looks for.
            or_else(self.cluster_ips.join(","), "None"),
            or_else(self.external_ips.join(","), none),
            or_else(self.ports.join(","), "<none>"),
            age(self.created),
        ]
    }

    fn key(&self) -> Option<(&str, &str)> {
        Some((&self.namespace, &self.name))
    }
}

fn or_else(text: String, none: &str) -> String {
    if text.is_empty() {
        none.to_owned()
    } else {
        text
    }
}

/// Rows of all Services, sorted.
pub(crate) fn services(objects: &BTreeMap<ObjectRef, Object>) -> Vec<ServiceRow> {
    objects
        .values()
        .filter_map(service_of)
        .map(service_row)
        .collect()
}

fn service_row(service: &Service) -> ServiceRow {
    let r#type = if service.external_name.is_some() {
        "ExternalName"
    } else if service.load_balancer {
        "LoadBalancer"
    } else if service.ports.iter().any(|port| port.node_port.is_some()) {
        "NodePort"
    } else {
        "ClusterIP"
    };
    let ingress = service.ingress.iter().map(|ingress| ingress.ip);
    let external = ingress.chain(service.external_ips.iter().copied());
    ServiceRow {
        namespace: service.key.namespace.clone(),
        name: service.key.name.clone(),
        r#type: r#type.to_owned(),
        cluster_ips: service
            .cluster_ips
            .iter()
            .map(ToString::to_string)
            .collect(),
        external_ips: external.map(|ip| ip.to_string()).collect(),
        ports: service
            .ports
            .iter()
            .map(|port| match port.node_port {
                Some(node_port) => format!("{}:{node_port}/{}", port.port, port.protocol),
                None => format!("{}/{}", port.port, port.protocol),
            })
            .collect(),
        created: service.created,
    }
}

/// The ready endpoints of one Service.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EndpointsRow {
    namespace: String,
    name: String,
    endpoints: Vec<String>,
    created: Option<i64>,
}

impl Row for EndpointsRow {
    const HEADER: &'static [&'static str] = &["NAME", "ENDPOINTS", "AGE"];

    fn cells(&self) -> Vec<String> {
        let count = self.endpoints.len();
        let mut shown = self.endpoints[..count.min(SHOWN_ENDPOINTS)].join(",");
        if count > SHOWN_ENDPOINTS {
            shown += &format!(" + {} more...", count - SHOWN_ENDPOINTS);
        }
        vec![
            self.name.clone(),
            or_else(shown, "<none>"),
            age(self.created),
        ]
    }

    fn key(&self) -> Option<(&str, &str)> {
        Some((&self.namespace, &self.name))
    }
}

/// Rows of the ready endpoints of all Services that have slices or Endpoints, sorted.
pub(crate) fn endpoints(objects: &BTreeMap<ObjectRef, Object>) -> Vec<EndpointsRow> {
    let mut ready: BTreeMap<ObjectKey, BTreeSet<SocketAddr>> = BTreeMap::new();
    let mut created: BTreeMap<&ObjectKey, Option<i64>> = BTreeMap::new();
    for object in objects.values() {
        if let Some(service) = service_of(object) {
            created.insert(&service.key, service.created);
        } else if let Object::EndpointSlice(slice) = object {
            add_ready(&mut ready, slice);
        } else if let Object::Endpoints(endpoints) = object {
            ready.entry(endpoints.key.clone()).or_default();
            for slice in &endpoints.slices {
                add_ready(&mut ready, slice);
            }
        }
    }
    ready
        .into_iter()
        .map(|(key, addresses)| EndpointsRow {
            created: created.get(&key).copied().flatten(),
            namespace: key.namespace,
            name: key.name,
            endpoints: addresses.iter().map(ToString::to_string).collect(),
        })
        .collect()
}

fn add_ready(ready: &mut BTreeMap<ObjectKey, BTreeSet<SocketAddr>>, slice: &EndpointSlice) {
    let key = ObjectKey::new(slice.key.namespace.as_str(), slice.service_name.as_str());
    let addresses = ready.entry(key).or_default();
    for endpoint in slice.endpoints.iter().filter(|one| one.conditions.ready) {
        for port in &slice.ports {
            addresses.insert(SocketAddr::new(endpoint.address, port.port));
        }
    }
}

/// One live connection.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectionRow {
    protocol: String,
    state: String,
    timeout_seconds: u32,
    client: String,
    frontend: String,
    endpoint: String,
    masquerade: Option<String>,
}

impl From<&Connection> for ConnectionRow {
    fn from(connection: &Connection) -> Self {
        let (original, reply) = (&connection.original, &connection.reply);
        let end = |address, port| SocketAddr::new(address, port).to_string();
        Self {
            protocol: original.protocol.to_string(),
            state: state_of(connection),
            timeout_seconds: connection.remaining_seconds,
            client: end(original.source, original.source_port),
            frontend: end(original.destination, original.destination_port),
            endpoint: end(reply.source, reply.source_port),
            masquerade: connection
                .masquerade
                .then(|| end(reply.destination, reply.destination_port)),
        }
    }
}

/// Netfilter's words: the protocol's state, and whether the endpoint has answered.
fn state_of(connection: &Connection) -> String {
    match connection.state.name(connection.protocol()) {
        Some(name) if connection.state.seen_reply() => name.to_owned(),
        Some(name) => format!("{name} [UNREPLIED]"),
        None if connection.state.seen_reply() => "REPLIED".to_owned(),
        None => "[UNREPLIED]".to_owned(),
    }
}

/// Rows of all live connections, by protocol and client.
pub(crate) fn connections(dataplane: &Dataplane, now: Instant) -> Vec<ConnectionRow> {
    let mut connections: Vec<Connection> = dataplane.connections(now).collect();
    connections.sort_by_key(|connection| (connection.protocol(), connection.original));
    connections.iter().map(ConnectionRow::from).collect()
}

impl Row for ConnectionRow {
    const HEADER: &'static [&'static str] = &[
        "PROTOCOL",
        "STATE",
        "EXPIRES",
        "CLIENT",
        "FRONTEND",
        "ENDPOINT",
        "MASQUERADED-AS",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.protocol.clone(),
            self.state.clone(),
            format!("{}s", self.timeout_seconds),
            self.client.clone(),
            self.frontend.clone(),
            self.endpoint.clone(),
            self.masquerade
                .clone()
                .unwrap_or_else(|| "<none>".to_owned()),
        ]
    }

    fn key(&self) -> Option<(&str, &str)> {
        None
    }
}

/// One counter or capacity.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StatRow {
    pub(crate) name: String,
    pub(crate) value: u64,
    /// The capacity, where the value is how much of it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
}

/// Rows of everything that is counted.
pub(crate) fn stats(serving: &Serving, queues: impl Iterator<Item = QueueStats>) -> Vec<StatRow> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: u64, limit: Option<u64>| {
        rows.push(StatRow {
            name: name.to_owned(),
            value,
            limit,
        });
    };
    let stats = serving.dataplane().stats();
    row("packets_passed", stats.passed, None);
    row("packets_forwarded", stats.forwarded, None);
    row("packets_replied", stats.replied, None);
    row("packets_dropped", stats.dropped(), None);
    for reason in DropReason::ALL {
        let count = stats.drops_for(*reason);
        if count > 0 {
            row(&format!("packets_dropped_{reason}"), count, None);
        }
    }
    row("bytes", stats.bytes, None);
    row("icmp_errors_translated", stats.related, None);
    row("affinities_not_kept", stats.affinities_not_kept, None);
    let (usage, limits) = (&stats.usage, serving.limits());
    for (family, index, used, limit) in [
        ("ipv4", 0, usage.connections_ipv4, limits.connections_ipv4),
        ("ipv6", 1, usage.connections_ipv6, limits.connections_ipv6),
    ] {
        row(&format!("connections_{family}"), used, Some(limit.into()));
        let opened = stats.connections_opened.get(index).copied();
        row(
            &format!("connections_opened_{family}"),
            opened.unwrap_or(0),
            None,
        );
        let evicted = stats.connections_evicted.get(index).copied();
        row(
            &format!("connections_evicted_{family}"),
            evicted.unwrap_or(0),
            None,
        );
    }
    for (name, used, limit) in [
        ("service_ports", usage.table.services, limits.table.services),
        ("frontends", usage.table.frontends, limits.table.frontends),
        ("endpoints", usage.table.endpoints, limits.table.endpoints),
        (
            "source_ranges",
            usage.table.source_ranges,
            limits.table.source_ranges,
        ),
        (
            "hash_buckets",
            usage.table.hash_buckets,
            limits.table.hash_buckets,
        ),
    ] {
        row(name, used.into(), Some(limit.into()));
    }
    for (name, value) in service_counts(serving).chain(queue_counts(queues)) {
        row(&name, value, None);
    }
    rows
}

/// What became of first packets to each ServicePort, where anything did.
fn service_counts(serving: &Serving) -> impl Iterator<Item = (String, u64)> {
    serving.ids().flat_map(|(key, id)| {
        let counts = serving.dataplane().service_stats(id);
        [
            ("opened", counts.opened),
            ("rejected", counts.rejected),
            ("no_local_endpoint", counts.no_local_endpoint),
            ("source_range", counts.source_range),
        ]
        .into_iter()
        .filter(|(_, value)| *value > 0)
        .map(move |(name, value)| (format!("{name}{{{key}}}"), value))
    })
}

/// What each queue of the device has done.
fn queue_counts(queues: impl Iterator<Item = QueueStats>) -> impl Iterator<Item = (String, u64)> {
    queues.enumerate().flat_map(|(number, queue)| {
        [
            ("received_packets", queue.received_packets),
            ("received_bytes", queue.received_bytes),
            ("sent_packets", queue.sent_packets),
            ("sent_bytes", queue.sent_bytes),
            ("bursts", queue.bursts),
            ("unreadable", queue.unreadable),
            ("refused_writes", queue.refused_writes),
            ("failed_writes", queue.failed_writes),
            ("cpu_milliseconds", queue.cpu_nanos / 1_000_000),
        ]
        .map(|(name, value)| (format!("queue{number}_{name}"), value))
    })
}

impl Row for StatRow {
    const HEADER: &'static [&'static str] = &["NAME", "VALUE", "LIMIT"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.value.to_string(),
            self.limit
                .map_or_else(String::new, |limit| limit.to_string()),
        ]
    }

    fn key(&self) -> Option<(&str, &str)> {
        None
    }
}

/// How long ago that was, as kubectl says it.
pub(super) fn age(created: Option<i64>) -> String {
    let Some(created) = created else {
        return "<unknown>".to_owned();
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the age of an object is told by the wall clock, and by nothing that moves packets"
    )]
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let seconds = now.saturating_sub(u64::try_from(created).unwrap_or(0));
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
