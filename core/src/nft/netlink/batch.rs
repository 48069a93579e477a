//! Batches: the messages of one transaction, which the kernel applies as a whole or not at all.

use alloc::vec::Vec;

use super::attribute::{self, Attributes};
use super::element;
use super::message::{self, Header, Messages};
use super::numbers::{
    NFNL_BATCH_GENID, NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NFPROTO_IPV4,
    NFPROTO_IPV6, NFPROTO_UNSPEC, NFT_MSG_DELSETELEM, NFT_MSG_NEWSETELEM, NFTA_LIST_ELEM,
    NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, NLM_F_ACK,
    NLM_F_CREATE, NLM_F_REQUEST,
};
use super::table::TableEdit;
use crate::net::Family;
use crate::nft::{Operation, Transaction};

/// Where a list of elements is closed and the next message opened. An attribute's length is a 16-bit number; the
/// largest element takes less than a kilobyte.
const LIST_BYTES: usize = 60_000;

/// Each message with elements has its own sequence number, the first one this; the begin has the one before.
pub(super) const FIRST_SEQUENCE: u32 = 1;

/// The messages of one transaction, to be sent in one piece.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    operations: u32,
    /// For each message with elements, the number of its first operation.
    first_operations: Vec<u32>,
}

impl Batch {
    /// Encodes a transaction on the table of that name; `None` if there is nothing to do. Given a generation, the
    /// kernel refuses the batch unless the ruleset is still of that generation.
    ///
    /// Neighbouring operations of one kind on one set share a message. The acknowledgement is asked of the last
    /// message with elements: kernels before 6.10 give none for the end of a batch.
    #[must_use]
    pub fn new(transaction: &Transaction, table: &str, generation: Option<u32>) -> Option<Self> {
        let mut batch = Self::begun(generation);
        let mut rest = &transaction.operations[..];
        let mut last = None;
        while let Some(first) = rest.first() {
            let (message, taken) = batch.message(transaction.family, table, first, rest);
            last = Some(message);
            rest = rest.get(taken..).unwrap_or_default();
        }
        Some(batch.ended(last?))
    }

    /// Encodes what is done to whole tables, all of it or nothing; `None` if that is nothing.
    #[must_use]
    pub fn of_tables(edits: &[TableEdit]) -> Option<Self> {
        let mut batch = Self::begun(None);
        let mut last = None;
        for edit in edits {
            let (kind, flags) = edit.kind();
            let message = batch.open(kind, flags, edit.family);
            edit.put(&mut batch.bytes);
            message::end(&mut batch.bytes, message);
            batch.operations = batch.operations.saturating_add(1);
            last = Some(message);
        }
        Some(batch.ended(last?))
    }

    /// Encodes that a set or map, by name, loses all of its elements.
    #[must_use]
    pub fn of_flush(family: Family, table: &str, set: &str) -> Self {
        let mut batch = Self::begun(None);
        let message = batch.open(NFT_MSG_DELSETELEM, 0, family);
        attribute::put_text(&mut batch.bytes, NFTA_SET_ELEM_LIST_TABLE, table);
        attribute::put_text(&mut batch.bytes, NFTA_SET_ELEM_LIST_SET, set);
        message::end(&mut batch.bytes, message);
        batch.operations = 1;
        batch.ended(message)
    }

    fn begun(generation: Option<u32>) -> Self {
        let mut batch = Self {
            bytes: Vec::new(),
            operations: 0,
            first_operations: Vec::new(),
        };
        let begin = message::begin(&mut batch.bytes, delimiter(NFNL_MSG_BATCH_BEGIN, 0));
        if let Some(generation) = generation {
            let generation = generation.to_be_bytes();
            attribute::put(&mut batch.bytes, NFNL_BATCH_GENID, &generation);
        }
        message::end(&mut batch.bytes, begin);
        batch
    }

    /// With the end, and an acknowledgement asked of the message that begins at `last`.
    fn ended(mut self, last: usize) -> Self {
        message::add_flags(&mut self.bytes, last, NLM_F_ACK);
        let end = FIRST_SEQUENCE.saturating_add(self.messages());
        let end = message::begin(&mut self.bytes, delimiter(NFNL_MSG_BATCH_END, end));
        message::end(&mut self.bytes, end);
        self
    }

    /// Begins a message with operations; says where.
    fn open(&mut self, kind: u8, flags: u16, family: Family) -> usize {
        let header = Header {
            kind: message::kind_of(NFNL_SUBSYS_NFTABLES, kind),
            flags: NLM_F_REQUEST | flags,
            sequence: FIRST_SEQUENCE.saturating_add(self.messages()),
            family: family_number(family),
            resource: 0,
        };
        self.first_operations.push(self.operations);
        message::begin(&mut self.bytes, header)
    }

    /// Appends a message with as many operations as are like the first and fit; says where it begins and how many
    /// it took.
    fn message(
        &mut self,
        family: Family,
        table: &str,
        first: &Operation,
        operations: &[Operation],
    ) -> (usize, usize) {
        let (kind, create) = match first {
            Operation::Add(_) => (NFT_MSG_NEWSETELEM, NLM_F_CREATE),
            Operation::Delete(_) => (NFT_MSG_DELSETELEM, 0),
        };
        let message = self.open(kind, create, family);
        let out = &mut self.bytes;
        attribute::put_text(out, NFTA_SET_ELEM_LIST_TABLE, table);
        attribute::put_text(out, NFTA_SET_ELEM_LIST_SET, first.element().set.name());
        let list = attribute::begin_nested(out, NFTA_SET_ELEM_LIST_ELEMENTS);
        let whole = adds(first);
        let mut taken = 0_usize;
        for operation in operations {
            let alike = adds(operation) == whole && operation.element().set == first.element().set;
            if !alike || out.len().saturating_sub(list) > LIST_BYTES {
                break;
            }
            element::put(out, operation.element(), whole);
            taken = taken.saturating_add(1);
        }
        attribute::end(out, list);
        message::end(out, message);
        let count = u32::try_from(taken).unwrap_or(u32::MAX);
        self.operations = self.operations.saturating_add(count);
        (message, taken)
    }

    /// What is sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn messages(&self) -> u32 {
        u32::try_from(self.first_operations.len()).unwrap_or(u32::MAX)
    }

    /// The sequence number of the message whose acknowledgement means: committed.
    pub(super) fn last_sequence(&self) -> u32 {
        FIRST_SEQUENCE
            .saturating_add(self.messages())
            .saturating_sub(1)
    }

    /// The operation of the transaction that the byte at `offset` of the message with that sequence number belongs
    /// to. `None` if it belongs to no one operation.
    pub(super) fn operation_at(&self, sequence: u32, offset: u32) -> Option<u32> {
        let first = self.first_operation(sequence)?;
        let mut messages = Messages::new(&self.bytes);
        let message = messages.find(|message| message.sequence == sequence)?;
        let (_, attributes) = message.netfilter()?;
        let list = Attributes::new(attributes)
            .find(|attribute| attribute.kind == NFTA_SET_ELEM_LIST_ELEMENTS)?;
        let within = usize::try_from(offset)
            .ok()?
            .checked_sub(message::HEADERS.saturating_add(list.offset))?
            .checked_sub(attribute::HEADER)?;
        let begun = Attributes::new(list.bytes)
            .take_while(|attribute| attribute.offset <= within)
            .filter(|item| item.kind == NFTA_LIST_ELEM && !element::ends_range(item.bytes));
        let nth = u32::try_from(begun.count().checked_sub(1)?).ok()?;
        first.checked_add(nth)
    }

    /// The operation of the message with that sequence number, if it has only one.
    pub(super) fn only_operation(&self, sequence: u32) -> Option<u32> {
        let first = self.first_operation(sequence)?;
        let next = self.first_operation(sequence.checked_add(1)?);
        (next.unwrap_or(self.operations).checked_sub(first)? == 1).then_some(first)
    }

    fn first_operation(&self, sequence: u32) -> Option<u32> {
        let index = usize::try_from(sequence.checked_sub(FIRST_SEQUENCE)?).ok()?;
        self.first_operations.get(index).copied()
    }
}

/// `nfgen_family` of a table.
pub(super) const fn family_number(family: Family) -> u8 {
    match family {
        Family::Ipv4 => NFPROTO_IPV4,
        Family::Ipv6 => NFPROTO_IPV6,
    }
}

const fn adds(operation: &Operation) -> bool {
    matches!(operation, Operation::Add(_))
}

const fn delimiter(kind: u16, sequence: u32) -> Header {
    Header {
        kind,
        flags: NLM_F_REQUEST,
        sequence,
        family: NFPROTO_UNSPEC,
        resource: NFNL_SUBSYS_NFTABLES as u16,
    }
}
