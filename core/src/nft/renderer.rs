//! One node's plan as a ruleset, without a kernel.

use super::condemned::Sequence;
use super::edits::Owned;
use super::ruleset::Ruleset;
use super::skeleton::Skeleton;
use super::text::family_name;
use super::{Element, Operation, Options, Transaction};
use crate::model::Rejection;
use crate::net::Family;
use crate::plan::{Changes, PortKey};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// One node's plan as the ruleset of both families, and each change of it as transactions. Pure: whoever has
/// another way to the kernel than [`super::Table`], or only wants to read, begins here.
#[derive(Debug)]
pub struct Renderer {
    options: Options,
    families: [Ruleset; 2],
    /// Of each family the affinity timeouts whose chains have been given out.
    chains: [BTreeSet<u32>; 2],
}

/// What brings the tables from one state to the next. In this order: `chains`, then `now`, then, when no packet
/// can be on its way through the former state (a second is plenty), [`Renderer::retire`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// Text for `nft`: chains that are new; nearly always empty.
    pub chains: String,
    /// Of at most [`Transaction::LIMIT`] operations each.
    pub now: Vec<Step>,
}

/// A transaction, and whose each of its operations is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is to be done.
    pub transaction: Transaction,
    /// For each operation the ServicePort; `None` for what several share, and for the node's own.
    pub owners: Vec<Option<Arc<PortKey>>>,
}

/// What is condemned at some moment; see [`Renderer::condemned`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condemned([Sequence; 2]);

impl Renderer {
    /// Tables without Services.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            families: FAMILIES.map(Ruleset::new),
            chains: [const { BTreeSet::new() }; 2],
        }
    }

    /// Names and places.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Follows changes of a plan, to be given in the order in which they happened. Costs O(what changed).
    pub fn update(&mut self, changes: &Changes) -> Update {
        let mut update = Update::default();
        for ruleset in &mut self.families {
            let operations = ruleset.apply(changes);
            update.now.extend(steps(ruleset.family(), operations));
        }
        update.chains = self.new_chains();
        update
    }

    /// What the updates so far condemned: elements that packets on their way may still ask for.
    #[must_use]
    pub fn condemned(&self) -> Condemned {
        Condemned(self.families.each_ref().map(Ruleset::condemned))
    }

    /// Is nothing condemned?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.families.iter().all(Ruleset::is_settled)
    }

    /// Deletes what was condemned at a moment, when the updates of that moment are in force and the packets that
    /// were then on their way are through.
    pub fn retire(&mut self, condemned: Condemned) -> Vec<Step> {
        let families = self.families.iter_mut().zip(condemned.0);
        let all = families.flat_map(|(ruleset, until)| {
            let operations = ruleset.retire(until);
            steps(ruleset.family(), operations)
        });
        all.collect()
    }

    /// A family's table as it is before any Service and without hooks, as text for `nft`.
    #[must_use]
    pub fn skeleton(&self, family: Family) -> String {
        let (ip, table) = (family_name(family), &self.options.table);
        let body = self.skeleton_of(family).body();
        alloc::format!("add table {ip} {table}\n{body}")
    }

    /// A family's hooks, as text for `nft`: from then on packets pass through.
    #[must_use]
    pub fn hooks(&self, family: Family) -> String {
        self.skeleton_of(family).hooks()
    }

    /// The chains of all affinity timeouts of a family, as text for `nft`.
    #[must_use]
    pub fn chains(&self, family: Family) -> String {
        let mut families = self.families.iter();
        let ruleset = families.find(|ruleset| ruleset.family() == family);
        let timeouts = ruleset.into_iter().flat_map(Ruleset::timeouts);
        let skeleton = self.skeleton_of(family);
        timeouts
            .map(|(seconds, index)| skeleton.sticky(*seconds, *index))
            .collect()
    }

    /// The name of the chain that only tables of this very layout have.
    #[cfg(all(feature = "netlink", target_os = "linux"))]
    pub(super) fn layout(&self, family: Family) -> String {
        self.skeleton_of(family).layout()
    }

    /// How many chains, rules and elements of constant sets a family's table has, with chains for these affinity timeouts.
    #[cfg(all(feature = "netlink", target_os = "linux"))]
    pub(super) fn count(&self, family: Family, timeouts: &BTreeMap<u32, u8>) -> usize {
        self.skeleton_of(family).count(timeouts)
    }

    /// All that is constant in a family's table, hooks too, as commands on a table that is there.
    #[cfg(all(feature = "netlink", target_os = "linux"))]
    pub(super) fn constant(&self, family: Family) -> String {
        let skeleton = self.skeleton_of(family);
        [skeleton.body(), skeleton.hooks()].concat()
    }

    /// The table itself with all that is constant in it, asleep: its hooks are not in force.
    #[cfg(all(feature = "netlink", target_os = "linux"))]
    pub(super) fn asleep(&self, family: Family) -> String {
        self.skeleton_of(family).asleep(&self.constant(family))
    }

    const fn skeleton_of(&self, family: Family) -> Skeleton<'_> {
        let options = &self.options;
        Skeleton { options, family }
    }

    /// Both tables with everything in them, as text for `nft`. The same plan reached by the same changes makes the
    /// same text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for ruleset in &self.families {
            let family = ruleset.family();
            text.push_str(&self.skeleton(family));
            text.push_str(&self.chains(family));
            let elements = ruleset.elements();
            let mut elements = elements.iter().map(|(element, _)| element).peekable();
            while let Some(first) = elements.next() {
                let (family, table) = (family_name(family), &self.options.table);
                let _ = write!(
                    text,
                    "add element {family} {table} {} {{\n  {first}",
                    first.set
                );
                while let Some(next) = elements.next_if(|next| next.set == first.set) {
                    let _ = write!(text, ",\n  {next}");
                }
                text.push_str("\n}\n");
            }
            text.push_str(&self.hooks(family));
        }
        text
    }

    /// ServicePorts that nftables cannot serve as they are, as things stand.
    pub fn rejections(&self) -> impl Iterator<Item = Rejection> {
        self.families.iter().flat_map(Ruleset::rejections)
    }

    /// What is done otherwise than asked, as things stand: schedulers other than `random` are the userspace
    /// dataplane's alone.
    pub fn concessions(&self) -> impl Iterator<Item = Rejection> {
        self.families.iter().flat_map(Ruleset::concessions)
    }

    /// The chains that changes will need, before they are rendered.
    #[cfg(all(feature = "netlink", target_os = "linux"))]
    pub(super) fn chains_for(&mut self, changes: &Changes) -> String {
        for ruleset in &mut self.families {
            ruleset.reserve_timeouts(changes);
        }
        self.new_chains()
    }

    /// The chains of affinity timeouts that have none yet.
    fn new_chains(&mut self) -> String {
        let mut text = String::new();
        let options = &self.options;
        for (ruleset, given) in self.families.iter().zip(&mut self.chains) {
            let family = ruleset.family();
            for (seconds, index) in ruleset.timeouts() {
                if given.insert(*seconds) {
                    text.push_str(&Skeleton { options, family }.sticky(*seconds, *index));
                }
            }
        }
        text
    }

    /// Takes over a family's table with these elements, sorted, and chains for these affinity timeouts: nothing
    /// that is served already is moved.
    pub(super) fn adopt(
        &mut self,
        family: Family,
        elements: &[Element],
        timeouts: BTreeMap<u32, u8>,
    ) {
        let families = self.families.iter_mut().zip(&mut self.chains);
        for (ruleset, chains) in families.filter(|(ruleset, _)| ruleset.family() == family) {
            chains.extend(timeouts.keys());
            ruleset.adopt(elements, timeouts.clone());
        }
    }

    /// What turns a family's table with these elements, sorted, into what it is to be.
    pub(super) fn repair(&mut self, family: Family, elements: Vec<Element>) -> Vec<Step> {
        let mut families = self.families.iter_mut();
        let ruleset = families.find(|ruleset| ruleset.family() == family);
        let operations = ruleset.map(|ruleset| ruleset.repair(elements));
        steps(family, operations.unwrap_or_default())
    }

    /// Leaves a ServicePort out from now on; [`Renderer::repair`] makes it so.
    pub(super) fn leave_out(&mut self, key: &Arc<PortKey>, reason: String) {
        let mut families = self.families.iter_mut();
        if let Some(ruleset) = families.find(|ruleset| ruleset.family() == key.family) {
            ruleset.leave_out(key, reason);
        }
    }
}

/// Cuts operations into transactions; an element that is deleted and added again stays in one.
fn steps(family: Family, operations: Vec<Owned>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut operations = operations.into_iter().peekable();
    while operations.peek().is_some() {
        let room = operations.len().min(Transaction::LIMIT);
        let mut step = Step {
            transaction: Transaction {
                family,
                operations: Vec::with_capacity(room),
            },
            owners: Vec::with_capacity(room),
        };
        while let Some(Owned { operation, owner }) = operations.next_if(|next| {
            let done = &step.transaction.operations;
            done.len() < Transaction::LIMIT - 1
                || done.len() < Transaction::LIMIT && is_added(&next.operation)
        }) {
            step.transaction.operations.push(operation);
            step.owners.push(owner);
        }
        steps.push(step);
    }
    steps
}

const fn is_added(operation: &Operation) -> bool {
    matches!(operation, Operation::Add(_))
}
