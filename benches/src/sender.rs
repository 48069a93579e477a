//! Who sends: packets of the connections of one dataplane, through a worker.

use crate::clock::CpuTime;
use crate::flow::{
    ENDPOINT_PORT, ENDPOINTS_EACH, End, SERVICES, client, endpoint_address, frontend, node_address,
    stranger,
};
use crate::frame::{Segment, Shape};
use crate::scene::{Case, Distribution, Family, Setup, Traffic};
use core::time::Duration;
use portolan::dataplane::{Verdict, Worker};
use portolan::net::{Direction, DropReason, Instant};
use portolan::packet::tcp_flags;
use portolan::table::hash::next_seed;

/// Packets that are filled, then timed, together: 64 KiB of frames, so that they are in the second-level
/// cache, as packets are that a driver has just touched.
pub const SEGMENT_PACKETS: usize = 512;

/// What the sender of a packet must remember of a connection.
#[derive(Debug, Clone, Copy)]
struct Flow {
    endpoint: u16,
    /// The source port that the endpoint sees.
    port: u16,
    /// The next sequence number of client and endpoint.
    next: [u32; 2],
    /// The last packet of an exchange carried data.
    waits: bool,
}

/// A worker, and what is needed to write packets of open connections.
#[derive(Debug)]
pub struct Sender {
    setup: Setup,
    worker: Worker,
    flows: Vec<Flow>,
    segment: Segment,
    now: Instant,
    random: u64,
    /// Number of the next client never seen before.
    fresh: u32,
    /// The only direction in which it sends, if it is not both.
    only: Option<Direction>,
}

impl Sender {
    pub(crate) fn new(setup: Setup, worker: Worker) -> Self {
        Self {
            setup,
            worker,
            flows: Vec::new(),
            segment: Segment::new(SEGMENT_PACKETS),
            now: Instant::from_secs(1),
            random: 42,
            fresh: setup.connections,
            only: None,
        }
    }

    /// Two of one: this one sends what clients send, the other, on `worker`, what endpoints answer.
    pub(crate) fn crossed(mut self, worker: Worker) -> [Self; 2] {
        let other = Self {
            worker,
            flows: self.flows.clone(),
            segment: Segment::new(SEGMENT_PACKETS),
            only: Some(Direction::Reply),
            random: 43,
            ..self
        };
        self.only = Some(Direction::Original);
        [self, other]
    }

    /// Two of one: this one sends over what is established, the other, on `worker`, goes on flooding.
    pub(crate) fn flooded(mut self, worker: Worker) -> (Self, Self) {
        let flood = Self {
            worker,
            flows: Vec::new(),
            segment: Segment::new(SEGMENT_PACKETS),
            ..self
        };
        self.setup.case = Case::EstablishedDnat;
        (self, flood)
    }

    /// Lets time pass; what time it is then.
    pub(crate) fn wait(&mut self, duration: Duration) -> Instant {
        self.now = self.now.after(duration);
        self.now
    }

    pub(crate) fn establish(&mut self, count: u32) {
        for first in (0..count).step_by(SEGMENT_PACKETS) {
            let numbers = first..count.min(first + SEGMENT_PACKETS as u32);
            self.segment.descriptors.clear();
            for number in numbers.clone() {
                self.push_first(number);
            }
            self.run(Verdict::Forward);
            for position in 0..numbers.len() {
                let flow = self.opened(position);
                self.flows.push(flow);
            }
        }
        // A UDP flow is a stream when it is answered after two seconds.
        self.now = self.now.after(Duration::from_secs(5));
        for (direction, flags) in [
            (Direction::Reply, tcp_flags::SYN | tcp_flags::ACK),
            (Direction::Original, tcp_flags::ACK),
        ] {
            for first in (0..count).step_by(SEGMENT_PACKETS) {
                self.segment.descriptors.clear();
                for number in first..count.min(first + SEGMENT_PACKETS as u32) {
                    self.push(number, direction, flags, false);
                }
                self.run(Verdict::Forward);
            }
        }
    }

    /// The flow of a first packet that was just translated.
    fn opened(&self, position: usize) -> Flow {
        let packet = self.segment.packet(position);
        let (destination, transport) = match self.setup.family {
            Family::Ipv4 => (18, 20),
            Family::Ipv6 => (38, 40),
        };
        let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        Flow {
            endpoint: word(destination) - 1,
            port: word(transport),
            next: [1, 0],
            waits: false,
        }
    }

    fn push_first(&mut self, number: u32) {
        let Setup {
            family, protocol, ..
        } = self.setup;
        let ends = [client(family, number), frontend(family, number)];
        self.segment.push(family, protocol, ends, &Shape::SYN);
    }

    /// A packet of an open connection.
    fn push(&mut self, number: u32, direction: Direction, flags: u8, data: bool) {
        let Setup {
            case,
            family,
            protocol,
            ..
        } = self.setup;
        let flow = &mut self.flows[number as usize];
        let ends = match direction {
            Direction::Original => [client(family, number), frontend(family, number)],
            Direction::Reply => {
                let endpoint = End::new(
                    endpoint_address(family, u32::from(flow.endpoint)),
                    ENDPOINT_PORT,
                );
                let mut source = client(family, number);
                if case == Case::EstablishedMasquerade {
                    source = End::new(node_address(family), flow.port);
                }
                [endpoint, source]
            }
        };
        let (own, peer) = (direction as usize, direction.reverse() as usize);
        let shape = Shape {
            flags,
            sequence: flow.next[own],
            acknowledgment: flow.next[peer],
            data,
        };
        let occupied = u32::from(flags & tcp_flags::SYN != 0) + if data { 20 } else { 0 };
        flow.next[own] = flow.next[own].wrapping_add(occupied);
        self.segment.push(family, protocol, ends, &shape);
    }

    /// Fills the segment with up to `packets` packets of the case; how many there are.
    fn fill(&mut self, packets: usize) -> usize {
        self.segment.descriptors.clear();
        let Setup {
            case,
            family,
            protocol,
            traffic,
            ..
        } = self.setup;
        let count = packets.min(SEGMENT_PACKETS);
        for _ in 0..count {
            match case {
                Case::EstablishedDnat | Case::EstablishedMasquerade => {
                    let number = self.choose();
                    let (direction, data) = match traffic {
                        Traffic::Data => (self.direction(), true),
                        Traffic::Ack => (self.direction(), false),
                        Traffic::Exchange => self.exchange(number),
                    };
                    self.push(number, direction, tcp_flags::ACK, data);
                }
                Case::New | Case::SynFlood => {
                    let number = self.fresh;
                    self.fresh = self.fresh.wrapping_add(1);
                    self.push_first(number);
                }
                Case::Pass => {
                    let number = self.choose();
                    let ends = [client(family, number), stranger(family, number)];
                    self.segment.push(family, protocol, ends, &Shape::SYN);
                }
                Case::PassFromEndpoint => {
                    let number = self.choose();
                    let endpoint = endpoint_address(family, number % (SERVICES * ENDPOINTS_EACH));
                    let from = End::new(endpoint, client(family, number).port);
                    let ends = [from, stranger(family, number)];
                    self.segment.push(family, protocol, ends, &Shape::SYN);
                }
            }
        }
        count
    }

    /// The number of a connection, as the distribution has it.
    fn choose(&mut self) -> u32 {
        let random = next_seed(&mut self.random);
        let count = self.flows.len() as u32;
        let rank = match self.setup.distribution {
            Distribution::Uniform => ((u128::from(random) * u128::from(count)) >> 64) as u32,
            Distribution::Zipf => {
                // The continuous distribution with density 1/x between 1 and count + 1.
                let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
                ((unit * f64::from(count + 1).ln()).exp() as u32).clamp(1, count) - 1
            }
        };
        // Neighbours in popularity are no neighbours in memory.
        (u64::from(rank) * 0x9e37_79b1 % u64::from(count)) as u32
    }

    /// Which way the next packet of an exchange goes, and whether it carries data.
    fn exchange(&mut self, number: u32) -> (Direction, bool) {
        let waits = &mut self.flows[number as usize].waits;
        *waits = !*waits;
        if *waits {
            (Direction::Original, true)
        } else {
            (Direction::Reply, false)
        }
    }

    fn direction(&mut self) -> Direction {
        let either = if next_seed(&mut self.random) & 1 == 0 {
            Direction::Original
        } else {
            Direction::Reply
        };
        self.only.unwrap_or(either)
    }

    fn expected(&self) -> Verdict {
        match self.setup.case {
            Case::Pass | Case::PassFromEndpoint => Verdict::Pass,
            Case::EstablishedDnat | Case::EstablishedMasquerade | Case::New | Case::SynFlood => {
                Verdict::Forward
            }
        }
    }

    /// Moves `packets` packets of the case; CPU time of the bursts alone, and how many packets.
    ///
    /// # Panics
    /// If a packet's verdict is not the case's.
    pub fn round(&mut self, clock: &CpuTime, packets: u32) -> (Duration, u64) {
        let (mut time, mut moved) = (Duration::ZERO, 0);
        while moved < packets as usize {
            moved += self.fill(packets as usize - moved);
            time += clock.time(|| self.bursts());
            self.check(self.expected());
        }
        (time, moved as u64)
    }

    /// Moves about `packets` packets; the CPU time of each burst, in nanoseconds.
    ///
    /// # Panics
    /// As [`Sender::round`].
    #[must_use]
    pub fn time_bursts(&mut self, clock: &CpuTime, packets: u32) -> Vec<f64> {
        let mut times = Vec::new();
        for _ in 0..packets.div_ceil(SEGMENT_PACKETS as u32) {
            let _ = self.fill(SEGMENT_PACKETS);
            let Segment {
                frames,
                descriptors,
            } = &mut self.segment;
            for burst in descriptors.chunks_mut(self.setup.burst) {
                let time = clock
                    .time(|| crate::burst_under_test(&mut self.worker, self.now, frames, burst));
                times.push(time.as_secs_f64() * 1e9);
            }
            self.check(self.expected());
        }
        times
    }

    /// Sends a packet over every open connection, in both directions, with data if its traffic has any.
    ///
    /// # Panics
    /// If one of them is not forwarded: its connection is lost.
    pub fn visit_all(&mut self) {
        let count = self.flows.len() as u32;
        let data = self.setup.traffic != Traffic::Ack;
        for direction in [Direction::Original, Direction::Reply] {
            for first in (0..count).step_by(SEGMENT_PACKETS) {
                self.segment.descriptors.clear();
                for number in first..count.min(first + SEGMENT_PACKETS as u32) {
                    self.push(number, direction, tcp_flags::ACK, data);
                }
                self.run(Verdict::Forward);
            }
        }
    }

    fn run(&mut self, expected: Verdict) {
        self.bursts();
        self.check(expected);
    }

    /// Moves what is in the segment, in bursts.
    fn bursts(&mut self) {
        let Segment {
            frames,
            descriptors,
        } = &mut self.segment;
        for burst in descriptors.chunks_mut(self.setup.burst) {
            crate::burst_under_test(&mut self.worker, self.now, frames, burst);
        }
    }

    fn check(&self, expected: Verdict) {
        for descriptor in &self.segment.descriptors {
            let found = (descriptor.verdict(), descriptor.drop_reason());
            // A flood meets a table full of others.
            let full = (Verdict::Drop, Some(DropReason::ConnectionTableFull));
            if self.setup.case != Case::SynFlood || found != full {
                assert_eq!(found, (expected, None), "{:?}", self.setup);
            }
        }
    }
}
