//! Packets in, verdicts out.

mod descriptor;

pub use crate::net::{DropReason, Verdict};
pub use crate::packet::{Offload, offload_flags};
pub use descriptor::{Descriptor, descriptor_flags};
