//! What the kernel says to a batch: which operation it refuses and why, or that all of it is committed.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Batch;
use super::attribute::{self, Attributes};
use super::message::{Message, Messages};
use super::numbers::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR, NLMSG_OVERRUN, NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS,
};

/// The error number that a batch for another generation gets (`ERESTART`, which no C library names).
const ERESTART: i32 = 85;

/// An acknowledgement or an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    /// The message that it answers.
    pub(super) sequence: u32,
    /// 0 if the message was accepted.
    pub(super) errno: i32,
    /// Which byte of the message the kernel complains of.
    pub(super) offset: Option<u32>,
    /// What it says, if anything.
    pub(super) text: Option<&'a str>,
}

impl<'a> Answer<'a> {
    /// `None` if the message is no answer, or damaged.
    pub(super) fn read(message: &Message<'a>) -> Option<Self> {
        if message.kind != NLMSG_ERROR {
            return None;
        }
        let (errno, rest) = message.payload.split_first_chunk()?;
        // The header of what is answered: length, type, flags, sequence number, port.
        let (len, header) = rest.split_first_chunk()?;
        let sequence = header.get(4..)?.first_chunk()?;
        let len = usize::try_from(u32::from_ne_bytes(*len)).ok()?;
        let capped = message.flags & NLM_F_CAPPED != 0;
        let answered = if capped { 16 } else { len.max(16) };
        let attributes = match message.flags & NLM_F_ACK_TLVS {
            0 => &[],
            _ => rest
                .get(attribute::padded_checked(answered)?..)
                .unwrap_or_default(),
        };
        let number = |bytes: &[u8]| bytes.try_into().map(u32::from_ne_bytes).ok();
        Some(Self {
            sequence: u32::from_ne_bytes(*sequence),
            errno: i32::from_ne_bytes(*errno).saturating_neg(),
            offset: Attributes::find(attributes, NLMSGERR_ATTR_OFFS).and_then(number),
            text: Attributes::find(attributes, NLMSGERR_ATTR_MSG).and_then(attribute::text),
        })
    }
}

/// One complaint of the kernel about a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which operation of the transaction, counted from 0; `None` if the complaint is about more than one, or about
    /// the batch. The kernel names only the first bad element of a message.
    pub operation: Option<u32>,
    /// The error number, positive: 2 (`ENOENT`) if the table, set, chain or element is not there, 17 (`EEXIST`)
    /// or 16 (`EBUSY`) if the key is there with other data.
    pub errno: i32,
    /// What the kernel says beside the number.
    pub text: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            Some(operation) => write!(f, "operation {operation}: ")?,
            None => f.write_str("the batch: ")?,
        }
        write!(f, "error {}", self.errno)?;
        self.text.iter().try_for_each(|text| write!(f, ", {text}"))
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All of it is in force.
    Committed,
    /// None of it is. At least one refusal.
    Refused(Vec<Refusal>),
    /// None of it is: the ruleset is not of the generation that the batch was made for.
    Superseded,
    /// Answers were lost: all of it is in force, or none.
    Unknown,
}

/// Collects the answers to one batch. Feed it what the socket receives until it knows the outcome.
#[derive(Debug)]
pub struct Answers<'a> {
    batch: &'a Batch,
    refusals: Vec<Refusal>,
    outcome: Option<Outcome>,
}

impl<'a> Answers<'a> {
    /// Of `batch`, which has just been sent.
    #[must_use]
    pub const fn new(batch: &'a Batch) -> Self {
        Self {
            batch,
            refusals: Vec::new(),
            outcome: None,
        }
    }

    /// Reads what the socket received; says the outcome once that is certain.
    pub fn read(&mut self, received: &[u8]) -> Option<&Outcome> {
        for message in Messages::new(received) {
            if message.kind == NLMSG_OVERRUN {
                self.outcome = Some(Outcome::Unknown);
            }
            if let Some(answer) = Answer::read(&message) {
                self.hear(&answer);
            }
        }
        self.outcome.as_ref()
    }

    fn hear(&mut self, answer: &Answer<'_>) {
        let first = super::batch::FIRST_SEQUENCE;
        let of_a_message = (first..=self.batch.last_sequence()).contains(&answer.sequence);
        if answer.errno == ERESTART {
            self.outcome = Some(Outcome::Superseded);
        } else if answer.errno != 0 {
            let located = answer
                .offset
                .and_then(|offset| self.batch.operation_at(answer.sequence, offset));
            let operation = located.or_else(|| self.batch.only_operation(answer.sequence));
            self.refusals.push(Refusal {
                operation,
                errno: answer.errno,
                text: answer.text.map(String::from),
            });
        }
        // The kernel answers a batch as a whole (under the number of its begin), or each of its messages.
        let is_last = answer.sequence == self.batch.last_sequence();
        if self.outcome.is_none() && (is_last || (!of_a_message && answer.errno != 0)) {
            self.outcome = Some(if self.refusals.is_empty() {
                Outcome::Committed
            } else {
                Outcome::Refused(core::mem::take(&mut self.refusals))
            });
        }
    }

    /// The outcome; [`Outcome::Unknown`] if it was not certain yet.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        self.outcome.unwrap_or(Outcome::Unknown)
    }
}
