//! Queries over sockets, as clients make them, and a server behind that is slow, silent or wordy.

use super::{DnsArguments, DnsServer};
use core::net::SocketAddr;
use core::time::Duration;
use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::A;
use portolan::model::Kind;
use portolan::node::Node;
use portolan::plan::NodeConfig;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;

/// More than any answer here takes.
const LIMIT: Duration = Duration::from_secs(20);

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec: {clusterIP: 10.96.0.80, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: outside}
spec: {type: ExternalName, externalName: www.example.com}
";

/// A port of loopback that nobody has, by UDP nor by TCP.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    listener.local_addr().expect("its address")
}

fn start(upstream: Vec<SocketAddr>) -> (DnsServer, SocketAddr) {
    let mut node = Node::new(NodeConfig::default());
    node.synced(Kind::Service);
    node.synced(Kind::EndpointSlice);
    node.apply(portolan::k8s::decode(OBJECTS.as_bytes(), "test").objects);
    let at = free();
    let arguments = DnsArguments {
        dns: Some(at),
        dns_zone: "cluster.local".to_owned(),
        dns_reverse_zone: Vec::new(),
        dns_upstream: upstream,
        dns_ttl: 5,
        dns_threads: Some(2),
    };
    let server = DnsServer::start(&arguments, &node).expect("a server");
    (server.expect("it was asked for"), at)
}

fn query(name: &str, id: u16) -> Vec<u8> {
    let name: Name<Vec<u8>> = name.parse().expect("a name");
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(id);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((name, Rtype::A)).expect("room");
    builder.finish()
}

fn by_udp(at: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(LIMIT)).expect("a limit");
    socket.send_to(query, at).expect("sent");
    let mut room = [0; 4096];
    let length = socket.recv(&mut room).expect("an answer");
    room[..length].to_vec()
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("short");
    [&length.to_be_bytes()[..], message].concat()
}

fn next_framed(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a length");
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).expect("a message");
    message
}

fn connected(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// Code, and addresses in the answer section.
fn read(reply: &[u8]) -> (Rcode, Vec<String>) {
    let message = Message::from_octets(reply).expect("a message");
    let answers = message.answer().expect("sections").limit_to::<A>();
    let addresses = answers.map(|record| record.expect("sound").data().addr().to_string());
    (message.header().rcode(), addresses.collect())
}

/// What another server says: this address, in full or cut off.
fn answer(query: &[u8], cut: bool) -> Vec<u8> {
    let query = Message::from_octets(query).expect("a query");
    let mut builder = MessageBuilder::new_vec()
        .start_answer(&query, Rcode::NOERROR)
        .expect("room");
    builder.header_mut().set_tc(cut);
    if !cut {
        let name = query.sole_question().expect("a question").into_qname();
        builder
            .push((name, 60, A::from_octets(192, 0, 2, 7)))
            .expect("room");
    }
    builder.finish()
}

/// Another server: by UDP it says what `udp` makes of a query, by TCP everything. It goes with the test.
fn other(udp: fn(&[u8]) -> Option<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let at = listener.local_addr().expect("its address");
    let socket = UdpSocket::bind(at).expect("the same port");
    thread::spawn(move || {
        let mut room = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut room) {
            if let Some(reply) = udp(&room[..length]) {
                // Somebody else's guess comes first, and counts for nothing.
                let mut guess = reply.clone();
                guess[0] ^= 0xff;
                let _ = socket.send_to(&guess, from);
                let _ = socket.send_to(&reply, from);
            }
        }
    });
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let query = next_framed(&mut stream);
            let _ = stream.write_all(&framed(&answer(&query, false)));
        }
    });
    at
}

#[test]
fn names_are_answered_by_udp_and_by_tcp_one_behind_the_other() {
    let (server, at) = start(Vec::new());
    let web = query("web.default.svc.cluster.local", 7);
    let expected = (Rcode::NOERROR, vec!["10.96.0.80".to_owned()]);
    assert_eq!(read(&by_udp(at, &web)), expected);
    let mut stream = connected(at);
    let unknown = query("nosuch.default.svc.cluster.local", 8);
    let foreign = query("www.example.com", 9);
    let all = [&web, &unknown, &foreign, &web].map(|query| framed(query));
    // Byte by byte is a way to send it, too.
    for byte in all.concat().chunks(1) {
        stream.write_all(byte).expect("sent");
    }
    // In whatever order (RFC 7766, section 6.2.1.1).
    let mut replies: Vec<_> = (0..4)
        .map(|_| {
            let reply = next_framed(&mut stream);
            (reply.get(1).copied(), read(&reply))
        })
        .collect();
    replies.sort_by_key(|(id, _)| *id);
    let codes = [
        (Some(7), expected.clone()),
        (Some(7), expected),
        (Some(8), (Rcode::NXDOMAIN, Vec::new())),
        (Some(9), (Rcode::REFUSED, Vec::new())),
    ];
    assert_eq!(replies, codes);
    assert_eq!(read(&by_udp(at, &foreign)).0, Rcode::REFUSED);
    drop(server);
    assert!(TcpStream::connect(at).is_err(), "closed");
}

#[test]
fn a_client_that_asks_a_thousand_times_at_once_gets_a_thousand_answers() {
    let (_server, at) = start(Vec::new());
    let mut stream = connected(at);
    let one = framed(&query("www.example.com", 1));
    let mut writing = stream.try_clone().expect("the same");
    let writer = thread::spawn(move || writing.write_all(&one.repeat(1_000)));
    for _ in 0..1_000 {
        assert_eq!(read(&next_framed(&mut stream)).0, Rcode::REFUSED);
    }
    writer.join().expect("no panic").expect("sent");
}

#[test]
fn many_idle_connections_hold_nobody_up() {
    let (_server, at) = start(Vec::new());
    let idle: Vec<_> = (0..300).map(|_| connected(at)).collect();
    let mut stream = connected(at);
    let web = query("web.default.svc.cluster.local", 7);
    stream.write_all(&framed(&web)).expect("sent");
    assert_eq!(read(&next_framed(&mut stream)).0, Rcode::NOERROR);
    drop(idle);
}

#[test]
fn other_names_are_asked_elsewhere_and_external_names_completed() {
    let (_server, at) = start(vec![other(|query| Some(answer(query, false)))]);
    let found = (Rcode::NOERROR, vec!["192.0.2.7".to_owned()]);
    for name in ["www.example.com", "outside.default.svc.cluster.local"] {
        let asked = query(name, 0x5052);
        let reply = by_udp(at, &asked);
        assert_eq!(read(&reply), found, "{name}");
        assert_eq!(reply.get(..2), asked.get(..2), "the client's own id");
        let mut stream = connected(at);
        stream.write_all(&framed(&asked)).expect("sent");
        assert_eq!(read(&next_framed(&mut stream)), found, "{name} by TCP");
    }
}

#[test]
fn what_does_not_fit_into_a_datagram_is_asked_for_by_tcp() {
    let (_server, at) = start(vec![other(|query| Some(answer(query, true)))]);
    let reply = by_udp(at, &query("outside.default.svc.cluster.local", 3));
    assert_eq!(read(&reply), (Rcode::NOERROR, vec!["192.0.2.7".to_owned()]));
    let reply = by_udp(at, &query("www.example.com", 3));
    let message = Message::from_octets(&reply[..]).expect("a message");
    assert!(message.header().tc(), "the client asks again itself");
}

#[test]
fn a_silent_server_is_given_up_and_the_next_one_asked() {
    let silent = other(|_| None);
    let (_server, at) = start(vec![silent]);
    assert_eq!(
        read(&by_udp(at, &query("www.example.com", 3))).0,
        Rcode::SERVFAIL
    );
    let (_server, at) = start(vec![silent, other(|query| Some(answer(query, false)))]);
    assert_eq!(
        read(&by_udp(at, &query("www.example.com", 3))).0,
        Rcode::NOERROR
    );
}
