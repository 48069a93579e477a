//! The two layouts, loaded and changed.

use std::io;
use std::time::Instant;

use portolan::model::Kind;
use portolan::net;
use portolan::nft::{Table, TableOptions};
use portolan::node::Node;
use portolan::plan::NodeConfig;
use portolan_benches::{Cluster, KubeProxy};

use crate::kernel::{nft, now};

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
    pub(crate) fn new(cluster: Cluster) -> Self {
        let mut node = Node::new(NodeConfig {
            name: String::from("bench"),
            addresses: vec![cluster.node()],
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
    pub(crate) fn through_nft(cluster: Cluster) -> Self {
        let mut elements = Self::new(cluster);
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
        let objects = (0..cluster.services)
            .flat_map(|service| [cluster.service(service), cluster.slice(service, 0)]);
        let rejected = self.node.apply(objects);
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
pub(crate) struct Chains;

/// Clients are outside of it.
const fn kube_proxy(cluster: Cluster) -> KubeProxy {
    KubeProxy {
        cluster,
        pods: "10.128.0.0/9",
    }
}

impl Layout for Chains {
    fn prepare(&mut self, _: Cluster) -> io::Result<()> {
        Ok(())
    }

    fn load(&mut self, cluster: Cluster) -> io::Result<()> {
        nft(&kube_proxy(cluster).ruleset())
    }

    fn change(&mut self, cluster: Cluster, service: u32, turn: u32) -> io::Result<()> {
        nft(&kube_proxy(cluster).change(service, turn))
    }
}
