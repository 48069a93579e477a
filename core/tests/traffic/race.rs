//! Commits under packets. A commit is not atomic for a packet on its way: it may see one map as it was before and
//! the next as it is after. So for every kind of change, a first packet must leave for an endpoint that was right at
//! some moment between its arrival and its departure, and none may be lost.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::thread;

use portolan::net::{Family, Protocol};

use crate::cluster::{Cluster, ENDPOINTS, State};
use crate::random::Random;
use crate::rules::Rules;
use crate::system::{asked, in_namespace, now, pin};
use crate::wire::{Fate, Wire};

/// The Service that packets are for; the others are there to be in the way.
const SERVICE: u32 = 3;
const SERVICES: u32 = 8;

/// How many commits of each kind; `cargo xtask race` asks for more.
const COMMITS: &str = "PORTOLAN_RACE_COMMITS";
const TAKEOVERS: &str = "PORTOLAN_RACE_TAKEOVERS";
/// Only so many packets a run, so that numbers of connections do not repeat.
const MOST_PACKETS: u32 = 60_000_000;

/// What is done to the Service, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    EndpointAddedOrRemoved,
    EndpointReplaced,
    ServiceAddedOrRemoved,
    PolicySwitched,
    AffinitySwitched,
    AllAtOnce,
    TableTakenOver,
}

impl Kind {
    /// The state after this one.
    fn next(self, state: State, random: &mut Random) -> State {
        let bit = 1 << random.below(ENDPOINTS);
        match self {
            Self::EndpointAddedOrRemoved => match state.endpoints ^ bit {
                // Without any endpoint packets are rejected; that is another kind.
                0 => state,
                endpoints => State { endpoints, ..state },
            },
            Self::EndpointReplaced => {
                let [old, new] = [true, false].map(|there| {
                    let is = |nth: &u32| (state.endpoints & (1 << nth) != 0) == there;
                    let those: Vec<_> = (0..ENDPOINTS).filter(is).collect();
                    those[random.below(those.len() as u32) as usize]
                });
                let endpoints = state.endpoints ^ (1 << old) ^ (1 << new);
                State { endpoints, ..state }
            }
            Self::ServiceAddedOrRemoved => State {
                exists: !state.exists,
                ..state
            },
            Self::PolicySwitched => State {
                local: !state.local,
                ..state
            },
            Self::AffinitySwitched => State {
                affinity: !state.affinity,
                ..state
            },
            Self::AllAtOnce => {
                let kinds = [
                    Self::EndpointAddedOrRemoved,
                    Self::ServiceAddedOrRemoved,
                    Self::PolicySwitched,
                    Self::AffinitySwitched,
                ];
                let next = kinds[random.below(4) as usize].next(state, random);
                // A policy with nobody to serve it drops, rightly.
                match next.allowed() {
                    0 => State {
                        local: false,
                        ..next
                    },
                    _ => next,
                }
            }
            Self::TableTakenOver => state,
        }
    }
}

/// Which states there may be: between `done` and `begun`, each a set of endpoints.
struct History {
    allowed: Vec<AtomicU64>,
    begun: AtomicU64,
    done: AtomicU64,
}

/// More commits than there are while a packet is on its way.
const REMEMBERED: usize = 1 << 16;

impl History {
    fn new(state: State) -> Self {
        let allowed = core::iter::repeat_with(|| AtomicU64::new(0));
        let history = Self {
            allowed: allowed.take(REMEMBERED).collect(),
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
        };
        history
            .at(0)
            .store(u64::from(state.allowed()), Ordering::SeqCst);
        history
    }

    fn at(&self, version: u64) -> &AtomicU64 {
        &self.allowed[usize::try_from(version).unwrap() % REMEMBERED]
    }

    fn begin(&self, state: State) {
        let version = self.begun.load(Ordering::SeqCst) + 1;
        self.at(version)
            .store(u64::from(state.allowed()), Ordering::SeqCst);
        self.begun.store(version, Ordering::SeqCst);
    }

    fn end(&self) {
        self.done
            .store(self.begun.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// What was right at some moment since `done` was read: endpoints, and no Service at all.
    fn since(&self, done: u64) -> (u64, bool) {
        let states = (done..=self.begun.load(Ordering::SeqCst))
            .map(|version| self.at(version).load(Ordering::SeqCst));
        states.fold((0, false), |(all, none), allowed| {
            (all | allowed, none || allowed == 0)
        })
    }
}

#[derive(Debug, Default)]
struct Counts {
    packets: u32,
    wrong: u32,
    /// The first of the wrong ones.
    examples: Vec<String>,
}

/// Sends first packets until told to stop.
fn send(wire: &mut Wire, cluster: &Cluster, history: &History, stop: &AtomicBool) -> Counts {
    let mut counts = Counts::default();
    let frontend = cluster.frontend(SERVICE);
    let endpoints: Vec<_> = (0..ENDPOINTS)
        .map(|nth| cluster.endpoint(SERVICE, nth))
        .collect();
    while !stop.load(Ordering::Relaxed) && counts.packets < MOST_PACKETS {
        let done = history.done.load(Ordering::SeqCst);
        let fate = wire.send(counts.packets, frontend);
        let (allowed, none) = history.since(done);
        counts.packets += 1;
        let right = match fate {
            Fate::Left(to) => match endpoints.iter().position(|endpoint| *endpoint == to) {
                Some(nth) => allowed & (1 << nth) != 0,
                None => none && to == frontend,
            },
            Fate::Rejected => none,
            Fate::Lost => false,
        };
        if !right {
            counts.wrong += 1;
            if counts.examples.len() < 10 {
                let number = counts.packets;
                counts.examples.push(format!(
                    "packet {number}, after commit {done}: {fate:?}, allowed {allowed:#010b}, none {none}"
                ));
            }
        }
    }
    counts
}

fn race(kind: Kind, family: Family, commits: u64) {
    let mut cluster = Cluster::new(family, Protocol::Udp);
    let mut wire = Wire::new(family);
    // Half of the endpoints, so that there are some to add.
    let mut state = State {
        endpoints: 0b0101_0011,
        ..State::FULL
    };
    cluster.set_all((0..SERVICES).map(|service| (service, State::FULL)));
    cluster.set(SERVICE, state);
    let mut rules = Rules::open(&cluster);
    let history = History::new(state);
    let stop = AtomicBool::new(false);
    let named = Cluster::new(family, Protocol::Udp);
    let began = now();
    let counts = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            pin(0);
            send(&mut wire, &named, &history, &stop)
        });
        pin(1);
        let mut random = Random::new(1);
        for _ in 0..commits {
            state = kind.next(state, &mut random);
            history.begin(state);
            cluster.set(SERVICE, state);
            if kind == Kind::TableTakenOver {
                drop(rules);
                rules = Rules::open(&cluster);
            } else {
                rules.follow(&cluster);
            }
            history.end();
            rules.poll();
        }
        // What is deleted later must be deleted under packets, too.
        let later = now() + Duration::from_millis(1_500);
        while now() < later {
            rules.poll();
            thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    let seconds = began.elapsed().as_secs_f64();
    let rate = f64::from(counts.packets) / seconds;
    eprintln!(
        "{kind:?} {family:?}: {commits} commits, {} packets, {rate:.0} a second",
        counts.packets
    );
    assert!(counts.packets > 100, "hardly any packets");
    let examples = counts.examples.join("\n");
    assert_eq!(counts.wrong, 0, "{kind:?} {family:?}:\n{examples}");
}

macro_rules! races {
    ($($name:ident: $kind:ident, $family:ident, $asked:ident or $commits:literal;)*) => {$(
        #[test]
        fn $name() {
            in_namespace(stringify!($name), || {
                race(Kind::$kind, Family::$family, asked($asked, $commits));
            });
        }
    )*};
}

races! {
    no_packet_is_lost_while_endpoints_come_and_go: EndpointAddedOrRemoved, Ipv4, COMMITS or 400;
    no_packet_is_lost_while_endpoints_of_ipv6_come_and_go: EndpointAddedOrRemoved, Ipv6, COMMITS or 400;
    no_packet_is_lost_while_an_endpoint_is_replaced: EndpointReplaced, Ipv4, COMMITS or 400;
    no_packet_is_lost_while_the_service_comes_and_goes: ServiceAddedOrRemoved, Ipv4, COMMITS or 400;
    no_packet_is_lost_while_the_policy_is_switched: PolicySwitched, Ipv4, COMMITS or 400;
    no_packet_is_lost_while_affinity_is_switched: AffinitySwitched, Ipv4, COMMITS or 400;
    no_packet_is_lost_while_everything_changes: AllAtOnce, Ipv4, COMMITS or 400;
    no_packet_is_lost_while_the_table_is_taken_over: TableTakenOver, Ipv4, TAKEOVERS or 8;
}
