//! Two workers on two processors: one table with each connection's directions on different workers, beside a table of the
//! same size for each worker alone.

use crate::{Arguments, setup};
use core::time::Duration;
use portolan::net::Protocol;
use portolan_benches::{Case, CpuTime, Scene, Sender, median};
use std::sync::Barrier;
use std::thread;

pub(crate) fn run(arguments: &Arguments) {
    let scene = || {
        Scene::new(setup(
            Case::EstablishedDnat,
            Protocol::Tcp,
            arguments.connections,
        ))
    };
    let (_shared, mut crossed) = scene().crossed();
    let (_first, first) = scene().parts();
    let (_second, second) = scene().parts();
    let mut own = [first, second];
    let (mut apart, mut together) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        apart.push(round(&mut own, arguments.packets));
        together.push(round(&mut crossed, arguments.packets));
    }
    let (apart, together) = (median(&mut apart), median(&mut together));
    println!(
        "two workers, {} connections: a table each {apart:.1} ns a packet, one table with crossed directions {together:.1}, throughput {:.2} of that",
        arguments.connections,
        apart / together
    );
}

/// Both at once; nanoseconds a packet, the mean of both.
fn round(senders: &mut [Sender; 2], packets: u32) -> f64 {
    let start = Barrier::new(2);
    let start = &start;
    let times: Vec<Duration> = thread::scope(|scope| {
        let work = |sender: &'_ mut Sender| {
            let clock = CpuTime::new();
            start.wait();
            sender.round(&clock, packets).0
        };
        let threads: Vec<_> = senders
            .iter_mut()
            .map(|sender| scope.spawn(move || work(sender)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no packet goes astray"))
            .collect()
    });
    let total: Duration = times.iter().sum();
    total.as_secs_f64() * 1e9 / (2.0 * f64::from(packets))
}
