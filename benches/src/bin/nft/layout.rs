//! The two layouts, loaded and changed.

use std::io;
use std::time::Instant;

use portolan::model::Kind;
use portolan::net;
use portolan::nft::{Table, TableOptions};
use portolan::node::Node;
use portolan::plan::NodeConfig;

use crate::cluster::Cluster;
use crate::kernel::{nft, now};
use crate::kube_proxy;

/// A way to have Services in the kernel.
pub(crate) trait Layout {
    /// Everything is made ready that is no part of the load.
    fn prepare(&mut self, cluster: Cluster) -> io::Result<()>;
    /// Loads all of a cluster.
    fn load(&mut self, cluster: Cluster) -> io::Result<()>;
    /// Replaces one endpoint of a Service; `turn` says by which.
    fn change(&mut self, cluster: Cluster, service: u32, turn: u32) -> io::Result<()>;
}

/// Portolan's: constant chains, and elements that grow.
pub(crate) struct Elements {
    options: Option<TableOptions>,
    table: Option<Table>,
    node: Node,
    started: Instant,
}

impl Elements {
    pub(crate) fn new() -> Self {
        let address = [10, 64, 0, 1].into();
        let mut node = Node::new(NodeConfig {
            name: String::from("bench"),
            addresses: vec![address],
            ..NodeConfig::default()
        });
        node.synced(Kind::Service);
        node.synced(Kind::EndpointSlice);
        Self {
            options: Some(TableOptions::default()),
            table: None,
            node,
            started: now(),
        }
    }

    /// The same without netlink: all of it as text.
    pub(crate) fn through_nft() -> Self {
        let mut elements = Self::new();
        elements.options = Some(TableOptions {
            nft_only: true,
            ..TableOptions::default()
        });
        elements
    }

    fn sync(&mut self) -> io::Result<()> {
        let now = net::Instant::ZERO.after(self.started.elapsed());
        let table = match (&mut self.table, self.options.take()) {
            (Some(table), _) => table,
            (none, options) => {
                let opened = Table::open(options.unwrap_or_default()).map_err(io::Error::other)?;
                none.insert(opened)
            }
        };
        table.sync(&self.node, now).map_err(io::Error::other)
    }
}

impl Layout for Elements {
    fn prepare(&mut self, cluster: Cluster) -> io::Result<()> {
        let rejected = self.node.apply(cluster.objects());
        match rejected.first() {
            Some(rejection) => Err(io::Error::other(format!("{rejection:?}"))),
            None => Ok(()),
        }
    }

    fn load(&mut self, _: Cluster) -> io::Result<()> {
        self.sync()
    }

    fn change(&mut self, cluster: Cluster, service: u32, turn: u32) -> io::Result<()> {
        self.node.apply([cluster.slice(service, turn)]);
        self.sync()
    }
}

/// kube-proxy's shape: chains that grow.
pub(crate) struct KubeProxy;

impl Layout for KubeProxy {
    fn prepare(&mut self, _: Cluster) -> io::Result<()> {
        Ok(())
    }

    fn load(&mut self, cluster: Cluster) -> io::Result<()> {
        nft(&kube_proxy::ruleset(cluster))
    }

    fn change(&mut self, cluster: Cluster, service: u32, turn: u32) -> io::Result<()> {
        nft(&kube_proxy::change(cluster, service, turn))
    }
}
