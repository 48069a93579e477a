//! Validated Kubernetes objects: what the dataplane needs of them and nothing else. No serde here.
//!
//! A value of these types is sound by construction of whoever converts (`k8s`): addresses parse, ports are in
//! range, enumerations are known. What was wrong is a [`Rejection`], and costs nobody else anything.

mod endpoint_slice;
mod node;
mod object;
mod scheduling;
mod service;

pub use endpoint_slice::{Conditions, EndpointPort, EndpointSlice, Endpoints, SliceEndpoint};
pub use node::Node;
pub use object::{Kind, Object, ObjectKey, ObjectRef, Rejection};
pub use scheduling::{Scheduling, Weights};
pub use service::{Ingress, Service, ServicePort, TrafficPolicy};
