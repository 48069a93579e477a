//! The tables under test, with a clock.

use std::time;

use portolan::net::Instant;
use portolan::nft::{Table, TableOptions};

use crate::cluster::Cluster;
use crate::system::now;

/// A handle of the tables in this namespace.
pub(crate) struct Rules {
    table: Table,
    started: time::Instant,
}

impl Rules {
    /// Opens the tables and brings them to the plan; what a handle before left there is taken over.
    pub(crate) fn open(cluster: &Cluster) -> Self {
        Self::instead_of(&[], cluster)
    }

    /// The same, in the place of tables of these names.
    pub(crate) fn instead_of(replaced: &[&str], cluster: &Cluster) -> Self {
        let table = Table::open(TableOptions {
            replaces: replaced.iter().map(|name| String::from(*name)).collect(),
            ..TableOptions::default()
        });
        let table = table.unwrap_or_else(|error| panic!("{error}"));
        let mut rules = Self {
            table,
            started: now(),
        };
        rules.follow(cluster);
        rules
    }

    /// Brings the tables to the plan.
    pub(crate) fn follow(&mut self, cluster: &Cluster) {
        let now = self.now();
        let done = self.table.sync(cluster.node(), now);
        done.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Does what is due by now.
    pub(crate) fn poll(&mut self) {
        let now = self.now();
        let done = self.table.poll(now);
        done.unwrap_or_else(|error| panic!("{error}"));
    }

    fn now(&self) -> Instant {
        Instant::ZERO.after(self.started.elapsed())
    }
}
