//! How endpoints are chosen, as numbers.

use crate::error::Failure;
use portolan::net::Scheduler;
use portolan::service::Schedule;

/// Uniformly at random, as kube-proxy. (A number of a scheduler.)
pub const PORTOLAN_SCHEDULER_RANDOM: u8 = 0;
/// rr: one after another.
pub const PORTOLAN_SCHEDULER_ROUND_ROBIN: u8 = 1;
/// wrr: one after another, each as often as its weight says.
pub const PORTOLAN_SCHEDULER_WEIGHTED_ROUND_ROBIN: u8 = 2;
/// lc: the one with the fewest connections.
pub const PORTOLAN_SCHEDULER_LEAST_CONNECTION: u8 = 3;
/// wlc: the one with the fewest connections for its weight.
pub const PORTOLAN_SCHEDULER_WEIGHTED_LEAST_CONNECTION: u8 = 4;
/// sh: by the client's address.
pub const PORTOLAN_SCHEDULER_SOURCE_HASHING: u8 = 5;
/// dh: by the address that the client connects to.
pub const PORTOLAN_SCHEDULER_DESTINATION_HASHING: u8 = 6;
/// sed: the one that would be done first, counting the new connection.
pub const PORTOLAN_SCHEDULER_SHORTEST_EXPECTED_DELAY: u8 = 7;
/// nq: an idle one if there is any, else as sed.
pub const PORTOLAN_SCHEDULER_NEVER_QUEUE: u8 = 8;
/// mh: Maglev's consistent hashing; nodes with the same hash seed make the same choice.
pub const PORTOLAN_SCHEDULER_MAGLEV: u8 = 9;

const _: () = {
    assert!(PORTOLAN_SCHEDULER_RANDOM == Scheduler::Random as u8);
    assert!(PORTOLAN_SCHEDULER_ROUND_ROBIN == Scheduler::RoundRobin as u8);
    assert!(PORTOLAN_SCHEDULER_WEIGHTED_ROUND_ROBIN == Scheduler::WeightedRoundRobin as u8);
    assert!(PORTOLAN_SCHEDULER_LEAST_CONNECTION == Scheduler::LeastConnection as u8);
    assert!(
        PORTOLAN_SCHEDULER_WEIGHTED_LEAST_CONNECTION == Scheduler::WeightedLeastConnection as u8
    );
    assert!(PORTOLAN_SCHEDULER_SOURCE_HASHING == Scheduler::SourceHashing as u8);
    assert!(PORTOLAN_SCHEDULER_DESTINATION_HASHING == Scheduler::DestinationHashing as u8);
    assert!(PORTOLAN_SCHEDULER_SHORTEST_EXPECTED_DELAY == Scheduler::ShortestExpectedDelay as u8);
    assert!(PORTOLAN_SCHEDULER_NEVER_QUEUE == Scheduler::NeverQueue as u8);
    assert!(PORTOLAN_SCHEDULER_MAGLEV == Scheduler::Maglev as u8);
    assert!(Scheduler::ALL.len() == 10); // none is without a number here
};

/// The scheduler of a number.
pub(crate) fn scheduler(number: u8, field: &str) -> Result<Scheduler, Failure> {
    let known = Scheduler::ALL.get(usize::from(number)).copied();
    known.ok_or_else(|| {
        let message = format!("{number} is no scheduler: must be 0 to 9");
        Failure::invalid(field, message)
    })
}

/// The schedule of three numbers.
pub(crate) fn schedule(
    number: u8,
    slow_start_seconds: u16,
    seed: u64,
    field: &str,
) -> Result<Schedule, Failure> {
    Ok(Schedule {
        scheduler: scheduler(number, field)?,
        slow_start_seconds,
        seed,
    })
}
