//! Bursts while another thread changes one Service of many after the other, each change published by itself.

use crate::{Arguments, setup};
use core::fmt;
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
    let (mut calm, mut swapped, mut reads) =
        (Spread::default(), Spread::default(), Spread::default());
    let mut swaps = 0;
    for _ in 0..arguments.rounds.max(1) {
        calm.round(sender.time_bursts(&clock, arguments.packets));
        let stop = AtomicBool::new(false);
        swaps = thread::scope(|scope| {
            let publish = || publish_until(&stop, &mut dataplane, &setup, arguments, swaps);
            let publisher = scope.spawn(publish);
            swapped.round(sender.time_bursts(&clock, arguments.packets));
            stop.store(true, Ordering::Relaxed);
            publisher.join().expect("every change fits")
        });
    }
    // Afterwards: they leave nothing of the connections in any cache.
    for _ in 0..arguments.rounds.max(1) {
        let times = arguments.packets as usize / setup.burst;
        reads.round(read(&mut floor, &clock, calm.median(), times));
    }
    println!(
        "bursts of 32 packets, a table of {} Services: {calm}; while one after the other is changed and the table swapped {swaps} times: {swapped}; random lines of as many bytes, read for as long: {reads}",
        arguments.services,
    );
}

/// What memory alone does: how long it takes, so many times, to read random lines for about `nanos` nanoseconds.
fn read(floor: &mut Floor, clock: &CpuTime, nanos: f64, times: usize) -> Vec<f64> {
    let mut read = |batches: u32| -> Vec<f64> {
        (0..times)
            .map(|_| clock.time(|| floor.read::<2>(batches, Cache::Second)))
            .map(|time| time.as_secs_f64() * 1e9)
            .collect()
    };
    let batch = median(&mut read(1));
    read((nanos / batch).round().max(1.0) as u32)
}

/// How long something took, by round.
#[derive(Debug, Default)]
struct Spread {
    /// Of each round the median, what one of a hundred and one of a thousand is above, and the longest.
    quantiles: [Vec<f64>; 4],
}

impl Spread {
    fn round(&mut self, mut times: Vec<f64>) {
        times.sort_unstable_by(f64::total_cmp);
        for (quantiles, thousandth) in self.quantiles.iter_mut().zip([500, 990, 999, 1000]) {
            quantiles.push(times[(times.len() - 1) * thousandth / 1000]);
        }
    }

    fn median(&self) -> f64 {
        median(&mut self.quantiles[0].clone())
    }
}

impl fmt::Display for Spread {
    /// The medians of the rounds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99, p999, longest] =
            self.quantiles.clone().map(|mut rounds| median(&mut rounds));
        let ratio = p999 / median;
        write!(
            f,
            "median {median:.0} ns, p99 {p99:.0}, p99.9 {p999:.0} ({ratio:.2} x the median), longest {longest:.0}"
        )
    }
}

/// Changes one Service after the other until told to stop, `swaps` times before; how often then.
fn publish_until(
    stop: &AtomicBool,
    dataplane: &mut Dataplane,
    setup: &Setup,
    arguments: &Arguments,
    mut swaps: u32,
) -> u32 {
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
