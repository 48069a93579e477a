//! What is constant in a table, as one number: whether somebody has changed its chains, its rules, or a set that comes
//! with them, is asked without reading what grows, which `nft` cannot do.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Progress;
use super::attribute::{self, Attributes};
use super::batch::family_number;
use super::dump::{Dump, ask_named};
use super::message::{self, Header};
use super::numbers::{
    NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_NEWSETELEM,
    NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_TABLE, NLM_F_DUMP, NLM_F_REQUEST,
};
use crate::net::Family;
use crate::nft::Set;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Chains,
    Rules,
    /// The elements of a set or map of [`Set::CONSTANT`].
    Elements(&'static str),
}

impl Part {
    /// All that is constant.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let sets = Set::CONSTANT.map(Self::Elements);
        [Self::Chains, Self::Rules].into_iter().chain(sets)
    }
}

/// The question for a part of a table.
pub(super) fn ask(part: Part, family: Family, table: &str, sequence: u32) -> Vec<u8> {
    let kind = match part {
        Part::Chains => NFT_MSG_GETCHAIN,
        Part::Rules => NFT_MSG_GETRULE,
        Part::Elements(set) => return ask_named(family, table, set, sequence),
    };
    let mut bytes = Vec::new();
    let header = Header {
        kind: message::kind_of(NFNL_SUBSYS_NFTABLES, kind),
        flags: NLM_F_REQUEST | NLM_F_DUMP,
        sequence,
        family: family_number(family),
        resource: 0,
    };
    let at = message::begin(&mut bytes, header);
    attribute::put_text(&mut bytes, NFTA_TABLE, table);
    message::end(&mut bytes, at);
    bytes
}

/// Changes when anything is different of what it has read. The kernel gives every chain and rule a
/// handle of its own, so that even one that is deleted and made again the same is another one; an element is what it says.
#[derive(Debug, Default)]
pub(super) struct Fingerprint {
    /// A hash of each chain, rule and element: elements come in whatever order the kernel has them.
    hashes: BTreeSet<u64>,
    repeated: bool,
}

impl Fingerprint {
    /// Reads a part of the answer to [`ask`]; what is of other tables does not count.
    pub(super) fn read(&mut self, dump: &mut Dump, table: &str, received: &[u8]) -> Progress {
        dump.messages(received, |message| {
            let Some((_, attributes)) = message.netfilter() else {
                return;
            };
            let find = |kind| Attributes::find(attributes, kind);
            if find(NFTA_TABLE).and_then(attribute::text) != Some(table) {
                return;
            }
            if message.subsystem() != (NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWSETELEM) {
                self.note(hash(EMPTY, attributes));
                return;
            }
            let set = hash(EMPTY, find(NFTA_SET_ELEM_LIST_SET).unwrap_or_default());
            let elements = find(NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
            for element in Attributes::new(elements) {
                self.note(hash(set, element.bytes));
            }
        })
    }

    fn note(&mut self, hash: u64) {
        self.repeated |= !self.hashes.insert(hash);
    }

    /// All of it; `None` if something came twice, and so perhaps something else not at all.
    pub(super) fn finish(&self) -> Option<Constants> {
        let number = |all, one: &u64| hash(all, &one.to_ne_bytes());
        (!self.repeated).then(|| Constants {
            fingerprint: self.hashes.iter().fold(EMPTY, number),
            count: self.hashes.len(),
        })
    }
}

/// What is constant in a table, in short: its chains and rules, and the elements of [`Set::CONSTANT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Constants {
    /// Another one after any change, also if a chain or rule is deleted and made again.
    pub fingerprint: u64,
    /// How many there are.
    pub count: usize,
}

/// Of nothing.
const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, on from another hash.
fn hash(before: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(before, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
