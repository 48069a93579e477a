//! `KubeProxyConfiguration` (kubeproxy.config.k8s.io/v1alpha1), read as it stands in a cluster.
//!
//! As kube-proxy does: a field that is not known is warned of and left out, a field that is wrong is refused. What only
//! concerns the API server's client, logging, Windows or the kernel's own tables is known and has no effect here.

use super::findings::{About, Findings, Quoted};
use super::kube_proxy_fields as fields;
use super::parts::{self, Use};
use super::{duration, item, scheduling, yaml};
use crate::model::Rejection;
use crate::net::{Family, Prefix, Scheduler};
use crate::plan::{LocalDetector, NodeConfig, NodePortAddresses};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

const KIND: &str = "KubeProxyConfiguration";
const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
/// The greatest configuration that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;
const HEALTHZ_PORT: u16 = 10_256;
const METRICS_PORT: u16 = 10_249;

/// `mode`: what moves a node's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ProxyMode {
    /// `iptables`, which an empty mode means too: the kernel's, here by nftables.
    #[default]
    Iptables,
    /// `nftables`: the kernel's.
    Nftables,
    /// `ipvs`: the userspace dataplane, which has IPVS' schedulers.
    Ipvs,
}

impl ProxyMode {
    /// Are packets moved in userspace?
    #[must_use]
    pub const fn is_userspace(self) -> bool {
        matches!(self, Self::Ipvs)
    }

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
            Self::Ipvs => "ipvs",
        }
    }
}

/// Idle timeouts that the configuration sets; `None`: as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KubeProxyTimeouts {
    /// Of established TCP connections: 24 h if nothing is said.
    pub tcp_established: Option<Duration>,
    /// Of TCP connections in CLOSE_WAIT: 1 h if nothing is said.
    pub tcp_close_wait: Option<Duration>,
    /// Of TCP connections in FIN_WAIT.
    pub tcp_fin_wait: Option<Duration>,
    /// Of UDP without an answer.
    pub udp: Option<Duration>,
    /// Of UDP in both directions.
    pub udp_stream: Option<Duration>,
}

/// What a `KubeProxyConfiguration` says of a node's dataplane.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KubeProxyConfig {
    /// `mode`.
    pub mode: ProxyMode,
    /// `hostnameOverride`; `None`: the host's name.
    pub node_name: Option<String>,
    /// `bindAddress`, if it says more than its family: the node's primary address.
    pub primary_address: Option<IpAddr>,
    /// `detectLocalMode` and `detectLocal`; `None`: nothing is said, which means ClusterCIDR.
    pub detect_local: Option<LocalDetector>,
    /// `clusterCIDR`.
    pub cluster_cidrs: Vec<Prefix>,
    /// `nodePortAddresses`, or what the mode makes of none: all addresses, or with nftables the primary ones.
    pub node_port_addresses: NodePortAddresses,
    /// Does the configuration itself say so?
    pub node_port_addresses_given: bool,
    /// `masqueradeAll` of the mode's section.
    pub masquerade_all: bool,
    /// `ipvs.scheduler` in mode ipvs, `rr` if nothing is said; else `random`.
    pub scheduler: Scheduler,
    /// `conntrack` and, in mode ipvs, `ipvs.tcpTimeout` and its like.
    pub timeouts: KubeProxyTimeouts,
    /// `conntrack.maxPerCore` and `conntrack.min`, if either is given: connections for each processor, and at least.
    pub connections: Option<(u32, u32)>,
    /// `healthzBindAddress`.
    pub healthz_bind_address: SocketAddr,
    /// `metricsBindAddress`.
    pub metrics_bind_address: SocketAddr,
    /// Fields that are not known, and what is asked for and cannot be had: kube-proxy goes on, and so does whoever
    /// reads this.
    pub warnings: Vec<Rejection>,
}

/// Reads a `KubeProxyConfiguration` from YAML or JSON, one document.
///
/// ```
/// let config = portolan::k8s::decode_kube_proxy_config(
///     b"apiVersion: kubeproxy.config.k8s.io/v1alpha1
/// kind: KubeProxyConfiguration
/// mode: ipvs
/// clusterCIDR: 10.200.0.0/16
/// ipvs: {scheduler: wlc, shedule: wlc}
/// ",
///     "config.conf",
/// )
/// .expect("nothing in it is wrong");
/// assert_eq!(config.scheduler.as_str(), "wlc");
/// assert_eq!(config.warnings[0].field, "ipvs.shedule");
/// ```
///
/// # Errors
///
/// Everything that is wrong, each by field and rule; the object is `source`, with the line of a syntax error.
pub fn decode_kube_proxy_config(
    bytes: &[u8],
    source: &str,
) -> Result<KubeProxyConfig, Vec<Rejection>> {
    let mut findings = Findings::new(source);
    let mut about = About {
        object: source,
        findings: &mut findings,
    };
    let mut config = None;
    if bytes.len() > MAX_BYTES {
        let len = bytes.len();
        let rule = format!("{len} bytes are too many: must be at most {MAX_BYTES}");
        about.reject("", rule);
    } else {
        match yaml::parse(bytes) {
            Ok(value) => {
                let unknown = fields::unknown(&value);
                let written = item::typed::<fields::KubeProxyConfiguration>(&value, &mut about);
                config = written.map(|written| convert(written, unknown, &mut about));
            }
            Err(error) => {
                let place = format!("{source}:{}", error.line.saturating_add(1));
                about.findings.reject(place, "", error.rule);
            }
        }
    }
    let errors = findings.finish().rejections;
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        Some(_) | None => Err(errors),
    }
}

impl KubeProxyConfig {
    /// The node that this configuration describes, beginning with what else is known of it. `base` of `None`: nothing,
    /// but the host's name.
    #[must_use]
    pub fn node(&self, base: Option<NodeConfig>, host_name: &str) -> NodeConfig {
        let described = base.is_some();
        let mut node = base.unwrap_or_default();
        match &self.node_name {
            Some(name) => node.name.clone_from(name),
            None if node.name.is_empty() => node.name = host_name.into(),
            None => {}
        }
        if let Some(detector) = &self.detect_local {
            node.detect_local = detector.clone();
        }
        if !self.cluster_cidrs.is_empty() {
            node.cluster_cidrs.clone_from(&self.cluster_cidrs);
        }
        if self.node_port_addresses_given || !described {
            node.node_port_addresses
                .clone_from(&self.node_port_addresses);
        }
        if let Some(primary) = self.primary_address {
            node.addresses.retain(|address| *address != primary);
            node.addresses.insert(0, primary);
        }
        node.masquerade_all |= self.masquerade_all;
        if self.mode == ProxyMode::Ipvs {
            node.schedule.scheduler = self.scheduler;
        }
        node
    }
}

fn convert(
    written: fields::KubeProxyConfiguration,
    unknown: Vec<String>,
    about: &mut About<'_>,
) -> KubeProxyConfig {
    let expected = [
        ("apiVersion", written.api_version.as_deref(), API_VERSION),
        ("kind", written.kind.as_deref(), KIND),
    ];
    for (field, found, wanted) in expected {
        if found != Some(wanted) {
            let found = Quoted(found.unwrap_or_default());
            about.reject(field, format_args!("{found} is not read: must be {wanted}"));
        }
    }
    let warnings = warnings(&written, unknown, about.object);
    let mode = mode(&written.mode, about);
    check_numbers(&written, about);
    let bind = bind_address(&written.bind_address, about);
    let (any, loopback) = listening(bind);
    let conntrack = &written.conntrack;
    let given = conntrack.max_per_core.is_some() || conntrack.min.is_some();
    let number = |value: Option<i32>, default: u32| {
        value.map_or(default, |value| u32::try_from(value).unwrap_or(default))
    };
    KubeProxyConfig {
        mode,
        node_name: node_name(&written.hostname_override, about),
        primary_address: (!bind.is_unspecified()).then_some(bind),
        detect_local: detector(&written, about),
        cluster_cidrs: cluster_cidrs(&written.cluster_cidr, about),
        node_port_addresses: node_port_addresses(&written.node_port_addresses, mode, about),
        node_port_addresses_given: !written.node_port_addresses.is_empty(),
        masquerade_all: match mode {
            ProxyMode::Iptables | ProxyMode::Ipvs => written.iptables.masquerade_all,
            ProxyMode::Nftables => written.nftables.masquerade_all,
        },
        scheduler: scheduler(&written, mode, about),
        timeouts: timeouts(&written, mode, about),
        connections: given.then(|| {
            (
                number(conntrack.max_per_core, 32 * 1024),
                number(conntrack.min, 128 * 1024),
            )
        }),
        healthz_bind_address: socket(
            &written.healthz_bind_address,
            SocketAddr::new(any, HEALTHZ_PORT),
            "healthzBindAddress",
            about,
        ),
        metrics_bind_address: socket(
            &written.metrics_bind_address,
            SocketAddr::new(loopback, METRICS_PORT),
            "metricsBindAddress",
            about,
        ),
        warnings,
    }
}

/// What kube-proxy goes on with.
fn warnings(
    written: &fields::KubeProxyConfiguration,
    unknown: Vec<String>,
    source: &str,
) -> Vec<Rejection> {
    let mut warnings = Vec::new();
    let mut warn = |field: &str, rule: &str| {
        warnings.push(Rejection {
            object: source.into(),
            field: field.into(),
            rule: rule.into(),
        });
    };
    for field in unknown {
        warn(&field, "is not known, and has no effect");
    }
    if written
        .node_port_addresses
        .iter()
        .any(|word| word == "localhost")
    {
        warn(
            "nodePortAddresses",
            "localhost: NodePorts are never served on loopback addresses",
        );
    }
    warnings
}

/// Every address of this one's family, and its loopback address.
const fn listening(bind: IpAddr) -> (IpAddr, IpAddr) {
    match bind {
        IpAddr::V4(_) => (
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        ),
        IpAddr::V6(_) => (
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ),
    }
}

fn mode(text: &str, about: &mut About<'_>) -> ProxyMode {
    match text {
        "" | "iptables" => ProxyMode::Iptables,
        "nftables" => ProxyMode::Nftables,
        "ipvs" => ProxyMode::Ipvs,
        other => {
            let other = Quoted(other);
            about.reject(
                "mode",
                format_args!("{other} is no mode: must be iptables, ipvs, nftables or blank"),
            );
            ProxyMode::Iptables
        }
    }
}

fn node_name(text: &str, about: &mut About<'_>) -> Option<String> {
    // As kube-proxy does before it looks for its Node.
    let name = text.trim().to_lowercase();
    if name.is_empty() {
        return None;
    }
    if !parts::is_subdomain(&name) {
        let rule = format!(
            "{} is not a name: must be {}",
            Quoted(text),
            parts::SUBDOMAIN
        );
        about.reject("hostnameOverride", rule);
    }
    Some(name)
}

fn detector(
    written: &fields::KubeProxyConfiguration,
    about: &mut About<'_>,
) -> Option<LocalDetector> {
    let mut named = |name: &String, field: &str, mode: &str| {
        if name.is_empty() {
            about.reject(field, format_args!("is missing: {mode} needs it"));
        }
        name.clone()
    };
    let local = &written.detect_local;
    Some(match written.detect_local_mode.as_str() {
        "" => return None,
        "ClusterCIDR" => LocalDetector::ClusterCidr,
        "NodeCIDR" => LocalDetector::NodeCidr,
        mode @ "BridgeInterface" => LocalDetector::BridgeInterface(named(
            &local.bridge_interface,
            "detectLocal.bridgeInterface",
            mode,
        )),
        mode @ "InterfaceNamePrefix" => LocalDetector::InterfaceNamePrefix(named(
            &local.interface_name_prefix,
            "detectLocal.interfaceNamePrefix",
            mode,
        )),
        other => {
            let rule = format!(
                "{} is no way to tell pods: must be ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix",
                Quoted(other)
            );
            about.reject("detectLocalMode", rule);
            return None;
        }
    })
}

/// One prefix, or two of different families.
fn cluster_cidrs(text: &str, about: &mut About<'_>) -> Vec<Prefix> {
    let mut prefixes: Vec<Prefix> = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let Some(prefix) = parts::prefix(part, "clusterCIDR", about) else {
            continue;
        };
        let family = |prefix: &Prefix| Family::of(prefix.address());
        if prefixes
            .iter()
            .any(|other| family(other) == family(&prefix))
        {
            about.reject(
                "clusterCIDR",
                format_args!("{prefix} is the second of its family: must be at most one of each"),
            );
        } else {
            prefixes.push(prefix);
        }
    }
    prefixes
}

fn node_port_addresses(
    words: &[String],
    mode: ProxyMode,
    about: &mut About<'_>,
) -> NodePortAddresses {
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    if words.is_empty() {
        return match mode {
            ProxyMode::Nftables => NodePortAddresses::Primary,
            ProxyMode::Iptables | ProxyMode::Ipvs => NodePortAddresses::All,
        };
    }
    let mut prefixes = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if !matches!(word.as_str(), "primary" | "all" | "localhost") {
            let field = format!("nodePortAddresses[{index}]");
            prefixes.extend(parts::prefix(word, field, about));
        }
    }
    match (has("all"), has("primary")) {
        (true, _) => NodePortAddresses::All,
        (false, true) if prefixes.is_empty() => NodePortAddresses::Primary,
        (false, true) => NodePortAddresses::PrimaryAndWithin(prefixes),
        (false, false) => NodePortAddresses::Within(prefixes),
    }
}

fn scheduler(
    written: &fields::KubeProxyConfiguration,
    mode: ProxyMode,
    about: &mut About<'_>,
) -> Scheduler {
    match (mode, written.ipvs.scheduler.as_str()) {
        (ProxyMode::Iptables | ProxyMode::Nftables, _) => Scheduler::Random,
        (ProxyMode::Ipvs, "") => Scheduler::RoundRobin,
        (ProxyMode::Ipvs, name) => {
            scheduling::scheduler(name, "ipvs.scheduler", about).unwrap_or_default()
        }
    }
}

fn timeouts(
    written: &fields::KubeProxyConfiguration,
    mode: ProxyMode,
    about: &mut About<'_>,
) -> KubeProxyTimeouts {
    let mut read = |text: Option<&String>, field: &str| time(text, field, about);
    let positive = |time: Option<Duration>| time.filter(|time| !time.is_zero());
    let (conntrack, ipvs) = (&written.conntrack, &written.ipvs);
    let established = conntrack.tcp_established_timeout.as_ref();
    let close_wait = conntrack.tcp_close_wait_timeout.as_ref();
    // What is not said is kube-proxy's own, what is said to be 0 is left as it is.
    let default = |said: bool, hours: u64| (!said).then(|| Duration::from_secs(hours * 3600));
    let mut timeouts = KubeProxyTimeouts {
        tcp_established: positive(read(established, "conntrack.tcpEstablishedTimeout"))
            .or(default(established.is_some(), 24)),
        tcp_close_wait: positive(read(close_wait, "conntrack.tcpCloseWaitTimeout"))
            .or(default(close_wait.is_some(), 1)),
        tcp_fin_wait: None,
        udp: positive(read(conntrack.udp_timeout.as_ref(), "conntrack.udpTimeout")),
        udp_stream: positive(read(
            conntrack.udp_stream_timeout.as_ref(),
            "conntrack.udpStreamTimeout",
        )),
    };
    let tcp = positive(read(ipvs.tcp_timeout.as_ref(), "ipvs.tcpTimeout"));
    let fin = positive(read(ipvs.tcp_fin_timeout.as_ref(), "ipvs.tcpFinTimeout"));
    let udp = positive(read(ipvs.udp_timeout.as_ref(), "ipvs.udpTimeout"));
    if mode == ProxyMode::Ipvs {
        timeouts.tcp_established = tcp.or(timeouts.tcp_established);
        timeouts.tcp_fin_wait = fin;
        timeouts.udp = udp.or(timeouts.udp);
        timeouts.udp_stream = udp.or(timeouts.udp_stream);
    }
    timeouts
}

fn time(text: Option<&String>, field: &str, about: &mut About<'_>) -> Option<Duration> {
    let text = text?;
    let time = duration::parse(text);
    if time.is_none() {
        let text = Quoted(text);
        about.reject(field, format_args!("{text} is not {}", duration::RULE));
    }
    time
}

/// What is read and checked although it has no effect: kube-proxy would not start with it either.
fn check_numbers(written: &fields::KubeProxyConfiguration, about: &mut About<'_>) {
    let ranges = [
        (
            "iptables.masqueradeBit",
            written.iptables.masquerade_bit,
            0,
            31,
        ),
        (
            "nftables.masqueradeBit",
            written.nftables.masquerade_bit,
            0,
            31,
        ),
        (
            "conntrack.maxPerCore",
            written.conntrack.max_per_core,
            0,
            i32::MAX,
        ),
        ("conntrack.min", written.conntrack.min, 0, i32::MAX),
        ("oomScoreAdj", written.oom_score_adj, -1000, 1000),
    ];
    for (field, value, least, most) in ranges {
        if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
            let rule = format_args!("{value} is out of range: must be {least} to {most}");
            about.reject(field, rule);
        }
    }
    let sections = [
        (
            "iptables",
            &written.iptables.sync_period,
            &written.iptables.min_sync_period,
        ),
        (
            "nftables",
            &written.nftables.sync_period,
            &written.nftables.min_sync_period,
        ),
        (
            "ipvs",
            &written.ipvs.sync_period,
            &written.ipvs.min_sync_period,
        ),
    ];
    for (section, period, least) in sections {
        let period = time(period.as_ref(), &format!("{section}.syncPeriod"), about);
        let least = time(least.as_ref(), &format!("{section}.minSyncPeriod"), about);
        let period = period.filter(|time| !time.is_zero());
        if least.unwrap_or_default() > period.unwrap_or(Duration::from_secs(30)) {
            about.reject(
                format!("{section}.syncPeriod"),
                format_args!("must not be less than {section}.minSyncPeriod"),
            );
        }
    }
    time(
        written.config_sync_period.as_ref(),
        "configSyncPeriod",
        about,
    );
    for (index, text) in written.ipvs.exclude_cidrs.iter().enumerate() {
        let field = format!("ipvs.excludeCIDRs[{index}]");
        let _ = parts::prefix(text, field, about);
    }
}

fn bind_address(text: &str, about: &mut About<'_>) -> IpAddr {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if text.is_empty() {
        return any;
    }
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => address,
        Ok(_) => parts::address(text, Use::Frontend, "bindAddress", about).unwrap_or(any),
        Err(_) => {
            about.reject(
                "bindAddress",
                format_args!("{} is not an IP address", Quoted(text)),
            );
            any
        }
    }
}

/// An address with a port, or with the default's port.
fn socket(text: &str, default: SocketAddr, field: &str, about: &mut About<'_>) -> SocketAddr {
    if text.is_empty() {
        return default;
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let socket = text.parse::<SocketAddr>().ok().or_else(|| {
        let address = bare.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(address, default.port()))
    });
    match socket.filter(|socket| socket.port() != 0) {
        Some(socket) => socket,
        None => {
            about.reject(field, format_args!("{} is not IP:PORT", Quoted(text)));
            default
        }
    }
}
