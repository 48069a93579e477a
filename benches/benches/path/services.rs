//! Lookups in a Service table that is full: of frontends, with and without a choice of endpoint, and of others.

use crate::{BATCH, Bench, address, batches, floors};
use core::hint::black_box;
use portolan::net::{Address, Family, Prefix, Protocol, ServiceId, Tuple};
use portolan::service::{
    Balance, Draw, Edit, Effects, EndpointSet, EndpointSpec, Frontend, FrontendKind, Lookup,
    NodeSpec, Schedule, ServiceSpec, SourceClass, SourceRule, Table, TableLimits,
};
use portolan::table::hash::next_seed;
use std::sync::Arc;

/// Services, one frontend each.
const SIZES: [u32; 2] = [100, 10_000];
const ENDPOINTS_EACH: u32 = 4;

/// Nets of [`address`].
const CLUSTER_IPS: u8 = 96;
const ENDPOINTS: u8 = 200;
const OTHERS: u8 = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Frontend,
    FrontendAndEndpoint,
    Nothing,
}

pub(crate) fn lookups<A: Address>(criterion: &mut Bench) {
    for size in SIZES {
        let table = table::<A>(size);
        let balance = Balance::default();
        let group = format!("service {:?}", A::FAMILY);
        let cases = [
            ("hit", CLUSTER_IPS, Wanted::Frontend),
            ("hit and choice", CLUSTER_IPS, Wanted::FrontendAndEndpoint),
            ("miss", OTHERS, Wanted::Nothing),
        ];
        for (name, net, wanted) in cases {
            criterion.bench_function(&format!("{group}, {size}: {name}"), |bencher| {
                let mut random = 1;
                bencher.iter_custom(|operations| {
                    batches(operations, || {
                        batch::<A>((&table, &balance), size, net, wanted, &mut random)
                    })
                });
            });
        }
        floors(criterion, &group, size, Table::memory_bytes(table.limits()));
    }
}

/// 32 lookups as a burst does them: all first lines asked for, then all frontends', then the choices.
fn batch<A: Address>(
    (table, balance): (&Table, &Balance),
    size: u32,
    net: u8,
    wanted: Wanted,
    random: &mut u64,
) {
    let asked: [(A, u64); BATCH] = core::array::from_fn(|_| {
        let number = ((next_seed(random) >> 32) * u64::from(size)) >> 32;
        let address = address(net, number as u32);
        let hash = table.hash::<A>(address, 80, Protocol::Tcp);
        table.prefetch::<A>(hash);
        (address, hash)
    });
    let found = asked.map(|(address, hash)| {
        let lookup = table.lookup::<A>(address, 80, Protocol::Tcp, hash);
        if let (Lookup::Frontend(frontend), Wanted::FrontendAndEndpoint) = (lookup, wanted) {
            table.prefetch_frontend(frontend);
        }
        lookup
    });
    for lookup in found {
        let hit = matches!(lookup, Lookup::Frontend(_));
        assert_eq!(hit, wanted != Wanted::Nothing, "{lookup:?}");
        if let (Lookup::Frontend(frontend), Wanted::FrontendAndEndpoint) = (lookup, wanted) {
            let source = address::<A>(OTHERS, 1);
            let tuple = Tuple {
                source,
                destination: source,
                source_port: 40_000,
                destination_port: 80,
                protocol: Protocol::Tcp,
            };
            let draw = Draw {
                tuple: &tuple,
                random: next_seed(random),
                now: 0,
                balance,
                peek: false,
            };
            let choice = table.select(frontend, SourceClass::Pod, None, &draw);
            black_box(choice);
        }
    }
}

fn table<A: Address>(size: u32) -> Table {
    let limits = TableLimits {
        services: size,
        frontends: size,
        endpoints: size * ENDPOINTS_EACH,
        source_ranges: 1,
        hash_buckets: 0,
    };
    let mut table = Table::new(&limits, 7).unwrap_or_else(|error| panic!("{error}"));
    let mut effects = Effects::default();
    let bits = match A::FAMILY {
        Family::Ipv4 => 16,
        Family::Ipv6 => 32,
    };
    let cluster_ips = Prefix::new(address::<A>(CLUSTER_IPS, 0).into(), bits);
    let node = NodeSpec {
        service_prefixes: Vec::from_iter(cluster_ips),
        ..NodeSpec::default()
    };
    let services =
        (0..size).map(|number| Edit::Put(ServiceId(number), Arc::new(service::<A>(number))));
    for edit in core::iter::once(Edit::Node(node)).chain(services) {
        let applied = table.apply(&edit, &mut effects);
        applied.unwrap_or_else(|error| panic!("{error}"));
    }
    table
}

fn service<A: Address>(number: u32) -> ServiceSpec {
    let rule = SourceRule {
        set: EndpointSet::Cluster,
        masquerade: false,
    };
    let endpoint = |endpoint: u32| EndpointSpec {
        address: address::<A>(ENDPOINTS, endpoint).into(),
        port: 8080,
        local: false,
        in_cluster_set: true,
        in_local_set: false,
        weight: 1,
        tag: u64::from(endpoint),
    };
    let first = number * ENDPOINTS_EACH;
    ServiceSpec {
        protocol: Protocol::Tcp,
        frontends: vec![Frontend {
            address: address::<A>(CLUSTER_IPS, number).into(),
            port: 80,
            kind: FrontendKind::ClusterIp,
            rules: [rule; 3],
            source_ranges: Vec::new(),
        }],
        endpoints: (first..first + ENDPOINTS_EACH).map(endpoint).collect(),
        affinity_seconds: None,
        schedule: Schedule::default(),
    }
}
