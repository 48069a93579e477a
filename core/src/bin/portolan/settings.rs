//! What `portolan run` is told of its node: by a description, by a `KubeProxyConfiguration`, or by both.

use crate::CommandError;
use crate::offline::{read_api_settings, read_node};
use crate::watch;
use clap::{Args, ValueEnum};
use core::num::NonZeroU32;
use portolan::api;
use portolan::conntrack::Timeouts;
use portolan::dataplane::{Config, EndedTcp, MidStream, Options};
use portolan::k8s::{self, KubeProxyConfig};
use portolan::plan::NodeConfig;

use std::path::{Path, PathBuf};
use tracing::warn;

/// Where the settings come from.
#[derive(Debug, Args)]
pub(crate) struct SettingsFiles {
    /// The description of this node (YAML): nodeName, ips, zone, podCIDRs, clusterCIDRs, serviceCIDRs,
    /// detectLocal, masqueradeAll, nodePortAddresses, scheduler, slowStart, maglevSeed, proxyName
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    node_config: Option<PathBuf>,
    /// A KubeProxyConfiguration (YAML) as kube-proxy has it; what it says counts before --node-config. The
    /// node's addresses, zone and podCIDRs come from its v1 Node where no description gives them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What becomes of packets where users want otherwise than kube-proxy.
#[derive(Debug, Args)]
pub(crate) struct OptionArguments {
    /// Resets TCP connections whose endpoint is gone, instead of leaving them to their peers
    #[arg(long)]
    reset_ended: bool,
    /// What becomes of a TCP segment that is no SYN and belongs to no connection
    #[arg(long, value_enum, default_value_t = MidStreamWord::Drop)]
    mid_stream: MidStreamWord,
    /// Answers ICMP echo requests to Services' addresses
    #[arg(long)]
    answer_echo: bool,
    /// How many connections each worker opens a second at most; as many as come if this is not given
    #[arg(long, value_name = "NUMBER")]
    new_connections_per_second: Option<NonZeroU32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MidStreamWord {
    /// Dropped
    Drop,
    /// Answered by a reset
    Reset,
    /// It opens a connection: with a scheduler that hashes, to the endpoint that it was with
    PickUp,
}

impl OptionArguments {
    pub(crate) const fn options(&self) -> Options {
        Options {
            ended_tcp: if self.reset_ended {
                EndedTcp::Reset
            } else {
                EndedTcp::Keep
            },
            mid_stream: match self.mid_stream {
                MidStreamWord::Drop => MidStream::Drop,
                MidStreamWord::Reset => MidStream::Reset,
                MidStreamWord::PickUp => MidStream::PickUp,
            },
            answer_echo: self.answer_echo,
            new_connections_per_second: self.new_connections_per_second,
        }
    }
}

/// What the files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) node: NodeConfig,
    pub(crate) kube_proxy: Option<KubeProxyConfig>,
}

impl SettingsFiles {
    /// Reads the files. What a `KubeProxyConfiguration` says that is not known is logged.
    pub(crate) fn read(&self) -> Result<Settings, CommandError> {
        let described = self.node_config.as_deref().map(read_node).transpose()?;
        let kube_proxy = self.config.as_deref().map(read_config).transpose()?;
        let node = match &kube_proxy {
            Some(config) => config.node(described, &host_name()),
            None => described.unwrap_or_default(),
        };
        Ok(Settings { node, kube_proxy })
    }

    /// How the API server's part allocates on this node.
    pub(crate) fn api(&self, node: &NodeConfig) -> Result<api::Settings, CommandError> {
        read_api_settings(self.node_config.as_deref(), node)
    }

    /// Changes when a file does.
    pub(crate) fn stamps(&self) -> [Option<watch::Stamp>; 2] {
        [&self.node_config, &self.config].map(|path| path.as_deref().and_then(watch::stamp))
    }
}

impl Settings {
    /// Capacities and timeouts that the configuration asks for.
    pub(crate) fn apply(&self, config: &mut Config) {
        let Some(kube_proxy) = &self.kube_proxy else {
            return;
        };
        let Timeouts {
            tcp,
            udp,
            udp_stream,
            ..
        } = &mut config.timeouts;
        let wanted = &kube_proxy.timeouts;
        for (place, time) in [
            (&mut tcp.established, wanted.tcp_established),
            (&mut tcp.close_wait, wanted.tcp_close_wait),
            (&mut tcp.fin_wait, wanted.tcp_fin_wait),
            (udp, wanted.udp),
            (udp_stream, wanted.udp_stream),
        ] {
            *place = time.unwrap_or(*place);
        }
        if let Some((per_core, least)) = kube_proxy.connections.filter(|(each, _)| *each > 0) {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            let processors = u32::try_from(processors).unwrap_or(u32::MAX);
            let connections = per_core.saturating_mul(processors).max(least);
            config.limits.connections_ipv4 = connections;
            config.limits.connections_ipv6 = connections;
        }
    }

    /// Does another start of the command need what has changed since `before`?
    pub(crate) fn needs_restart(&self, before: &Self) -> bool {
        let fixed = |settings: &Self| {
            settings.kube_proxy.as_ref().map(|config| {
                (
                    config.timeouts,
                    config.connections,
                    config.healthz_bind_address,
                    config.metrics_bind_address,
                )
            })
        };
        fixed(self) != fixed(before)
    }
}

fn read_config(path: &Path) -> Result<KubeProxyConfig, CommandError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| format!("{name}: {error}"))?;
    let config = k8s::decode_kube_proxy_config(&bytes, &name).map_err(|rejections| {
        let lines: Vec<_> = rejections.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    Ok(config)
}

/// What a node is called that nobody named.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_lowercase()
}
