//! Clients send on one worker, endpoints answer on the other: whole connections, from their first packet to their
//! last.

use super::{Churn, Clock, assert_balanced, burst, door, services, with_churn};
use crate::common::{Cluster, destination, opening, source, tuple};
use core::iter;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use portolan::dataplane::{Verdict, Worker, descriptor_flags};
use portolan::net::Protocol;
use portolan::packet::build;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

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
