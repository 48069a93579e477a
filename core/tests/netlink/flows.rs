//! Stale UDP connections of the running kernel, made by sending.

use core::net::SocketAddr;
use core::time::Duration;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use portolan::net::Family;
use portolan::nft::netlink::{Flow, Socket};

use crate::kernel::{in_namespace, nft};

/// The addresses of one family: a frontend, two endpoints, a client, and somebody else.
struct Place {
    family: Family,
    table: &'static str,
    frontend: &'static str,
    endpoints: [&'static str; 2],
    client: &'static str,
    other: &'static str,
}

const PLACES: [Place; 2] = [
    Place {
        family: Family::Ipv4,
        table: "ip",
        frontend: "10.96.0.10:53",
        endpoints: ["10.244.0.1:5353", "10.244.0.2:5353"],
        client: "10.244.0.9",
        other: "10.244.0.3:4789",
    },
    Place {
        family: Family::Ipv6,
        table: "ip6",
        frontend: "[fd96::10]:53",
        endpoints: ["[fd44::1]:5353", "[fd44::2]:5353"],
        client: "fd44::9",
        other: "[fd44::3]:4789",
    },
];

impl Place {
    /// Sends new connections to that endpoint.
    fn translate_to(&self, endpoint: &str) {
        let Self {
            table, frontend, ..
        } = self;
        let address: SocketAddr = frontend.parse().unwrap();
        let (ip, port) = (address.ip(), address.port());
        nft(&format!(
            "table {table} t {{\n}}\ndelete table {table} t\ntable {table} t {{
              chain c {{ type nat hook output priority -100;
                {table} daddr {ip} udp dport {port} dnat to {endpoint}
                {table} daddr {ip} tcp dport {port} dnat to {endpoint}
              }}
            }}\n"
        ));
    }

    fn is_to_frontend(&self, flow: &Flow) -> bool {
        flow.destination == self.frontend.parse().unwrap()
    }
}

fn ip(arguments: &str) {
    let done = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .unwrap();
    assert!(done.success(), "ip {arguments}");
}

fn addresses() {
    ip("link set lo up");
    for address in ["10.244.0.1", "10.244.0.2", "10.244.0.3", "10.244.0.9"] {
        ip(&format!("addr add {address}/32 dev lo"));
    }
    for address in ["fd44::1", "fd44::2", "fd44::3", "fd44::9"] {
        ip(&format!("-6 addr add {address}/128 dev lo nodad"));
    }
    ip("route add 10.96.0.0/16 dev lo");
    ip("-6 route add fd96::/112 dev lo");
}

fn listening(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    let limit = Some(Duration::from_secs(5));
    socket.set_read_timeout(limit).unwrap();
    socket
}

/// Sends one datagram and expects it at that endpoint.
fn arrives(client: &UdpSocket, frontend: &str, endpoint: &UdpSocket, what: &str) {
    client.send_to(what.as_bytes(), frontend).unwrap();
    let mut received = [0; 64];
    let (len, _) = endpoint.recv_from(&mut received).unwrap();
    assert_eq!(&received[..len], what.as_bytes());
}

#[test]
fn a_sender_that_never_pauses_reaches_the_new_endpoint() {
    in_namespace(
        "a_sender_that_never_pauses_reaches_the_new_endpoint",
        || {
            addresses();
            for place in &PLACES {
                let [old, new] = place.endpoints.map(listening);
                let other = listening(place.other);
                let client = UdpSocket::bind((place.client, 40_000)).unwrap();
                place.translate_to(place.endpoints[0]);
                arrives(&client, place.frontend, &old, "first");
                arrives(&client, place.other, &other, "to somebody else");
                place.translate_to(place.endpoints[1]);
                arrives(&client, place.frontend, &old, "remembered");

                let mut seen = Vec::new();
                let mut socket = Socket::open().unwrap();
                let dead: SocketAddr = place.endpoints[0].parse().unwrap();
                let deleted = socket.delete_flows(place.family, |flow| {
                    seen.push((flow.destination, flow.answerer));
                    place.is_to_frontend(flow) && flow.answerer == dead
                });
                assert_eq!(deleted.unwrap(), 1);
                seen.sort_unstable();
                let other = place.other.parse().unwrap();
                let mut expected = [(place.frontend.parse().unwrap(), dead), (other, other)];
                expected.sort_unstable();
                assert_eq!(seen, expected);
                arrives(&client, place.frontend, &new, "afresh");
            }
        },
    );
}

#[test]
fn a_tcp_connection_to_the_same_frontend_lives_on() {
    in_namespace("a_tcp_connection_to_the_same_frontend_lives_on", || {
        addresses();
        let [place, _] = &PLACES;
        let endpoint = TcpListener::bind(place.endpoints[0]).unwrap();
        place.translate_to(place.endpoints[0]);
        let client = TcpStream::connect(place.frontend).unwrap();
        let mut socket = Socket::open().unwrap();
        let deleted = socket.delete_flows(place.family, |_| true).unwrap();
        assert_eq!(deleted, 0);
        assert_eq!(endpoint.accept().unwrap().1, client.local_addr().unwrap());
    });
}

#[test]
fn thousands_of_flows_are_deleted_in_one_pass() {
    in_namespace("thousands_of_flows_are_deleted_in_one_pass", || {
        addresses();
        let [place, _] = &PLACES;
        place.translate_to(place.endpoints[0]);
        let flows = 3_000;
        for port in 20_000..20_000 + flows {
            let client = UdpSocket::bind((place.client, port)).unwrap();
            client.send_to(b"x", place.frontend).unwrap();
        }
        let mut socket = Socket::open().unwrap();
        // Every other one, by the client's port.
        let odd = |flow: &Flow| flow.client.port() % 2 == 1;
        let deleted = socket.delete_flows(place.family, odd).unwrap();
        assert_eq!(deleted, usize::from(flows / 2));
        let mut left = 0;
        let count = |_: &Flow| {
            left += 1;
            false
        };
        assert_eq!(socket.delete_flows(place.family, count).unwrap(), 0);
        assert_eq!(left, usize::from(flows / 2));
    });
}
