//! Both workers open the same tuples at the same moment.

use super::{Churn, assert_balanced, burst, door, services, with_churn};
use crate::common::{Random, opening, seed, tuple};
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use portolan::dataplane::Verdict;
use portolan::net::{Protocol, Tuple};
use std::sync::{Barrier, Mutex};

/// Of both threads, for each first packet: where it went.
type Results = [Mutex<Vec<Tuple<IpAddr>>>; 2];

/// Both workers send the same first packets between the same two barriers, in opposite orders.
fn race_to_open(name: &str, churn: Churn, compare: bool) {
    let barrier = Barrier::new(2);
    let results: Results = Default::default();
    let done = AtomicBool::new(false);
    let seed = seed(7);
    // A panic between two barriers would leave the other thread waiting.
    let failures = Mutex::new(Vec::new());
    let fail = |what: String| failures.lock().expect("no panic").push(what);
    let (stats, sent) = with_churn(name, churn, |number, worker, clock, stop| {
        let mut random = Random(seed);
        let mut sent = 0;
        for round in 0_u64.. {
            if stop.load(Ordering::SeqCst) {
                done.store(true, Ordering::SeqCst);
            }
            barrier.wait();
            if done.load(Ordering::SeqCst) {
                break;
            }
            let services = services();
            let flow = |service: usize| {
                let (_, cluster, protocol, masquerade) = services[service];
                let client = SocketAddr::new(cluster.client, 1 + (round % 60_000) as u16);
                (
                    protocol,
                    opening(protocol, client, door(&cluster, masquerade)),
                )
            };
            // The same on both threads, in opposite orders.
            let mut flows: Vec<_> = (0..16)
                .map(|_| flow(random.index(services.len())))
                .collect();
            if number == 1 {
                flows.reverse();
            }
            let packets: Vec<_> = flows.iter().map(|(_, packet)| packet.clone()).collect();
            let mut forwards = Vec::new();
            for ((descriptor, moved), sent) in
                burst(worker, clock.now(), &packets).iter().zip(&packets)
            {
                if descriptor.verdict() != Verdict::Forward {
                    let reason = descriptor.drop_reason();
                    fail(format!("round {round}: {} {reason:?}", tuple(sent)));
                }
                forwards.push(tuple(moved));
            }
            sent += packets.len() as u64;
            if number == 1 {
                forwards.reverse();
            }
            *results[number].lock().expect("no panic") = forwards;
            barrier.wait();
            if number == 0 && compare {
                let [first, second] = results
                    .each_ref()
                    .map(|all| all.lock().expect("no panic").clone());
                for ((one, other), (protocol, _)) in first.iter().zip(&second).zip(&flows) {
                    // UDP may have been cut by the end of its endpoint, and opened anew, in between.
                    if one != other && *protocol != Protocol::Udp {
                        fail(format!("round {round}: one is {one}, the other {other}"));
                    }
                }
                // Before the table is full: an eviction would take a half-open connection of this round.
                if round % 100 == 99 {
                    clock.wait(Duration::from_secs(130));
                }
            }
            barrier.wait();
        }
        sent
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(
        failures.is_empty(),
        "{} failures, the first: {:?}",
        failures.len(),
        failures[0]
    );
    assert_balanced(&stats, sent);
}

#[test]
fn of_two_workers_that_open_one_tuple_both_find_one_connection() {
    let churn = Churn {
        endpoints: true,
        step: Duration::ZERO,
    };
    race_to_open("the same tuples", churn, true);
}

#[test]
fn connections_that_expire_and_are_evicted_while_they_are_opened_leave_nothing_behind() {
    let churn = Churn {
        endpoints: true,
        step: Duration::from_secs(5),
    };
    race_to_open("the same tuples, expiring", churn, false);
}
