//! What is different between two lists of elements.

use super::Element;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// It is only in the second list.
    Added(Element),
    /// The key is in both, with other data.
    Changed(Element, Element),
    /// It is only in the first list.
    Gone(Element),
}

impl Difference {
    /// The element as it is afterwards, or was.
    pub(super) const fn element(&self) -> &Element {
        match self {
            Self::Added(element) | Self::Changed(_, element) | Self::Gone(element) => element,
        }
    }
}

/// The differences between two lists that are sorted by [`order`]. Comments are no difference.
pub(super) fn differences(before: Vec<Element>, after: Vec<Element>) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut before = before.into_iter().peekable();
    let mut after = after.into_iter().peekable();
    loop {
        let which = match (before.peek(), after.peek()) {
            (Some(old), Some(new)) => order(old, new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return differences,
        };
        let old = before.next_if(|_| which != Ordering::Greater);
        let new = after.next_if(|_| which != Ordering::Less);
        match (old, new) {
            (Some(old), Some(new)) if old.data != new.data => {
                differences.push(Difference::Changed(old, new));
            }
            (Some(old), None) => differences.push(Difference::Gone(old)),
            (None, Some(new)) => differences.push(Difference::Added(new)),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

/// By set, key and end: what names an element.
pub(super) fn order(one: &Element, other: &Element) -> Ordering {
    let name = |element: &Element| (element.set, element.key, element.end.unwrap_or(element.key));
    name(one).cmp(&name(other))
}

/// Sorts by [`order`].
pub(super) fn sort(elements: &mut [Element]) {
    elements.sort_unstable_by(order);
}
