//! Each scheduler by its rule.

use super::super::choose::bucket_of;
use super::*;
use crate::net::Scheduler;
use crate::sync::Loads;
use crate::table::hash::next_seed;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::net::{Ipv4Addr, Ipv6Addr};

const FRONTEND: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 0);

/// One ServicePort with endpoints of these weights, chosen by this scheduler.
struct Rig {
    table: Table,
    balance: Balance,
    now: u32,
}

fn scheduled(scheduler: Scheduler, weights: &[u16]) -> ServiceSpec {
    let count = u32::try_from(weights.len()).expect("few");
    let mut spec = spec(0, count);
    for (endpoint, weight) in spec.endpoints.iter_mut().zip(weights) {
        endpoint.weight = *weight;
    }
    spec.schedule.scheduler = scheduler;
    spec
}

impl Rig {
    fn new(scheduler: Scheduler, weights: &[u16]) -> Self {
        Self::of(&scheduled(scheduler, weights))
    }

    fn of(spec: &ServiceSpec) -> Self {
        let mut table = table(TableLimits {
            services: 1,
            frontends: 2,
            endpoints: 1_200,
            source_ranges: 0,
            hash_buckets: 1 << 17,
        });
        apply(&mut table, &put(0, spec.clone()));
        Self {
            table,
            balance: Balance::new(1, Arc::new(Loads::new(1_200))),
            now: 0,
        }
    }

    fn put(&mut self, spec: &ServiceSpec) {
        apply(&mut self.table, &put(0, spec.clone()));
    }

    /// The endpoint that a connection gets, by its place in the specification.
    fn choose(&self, tuple: &Tuple<Ipv4Addr>, random: u64, peek: bool) -> Option<u32> {
        let (at, port) = (tuple.destination, tuple.destination_port);
        let hash = self.table.hash(at, port, tuple.protocol);
        let Lookup::Frontend(frontend) = self.table.lookup(at, port, tuple.protocol, hash) else {
            panic!("{tuple} is served")
        };
        let draw = Draw {
            now: self.now,
            peek,
            ..draw(tuple, random, &self.balance)
        };
        match self.table.select(frontend, SourceClass::Pod, None, &draw) {
            Selection::Endpoint { id, .. } => {
                let entry = self.table.endpoint(id).expect("chosen");
                let address: Ipv4Addr = entry.address();
                Some(address.to_bits() & 0xffff)
            }
            Selection::SourceRange | Selection::NoneUsable | Selection::NoneAllowed => None,
        }
    }

    fn next(&self) -> u32 {
        let tuple = from(Ipv4Addr::new(192, 0, 2, 1), 40_000);
        self.choose(&tuple, 7, false).expect("endpoints are there")
    }

    /// How often each endpoint is chosen by so many clients.
    fn shares(&self, clients: u32) -> BTreeMap<u32, u32> {
        let mut shares = BTreeMap::new();
        let mut seed = 3;
        for client in 0..clients {
            let tuple = client_tuple(client);
            let choice = self.choose(&tuple, next_seed(&mut seed), false);
            *shares.entry(choice.expect("endpoints")).or_default() += 1;
        }
        shares
    }

    fn open(&self, endpoint: u32) {
        self.balance.loads().change(EndpointId(endpoint), 0, 1, 0);
    }
}

fn from(source: Ipv4Addr, port: u16) -> Tuple<Ipv4Addr> {
    Tuple {
        source_port: port,
        ..tuple(source, FRONTEND, 80, Protocol::Tcp)
    }
}

/// Clients are hosts of several networks, each with ports of its own.
fn client_tuple(client: u32) -> Tuple<Ipv4Addr> {
    let source = Ipv4Addr::from_bits(0xc600_0000 + client);
    from(source, 1_024 + (client % 60_000) as u16)
}

#[test]
fn round_robin_takes_one_after_another_and_looking_takes_nobodys_turn() {
    let rig = Rig::new(Scheduler::RoundRobin, &[1, 5, 1]);
    let tuple = client_tuple(1);
    for turn in 0..9 {
        assert_eq!(rig.choose(&tuple, 0, true), Some(turn % 3));
        assert_eq!(rig.choose(&tuple, 0, false), Some(turn % 3));
    }
}

#[test]
fn weighted_round_robin_is_the_kernels_sequence() {
    // The example of the algorithm's own description: weights 4, 3, 2 give A A B A B C A B C.
    let rig = Rig::new(Scheduler::WeightedRoundRobin, &[4, 3, 2]);
    let turns: Vec<u32> = (0..18).map(|_| rig.next()).collect();
    let once = [0, 0, 1, 0, 1, 2, 0, 1, 2];
    assert_eq!(turns, [once, once].concat());
    // Multiples of one weight are that many equal turns.
    let rig = Rig::new(Scheduler::WeightedRoundRobin, &[300, 300, 600]);
    let turns: Vec<u32> = (0..8).map(|_| rig.next()).collect();
    assert_eq!(turns, [2, 0, 1, 2, 2, 0, 1, 2]);
}

#[test]
fn weighted_round_robin_goes_on_when_endpoints_come_and_go() {
    let mut rig = Rig::new(Scheduler::WeightedRoundRobin, &[9, 9, 9, 9, 9]);
    for weights in [&[1, 2][..], &[7], &[0, 3, 0, 65_535], &[2, 4, 6, 8, 10, 12]] {
        rig.put(&scheduled(Scheduler::WeightedRoundRobin, weights));
        let shares = rig.shares(4_200);
        let taking: Vec<u32> = (0..)
            .zip(weights)
            .filter(|(_, weight)| **weight > 0)
            .map(|(at, _)| at)
            .collect();
        let most = weights.iter().max().expect("some");
        if *most < 100 {
            assert_eq!(
                shares.keys().copied().collect::<Vec<_>>(),
                taking,
                "{weights:?}"
            );
        }
        let best = shares
            .iter()
            .max_by_key(|(_, share)| **share)
            .map(|(at, _)| *at as usize);
        assert_eq!(best.map(|at| &weights[at]), Some(most));
    }
}

#[test]
fn least_connection_schedulers_compare_what_ipvs_compares() {
    // Endpoint 0 has more connections and more weight.
    for (scheduler, weights, active, inactive, expected) in [
        (Scheduler::LeastConnection, [9, 1], [2, 1], [0, 0], 1),
        (Scheduler::LeastConnection, [1, 1], [1, 0], [0, 255], 1),
        (Scheduler::LeastConnection, [1, 1], [1, 0], [0, 257], 0),
        (
            Scheduler::WeightedLeastConnection,
            [3, 1],
            [2, 1],
            [0, 0],
            0,
        ),
        (
            Scheduler::WeightedLeastConnection,
            [2, 1],
            [3, 1],
            [0, 0],
            1,
        ),
        // (2 + 1) / 3 is less than (0 + 1) / 0.9...: the faster one is done first even though it is busy.
        (
            Scheduler::ShortestExpectedDelay,
            [40, 10],
            [2, 0],
            [0, 99],
            0,
        ),
        (
            Scheduler::ShortestExpectedDelay,
            [20, 10],
            [2, 0],
            [99, 0],
            1,
        ),
        // Never queue: the idle one, however slow.
        (Scheduler::NeverQueue, [40, 10], [2, 0], [0, 99], 1),
        (Scheduler::NeverQueue, [40, 10], [2, 1], [0, 0], 0),
    ] {
        let rig = Rig::new(scheduler, &weights);
        for (id, (active, inactive)) in (0..).zip(active.into_iter().zip(inactive)) {
            rig.balance
                .loads()
                .change(EndpointId(id), 0, active, inactive);
        }
        for random in [0, u64::MAX] {
            let choice = rig.choose(&client_tuple(1), random, false);
            assert_eq!(choice, Some(expected), "{scheduler} {weights:?} {active:?}");
        }
    }
}

#[test]
fn connections_that_stay_open_are_spread_as_the_weights_say() {
    for scheduler in [
        Scheduler::WeightedLeastConnection,
        Scheduler::ShortestExpectedDelay,
        Scheduler::NeverQueue,
    ] {
        let rig = Rig::new(scheduler, &[1, 2, 3, 0]);
        let mut counts = [0_u32; 4];
        let mut seed = 1;
        for client in 0..600 {
            let choice = rig.choose(&client_tuple(client), next_seed(&mut seed), false);
            let choice = choice.expect("endpoints");
            rig.open(choice);
            counts[choice as usize] += 1;
        }
        assert!(
            counts[0].abs_diff(100) <= 2 && counts[1].abs_diff(200) <= 2 && counts[3] == 0,
            "{scheduler}: {counts:?}"
        );
    }
}

#[test]
fn equally_idle_endpoints_are_not_all_met_in_the_same_order() {
    let rig = Rig::new(Scheduler::LeastConnection, &[1; 20]);
    assert!(rig.shares(400).len() == 20);
}

#[test]
fn source_hashing_follows_the_client_and_shares_buckets_by_weight() {
    let rig = Rig::new(Scheduler::SourceHashing, &[1, 2, 5]);
    let source = Ipv4Addr::new(192, 0, 2, 77);
    let first = rig.choose(&from(source, 1), 0, false);
    for port in 2..50 {
        assert_eq!(
            rig.choose(&from(source, port), u64::from(port) << 50, false),
            first
        );
    }
    let shares = rig.shares(25_600);
    for (endpoint, weight) in [(0, 1), (1, 2), (2, 5)] {
        assert!(
            shares[&endpoint].abs_diff(3_200 * weight) < 200,
            "{shares:?}"
        );
    }
}

#[test]
fn a_weight_of_zero_moves_its_own_clients_and_nobody_elses() {
    let mut rig = Rig::new(Scheduler::SourceHashing, &[1; 8]);
    let choices = |rig: &Rig| -> Vec<Option<u32>> {
        let clients = (0..5_000).map(client_tuple);
        clients.map(|tuple| rig.choose(&tuple, 0, false)).collect()
    };
    let before = choices(&rig);
    rig.put(&scheduled(
        Scheduler::SourceHashing,
        &[1, 1, 1, 0, 1, 1, 1, 1],
    ));
    for (before, after) in before.into_iter().zip(choices(&rig)) {
        if before == Some(3) {
            assert!(after.is_some() && after != Some(3));
        } else {
            assert_eq!(after, before);
        }
    }
}

#[test]
fn hashing_folds_every_word_of_an_ipv6_address() {
    for word in 0..4 {
        let addresses = (0..256_u128).map(|number| Ipv6Addr::from_bits(number << (32 * word)));
        let buckets: BTreeSet<u32> = addresses.map(bucket_of).collect();
        assert!(
            buckets.len() > 128,
            "word {word}: {} buckets",
            buckets.len()
        );
    }
}

#[test]
fn destination_hashing_follows_the_address_that_the_client_connects_to() {
    let mut spec = scheduled(Scheduler::DestinationHashing, &[1; 5]);
    spec.frontends = (0..1).map(|_| frontend(IpAddr::V4(FRONTEND), 80)).collect();
    let rig = Rig::of(&spec);
    assert_eq!(rig.shares(500).len(), 1);
    let mut chosen = BTreeMap::new();
    for number in 0..16 {
        let mut moved = spec.clone();
        moved.frontends = vec![frontend(numbered("10.96.0.0", number), 80)];
        let rig = Rig::of(&moved);
        let mut tuple = client_tuple(1);
        tuple.destination = Ipv4Addr::from_bits(FRONTEND.to_bits() + number);
        *chosen.entry(rig.choose(&tuple, 0, false)).or_insert(0) += 1;
    }
    assert!(chosen.len() >= 4, "{chosen:?}");
}

#[test]
fn hashing_over_more_endpoints_than_buckets_still_finds_one_that_takes_connections() {
    let mut weights = [1; 300];
    weights[..280].fill(0);
    for scheduler in [Scheduler::SourceHashing, Scheduler::DestinationHashing] {
        let rig = Rig::new(scheduler, &weights);
        assert!(rig.shares(100).keys().all(|endpoint| *endpoint >= 280));
    }
}

#[test]
fn maglev_moves_less_than_one_in_a_hundred_needlessly_when_one_of_a_hundred_leaves() {
    const CLIENTS: u32 = 100_000;
    for gone in [0, 42, 99] {
        let spec = scheduled(Scheduler::Maglev, &[1; 100]);
        let mut fewer = spec.clone();
        fewer.endpoints.remove(gone);
        let (before, after) = (Rig::of(&spec), Rig::of(&fewer));
        let mut needless = 0;
        for client in 0..CLIENTS {
            let tuple = client_tuple(client);
            let [then, now] = [&before, &after].map(|rig| rig.choose(&tuple, 0, false));
            if then != Some(u32::try_from(gone).expect("few")) && then != now {
                needless += 1;
            }
        }
        assert!(
            needless * 100 < CLIENTS,
            "{needless} of {CLIENTS}, without {gone}"
        );
    }
}

#[test]
fn maglev_shares_out_by_weight_and_evenly_at_every_number_of_endpoints() {
    for count in [1_usize, 2, 5, 33, 100, 327, 1_000] {
        let rig = Rig::new(Scheduler::Maglev, &vec![1; count]);
        let clients = u32::try_from(count * 1_000).expect("few");
        let shares = rig.shares(clients);
        assert_eq!(shares.len(), count);
        // 1,000 expected, with a standard deviation of 32; the table's own unevenness adds up to 1.6 %.
        let even = |share: &u32| share.abs_diff(1_000) < 200;
        assert!(shares.values().all(even), "{count}: {shares:?}");
    }
    let shares = Rig::new(Scheduler::Maglev, &[10, 0, 30, 60]).shares(20_000);
    for (endpoint, expected) in [(0, 2_000), (2, 6_000), (3, 12_000)] {
        assert!(shares[&endpoint].abs_diff(expected) < 500, "{shares:?}");
    }
    assert_eq!(shares.len(), 3);
}

#[test]
fn maglev_chooses_alike_wherever_the_seed_is_the_same() {
    let mut spec = scheduled(Scheduler::Maglev, &[1, 2, 3, 4, 5, 6, 7]);
    let here = Rig::of(&spec);
    // There, other endpoints were before: the ids are others.
    let mut elsewhere = Rig::of(&scheduled(Scheduler::Random, &[1; 50]));
    let mut moved = spec.clone();
    moved.endpoints.rotate_left(3);
    elsewhere.put(&moved);
    elsewhere.put(&spec);
    spec.schedule.seed = 1;
    let other_seed = Rig::of(&spec);
    let choices = |rig: &Rig| -> Vec<Option<u32>> {
        let clients = (0..1_000).map(client_tuple);
        clients.map(|tuple| rig.choose(&tuple, 0, false)).collect()
    };
    assert_eq!(choices(&here), choices(&elsewhere));
    assert_ne!(choices(&here), choices(&other_seed));
}

#[test]
fn maglev_goes_by_the_client_alone_where_the_service_has_affinity() {
    let mut spec = scheduled(Scheduler::Maglev, &[1; 9]);
    let source = Ipv4Addr::new(192, 0, 2, 1);
    let ports = |rig: &Rig| {
        let ports = (1..100).map(|port| rig.choose(&from(source, port), 0, false));
        ports.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(ports(&Rig::of(&spec)), 9);
    spec.affinity_seconds = Some(60);
    assert_eq!(ports(&Rig::of(&spec)), 1);
}

#[test]
fn maglev_spreads_a_clients_connections_by_the_port_that_they_are_sent_to_as_well() {
    let mut spec = scheduled(Scheduler::Maglev, &[1; 9]);
    spec.frontends.push(frontend(FRONTEND.into(), 81));
    let rig = Rig::of(&spec);
    let choices = |destination_port| -> Vec<Option<u32>> {
        let clients = (0..100).map(|client| Tuple {
            destination_port,
            ..client_tuple(client)
        });
        clients.map(|tuple| rig.choose(&tuple, 0, false)).collect()
    };
    assert_ne!(choices(80), choices(81));
}

#[test]
fn no_scheduler_chooses_an_endpoint_of_weight_zero_or_none_where_there_is_one() {
    for scheduler in Scheduler::ALL {
        let rig = Rig::new(scheduler, &[0, 1, 0, 1]);
        let shares = rig.shares(2_000);
        assert!(
            shares.keys().all(|at| [1, 3].contains(at)),
            "{scheduler}: {shares:?}"
        );
        let rig = Rig::new(scheduler, &[0, 0]);
        assert_eq!(rig.choose(&client_tuple(1), 0, false), None, "{scheduler}");
    }
}

#[test]
fn a_new_endpoint_starts_slowly_and_has_its_share_when_the_time_is_over() {
    for scheduler in [
        Scheduler::Random,
        Scheduler::RoundRobin,
        Scheduler::WeightedRoundRobin,
    ] {
        let mut spec = scheduled(scheduler, &[1; 3]);
        spec.schedule.slow_start_seconds = 100;
        let newest = spec.endpoints.pop().expect("three");
        let mut rig = Rig::of(&spec);
        rig.shares(100);
        rig.now = 1_000 * crate::net::TICKS_PER_SECOND;
        spec.endpoints.push(newest);
        rig.put(&spec);
        let mut share = |seconds: u32| {
            rig.now = (1_000 + seconds) * crate::net::TICKS_PER_SECOND;
            rig.shares(6_000).get(&2).copied().unwrap_or(0)
        };
        let (begun, half, whole) = (share(0), share(50), share(100));
        assert!(begun < 200, "{scheduler}: {begun}");
        assert!((900..1_700).contains(&half), "{scheduler}: {half}");
        assert!(whole.abs_diff(2_000) < 200, "{scheduler}: {whole}");
    }
}

#[test]
fn a_least_connection_scheduler_lets_a_new_endpoint_start_slowly_too() {
    let mut spec = scheduled(Scheduler::LeastConnection, &[1; 2]);
    spec.schedule.slow_start_seconds = 64;
    let mut rig = Rig::of(&spec);
    // Both are known for long; one has lost all its connections, and its count begins anew with its generation.
    rig.shares(10);
    rig.now = 100 * crate::net::TICKS_PER_SECOND;
    for _ in 0..64 {
        rig.open(0);
    }
    rig.balance.loads().begin(EndpointId(1), 1);
    rig.now += 16 * crate::net::TICKS_PER_SECOND;
    rig.next();
    rig.now += 16 * crate::net::TICKS_PER_SECOND;
    // A quarter of the time is over: it gets a quarter as many connections as the other has.
    let mut got = 0;
    while rig.next() == 1 {
        rig.balance.loads().change(EndpointId(1), 1, 1, 0);
        got += 1;
        assert!(got < 100, "the other one's turn comes");
    }
    assert!((15..=18).contains(&got), "{got}");
}

#[test]
fn two_threads_that_take_turns_take_each_once() {
    let rig = Rig::new(Scheduler::RoundRobin, &[1; 7]);
    let counts = std::thread::scope(|scope| {
        let turns = || (0..7_000).map(|_| rig.next()).collect::<Vec<_>>();
        let threads = [scope.spawn(turns), scope.spawn(turns)];
        let mut counts = [0; 7];
        for turn in threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
        {
            counts[turn as usize] += 1;
        }
        counts
    });
    assert_eq!(counts, [2_000; 7]);
}

#[test]
fn whose_turn_it_is_takes_two_words_for_each_service() {
    let balance = Balance::new(1_000, Arc::default());
    assert_eq!(Balance::memory_bytes(1_000), 16_000);
    assert_eq!(Balance::memory_bytes(0), 0);
    for set in [EndpointSet::Cluster, EndpointSet::Local] {
        assert!(balance.turn(ServiceId(999), set).is_some(), "{set}");
        assert!(balance.turn(ServiceId(1_000), set).is_none(), "{set}");
    }
}
