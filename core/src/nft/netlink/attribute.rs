//! Netlink attributes: a 16-bit length, a 16-bit type, what they hold, and zeros up to four bytes.
//!
//! Reading is total: bytes that are no attribute end the list.

use alloc::vec::Vec;

use super::numbers::{NLA_F_NESTED, NLA_TYPE_MASK};

pub(super) const HEADER: usize = 4;

/// Appends an attribute that holds `bytes`, of which there are fewer than 64 KiB.
pub(super) fn put(out: &mut Vec<u8>, kind: u16, bytes: &[u8]) {
    let at = begin(out, kind);
    out.extend_from_slice(bytes);
    end(out, at);
}

/// Appends an attribute that holds text and a zero.
pub(super) fn put_text(out: &mut Vec<u8>, kind: u16, text: &str) {
    let at = begin(out, kind);
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    end(out, at);
}

/// Opens an attribute that holds attributes; [`end`] closes it.
pub(super) fn begin_nested(out: &mut Vec<u8>, kind: u16) -> usize {
    begin(out, kind | NLA_F_NESTED)
}

fn begin(out: &mut Vec<u8>, kind: u16) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&kind.to_ne_bytes());
    at
}

/// Writes the length of the attribute that begins at `at` and ends where `out` ends, and pads it.
pub(super) fn end(out: &mut Vec<u8>, at: usize) {
    let len = out.len().saturating_sub(at);
    debug_assert!(len <= usize::from(u16::MAX), "an attribute of {len} bytes");
    let len = u16::try_from(len).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *field = len.to_ne_bytes();
    }
    out.resize(padded(out.len()), 0);
}

/// The next multiple of four.
pub(super) const fn padded(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// The same for a number that somebody else wrote.
pub(super) const fn padded_checked(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(4)
}

/// One attribute of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    /// Its type, without flags.
    pub(super) kind: u16,
    /// Where it begins in the list.
    pub(super) offset: usize,
    /// What it holds.
    pub(super) bytes: &'a [u8],
}

/// The attributes of a list, in order.
#[derive(Debug, Clone)]
pub(super) struct Attributes<'a> {
    list: &'a [u8],
    offset: usize,
}

impl<'a> Attributes<'a> {
    pub(super) const fn new(list: &'a [u8]) -> Self {
        Self { list, offset: 0 }
    }

    /// What the first attribute of that type holds.
    pub(super) fn find(list: &'a [u8], kind: u16) -> Option<&'a [u8]> {
        let mut all = Self::new(list);
        let found = all.find(|attribute| attribute.kind == kind);
        found.map(|attribute| attribute.bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let offset = self.offset;
        let rest = self.list.get(offset..)?;
        let (len, after) = rest.split_first_chunk()?;
        let kind = after.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes(*len));
        let bytes = rest.get(HEADER..len)?;
        self.offset = offset.saturating_add(padded(len));
        Some(Attribute {
            kind: u16::from_ne_bytes(*kind) & NLA_TYPE_MASK,
            offset,
            bytes,
        })
    }
}

/// A number in network order that fills the attribute.
pub(super) fn be_u32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().map(u32::from_be_bytes).ok()
}

/// A number in network order that fills the attribute.
pub(super) fn be_u64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().map(u64::from_be_bytes).ok()
}

/// Text up to its zero; `None` if it is not UTF-8.
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    core::str::from_utf8(text).ok()
}
