//! One query's bytes: header, one question, EDNS (RFC 1035, section 4.1; RFC 6891).

use super::code::{Rcode, kind};
use super::name::Labels;

/// Where the question begins.
pub(super) const HEADER: usize = 12;

/// What EDNS says in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edns {
    /// The largest UDP reply that the sender takes.
    pub(super) size: u16,
    /// The sender wants signatures; there are none.
    pub(super) dnssec_ok: bool,
    /// Only version 0 exists.
    pub(super) version: u8,
}

/// The header's parts that a reply repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: [u8; 2],
    pub(super) opcode: u8,
    pub(super) recursion_desired: bool,
    pub(super) checking_disabled: bool,
}

/// A query that was understood.
#[derive(Clone)]
pub(super) struct Query {
    pub(super) head: Head,
    pub(super) name: Labels,
    /// Where the question ends.
    pub(super) question_end: usize,
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) edns: Option<Edns>,
}

/// Why there is no answer to some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswerable {
    /// Too short for a header, or a reply itself: answering could go on for ever.
    Silent,
    /// No query that can be understood.
    Code(Head, Rcode),
}

impl Query {
    /// Reads a query.
    pub(super) fn parse(message: &[u8]) -> Result<Self, Unanswerable> {
        let Some(&[id0, id1, high, low, q0, q1, counts @ ..]) = message.first_chunk::<HEADER>()
        else {
            return Err(Unanswerable::Silent);
        };
        if high & 0x80 != 0 {
            return Err(Unanswerable::Silent);
        }
        let head = Head {
            id: [id0, id1],
            opcode: (high >> 3) & 0x0f,
            recursion_desired: high & 0x01 != 0,
            checking_disabled: low & 0x10 != 0,
        };
        if head.opcode != 0 {
            return Err(Unanswerable::Code(head, Rcode::NOT_IMPLEMENTED));
        }
        let malformed = Unanswerable::Code(head, Rcode::FORMAT_ERROR);
        if [q0, q1] != [0, 1] {
            return Err(malformed);
        }
        let [a0, a1, n0, n1, r0, r1] = counts;
        let records = [[a0, a1], [n0, n1], [r0, r1]].map(u16::from_be_bytes);
        Self::body(message, head, records).ok_or(malformed)
    }

    fn body(message: &[u8], head: Head, records: [u16; 3]) -> Option<Self> {
        let (name, end) = Labels::read(message, HEADER)?;
        let &[k0, k1, c0, c1] = message.get(end..)?.first_chunk()?;
        let question_end = end.saturating_add(4);
        let [answers, authorities, additional] = records;
        let mut rest = message.get(question_end..)?;
        for _ in 0..u32::from(answers).saturating_add(authorities.into()) {
            (_, rest) = Record::read(rest)?;
        }
        let mut edns = None;
        for _ in 0..additional {
            let record;
            (record, rest) = Record::read(rest)?;
            if record.kind == kind::OPT {
                if edns.is_some() || !record.of_root {
                    return None;
                }
                let [_, version, flags, _] = record.ttl;
                edns = Some(Edns {
                    size: record.class,
                    dnssec_ok: flags & 0x80 != 0,
                    version,
                });
            }
        }
        Some(Self {
            head,
            name,
            question_end,
            kind: u16::from_be_bytes([k0, k1]),
            class: u16::from_be_bytes([c0, c1]),
            edns,
        })
    }
}

/// The fixed part of a record.
struct Record {
    of_root: bool,
    kind: u16,
    class: u16,
    ttl: [u8; 4],
}

impl Record {
    /// The record that `bytes` begin with, and what follows it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let rest = skip_name(bytes)?;
        let (&[k0, k1, c0, c1, t0, t1, t2, t3, l0, l1], rest) = rest.split_first_chunk()?;
        let length = u16::from_be_bytes([l0, l1]);
        let rest = rest.get(length.into()..)?;
        let record = Self {
            of_root: bytes.first() == Some(&0),
            kind: u16::from_be_bytes([k0, k1]),
            class: u16::from_be_bytes([c0, c1]),
            ttl: [t0, t1, t2, t3],
        };
        Some((record, rest))
    }
}

/// What follows a name; a pointer ends one and is not followed.
fn skip_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (&length, rest) = bytes.split_first()?;
        bytes = match length {
            0 => return Some(rest),
            1..=63 => rest.get(length.into()..)?,
            0xc0.. => return rest.get(1..),
            64..0xc0 => return None,
        };
    }
}
