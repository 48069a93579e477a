//! A load beside a packet worker. The kernel does not yield inside a transaction, so whoever shares the processor
//! waits for its end: what is loaded must be cut into small ones.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::thread;

use portolan::net::{Family, Protocol};

use crate::cluster::{Cluster, State};
use crate::rules::Rules;
use crate::system::{asked, in_namespace, now, pin};

/// How many Services are loaded; `cargo xtask stall` asks for more.
const SERVICES: &str = "PORTOLAN_STALL_SERVICES";
/// By how many milliseconds more than the scheduler alone a load may make a worker wait. `cargo xtask stall` asks for 5,
/// on a machine that does nothing else; as a test among others this only tells many small transactions from one large.
const OVER_CONTROL_MS: (&str, u64) = ("PORTOLAN_STALL_OVER_CONTROL_MS", 50);
/// Strangers on the machine stall, too. A load that does stalls each time.
const ATTEMPTS: usize = 5;

/// The longest time between two turns of a worker on a processor where `beside` works, too.
fn longest_gap(beside: impl FnOnce() + Send) -> Duration {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            pin(0);
            let mut longest = Duration::ZERO;
            let mut last = now();
            while !stop.load(Ordering::Relaxed) {
                let now = now();
                longest = longest.max(now - last);
                last = now;
            }
            longest
        });
        let loader = scope.spawn(|| {
            pin(0);
            beside();
        });
        let done = loader.join();
        stop.store(true, Ordering::Relaxed);
        let longest = worker.join().unwrap();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        longest
    })
}

#[test]
fn a_load_stalls_nobody_who_shares_its_processor() {
    in_namespace("a_load_stalls_nobody_who_shares_its_processor", || {
        let services = u32::try_from(asked(SERVICES, 3_000)).unwrap();
        let over_control = Duration::from_millis(asked(OVER_CONTROL_MS.0, OVER_CONTROL_MS.1));
        let mut cluster = Cluster::new(Family::Ipv4, Protocol::Udp);
        let five = State {
            endpoints: 0b0001_1111,
            ..State::FULL
        };
        cluster.set_all((0..services).map(|service| (service, five)));
        let mut excess = Vec::new();
        for _ in 0..ATTEMPTS {
            let began = now();
            let loading = longest_gap(|| drop(Rules::open(&cluster)));
            let took = began.elapsed();
            // As busy and as long, but never in the kernel.
            let control = longest_gap(|| {
                let began = now();
                while began.elapsed() < took {
                    core::hint::spin_loop();
                }
            });
            eprintln!(
                "{services} Services in {took:?}: longest gap {loading:?}, control {control:?}"
            );
            crate::system::run("nft", &["flush", "ruleset"], "");
            excess.push(loading.saturating_sub(control));
            if excess.last().is_some_and(|excess| *excess <= over_control) {
                return;
            }
        }
        panic!("each of {ATTEMPTS} loads stalled a worker, beyond the control by {excess:?}");
    });
}
