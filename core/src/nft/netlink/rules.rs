//! What there is of a table beside its elements, as one number: whether somebody has changed its rules or chains is
//! asked without reading elements, which `nft` cannot do.

use alloc::vec::Vec;

use super::Progress;
use super::attribute::{self, Attributes};
use super::batch::family_number;
use super::dump::Dump;
use super::message::{self, Header};
use super::numbers::{
    NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFTA_TABLE, NLM_F_DUMP, NLM_F_REQUEST,
};
use crate::net::Family;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Chains,
    Rules,
}

/// The question for a table's chains or rules.
pub(super) fn ask(part: Part, family: Family, table: &str, sequence: u32) -> Vec<u8> {
    let kind = match part {
        Part::Chains => NFT_MSG_GETCHAIN,
        Part::Rules => NFT_MSG_GETRULE,
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

/// A number that changes when anything is different of what it has read. The kernel gives every chain and rule a
/// handle of its own, so that even one that is deleted and made again the same is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) u64);

impl Fingerprint {
    /// Of nothing.
    pub(super) const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    /// Reads a part of the answer to [`ask`]; what is of other tables does not count.
    pub(super) fn read(&mut self, dump: &mut Dump, table: &str, received: &[u8]) -> Progress {
        dump.messages(received, |message| {
            let Some((_, attributes)) = message.netfilter() else {
                return;
            };
            let of = Attributes::find(attributes, NFTA_TABLE).and_then(attribute::text);
            if of == Some(table) {
                // FNV-1a.
                for byte in attributes {
                    self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
                }
            }
        })
    }
}
