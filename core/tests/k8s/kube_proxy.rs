//! `KubeProxyConfiguration` as clusters have it.

use core::time::Duration;
use portolan::k8s::{KubeProxyConfig, ProxyMode, decode_kube_proxy_config};
use portolan::model::Rejection;
use portolan::net::Scheduler;
use portolan::plan::{LocalDetector, NodeConfig, NodePortAddresses};

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

/// What installers write: every field, most of them empty.
const INSTALLED: &str = r#"
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.200.0.0/16,fd20::/48
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options: {json: {infoBufferSize: "0"}}
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel: {enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "", sourceVip: ""}
"#;

fn decode(text: &str) -> Result<KubeProxyConfig, Vec<Rejection>> {
    decode_kube_proxy_config(text.as_bytes(), "config.conf")
}

fn with(text: &str) -> KubeProxyConfig {
    decode(&format!("{HEAD}{text}")).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

#[test]
fn what_installers_write_is_read_without_a_word() {
    let config = decode(INSTALLED).expect("it is as kube-proxy takes it");
    assert_eq!(config.warnings, []);
    assert_eq!(config.mode, ProxyMode::Iptables);
    assert!(!config.mode.is_userspace());
    assert_eq!(config.scheduler, Scheduler::Random);
    assert_eq!(config.healthz_bind_address.to_string(), "0.0.0.0:10256");
    assert_eq!(config.metrics_bind_address.to_string(), "127.0.0.1:10249");
    assert_eq!(config.connections, None);
    let hour = Duration::from_secs(3600);
    assert_eq!(config.timeouts.tcp_established, Some(24 * hour));
    assert_eq!(config.timeouts.tcp_close_wait, Some(hour));
    assert_eq!(config.timeouts.udp, None);
    let node = config.node(None, "worker-1");
    assert_eq!(node.name, "worker-1");
    assert_eq!(node.cluster_cidrs.len(), 2);
    assert_eq!(node.detect_local, LocalDetector::ClusterCidr);
    assert_eq!(node.node_port_addresses, NodePortAddresses::All);
}

#[test]
fn each_mode_brings_its_own_section_and_defaults() {
    let all = "iptables: {masqueradeAll: true}\nipvs: {scheduler: sed, tcpTimeout: 15m, tcpFinTimeout: 30s, udpTimeout: 5m}\n";
    for (mode, masquerade, scheduler, addresses, userspace) in [
        (
            "iptables",
            true,
            Scheduler::Random,
            NodePortAddresses::All,
            false,
        ),
        (
            "nftables",
            false,
            Scheduler::Random,
            NodePortAddresses::Primary,
            false,
        ),
        (
            "ipvs",
            true,
            Scheduler::ShortestExpectedDelay,
            NodePortAddresses::All,
            true,
        ),
    ] {
        let config = with(&format!("mode: {mode}\n{all}"));
        assert_eq!(config.mode.as_str(), mode);
        assert_eq!(config.mode.is_userspace(), userspace);
        assert_eq!(config.masquerade_all, masquerade, "{mode}");
        assert_eq!(config.scheduler, scheduler);
        assert_eq!(config.node_port_addresses, addresses);
        let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
        let established = if userspace {
            minutes(15)
        } else {
            minutes(24 * 60)
        };
        assert_eq!(config.timeouts.tcp_established, established);
        assert_eq!(config.timeouts.udp_stream, minutes(5).filter(|_| userspace));
        assert_eq!(config.timeouts.tcp_fin_wait.is_some(), userspace);
    }
    for scheduler in Scheduler::ALL {
        let config = with(&format!("mode: ipvs\nipvs: {{scheduler: {scheduler}}}"));
        assert_eq!(config.node(None, "n").schedule.scheduler, scheduler);
    }
    assert_eq!(with("mode: ipvs").scheduler, Scheduler::RoundRobin);
}

#[test]
fn what_is_said_counts_before_the_nodes_description_and_nothing_else_does() {
    let base = NodeConfig {
        name: "described".into(),
        addresses: vec![
            "192.168.66.11".parse().unwrap(),
            "192.168.67.11".parse().unwrap(),
        ],
        cluster_cidrs: vec!["10.1.0.0/16".parse().unwrap()],
        node_port_addresses: NodePortAddresses::All,
        ..NodeConfig::default()
    };
    let unchanged = with("mode: nftables").node(Some(base.clone()), "host");
    assert_eq!(unchanged, base);
    let changed = with(
        "hostnameOverride: ' Worker-2 '
bindAddress: 192.168.67.11
detectLocalMode: NodeCIDR
clusterCIDR: fd20::/48
nodePortAddresses: [primary, 10.0.0.0/8]
nftables: {masqueradeAll: true}
mode: nftables",
    )
    .node(Some(base), "host");
    assert_eq!(changed.name, "worker-2");
    assert_eq!(changed.addresses[0].to_string(), "192.168.67.11");
    assert_eq!(changed.addresses.len(), 2);
    assert_eq!(changed.detect_local, LocalDetector::NodeCidr);
    assert_eq!(changed.cluster_cidrs[0].to_string(), "fd20::/48");
    let within = NodePortAddresses::PrimaryAndWithin(vec!["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(changed.node_port_addresses, within);
    assert!(changed.masquerade_all);
}

#[test]
fn detectors_by_interface_name_their_interface() {
    let bridge = with("detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cbr0}");
    let expected = LocalDetector::BridgeInterface("cbr0".into());
    assert_eq!(bridge.detect_local, Some(expected));
    let prefix =
        with("detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: veth}");
    let expected = LocalDetector::InterfaceNamePrefix("veth".into());
    assert_eq!(prefix.detect_local, Some(expected));
}

#[test]
fn addresses_to_listen_on_may_lack_their_port() {
    let config =
        with("healthzBindAddress: 10.0.0.1\nmetricsBindAddress: '[::1]:9999'\nconntrack: {min: 7}");
    assert_eq!(config.healthz_bind_address.to_string(), "10.0.0.1:10256");
    assert_eq!(config.metrics_bind_address.to_string(), "[::1]:9999");
    assert_eq!(config.connections, Some((32_768, 7)));
    let six = with("bindAddress: '::'");
    assert_eq!(six.healthz_bind_address.to_string(), "[::]:10256");
    assert_eq!(six.metrics_bind_address.to_string(), "[::1]:10249");
}

#[test]
fn what_is_not_known_is_warned_of_by_its_path_and_the_rest_holds() {
    let config = with(
        "mode: ipvs\nmod: x\nipvs: {shedule: wlc, scheduler: lc}\nconntrack: {udp: 1}\nnodePortAddresses: [localhost, all]",
    );
    let fields: Vec<&str> = config
        .warnings
        .iter()
        .map(|warning| warning.field.as_str())
        .collect();
    assert_eq!(
        fields,
        ["mod", "ipvs.shedule", "conntrack.udp", "nodePortAddresses"]
    );
    assert_eq!(config.scheduler, Scheduler::LeastConnection);
}

#[test]
fn what_is_wrong_is_refused_with_its_field() {
    for (text, field) in [
        ("mode: userspace", "mode"),
        ("mode: 7", "mode"),
        ("mode: ipvs\nipvs: {scheduler: lblc}", "ipvs.scheduler"),
        ("ipvs: {tcpTimeout: soon}", "ipvs.tcpTimeout"),
        ("ipvs: {excludeCIDRs: [10.0.0.0]}", "ipvs.excludeCIDRs[0]"),
        ("detectLocalMode: Guess", "detectLocalMode"),
        (
            "detectLocalMode: BridgeInterface",
            "detectLocal.bridgeInterface",
        ),
        (
            "detectLocalMode: InterfaceNamePrefix",
            "detectLocal.interfaceNamePrefix",
        ),
        ("clusterCIDR: 10.0.0.1", "clusterCIDR"),
        ("clusterCIDR: '10.0.0.0/8,11.0.0.0/8'", "clusterCIDR"),
        ("nodePortAddresses: [first]", "nodePortAddresses[0]"),
        ("nodePortAddresses: primary", "nodePortAddresses"),
        ("iptables: {masqueradeBit: 32}", "iptables.masqueradeBit"),
        ("iptables: {masqueradeAll: 'yes'}", "iptables.masqueradeAll"),
        (
            "nftables: {minSyncPeriod: 1m, syncPeriod: 1s}",
            "nftables.syncPeriod",
        ),
        ("conntrack: {maxPerCore: -1}", "conntrack.maxPerCore"),
        (
            "conntrack: {tcpEstablishedTimeout: -1s}",
            "conntrack.tcpEstablishedTimeout",
        ),
        ("oomScoreAdj: 1001", "oomScoreAdj"),
        ("bindAddress: here", "bindAddress"),
        ("healthzBindAddress: ':10256'", "healthzBindAddress"),
        ("metricsBindAddress: '127.0.0.1:0'", "metricsBindAddress"),
        ("hostnameOverride: a_b", "hostnameOverride"),
        ("configSyncPeriod: x", "configSyncPeriod"),
    ] {
        let errors = decode(&format!("{HEAD}{text}\n")).expect_err(text);
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, [field], "{text}: {errors:?}");
        assert!(errors[0].object == "config.conf" && !errors[0].rule.is_empty());
    }
    for (text, field) in [
        ("kind: KubeProxyConfiguration", "apiVersion"),
        (
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeletConfiguration",
            "kind",
        ),
        ("mode: [", ""),
    ] {
        let errors = decode(text).expect_err(text);
        assert_eq!(errors[0].field, field, "{text}");
    }
    assert!(decode(&"#".repeat(2 << 20)).is_err());
}
