//! Writes one reply into the caller's bytes: whole records, never more than fit.

use super::code::Rcode;
use super::query::{HEADER, Head};

/// No room is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The bit pattern of a pointer to an earlier name (RFC 1035, section 4.1.4), and the first offset it cannot say.
const POINTER: u16 = 0xc000;

/// Sections after the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Answer,
    Authority,
    Additional,
}

/// A name as it is written: labels, and how it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'n> {
    /// Labels behind their lengths.
    pub(super) labels: [&'n [u8]; 3],
    pub(super) end: End<'n>,
}

/// How a name ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End<'n> {
    /// As the name that stands at this offset.
    At(usize),
    /// With these bytes, the root's included.
    Wire(&'n [u8]),
}

impl Name<'static> {
    /// The name at an offset.
    pub(super) const fn at(offset: usize) -> Self {
        Self {
            labels: [&[]; 3],
            end: End::At(offset),
        }
    }
}

impl<'n> Name<'n> {
    /// These labels before this end.
    pub(super) const fn below(labels: [&'n [u8]; 3], end: End<'n>) -> Self {
        Self { labels, end }
    }
}

/// The flags of a reply that are not the query's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags {
    pub(super) authoritative: bool,
    pub(super) truncated: bool,
    pub(super) recursion_available: bool,
}

/// A reply being written.
#[derive(Debug)]
pub(super) struct Writer<'r> {
    out: &'r mut [u8],
    len: usize,
    limit: usize,
    questions: u16,
    counts: [u16; 3],
}

impl<'r> Writer<'r> {
    /// A reply of at most `limit` bytes, and no more than `out` has.
    pub(super) fn new(out: &'r mut [u8], limit: usize) -> Result<Self, Full> {
        let limit = limit.min(out.len());
        if limit < HEADER {
            return Err(Full);
        }
        Ok(Self {
            out,
            len: HEADER,
            limit,
            questions: 0,
            counts: [0; 3],
        })
    }

    /// Repeats the question.
    pub(super) fn question(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.put(bytes)?;
        self.questions = 1;
        Ok(())
    }

    /// Keeps room for a later record.
    pub(super) const fn reserve(&mut self, bytes: usize) {
        self.limit = self.limit.saturating_sub(bytes);
    }

    /// Gives room back.
    pub(super) const fn release(&mut self, bytes: usize) {
        self.limit = self.limit.saturating_add(bytes);
    }

    /// Where the next byte goes.
    pub(super) const fn position(&self) -> usize {
        self.len
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len.checked_add(bytes.len()).ok_or(Full)?;
        if end > self.limit {
            return Err(Full);
        }
        let place = self.out.get_mut(self.len..end).ok_or(Full)?;
        place.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    pub(super) fn put_u16(&mut self, number: u16) -> Result<(), Full> {
        self.put(&number.to_be_bytes())
    }

    pub(super) fn put_u32(&mut self, number: u32) -> Result<(), Full> {
        self.put(&number.to_be_bytes())
    }

    pub(super) fn put_name(&mut self, name: Name<'_>) -> Result<(), Full> {
        for label in name.labels {
            self.put(label)?;
        }
        match name.end {
            End::At(offset) => {
                let offset = u16::try_from(offset).map_err(|_| Full)?;
                self.put_u16(POINTER | offset)
            }
            End::Wire(wire) => self.put(wire),
        }
    }

    /// Writes a record of the class IN, or nothing if it does not fit.
    pub(super) fn record(
        &mut self,
        section: Section,
        owner: Name<'_>,
        (kind, ttl): (u16, u32),
        data: impl FnOnce(&mut Self) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let before = self.len;
        let written = self.parts(owner, kind, ttl, data);
        if written.is_err() {
            self.len = before;
            return Err(Full);
        }
        let [answers, authorities, additional] = &mut self.counts;
        let count = match section {
            Section::Answer => answers,
            Section::Authority => authorities,
            Section::Additional => additional,
        };
        *count = count.saturating_add(1);
        Ok(())
    }

    fn parts(
        &mut self,
        owner: Name<'_>,
        kind: u16,
        ttl: u32,
        data: impl FnOnce(&mut Self) -> Result<(), Full>,
    ) -> Result<(), Full> {
        self.put_name(owner)?;
        self.put_u16(kind)?;
        self.put_u16(super::code::INTERNET)?;
        self.put_u32(ttl)?;
        let length_at = self.len;
        self.put_u16(0)?;
        let begun = self.len;
        data(self)?;
        let length = u16::try_from(self.len.saturating_sub(begun)).map_err(|_| Full)?;
        let place = self.out.get_mut(length_at..begun).ok_or(Full)?;
        place.copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Writes the record of EDNS (RFC 6891, section 6.1.2): what we take, and the code's upper bits.
    pub(super) fn edns(&mut self, size: u16, rcode: Rcode, dnssec_ok: bool) -> Result<(), Full> {
        let [_, upper] = (rcode.0 >> 4).to_be_bytes();
        let flags = if dnssec_ok { 0x80 } else { 0 };
        let [size_high, size_low] = size.to_be_bytes();
        let [kind_high, kind_low] = super::code::kind::OPT.to_be_bytes();
        self.put(&[
            0, kind_high, kind_low, size_high, size_low, upper, 0, flags, 0, 0, 0,
        ])?;
        let [_, _, additional] = &mut self.counts;
        *additional = additional.saturating_add(1);
        Ok(())
    }

    /// Writes the header; the reply's length.
    pub(super) fn finish(self, head: Head, rcode: Rcode, flags: Flags) -> usize {
        let [answers, authorities, additional] = self.counts.map(u16::to_be_bytes);
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let [_, code] = (rcode.0 & 0x0f).to_be_bytes();
        let [id0, id1] = head.id;
        let header = [
            [id0, id1],
            [
                0x80 | (head.opcode << 3)
                    | bit(flags.authoritative, 0x04)
                    | bit(flags.truncated, 0x02)
                    | bit(head.recursion_desired, 0x01),
                bit(flags.recursion_available, 0x80) | bit(head.checking_disabled, 0x10) | code,
            ],
            self.questions.to_be_bytes(),
            answers,
            authorities,
            additional,
        ];
        for (place, word) in self.out.chunks_exact_mut(2).zip(header) {
            place.copy_from_slice(&word);
        }
        self.len
    }
}
