//! Case files of the kinds `flows` and `packets` as they stand in YAML; what is not understood is an error.

use super::scalar::{Cidr, Endpoint, Field, Hex, Ip, IpProtocol, Payload, Scalar};
use core::net::{IpAddr, SocketAddr};
use portolan::plan::{LocalDetector, NodeConfig, NodePortAddresses, OtherProxies};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// A mapping of a case file: its own keys, and the four that are kept and never compared.
macro_rules! noted {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$field_meta])* pub(crate) $field: $type,)*
            #[serde(default, rename = "source")]
            pub(crate) _source: IgnoredAny,
            #[serde(default, rename = "basis")]
            pub(crate) _basis: IgnoredAny,
            #[serde(default, rename = "note")]
            pub(crate) _note: IgnoredAny,
            #[serde(default, rename = "divergence")]
            pub(crate) _divergence: IgnoredAny,
        }
    };
}

/// A mapping whose `tags` are not reported.
macro_rules! mapping {
    ($(#[$meta:meta])* $name:ident { $($body:tt)* }) => {
        noted! {
            $(#[$meta])*
            $name { $($body)* #[serde(default, rename = "tags")] _tags: IgnoredAny, }
        }
    };
}

/// A mapping whose `tags` go into the report.
macro_rules! tagged {
    ($(#[$meta:meta])* $name:ident { $($body:tt)* }) => {
        noted! { $(#[$meta])* $name { $($body)* #[serde(default)] tags: Value, } }
    };
}

pub(super) use {mapping, noted, tagged};

/// The one key that must be known before the rest can be read.
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    /// Which of the kinds; absent means `flows`.
    pub(crate) kind: Option<String>,
    /// The version of the format.
    pub(crate) version: Option<u64>,
}

mapping! {
    /// A file of kind `flows`.
    FlowsFile {
        #[serde(default, rename = "version")] _version: IgnoredAny,
        #[serde(default, rename = "kind")] _kind: IgnoredAny,
        cases: Vec<FlowsCase>,
    }
}

mapping! {
    /// A file of kind `packets`.
    PacketsFile {
        #[serde(default, rename = "version")] _version: IgnoredAny,
        #[serde(default, rename = "kind")] _kind: IgnoredAny,
        cases: Vec<PacketsCase>,
    }
}

tagged! {
    /// One case of kind `flows`.
    FlowsCase {
        name: String,
        node: NodeDescription,
        #[serde(default)] objects: Vec<Value>,
        #[serde(default)] flows: Vec<Flow>,
        #[serde(default)] health: Vec<Health>,
        #[serde(default)] steps: Vec<FlowsStep>,
    }
}

mapping! {
    /// One step of a case of kind `flows`.
    FlowsStep {
        step: Option<String>,
        #[serde(default)] delete: Vec<Deletion>,
        #[serde(default)] apply: Vec<Value>,
        node: Option<NodeDescription>,
        #[serde(default)] flows: Vec<Flow>,
        #[serde(default)] health: Vec<Health>,
        #[serde(default)] conntrack: Vec<Entry>,
    }
}

tagged! {
    /// One case of kind `packets`.
    PacketsCase {
        name: String,
        node: NodeDescription,
        #[serde(default)] objects: Vec<Value>,
        #[serde(default)] limits: CaseLimits,
        #[serde(default)] packets: Vec<PacketStep>,
        #[serde(default)] steps: Vec<PacketsStep>,
    }
}

mapping! {
    /// One step of a case of kind `packets`.
    PacketsStep {
        step: Option<String>,
        #[serde(default)] delete: Vec<Deletion>,
        #[serde(default)] apply: Vec<Value>,
        node: Option<NodeDescription>,
        #[serde(default)] packets: Vec<PacketStep>,
    }
}

mapping! {
    /// The node whose view is judged.
    NodeDescription {
        node_name: String,
        #[serde(default)] ips: Vec<Ip>,
        zone: Option<String>,
        #[serde(default, rename = "podCIDRs")] pod_cidrs: Vec<Cidr>,
        #[serde(default, rename = "clusterCIDRs")] cluster_cidrs: Vec<Cidr>,
        #[serde(default, rename = "serviceCIDRs")] service_cidrs: Vec<Cidr>,
        #[serde(default)] detect_local: DetectLocal,
        #[serde(default)] bridge_interface: String,
        #[serde(default)] interface_name_prefix: String,
        #[serde(default, rename = "masqueradeAll")] masquerade_all: bool,
        node_port_addresses: Option<Vec<Cidr>>,
        proxy_name: Option<String>,
        #[serde(default)] other_proxies: OtherProxiesName,
    }
}

/// What becomes of packets to ClusterIPs of Services that another proxy serves.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) enum OtherProxiesName {
    /// They are dropped, where they lie in `serviceCIDRs`.
    #[default]
    Drop,
    /// They are left alone.
    Pass,
}

/// How a pod is told from everybody else.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) enum DetectLocal {
    /// By `clusterCIDRs`.
    #[default]
    #[serde(rename = "ClusterCIDR")]
    ClusterCidr,
    /// By `podCIDRs`.
    #[serde(rename = "NodeCIDR")]
    NodeCidr,
    /// By `bridgeInterface`.
    BridgeInterface,
    /// By `interfaceNamePrefix`.
    InterfaceNamePrefix,
    /// Not at all.
    None,
}

/// Where a packet comes from, in the words of the case; the dataplane derives it from the address.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// A pod.
    Pod,
    /// The node itself.
    Node,
    /// Anybody else.
    External,
}

tagged! {
    /// The first packet of a connection and what must come of it.
    Flow {
        name: Option<String>,
        id: Option<String>,
        at: Option<f64>,
        src: Ip,
        sport: Option<u16>,
        dst: Ip,
        dport: Option<u16>,
        proto: IpProtocol,
        #[serde(rename = "from")] _from: Option<Origin>,
        /// The interface that the client's packets enter by.
        iface: Option<String>,
        same_endpoint_as: Option<String>,
        expect: FlowExpect,
    }
}

/// The verdict that a case expects of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FlowVerdict {
    /// Rewritten to an endpoint.
    Forward,
    /// Answered by ICMP port unreachable.
    Reject,
    /// Gone without an answer.
    Drop,
    /// Not ours, untouched.
    Pass,
}

mapping! {
    /// What must come of a flow.
    FlowExpect {
        verdict: FlowVerdict,
        endpoints: Option<Vec<Endpoint>>,
        masquerade: Option<bool>,
        masquerade_endpoints: Option<Vec<Endpoint>>,
        same_endpoint_as: Option<String>,
    }
}

tagged! {
    /// What the health check port of a Service must answer.
    Health {
        name: Option<String>,
        port: u16,
        status: Option<u16>,
        local_endpoints: Option<u32>,
    }
}

/// What is to become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EntryFate {
    /// The next packet opens a new one.
    Deleted,
    /// It goes on.
    Kept,
}

/// The endpoint of a connection; its port may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryEndpoint {
    /// The address.
    pub(crate) address: IpAddr,
    /// The port.
    pub(crate) port: Option<u16>,
}

impl<'de> Deserialize<'de> for EntryEndpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(deserializer)?;
        if let Ok(address) = text.parse() {
            return Ok(Self {
                address,
                port: None,
            });
        }
        let Endpoint(endpoint) = Endpoint::parse(&text)
            .map_err(|error| D::Error::custom(format_args!("`{text}` {error}")))?;
        Ok(Self {
            address: endpoint.ip(),
            port: Some(endpoint.port()),
        })
    }
}

tagged! {
    /// A connection that exists before a step.
    Entry {
        name: Option<String>,
        proto: IpProtocol,
        orig_src: Ip,
        orig_dst: Ip,
        orig_dport: u16,
        reply: EntryEndpoint,
        expect: EntryFate,
    }
}

mapping! {
    /// Names an object to be deleted.
    Deletion {
        kind: String,
        #[serde(default)] namespace: String,
        name: String,
    }
}

mapping! {
    /// Capacities other than the usual ones.
    #[derive(Default)]
    CaseLimits {
        /// Of each family.
        connections: Option<u32>,
        services: Option<u32>,
        frontends: Option<u32>,
        endpoints: Option<u32>,
        source_ranges: Option<u32>,
        affinities: Option<u32>,
        fragments: Option<u32>,
    }
}

tagged! {
    /// One packet and what must come of it.
    PacketStep {
        id: Option<String>,
        #[serde(default)] at: Option<f64>,
        #[serde(rename = "from")] _from: Option<Origin>,
        packet: Option<PacketFields>,
        hex: Option<Hex>,
        expect: PacketExpect,
    }
}

mapping! {
    /// What must come of a packet.
    #[derive(Default)]
    PacketExpect {
        verdict: Option<PacketVerdict>,
        reason: Option<String>,
        packet: Option<PacketFields>,
        checksums: Option<Checksums>,
        connection: Option<ConnectionExpect>,
        connections: Option<u64>,
    }
}

/// The verdict that a case expects of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PacketVerdict {
    /// Rewritten.
    Forward,
    /// Answered.
    Reply,
    /// Dropped, or held.
    Drop,
    /// Not ours.
    Pass,
}

/// How checksums are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Checksums {
    /// All of them right.
    Ok,
    /// Not judged.
    Any,
}

/// The live entry that a packet's tuple finds afterwards.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum ConnectionExpect {
    /// `none`.
    Word(NoConnection),
    /// One like this.
    Entry(ConnectionFields),
}

/// `none`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NoConnection {
    /// There must be none.
    None,
}

mapping! {
    /// Fields of a live entry.
    ConnectionFields {
        state: Option<String>,
        timeout_seconds: Option<f64>,
        direction: Option<String>,
    }
}

/// What a checksum is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChecksumKind {
    /// Right.
    Ok,
    /// Wrong.
    Bad,
    /// Zero: UDP's "none".
    Zero,
    /// The pseudo-header's sum; the rest is left to hardware.
    Partial,
}

/// IPv6 extension headers that a case can put in front of the transport header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Extension {
    /// RFC 8200 4.3.
    Hopbyhop,
    /// RFC 8200 4.6.
    Destination,
    /// RFC 8200 4.4, type 253, no segments left.
    Routing,
}

mapping! {
    /// Place of a fragment in its datagram.
    #[derive(Default)]
    FragmentFields {
        #[serde(default)] offset: u16,
        #[serde(default)] more: bool,
    }
}

mapping! {
    /// Options of the IPv4 and the TCP header.
    #[derive(Default)]
    OptionFields {
        ip: Option<Hex>,
        tcp: Option<Hex>,
    }
}

mapping! {
    /// A packet by its fields: what to build, or what must have come out.
    #[derive(Default)]
    PacketFields {
        src: Option<Field<Ip>>,
        dst: Option<Field<Ip>>,
        proto: Option<IpProtocol>,
        sport: Option<Field<u16>>,
        dport: Option<Field<u16>>,
        flags: Option<String>,
        seq: Option<Field<u32>>,
        ack: Option<Field<u32>>,
        window: Option<Field<u16>>,
        chunk: Option<String>,
        vtag: Option<Field<u32>>,
        ttl: Option<Field<u8>>,
        tos: Option<Field<u8>>,
        ipid: Option<Field<u32>>,
        df: Option<bool>,
        options: Option<OptionFields>,
        extension: Option<Vec<Extension>>,
        payload: Option<Payload>,
        fragment: Option<FragmentFields>,
        #[serde(rename = "type")] icmp_type: Option<Field<u8>>,
        code: Option<Field<u8>>,
        mtu: Option<Field<u32>>,
        echo_id: Option<Field<u16>>,
        echo_seq: Option<Field<u16>>,
        inner: Option<Box<PacketFields>>,
        inner_bytes: Option<usize>,
        checksum: Option<ChecksumKind>,
        ip_checksum: Option<ChecksumKind>,
        total_length: Option<Field<u16>>,
        ihl: Option<Field<u8>>,
        header_length: Option<Field<u8>>,
        udp_length: Option<Field<u16>>,
    }
}

impl PacketFields {
    /// Protocol, source and destination, in one line.
    pub(crate) fn route(&self) -> String {
        let end = |address: &Option<Field<Ip>>, port: &Option<Field<u16>>| match (address, port) {
            (Some(Field::Value(Ip(address))), Some(Field::Value(port))) => {
                SocketAddr::new(*address, *port).to_string()
            }
            (Some(address), _) => address.to_string(),
            (None, _) => "?".to_owned(),
        };
        let protocol = self.proto.map_or_else(|| "?".to_owned(), |p| p.to_string());
        let (from, to) = (end(&self.src, &self.sport), end(&self.dst, &self.dport));
        format!("{protocol} {from} -> {to}")
    }
}

impl NodeDescription {
    /// The same as the library takes it.
    pub(crate) fn config(&self) -> NodeConfig {
        let prefixes = |cidrs: &[Cidr]| cidrs.iter().map(|cidr| cidr.0).collect::<Vec<_>>();
        NodeConfig {
            name: self.node_name.clone(),
            addresses: self.ips.iter().map(|ip| ip.0).collect(),
            zone: self.zone.clone(),
            pod_cidrs: prefixes(&self.pod_cidrs),
            cluster_cidrs: prefixes(&self.cluster_cidrs),
            detect_local: match self.detect_local {
                DetectLocal::ClusterCidr => LocalDetector::ClusterCidr,
                DetectLocal::NodeCidr => LocalDetector::NodeCidr,
                DetectLocal::BridgeInterface => {
                    LocalDetector::BridgeInterface(self.bridge_interface.clone())
                }
                DetectLocal::InterfaceNamePrefix => {
                    LocalDetector::InterfaceNamePrefix(self.interface_name_prefix.clone())
                }
                DetectLocal::None => LocalDetector::None,
            },
            masquerade_all: self.masquerade_all,
            service_cidrs: prefixes(&self.service_cidrs),
            node_port_addresses: match self.node_port_addresses.as_deref() {
                None | Some([]) => NodePortAddresses::Primary,
                Some(cidrs) => NodePortAddresses::Within(prefixes(cidrs)),
            },
            proxy_name: self.proxy_name.clone(),
            other_proxies: match self.other_proxies {
                OtherProxiesName::Drop => OtherProxies::Drop,
                OtherProxiesName::Pass => OtherProxies::Pass,
            },
            ..NodeConfig::default()
        }
    }
}
