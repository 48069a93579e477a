//! Lists of ids, and the map, at every size.

use super::super::cluster_ips::ClusterIps;
use super::super::frontend_map::{FrontendMap, MapKey};
use super::super::id_list::{IdList, Pages};
use super::*;
use crate::table::hash::next_seed;
use core::net::Ipv6Addr;

fn ids(count: u32) -> Vec<EndpointId> {
    (0..count).map(|id| EndpointId(id * 3 + 1)).collect()
}

fn assert_holds(pages: &Pages, list: &IdList, ids: &[EndpointId]) {
    for (index, id) in (0..).zip(ids) {
        assert_eq!(pages.id(list, index), Some(*id), "of {}", ids.len());
    }
    let len = u32::try_from(ids.len()).expect("few");
    assert_eq!(pages.id(list, len), None);
    assert_eq!(pages.id(list, u32::MAX), None);
}

#[test]
fn a_list_of_any_length_is_what_was_put_in_and_gives_all_its_pages_back() {
    let sizes = (0..600).chain([4_095, 4_096, 4_097, 65_535, 65_536, 65_537, 70_000]);
    let mut pages = Pages::new(70_000).expect("little memory");
    for size in sizes {
        let list = pages.make(&ids(size));
        assert_holds(&pages, &list, &ids(size));
        pages.release(&list);
        assert_eq!(
            u64::from(pages.free_pages()),
            Pages::page_count(70_000),
            "after {size}"
        );
    }
}

#[test]
fn lists_that_come_and_go_in_any_order_always_find_room_within_the_limit() {
    const LIMIT: u32 = 5_000;
    let mut pages = Pages::new(LIMIT).expect("little memory");
    let mut lists: Vec<(IdList, u32)> = Vec::new();
    let (mut used, mut seed) = (0, 11);
    for _ in 0..20_000 {
        let random = next_seed(&mut seed);
        // The worst sizes often: 17 ids on 3 pages, and one page for each digit more.
        let wanted = [1, 9, 17, 17, 17, 257, 300, 33][(random % 8) as usize];
        if used + wanted <= LIMIT {
            lists.push((pages.make(&ids(wanted)), wanted));
            used += wanted;
        } else {
            let position = (random >> 32) as usize % lists.len();
            let (list, size) = lists.swap_remove(position);
            assert_holds(&pages, &list, &ids(size));
            pages.release(&list);
            used -= size;
        }
    }
    for (list, size) in &lists {
        assert_holds(&pages, list, &ids(*size));
    }
}

#[test]
fn a_full_map_finds_every_key_and_an_emptied_one_is_as_new() {
    let entries = 10_000;
    let mut map: FrontendMap<u32, 5> = FrontendMap::new(entries).expect("little memory");
    let mut seed = 5;
    let keys: Vec<(u64, MapKey<u32>)> = (0..10_000)
        .map(|number| {
            let key = MapKey {
                address: number / 7,
                port: u16::try_from(number % 7).expect("small"),
                protocol: 6,
            };
            (next_seed(&mut seed), key)
        })
        .collect();
    for (value, (hash, key)) in (0..).zip(&keys) {
        map.put(*hash, *key, value);
        map.put(*hash, *key, value + 1);
    }
    for (value, (hash, key)) in (1..).zip(&keys) {
        assert_eq!(map.find(*hash, key), Some(value));
        assert_eq!(
            map.find(
                *hash,
                &MapKey {
                    protocol: 17,
                    ..*key
                }
            ),
            None
        );
    }
    let (probes, worst) = map.probes(keys.iter().map(|(hash, key)| (*hash, *key)));
    assert!(probes < 12_000, "{probes} lines for 10,000 keys");
    assert!(worst <= 16, "{worst} lines for one");
    for (hash, key) in &keys {
        map.remove(*hash, key);
        map.remove(*hash, key);
        assert_eq!(map.find(*hash, key), None);
    }
    assert!(map.is_empty());
}

#[test]
fn keys_that_all_hash_alike_are_found_all_the_same() {
    let mut map: FrontendMap<[u64; 2], 2> = FrontendMap::new(100).expect("little memory");
    let key = |number: u64| MapKey {
        address: [number, 1],
        port: 80,
        protocol: 132,
    };
    for number in 0..100 {
        map.put(u64::MAX, key(number), 0);
    }
    for number in (0..100).rev() {
        assert_eq!(map.find(u64::MAX, &key(number)), Some(0));
        map.remove(u64::MAX, &key(number));
    }
    assert!(map.is_empty());
}

#[test]
fn what_lies_outside_the_span_of_all_cluster_ips_is_none_of_them() {
    let may_hold = |ips: &ClusterIps, address| ips.span.holds(Ipv6Addr::from_words(address));
    let mut cluster_ips = ClusterIps::NONE;
    assert!(!may_hold(&cluster_ips, [0, 0]));
    cluster_ips.add([1, 20]);
    cluster_ips.add([1, 10]);
    for (address, may) in [
        ([1, 9], false),
        ([1, 10], true),
        ([1, 15], true),
        ([1, 20], true),
        ([1, 21], false),
        ([0, 15], false),
        ([2, 15], false),
    ] {
        assert_eq!(may_hold(&cluster_ips, address), may, "{address:?}");
    }
    cluster_ips.remove();
    assert!(may_hold(&cluster_ips, [1, 10]) && may_hold(&cluster_ips, [1, 20]));
    cluster_ips.remove();
    assert_eq!(cluster_ips, ClusterIps::NONE);
}

#[test]
fn every_key_is_marked_while_it_is_there_and_few_others_are() {
    const ENTRIES: u32 = 2_000;
    let mut map: FrontendMap<u32, 5> =
        FrontendMap::new(u64::from(ENTRIES)).expect("a few kilobytes");
    let key = |address| MapKey {
        address,
        port: 80,
        protocol: 6,
    };
    let hash = |address: u32| next_seed(&mut u64::from(address));
    for address in 0..ENTRIES {
        map.put(hash(address), key(address), address);
    }
    assert!((0..ENTRIES).all(|address| map.may_hold(hash(address))));
    // A full map has 3.3 entries a bucket, of 32 bits: one stranger in ten.
    let strangers = (ENTRIES..2 * ENTRIES).filter(|address| map.may_hold(hash(*address)));
    let marked = strangers.count();
    assert!(marked < 320, "{marked} of 2,000 strangers");
    let (gone, kept) = (0..ENTRIES / 2, ENTRIES / 2..ENTRIES);
    for address in gone {
        map.remove(hash(address), &key(address));
    }
    for address in kept.clone() {
        assert!(map.may_hold(hash(address)));
        assert_eq!(map.find(hash(address), &key(address)), Some(address));
    }
    for address in kept {
        map.remove(hash(address), &key(address));
    }
    assert!(map.is_empty());
}
