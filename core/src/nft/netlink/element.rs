//! One element of a set or map, as an attribute of the kernel's and back.
//!
//! Ranges come in two forms. Where the key is a concatenation, a range is one element with two keys. Where it is
//! one field, it is two elements: the first key, and the key after the last, which says that a range ends before it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::attribute::{self, Attributes};
use super::numbers::{
    NFT_SET_ELEM_INTERVAL_END, NFTA_DATA_VALUE, NFTA_LIST_ELEM, NFTA_SET_ELEM_DATA,
    NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_KEY_END, NFTA_SET_ELEM_TIMEOUT,
    NFTA_SET_ELEM_USERDATA, NFTNL_UDATA_SET_ELEM_COMMENT,
};
use crate::nft::{Bytes, Element, Set};

/// Are the ranges of a set two elements each?
const fn ranges_are_pairs(set: Set) -> bool {
    set.has_ranges() && set.key().len() == 1
}

/// Appends an element to a list of elements: with all that it has, or only what names it.
pub(super) fn put(out: &mut Vec<u8>, element: &Element, whole: bool) {
    let pair = ranges_are_pairs(element.set);
    let at = attribute::begin_nested(out, NFTA_LIST_ELEM);
    put_value(out, NFTA_SET_ELEM_KEY, &element.key);
    if element.set.has_ranges() && !pair {
        // Where ranges may stand, a single key is one, too.
        let end = element.end.as_ref().unwrap_or(&element.key);
        put_value(out, NFTA_SET_ELEM_KEY_END, end);
    }
    if whole {
        put_rest(out, element);
    }
    attribute::end(out, at);
    // Behind the very last key there is none, and the range has no end.
    if pair && let Some(behind) = next(&element.end.unwrap_or(element.key)) {
        let at = attribute::begin_nested(out, NFTA_LIST_ELEM);
        put_value(out, NFTA_SET_ELEM_KEY, &behind);
        let flags = NFT_SET_ELEM_INTERVAL_END.to_be_bytes();
        attribute::put(out, NFTA_SET_ELEM_FLAGS, &flags);
        attribute::end(out, at);
    }
}

fn put_rest(out: &mut Vec<u8>, element: &Element) {
    if let Some(data) = &element.data {
        put_value(out, NFTA_SET_ELEM_DATA, data);
    }
    if let Some(timeout) = element.timeout {
        let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        attribute::put(out, NFTA_SET_ELEM_TIMEOUT, &ms.to_be_bytes());
    }
    if let Some(comment) = &element.comment {
        attribute::put(out, NFTA_SET_ELEM_USERDATA, &user_data(comment));
    }
}

/// What the kernel keeps as one element.
#[derive(Debug)]
pub(super) struct Part {
    element: Element,
    /// Does it only say that a range ends before its key?
    ends_range: bool,
}

impl Part {
    /// Out of an attribute of an element list; `None` if it is none that this library can have written.
    pub(super) fn read(attributes: &[u8], set: Set) -> Option<Self> {
        let key = read_value(Attributes::find(attributes, NFTA_SET_ELEM_KEY)?)?;
        let mut part = Self {
            element: Element::new(set, key),
            ends_range: ends_range(attributes),
        };
        let element = &mut part.element;
        for attribute in Attributes::new(attributes) {
            let bytes = attribute.bytes;
            match attribute.kind {
                // A single key in a set of ranges ends where it begins, and need not say so.
                NFTA_SET_ELEM_KEY_END => {
                    element.end = Some(read_value(bytes)?).filter(|end| *end != key);
                }
                NFTA_SET_ELEM_DATA => element.data = Some(read_value(bytes)?),
                NFTA_SET_ELEM_TIMEOUT => {
                    element.timeout = Some(Duration::from_millis(attribute::be_u64(bytes)?));
                }
                NFTA_SET_ELEM_USERDATA => element.comment = read_comment(bytes),
                // Counters and other expressions, which are no part of what we say.
                _ => {}
            }
        }
        Some(part)
    }
}

/// Is the element that these attributes are of only the end of the one before?
pub(super) fn ends_range(attributes: &[u8]) -> bool {
    let flags = Attributes::find(attributes, NFTA_SET_ELEM_FLAGS).and_then(attribute::be_u32);
    flags.unwrap_or(0) & NFT_SET_ELEM_INTERVAL_END != 0
}

/// Puts ranges of two parts together; sorts by key.
pub(super) fn join(mut parts: Vec<Part>) -> Vec<Element> {
    // At the same key, the range before ends before the next begins.
    parts.sort_by(|a, b| (&a.element.key, !a.ends_range).cmp(&(&b.element.key, !b.ends_range)));
    let mut elements: Vec<Element> = Vec::with_capacity(parts.len());
    let mut open = false;
    for Part {
        element,
        ends_range,
    } in parts
    {
        if !ends_range {
            open = ranges_are_pairs(element.set);
            elements.push(element);
        } else if open && let Some(begun) = elements.last_mut() {
            begun.end = before(&element.key).filter(|last| *last != begun.key);
            open = false;
        }
    }
    // A range that nothing ends reaches to the last key there is.
    if open && let Some(begun) = elements.last_mut() {
        let last = [u8::MAX; Bytes::CAPACITY];
        let last = last.get(..begun.key.as_slice().len());
        begun.end = last
            .and_then(Bytes::from_slice)
            .filter(|last| *last != begun.key);
    }
    elements
}

/// The key after this one, read as one number.
fn next(key: &Bytes) -> Option<Bytes> {
    step(key, |byte| byte.overflowing_add(1))
}

/// The key before this one, read as one number.
fn before(key: &Bytes) -> Option<Bytes> {
    step(key, |byte| byte.overflowing_sub(1))
}

fn step(key: &Bytes, step: impl Fn(u8) -> (u8, bool)) -> Option<Bytes> {
    let mut number = [0; Bytes::CAPACITY];
    let number = number.get_mut(..key.as_slice().len())?;
    number.copy_from_slice(key.as_slice());
    for byte in number.iter_mut().rev() {
        let carry;
        (*byte, carry) = step(*byte);
        if !carry {
            return Bytes::from_slice(number);
        }
    }
    None
}

fn put_value(out: &mut Vec<u8>, kind: u16, value: &Bytes) {
    let at = attribute::begin_nested(out, kind);
    attribute::put(out, NFTA_DATA_VALUE, value.as_slice());
    attribute::end(out, at);
}

fn read_value(attributes: &[u8]) -> Option<Bytes> {
    Bytes::from_slice(Attributes::find(attributes, NFTA_DATA_VALUE)?)
}

/// A comment in the form in which `nft` keeps it.
fn user_data(comment: &str) -> Vec<u8> {
    let cut = comment.floor_char_boundary(Element::COMMENT_MAX);
    let text = comment.get(..cut).unwrap_or_default().as_bytes();
    // With its zero at most 129.
    let len = u8::try_from(text.len().saturating_add(1)).unwrap_or(u8::MAX);
    let mut data = Vec::with_capacity(text.len().saturating_add(3));
    data.extend_from_slice(&[NFTNL_UDATA_SET_ELEM_COMMENT, len]);
    data.extend_from_slice(text);
    data.push(0);
    data
}

fn read_comment(mut data: &[u8]) -> Option<Arc<str>> {
    while let [kind, len, rest @ ..] = data {
        let (field, rest) = rest.split_at_checked(usize::from(*len))?;
        if *kind == NFTNL_UDATA_SET_ELEM_COMMENT {
            return attribute::text(field).map(Arc::from);
        }
        data = rest;
    }
    None
}
