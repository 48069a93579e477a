//! The fields of a `KubeProxyConfiguration` (k8s.io/kube-proxy/config/v1alpha1, `types.go`), and which are not among
//! them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A mapping of the configuration: the fields that count here, and the names of all others there are.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty = $written:literal,)* } beside $others:expr) => {
        $(#[$meta])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        pub(super) struct $name {
            $(#[serde(rename = $written, deserialize_with = "or_default")] pub(super) $field: $type,)*
        }

        impl $name {
            const READ: &'static [&'static str] = &[$($written),*];
            const OTHERS: &'static [&'static str] = &$others;
        }
    };
}

section! {
    /// The whole.
    KubeProxyConfiguration {
        api_version: Option<String> = "apiVersion",
        kind: Option<String> = "kind",
        mode: String = "mode",
        hostname_override: String = "hostnameOverride",
        bind_address: String = "bindAddress",
        healthz_bind_address: String = "healthzBindAddress",
        metrics_bind_address: String = "metricsBindAddress",
        iptables: IptablesSection = "iptables",
        ipvs: IpvsSection = "ipvs",
        nftables: NftablesSection = "nftables",
        detect_local_mode: String = "detectLocalMode",
        detect_local: DetectLocalSection = "detectLocal",
        cluster_cidr: String = "clusterCIDR",
        node_port_addresses: Vec<String> = "nodePortAddresses",
        oom_score_adj: Option<i32> = "oomScoreAdj",
        conntrack: ConntrackSection = "conntrack",
        config_sync_period: Option<String> = "configSyncPeriod",
    } beside [
        "featureGates", "clientConnection", "logging", "bindAddressHardFail", "enableProfiling",
        "showHiddenMetricsForVersion", "winkernel", "portRange", "windowsRunAsService", "udpIdleTimeout",
    ]
}

section! {
    /// `iptables`.
    IptablesSection {
        masquerade_bit: Option<i32> = "masqueradeBit",
        masquerade_all: bool = "masqueradeAll",
        sync_period: Option<String> = "syncPeriod",
        min_sync_period: Option<String> = "minSyncPeriod",
    } beside ["localhostNodePorts", "snatNodeInternalIP"]
}

section! {
    /// `nftables`.
    NftablesSection {
        masquerade_bit: Option<i32> = "masqueradeBit",
        masquerade_all: bool = "masqueradeAll",
        sync_period: Option<String> = "syncPeriod",
        min_sync_period: Option<String> = "minSyncPeriod",
    } beside []
}

section! {
    /// `ipvs`.
    IpvsSection {
        sync_period: Option<String> = "syncPeriod",
        min_sync_period: Option<String> = "minSyncPeriod",
        scheduler: String = "scheduler",
        exclude_cidrs: Vec<String> = "excludeCIDRs",
        tcp_timeout: Option<String> = "tcpTimeout",
        tcp_fin_timeout: Option<String> = "tcpFinTimeout",
        udp_timeout: Option<String> = "udpTimeout",
    } beside ["strictARP"]
}

section! {
    /// `detectLocal`.
    DetectLocalSection {
        bridge_interface: String = "bridgeInterface",
        interface_name_prefix: String = "interfaceNamePrefix",
    } beside []
}

section! {
    /// `conntrack`.
    ConntrackSection {
        max_per_core: Option<i32> = "maxPerCore",
        min: Option<i32> = "min",
        tcp_established_timeout: Option<String> = "tcpEstablishedTimeout",
        tcp_close_wait_timeout: Option<String> = "tcpCloseWaitTimeout",
        udp_timeout: Option<String> = "udpTimeout",
        udp_stream_timeout: Option<String> = "udpStreamTimeout",
    } beside ["tcpBeLiberal"]
}

/// `null` is what is not said, as kubeadm writes it.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The paths of fields that there are not.
pub(super) fn unknown(value: &Value) -> Vec<String> {
    let sections: [(&str, [&[&str]; 2]); 6] = [
        (
            "",
            [KubeProxyConfiguration::READ, KubeProxyConfiguration::OTHERS],
        ),
        ("iptables", [IptablesSection::READ, IptablesSection::OTHERS]),
        ("ipvs", [IpvsSection::READ, IpvsSection::OTHERS]),
        ("nftables", [NftablesSection::READ, NftablesSection::OTHERS]),
        (
            "detectLocal",
            [DetectLocalSection::READ, DetectLocalSection::OTHERS],
        ),
        (
            "conntrack",
            [ConntrackSection::READ, ConntrackSection::OTHERS],
        ),
    ];
    let mut paths = Vec::new();
    for (name, known) in sections {
        let section = if name.is_empty() {
            Some(value)
        } else {
            value.get(name)
        };
        for key in section
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
        {
            if !known.iter().any(|names| names.contains(&key.as_str())) {
                let separator = if name.is_empty() { "" } else { "." };
                paths.push(format!("{name}{separator}{key}"));
            }
        }
    }
    paths
}
