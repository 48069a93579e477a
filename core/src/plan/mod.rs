//! One node's answer: which endpoints each frontend may use, and how. Policy is decided here and nowhere else.

mod changes;
mod config;
mod key;
mod port;

pub use changes::{Change, Changes};
pub use config::{LocalDetector, NodeConfig, NodePortAddresses};
pub use key::PortKey;
pub use port::{ClusterReason, EndpointPlan, EndpointState, HealthCheck, LocalReason, PortPlan};
