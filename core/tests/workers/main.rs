//! Two workers, the two directions of the same connections on different threads, both opening the same tuples,
//! under churn and expiry: no connection is ever lost, split or doubled, and in the end every record is free.
//!
//! `PORTOLAN_SEED` chooses other schedules, `PORTOLAN_SECONDS` how long each test runs (1 by default).

mod common;

use common::{
    Cluster, Random, Rig, cluster_ip, clusters, config, destination, endpoint, node_port, opening,
    seed, service, source, tuple,
};
use core::iter;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use portolan::dataplane::{
    Config, Dataplane, Descriptor, Limits, Stats, Verdict, Worker, descriptor_flags,
};
use portolan::net::{Instant, Protocol, ServiceId, Tuple};
use portolan::packet::build;
use portolan::service::{Edit, ServiceSpec};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

fn seconds() -> u64 {
    std::env::var("PORTOLAN_SECONDS").ok().map_or(1, |text| {
        text.parse().expect("PORTOLAN_SECONDS is a number")
    })
}

/// Moves packets as one burst; what became of each.
fn burst(worker: &mut Worker, now: Instant, packets: &[Vec<u8>]) -> Vec<(Descriptor, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut descriptors = Vec::new();
    for packet in packets {
        let mut descriptor = Descriptor::new(frames.len() as u32, packet.len() as u32);
        descriptor.capacity += 100;
        frames.extend_from_slice(packet);
        frames.extend_from_slice(&[0; 100]);
        descriptors.push(descriptor);
    }
    worker.process_burst(now, &mut frames, &mut descriptors);
    let moved = |descriptor: Descriptor| {
        let start = descriptor.offset as usize;
        (
            descriptor,
            frames[start..start + descriptor.len as usize].to_vec(),
        )
    };
    descriptors
        .iter()
        .map(|descriptor| moved(*descriptor))
        .collect()
}

/// Four endpoints behind a ClusterIP (even ids) and a NodePort (odd ids), for each family and protocol.
fn services() -> Vec<(u32, Cluster, Protocol, bool)> {
    let mut all = Vec::new();
    for cluster in clusters() {
        for protocol in Protocol::ALL {
            for masquerade in [false, true] {
                all.push((all.len() as u32, cluster, protocol, masquerade));
            }
        }
    }
    all
}

fn door(cluster: &Cluster, masquerade: bool) -> SocketAddr {
    if masquerade {
        SocketAddr::new(cluster.node, 30_080)
    } else {
        SocketAddr::new(cluster.vip, 80)
    }
}

fn spec(
    cluster: &Cluster,
    protocol: Protocol,
    masquerade: bool,
    servers: &[IpAddr],
) -> ServiceSpec {
    let to = door(cluster, masquerade);
    let frontend = if masquerade {
        node_port(to.ip(), to.port())
    } else {
        cluster_ip(to.ip(), to.port())
    };
    // Each Service has a port of its own, so that two of them never lead to one endpoint.
    let port = 8_000 + u16::from(masquerade);
    let endpoints = servers
        .iter()
        .map(|server| endpoint(*server, port))
        .collect();
    service(protocol, vec![frontend], endpoints)
}

fn rig(connections: u32) -> Rig {
    let plain = config();
    let mut rig = Rig::new(&Config {
        limits: Limits {
            connections_ipv4: connections,
            connections_ipv6: connections,
            ..plain.limits
        },
        ..plain
    });
    for (id, cluster, protocol, masquerade) in services() {
        rig.put(id, spec(&cluster, protocol, masquerade, &cluster.endpoints));
    }
    rig
}

/// Time that all threads share and anyone moves on.
struct Clock(AtomicU64);

impl Clock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::SeqCst))
    }

    fn wait(&self, duration: Duration) {
        self.0
            .fetch_add(duration.as_nanos() as u64, Ordering::SeqCst);
    }
}

/// Runs `body` with two workers while the control thread publishes and polls, then drains.
fn with_churn<F>(name: &str, churn: Churn, body: F) -> (Stats, u64)
where
    F: Fn(usize, &mut Worker, &Clock, &AtomicBool) -> u64 + Sync,
{
    let seed = seed(0x9091);
    let Rig {
        mut dataplane,
        worker,
        now,
    } = rig(CONNECTIONS);
    let clock = Clock(AtomicU64::new(now.as_nanos()));
    let stop = AtomicBool::new(false);
    let second = dataplane.worker().expect("a second worker");
    let sent = thread::scope(|scope| {
        let threads: Vec<_> = [worker, second]
            .into_iter()
            .enumerate()
            .map(|(number, mut worker)| {
                let (body, clock, stop) = (&body, &clock, &stop);
                scope.spawn(move || body(number, &mut worker, clock, stop))
            })
            .collect();
        run_control(&mut dataplane, &clock, churn, seed);
        stop.store(true, Ordering::SeqCst);
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum()
    });
    let stats = drain(&mut dataplane, &clock);
    println!(
        "{name}: {sent} packets, {:?} connections, generation {}",
        stats.connections_opened,
        dataplane.generation()
    );
    (stats, sent)
}

#[derive(Debug, Clone, Copy)]
struct Churn {
    /// Endpoints come and go.
    endpoints: bool,
    /// How far time goes with each round.
    step: Duration,
}

fn run_control(dataplane: &mut Dataplane, clock: &Clock, churn: Churn, seed: u64) {
    let mut random = Random(seed);
    let rounds = seconds() * 1_500;
    for round in 0..rounds {
        let services = services();
        let (id, cluster, protocol, masquerade) = services[random.index(services.len())];
        let count = if churn.endpoints {
            1 + random.index(4)
        } else {
            4
        };
        let mut spec = spec(&cluster, protocol, masquerade, &cluster.endpoints[..count]);
        for endpoint in &mut spec.endpoints {
            endpoint.tag = round;
        }
        let mut edits = vec![Edit::Put(ServiceId(id), Arc::new(spec))];
        while dataplane.publish(&mut edits).is_err() {
            thread::yield_now();
        }
        clock.wait(churn.step);
        dataplane.poll(clock.now());
        thread::sleep(Duration::from_micros(500));
    }
}

/// After everything has expired and was swept, nothing is in use.
fn drain(dataplane: &mut Dataplane, clock: &Clock) -> Stats {
    clock.wait(Duration::from_secs(6 * 24 * 3600));
    while dataplane.poll(clock.now()).is_some() {}
    let stats = dataplane.stats();
    assert_eq!(stats.usage.connections_ipv4, 0, "return to zero");
    assert_eq!(stats.usage.connections_ipv6, 0, "return to zero");
    // Every record can be had again.
    let mut worker = dataplane.worker().expect("the workers are gone");
    for cluster in clusters() {
        let opened = (1..60_000_u16)
            .take_while(|port| {
                let client = SocketAddr::new(cluster.other_client, *port);
                let packet = opening(Protocol::Sctp, client, door(&cluster, false));
                let before = dataplane.stats().connections_evicted;
                let moved = burst(&mut worker, clock.now(), &[packet]);
                moved[0].0.verdict() == Verdict::Forward
                    && dataplane.stats().connections_evicted == before
            })
            .count();
        let all = dataplane.connections(clock.now());
        let alive = all
            .filter(|c| c.original.source == cluster.other_client)
            .count();
        assert!(opened >= alive, "{opened} opened, {alive} alive");
        assert_eq!(alive, CONNECTIONS as usize, "a record was lost");
    }
    stats
}

const CONNECTIONS: u32 = 4_096;

/// in = pass + forward + reply + drop
fn assert_balanced(stats: &Stats, sent: u64) {
    let judged = stats.passed + stats.forwarded + stats.replied + stats.dropped();
    assert_eq!(judged, sent, "{stats:?}");
}

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

const CLIENT_TAG: u32 = 0xfeed_beef;
const SERVER_TAG: u32 = 0x5e4f_0002;
const FIRST: u32 = 1_000;
const SERVER_FIRST: u32 = 5_000;
/// Packets of the client between opening and closing, all at once.
const DATA: u32 = 6;

/// One connection as its client sees it.
struct Flow {
    cluster: Cluster,
    protocol: Protocol,
    client: SocketAddr,
    door: SocketAddr,
    /// Where its first packet went.
    endpoint: Option<(SocketAddr, SocketAddr)>,
    /// Answers to its data.
    answers: u32,
    over: bool,
}

/// A packet between the threads, and the connection that it is of.
struct Message {
    flow: usize,
    packet: Vec<u8>,
    /// Of answers: was it translated? UDP whose endpoint ended is not.
    ours: bool,
}

impl Flow {
    fn first(&self) -> Vec<Vec<u8>> {
        vec![opening(self.protocol, self.client, self.door)]
    }

    fn tcp(&self, flags: u8, sent: u32, acknowledged: u32) -> build::Builder {
        let segment = build::tcp(self.client, self.door).flags(flags);
        segment
            .sequence(FIRST + sent)
            .acknowledgment(SERVER_FIRST + acknowledged)
    }

    fn data(&self) -> Vec<Vec<u8>> {
        (0..DATA)
            .map(|n| match self.protocol {
                Protocol::Tcp => self.tcp(0x10, 1 + n, 1).payload(b"d").build(),
                Protocol::Udp => build::udp(self.client, self.door).payload(b"data").build(),
                Protocol::Sctp => {
                    let chunk = if n == 0 { 10 } else { 0 };
                    let packet = build::sctp(self.client, self.door).verification_tag(SERVER_TAG);
                    packet.chunk(chunk, 3, &[0; 12]).build()
                }
            })
            .collect()
    }

    /// What the client says next, now that it got this answer.
    fn answered(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let flags = if self.protocol == Protocol::Tcp {
            packet[transport_of(packet) + 13]
        } else {
            0
        };
        self.answers += 1;
        match self.answers {
            1 => self.data(),
            n if n <= DATA => Vec::new(),
            n if n == DATA + 1 && self.protocol == Protocol::Tcp => {
                vec![self.tcp(0x11, 1 + DATA, 1).build()]
            }
            _ => {
                self.over = true;
                if flags & 1 == 0 {
                    return Vec::new();
                }
                vec![self.tcp(0x10, 2 + DATA, 2).build()]
            }
        }
    }
}

fn transport_of(packet: &[u8]) -> usize {
    if packet[0] >> 4 == 4 { 20 } else { 40 }
}

/// What an endpoint says to a packet that arrived; nothing to a last acknowledgement.
fn answer(arrived: &[u8]) -> Option<Vec<u8>> {
    let seen = tuple(arrived);
    let (from, to) = (destination(&seen), source(&seen));
    let header = &arrived[transport_of(arrived)..];
    let word = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    match seen.protocol {
        Protocol::Udp => Some(build::udp(from, to).payload(b"answer").build()),
        Protocol::Tcp => {
            let (sequence, flags) = (word(4), header[13]);
            let reply = build::tcp(from, to).acknowledgment(sequence + 1);
            match flags {
                0x02 => Some(reply.flags(0x12).sequence(SERVER_FIRST).build()),
                0x11 => Some(reply.flags(0x11).sequence(SERVER_FIRST + 1).build()),
                _ if header.len() > 20 => {
                    Some(reply.flags(0x10).sequence(SERVER_FIRST + 1).build())
                }
                _ => None,
            }
        }
        Protocol::Sctp => {
            let chunk = match header[12] {
                1 => 2,
                10 => 11,
                _ => 3,
            };
            let [a, b, c, d] = SERVER_TAG.to_be_bytes();
            let body = [a, b, c, d, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1];
            let packet = build::sctp(from, to).verification_tag(CLIENT_TAG);
            Some(packet.chunk(chunk, 0, &body).build())
        }
    }
}

/// The clients' side: all first packets of a wave, then what the answers ask for, until all are over.
fn clients(
    worker: &mut Worker,
    clock: &Clock,
    wave: &mut [Flow],
    to: &Sender<Message>,
    from: &Receiver<Message>,
) -> u64 {
    let mut sent = 0;
    let mut queue: Vec<(usize, Vec<u8>)> = Vec::new();
    for (number, flow) in wave.iter().enumerate() {
        queue.extend(flow.first().into_iter().map(|packet| (number, packet)));
    }
    loop {
        for chunk in queue.chunks(32) {
            let packets: Vec<_> = chunk.iter().map(|(_, packet)| packet.clone()).collect();
            let moved = burst(worker, clock.now(), &packets);
            sent += packets.len() as u64;
            for ((number, _), (descriptor, packet)) in chunk.iter().zip(moved) {
                let flow = &mut wave[*number];
                let what = format!("{} {} {}", flow.cluster.name, flow.protocol, flow.client);
                let outcome = (descriptor.verdict(), descriptor.drop_reason());
                assert_eq!(outcome, (Verdict::Forward, None), "{what}");
                let seen = tuple(&packet);
                let ends = (source(&seen), destination(&seen));
                let known = *flow.endpoint.get_or_insert(ends);
                assert!(
                    known == ends || flow.protocol == Protocol::Udp,
                    "{what} moved to another endpoint"
                );
                let ours = true;
                to.send(Message {
                    flow: *number,
                    packet,
                    ours,
                })
                .expect("the servers listen");
            }
        }
        queue.clear();
        if wave.iter().all(|flow| flow.over) {
            return sent;
        }
        let first = from.recv().expect("the servers answer");
        for Message {
            flow: number,
            packet,
            ours,
        } in iter::once(first).chain(from.try_iter())
        {
            let flow = &mut wave[number];
            if ours {
                let seen = tuple(&packet);
                assert_eq!(
                    (source(&seen), destination(&seen)),
                    (flow.door, flow.client)
                );
            }
            queue.extend(
                flow.answered(&packet)
                    .into_iter()
                    .map(|packet| (number, packet)),
            );
        }
    }
}

/// The endpoints' side: answers whatever arrives, until nobody can send any more.
fn servers(
    worker: &mut Worker,
    clock: &Clock,
    to: &Sender<Message>,
    from: &Receiver<Message>,
) -> u64 {
    let mut sent = 0;
    while let Ok(first) = from.recv() {
        let arrived = iter::once(first).chain(from.try_iter().take(31));
        let answers: Vec<_> = arrived
            .filter_map(|message| Some((message.flow, answer(&message.packet)?)))
            .collect();
        let packets: Vec<_> = answers.iter().map(|(_, packet)| packet.clone()).collect();
        let moved = burst(worker, clock.now(), &packets);
        sent += packets.len() as u64;
        for ((flow, asked), (descriptor, packet)) in answers.into_iter().zip(moved) {
            let ours = descriptor.verdict() == Verdict::Forward;
            let cut =
                tuple(&asked).protocol == Protocol::Udp && descriptor.verdict() == Verdict::Pass;
            assert!(
                ours || cut,
                "{} {:?}",
                tuple(&asked),
                descriptor.drop_reason()
            );
            if ours {
                let reply = descriptor_flags::REPLY_DIRECTION;
                assert_eq!(descriptor.flags & (reply | descriptor_flags::NEW), reply);
            }
            if to.send(Message { flow, packet, ours }).is_err() {
                return sent;
            }
        }
    }
    sent
}

#[test]
fn the_two_directions_of_connections_on_two_workers_lose_and_split_none() {
    let (to_servers, from_clients) = channel();
    let (to_clients, from_servers) = channel();
    let client_side = Mutex::new(Some((to_servers, from_servers)));
    let server_side = Mutex::new(Some((to_clients, from_clients)));
    let opened = AtomicU64::new(0);
    let churn = Churn {
        endpoints: true,
        step: Duration::ZERO,
    };
    let (stats, sent) = with_churn("two directions", churn, |number, worker, clock, stop| {
        if number == 1 {
            let (to, from) = server_side.lock().expect("no panic").take().expect("once");
            return servers(worker, clock, &to, &from);
        }
        let (to, from) = client_side.lock().expect("no panic").take().expect("once");
        let mut sent = 0;
        for wave in 0_u16.. {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let mut flows = Vec::new();
            for (_, cluster, protocol, masquerade) in services() {
                for n in 0..32 {
                    let port = 1_000 + (wave % 1_000) * 32 + n;
                    flows.push(Flow {
                        cluster,
                        protocol,
                        client: SocketAddr::new(cluster.client, port),
                        door: door(&cluster, masquerade),
                        endpoint: None,
                        answers: 0,
                        over: false,
                    });
                }
            }
            opened.fetch_add(flows.len() as u64, Ordering::SeqCst);
            sent += clients(worker, clock, &mut flows, &to, &from);
            // Longer than TIME_WAIT and an established association.
            clock.wait(Duration::from_secs(220));
        }
        sent
    });
    assert_balanced(&stats, sent);
    assert_eq!(stats.dropped(), 0, "{stats:?}");
    let counted: u64 = stats.connections_opened.iter().sum();
    let wanted = opened.load(Ordering::SeqCst);
    assert!(counted >= wanted, "{counted} of {wanted} opened");
}
