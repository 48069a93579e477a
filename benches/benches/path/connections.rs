//! Lookups in a connection table that is full: of connections in it, and of others.

use crate::{BATCH, Bench, address, batches, floors};
use core::hint::black_box;
use portolan::conntrack::{Connections, Opening, SourcePorts, Stored, Target, Timeouts, Transport};
use portolan::driver::huge_pages;
use portolan::net::{EndpointId, Protocol, Tuple};
use portolan::packet::PlainHeaders;
use portolan::sync::Loads;
use portolan::table::Home;
use portolan::table::hash::next_seed;
use std::sync::Arc;

const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];

/// The ticks at which connections open and are looked up.
const OPENED: u32 = 1;
const NOW: u32 = 2;

pub(crate) fn lookups<A: Stored>(criterion: &mut Bench) {
    for size in SIZES {
        let table = table::<A>(size);
        let group = format!("conntrack {:?}", A::FAMILY);
        for (name, first, wanted) in [("hit", 0, true), ("miss", size, false)] {
            criterion.bench_function(&format!("{group}, {size}: {name}"), |bencher| {
                let mut random = 1;
                bencher.iter_custom(|operations| {
                    batches(operations, || batch(&table, first, wanted, &mut random))
                });
            });
        }
        let bytes = Connections::<A>::memory_bytes(size);
        floors(criterion, &group, size, bytes);
    }
}

/// 32 lookups as a burst does them: all index lines asked for, then all records', then the records read.
fn batch<A: Stored>(table: &Connections<A>, first: u32, wanted: bool, random: &mut u64) {
    let asked: [_; BATCH] = core::array::from_fn(|_| {
        let number = ((next_seed(random) >> 32) * u64::from(table.capacity())) >> 32;
        let tuple = tuple::<A>(first + number as u32);
        let headers = PlainHeaders {
            addresses: A::pair(tuple.source, tuple.destination),
            ports: tuple.ports(),
            end: 60,
            protocol: tuple.protocol,
            tcp_flags: 0,
            tcp_payload: 0,
            partial: false,
        };
        let hash = table.hash_plain(&headers);
        table.prefetch(hash);
        (headers, hash)
    });
    let candidates = asked.map(|(_, hash)| match table.candidate(hash) {
        Home::Entry(entry) => Some(entry),
        Home::Beyond => table.candidate_beyond(hash),
        Home::Nothing => None,
    });
    let moment = table.moment(NOW);
    for ((headers, hash), candidate) in asked.iter().zip(candidates) {
        let found = candidate.is_some_and(|candidate| {
            let quick = table.quick(candidate, headers, &moment);
            black_box(&quick).is_some()
                || table.find(&headers.headers().tuple, *hash, NOW).is_some()
        });
        assert_eq!(found, wanted, "{headers:?}");
    }
}

fn tuple<A: Stored>(number: u32) -> Tuple<A> {
    Tuple {
        source: address(100, number),
        destination: address(96, 1),
        source_port: 10_000,
        destination_port: 53,
        protocol: Protocol::Udp,
    }
}

fn table<A: Stored>(size: u32) -> Connections<A> {
    let table = Connections::new(
        size,
        7,
        &Timeouts::default(),
        Some(huge_pages),
        Arc::new(Loads::new(1)),
    );
    for number in 0..size {
        let original = tuple::<A>(number);
        let target = Target {
            address: address(200, 1),
            port: 53,
            endpoint: EndpointId(0),
            generation: 0,
            local: false,
            counted: false,
        };
        let ports = (SourcePorts::new(&(1_024..=65_535)), 1);
        let hash = table.hash(&original);
        let opening = Opening::new(&table, (&original, hash), &target, None, ports);
        let opened = table.open(&opening, &Transport::Udp, false, OPENED, |_| true);
        assert!(opened.is_ok(), "{original}");
    }
    table
}
