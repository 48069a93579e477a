//! Capacities, memory, and what an edit costs.

use super::*;
use crate::net::Prefix;

#[test]
fn what_exceeds_a_limit_is_refused_by_name_and_changes_nothing() {
    let mut table = table(small());
    apply(&mut table, &put(0, spec(0, 20)));
    apply(&mut table, &put(1, spec(1, 20)));
    let wide = |frontends: u16| ServiceSpec {
        frontends: (0..frontends)
            .map(|port| frontend(address("10.96.0.9"), 80 + port))
            .collect(),
        ..spec(2, 0)
    };
    let ranged = |ranges: u32| {
        let mut spec = spec(2, 0);
        spec.frontends[0].source_ranges = (0..ranges)
            .map(|number| Prefix::host(numbered("192.0.2.0", number)))
            .collect();
        spec
    };
    let node = |addresses: u32, pods: u32, services: u32| {
        let prefixes = |count| {
            (0..count)
                .map(|number| Prefix::host(numbered("192.0.2.0", number)))
                .collect()
        };
        Edit::Node(NodeSpec {
            addresses: (0..addresses)
                .map(|number| numbered("192.0.2.0", number))
                .collect(),
            pod_prefixes: prefixes(pods),
            service_prefixes: prefixes(services),
            ..NodeSpec::default()
        })
    };
    let foreign = |addresses: u32| {
        Edit::Node(NodeSpec {
            foreign_addresses: (0..addresses)
                .map(|number| numbered("10.96.0.0", number))
                .collect(),
            ..NodeSpec::default()
        })
    };
    for (what, edit, wanted, allowed) in [
        (TableLimit::Services, put(8, spec(2, 0)), 9, 8),
        (TableLimit::Services, put(u32::MAX, spec(2, 0)), 1 << 32, 8),
        (TableLimit::Frontends, put(2, wide(11)), 13, 12),
        (TableLimit::Endpoints, put(2, spec(2, 1)), 41, 40),
        (TableLimit::Endpoints, put(1, spec(1, 21)), 41, 40),
        (TableLimit::SourceRanges, put(2, ranged(7)), 7, 6),
        (TableLimit::NodeAddresses, node(257, 0, 0), 257, 256),
        (TableLimit::PodPrefixes, node(0, 65, 0), 65, 64),
        (TableLimit::ServicePrefixes, node(0, 0, 65), 65, 64),
        (
            TableLimit::ForeignAddresses,
            foreign(16_385),
            16_385,
            16_384,
        ),
    ] {
        let before = format!("{table:?}");
        let mut effects = Effects::default();
        let expected = ApplyError::LimitExceeded(LimitExceeded {
            what,
            wanted,
            allowed,
        });
        assert_eq!(table.check(&edit), Err(expected));
        assert_eq!(table.apply(&edit, &mut effects), Err(expected));
        assert_eq!(effects, Effects::default());
        assert_eq!(format!("{table:?}"), before, "{what:?}");
        assert_eq!(
            format!("{expected}"),
            format!("{wanted} {} wanted, {allowed} allowed", what.as_str())
        );
    }
    // Exactly full is not too much.
    apply(&mut table, &put(2, wide(10)));
    apply(&mut table, &put(2, ranged(6)));
    apply(&mut table, &node(256, 64, 64));
}

#[test]
fn two_families_in_one_service_port_are_refused() {
    let mut table = table(small());
    let mut mixed = spec(0, 1);
    mixed.endpoints[0].address = address("fd20::1");
    let mut effects = Effects::default();
    let result = table.apply(&put(0, mixed), &mut effects);
    assert_eq!(result, Err(ApplyError::MixedFamilies));
    assert_eq!(table.usage(), TableUsage::default());
}

#[test]
fn memory_is_what_was_announced_and_never_grows() {
    let limits = TableLimits {
        services: 1_000,
        frontends: 2_000,
        endpoints: 17_000,
        source_ranges: 300,
        hash_buckets: 3_000,
    };
    let mut table = table(limits);
    assert_eq!(taken(&table), Table::memory_bytes(&limits));
    // As many lists of the size that needs the most pages as there can be, then others in their place.
    for count in [17, 1, 16, 9, 17] {
        for id in 0..1_000 {
            let mut spec = spec(id, count);
            spec.frontends
                .push(frontend(numbered("10.96.0.0", id), 443));
            apply(&mut table, &put(id, spec));
        }
        assert_eq!(table.usage().endpoints, count * 1_000);
        assert_eq!(taken(&table), Table::memory_bytes(&limits));
    }
}

#[test]
fn memory_is_computed_for_any_limits_without_taking_it() {
    let all = TableLimits {
        services: u32::MAX,
        frontends: u32::MAX,
        endpoints: u32::MAX,
        source_ranges: u32::MAX,
        hash_buckets: u32::MAX,
    };
    assert!(Table::memory_bytes(&all) > 1 << 40);
    let none = TableLimits {
        services: 0,
        frontends: 0,
        endpoints: 0,
        source_ranges: 0,
        hash_buckets: 0,
    };
    let mut table = table(none);
    apply(&mut table, &Edit::Remove(ServiceId(0)));
    apply(&mut table, &Edit::Node(NodeSpec::default()));
    let hash = table.hash(core::net::Ipv4Addr::LOCALHOST, 80, Protocol::Tcp);
    let found = table.lookup(core::net::Ipv4Addr::LOCALHOST, 80, Protocol::Tcp, hash);
    assert_eq!(found, Lookup::None);
}

/// Bytes behind the table's own pointers.
fn taken(table: &Table) -> u64 {
    let list = |capacity: usize, size: usize| (capacity * size) as u64;
    table.ipv4.bytes()
        + table.ipv6.bytes()
        + list(table.frontends.capacity(), size_of::<FrontendEntry>())
        + list(table.links.capacity(), size_of::<table::FrontendLink>())
        + list(table.endpoints.capacity(), size_of::<EndpointEntry>())
        + list(table.weights.capacity(), size_of::<u16>())
        + list(table.free_endpoints.capacity(), size_of::<u32>())
        + list(table.services.capacity(), size_of::<table::ServiceRecord>())
        + table.pages.bytes()
        + table.ranges.bytes()
        + table.buckets.bytes()
        + table.marks.bytes()
        + node_table::NodeTable::MEMORY_BYTES
}

#[test]
fn an_edit_touches_as_much_in_a_large_table_as_in_a_small_one() {
    let touched = |services: u32| {
        let limits = TableLimits {
            services: 4_096,
            frontends: 8_192,
            endpoints: 32_768,
            source_ranges: 0,
            hash_buckets: 0,
        };
        let (mut before, mut after) = (table(limits), table(limits));
        for id in 0..services {
            apply(&mut before, &put(id, spec(id, 5)));
            apply(&mut after, &put(id, spec(id, 5)));
        }
        let mut changed = spec(1, 7);
        changed.endpoints.remove(0);
        apply(&mut after, &put(1, changed));
        differing(&before.frontends, &after.frontends)
            + differing(&before.links, &after.links)
            + differing(&before.endpoints, &after.endpoints)
            + differing(&before.services, &after.services)
    };
    // The frontend, the ServicePort, two endpoints that are new and one that ended.
    assert_eq!((touched(4), touched(4_000)), (5, 5));
}

/// How many records of two lists are not the same.
fn differing<T: core::fmt::Debug>(left: &[T], right: &[T]) -> usize {
    let pairs = left.iter().zip(right);
    pairs
        .filter(|(left, right)| format!("{left:?}") != format!("{right:?}"))
        .count()
}
