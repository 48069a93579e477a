//! A snapshot in Prometheus' text format.

use super::text::{Seconds, Text, Type};
use super::{Histogram, Probe, ProbeCounts, ServiceCounts, Snapshot, SyncMetrics};
use crate::dataplane::{DropReason, Stats, Traffic};
use crate::net::Family;
use alloc::string::String;
use core::fmt::Display;

/// The `Content-Type` of [`exposition`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const DIRECTIONS: [&str; 2] = ["original", "reply"];

/// Everything as text. Endpoints make most of it: about 600 bytes each.
#[must_use]
pub fn exposition(snapshot: &Snapshot, sync: &SyncMetrics, probes: &ProbeCounts) -> String {
    let mut text = Text::default();
    kube_proxy(&mut text, snapshot, sync, probes);
    about(&mut text, snapshot);
    packets(&mut text, &snapshot.totals);
    connections(&mut text, &snapshot.totals);
    capacities(&mut text, snapshot);
    services(&mut text, &snapshot.services);
    endpoints(&mut text, &snapshot.services);
    text.finish()
}

/// Under kube-proxy's names.
fn kube_proxy(text: &mut Text, snapshot: &Snapshot, sync: &SyncMetrics, probes: &ProbeCounts) {
    text.family(
        "kubeproxy_sync_proxy_rules_duration_seconds",
        Type::Histogram,
        "SyncProxyRules latency in seconds",
    );
    for (name, family) in FAMILIES.iter().zip(&sync.families) {
        histogram(text, name, &family.durations);
    }
    text.family(
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
        Type::Gauge,
        "The last time proxy rules were successfully synced",
    );
    for (name, family) in FAMILIES.iter().zip(&sync.families) {
        let last = Seconds(family.last.unwrap_or_default());
        text.sample(&[("ip_family", name)], last);
    }
    text.family(
        "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
        Type::Gauge,
        "The last time a sync of proxy rules was queued",
    );
    text.sample(&[], Seconds(sync.last_queued.unwrap_or_default()));
    for (metric, help, changes) in [
        (
            "kubeproxy_sync_proxy_rules_service_changes_total",
            "Cumulative proxy rules Service changes",
            sync.service_changes,
        ),
        (
            "kubeproxy_sync_proxy_rules_endpoint_changes_total",
            "Cumulative proxy rules Endpoint changes",
            sync.endpoint_changes,
        ),
    ] {
        text.family(metric, Type::Counter, help);
        for name in &FAMILIES {
            text.sample(&[("ip_family", name)], changes);
        }
    }
    text.family(
        "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
        Type::Gauge,
        "Number of services with a Local traffic policy and no endpoints",
    );
    for (name, counts) in FAMILIES.iter().zip(&snapshot.no_local_endpoints) {
        for (policy, count) in ["internal", "external"].iter().zip(counts) {
            text.sample(&[("ip_family", name), ("traffic_policy", policy)], count);
        }
    }
    for (metric, help, probe) in [
        (
            "kubeproxy_proxy_healthz_total",
            "Cumulative proxy healthz HTTP status",
            Probe::Healthz,
        ),
        (
            "kubeproxy_proxy_livez_total",
            "Cumulative proxy livez HTTP status",
            Probe::Livez,
        ),
    ] {
        text.family(metric, Type::Counter, help);
        for (code, count) in ["200", "503"].iter().zip(probes.of(probe)) {
            text.sample(&[("code", code)], count);
        }
    }
}

fn histogram(text: &mut Text, family: &str, histogram: &Histogram) {
    let label: (&str, &dyn Display) = ("ip_family", &family);
    for (bound, count) in histogram.cumulative() {
        text.suffixed("_bucket", &[label, ("le", &Seconds(bound))], count);
    }
    text.suffixed("_bucket", &[label, ("le", &"+Inf")], histogram.count());
    text.suffixed("_sum", &[label], Seconds(histogram.sum()));
    text.suffixed("_count", &[label], histogram.count());
}

fn about(text: &mut Text, snapshot: &Snapshot) {
    text.family(
        "portolan_build_info",
        Type::Gauge,
        "What runs here; always 1",
    );
    text.sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
    text.family(
        "portolan_generation",
        Type::Gauge,
        "The generation of the Service table that bursts see",
    );
    text.sample(&[], snapshot.generation);
    text.family(
        "portolan_rejections",
        Type::Gauge,
        "Objects, or parts of them, that cannot be served as written or have no room",
    );
    text.sample(&[], snapshot.rejections);
}

fn packets(text: &mut Text, totals: &Stats) {
    text.family(
        "portolan_packets_total",
        Type::Counter,
        "Packets by verdict",
    );
    for (verdict, count) in [
        ("pass", totals.passed),
        ("forward", totals.forwarded),
        ("reply", totals.replied),
        ("drop", totals.dropped()),
    ] {
        text.sample(&[("verdict", &verdict)], count);
    }
    text.family(
        "portolan_bytes_total",
        Type::Counter,
        "Bytes of all packets, from the IP header on",
    );
    text.sample(&[], totals.bytes);
    text.family(
        "portolan_drops_total",
        Type::Counter,
        "Packets dropped, by reason",
    );
    for reason in DropReason::ALL {
        text.sample(&[("reason", reason)], totals.drops_for(*reason));
    }
    text.family(
        "portolan_icmp_errors_total",
        Type::Counter,
        "ICMP errors about connections, translated",
    );
    text.sample(&[], totals.related);
    text.family(
        "portolan_ended_endpoint_packets_total",
        Type::Counter,
        "Packets of connections that outlive their endpoint: they count for no endpoint and no Service",
    );
    text.sample(&[], totals.ended.packets);
    text.family(
        "portolan_ended_endpoint_bytes_total",
        Type::Counter,
        "Bytes of connections that outlive their endpoint",
    );
    text.sample(&[], totals.ended.bytes);
    text.family(
        "portolan_affinities_not_kept_total",
        Type::Counter,
        "New connections whose client could not be remembered, for want of room",
    );
    text.sample(&[], totals.affinities_not_kept);
}

fn connections(text: &mut Text, totals: &Stats) {
    for (metric, help, counts) in [
        (
            "portolan_connections_opened_total",
            "Connections opened",
            totals.connections_opened,
        ),
        (
            "portolan_connections_evicted_total",
            "Connections evicted to make room for new ones",
            totals.connections_evicted,
        ),
    ] {
        text.family(metric, Type::Counter, help);
        for (name, count) in FAMILIES.iter().zip(counts) {
            text.sample(&[("ip_family", name)], count);
        }
    }
}

fn capacities(text: &mut Text, snapshot: &Snapshot) {
    let all = &snapshot.capacities;
    text.family(
        "portolan_table_used",
        Type::Gauge,
        "Entries in use, by table",
    );
    for row in all {
        text.sample(&[("table", &row.table)], row.used);
    }
    text.family(
        "portolan_table_limit",
        Type::Gauge,
        "Entries there is room for, by table",
    );
    for row in all {
        text.sample(&[("table", &row.table)], row.limit);
    }
    text.family(
        "portolan_table_bytes",
        Type::Gauge,
        "Memory taken at start, by table; frontends and source ranges are part of services",
    );
    for row in all.iter().filter(|row| row.bytes > 0) {
        text.sample(&[("table", &row.table)], row.bytes);
    }
}

/// The labels that name a ServicePort.
fn labels(service: &ServiceCounts) -> [(&'static str, &dyn Display); 5] {
    let key = &service.key;
    let family: &'static &str = match key.family {
        Family::Ipv4 => &"IPv4",
        Family::Ipv6 => &"IPv6",
    };
    [
        ("namespace", &key.namespace),
        ("service", &key.name),
        ("port", &key.port_name),
        ("protocol", &key.protocol),
        ("ip_family", family),
    ]
}

fn services(text: &mut Text, services: &[ServiceCounts]) {
    text.family(
        "portolan_service_connections_total",
        Type::Counter,
        "First packets to a Service's port, by what became of them",
    );
    for service in services {
        let [namespace, name, port, protocol, family] = labels(service);
        let stats = &service.stats;
        for (outcome, count) in [
            ("opened", stats.opened),
            ("rejected", stats.rejected),
            ("no_local_endpoint", stats.no_local_endpoint),
            ("source_range", stats.source_range),
        ] {
            let outcome: (&str, &dyn Display) = ("outcome", &outcome);
            text.sample(&[namespace, name, port, protocol, family, outcome], count);
        }
    }
    for (metric, help, of) in TRAFFIC_OF_SERVICES {
        text.family(metric, Type::Counter, help);
        for service in services {
            let [namespace, name, port, protocol, family] = labels(service);
            let both = [service.stats.original, service.stats.reply];
            for (direction, traffic) in DIRECTIONS.iter().zip(both) {
                let direction: (&str, &dyn Display) = ("direction", direction);
                let labels = [namespace, name, port, protocol, family, direction];
                text.sample(&labels, of(traffic));
            }
        }
    }
}

fn endpoints(text: &mut Text, services: &[ServiceCounts]) {
    text.family(
        "portolan_endpoint_connections_total",
        Type::Counter,
        "Connections opened to an endpoint",
    );
    for service in services {
        let [namespace, name, port, protocol, family] = labels(service);
        for endpoint in &service.endpoints {
            let address: (&str, &dyn Display) = ("endpoint", &endpoint.address);
            let labels = [namespace, name, port, protocol, family, address];
            text.sample(&labels, endpoint.stats.opened);
        }
    }
    for (metric, help, of) in TRAFFIC_OF_ENDPOINTS {
        text.family(metric, Type::Counter, help);
        for service in services {
            let [namespace, name, port, protocol, family] = labels(service);
            for endpoint in &service.endpoints {
                let address: (&str, &dyn Display) = ("endpoint", &endpoint.address);
                let both = [endpoint.stats.original, endpoint.stats.reply];
                for (direction, traffic) in DIRECTIONS.iter().zip(both) {
                    let direction: (&str, &dyn Display) = ("direction", direction);
                    let labels = [namespace, name, port, protocol, family, address, direction];
                    text.sample(&labels, of(traffic));
                }
            }
        }
    }
}

/// A metric's name, its help, and what of the traffic it counts.
type TrafficMetric = (&'static str, &'static str, fn(Traffic) -> u64);

const TRAFFIC_OF_SERVICES: [TrafficMetric; 2] = [
    (
        "portolan_service_packets_total",
        "Packets forwarded for a Service's port, former endpoints included",
        |traffic| traffic.packets,
    ),
    (
        "portolan_service_bytes_total",
        "Bytes forwarded for a Service's port, former endpoints included",
        |traffic| traffic.bytes,
    ),
];

const TRAFFIC_OF_ENDPOINTS: [TrafficMetric; 2] = [
    (
        "portolan_endpoint_packets_total",
        "Packets forwarded to and from an endpoint",
        |traffic| traffic.packets,
    ),
    (
        "portolan_endpoint_bytes_total",
        "Bytes forwarded to and from an endpoint",
        |traffic| traffic.bytes,
    ),
];
