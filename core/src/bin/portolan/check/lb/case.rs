//! Case files of the kind `lb` as they stand in YAML; what is not understood is an error.

use super::super::case::{Deletion, mapping, noted, tagged};
use super::super::scalar::{Cidr, Endpoint, Ip, IpProtocol};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

mapping! {
    /// A file of kind `lb`.
    LbFile {
        #[serde(default, rename = "version")] _version: IgnoredAny,
        #[serde(default, rename = "kind")] _kind: IgnoredAny,
        cases: Vec<LbCase>,
    }
}

tagged! {
    /// One node, what the cluster holds, and the frontends that must come of it.
    LbCase {
        name: String,
        node: LbNode,
        #[serde(default)] config: LbConfig,
        #[serde(default)] manifests: Vec<Value>,
        #[serde(default)] expect: LbExpect,
        #[serde(default)] then: Vec<LbStep>,
    }
}

mapping! {
    /// A change, and what must come of it.
    LbStep {
        step: Option<String>,
        #[serde(default)] delete: Vec<Deletion>,
        #[serde(default)] apply: Vec<Value>,
        node: Option<LbNode>,
        #[serde(default)] expect: LbExpect,
    }
}

mapping! {
    /// The node whose view is judged.
    LbNode {
        name: String,
        zone: Option<String>,
        #[serde(default)] addresses: Vec<LbAddress>,
    }
}

mapping! {
    /// An address of the node.
    LbAddress {
        ip: Ip,
        /// Are NodePorts served here?
        #[serde(default)] node_port: bool,
    }
}

mapping! {
    /// What the cluster allows.
    #[derive(Default)]
    LbConfig {
        /// Are `spec.externalIPs` served? They are if nothing is said.
        #[serde(rename = "externalIPs")] external_ips: Option<bool>,
    }
}

mapping! {
    /// What must come of it. Lists that are absent are not judged.
    #[derive(Default)]
    LbExpect {
        frontends: Option<Vec<LbFrontend>>,
        #[serde(default)] optional_frontends: Vec<LbFrontend>,
        #[serde(default)] endpoint_states: Vec<LbEndpointState>,
        #[serde(default)] health_checks: Vec<LbHealthCheck>,
        #[serde(default)] blocked: Vec<LbPlace>,
        #[serde(default)] probes: Vec<LbProbe>,
    }
}

/// What kind of door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum LbType {
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    NodePort,
    #[serde(rename = "ExternalIP")]
    ExternalIp,
    LoadBalancer,
    HostPort,
}

/// For whom an expectation holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LbScope {
    /// Clients outside the cluster.
    External,
    /// Pods.
    Internal,
}

/// What becomes of a new flow to a frontend without endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EmptyVerdict {
    Reject,
    Drop,
}

tagged! {
    /// One frontend.
    LbFrontend {
        ip: Ip,
        port: u16,
        protocol: IpProtocol,
        #[serde(rename = "type")] kind: LbType,
        service: Option<String>,
        port_name: Option<String>,
        backends: Option<Vec<Endpoint>>,
        scope: Option<LbScope>,
        empty_verdict: Option<EmptyVerdict>,
        draining: Option<Vec<Endpoint>>,
        session_affinity: Option<LbAffinity>,
        source_ranges: Option<Vec<Cidr>>,
    }
}

mapping! {
    /// Session affinity.
    LbAffinity {
        #[serde(rename = "type")] kind: String,
        timeout_seconds: Option<u32>,
    }
}

/// The condition of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LbState {
    Active,
    Terminating,
    TerminatingNotServing,
    NotReady,
}

tagged! {
    /// The condition that an endpoint must be in.
    LbEndpointState {
        address: Endpoint,
        state: LbState,
    }
}

tagged! {
    /// What the health check port of a Service must answer.
    LbHealthCheck {
        port: u16,
        service: Option<String>,
        local_endpoints: Option<u32>,
        status: Option<u16>,
    }
}

tagged! {
    /// A place that new flows must not be forwarded from.
    LbPlace {
        ip: Ip,
        port: u16,
        protocol: Option<IpProtocol>,
        src: Option<Ip>,
    }
}

/// What becomes of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProbeVerdict {
    Forward,
    Drop,
}

tagged! {
    /// One new flow.
    LbProbe {
        src: Ip,
        dst: Endpoint,
        protocol: Option<IpProtocol>,
        verdict: ProbeVerdict,
    }
}
