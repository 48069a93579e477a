//! TCP's states, every transition by name, against netfilter's own table (`nf_conntrack_proto_tcp.c`).

use crate::common::{Cluster, Moved, Rig, cluster_ip, clusters, config, endpoint, service};
use core::net::SocketAddr;
use core::time::Duration;
use portolan::dataplane::{DropReason, Verdict, descriptor_flags};
use portolan::net::{Direction, Protocol};
use portolan::packet::{build, tcp_flags};

const CLIENT_ISN: u32 = 0xffff_ff00;
const SERVER_ISN: u32 = 7_000;
const PORT: u16 = 40_000;

/// Two ends that know their sequence numbers, and the dataplane between them.
struct Talk {
    rig: Rig,
    cluster: Cluster,
    /// Next sequence number of client and server.
    next: [u32; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
}
use Kind::{Ack, Fin, Rst, Syn, SynAck};

use Direction::{Original, Reply};

impl Talk {
    fn new(cluster: Cluster) -> Self {
        let mut rig = Rig::new(&config());
        let vip = cluster_ip(cluster.vip, 80);
        rig.put(
            0,
            service(
                Protocol::Tcp,
                vec![vip],
                vec![endpoint(cluster.endpoints[0], 8080)],
            ),
        );
        Self {
            rig,
            cluster,
            next: [CLIENT_ISN, SERVER_ISN],
        }
    }

    fn ends(&self, direction: Direction) -> (SocketAddr, SocketAddr) {
        let client = SocketAddr::new(self.cluster.client, PORT);
        match direction {
            Original => (client, SocketAddr::new(self.cluster.vip, 80)),
            Reply => (SocketAddr::new(self.cluster.endpoints[0], 8080), client),
        }
    }

    fn segment(
        &self,
        direction: Direction,
        flags: u8,
        sequence: u32,
        acknowledgment: u32,
    ) -> build::Builder {
        let (from, to) = self.ends(direction);
        let segment = build::tcp(from, to).sequence(sequence);
        let segment = if flags & tcp_flags::ACK == 0 {
            segment.acknowledgment(0)
        } else {
            segment.acknowledgment(acknowledgment)
        };
        if flags & tcp_flags::SYN == 0 {
            segment.flags(flags)
        } else {
            segment.syn().flags(flags)
        }
    }

    /// A segment as an end would send it now; it counts as sent.
    fn say(&mut self, direction: Direction, kind: Kind) -> Moved {
        let own = direction as usize;
        let isn = [CLIENT_ISN, SERVER_ISN][own];
        let (flags, sequence) = match kind {
            Syn => (tcp_flags::SYN, isn),
            SynAck => (tcp_flags::SYN | tcp_flags::ACK, isn),
            Fin => (tcp_flags::FIN | tcp_flags::ACK, self.next[own]),
            Ack => (tcp_flags::ACK, self.next[own]),
            Rst => (tcp_flags::RST | tcp_flags::ACK, self.next[own]),
        };
        let acknowledgment = self.next[1 - own];
        let packet = self
            .segment(direction, flags, sequence, acknowledgment)
            .build();
        let moved = self.rig.send(&packet);
        self.next[own] = match kind {
            Syn | SynAck => isn.wrapping_add(1),
            Fin => sequence.wrapping_add(1),
            Ack | Rst => sequence,
        };
        moved
    }

    fn say_all(&mut self, segments: &[(Direction, Kind)]) {
        for (direction, kind) in segments {
            let moved = self.say(*direction, *kind);
            assert_eq!(moved.verdict, Verdict::Forward, "{kind:?} {direction:?}");
        }
    }

    fn state(&self) -> (&'static str, u32) {
        let connection = self.rig.only();
        let name = connection
            .state
            .name(Protocol::Tcp)
            .expect("TCP has states");
        (name, connection.remaining_seconds)
    }
}

type Way = &'static [(Direction, Kind)];

const OPEN: [(Direction, Kind); 3] = [(Original, Syn), (Reply, SynAck), (Original, Ack)];

/// A way into every state, and its timeout in seconds.
const WAYS: [(&str, u32, Way); 9] = [
    ("SYN_SENT", 120, &[(Original, Syn)]),
    ("SYN_RECV", 60, &[(Original, Syn), (Reply, SynAck)]),
    ("ESTABLISHED", 432_000, &OPEN),
    (
        "FIN_WAIT",
        120,
        &[OPEN[0], OPEN[1], OPEN[2], (Original, Fin)],
    ),
    (
        "CLOSE_WAIT",
        60,
        &[OPEN[0], OPEN[1], OPEN[2], (Original, Fin), (Reply, Ack)],
    ),
    (
        "LAST_ACK",
        30,
        &[
            OPEN[0],
            OPEN[1],
            OPEN[2],
            (Original, Fin),
            (Reply, Ack),
            (Reply, Fin),
        ],
    ),
    (
        "TIME_WAIT",
        120,
        &[
            OPEN[0],
            OPEN[1],
            OPEN[2],
            (Original, Fin),
            (Reply, Ack),
            (Reply, Fin),
            (Original, Ack),
        ],
    ),
    ("CLOSE", 10, &[OPEN[0], OPEN[1], OPEN[2], (Original, Rst)]),
    ("SYN_SENT2", 120, &[(Original, Syn), (Reply, Syn)]),
];

/// Netfilter's table with its own abbreviations, columns in the order of [`WAYS`]: sIV invalid, sIG ignored.
const NETFILTER: [(Direction, Kind, &str); 10] = [
    (Original, Syn, "sSS sIG sIG sIG sIG sIG sSS sSS sS2"),
    (Original, SynAck, "sIV sSR sIV sIV sIV sIV sIV sIV sSR"),
    (Original, Fin, "sIV sFW sFW sLA sLA sLA sTW sCL sIV"),
    (Original, Ack, "sIV sES sES sCW sCW sTW sTW sCL sIV"),
    (Original, Rst, "sCL sCL sCL sCL sCL sCL sCL sCL sCL"),
    (Reply, Syn, "sS2 sIV sIV sIV sIV sIV sSS sIV sS2"),
    (Reply, SynAck, "sSR sIG sIG sIG sIG sIG sIG sIG sSR"),
    (Reply, Fin, "sIV sFW sFW sLA sLA sLA sTW sCL sIV"),
    (Reply, Ack, "sIG sSR sES sCW sCW sTW sTW sCL sIG"),
    (Reply, Rst, "sCL sCL sCL sCL sCL sCL sCL sCL sCL"),
];

fn full_name(abbreviation: &str) -> Option<&'static str> {
    match abbreviation {
        "sSS" => Some("SYN_SENT"),
        "sSR" => Some("SYN_RECV"),
        "sES" => Some("ESTABLISHED"),
        "sFW" => Some("FIN_WAIT"),
        "sCW" => Some("CLOSE_WAIT"),
        "sLA" => Some("LAST_ACK"),
        "sTW" => Some("TIME_WAIT"),
        "sCL" => Some("CLOSE"),
        "sS2" => Some("SYN_SENT2"),
        _ => None,
    }
}

#[test]
fn every_state_is_reached_with_netfilters_timeout() {
    for cluster in clusters() {
        for (state, timeout, way) in WAYS {
            let mut talk = Talk::new(cluster);
            talk.say_all(way);
            assert_eq!(talk.state(), (state, timeout), "{}", cluster.name);
        }
    }
}

#[test]
fn every_segment_in_every_state_does_what_netfilters_table_says() {
    let [cluster, _] = clusters();
    for (direction, kind, row) in NETFILTER {
        for ((before, timeout, way), after) in WAYS.iter().zip(row.split(' ')) {
            let what = format!("{kind:?} {direction:?} in {before} is {after}");
            let mut talk = Talk::new(cluster);
            talk.say_all(way);
            talk.rig.wait(Duration::from_secs(1));
            let moved = talk.say(direction, kind);
            let reopens = after == "sSS" && matches!(*before, "TIME_WAIT" | "CLOSE");
            if reopens && direction == Reply {
                moved.passed();
                assert_eq!(
                    talk.rig.connections(),
                    vec![],
                    "{what}: over, and none of ours anew"
                );
                continue;
            }
            if after == "sIV" {
                assert_eq!(moved.dropped(), DropReason::InvalidTransport, "{what}");
            } else {
                assert_eq!(moved.verdict, Verdict::Forward, "{what}");
            }
            assert_eq!(moved.flags & descriptor_flags::NEW != 0, reopens, "{what}");
            if *before == "SYN_SENT" && after == "sCL" {
                assert_eq!(
                    talk.rig.connections(),
                    vec![],
                    "{what}: never answered, so nothing is left of it"
                );
                continue;
            }
            let (state, left) = talk.state();
            match full_name(after) {
                Some(name) => {
                    let wanted = WAYS.iter().find(|way| way.0 == name).map(|way| way.1);
                    assert_eq!(state, name, "{what}");
                    assert!(
                        Some(left) == wanted || left == 300,
                        "{what}: {left} s left, not {wanted:?} or 300"
                    );
                }
                None => assert_eq!(
                    (state, left),
                    (*before, timeout - 1),
                    "{what}: nothing moves"
                ),
            }
        }
    }
}

#[test]
fn data_that_waits_for_its_acknowledgement_has_300_seconds() {
    for cluster in clusters() {
        let mut talk = Talk::new(cluster);
        talk.say_all(&OPEN);
        let [client, server] = talk.next;
        let data = talk
            .segment(Original, tcp_flags::ACK, client, server)
            .payload(b"hello")
            .build();
        assert_eq!(talk.rig.send(&data).verdict, Verdict::Forward);
        assert_eq!(talk.state(), ("ESTABLISHED", 300));
        talk.next[0] = client.wrapping_add(5);
        talk.say_all(&[(Reply, Ack)]);
        assert_eq!(talk.state(), ("ESTABLISHED", 432_000));
        let closed = talk
            .segment(Reply, tcp_flags::ACK, server, talk.next[0])
            .window(0)
            .build();
        assert_eq!(talk.rig.send(&closed).verdict, Verdict::Forward);
        assert_eq!(talk.state(), ("ESTABLISHED", 300), "a closed window");
    }
}

#[test]
fn only_an_exact_reset_closes() {
    for cluster in clusters() {
        for direction in [Original, Reply] {
            let mut talk = Talk::new(cluster);
            talk.say_all(&OPEN);
            let own = talk.next[direction as usize];
            talk.rig.wait(Duration::from_secs(1));
            // In the window but not exact, at its end, and a sweep over all of sequence space.
            let near = (1..=3).map(|n| own.wrapping_add(n));
            let sweep = (1..=65_535_u32).map(|n| own.wrapping_add(n << 16));
            for sequence in near.chain(sweep.step_by(7)) {
                let blind = talk.segment(direction, tcp_flags::RST, sequence, 0).build();
                assert_eq!(talk.rig.send(&blind).verdict, Verdict::Forward);
            }
            assert_eq!(talk.state(), ("ESTABLISHED", 431_999), "{direction:?}");
            let exact = talk.segment(direction, tcp_flags::RST, own, 0).build();
            assert_eq!(talk.rig.send(&exact).verdict, Verdict::Forward);
            assert_eq!(talk.state(), ("CLOSE", 10), "{direction:?}");
        }
    }
}

#[test]
fn segments_out_of_window_are_translated_and_move_nothing() {
    let [cluster, _] = clusters();
    for flags in [tcp_flags::ACK, tcp_flags::ACK | tcp_flags::FIN] {
        for direction in [Original, Reply] {
            let mut talk = Talk::new(cluster);
            talk.say_all(&OPEN);
            talk.rig.wait(Duration::from_secs(60));
            let (own, peer) = (
                talk.next[direction as usize],
                talk.next[1 - direction as usize],
            );
            for (sequence, acknowledgment) in [
                (own.wrapping_add(1 << 30), peer),
                (own.wrapping_sub(1 << 30), peer),
                (own, peer.wrapping_add(1)),
                (own, peer.wrapping_add(1 << 30)),
            ] {
                let segment = talk
                    .segment(direction, flags, sequence, acknowledgment)
                    .build();
                assert_eq!(talk.rig.send(&segment).verdict, Verdict::Forward);
                assert_eq!(
                    talk.state(),
                    ("ESTABLISHED", 432_000 - 60),
                    "{direction:?} {flags}"
                );
            }
        }
    }
}

#[test]
fn a_segment_is_held_to_the_window_of_its_receiver_not_of_its_sender() {
    for cluster in clusters() {
        let mut talk = Talk::new(cluster);
        // So far the server has announced 64 KiB, the client 8 MiB.
        talk.say_all(&OPEN);
        talk.rig.wait(Duration::from_secs(60));
        let [client, server] = talk.next.map(|next| next.wrapping_add(1 << 20));
        for (direction, sequence, acknowledgment, left) in [
            (Original, client, talk.next[1], 432_000 - 60),
            (Reply, server, talk.next[0], 300),
        ] {
            let segment = talk
                .segment(direction, tcp_flags::ACK, sequence, acknowledgment)
                .build();
            assert_eq!(talk.rig.send(&segment).verdict, Verdict::Forward);
            assert_eq!(talk.state(), ("ESTABLISHED", left), "{direction:?}");
        }
    }
}

#[test]
fn flags_that_no_tcp_sends_are_dropped() {
    let [cluster, _] = clusters();
    let mut talk = Talk::new(cluster);
    talk.say_all(&OPEN);
    let both = tcp_flags::SYN | tcp_flags::FIN;
    for flags in [
        0,
        both,
        both | tcp_flags::ACK,
        tcp_flags::FIN,
        tcp_flags::SYN | tcp_flags::RST,
        0x3f,
    ] {
        let segment = talk
            .segment(Original, flags, talk.next[0], talk.next[1])
            .build();
        assert_eq!(
            talk.rig.send(&segment).dropped(),
            DropReason::InvalidTransport,
            "{flags:02x}"
        );
    }
    assert_eq!(talk.state().0, "ESTABLISHED");
}

#[test]
fn what_opens_nothing_is_dropped_where_there_is_no_connection() {
    for cluster in clusters() {
        let mut talk = Talk::new(cluster);
        for kind in [SynAck, Fin, Ack, Rst] {
            assert_eq!(
                talk.say(Original, kind).dropped(),
                DropReason::NoConnection,
                "{kind:?}"
            );
            talk.say(Reply, kind).passed();
        }
        assert_eq!(talk.rig.connections(), vec![]);
    }
}

#[test]
fn a_syn_reuses_the_tuple_in_time_wait_and_may_choose_another_endpoint() {
    for cluster in clusters() {
        let mut talk = Talk::new(cluster);
        talk.say_all(WAYS[6].2);
        let other = endpoint(cluster.endpoints[1], 8080);
        talk.rig.put(
            0,
            service(
                Protocol::Tcp,
                vec![cluster_ip(cluster.vip, 80)],
                vec![other],
            ),
        );
        talk.next[0] = 90_000;
        let moved = talk.say(Original, Syn);
        assert_eq!(moved.forwarded().destination, cluster.endpoints[1]);
        assert_eq!(talk.state(), ("SYN_SENT", 120));
        assert_eq!(
            talk.rig.dataplane.stats().usage.connections_ipv4
                + talk.rig.dataplane.stats().usage.connections_ipv6,
            1
        );
    }
}

#[test]
fn a_connection_expires_at_its_deadline_and_not_before() {
    for (_, timeout, way) in WAYS {
        let [cluster, _] = clusters();
        let mut talk = Talk::new(cluster);
        talk.say_all(way);
        talk.rig
            .wait(Duration::from_secs(u64::from(timeout)) - Duration::from_millis(63));
        assert_eq!(talk.rig.connections().len(), 1);
        talk.rig.wait(Duration::from_millis(63));
        assert_eq!(talk.rig.connections(), vec![]);
        talk.say(Reply, Ack).passed();
    }
}
