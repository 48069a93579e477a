//! Parts of a packet's way and whole bursts, in CPU time of the thread, each size beside one and two random lines
//! of a table of the same bytes.

mod bursts;
mod clock;
mod connections;
mod services;

use clock::ThreadTime;
use core::hint::black_box;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use criterion::{Criterion, criterion_group, criterion_main};
use portolan::dataplane::Offload;
use portolan::net::Address;
use portolan::packet::{build, parse};
use portolan::table::Cache;
use portolan_benches::{CpuTime, Floor, thread_time};

/// Lookups side by side, as in a burst.
const BATCH: usize = 32;

type Bench = Criterion<ThreadTime>;

/// The time that `operations` take in whole batches.
fn batches(operations: u64, mut batch: impl FnMut()) -> Duration {
    let count = operations.div_ceil(BATCH as u64);
    let start = thread_time();
    for _ in 0..count {
        batch();
    }
    let time = thread_time().saturating_sub(start);
    time.mul_f64(operations as f64 / (count * BATCH as u64) as f64)
}

/// One and two random lines of as many bytes as the table of `group` has.
fn floors(criterion: &mut Bench, group: &str, size: u32, bytes: u64) {
    let (mut floor, clock) = (Floor::new(bytes), CpuTime::new());
    let each =
        |nanos: f64, operations: u64| Duration::from_secs_f64(nanos * operations as f64 / 1e9);
    criterion.bench_function(&format!("{group}, {size}: floor, one line"), |bencher| {
        bencher.iter_custom(|operations| {
            each(
                floor.nanos::<1>(&clock, operations as u32, Cache::First),
                operations,
            )
        });
    });
    criterion.bench_function(&format!("{group}, {size}: floor, two lines"), |bencher| {
        bencher.iter_custom(|operations| {
            each(
                floor.nanos::<2>(&clock, operations as u32, Cache::First),
                operations,
            )
        });
    });
}

/// Address `number` of net `net`, in either family: 10.net.0.0 and onwards, or fd00:net:: and onwards.
fn address<A: Address>(net: u8, number: u32) -> A {
    let high = (0xfd00 << 48) | (u64::from(net) << 32);
    A::from_words([
        high,
        u64::from(0x0a00_0000 | (u32::from(net) << 16)) + u64::from(number),
    ])
}

fn parsing(criterion: &mut Bench) {
    let v4 = build::tcp("10.244.1.5:40000", "10.96.0.1:80");
    let v6 = build::tcp("[fd00::5]:40000", "[fd96::1]:80");
    for (family, packet) in [("v4", v4), ("v6", v6)] {
        let packet = packet.payload_len(20).build();
        criterion.bench_function(&format!("parse {family}"), |bencher| {
            bencher.iter(|| parse(black_box(&packet), &Offload::default()));
        });
    }
}

fn service_lookups(criterion: &mut Bench) {
    services::lookups::<Ipv4Addr>(criterion);
    services::lookups::<Ipv6Addr>(criterion);
}

fn connection_lookups(criterion: &mut Bench) {
    connections::lookups::<Ipv4Addr>(criterion);
    connections::lookups::<Ipv6Addr>(criterion);
}

fn measured() -> Bench {
    Criterion::default()
        .with_measurement(ThreadTime)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
}

criterion_group! {
    name = path;
    config = measured();
    targets = parsing, service_lookups, connection_lookups, bursts::bursts
}
criterion_main!(path);
