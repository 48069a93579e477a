//! What a host says of its zones.

use super::name::{ZoneName, service_labels};
use crate::model::ObjectKey;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

/// The longest TTL that may be configured, in seconds (CoreDNS's bound).
pub const MAX_TTL: u32 = 3600;

/// Whether pods have names of their own, `10-200-1-5.default.pod.cluster.local` (deprecated by Kubernetes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PodNames {
    /// None has.
    #[default]
    Disabled,
    /// Any address in a namespace that exists, whether or not a pod has it.
    Insecure,
    /// Pods that were given by [`super::Zone::put_pod`].
    Verified,
}

/// What is served, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cluster's domain: `cluster.local`.
    pub zone: String,
    /// Reverse zones that are answered for, such as `10.in-addr.arpa` and `0.0.d.f.ip6.arpa`. Other addresses' names
    /// are not ours.
    pub reverse_zones: Vec<String>,
    /// Time to live of ordinary records in seconds, at most [`MAX_TTL`].
    pub ttl: u32,
    /// Addresses of `ns.dns.` and the zone's name: those at which this zone is served.
    pub name_server_addresses: Vec<IpAddr>,
    /// The Service in front of the server: names it in NS records once it is known.
    pub dns_service: Option<ObjectKey>,
    /// Names of pods.
    pub pod_names: PodNames,
    /// Endpoints without a hostname are named as their pod, if that is a label.
    pub endpoint_pod_names: bool,
    /// Services with a ClusterIP and no ready endpoint do not exist.
    pub ignore_empty_service: bool,
    /// Only these namespaces exist; empty means all.
    pub namespaces: BTreeSet<String>,
    /// Replies say that recursion is available: the host forwards what is not ours.
    pub recursion: bool,
    /// How many [`super::Reader`]s there may be.
    pub readers: usize,
    /// Keys the index of Services; nobody who creates Services should know it.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            zone: "cluster.local".into(),
            reverse_zones: Vec::new(),
            ttl: 5,
            name_server_addresses: Vec::new(),
            dns_service: None,
            pod_names: PodNames::Disabled,
            endpoint_pod_names: false,
            ignore_empty_service: false,
            namespaces: BTreeSet::new(),
            recursion: false,
            readers: 64,
            seed: 0,
        }
    }
}

/// What is wrong with a [`Config`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// The rule it breaks, with the value.
    pub rule: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.rule)
    }
}

impl core::error::Error for ConfigError {}

/// A [`Config`] in the form that answers need.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) zone: ZoneName,
    /// Longest first.
    pub(super) reverse_zones: Box<[ZoneName]>,
    /// The labels of the Service in front of the server.
    pub(super) dns_service: Option<Box<[u8]>>,
    pub(super) config: Config,
}

impl Settings {
    pub(super) fn new(config: Config) -> Result<Self, ConfigError> {
        if config.ttl > MAX_TTL {
            return Err(ConfigError {
                field: "ttl",
                rule: format!("{} seconds: must be at most {MAX_TTL}", config.ttl),
            });
        }
        if config.readers == 0 {
            return Err(ConfigError {
                field: "readers",
                rule: "0: must be at least 1".into(),
            });
        }
        let reverse = config.reverse_zones.iter();
        let reverse = reverse.map(|zone| ZoneName::new("reverse_zones", zone));
        let mut reverse: Vec<ZoneName> = reverse.collect::<Result<_, _>>()?;
        reverse.sort_by_key(|zone| core::cmp::Reverse(zone.wire().len()));
        let dns_service = config.dns_service.as_ref();
        let dns_service = dns_service.map(|key| {
            service_labels(key).ok_or_else(|| ConfigError {
                field: "dns_service",
                rule: format!("{key} cannot be a name in DNS"),
            })
        });
        Ok(Self {
            zone: ZoneName::new("zone", &config.zone)?,
            reverse_zones: reverse.into(),
            dns_service: dns_service.transpose()?,
            config,
        })
    }

    /// Is a namespace served at all?
    pub(super) fn serves(&self, namespace: &str) -> bool {
        let only = &self.config.namespaces;
        only.is_empty() || only.contains(namespace)
    }
}
