//! One node's answer: which endpoints each frontend may use, and how. Policy is decided here and nowhere else.
//!
//! The rules are those of kube-proxy's nftables mode: which frontends a Service has ([`Plan::frontends`]),
//! which endpoints may be chosen (KEP-1669, KEP-2086, KEP-2433, KEP-3015), who is masqueraded. Renderers
//! (service table, nftables, anything else) read a [`PortPlan`] and decide nothing.

mod changes;
mod claims;
mod config;
mod endpoints;
mod frontends;
mod key;
mod log;
#[expect(
    clippy::module_inception,
    reason = "the noun of this module is the plan"
)]
mod plan;
mod planner;
mod policy;
mod port;
mod validity;

pub use changes::{Change, Changes};
pub use config::{LocalDetector, NodeConfig, NodePortAddresses, OtherProxies};
pub use key::PortKey;
pub use plan::{FrontendPlan, Plan};
pub(crate) use planner::{Objects, Planner, ServiceNumber, ServiceObjects};
pub(crate) use policy::Policy;
pub use port::{ClusterReason, EndpointPlan, EndpointState, HealthCheck, LocalReason, PortPlan};

#[cfg(test)]
mod tests;
