//! The compiled Service table: what the packets read, and what a control plane writes into it.

mod address_marks;
mod address_span;
mod affinity;
mod apply;
mod balance;
mod bucket_tables;
mod choose;
mod chunk_pool;
mod cluster_ips;
mod edit;
mod frontend_map;
mod hashing;
mod id_list;
mod limits;
mod lookup;
mod node_table;
mod pod_interface;
mod prefix_words;
mod put_schedule;
mod range_list;
mod schedule;
mod spec;
mod table;

pub use affinity::{Affinity, Kept};
pub use balance::{Balance, Draw};
pub use edit::{ApplyError, Assigned, Edit, Effects, Ended};
pub use limits::{
    LimitExceeded, MAX_FOREIGN_ADDRESSES, MAX_NODE_ADDRESSES, MAX_NODE_PREFIXES, TableLimit,
    TableLimits,
};
pub use lookup::{FrontendRef, Lookup, Selection};
pub use pod_interface::PodInterface;
pub use schedule::Schedule;
pub use spec::{
    EndpointSet, EndpointSpec, Frontend, FrontendKind, NodeSpec, ServiceSpec, SourceClass,
    SourceRule,
};
pub use table::{EndpointEntry, FrontendEntry, NewTableError, Table, TableUsage};

#[cfg(test)]
mod tests;
