//! First packets of ever new clients into a table that is full of established connections and half-open ones.

use crate::{Arguments, setup};
use portolan::net::{DropReason, Protocol};
use portolan_benches::{Case, CpuTime, SEGMENT_PACKETS, Scene, median};

pub(crate) fn run(arguments: &Arguments, protocol: Protocol) {
    let scene = Scene::new(setup(Case::SynFlood, protocol, arguments.connections));
    let (dataplane, mut established, mut flood) = scene.flooded();
    let before = dataplane.stats();
    let clock = CpuTime::new();
    let (mut calm, mut flooded, mut each_new) = (Vec::new(), Vec::new(), Vec::new());
    let mut sent = 0;
    for _ in 0..arguments.rounds {
        let (time, moved) = established.round(&clock, arguments.packets);
        calm.push(time.as_secs_f64() * 1e9 / moved as f64);
        let (mut time, mut moved, mut flood_time) = (0.0, 0, 0.0);
        while moved < u64::from(arguments.packets) {
            let (spent, new) = flood.round(&clock, SEGMENT_PACKETS as u32);
            flood_time += spent.as_secs_f64() * 1e9;
            sent += new;
            let (spent, old) = established.round(&clock, SEGMENT_PACKETS as u32);
            time += spent.as_secs_f64() * 1e9;
            moved += old;
        }
        flooded.push(time / moved as f64);
        each_new.push(flood_time / moved as f64);
    }
    // Panics if one is lost.
    established.visit_all();
    let after = dataplane.stats();
    let (calm, flooded) = (median(&mut calm), median(&mut flooded));
    println!(
        "flood of {protocol} into a full table of {}: established {calm:.1} ns a packet, as many of the flood between them {flooded:.1} ({:.2} x), 0 lost; {sent} of the flood at {:.0} ns: {} evicted one of their kind, {} dropped",
        arguments.connections,
        flooded / calm,
        median(&mut each_new),
        after.connections_evicted[0] - before.connections_evicted[0],
        after.drops_for(DropReason::ConnectionTableFull)
            - before.drops_for(DropReason::ConnectionTableFull),
    );
}
