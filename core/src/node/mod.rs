//! One node's handle: Kubernetes objects in, decisions out, and the feed from there to a service table.

mod batch;
mod feed;
mod handle;
mod store;

pub use crate::model::{Kind, Object, ObjectKey, ObjectRef, Rejection};
pub use crate::plan::{LocalDetector, NodeConfig, NodePortAddresses};
pub use batch::Batch;
pub use feed::Feed;
pub use handle::Node;

#[cfg(test)]
mod tests;
