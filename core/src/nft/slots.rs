//! Which endpoint has which slot.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Gives every endpoint as many slots as it stands in `wanted`; slots are numbered from 0 without gaps.
///
/// Whoever has a slot keeps it, so that a change is as small as can be; a slot that becomes free goes to a new
/// endpoint, or else to the one with the last slot.
pub(super) fn arrange(before: &[SocketAddr], wanted: &[SocketAddr]) -> Vec<SocketAddr> {
    if before.is_empty() || before == wanted {
        return wanted.to_vec();
    }
    let mut missing: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    for endpoint in wanted {
        let count = missing.entry(*endpoint).or_default();
        *count = count.saturating_add(1);
    }
    let keep = |endpoint: &SocketAddr, missing: &mut BTreeMap<SocketAddr, usize>| {
        let count = missing.get_mut(endpoint).filter(|count| **count > 0)?;
        *count -= 1;
        Some(*endpoint)
    };
    let mut slots: Vec<Option<SocketAddr>> = before
        .iter()
        .map(|endpoint| keep(endpoint, &mut missing))
        .collect();
    let new = wanted
        .iter()
        .filter_map(|endpoint| keep(endpoint, &mut missing));
    let mut new = new.collect::<Vec<_>>().into_iter();
    let mut position = 0;
    while position < slots.len() {
        if slots.get(position).is_some_and(Option::is_none) {
            let filler = new.next().or_else(|| last(&mut slots, position));
            match (filler, slots.get_mut(position)) {
                (Some(filler), Some(slot)) => *slot = Some(filler),
                (_, _) => slots.truncate(position),
            }
        }
        position += 1;
    }
    slots.into_iter().flatten().chain(new).collect()
}

/// Takes the last endpoint behind a position.
fn last(slots: &mut Vec<Option<SocketAddr>>, position: usize) -> Option<SocketAddr> {
    while slots.len() > position + 1 {
        if let Some(endpoint) = slots.pop().flatten() {
            return Some(endpoint);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn endpoints(numbers: &[u8]) -> Vec<SocketAddr> {
        let endpoint = |number: &u8| SocketAddr::new(Ipv4Addr::new(10, 0, 0, *number).into(), 80);
        numbers.iter().map(endpoint).collect()
    }

    fn changed(before: &[u8], wanted: &[u8]) -> (Vec<SocketAddr>, usize) {
        let before = endpoints(before);
        let after = arrange(&before, &endpoints(wanted));
        let longest = before.len().max(after.len());
        let differs = (0..longest).filter(|slot| before.get(*slot) != after.get(*slot));
        let count = differs.count();
        (after, count)
    }

    #[test]
    fn an_endpoint_that_leaves_gives_its_slot_to_the_last() {
        let (after, changes) = changed(&[1, 2, 3, 4], &[1, 3, 4]);
        assert_eq!(after, endpoints(&[1, 4, 3]));
        assert_eq!(changes, 2);
        assert_eq!(changed(&[1, 2, 3], &[1, 2]), (endpoints(&[1, 2]), 1));
        assert_eq!(changed(&[1, 2, 3], &[]).0, []);
        assert_eq!(changed(&[1, 2, 3, 4], &[2]).0, endpoints(&[2]));
    }

    #[test]
    fn a_new_endpoint_takes_the_slot_of_one_that_leaves() {
        assert_eq!(changed(&[1, 2, 3], &[1, 3, 9]), (endpoints(&[1, 9, 3]), 1));
        assert_eq!(changed(&[1, 2], &[1, 2, 3]), (endpoints(&[1, 2, 3]), 1));
        assert_eq!(changed(&[], &[5, 6]).0, endpoints(&[5, 6]));
    }

    #[test]
    fn a_weight_is_a_number_of_slots() {
        assert_eq!(changed(&[1, 2], &[1, 2, 2, 2]).0, endpoints(&[1, 2, 2, 2]));
        assert_eq!(changed(&[1, 2, 2, 2], &[1, 1, 2]).1, 2);
    }
}
