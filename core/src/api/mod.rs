//! The API server's part, for hosts without Kubernetes: defaults, validation, allocation, endpoints.
//!
//! In a cluster others do all this, and the same manifests must mean the same without one. So this follows the API
//! server, rule by rule and word by word; [`Registry`] puts the rules together. It works on the API's own types
//! (`k8s-openapi`), whole objects in and whole objects out: what is filled in stands in them afterwards, as it would
//! in a cluster. No clock, no files, no threads: when it is and what is random are arguments, where the objects are
//! kept is the host's business.

mod allocate;
mod endpoints;
mod field;
mod kinds;
mod registry;
mod selector;
mod service;
mod settings;
mod syntax;

pub use allocate::{
    ALLOW_SHARED_IP, AddressError, Allocators, Claim, ClusterIps, LOAD_BALANCER_IPS,
    LoadBalancerIps, NodePortRange, NodePorts, Pool, PoolError, PortError, ServiceRange,
};
pub use endpoints::{
    ENDPOINTS_PER_SLICE, EndpointController, MOST_ENDPOINTS_PER_SLICE, SliceChange,
};
pub use field::{ErrorKind, FieldError};
pub use registry::{Change, Outcome, Registry};
pub use selector::Selector;
pub use settings::{ApiDescription, PoolDescription, Settings};

use service::family_name;
