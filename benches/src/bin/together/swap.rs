//! Bursts while another thread changes one Service of many after the other, each change published by itself.

use crate::{Arguments, setup};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, Ordering};
use portolan::dataplane::Dataplane;
use portolan::net::Protocol;
use portolan::table::Cache;
use portolan_benches::{Case, CpuTime, Floor, Scene, Setup, idle_service, median};
use std::thread;

pub(crate) fn run(arguments: &Arguments) {
    let setup = setup(Case::EstablishedDnat, Protocol::Tcp, arguments.connections);
    let scene = Scene::beside(setup, arguments.services);
    let mut floor = Floor::new(scene.table_bytes());
    let (mut dataplane, mut sender) = scene.parts();
    let clock = CpuTime::new();
    let packets = arguments.packets.saturating_mul(arguments.rounds as u32);
    let (mut calm, mut swapped) = (Vec::new(), Vec::new());
    sender.time_bursts(&clock, packets, &mut calm);
    let stop = AtomicBool::new(false);
    let swaps = thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_until(&stop, &mut dataplane, &setup, arguments));
        sender.time_bursts(&clock, packets, &mut swapped);
        stop.store(true, Ordering::Relaxed);
        publisher.join().expect("every change fits")
    });
    let mut reads = reads(&mut floor, &clock, median(&mut calm), calm.len());
    println!(
        "bursts of 32 packets, a table of {} Services: {}; while one after the other is changed and the table swapped {swaps} times: {}; random lines of as many bytes, read for as long: {}",
        arguments.services,
        spread(&mut calm),
        spread(&mut swapped),
        spread(&mut reads),
    );
}

/// What memory alone does: how long it takes, so many times, to read random lines for about `nanos` nanoseconds.
fn reads(floor: &mut Floor, clock: &CpuTime, nanos: f64, times: usize) -> Vec<f64> {
    let mut read = |batches: u32, times: usize| -> Vec<f64> {
        (0..times)
            .map(|_| clock.time(|| floor.read::<2>(batches, Cache::Second)))
            .map(|time| time.as_secs_f64() * 1e9)
            .collect()
    };
    let batch = median(&mut read(1, times));
    read((nanos / batch).round().max(1.0) as u32, times)
}

/// The median, what one of a hundred and one of a thousand is above, and the longest.
fn spread(times: &mut [f64]) -> String {
    times.sort_unstable_by(f64::total_cmp);
    let at = |thousandth: usize| times[(times.len() - 1) * thousandth / 1000];
    format!(
        "median {:.0} ns, p99 {:.0}, p99.9 {:.0} ({:.2} x the median), longest {:.0}",
        at(500),
        at(990),
        at(999),
        at(999) / at(500),
        at(1000)
    )
}

/// Changes one Service after the other until told to stop; how often.
fn publish_until(
    stop: &AtomicBool,
    dataplane: &mut Dataplane,
    setup: &Setup,
    arguments: &Arguments,
) -> u32 {
    let mut swaps = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let number = swaps % arguments.services.max(1);
        let version = 1 + swaps / arguments.services.max(1);
        let mut edits = vec![idle_service(setup, number, version)];
        while dataplane.publish(&mut edits).is_err() {
            if stop.load(Ordering::Relaxed) {
                return swaps;
            }
            spin_loop();
        }
        swaps += 1;
    }
    swaps
}
