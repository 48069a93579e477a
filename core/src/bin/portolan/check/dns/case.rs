//! Case files of the kind `dns` as they stand in YAML; what is not understood is an error.

use super::super::case::{Deletion, mapping, noted, tagged};
use super::super::scalar::{Hex, Ip};
use portolan::dns::{Config, PodNames};
use portolan::model::ObjectKey;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

mapping! {
    /// A file of kind `dns`.
    DnsFile {
        #[serde(default, rename = "version")] _version: IgnoredAny,
        #[serde(default, rename = "kind")] _kind: IgnoredAny,
        #[serde(default)] clusters: Vec<Cluster>,
        #[serde(default)] wire: Vec<Wire>,
    }
}

tagged! {
    /// One cluster and what is asked about it.
    Cluster {
        name: String,
        #[serde(default)] config: ClusterConfig,
        #[serde(default)] objects: Vec<Value>,
        #[serde(default)] queries: Vec<Query>,
        #[serde(default)] then: Vec<ClusterStep>,
    }
}

mapping! {
    /// A change, and what is asked after it.
    ClusterStep {
        step: Option<String>,
        #[serde(default)] delete: Vec<Deletion>,
        #[serde(default)] apply: Vec<Value>,
        #[serde(default)] queries: Vec<Query>,
    }
}

mapping! {
    /// How the cluster's zones are served.
    #[derive(Default)]
    ClusterConfig {
        zone: Option<String>,
        ttl: Option<u32>,
        #[serde(default)] reverse_zones: Vec<String>,
        #[serde(default)] ns_addresses: Vec<Ip>,
        synced: Option<bool>,
        #[serde(default)] options: Options,
    }
}

mapping! {
    /// What is not usual.
    #[derive(Default)]
    Options {
        pods: Option<Pods>,
        #[serde(default)] endpoint_pod_names: bool,
        #[serde(default)] ignore_empty_service: bool,
        #[serde(default)] namespaces: Vec<String>,
        dns_service: Option<String>,
    }
}

/// Whether pods have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pods {
    /// None has.
    Disabled,
    /// Any address has.
    Insecure,
    /// Known ones have.
    Verified,
}

impl ClusterConfig {
    /// The library's own form of it.
    pub(crate) fn config(&self) -> Config {
        let usual = Config::default();
        let options = &self.options;
        let service = options.dns_service.as_deref();
        // `namespace/name`, or `name.namespace` as the name in DNS has it.
        let key = |text: &str| match (text.split_once('/'), text.split_once('.')) {
            (Some((namespace, name)), _) => ObjectKey::new(namespace, name),
            (None, Some((name, rest))) => {
                ObjectKey::new(rest.split('.').next().unwrap_or_default(), name)
            }
            (None, None) => ObjectKey::new("kube-system", text),
        };
        Config {
            zone: self.zone.clone().unwrap_or(usual.zone),
            ttl: self.ttl.unwrap_or(usual.ttl),
            reverse_zones: self.reverse_zones.clone(),
            name_server_addresses: self.ns_addresses.iter().map(|address| address.0).collect(),
            dns_service: service.map(key),
            pod_names: match options.pods {
                None | Some(Pods::Disabled) => PodNames::Disabled,
                Some(Pods::Insecure) => PodNames::Insecure,
                Some(Pods::Verified) => PodNames::Verified,
            },
            endpoint_pod_names: options.endpoint_pod_names,
            ignore_empty_service: options.ignore_empty_service,
            namespaces: options.namespaces.iter().cloned().collect(),
            ..usual
        }
    }
}

tagged! {
    /// One query and what must come of it.
    Query {
        id: String,
        qname: String,
        qtype: String,
        #[serde(default)] transport: Transport,
        edns: Option<Edns>,
        expect: Option<Expect>,
        #[serde(rename = "expect_any")] expect_any: Option<Vec<Expect>>,
    }
}

/// How a query comes.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// By UDP.
    #[default]
    Udp,
    /// By TCP.
    Tcp,
}

mapping! {
    /// What EDNS says.
    Edns {
        #[serde(default = "usual_size")] udp_size: u16,
        #[serde(default)] version: u8,
        #[serde(default, rename = "do")] dnssec_ok: bool,
    }
}

const fn usual_size() -> u16 {
    1232
}

mapping! {
    /// What must come of a query; what is absent is free.
    Expect {
        rcode: Option<String>,
        answers: Option<Vec<Record>>,
        additional: Option<Vec<Record>>,
        authority: Option<Authority>,
        tc: Option<bool>,
        max_size: Option<usize>,
        subset_of: Option<Vec<Record>>,
        edns: Option<Presence>,
    }
}

mapping! {
    /// One record.
    Record {
        name: String,
        #[serde(rename = "type")] kind: String,
        rdata: Value,
        ttl: Option<u32>,
    }
}

mapping! {
    /// The SOA record of a negative answer.
    Authority {
        soa: Option<String>,
        ttl: Option<u32>,
        minimum: Option<u32>,
    }
}

/// Is something there?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Presence {
    /// Yes.
    Present,
    /// No.
    Absent,
}

mapping! {
    /// A raw packet, and what may come of it.
    Wire {
        id: String,
        hex: Hex,
        allow: Vec<String>,
    }
}
