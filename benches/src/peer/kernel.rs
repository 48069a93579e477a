//! What the kernel takes for the same: packets of established connections are forwarded by a router without and by one
//! with connection tracking and a ruleset of kube-proxy's shape; the difference is what Services cost.

use super::live::Live;
use super::route::{CLIENT, Frame, LOOK_AGAIN, PATIENCE, Route, SERVER, frame, setting};
use crate::clock::CpuTime;
use crate::floor::nanos_each;
use crate::flow::{
    ENDPOINT_PORT, ENDPOINTS_EACH, End, SERVICES, client, frontend, node_address, subnets,
};
use crate::frame::{Shape, write_frame};
use crate::row::median;
use crate::{Case, Cluster, Family, KubeProxy};
use core::time::Duration;
use portolan::net::Protocol;
use portolan::packet::tcp_flags;
use portolan::table::hash::next_seed;
use std::io;
use std::thread;

/// Its name in the table.
pub const NAME: &str = "kernel nftables nat";

/// What can be asked of it.
pub const CASES: [Case; 3] = [
    Case::EstablishedDnat,
    Case::EstablishedMasquerade,
    Case::New,
];

/// Connections that are opened side by side.
const BATCH: u32 = 64;

/// First packets of new connections a round: their records stay, and the kernel keeps only so many.
const NEW_EACH: u32 = 1 << 12;

/// Nanoseconds of CPU time a packet, medians of rounds in turn.
#[derive(Debug, Clone, Copy)]
pub struct Forwarded {
    /// Sent, forwarded and received without a look at connections.
    pub plain: f64,
    /// The same, tracked and translated.
    pub translated: f64,
}

impl Forwarded {
    /// What tracking and translating add.
    #[must_use]
    pub fn added(&self) -> f64 {
        self.translated - self.plain
    }
}

/// Measures `rounds` rounds of about `packets` TCP packets, of connections chosen at random. The connections of a round of
/// [`Case::New`] stay.
///
/// # Errors
/// Why it cannot be measured here: none of [`CASES`]; no root, no `nft`; a kernel older than 5.18, or one that keeps fewer
/// connections, translates otherwise than told or loses packets.
pub fn measure(
    case: Case,
    family: Family,
    connections: u32,
    rounds: usize,
    packets: u32,
) -> io::Result<Forwarded> {
    let (translation, packets) = match case {
        Case::EstablishedDnat => (Translation::Destination, packets.next_multiple_of(2)),
        Case::EstablishedMasquerade => (Translation::Both, packets.next_multiple_of(2)),
        Case::New => (Translation::Destination, NEW_EACH),
        Case::Pass | Case::PassFromEndpoint | Case::SynFlood => {
            return Err(io::Error::other("the kernel is not asked for that"));
        }
    };
    let room = setting("netfilter/nf_conntrack_max")?;
    let most = u64::from(connections) + u64::from(NEW_EACH) * rounds as u64;
    if most > room {
        let why = format!("{most} connections, net.netfilter.nf_conntrack_max is {room}");
        return Err(io::Error::other(why));
    }
    let [clients, _, endpoints] = subnets(family);
    let cluster = Cluster {
        family,
        protocol: Protocol::Tcp,
        services: SERVICES,
        endpoints: ENDPOINTS_EACH,
    };
    let pods = match translation {
        Translation::Both => endpoints,
        Translation::None | Translation::Destination => clients,
    };
    let ruleset = KubeProxy { cluster, pods }.ruleset();
    let routes: [io::Result<Flows>; 2] =
        [(Translation::None, ""), (translation, &ruleset)].map(|(translation, ruleset)| {
            let route = Route::new(family, ruleset)?;
            let frames = establish(&route, family, connections, translation)?;
            Ok(Flows {
                family,
                live: route.live(packets)?,
                route,
                frames,
                fresh: connections,
                random: 7,
            })
        });
    let [plain, translated] = routes;
    let mut routes = [plain?, translated?];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (flows, times) in routes.iter_mut().zip(&mut times) {
            times.push(flows.round(case, packets)?);
        }
    }
    let [plain, translated] = times.map(|mut times| median(&mut times));
    Ok(Forwarded { plain, translated })
}

/// What a route does to what clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Translation {
    None,
    Destination,
    Both,
}

/// Opens connections, and makes a packet with data of each, from either side. What arrives is looked at: how it is
/// translated must be known, and be right.
fn establish(
    route: &Route,
    family: Family,
    connections: u32,
    translation: Translation,
) -> io::Result<Vec<[Frame; 2]>> {
    let mut frames = Vec::with_capacity(connections as usize);
    let [at_client, at_server] = [route.tap(CLIENT)?, route.tap(SERVER)?];
    let read = |packet: &[u8]| Seen::read(family, packet);
    for first in (0..connections).step_by(BATCH as usize) {
        let numbers = first..connections.min(first + BATCH);
        let original = |number| [client(family, number), frontend(family, number)];
        let each = |side, flags, ends: &dyn Fn(u32) -> [End; 2]| -> Vec<Frame> {
            numbers
                .clone()
                .map(|number| segment(family, side, ends(number), flags, number))
                .collect()
        };
        route.send(CLIENT, &each(CLIENT, tcp_flags::SYN, &original))?;
        let mut reply = vec![original(0); numbers.len()];
        for _ in numbers.clone() {
            let seen = at_server.next(read)?;
            seen.judge(original(seen.number), translation, family)?;
            reply[(seen.number - first) as usize] = [seen.ends[1], seen.ends[0]];
        }
        let reply = |number| reply[(number - first) as usize];
        route.send(
            SERVER,
            &each(SERVER, tcp_flags::SYN | tcp_flags::ACK, &reply),
        )?;
        for _ in numbers.clone() {
            let seen = at_client.next(read)?;
            let [from, to] = original(seen.number);
            seen.judge([to, from], Translation::None, family)?;
        }
        let [sent, answered] = [(CLIENT, &original as _), (SERVER, &reply as _)]
            .map(|(side, ends)| each(side, tcp_flags::ACK, ends));
        route.send(CLIENT, &sent)?;
        for _ in numbers.clone() {
            at_server.next(read)?;
        }
        frames.extend(sent.into_iter().zip(answered).map(<[Frame; 2]>::from));
    }
    let expected = match translation {
        Translation::None => 0,
        Translation::Destination | Translation::Both => u64::from(connections),
    };
    match route.tracked()? {
        tracked if tracked == expected => Ok(frames),
        tracked => Err(io::Error::other(format!(
            "the kernel tracks {tracked} connections instead of {expected}"
        ))),
    }
}

/// A route, and connections across it.
#[derive(Debug)]
struct Flows {
    family: Family,
    route: Route,
    live: Live,
    /// A packet of each connection, from either side.
    frames: Vec<[Frame; 2]>,
    /// The next client never seen before.
    fresh: u32,
    random: u64,
}

impl Flows {
    /// Moves so many packets; nanoseconds of CPU time each.
    fn round(&mut self, case: Case, packets: u32) -> io::Result<f64> {
        let before = self.route.arrived()?;
        let (route, live, clock) = (&self.route, &self.live, CpuTime::new());
        let spent = if case == Case::New {
            let fresh = self.fresh..self.fresh + packets;
            self.fresh = fresh.end;
            let syn = |number| {
                let ends = [client(self.family, number), frontend(self.family, number)];
                segment(self.family, CLIENT, ends, tcp_flags::SYN, number)
            };
            let frames: Vec<Frame> = fresh.map(syn).collect();
            route.receive(live, &clock, CLIENT, frames.iter())?
        } else {
            let mut spent = Duration::ZERO;
            for side in [CLIENT, SERVER] {
                let chosen = (0..packets / 2).map(|_| {
                    let random = u128::from(next_seed(&mut self.random));
                    let number = (random * self.frames.len() as u128) >> 64;
                    &self.frames[number as usize][side]
                });
                spent += route.receive(live, &clock, side, chosen)?;
            }
            spent
        };
        let mut waited = Duration::ZERO;
        while route.arrived()? - before < u64::from(packets) {
            if waited > PATIENCE {
                return Err(io::Error::other("the kernel lost packets"));
            }
            thread::sleep(LOOK_AGAIN);
            waited += LOOK_AGAIN;
        }
        Ok(nanos_each(spent, u64::from(packets)))
    }
}

/// A segment of connection `number`: a SYN, the SYN that answers it, or an ACK with 20 bytes of data.
fn segment(family: Family, side: usize, ends: [End; 2], flags: u8, number: u32) -> Frame {
    let (first, second) = (
        flags & tcp_flags::SYN != 0,
        u32::from(flags & tcp_flags::SYN == 0),
    );
    let [sequence, acknowledgment] = match side {
        CLIENT => [number + second, 1],
        _ => [second, number + 1],
    };
    let shape = Shape {
        flags,
        sequence,
        acknowledgment,
        data: !first,
    };
    frame(family, side, |packet| {
        let _ = write_frame(packet, family, Protocol::Tcp, ends, &shape);
    })
}

/// What a tap sees of a segment.
#[derive(Debug)]
struct Seen {
    ends: [End; 2],
    /// The connection's, out of the client's sequence numbers.
    number: u32,
}

impl Seen {
    /// Reads a TCP packet; `None` of anything else.
    fn read(family: Family, packet: &[u8]) -> Option<Self> {
        let (protocol, addresses, header) = match family {
            Family::Ipv4 => (*packet.get(9)?, packet.get(12..20)?, packet.get(20..)?),
            Family::Ipv6 => (*packet.get(6)?, packet.get(8..40)?, packet.get(40..)?),
        };
        let ports = header.first_chunk::<4>()?;
        let [sequence, acknowledgment] = [4, 8].map(|at| header.get(at..)?.first_chunk().copied());
        let number = match header.get(13)? & (tcp_flags::SYN | tcp_flags::ACK) {
            tcp_flags::SYN => u32::from_be_bytes(sequence?),
            _ => u32::from_be_bytes(acknowledgment?).wrapping_sub(1),
        };
        let (from, to) = addresses.split_at(addresses.len() / 2);
        let end = |address: &[u8], port: [u8; 2]| {
            let mut bytes = [0; 16];
            bytes[..address.len()].copy_from_slice(address);
            End {
                address: bytes,
                port: u16::from_be_bytes(port),
            }
        };
        let [a, b, c, d] = *ports;
        (protocol == Protocol::Tcp.number()).then(|| Self {
            ends: [end(from, [a, b]), end(to, [c, d])],
            number,
        })
    }

    /// Is it what was sent, translated so?
    fn judge(&self, sent: [End; 2], translation: Translation, family: Family) -> io::Result<()> {
        let [from, to] = self.ends;
        let node = End::new(node_address(family), from.port);
        let right = match translation {
            Translation::None => self.ends == sent,
            Translation::Destination => from == sent[0] && to.port == ENDPOINT_PORT,
            Translation::Both => from == node && to.port == ENDPOINT_PORT,
        };
        if right {
            return Ok(());
        }
        let why = format!(
            "{sent:?} arrived as {:?}, not translated as told ({translation:?})",
            self.ends
        );
        Err(io::Error::other(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Namespace, run};

    #[test]
    fn the_kernel_forwards_and_translates_what_it_is_measured_with() {
        let tools = Namespace::new().and_then(|_| run("nft", &["--version"], ""));
        if let Err(error) = tools {
            eprintln!("SKIPPED the kernel's NAT: {error}");
            return;
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            for case in CASES {
                let forwarded = measure(case, family, 100, 1, 640)
                    .unwrap_or_else(|error| panic!("{family:?} {case:?}: {error}"));
                assert!(forwarded.plain > 0.0 && forwarded.translated > 0.0);
            }
        }
    }

    #[test]
    fn what_the_kernel_cannot_keep_is_refused() {
        let refused = measure(Case::New, Family::Ipv4, u32::MAX, 1, 64);
        assert!(refused.is_err_and(|error| error.to_string().contains("nf_conntrack_max")));
    }
}
