//! SCTP's states by their chunks, and its verification tags.

use crate::common::{Cluster, Moved, Rig, cluster_ip, clusters, config, endpoint, service};
use core::net::SocketAddr;
use core::time::Duration;
use portolan::dataplane::{DropReason, Verdict};
use portolan::net::Direction::{self, Original, Reply};
use portolan::net::Protocol;
use portolan::packet::build;

const CLIENT_TAG: u32 = 0xc11e_0001;
const SERVER_TAG: u32 = 0x5e4f_0002;

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

struct Talk {
    rig: Rig,
    cluster: Cluster,
}

impl Talk {
    fn new(cluster: Cluster) -> Self {
        let mut rig = Rig::new(&config());
        let endpoints = vec![endpoint(cluster.endpoints[0], 3868)];
        rig.put(
            0,
            service(
                Protocol::Sctp,
                vec![cluster_ip(cluster.vip, 3868)],
                endpoints,
            ),
        );
        Self { rig, cluster }
    }

    fn say_tagged(&mut self, direction: Direction, chunk: u8, flags: u8, tag: u32) -> Moved {
        let client = SocketAddr::new(self.cluster.client, 40_000);
        let (from, to, own_tag) = match direction {
            Original => (client, SocketAddr::new(self.cluster.vip, 3868), CLIENT_TAG),
            Reply => (
                SocketAddr::new(self.cluster.endpoints[0], 3868),
                client,
                SERVER_TAG,
            ),
        };
        let [a, b, c, d] = own_tag.to_be_bytes();
        let body = [a, b, c, d, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1];
        let packet = build::sctp(from, to)
            .verification_tag(tag)
            .chunk(chunk, flags, &body);
        self.rig.send(&packet.build())
    }

    fn say(&mut self, direction: Direction, chunk: u8) -> Moved {
        let tag = match (chunk, direction) {
            (INIT, _) => 0,
            (_, Original) => SERVER_TAG,
            (_, Reply) => CLIENT_TAG,
        };
        self.say_tagged(direction, chunk, 0, tag)
    }

    fn state(&self) -> (&'static str, u32) {
        let connection = self.rig.only();
        let name = connection
            .state
            .name(Protocol::Sctp)
            .expect("SCTP has states");
        (name, connection.remaining_seconds)
    }
}

#[test]
fn an_association_goes_through_its_states() {
    for cluster in clusters() {
        let mut talk = Talk::new(cluster);
        for (direction, chunk, state, seconds) in [
            (Original, INIT, "CLOSED", 10),
            (Reply, INIT_ACK, "COOKIE_WAIT", 3),
            (Original, COOKIE_ECHO, "COOKIE_ECHOED", 3),
            (Reply, COOKIE_ACK, "ESTABLISHED", 210),
            (Original, DATA, "ESTABLISHED", 210),
            (Reply, HEARTBEAT, "ESTABLISHED", 210),
            (Original, SHUTDOWN, "SHUTDOWN_SENT", 3),
            (Reply, SHUTDOWN_ACK, "SHUTDOWN_ACK_SENT", 3),
            (Original, SHUTDOWN_COMPLETE, "CLOSED", 10),
        ] {
            let moved = talk.say(direction, chunk);
            assert_eq!(moved.verdict, Verdict::Forward, "chunk {chunk}");
            assert_eq!(
                talk.state(),
                (state, seconds),
                "{} chunk {chunk}",
                cluster.name
            );
        }
        assert!(talk.rig.only().state.assured());
    }
}

#[test]
fn the_endpoint_may_shut_down_first() {
    let [cluster, _] = clusters();
    let mut talk = Talk::new(cluster);
    for (direction, chunk) in [
        (Original, INIT),
        (Reply, INIT_ACK),
        (Original, COOKIE_ECHO),
        (Reply, COOKIE_ACK),
    ] {
        talk.say(direction, chunk).forwarded();
    }
    talk.say(Reply, SHUTDOWN).forwarded();
    assert_eq!(talk.state(), ("SHUTDOWN_RECD", 3));
    talk.say(Original, SHUTDOWN_ACK).forwarded();
    assert_eq!(talk.state(), ("SHUTDOWN_ACK_SENT", 3));
    talk.say(Reply, SHUTDOWN_COMPLETE).forwarded();
    assert_eq!(talk.state(), ("CLOSED", 10));
}

#[test]
fn a_wrong_verification_tag_is_translated_and_changes_nothing() {
    for cluster in clusters() {
        let mut talk = Talk::new(cluster);
        for (direction, chunk) in [
            (Original, INIT),
            (Reply, INIT_ACK),
            (Original, COOKIE_ECHO),
            (Reply, COOKIE_ACK),
        ] {
            talk.say(direction, chunk).forwarded();
        }
        talk.rig.wait(Duration::from_secs(10));
        for direction in [Original, Reply] {
            for chunk in [ABORT, SHUTDOWN, DATA] {
                talk.say_tagged(direction, chunk, 0, 0xbad).forwarded();
                assert_eq!(
                    talk.state(),
                    ("ESTABLISHED", 200),
                    "chunk {chunk} {direction:?}"
                );
            }
        }
        // With the T bit an ABORT reflects the tag that its sender was sent.
        talk.say_tagged(Reply, ABORT, 1, SERVER_TAG).forwarded();
        assert_eq!(talk.state(), ("CLOSED", 10));
    }
}

#[test]
fn what_is_no_init_opens_nothing_and_what_is_no_chunk_is_dropped() {
    let [cluster, _] = clusters();
    let mut talk = Talk::new(cluster);
    assert_eq!(talk.say(Original, DATA).dropped(), DropReason::NoConnection);
    assert_eq!(
        talk.say_tagged(Original, INIT, 0, 5).dropped(),
        DropReason::NoConnection
    );
    let (client, vip) = ((cluster.client, 40_000), (cluster.vip, 3868));
    let empty = build::sctp(client, vip).build();
    assert_eq!(
        talk.rig.send(&empty).dropped(),
        DropReason::InvalidTransport
    );
    talk.say(Original, INIT).forwarded();
    assert_eq!(
        talk.rig.send(&empty).dropped(),
        DropReason::InvalidTransport
    );
}

#[test]
fn a_repeated_init_does_not_prolong_a_half_open_association() {
    let [cluster, _] = clusters();
    let mut talk = Talk::new(cluster);
    talk.say(Original, INIT).forwarded();
    talk.rig.wait(Duration::from_secs(4));
    talk.say(Original, INIT).forwarded();
    assert_eq!(talk.state(), ("CLOSED", 6));
}
