//! Whole tables: what the kernel says of one, and putting it to sleep, waking it, owning it, deleting it.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::BitOr;

use super::Progress;
use super::attribute::{self, Attributes};
use super::batch::family_number;
use super::dump::Dump;
use super::message::{self, Header};
use super::numbers::{
    NFNL_SUBSYS_NFTABLES, NFT_MSG_DELTABLE, NFT_MSG_GETTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWTABLE,
    NFTA_CHAIN_NAME, NFTA_TABLE, NFTA_TABLE_FLAGS, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL,
    NLM_F_REQUEST,
};
use crate::net::Family;

/// `NFTA_TABLE_FLAGS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableFlags(u32);

impl TableFlags {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// Its hooks are out of force: no packet passes through it (`dormant`).
    pub const ASLEEP: Self = Self(1);
    /// Only the socket that made or adopted it may change it; `nft flush ruleset` leaves it alone (`owner`).
    pub const OWNED: Self = Self(2);
    /// It outlives its owner, and may be adopted afterwards (`persist`; Linux 6.9).
    pub const PERSISTENT: Self = Self(4);

    /// Has it all of these?
    #[must_use]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// All but these.
    #[must_use]
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }
}

impl BitOr for TableFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What is done to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableVerb {
    /// It is made, empty, with these flags; it must not be there.
    Create(TableFlags),
    /// It has these flags from now on. One can be owned only if it has [`TableFlags::PERSISTENT`] and no owner.
    Set(TableFlags),
    /// It is deleted with all that is in it.
    Delete,
}

/// Something done to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEdit {
    /// The table's family.
    pub family: Family,
    /// Its name.
    pub table: String,
    /// What is done.
    pub verb: TableVerb,
}

impl TableEdit {
    /// The message's number in the subsystem, and its flags.
    pub(super) const fn kind(&self) -> (u8, u16) {
        match self.verb {
            TableVerb::Create(_) => (NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL),
            TableVerb::Set(_) => (NFT_MSG_NEWTABLE, 0),
            TableVerb::Delete => (NFT_MSG_DELTABLE, 0),
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        attribute::put_text(out, NFTA_TABLE, &self.table);
        match self.verb {
            TableVerb::Create(flags) | TableVerb::Set(flags) => {
                attribute::put(out, NFTA_TABLE_FLAGS, &flags.0.to_be_bytes());
            }
            TableVerb::Delete => {}
        }
    }
}

/// The question for a table's flags.
pub(super) fn ask(family: Family, table: &str, sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header {
        kind: message::kind_of(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE),
        // The acknowledgement comes behind the answer: there is always an end.
        flags: NLM_F_REQUEST | NLM_F_ACK,
        sequence,
        family: family_number(family),
        resource: 0,
    };
    let at = message::begin(&mut bytes, header);
    attribute::put_text(&mut bytes, NFTA_TABLE, table);
    message::end(&mut bytes, at);
    bytes
}

/// Reads the answer to [`ask`]; what ends it is a refusal with the number 0.
pub(super) fn read(dump: &mut Dump, found: &mut Option<TableFlags>, received: &[u8]) -> Progress {
    dump.messages(received, |message| {
        if message.subsystem() == (NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWTABLE)
            && let Some((_, attributes)) = message.netfilter()
        {
            let flags = Attributes::find(attributes, NFTA_TABLE_FLAGS);
            *found = Some(TableFlags(flags.and_then(attribute::be_u32).unwrap_or(0)));
        }
    })
}

/// Reads a part of the answer to the question for all chains: the names of a table's.
pub(super) fn read_chains(
    dump: &mut Dump,
    table: &str,
    names: &mut Vec<String>,
    received: &[u8],
) -> Progress {
    dump.messages(received, |message| {
        if message.subsystem() != (NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWCHAIN) {
            return;
        }
        let attributes = message
            .netfilter()
            .map_or(&[][..], |(_, attributes)| attributes);
        let text = |kind| Attributes::find(attributes, kind).and_then(attribute::text);
        if text(NFTA_TABLE) == Some(table) {
            names.extend(text(NFTA_CHAIN_NAME).map(String::from));
        }
    })
}
