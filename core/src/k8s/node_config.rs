//! What the host says of its own node, as a file: the `node` of a case file, and the argument of `portolan run`.
//!
//! Unlike objects, of which one more or less is the cluster's business, this is one thing that its author wants right:
//! anything wrong in it, a key that is not known included, is an error.

use super::findings::{About, Findings, Quoted};
use super::parts::{self, Use};
use super::{item, scheduling, yaml};
use crate::model::Rejection;
use crate::net::Prefix;
use crate::plan::{LocalDetector, NodeConfig, NodePortAddresses, OtherProxies};
use crate::service::Schedule;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;
use serde_json::Value;

/// The greatest description that [`decode_node_config`] reads, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// A node's description as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeDescription {
    /// The node's name, which endpoints have as `nodeName`.
    pub node_name: String,
    /// The node's addresses; the first of each family is primary.
    #[serde(default)]
    pub ips: Vec<String>,
    /// Its zone; absent: no zone label.
    #[serde(default)]
    pub zone: Option<String>,
    /// Where its pods' addresses come from.
    #[serde(default, rename = "podCIDRs")]
    pub pod_cidrs: Vec<String>,
    /// Where all pods' addresses come from.
    #[serde(default, rename = "clusterCIDRs")]
    pub cluster_cidrs: Vec<String>,
    /// `ClusterCIDR` (the default): a source inside `clusterCIDRs` is a pod; `NodeCIDR`: one inside `podCIDRs` is;
    /// `BridgeInterface`: what enters by `bridgeInterface` comes from pods; `InterfaceNamePrefix`: what enters by an
    /// interface whose name begins with `interfaceNamePrefix` does; `None`: there is no way to tell.
    #[serde(default)]
    pub detect_local: Option<String>,
    /// With `detectLocal: BridgeInterface`: the bridge.
    #[serde(default)]
    pub bridge_interface: String,
    /// With `detectLocal: InterfaceNamePrefix`: how the names of pods' interfaces begin.
    #[serde(default)]
    pub interface_name_prefix: String,
    /// Masquerade everything sent to a ClusterIP.
    #[serde(default)]
    pub masquerade_all: bool,
    /// Where Services' addresses come from: an address in them that no Service has is dropped.
    #[serde(default, rename = "serviceCIDRs")]
    pub service_cidrs: Vec<String>,
    /// NodePorts are served on those of `ips` that lie in one of these; or `primary` (the default) or `all` alone.
    #[serde(default)]
    pub node_port_addresses: Vec<String>,
    /// How endpoints are chosen of Services that do not say so themselves: `random` (the default), or a scheduler as
    /// IPVS names them.
    #[serde(default)]
    pub scheduler: Option<String>,
    /// For how long new endpoints get fewer connections than their share; absent: not at all.
    #[serde(default)]
    pub slow_start: Option<String>,
    /// What Maglev's hash begins with: nodes that are to make the same choices have the same.
    #[serde(default)]
    pub maglev_seed: u64,
    /// Serve only Services with this label `service.kubernetes.io/service-proxy-name`; absent: those without.
    #[serde(default)]
    pub proxy_name: Option<String>,
    /// What becomes of packets to the other Services' ClusterIPs: `Drop` (the default) or `Pass`.
    #[serde(default)]
    pub other_proxies: Option<String>,
    /// How the API server's part allocates, for hosts without a cluster; not looked at here.
    #[serde(default)]
    pub api: Option<Value>,
}

/// Reads a node's description from YAML or JSON, one document.
///
/// ```
/// let config = portolan::k8s::decode_node_config(
///     b"{nodeName: n1, ips: [192.168.66.11, 'fd66::11'], clusterCIDRs: [10.200.0.0/16]}",
///     "node.yaml",
/// );
/// assert_eq!(config.map(|config| config.name), Ok("n1".to_string()));
///
/// let misspelt = portolan::k8s::decode_node_config(b"{nodeName: n1, podCidrs: []}", "node.yaml");
/// assert!(misspelt.is_err_and(|errors| errors[0].field == "podCidrs"));
/// ```
///
/// # Errors
///
/// Everything that is wrong, each by field and rule; the object is `source`, with the line of a syntax error.
pub fn decode_node_config(bytes: &[u8], source: &str) -> Result<NodeConfig, Vec<Rejection>> {
    let mut findings = Findings::new(source);
    let mut about = About {
        object: source,
        findings: &mut findings,
    };
    if bytes.len() > MAX_BYTES {
        let rule = format!(
            "{} bytes are too many: must be at most {MAX_BYTES}",
            bytes.len()
        );
        about.reject("", rule);
        return Err(findings.finish().rejections);
    }
    let description = match yaml::parse(bytes) {
        Ok(value) => item::typed::<NodeDescription>(&value, &mut about),
        Err(error) => {
            let place = format!("{source}:{}", error.line + 1);
            about.findings.reject(place, "", error.rule);
            None
        }
    };
    match description {
        Some(description) => description.into_config(source),
        None => Err(findings.finish().rejections),
    }
}

impl NodeDescription {
    /// Checks the description; `source` names it in what is said of it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each by field and rule.
    pub fn into_config(self, source: &str) -> Result<NodeConfig, Vec<Rejection>> {
        let mut findings = Findings::new(source);
        let mut about = About {
            object: source,
            findings: &mut findings,
        };
        if !parts::is_subdomain(&self.node_name) {
            let rule = format!(
                "{} is not a name: must be {}",
                Quoted(&self.node_name),
                parts::SUBDOMAIN
            );
            about.reject("nodeName", rule);
        }
        let mut addresses = Vec::new();
        for (index, text) in self.ips.iter().enumerate() {
            let field = format_args!("ips[{index}]");
            addresses.extend(parts::address(text, Use::Frontend, field, &mut about));
        }
        let config = NodeConfig {
            addresses,
            zone: self.zone.filter(|zone| !zone.is_empty()),
            pod_cidrs: prefixes(&self.pod_cidrs, "podCIDRs", &mut about),
            cluster_cidrs: prefixes(&self.cluster_cidrs, "clusterCIDRs", &mut about),
            detect_local: detector(
                self.detect_local.as_deref(),
                (&self.bridge_interface, &self.interface_name_prefix),
                &mut about,
            ),
            masquerade_all: self.masquerade_all,
            service_cidrs: prefixes(&self.service_cidrs, "serviceCIDRs", &mut about),
            node_port_addresses: node_port_addresses(&self.node_port_addresses, &mut about),
            schedule: Schedule {
                scheduler: self
                    .scheduler
                    .and_then(|name| scheduling::scheduler(&name, "scheduler", &mut about))
                    .unwrap_or_default(),
                slow_start_seconds: self
                    .slow_start
                    .and_then(|text| scheduling::slow_start(&text, "slowStart", &mut about))
                    .unwrap_or(0),
                seed: self.maglev_seed,
            },
            proxy_name: self.proxy_name,
            other_proxies: other_proxies(self.other_proxies.as_deref(), &mut about),
            name: self.node_name,
        };
        match findings.finish().rejections {
            errors if errors.is_empty() => Ok(config),
            errors => Err(errors),
        }
    }
}

fn prefixes(texts: &[String], path: &str, about: &mut About<'_>) -> Vec<Prefix> {
    let mut prefixes = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        prefixes.extend(parts::prefix(text, format_args!("{path}[{index}]"), about));
    }
    prefixes
}

fn detector(
    text: Option<&str>,
    (bridge, prefix): (&str, &str),
    about: &mut About<'_>,
) -> LocalDetector {
    let mut named = |name: &str, field: &str, mode: &str| {
        if name.is_empty() {
            about.reject(field, format_args!("is missing: {mode} needs it"));
        }
        String::from(name)
    };
    match text.unwrap_or_default() {
        "" | "ClusterCIDR" => LocalDetector::ClusterCidr,
        "NodeCIDR" => LocalDetector::NodeCidr,
        mode @ "BridgeInterface" => {
            LocalDetector::BridgeInterface(named(bridge, "bridgeInterface", mode))
        }
        mode @ "InterfaceNamePrefix" => {
            LocalDetector::InterfaceNamePrefix(named(prefix, "interfaceNamePrefix", mode))
        }
        "None" => LocalDetector::None,
        other => {
            let rule = format!(
                "{} is not a way to tell pods: must be ClusterCIDR, NodeCIDR, BridgeInterface, \
                 InterfaceNamePrefix or None",
                Quoted(other)
            );
            about.reject("detectLocal", rule);
            LocalDetector::None
        }
    }
}

fn other_proxies(text: Option<&str>, about: &mut About<'_>) -> OtherProxies {
    match text.unwrap_or_default() {
        "" | "Drop" => OtherProxies::Drop,
        "Pass" => OtherProxies::Pass,
        other => {
            let rule = format!("{} is not known: must be Drop or Pass", Quoted(other));
            about.reject("otherProxies", rule);
            OtherProxies::default()
        }
    }
}

fn node_port_addresses(texts: &[String], about: &mut About<'_>) -> NodePortAddresses {
    let words: Vec<&str> = texts.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["primary"] => NodePortAddresses::Primary,
        ["all"] => NodePortAddresses::All,
        _ => NodePortAddresses::Within(prefixes(texts, "nodePortAddresses", about)),
    }
}
