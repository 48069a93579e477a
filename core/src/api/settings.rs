//! What a cluster's operator tells the API server and its controllers on their command lines.

use super::allocate::{NodePortRange, Pool, ServiceRange};
use super::endpoints::{ENDPOINTS_PER_SLICE, MOST_ENDPOINTS_PER_SLICE};
use super::syntax;
use crate::model::Rejection;
use crate::net::Prefix;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::Deserialize;

/// How a [`super::Registry`] allocates and packs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where ClusterIPs come from; the first one's family is the default. ServiceCIDR objects add to these.
    pub service_ranges: Vec<ServiceRange>,
    /// Where node ports come from.
    pub node_ports: NodePortRange,
    /// Where load balancer addresses come from. Without pools, whatever `status.loadBalancer` says stays.
    pub pools: Vec<Pool>,
    /// The most endpoints in a slice.
    pub endpoints_per_slice: usize,
    /// Spreads what is allocated. Not a secret.
    pub seed: u64,
}

impl Default for Settings {
    /// No ClusterIPs, the usual node ports, no pools.
    fn default() -> Self {
        Self {
            service_ranges: Vec::new(),
            node_ports: NodePortRange::DEFAULT,
            pools: Vec::new(),
            endpoints_per_slice: ENDPOINTS_PER_SLICE,
            seed: 0,
        }
    }
}

/// [`Settings`] as they are written: the section `api` of a node's description.
///
/// ```yaml
/// api:
///   serviceCIDRs: [10.96.0.0/16, 'fd96::/112']   # default: the node's own serviceCIDRs
///   nodePortRange: 30000-32767
///   maxEndpointsPerSlice: 100
///   loadBalancerPools:
///   - {name: public, cidrs: [203.0.113.0/28]}
///   - {name: asked-for, cidrs: [203.0.113.16/29], autoAssign: false}
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ApiDescription {
    /// Where ClusterIPs come from.
    #[serde(default, rename = "serviceCIDRs")]
    pub service_cidrs: Vec<String>,
    /// Where node ports come from.
    #[serde(default)]
    pub node_port_range: Option<String>,
    /// Where load balancer addresses come from.
    #[serde(default)]
    pub load_balancer_pools: Vec<PoolDescription>,
    /// The most endpoints in a slice.
    #[serde(default)]
    pub max_endpoints_per_slice: Option<usize>,
}

/// A [`Pool`] as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct PoolDescription {
    /// What it is called in messages.
    #[serde(default)]
    pub name: String,
    /// Its addresses.
    pub cidrs: Vec<String>,
    /// False keeps its addresses for Services that name one.
    #[serde(default = "yes")]
    pub auto_assign: bool,
}

const fn yes() -> bool {
    true
}

impl ApiDescription {
    /// Checks the description; `source` names it in what is said of it, `service_cidrs` stands in for ranges that
    /// are not given.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each by field and rule.
    pub fn into_settings(
        self,
        source: &str,
        service_cidrs: &[Prefix],
        seed: u64,
    ) -> Result<Settings, Vec<Rejection>> {
        let mut check = Check {
            source,
            wrong: Vec::new(),
        };
        let mut ranges = check.prefixes("api.serviceCIDRs", &self.service_cidrs);
        if self.service_cidrs.is_empty() {
            ranges.extend(service_cidrs);
        }
        let mut service_ranges = Vec::new();
        for range in ranges {
            match ServiceRange::new(range) {
                Some(range) => service_ranges.push(range),
                None => check.reject(
                    "api.serviceCIDRs",
                    format!("{range} has no usable addresses: must be at most /30, and no wider than /64 in IPv6"),
                ),
            }
        }
        let mut pools = Vec::new();
        for (number, pool) in self.load_balancer_pools.into_iter().enumerate() {
            let path = format!("api.loadBalancerPools[{number}].cidrs");
            pools.push(Pool {
                cidrs: check.prefixes(&path, &pool.cidrs),
                name: pool.name,
                automatic: pool.auto_assign,
            });
        }
        let node_ports = match self.node_port_range.as_deref().map(str::parse) {
            None => NodePortRange::DEFAULT,
            Some(Ok(range)) => range,
            Some(Err(rule)) => {
                check.reject("api.nodePortRange", rule);
                NodePortRange::DEFAULT
            }
        };
        let endpoints_per_slice = self.max_endpoints_per_slice.unwrap_or(ENDPOINTS_PER_SLICE);
        if !(1..=MOST_ENDPOINTS_PER_SLICE).contains(&endpoints_per_slice) {
            let rule =
                format!("{endpoints_per_slice} must be between 1 and {MOST_ENDPOINTS_PER_SLICE}");
            check.reject("api.maxEndpointsPerSlice", rule);
        }
        if !check.wrong.is_empty() {
            return Err(check.wrong);
        }
        Ok(Settings {
            service_ranges,
            node_ports,
            pools,
            endpoints_per_slice,
            seed,
        })
    }
}

/// What is wrong with a description so far.
struct Check<'a> {
    source: &'a str,
    wrong: Vec<Rejection>,
}

impl Check<'_> {
    fn reject(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.wrong.push(Rejection {
            object: self.source.to_string(),
            field: field.into(),
            rule: rule.into(),
        });
    }

    fn prefixes(&mut self, path: &str, texts: &[String]) -> Vec<Prefix> {
        let mut prefixes = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match syntax::cidr(text) {
                Some(prefix) => prefixes.push(prefix),
                None => {
                    let rule = format!(
                        "{text:?} is not a CIDR: must be such as 10.96.0.0/16 or fd96::/112"
                    );
                    self.reject(format!("{path}[{index}]"), rule);
                }
            }
        }
        prefixes
    }
}
