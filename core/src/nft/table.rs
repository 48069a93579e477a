//! The kernel's tables, kept at a node's plan.

use super::command::{NftCommand, NftError};
use super::error::TableError;
use super::netlink::{AskError, Batch, Monitor, Notice, Outcome, Socket};
use super::renderer::{Condemned, Renderer, Step};
use super::text::family_name;
use super::{Element, Options, Set, StaleFlows};
use crate::model::Rejection;
use crate::net::{Family, Generation, Instant};
use crate::node::Node;
use crate::plan::{Change, Changes};
use crate::service::NodeSpec;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use std::os::fd::OwnedFd;

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
    /// UDP connections that the kernel was made to forget, because their endpoint serves them no more.
    pub stale_flows: u64,
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
    monitor: Option<Monitor>,
    seen: Generation,
    started: bool,
    /// Somebody else changed the tables, or it is not certain what was committed.
    doubtful: bool,
    /// A number for the chains and rules of each family's table, to notice when they are others.
    rules: [Option<u64>; 2],
    /// Until when packets may be on their way to what.
    condemned: VecDeque<(Instant, Condemned)>,
    looked: Instant,
    stale: StaleFlows,
    /// When the kernel's connections may be read again.
    read_flows_from: Instant,
    stats: TableStats,
}

impl Table {
    /// Gets hold of the kernel. Nothing is changed yet.
    ///
    /// # Errors
    /// [`TableError::Unsupported`] names what `nft` or the kernel lacks. Where only netlink fails, everything goes
    /// through `nft`.
    pub fn open(options: TableOptions) -> Result<Self, TableError> {
        let renderer = Renderer::new(options.layout);
        super::features::check(&options.nft, &renderer)?;
        let socket = match options.socket {
            _ if options.nft_only => None,
            Some(file) => Some(Socket::from_file(file).map_err(TableError::Socket)?),
            None => Socket::open().ok(),
        };
        Ok(Self {
            renderer,
            nft: options.nft,
            socket,
            monitor: None,
            seen: Generation(0),
            started: false,
            doubtful: false,
            rules: [None; 2],
            condemned: VecDeque::new(),
            looked: Instant::ZERO,
            stale: StaleFlows::new(),
            read_flows_from: Instant::ZERO,
            stats: TableStats::default(),
        })
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
        if self.started && now >= self.looked.after(LOOK) {
            self.looked = now;
            self.look()?;
        }
        self.settle_doubts()?;
        self.forget_stale_flows(now);
        let due = self.condemned.front().map(|(due, _)| *due);
        let look = self.monitor.as_ref().map(|_| self.looked.after(LOOK));
        let stale = FAMILIES.iter().any(|family| self.stale.is_due(*family));
        let flows = stale.then_some(self.read_flows_from);
        Ok(due.into_iter().chain(look).chain(flows).min())
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
    /// If `nft` cannot.
    pub fn forget_affinity(&self, family: Family) -> Result<(), TableError> {
        if !self.started {
            return Ok(());
        }
        let table = &self.renderer.options().table;
        self.apply(&format!(
            "flush map {} {table} affinity\n",
            family_name(family)
        ))
    }

    /// Deletes both tables: no packet is translated any more. Connections that are translated go on.
    ///
    /// # Errors
    /// If `nft` cannot delete them.
    pub fn delete(self) -> Result<(), TableError> {
        cleanup(&self.nft, &self.renderer.options().table)
    }

    /// The first call: makes the tables or takes over those of an earlier process.
    fn start(&mut self, node: &Node, now: Instant) -> Result<(), TableError> {
        self.looked = now;
        let mut found = [State::Absent, State::Absent];
        for (family, state) in FAMILIES.into_iter().zip(&mut found) {
            *state = self.find(family)?;
        }
        for (family, state) in FAMILIES.into_iter().zip(&found) {
            match state {
                State::Ours { timeouts, .. } => {
                    let elements = self.read(family)?.unwrap_or_default();
                    self.renderer.adopt(family, &elements, timeouts.clone());
                }
                State::Absent | State::Other => {
                    let renew = renewal(family, &self.renderer.options().table);
                    let body = self.renderer.skeleton(family);
                    self.apply(&format!("{renew}{body}"))?;
                }
            }
        }
        let changes = node.changes(Generation(0));
        let update = self.renderer.update(&changes);
        self.seen = changes.to;
        self.add_chains(&update.chains)?;
        let fresh = found
            .iter()
            .all(|state| !matches!(state, State::Ours { .. }));
        if fresh {
            self.carry_out(&update.now)?;
        } else {
            self.doubtful = true;
        }
        self.started = true;
        self.settle_doubts()?;
        // Everything is there: from here on packets pass through.
        let mut hooks = String::new();
        for (family, state) in FAMILIES.into_iter().zip(&found) {
            if !matches!(state, State::Ours { hooked: true, .. }) {
                hooks.push_str(&self.renderer.hooks(family));
            }
        }
        if !hooks.is_empty() {
            self.apply(&hooks)?;
        }
        self.note_rules()?;
        self.condemn(now);
        if self.socket.is_some() {
            self.monitor = Monitor::open().ok();
        }
        self.stale.follow(&changes);
        self.forget_stale_flows(now);
        Ok(())
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
        for (family, _) in FAMILIES.into_iter().zip(due).filter(|(_, due)| *due) {
            let Ok(count) = socket.delete_flows(family, |flow| self.stale.is_stale(flow)) else {
                return;
            };
            self.stats.stale_flows = self.stats.stale_flows.saturating_add(count as u64);
            self.stale.deleted(family);
        }
    }

    /// What there is under our name.
    fn find(&self, family: Family) -> Result<State, TableError> {
        let table = &self.renderer.options().table;
        let listing = self.nft.list_terse(family_name(family), table);
        let Some(listing) = listing.map_err(TableError::Nft)? else {
            return Ok(State::Absent);
        };
        let chain = |name: &str| listing.contains(&format!("chain {name} {{"));
        if self.socket.is_none() || !chain(&self.renderer.layout(family)) {
            return Ok(State::Other);
        }
        let chains = listing
            .lines()
            .filter_map(|line| line.trim().strip_prefix("chain sticky-"));
        Ok(State::Ours {
            hooked: chain("postrouting"),
            timeouts: chains.filter_map(timeout_of_chain).collect(),
        })
    }

    fn apply(&self, text: &str) -> Result<(), TableError> {
        self.nft.apply(text).map_err(TableError::Nft)
    }

    fn add_chains(&mut self, chains: &str) -> Result<(), TableError> {
        if chains.is_empty() {
            return Ok(());
        }
        self.apply(chains)?;
        if self.started {
            self.note_rules()
        } else {
            Ok(())
        }
    }

    /// Remembers what chains and rules there are, to notice when they are others.
    fn note_rules(&mut self) -> Result<(), TableError> {
        let table = &self.renderer.options().table;
        if let Some(socket) = &mut self.socket {
            for (family, rules) in FAMILIES.into_iter().zip(&mut self.rules) {
                *rules = Some(socket.rules(family, table).map_err(TableError::Read)?);
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

    /// Commits transactions in order, until one is refused; then it is doubtful what there is.
    fn carry_out(&mut self, steps: &[Step]) -> Result<(), TableError> {
        for step in steps {
            if !self.commit(step)? {
                self.doubtful = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Commits a transaction; `false` if it is not certain that it is in force. Whose elements the kernel refuses
    /// for what they are is left out.
    fn commit(&mut self, step: &Step) -> Result<bool, TableError> {
        let table = &self.renderer.options().table;
        let Some(socket) = &mut self.socket else {
            let text = format!("{}", step.transaction.text(table));
            let committed = self.nft.apply(&text);
            return match committed {
                Ok(()) => Ok(self.note(step)),
                Err(NftError::Refused(said)) => Ok(self.refused(step, line_of(&said), &said)),
                Err(error) => Err(TableError::Nft(error)),
            };
        };
        let Some(batch) = Batch::new(&step.transaction, table, None) else {
            return Ok(true);
        };
        match socket.commit(&batch).map_err(TableError::Socket)? {
            Outcome::Committed => Ok(self.note(step)),
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

    fn note(&mut self, step: &Step) -> bool {
        self.stats.transactions = self.stats.transactions.saturating_add(1);
        let operations = step.transaction.operations.len() as u64;
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

    /// Looks whether somebody else changed the tables.
    fn look(&mut self) -> Result<(), TableError> {
        let (Some(monitor), Some(socket)) = (&mut self.monitor, &self.socket) else {
            return Ok(());
        };
        let (own, name) = (socket.port(), &self.renderer.options().table);
        let mut touched = false;
        monitor
            .hear(|notice| match notice {
                Notice::Touched { port, table, .. } => touched |= port != own && table == name,
                Notice::Generation { .. } => {}
                Notice::Lost => touched = true,
            })
            .map_err(TableError::Socket)?;
        self.doubtful |= touched;
        Ok(())
    }

    /// Reads and repairs until the tables are what they should be.
    fn settle_doubts(&mut self) -> Result<(), TableError> {
        for _ in 0..REPAIRS {
            if !self.doubtful {
                return Ok(());
            }
            self.doubtful = false;
            self.stats.repairs = self.stats.repairs.saturating_add(1);
            for family in FAMILIES {
                self.repair(family)?;
            }
        }
        if self.doubtful {
            return Err(TableError::Unrepaired(
                "somebody changes it all the time, or the kernel refuses".into(),
            ));
        }
        Ok(())
    }

    /// Where rules are missing or there are others, the table is made anew.
    fn repair(&mut self, family: Family) -> Result<(), TableError> {
        let position = usize::from(family == Family::Ipv6);
        let noted = self.rules.get(position).copied().flatten();
        let sound = match (noted, &mut self.socket) {
            (Some(noted), Some(socket)) => {
                let table = &self.renderer.options().table;
                socket.rules(family, table).map_err(TableError::Read)? == noted
            }
            (_, _) => true,
        };
        let elements = if sound { self.read(family)? } else { None };
        if let Some(elements) = elements {
            let steps = self.renderer.repair(family, elements);
            return self.carry_out(&steps);
        }
        let renewal = renewal(family, &self.renderer.options().table);
        let (body, chains) = (self.renderer.skeleton(family), self.renderer.chains(family));
        self.apply(&[renewal, body, chains].concat())?;
        let steps = self.renderer.repair(family, Vec::new());
        self.carry_out(&steps)?;
        self.apply(&self.renderer.hooks(family))?;
        self.note_rules()
    }

    /// All elements of a family's table, sorted; `None` if it is not there, or only through `nft`.
    fn read(&mut self, family: Family) -> Result<Option<Vec<Element>>, TableError> {
        let Some(socket) = &mut self.socket else {
            return Ok(None);
        };
        let mut all = Vec::new();
        for set in Set::ALL {
            match socket.elements(family, &self.renderer.options().table, set) {
                Ok(elements) => all.extend(elements),
                Err(AskError::Refused { source, .. })
                    if source.raw_os_error() == Some(libc::ENOENT) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(TableError::Read(error)),
            }
        }
        Ok(Some(all))
    }
}

/// What there is under our name in a family.
#[derive(Debug)]
enum State {
    Absent,
    /// Of another layout, or of somebody else.
    Other,
    /// Of this layout.
    Ours {
        hooked: bool,
        timeouts: BTreeMap<u32, u8>,
    },
}

/// Deletes both families' tables of this name, and nothing else.
///
/// # Errors
/// If `nft` cannot.
pub fn cleanup(nft: &NftCommand, table: &str) -> Result<(), TableError> {
    let all = FAMILIES.map(|family| renewal(family, table));
    nft.apply(&all.concat()).map_err(TableError::Nft)
}

/// Deletes a table whether it is there or not: nft 1.0.6 has no `destroy`.
fn renewal(family: Family, table: &str) -> String {
    let family = family_name(family);
    format!("add table {family} {table}\ndelete table {family} {table}\n")
}

/// Index and seconds out of what follows `chain sticky-`, for instance `0-10800s-cluster {`.
fn timeout_of_chain(rest: &str) -> Option<(u32, u8)> {
    let mut parts = rest.split('-');
    let index = parts.next()?.parse().ok()?;
    let seconds = parts.next()?.strip_suffix('s')?.parse().ok()?;
    Some((seconds, index))
}

/// The operation that `nft` complains about, out of the number of its line.
fn line_of(said: &str) -> Option<usize> {
    let line: usize = said.split(':').nth(1)?.parse().ok()?;
    line.checked_sub(1)
}
