//! The compiled Service table: what the packets read, and what a control plane writes into it.

mod spec;

pub use spec::{
    EndpointSet, EndpointSpec, Frontend, FrontendKind, NodeSpec, ServiceSpec, SourceClass,
    SourceRule,
};
