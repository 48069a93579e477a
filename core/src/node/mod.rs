//! One node's handle: Kubernetes objects in, decisions out, and the feed from there to a service table.

mod batch;
mod feed;
mod handle;
mod revisions;
mod store;

pub use crate::model::{Kind, Object, ObjectKey, ObjectRef, Rejection};
pub use crate::plan::{LocalDetector, NodeConfig, NodePortAddresses, OtherProxies};
pub use batch::Batch;
pub use feed::Feed;
pub use handle::Node;
pub use revisions::{Revision, Touched};
pub use store::ServiceObjects;

#[cfg(test)]
mod tests;
