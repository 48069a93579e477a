//! Case files of the kinds `endpoints` and `validation` as they stand in YAML.

use crate::check::case::{Deletion, mapping, noted, tagged};
use core::net::IpAddr;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::BTreeMap;

mapping! {
    /// A file of kind `endpoints`.
    EndpointsFile {
        #[serde(default, rename = "version")] _version: IgnoredAny,
        #[serde(default, rename = "kind")] _kind: IgnoredAny,
        #[serde(default)] config: EndpointsConfig,
        cases: Vec<EndpointsCase>,
    }
}

mapping! {
    /// How endpoints are packed.
    #[derive(Default)]
    EndpointsConfig {
        max_endpoints_per_slice: Option<usize>,
    }
}

tagged! {
    /// One case of kind `endpoints`.
    EndpointsCase {
        name: String,
        #[serde(default)] manifests: Vec<Value>,
        pod_template: Option<PodTemplate>,
        config: Option<EndpointsConfig>,
        expect: EndpointsExpect,
        #[serde(default)] then: Vec<EndpointsStep>,
    }
}

mapping! {
    /// One step of a case of kind `endpoints`.
    EndpointsStep {
        step: Option<String>,
        #[serde(default)] delete: Vec<Deletion>,
        #[serde(default)] apply: Vec<Value>,
        pod_template: Option<PodTemplate>,
        expect: EndpointsExpect,
    }
}

mapping! {
    /// Many Pods that are alike.
    PodTemplate {
        count: u32,
        #[serde(default = "default_namespace")] namespace: String,
        node_name: Option<String>,
        #[serde(default)] labels: BTreeMap<String, String>,
        #[serde(default = "yes")] ready: bool,
        #[serde(default = "default_prefix")] name_prefix: String,
        #[serde(rename = "firstIP")] first_ip: IpAddr,
        container_port: Option<TemplatePort>,
    }
}

fn default_namespace() -> String {
    "default".to_owned()
}

fn default_prefix() -> String {
    "pod-".to_owned()
}

const fn yes() -> bool {
    true
}

mapping! {
    /// A named port, with another number from Pod to Pod.
    TemplatePort {
        name: Option<String>,
        protocol: Option<String>,
        #[serde(default)] ports: Vec<u16>,
    }
}

mapping! {
    /// All slices that there must be.
    EndpointsExpect {
        slices: Vec<SliceExpect>,
    }
}

mapping! {
    /// All endpoints of a Service in a family with the same ports, in however many slices.
    SliceExpect {
        service: String,
        address_type: String,
        ports: Option<Vec<PortExpect>>,
        endpoints: Option<Vec<Value>>,
        slice_sizes: Option<Vec<usize>>,
        endpoint_count: Option<usize>,
        #[serde(default)] labels: BTreeMap<String, String>,
        #[serde(default)] absent_labels: Vec<String>,
    }
}

mapping! {
    /// One port of a slice.
    PortExpect {
        #[serde(default)] name: String,
        port: Option<i32>,
        protocol: Option<String>,
        app_protocol: Option<String>,
    }
}

mapping! {
    /// A file of kind `validation`.
    ValidationFile {
        #[serde(default, rename = "version")] _version: IgnoredAny,
        #[serde(default, rename = "kind")] _kind: IgnoredAny,
        config: Option<ValidationConfig>,
        #[serde(default)] cases: Vec<ValidationCase>,
        #[serde(default)] allocators: Vec<AllocatorCase>,
    }
}

mapping! {
    /// What is configured.
    #[derive(Default)]
    ValidationConfig {
        #[serde(default, rename = "serviceCIDRs")] service_cidrs: Vec<String>,
        node_port_range: Option<String>,
    }
}

/// What is done with the Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Operation {
    /// `service` is new.
    Create,
    /// `old` becomes `new`.
    Update,
}

tagged! {
    /// One case of kind `validation`.
    ValidationCase {
        name: String,
        op: Operation,
        service: Option<Value>,
        old: Option<Value>,
        new: Option<Value>,
        #[serde(default)] existing: Vec<Value>,
        config: Option<ValidationConfig>,
        expect: ValidationExpect,
    }
}

mapping! {
    /// What must come of it.
    ValidationExpect {
        valid: bool,
        #[serde(default)] errors: Vec<ErrorExpect>,
        #[serde(default)] defaults: BTreeMap<String, Value>,
    }
}

mapping! {
    /// One error that must be reported.
    ErrorExpect {
        field: String,
        #[serde(rename = "type")] kind: Option<String>,
        #[serde(default, rename = "gist")] _gist: IgnoredAny,
    }
}

/// What is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum AllocatorKind {
    /// Addresses of one Service CIDR.
    #[serde(rename = "clusterIP")]
    ClusterIp,
    /// Ports of one range.
    #[serde(rename = "nodePort")]
    NodePort,
    /// Whole Services, in words.
    #[serde(rename = "service")]
    Service,
}

tagged! {
    /// One case about an allocator.
    AllocatorCase {
        name: String,
        kind: AllocatorKind,
        range: Option<String>,
        #[serde(default, rename = "config")] _config: IgnoredAny,
        expect: Option<AllocatorExpect>,
        #[serde(default)] steps: Vec<Value>,
    }
}

mapping! {
    /// What the range must amount to.
    AllocatorExpect {
        usable: Option<Value>,
        static_band: Option<Value>,
        dynamic_band: Option<Value>,
    }
}

/// What an allocator is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum AllocatorOperation {
    /// A certain value.
    Allocate,
    /// Any value.
    AllocateNext,
    /// A value is given back.
    Release,
    /// Is the value taken?
    Has,
    /// How many are free?
    Free,
}

mapping! {
    /// One step of a case about addresses or ports.
    AllocatorStep {
        op: AllocatorOperation,
        value: Option<Value>,
        result: Option<Value>,
        within: Option<Value>,
        times: Option<u32>,
        #[serde(default)] distinct: bool,
    }
}
