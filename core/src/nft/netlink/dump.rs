//! Questions to the kernel: which elements a set has, which generation the ruleset is of.

use alloc::vec::Vec;

use super::attribute::{self, Attributes};
use super::batch::family_number;
use super::element::{self, Part};
use super::message::{self, Header, Message, Messages};
use super::numbers::{
    NFNL_SUBSYS_NFTABLES, NFPROTO_UNSPEC, NFT_MSG_GETGEN, NFT_MSG_GETSETELEM, NFT_MSG_NEWGEN,
    NFT_MSG_NEWSETELEM, NFTA_GEN_ID, NFTA_LIST_ELEM, NFTA_SET_ELEM_LIST_ELEMENTS,
    NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN,
};
use super::reply::Answer;
use crate::net::Family;
use crate::nft::{Element, Set};

/// Where a dump is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// More is to come.
    More,
    /// That was all.
    Done,
    /// That was all, but not of one moment, or parts were lost: ask again.
    Interrupted,
    /// The kernel refuses; its error number, positive.
    Refused(i32),
}

/// The question for all elements of a set. `sequence` comes back with each part of the answer.
#[must_use]
pub fn ask_elements(family: Family, table: &str, set: Set, sequence: u32) -> Vec<u8> {
    ask_named(family, table, set.name(), sequence)
}

/// The same of any set, by name.
pub(super) fn ask_named(family: Family, table: &str, set: &str, sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header {
        kind: message::kind_of(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETSETELEM),
        flags: NLM_F_REQUEST | NLM_F_DUMP,
        sequence,
        family: family_number(family),
        resource: 0,
    };
    let at = message::begin(&mut bytes, header);
    attribute::put_text(&mut bytes, NFTA_SET_ELEM_LIST_TABLE, table);
    attribute::put_text(&mut bytes, NFTA_SET_ELEM_LIST_SET, set);
    message::end(&mut bytes, at);
    bytes
}

/// The answer to [`ask_elements`], which comes in parts.
///
/// The kernel does not say whether a set changed while it was read: compare the generation before and after.
#[derive(Debug)]
pub struct ElementDump {
    dump: Dump,
    set: Set,
    parts: Vec<Part>,
}

impl ElementDump {
    /// Of that set, asked for with that sequence number.
    #[must_use]
    pub const fn new(set: Set, sequence: u32) -> Self {
        Self {
            dump: Dump::new(sequence),
            set,
            parts: Vec::new(),
        }
    }

    /// Reads a part of the answer.
    pub fn read(&mut self, received: &[u8]) -> Progress {
        let Self { dump, set, parts } = self;
        dump.messages(received, |message| {
            if message.subsystem() != (NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWSETELEM) {
                return;
            }
            let attributes = message
                .netfilter()
                .map_or(&[][..], |(_, attributes)| attributes);
            let list = Attributes::find(attributes, NFTA_SET_ELEM_LIST_ELEMENTS);
            for item in Attributes::new(list.unwrap_or_default()) {
                if item.kind == NFTA_LIST_ELEM {
                    parts.extend(Part::read(item.bytes, *set));
                }
            }
        })
    }

    /// What was read, sorted by key. Elements without a key of the set's kind, which no kernel keeps, are left out.
    #[must_use]
    pub fn finish(self) -> Vec<Element> {
        element::join(self.parts)
    }
}

/// A dump of anything.
#[derive(Debug)]
pub(super) struct Dump {
    sequence: u32,
    interrupted: bool,
}

impl Dump {
    /// Of the question with that sequence number.
    pub(super) const fn new(sequence: u32) -> Self {
        Self {
            sequence,
            interrupted: false,
        }
    }

    /// Reads a part: hands on each of its messages.
    pub(super) fn messages<'a>(
        &mut self,
        received: &'a [u8],
        mut each: impl FnMut(&Message<'a>),
    ) -> Progress {
        for message in Messages::new(received) {
            if message.sequence != self.sequence {
                continue;
            }
            self.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            match message.kind {
                NLMSG_DONE if self.interrupted => return Progress::Interrupted,
                NLMSG_DONE => return Progress::Done,
                NLMSG_OVERRUN => self.interrupted = true,
                NLMSG_ERROR => {
                    let errno = Answer::read(&message).map_or(0, |answer| answer.errno);
                    return Progress::Refused(errno);
                }
                _ => each(&message),
            }
        }
        Progress::More
    }
}

/// The question for the ruleset's generation, which every commit of anybody raises.
#[must_use]
pub fn ask_generation(sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header {
        kind: message::kind_of(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN),
        flags: NLM_F_REQUEST,
        sequence,
        family: NFPROTO_UNSPEC,
        resource: 0,
    };
    let at = message::begin(&mut bytes, header);
    message::end(&mut bytes, at);
    bytes
}

/// Reads the answer to [`ask_generation`]; `None` if it is not in there.
#[must_use]
pub fn read_generation(received: &[u8], sequence: u32) -> Option<u32> {
    let mut answers = Messages::new(received).filter(|message| message.sequence == sequence);
    answers.find_map(|message| generation_of(&message))
}

/// The generation that a message tells of.
pub(super) fn generation_of(message: &Message<'_>) -> Option<u32> {
    if message.subsystem() != (NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN) {
        return None;
    }
    let (_, attributes) = message.netfilter()?;
    attribute::be_u32(Attributes::find(attributes, NFTA_GEN_ID)?)
}
