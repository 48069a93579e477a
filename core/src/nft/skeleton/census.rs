//! How many things are constant in a table, which tells whether one that is found is whole.

use super::Skeleton;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

impl Skeleton<'_> {
    /// Chains, rules and elements of constant sets, of a table with chains for these affinity timeouts.
    pub(in crate::nft) fn count(&self, timeouts: &BTreeMap<u32, u8>) -> usize {
        let sticky = timeouts.iter();
        let sticky = sticky.map(|(seconds, index)| self.sticky(*seconds, *index));
        let text: String = [self.body(), self.hooks()]
            .into_iter()
            .chain(sticky)
            .collect();
        let chain = self.add("chain");
        // A chain stands there twice: first its name, so that others can go there.
        let mut chains = BTreeSet::new();
        let mut others: usize = 0;
        for line in text.lines() {
            let added = || line.strip_prefix("add element ")?.split_once('{');
            if let Some(name) = line.strip_prefix(chain.as_str()) {
                chains.extend(name.split(' ').next());
            } else if line.starts_with("  ") {
                others = others.saturating_add(1);
            } else if let Some((_, all)) = line.split_once("elements = {").or_else(added) {
                others = others.saturating_add(all.split(',').count());
            }
        }
        chains.len().saturating_add(others)
    }
}
