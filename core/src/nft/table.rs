//! The kernel's tables, kept at a node's plan.

use super::command::{NftCommand, NftError};
use super::error::TableError;
use super::netlink::{Batch, Constants, Monitor, Outcome, Socket};
use super::renderer::{Condemned, Renderer, Step};
use super::text::family_name;
use super::{Options, StaleFlows};
use crate::model::Rejection;
use crate::net::{Family, Generation, Instant};
use crate::node::Node;
use crate::plan::{Change, Changes};
use crate::service::NodeSpec;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use std::os::fd::OwnedFd;
use std::thread;

mod fill;
mod repair;
mod start;

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];
/// Packets are in the chains for microseconds; one whose processor is taken away, for as long as that lasts.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody else has changed the tables.
const LOOK: Duration = Duration::from_secs(1);
/// How often tables are read and repaired until giving up for this time.
pub(super) const REPAIRS: u32 = 4;

/// How a [`Table`] reaches the kernel.
#[derive(Debug, Default)]
pub struct TableOptions {
    /// Names and places.
    pub layout: Options,
    /// How `nft` is called.
    pub nft: NftCommand,
    /// A socket of `NETLINK_NETFILTER` that the host opened, perhaps in another network namespace; `None`: one is
    /// opened in the namespace of the calling thread.
    pub socket: Option<OwnedFd>,
    /// Do without netlink: everything through `nft`, slower, and without noticing what others change.
    pub nft_only: bool,
    /// Tables of other programs that ours take the place of, by name in both families: `kube-proxy`, for instance.
    /// Once ours serve they are put to sleep, and deleted a second later, so no connection finds neither.
    pub replaces: Vec<String>,
    /// The tables belong to this process (`flags owner, persist`): nobody else may change them, and `nft flush
    /// ruleset` leaves them alone. They survive the process, and the next one takes them over. It needs Linux 6.9 and a
    /// socket that is opened here; people cannot change the tables by hand any more, and nft 1.0.6 does not show the
    /// second flag. While chains for a new affinity timeout are added, for some milliseconds, the tables are nobody's.
    pub owned: bool,
}

/// What was done, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableStats {
    /// Transactions that were committed.
    pub transactions: u64,
    /// Their operations.
    pub operations: u64,
    /// How often tables were read and compared, at the start or because something had been different.
    pub repairs: u64,
    /// How often the kernel's connections were read, for IPv4 and IPv6: UDP of endpoints that serve no more may be there.
    pub flow_reads: [u64; 2],
    /// UDP connections that the kernel was made to forget then.
    pub stale_flows: [u64; 2],
}

/// The tables of one network namespace, kept at one node's plan.
///
/// [`Table::sync`] brings them to the plan, [`Table::poll`] does what is due later and repairs what others
/// changed. Dropping the handle leaves the tables in force: connections go on, and the next [`Table::open`] takes
/// them over without moving anything. One thread at a time.
#[derive(Debug)]
pub struct Table {
    renderer: Renderer,
    nft: NftCommand,
    /// `None`: everything through `nft`.
    socket: Option<Socket>,
    owned: bool,
    /// Without netlink: the tables have been made, and not been woken.
    asleep: bool,
    replaces: Vec<String>,
    /// Tables that ours have taken the place of, asleep, and from when they may be deleted.
    replaced: Vec<(Instant, Family, String)>,
    monitor: Option<Monitor>,
    seen: Generation,
    started: bool,
    /// Somebody else changed the tables, or it is not certain what was committed.
    doubtful: bool,
    /// What is constant in each family's table, to notice when it is different.
    constants: [Option<Constants>; 2],
    /// Until when packets may be on their way to what.
    condemned: VecDeque<(Instant, Condemned)>,
    looked: Instant,
    stale: StaleFlows,
    /// When the kernel's connections may be read again.
    read_flows_from: Instant,
    stats: TableStats,
}

impl Table {
    /// Gets hold of the kernel. What is constant is made, where it is not there yet, asleep: no packet passes through it
    /// before the first [`Table::sync`].
    ///
    /// # Errors
    /// [`TableError::Unsupported`] names what `nft` or the kernel lacks. Where only netlink fails, everything goes
    /// through `nft`.
    pub fn open(options: TableOptions) -> Result<Self, TableError> {
        if options.owned && (options.nft_only || options.socket.is_some()) {
            let why = "tables can be owned only by a netlink socket that is opened here";
            return Err(TableError::Unsupported(why.into()));
        }
        let renderer = Renderer::new(options.layout);
        let socket = match options.socket {
            _ if options.nft_only => None,
            Some(file) => Some(Socket::from_file(file).map_err(TableError::Socket)?),
            None => Socket::open().ok(),
        };
        if socket.is_none() && !options.replaces.is_empty() {
            let why = "other tables are replaced over netlink, and there is none";
            return Err(TableError::Unsupported(why.into()));
        }
        let mut table = Self {
            renderer,
            nft: options.nft,
            socket,
            owned: options.owned,
            asleep: false,
            replaces: options.replaces,
            replaced: Vec::new(),
            monitor: None,
            seen: Generation(0),
            started: false,
            doubtful: false,
            constants: [None; 2],
            condemned: VecDeque::new(),
            looked: Instant::ZERO,
            stale: StaleFlows::new(),
            read_flows_from: Instant::ZERO,
            stats: TableStats::default(),
        };
        table.prepare()?;
        Ok(table)
    }

    /// Brings the tables to the node's present plan; nothing happens before the node has one. Costs O(what changed
    /// since the last call); the first call makes the tables or takes over those of an earlier process.
    ///
    /// A ServicePort that the kernel refuses is left out and stands in [`Table::rejections`].
    ///
    /// # Errors
    /// [`TableError`]; nothing is lost, call again.
    pub fn sync(&mut self, node: &Node, now: Instant) -> Result<(), TableError> {
        if !node.is_synced() || self.started && !self.doubtful && self.seen == node.generation() {
            return Ok(());
        }
        if !self.started {
            return self.start(node, now);
        }
        let changes = node.changes(self.seen);
        let update = self.renderer.update(&changes);
        self.seen = changes.to;
        self.add_chains(&update.chains)?;
        if !self.doubtful {
            self.carry_out(&update.now)?;
        }
        self.condemn(now);
        self.stale.follow(&changes);
        self.settle_doubts()?;
        self.forget_stale_flows(now);
        Ok(())
    }

    /// Takes everything out of the tables: no new connection is translated, rejected or dropped. Connections that are
    /// translated go on, as long as the tables are there. [`Table::sync`] fills them again.
    ///
    /// # Errors
    /// [`TableError`]; call again.
    pub fn withdraw(&mut self, now: Instant) -> Result<(), TableError> {
        if !self.started {
            return Ok(());
        }
        let changes = Changes {
            to: Generation(0),
            full: true,
            changes: Vec::from([Change::Node(NodeSpec::default())]),
        };
        let update = self.renderer.update(&changes);
        self.seen = changes.to;
        if !self.doubtful {
            self.carry_out(&update.now)?;
        }
        self.condemn(now);
        self.settle_doubts()
    }

    /// Deletes what nobody asks for any more and repairs what somebody else changed. Returns when it wants to be
    /// called again.
    ///
    /// # Errors
    /// [`TableError`]; nothing is lost, call again.
    pub fn poll(&mut self, now: Instant) -> Result<Option<Instant>, TableError> {
        while let Some((due, condemned)) = self.condemned.front()
            && *due <= now
        {
            let steps = self.renderer.retire(*condemned);
            self.condemned.pop_front();
            self.carry_out(&steps)?;
        }
        self.delete_replaced(now)?;
        if self.started && now >= self.looked.after(LOOK) {
            self.looked = now;
            self.look()?;
        }
        self.settle_doubts()?;
        self.forget_stale_flows(now);
        let replaced = self.replaced.iter().map(|(due, ..)| *due);
        let due = self.condemned.front().map(|(due, _)| *due);
        let look = self.monitor.as_ref().map(|_| self.looked.after(LOOK));
        let stale = FAMILIES.iter().any(|family| self.stale.is_due(*family));
        let flows = stale.then_some(self.read_flows_from);
        let all = due.into_iter().chain(look).chain(flows).chain(replaced);
        Ok(all.min())
    }

    /// Both tables as they should be, as text for `nft`: what was sent over netlink, too.
    #[must_use]
    pub fn text(&self) -> String {
        self.renderer.text()
    }

    /// What cannot be served, as things stand: ServicePorts that nftables has no form for, and those that the kernel
    /// refused.
    pub fn rejections(&self) -> impl Iterator<Item = Rejection> {
        self.renderer.rejections()
    }

    /// What is done otherwise than asked, as things stand; see [`Renderer::concessions`].
    pub fn concessions(&self) -> impl Iterator<Item = Rejection> {
        self.renderer.concessions()
    }

    /// What was done.
    #[must_use]
    pub const fn stats(&self) -> TableStats {
        self.stats
    }

    /// The generation of the plan that is in force.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.seen
    }

    /// Forgets which client has which endpoint, in one family.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn forget_affinity(&mut self, family: Family) -> Result<(), TableError> {
        if !self.started {
            return Ok(());
        }
        let table = &self.renderer.options().table;
        let Some(socket) = &mut self.socket else {
            let family = family_name(family);
            return self.apply(&format!("flush map {family} {table} affinity\n"));
        };
        let batch = Batch::of_flush(family, table, "affinity");
        let outcome = socket.commit(&batch).map_err(TableError::Socket)?;
        start::done(outcome, "emptying the map affinity")
    }

    /// Deletes both tables: no packet is translated any more. Connections that are translated go on.
    ///
    /// # Errors
    /// If `nft` cannot delete them.
    pub fn delete(self) -> Result<(), TableError> {
        let Self {
            renderer,
            nft,
            socket,
            ..
        } = self;
        // Whoever owns them lets go of them.
        drop(socket);
        cleanup(&nft, &renderer.options().table)
    }

    /// Makes the kernel forget UDP connections to endpoints that are gone, at most once in [`LOOK`]: it takes reading all
    /// of its connections. A kernel that does not let them be read keeps them until they time out; they are tried again
    /// later.
    fn forget_stale_flows(&mut self, now: Instant) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        let due = FAMILIES.map(|family| self.stale.is_due(family));
        if now < self.read_flows_from || due == [false; 2] {
            return;
        }
        self.read_flows_from = now.after(LOOK);
        let stats = &mut self.stats;
        let counts = stats.flow_reads.iter_mut().zip(&mut stats.stale_flows);
        for ((family, _), (reads, forgotten)) in FAMILIES
            .into_iter()
            .zip(due)
            .zip(counts)
            .filter(|((_, due), _)| *due)
        {
            // Reading takes the processor for as long as the kernel's whole table does; nothing else goes with it.
            thread::yield_now();
            let Ok(count) = socket.delete_flows(family, |flow| self.stale.is_stale(flow)) else {
                return;
            };
            *reads = reads.saturating_add(1);
            *forgotten = forgotten.saturating_add(count as u64);
            self.stale.deleted(family);
        }
    }

    /// Has `nft` do it. It may not change what another process owns, so the tables are nobody's meanwhile.
    fn apply(&mut self, text: &str) -> Result<(), TableError> {
        self.let_go()?;
        self.nft.apply(text).map_err(TableError::Nft)?;
        if self.started { self.wake() } else { Ok(()) }
    }

    fn add_chains(&mut self, chains: &str) -> Result<(), TableError> {
        if chains.is_empty() {
            return Ok(());
        }
        self.apply(chains)?;
        if self.started {
            self.note_constants()
        } else {
            Ok(())
        }
    }

    /// Remembers what chains, rules and constant sets there are, to notice when they are others.
    fn note_constants(&mut self) -> Result<(), TableError> {
        let table = &self.renderer.options().table;
        if let Some(socket) = &mut self.socket {
            for (family, constants) in FAMILIES.into_iter().zip(&mut self.constants) {
                *constants = Some(socket.constants(family, table).map_err(TableError::Read)?);
            }
        }
        Ok(())
    }

    /// Notes what is condemned by now.
    fn condemn(&mut self, now: Instant) {
        let condemned = self.renderer.condemned();
        let noted = self
            .condemned
            .back()
            .is_some_and(|(_, last)| *last == condemned);
        if !noted && !self.renderer.is_settled() {
            self.condemned.push_back((now.after(GRACE), condemned));
        }
    }

    /// Commits transactions in order, until one is refused; then it is doubtful what there is. Whoever shares the
    /// processor has a turn after each: inside the kernel it is not taken away.
    fn carry_out(&mut self, steps: &[Step]) -> Result<(), TableError> {
        for step in steps {
            if !self.commit(step)? {
                self.doubtful = true;
                return Ok(());
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// Commits a transaction; `false` if it is not certain that it is in force. Whose elements the kernel refuses
    /// for what they are is left out.
    fn commit(&mut self, step: &Step) -> Result<bool, TableError> {
        let table = &self.renderer.options().table;
        let Some(socket) = &mut self.socket else {
            let text = format!("{}", step.transaction.text(table));
            let mut committed = self.nft.apply(&text);
            if let Err(NftError::Refused(_)) = committed {
                // `nft` names the line that the kernel refuses.
                let operations = step.transaction.operations.iter();
                let lines =
                    operations.map(|one| format!("{}\n", one.line(step.transaction.family, table)));
                committed = self.nft.apply(&lines.collect::<String>());
            }
            return match committed {
                Ok(()) => Ok(self.note(step.transaction.operations.len())),
                Err(NftError::Refused(said)) => Ok(self.refused(step, line_of(&said), &said)),
                Err(error) => Err(TableError::Nft(error)),
            };
        };
        let Some(batch) = Batch::new(&step.transaction, table, None) else {
            return Ok(true);
        };
        let outcome = socket.commit(&batch).map_err(TableError::Socket)?;
        self.judge(step, outcome)
    }

    /// What became of a transaction; `false` if it is not certain that it is in force.
    fn judge(&mut self, step: &Step, outcome: Outcome) -> Result<bool, TableError> {
        match outcome {
            Outcome::Committed => Ok(self.note(step.transaction.operations.len())),
            Outcome::Superseded | Outcome::Unknown => Ok(false),
            Outcome::Refused(refusals) => {
                for refusal in refusals {
                    let errno = std::io::Error::from_raw_os_error(refusal.errno);
                    match refusal.errno {
                        libc::EPERM => {
                            return Err(TableError::Unsupported(format!(
                                "changing nftables: {errno}"
                            )));
                        }
                        // Something is there or not there that should not, or should be.
                        libc::ENOENT | libc::EEXIST | libc::EBUSY | libc::ENOTEMPTY => {}
                        _ => {
                            let operation =
                                refusal.operation.and_then(|one| usize::try_from(one).ok());
                            self.refused(step, operation, &format!("{errno}"));
                        }
                    }
                }
                Ok(false)
            }
        }
    }

    fn note(&mut self, operations: usize) -> bool {
        self.stats.transactions = self.stats.transactions.saturating_add(1);
        let operations = operations as u64;
        self.stats.operations = self.stats.operations.saturating_add(operations);
        true
    }

    fn refused(&mut self, step: &Step, operation: Option<usize>, said: &str) -> bool {
        let owner = operation.and_then(|one| step.owners.get(one)?.as_ref());
        if let Some(owner) = owner {
            let reason = format!("the kernel refuses an element of it: {}", said.trim());
            self.renderer.leave_out(owner, reason);
        }
        false
    }
}

/// Deletes both families' tables of this name, and nothing else.
///
/// # Errors
/// If `nft` cannot.
pub fn cleanup(nft: &NftCommand, table: &str) -> Result<(), TableError> {
    let names = [table.into(), start::stand_in(table)];
    for name in &names {
        let all = FAMILIES.map(|family| renewal(family, name));
        if nft.apply(&all.concat()).is_ok() {
            continue;
        }
        // A table that outlives its owner cannot be asked for as if it were any: nft 1.0.6 does not know such.
        for family in FAMILIES.map(family_name) {
            match nft.apply(&format!("delete table {family} {name}\n")) {
                Ok(()) => {}
                Err(NftError::Refused(said)) if said.contains("No such file or directory") => {}
                Err(error) => return Err(TableError::Nft(error)),
            }
        }
    }
    Ok(())
}

/// The operation that `nft` complains about, out of the number of its line.
fn line_of(said: &str) -> Option<usize> {
    let line: usize = said.split(':').nth(1)?.parse().ok()?;
    line.checked_sub(1)
}

/// Deletes a table whether it is there or not: nft 1.0.6 has no `destroy`.
fn renewal(family: Family, table: &str) -> String {
    let family = family_name(family);
    format!("add table {family} {table}\ndelete table {family} {table}\n")
}
