//! The text is what Prometheus reads, and its numbers are what was sent.

use super::text::{Seconds, Text, Type};
use super::{Histogram, Probe, ProbeCounts, Snapshot, SyncMetrics, exposition};
use crate::dataplane::{Config, Dataplane, Descriptor, Limits};
use crate::model::{
    EndpointPort, EndpointSlice, Kind, Object, ObjectKey, Service, ServicePort, SliceEndpoint,
    TrafficPolicy,
};
use crate::net::{Family, Instant, Protocol};
use crate::node::{Feed, Node};
use crate::packet::build::udp;
use crate::plan::NodeConfig;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

/// Samples by name and labels, read by the format's grammar; panics at whatever Prometheus would refuse.
#[derive(Debug, Default)]
struct Scrape {
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
    types: BTreeMap<String, String>,
    helped: BTreeSet<String>,
}

fn is_name(text: &str) -> bool {
    let first = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    text.starts_with(first) && text.chars().all(|it| first(it) || it.is_ascii_digit())
}

impl Scrape {
    fn read(text: &str) -> Self {
        let mut scrape = Self::default();
        assert!(text.ends_with('\n'), "the last line must end too");
        let mut family = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').expect("a help text");
                assert!(
                    !text.is_empty() && scrape.helped.insert(name.into()),
                    "{line}"
                );
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(scrape.helped.contains(name), "HELP comes first: {line}");
                let before = scrape.types.insert(name.into(), kind.into());
                assert_eq!(before, None, "one block for each family: {line}");
                family = name.into();
            } else {
                scrape.sample(line, &family);
            }
        }
        scrape
    }

    fn sample(&mut self, line: &str, family: &str) {
        let end = line.find(['{', ' ']).expect("a value");
        let (name, mut rest) = line.split_at(end);
        assert!(is_name(name), "{line}");
        let suffix = name.strip_prefix(family).expect("of the family above");
        let histogram = self.types.get(family).is_some_and(|it| it == "histogram");
        let allowed: &[&str] = if histogram {
            &["_bucket", "_sum", "_count"]
        } else {
            &[""]
        };
        assert!(allowed.contains(&suffix), "{line}");
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                let (label, after) = rest.split_once("=\"").expect("a label");
                assert!(is_name(label), "{line}");
                let (value, after) = unescape(after);
                assert_eq!(labels.insert(label.into(), value), None, "{line}");
                match after.strip_prefix(',') {
                    Some(next) => rest = next,
                    None => {
                        rest = after.strip_prefix('}').expect("an end of labels");
                        break;
                    }
                }
            }
        }
        let value = rest.strip_prefix(' ').expect("one blank");
        let value: f64 = value.parse().expect("a number");
        let before = self.samples.insert((name.into(), labels), value);
        assert_eq!(before, None, "each sample once: {line}");
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter();
        let labels: BTreeMap<String, String> = labels
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let found = self.samples.get(&(name.into(), labels.clone()));
        *found.unwrap_or_else(|| panic!("no {name} {labels:?}"))
    }
}

/// A label's value up to its closing quote, and what follows.
fn unescape(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((position, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[position + 1..]),
            '\\' => value.push(match letters.next().expect("an escaped letter").1 {
                'n' => '\n',
                it @ ('\\' | '"') => it,
                other => panic!("\\{other} is no escape"),
            }),
            other => value.push(other),
        }
    }
    panic!("no closing quote: {text}")
}

#[test]
fn names_are_escaped_and_read_back() {
    let hostile = "a\\b\"c\nd,}é{=\"";
    let mut text = Text::default();
    text.family("hostile", Type::Gauge, "What people write");
    text.sample(&[("name", &hostile), ("other", &"plain")], 7);
    let text = text.finish();
    let expected = "# HELP hostile What people write\n# TYPE hostile gauge\n\
                    hostile{name=\"a\\\\b\\\"c\\nd,}é{=\\\"\",other=\"plain\"} 7\n";
    assert_eq!(text, expected);
    let read = Scrape::read(&text).value("hostile", &[("name", hostile), ("other", "plain")]);
    assert!((read - 7.0).abs() < f64::EPSILON);
}

#[test]
fn seconds_are_decimals() {
    for (duration, text) in [
        (Duration::ZERO, "0"),
        (Duration::from_millis(1), "0.001"),
        (Duration::from_millis(16_384), "16.384"),
        (Duration::new(1_782_907_200, 1), "1782907200.000000001"),
    ] {
        assert_eq!(Seconds(duration).to_string(), text);
    }
}

#[test]
fn durations_fall_into_kube_proxys_buckets() {
    let mut histogram = Histogram::default();
    for millis in [0, 1, 2, 3, 16_384, 16_385] {
        histogram.observe(Duration::from_millis(millis));
    }
    let cumulative: Vec<_> = histogram.cumulative().collect();
    let (first, last) = (cumulative[..3].to_vec(), cumulative[14]);
    let millis = Duration::from_millis;
    assert_eq!(first, [(millis(1), 2), (millis(2), 3), (millis(4), 4)]);
    assert_eq!((cumulative.len(), last), (15, (millis(16_384), 5)));
    assert_eq!((histogram.count(), histogram.sum()), (6, millis(32_775)));
}

struct Rig {
    node: Node,
    feed: Feed,
    dataplane: Dataplane,
    limits: Limits,
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn web(internal: TrafficPolicy) -> Service {
    Service {
        key: ObjectKey::new("default", "web"),
        cluster_ips: vec![ip("10.96.0.80")],
        external_ips: vec![ip("203.0.113.80")],
        internal_traffic_policy: internal,
        external_traffic_policy: TrafficPolicy::Local,
        affinity_seconds: Some(600),
        ports: vec![ServicePort {
            name: "dns".into(),
            protocol: Protocol::Udp,
            port: 53,
            node_port: None,
        }],
        ..Service::default()
    }
}

impl Rig {
    fn new(internal: TrafficPolicy) -> Self {
        let limits = Limits {
            connections_ipv4: 100,
            connections_ipv6: 100,
            affinities: 10,
            fragments: 10,
            workers: 1,
            ..Limits::default()
        };
        let config = Config {
            limits,
            ..Config::default()
        };
        let mut rig = Self {
            node: Node::new(NodeConfig {
                name: "n1".into(),
                addresses: vec![ip("192.168.66.11")],
                cluster_cidrs: vec!["10.200.0.0/16".parse().expect("a prefix")],
                ..NodeConfig::default()
            }),
            feed: Feed::new(),
            dataplane: Dataplane::new(&config).expect("small tables"),
            limits,
        };
        rig.node.synced(Kind::Service);
        rig.node.synced(Kind::EndpointSlice);
        let endpoint = SliceEndpoint {
            node_name: Some("n2".into()),
            ..SliceEndpoint::at(ip("10.200.2.7"))
        };
        let slice = EndpointSlice {
            key: ObjectKey::new("default", "web-1"),
            service_name: "web".into(),
            headless: false,
            weights: crate::model::Weights::default(),
            family: Family::Ipv4,
            endpoints: vec![endpoint],
            ports: vec![EndpointPort {
                name: "dns".into(),
                protocol: Protocol::Udp,
                port: 5353,
            }],
        };
        rig.node
            .apply([Object::Service(web(internal)), Object::EndpointSlice(slice)]);
        let published = rig.feed.publish(&rig.node, &mut rig.dataplane);
        published.expect("no worker is behind");
        rig
    }

    /// Sends packets as they are, in one burst each.
    fn send(&self, packets: &[&[u8]]) {
        let mut worker = self.dataplane.worker().expect("the only worker");
        for packet in packets {
            let mut frames = packet.to_vec();
            let len = u32::try_from(frames.len()).expect("short");
            let mut burst = [Descriptor::new(0, len)];
            worker.process_burst(Instant::from_secs(1), &mut frames, &mut burst);
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.node, &self.feed, &self.dataplane, &self.limits)
    }
}

const PORT: [(&str, &str); 5] = [
    ("namespace", "default"),
    ("service", "web"),
    ("port", "dns"),
    ("protocol", "UDP"),
    ("ip_family", "IPv4"),
];

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&PORT[..], more].concat()
}

#[test]
fn the_text_says_what_was_sent() {
    let rig = Rig::new(TrafficPolicy::Cluster);
    let query = udp("10.200.1.9:40000", "10.96.0.80:53")
        .payload(b"query")
        .build();
    let answer = udp("10.200.2.7:5353", "10.200.1.9:40000")
        .payload(b"longer")
        .build();
    let outside = udp("198.51.100.1:40000", "203.0.113.80:53").build();
    rig.send(&[&query, &query, &answer, &outside, b"nonsense"]);
    let mut sync = SyncMetrics::default();
    sync.queued(Duration::from_millis(5_500), 1, 2);
    sync.synced(
        Family::Ipv4,
        Duration::from_secs(6),
        Duration::from_micros(1_500),
    );
    let mut probes = ProbeCounts::default();
    for (probe, status) in [
        (Probe::Healthz, 200),
        (Probe::Healthz, 503),
        (Probe::Livez, 200),
    ] {
        probes.answered(probe, status);
    }
    let text = exposition(&rig.snapshot(), &sync, &probes);
    let scrape = Scrape::read(&text);
    let families: BTreeSet<_> = scrape.types.keys().cloned().collect();
    assert_eq!(families, scrape.helped);
    let endpoint = ("endpoint", "10.200.2.7:5353");
    let (there, back) = (("direction", "original"), ("direction", "reply"));
    let reason = |reason| [("reason", reason)];
    for (name, labels, expected) in [
        ("portolan_packets_total", vec![("verdict", "forward")], 3.0),
        ("portolan_packets_total", vec![("verdict", "drop")], 2.0),
        (
            "portolan_drops_total",
            reason("NoLocalEndpoint").to_vec(),
            1.0,
        ),
        ("portolan_service_packets_total", with(&[there]), 2.0),
        ("portolan_service_bytes_total", with(&[there]), 2.0 * 33.0),
        ("portolan_service_bytes_total", with(&[back]), 34.0),
        (
            "portolan_endpoint_packets_total",
            with(&[endpoint, there]),
            2.0,
        ),
        (
            "portolan_endpoint_bytes_total",
            with(&[endpoint, there]),
            66.0,
        ),
        (
            "portolan_endpoint_packets_total",
            with(&[endpoint, back]),
            1.0,
        ),
        (
            "portolan_endpoint_connections_total",
            with(&[endpoint]),
            1.0,
        ),
        (
            "portolan_service_connections_total",
            with(&[("outcome", "opened")]),
            1.0,
        ),
        (
            "portolan_service_connections_total",
            with(&[("outcome", "no_local_endpoint")]),
            1.0,
        ),
        (
            "portolan_connections_opened_total",
            vec![("ip_family", "IPv4")],
            1.0,
        ),
        (
            "portolan_table_used",
            vec![("table", "connections_ipv4")],
            1.0,
        ),
        (
            "portolan_table_limit",
            vec![("table", "connections_ipv4")],
            100.0,
        ),
        ("portolan_table_used", vec![("table", "affinities")], 1.0),
        ("portolan_table_used", vec![("table", "endpoints")], 1.0),
        ("kubeproxy_proxy_healthz_total", vec![("code", "503")], 1.0),
        ("kubeproxy_proxy_livez_total", vec![("code", "200")], 1.0),
        (
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket",
            vec![("ip_family", "IPv4"), ("le", "0.002")],
            1.0,
        ),
        (
            "kubeproxy_sync_proxy_rules_duration_seconds_sum",
            vec![("ip_family", "IPv4")],
            0.0015,
        ),
        (
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
            vec![("ip_family", "IPv4")],
            6.0,
        ),
        (
            "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
            vec![],
            5.5,
        ),
    ] {
        let found = scrape.value(name, &labels);
        assert!(
            (found - expected).abs() < 1e-9,
            "{name} {labels:?}: {found}"
        );
    }
    assert!(text.contains("# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram\n"));
}

#[test]
fn services_without_a_local_endpoint_are_counted_by_policy() {
    for (internal, expected) in [
        (TrafficPolicy::Cluster, [[0, 1], [0, 0]]),
        (TrafficPolicy::Local, [[1, 1], [0, 0]]),
    ] {
        let rig = Rig::new(internal);
        assert_eq!(rig.snapshot().no_local_endpoints, expected);
    }
}

#[test]
fn every_limit_has_a_row_and_all_memory_is_told() {
    let rig = Rig::new(TrafficPolicy::Cluster);
    let snapshot = rig.snapshot();
    let told: u64 = snapshot.capacities.iter().map(|row| row.bytes).sum();
    assert_eq!(told, rig.limits.memory().total());
    let tables: Vec<_> = snapshot.capacities.iter().map(|row| row.table).collect();
    let expected = [
        "connections_ipv4",
        "connections_ipv6",
        "services",
        "frontends",
        "endpoints",
        "source_ranges",
        "hash_buckets",
        "affinities",
        "fragments",
    ];
    assert_eq!(tables, expected);
}
