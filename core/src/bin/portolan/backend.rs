//! What moves the packets: the userspace dataplane on a TUN device, or the kernel's nftables; and from one to the
//! other without breaking connections.

use crate::CommandError;
use crate::serving::Serving;
use clap::{Args, ValueEnum};
use core::ops::RangeInclusive;
use portolan::driver::{self, Driver};
use portolan::model::Rejection;
use portolan::nft::{self, Table, TableOptions};
use std::collections::BTreeSet;
use tracing::{error, info, warn};

/// What moves the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// The userspace dataplane, on a TUN device
    Userspace,
    /// The kernel: tables of nftables
    Nftables,
}

/// Source ports of connections that the dataplane masquerades where the backend may change: below those that the host's
/// own sockets get (32768 to 60999), which it does not know.
pub(crate) const USERSPACE_PORTS: RangeInclusive<u16> = 1024..=32_767;

/// Those of the kernel then. Both answer to the same addresses, so an answer tells by its port alone whose it is.
const KERNEL_PORTS: RangeInclusive<u16> = 32_768..=65_535;

/// Names and places of the kernel's tables.
#[derive(Debug, Clone, Args)]
pub(crate) struct TableArguments {
    /// The name of both tables, ip and ip6; neighbours that look for kube-proxy look for `kube-proxy`
    #[arg(long = "table", value_name = "NAME", default_value = "portolan", value_parser = table_name)]
    name: String,
}

/// What nft takes for a name without quotes.
fn table_name(text: &str) -> Result<String, String> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > 64 || !text.bytes().all(sound) {
        return Err("must be letters, digits, `-`, `_` and `.`, at most 64".to_owned());
    }
    Ok(text.to_owned())
}

impl TableArguments {
    pub(crate) fn options(&self) -> nft::Options {
        nft::Options {
            table: self.name.clone(),
            ..nft::Options::default()
        }
    }
}

/// How the kernel's tables are kept.
#[derive(Debug, Clone, Args)]
pub(crate) struct KernelArguments {
    #[command(flatten)]
    table: TableArguments,
    /// Tables of another program that these take the place of, for instance `kube-proxy`: deleted as soon as these
    /// serve, so that no connection finds neither
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = table_name)]
    replace_tables: Vec<String>,
    /// The tables belong to this process: nobody else can change them, and `nft flush ruleset` leaves them alone. They
    /// survive it, and the next one takes them over. Needs Linux 6.9
    #[arg(long)]
    own_tables: bool,
}

impl KernelArguments {
    fn options(&self, may_change: bool) -> TableOptions {
        TableOptions {
            layout: nft::Options {
                masquerade_ports: may_change.then_some(KERNEL_PORTS),
                ..self.table.options()
            },
            replaces: self.replace_tables.clone(),
            owned: self.own_tables,
            ..TableOptions::default()
        }
    }
}

/// What moves the packets now, and what still moves those of older connections.
#[derive(Debug)]
pub(crate) struct Movers {
    backend: Backend,
    /// May it become the other one?
    may_change: bool,
    kernel: KernelArguments,
    /// Of the TUN devices.
    drivers: Vec<Driver>,
    table: Option<Table>,
    /// What has been said of ServicePorts that the tables serve otherwise than asked, or not.
    said: BTreeSet<Rejection>,
}

impl Movers {
    /// Nothing moves yet.
    pub(crate) fn new(backend: Backend, may_change: bool, kernel: &KernelArguments) -> Self {
        Self {
            backend,
            may_change,
            kernel: kernel.clone(),
            drivers: Vec::new(),
            table: None,
            said: BTreeSet::new(),
        }
    }

    /// What new connections are moved by.
    pub(crate) const fn backend(&self) -> Backend {
        self.backend
    }

    /// The TUN devices' drivers, if there are any.
    pub(crate) fn drivers(&self) -> &[Driver] {
        &self.drivers
    }

    /// Begins with this backend, or changes to it. The other one first, then without the former: its connections go
    /// on, the driver's because its device still has their routes, the kernel's because they are translated as they
    /// were opened.
    pub(crate) fn begin(
        &mut self,
        backend: Backend,
        serving: &mut Serving,
        start: impl FnOnce(&mut Serving) -> Result<Vec<Driver>, CommandError>,
    ) -> Result<(), CommandError> {
        match backend {
            Backend::Userspace => {
                if self.drivers.is_empty() {
                    self.drivers = start(serving)?;
                }
                if let Some(table) = &mut self.table {
                    table.withdraw(driver::now())?;
                }
            }
            Backend::Nftables => {
                let table = match &mut self.table {
                    Some(table) => table,
                    None => self
                        .table
                        .insert(Table::open(self.kernel.options(self.may_change))?),
                };
                table.sync(serving.node(), driver::now())?;
                info!(
                    "serving {} frontends in tables ip and ip6 {}",
                    serving.node().frontends().count(),
                    self.kernel.table.name
                );
            }
        }
        self.backend = backend;
        self.say();
        Ok(())
    }

    /// Brings the tables to the plan and does what is due. What fails is logged, and tried again at the next call.
    pub(crate) fn follow(&mut self, serving: &Serving) {
        let Some(table) = &mut self.table else {
            return;
        };
        let now = driver::now();
        let synced = match self.backend {
            Backend::Nftables => table.sync(serving.node(), now),
            Backend::Userspace => Ok(()),
        };
        if let Err(error) = synced.and_then(|()| table.poll(now).map(drop)) {
            error!("{error}");
        }
        self.say();
    }

    /// Logs what the tables do not serve, or otherwise than asked: each once.
    fn say(&mut self) {
        let Some(table) = &self.table else {
            return;
        };
        let all: BTreeSet<Rejection> = table.rejections().chain(table.concessions()).collect();
        for rejection in all.difference(&self.said) {
            warn!("{rejection}");
        }
        self.said = all;
    }

    /// Stops the driver. The tables stay: connections go on, new ones too; `portolan cleanup` deletes them.
    pub(crate) fn stop(self) -> Result<(), CommandError> {
        for driver in self.drivers {
            driver.stop()?;
        }
        Ok(())
    }
}
