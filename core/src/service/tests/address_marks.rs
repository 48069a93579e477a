//! Which addresses a table knows: every one that it ever had, and hardly another.

use super::*;
use core::net::{Ipv4Addr, Ipv6Addr};

/// A Service at `at`, with so many endpoints from `first` on.
fn served(at: &str, first: &str, count: u32) -> ServiceSpec {
    ServiceSpec {
        frontends: vec![frontend(address(at), 80)],
        endpoints: (0..count)
            .map(|number| endpoint(numbered(first, number), 80))
            .collect(),
        ..spec(0, 0)
    }
}

fn known<A: Address>(table: &Table, address: A) -> bool {
    assert_eq!(
        table.is_between_strangers(A::UNSPECIFIED, address),
        !table.may_know(address),
        "outside every ServiceCIDR"
    );
    table.may_know(address)
}

#[test]
fn frontends_and_endpoints_are_known_for_ever() {
    let mut table = table(small());
    let v4 = (1..=3).map(|last| Ipv4Addr::new(192, 0, 2, last));
    let v6 = (1..=3).map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    assert!(!v4.clone().any(|address| known(&table, address)));
    assert!(!v6.clone().any(|address| known(&table, address)));
    apply(&mut table, &put(0, served("192.0.2.1", "192.0.2.2", 2)));
    apply(&mut table, &put(1, served("2001:db8::1", "2001:db8::2", 2)));
    for _ in 0..2 {
        assert!(v4.clone().all(|address| known(&table, address)));
        assert!(v6.clone().all(|address| known(&table, address)));
        apply(&mut table, &Edit::Remove(ServiceId(0)));
        apply(&mut table, &Edit::Remove(ServiceId(1)));
    }
}

#[test]
fn a_full_table_mistakes_few_others() {
    let limits = TableLimits {
        services: 2,
        frontends: 2,
        endpoints: 2_000,
        ..small()
    };
    let mut table = table(limits);
    let v4 = served("10.96.0.1", "10.200.0.0", 1_000);
    let v6 = served("fd96::1", "fd20::", 1_000);
    apply(&mut table, &put(0, v4));
    apply(&mut table, &put(1, v6));
    // Neighbours, and others far apart: one in fifty at most, and some luck.
    let others = 10_000_u32;
    let v4 = |number: u32| Ipv4Addr::from_bits(0x0ac9_0000 + number);
    let far = |number: u32| Ipv4Addr::from_bits(0x0b00_0000_u32.wrapping_add(number << 12));
    let v6 = |number: u32| Ipv6Addr::from_bits((0xfd21_u128 << 112) | u128::from(number) << 40);
    let mistaken = [
        (0..others)
            .filter(|number| known(&table, v4(*number)))
            .count(),
        (0..others)
            .filter(|number| known(&table, far(*number)))
            .count(),
        (0..others)
            .filter(|number| known(&table, v6(*number)))
            .count(),
    ];
    for count in mistaken {
        assert!(count * 40 < others as usize, "{mistaken:?} of {others}");
    }
}

#[test]
fn a_service_prefix_has_no_strangers() {
    let mut table = table(small());
    let node = NodeSpec {
        service_prefixes: vec![
            "10.96.0.0/12".parse().expect("a prefix"),
            "fd96::/112".parse().expect("a prefix"),
        ],
        ..NodeSpec::default()
    };
    apply(&mut table, &Edit::Node(node));
    let outside = Ipv4Addr::new(192, 0, 2, 1);
    assert!(!table.is_between_strangers(outside, Ipv4Addr::new(10, 99, 1, 2)));
    assert!(table.is_between_strangers(Ipv4Addr::new(10, 99, 1, 2), outside));
    let outside = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let inside = Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 0x99);
    assert!(!table.is_between_strangers(outside, inside));
    assert!(table.is_between_strangers(inside, outside));
}
