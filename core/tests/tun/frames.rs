//! Packet sockets: a bump in the wire between a client and its router, which is the endpoint's host too, and a next hop
//! that a router sends Services to.
#![expect(unsafe_code, reason = "a raw socket, which std does not offer")]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use portolan::dataplane::{Descriptor, Verdict};
use portolan::driver::{AfPacket, AfPacketOptions, Driver, QueueStats, RunError, RunOptions};
use portolan::net::{Instant, Protocol};

use crate::kernel::{
    HERE, THERE, TIMEOUT, await_own, in_namespace, ip, long_datagram_delivers, open, pattern,
    tcp_delivers_to,
};
use crate::services::{Serving, refuses};
use crate::station::Station;

const CLUSTER_IPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 96, 0, 96)),
    IpAddr::V6(Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 0x96)),
];
const ENDPOINTS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 8, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, 1)),
];

/// A client, a bump in the wire, and the router behind it.
struct Wire {
    client: Station,
    router: Station,
}

impl Wire {
    fn new() -> Self {
        let wire = Self {
            client: Station::new(),
            router: Station::new(),
        };
        wire.client.connect("near0");
        wire.router.connect("far0");
        wire.client.run(|| {
            ip(&format!("addr add {}/24 dev eth0", HERE[0]));
            ip(&format!("-6 addr add {}/64 dev eth0 nodad", HERE[1]));
            ip("route add default via 10.9.0.3");
            ip("-6 route add default via fd09::3");
            await_own(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1));
        });
        wire.router.run(|| {
            ip("addr add 10.9.0.3/24 dev eth0");
            ip("-6 addr add fd09::3/64 dev eth0 nodad");
            ip(&format!("addr add {}/32 dev lo", ENDPOINTS[0]));
            ip(&format!("-6 addr add {}/128 dev lo nodad", ENDPOINTS[1]));
            await_own(Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, 1));
        });
        wire
    }

    fn serve(options: &AfPacketOptions, run: &RunOptions) -> Serving {
        let sockets = AfPacket::open(options).expect("the interfaces open");
        assert_eq!(sockets.losses(), []);
        let mut serving = Serving::start(sockets, run);
        serving.masquerade = false;
        serving
    }

    /// TCP and UDP, IPv4 and IPv6, through a Service each; the endpoint sees the client, and the client the Service.
    fn delivers(&self, serving: &mut Serving, tcp_bytes: usize) {
        for ((here, endpoint), cluster_ip) in HERE.into_iter().zip(ENDPOINTS).zip(CLUSTER_IPS) {
            let frontend = SocketAddr::new(cluster_ip, 80);
            let listener = self.router.run(move || TcpListener::bind((endpoint, 0)));
            let listener = listener.expect("a port to listen on");
            let to = listener.local_addr().expect("its address");
            serving.serve(Protocol::Tcp, frontend, Some(to));
            let seen = move || tcp_delivers_to(listener, frontend, tcp_bytes);
            assert_eq!(self.client.run(seen).ip(), here);

            let server = self.router.run(move || UdpSocket::bind((endpoint, 0)));
            let client = self.client.run(move || UdpSocket::bind((here, 0)));
            let (server, client) = (server.expect("a port"), client.expect("a port"));
            client.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
            server.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
            let to = server.local_addr().expect("its address");
            serving.serve(Protocol::Udp, frontend, Some(to));
            let mut buffer = [0; 2048];
            for size in [1, 2, 777, 1400] {
                let sent = pattern(size);
                client.send_to(&sent, frontend).expect("it goes out");
                let (len, from) = server.recv_from(&mut buffer).expect("it arrives");
                assert!(buffer[..len] == sent && from.ip() == here, "{from}");
                server.send_to(&sent, from).expect("the answer goes out");
                let (len, from) = client.recv_from(&mut buffer).expect("the answer arrives");
                assert!(buffer[..len] == sent && from == frontend, "{from}");
            }
            long_datagram_delivers(&client, &server, frontend);
        }
    }
}

fn between() -> AfPacketOptions {
    AfPacketOptions::between("near0", "far0")
}

fn failures(stats: &QueueStats) -> u64 {
    stats.failed_writes
        + stats.short_writes
        + stats.refused_writes
        + stats.unreadable
        + stats.unsegmentable
        + stats.missed_frames
}

#[test]
fn between_two_interfaces_long_packets_go_through_whole() {
    in_namespace(
        "between_two_interfaces_long_packets_go_through_whole",
        || {
            let wire = Wire::new();
            let mut serving = Wire::serve(&between(), &RunOptions::default());
            wire.delivers(&mut serving, 8 << 20);
            let stats = serving.stop();
            assert_eq!(failures(&stats), 0, "{stats:?}");
            assert!(
                stats.other_frames > 0,
                "who has the router's address? {stats:?}"
            );
            let average = stats.received_bytes / stats.received_packets;
            assert!(average > 3000, "{average} bytes in a packet: {stats:?}");
        },
    );
}

/// Whoever gets a partial checksum from the same machine believes it. Completed in software, and by the kernel for a
/// device that cannot, each is verified.
#[test]
fn between_two_interfaces_checksums_and_segments_are_right_on_the_wire() {
    let name = "between_two_interfaces_checksums_and_segments_are_right_on_the_wire";
    in_namespace(name, || {
        let wire = Wire::new();
        let software = RunOptions {
            software_offload: true,
            ..RunOptions::default()
        };
        let mut serving = Wire::serve(&between(), &software);
        wire.delivers(&mut serving, 2 << 20);
        let stats = serving.stop();
        assert_eq!(failures(&stats), 0, "{stats:?}");
        assert!(stats.software_segments > 1000, "{stats:?}");

        for side in ["near0", "far0"] {
            let done = Command::new("ethtool")
                .args(["-K", side, "tx", "off"])
                .output();
            let Ok(done) = done else {
                eprintln!("SKIPPED devices without checksum offload: there is no ethtool here");
                return;
            };
            assert!(done.status.success(), "{done:?}");
        }
        let mut serving = Wire::serve(&between(), &RunOptions::default());
        wire.delivers(&mut serving, 2 << 20);
        assert_eq!(failures(&serving.stop()), 0);
    });
}

/// An IPv4 datagram without checksum.
fn datagram(from: [u8; 6], to: [u8; 6]) -> Vec<u8> {
    let [[f0, f1, f2, f3, fp0, fp1], [t0, t1, t2, t3, tp0, tp1]] = [from, to];
    let mut packet = vec![
        0x45, 0, 0, 33, 0, 1, 0, 0, 64, 17, 0, 0, f0, f1, f2, f3, t0, t1, t2, t3, fp0, fp1, tp0,
        tp1, 0, 13, 0, 0, b't', b'a', b'g', b'g', b'd',
    ];
    let mut sum: u32 = packet[..20]
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    sum = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    packet
}

/// Tells of every packet that is sent to the interface, with `link_len` bytes before it, and has `answer` judge it.
fn listen(
    link_len: usize,
    answer: impl Fn(&mut [u8]) -> Verdict + Send + 'static,
) -> (Driver, Receiver<Vec<u8>>) {
    let (tell, told) = channel();
    let sockets = AfPacket::open(&AfPacketOptions::next_hop("eth0")).expect("eth0 opens");
    let processor = move |_: Instant, frames: &mut [u8], burst: &mut [Descriptor]| {
        for descriptor in burst {
            let (begin, len) = (descriptor.offset as usize, descriptor.len as usize);
            let frame = frames[begin - link_len..begin + len].to_vec();
            // Whoever asked may have heard enough.
            let _ = tell.send(frame);
            descriptor.verdict = answer(&mut frames[begin..begin + len]) as u8;
        }
    };
    let driver = Driver::start(sockets, vec![processor], &RunOptions::default());
    (driver.expect("it starts"), told)
}

#[test]
fn vlan_tags_go_over_the_wire_as_they_came_and_come_back() {
    let name = "vlan_tags_go_over_the_wire_as_they_came_and_come_back";
    in_namespace(name, || {
        let wire = Wire::new();
        let mut serving = Wire::serve(&between(), &RunOptions::default());
        let frontend = SocketAddr::new(CLUSTER_IPS[0], 80);
        let endpoint = SocketAddr::new(ENDPOINTS[0], 8080);
        serving.serve(Protocol::Udp, frontend, Some(endpoint));
        let [client_mac, router_mac] =
            [&wire.client, &wire.router].map(|it| it.run(|| station_address("eth0")));
        let (client, vip, to) = (
            [10, 9, 0, 1, 0x9c, 0x40],
            [10, 96, 0, 96, 0, 80],
            [10, 8, 0, 1, 0x1f, 0x90],
        );
        for tags in [
            &[0x81, 0x00, 0x20, 0x07][..],
            &[0x88, 0xa8, 0, 3, 0x81, 0x00, 0, 9],
        ] {
            let link = |to: [u8; 6], from: [u8; 6]| [&to[..], &from, tags, &[8, 0]].concat();
            let link_len = link(client_mac, router_mac).len();
            let (server, asked) = wire.router.run(move || {
                listen(link_len, |packet| {
                    let answer = datagram([10, 8, 0, 1, 0x1f, 0x90], [10, 9, 0, 1, 0x9c, 0x40]);
                    packet.copy_from_slice(&answer);
                    Verdict::Reply
                })
            });
            let (listener, answered) = wire.client.run(move || listen(link_len, |_| Verdict::Drop));
            let question = [link(router_mac, client_mac), datagram(client, vip)].concat();
            wire.client.run(move || {
                let sent = raw_socket("eth0").write(&question).expect("it goes out");
                assert_eq!(sent, question.len());
            });
            let seen = asked.recv_timeout(TIMEOUT).expect("it arrives");
            let expected = [link(router_mac, client_mac), datagram(client, to)].concat();
            assert_eq!(seen, expected);
            let seen = answered.recv_timeout(TIMEOUT).expect("the answer arrives");
            let expected = [link(client_mac, router_mac), datagram(vip, client)].concat();
            assert_eq!(seen, expected);
            for driver in [server, listener] {
                driver.stop().expect("nothing failed");
            }
        }
        assert_eq!(failures(&serving.stop()), 0);
    });
}

/// Answers every request on the listener with its own address.
fn http(listener: TcpListener) {
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let to = connection.local_addr().expect("an address");
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte).is_ok() {
                request.extend(byte);
            }
            let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhere is {to}");
            connection.write_all(answer.as_bytes()).expect("answered");
        }
    });
}

#[test]
fn a_web_server_answers_curl_and_a_service_without_endpoints_refuses() {
    let name = "a_web_server_answers_curl_and_a_service_without_endpoints_refuses";
    in_namespace(name, || {
        let wire = Wire::new();
        let mut serving = Wire::serve(&between(), &RunOptions::default());
        for ((here, endpoint), cluster_ip) in HERE.into_iter().zip(ENDPOINTS).zip(CLUSTER_IPS) {
            let frontend = SocketAddr::new(cluster_ip, 80);
            let listener = wire.router.run(move || TcpListener::bind((endpoint, 0)));
            let listener = listener.expect("a port");
            let to = listener.local_addr().expect("its address");
            http(listener);
            serving.serve(Protocol::Tcp, frontend, Some(to));
            // What is for no Service goes over, too.
            for asked in [frontend, to] {
                if let Some(said) = wire.client.curl(&format!("http://{asked}/")) {
                    assert_eq!(said, format!("here is {to}"));
                }
            }
            serving.serve(Protocol::Tcp, SocketAddr::new(cluster_ip, 81), None);
            serving.serve(Protocol::Udp, SocketAddr::new(cluster_ip, 81), None);
            let nobody = SocketAddr::new(cluster_ip, 81);
            wire.client.run(move || refuses(here, nobody));
        }
        let stats = serving.stop();
        assert_eq!((stats.replied, failures(&stats)), (4, 0), "{stats:?}");
    });
}

/// The router would have to send the client its own packets back: it sees none of them.
#[test]
fn between_two_interfaces_a_client_that_is_its_own_endpoint_gets_its_packets_back() {
    let name = "between_two_interfaces_a_client_that_is_its_own_endpoint_gets_its_packets_back";
    in_namespace(name, || {
        let wire = Wire::new();
        wire.client.run(|| {
            ip(&format!("route add {} via 10.9.0.3", THERE[0]));
            ip(&format!("-6 route add {} via fd09::3", THERE[1]));
        });
        let mut serving = Wire::serve(&between(), &RunOptions::default());
        for ((here, node), cluster_ip) in HERE.into_iter().zip(THERE).zip(CLUSTER_IPS) {
            let frontend = SocketAddr::new(cluster_ip, 80);
            let listener = wire.client.run(move || TcpListener::bind((here, 0)));
            let listener = listener.expect("a port to listen on");
            let to = listener.local_addr().expect("its address");
            serving.serve(Protocol::Tcp, frontend, Some(to));
            let deliver = move || tcp_delivers_to(listener, frontend, 1 << 20);
            assert_eq!(wire.client.run(deliver).ip(), node);

            let socket = wire.client.run(move || UdpSocket::bind((here, 0)));
            let socket = socket.expect("a port");
            let to = socket.local_addr().expect("its address");
            serving.serve(Protocol::Udp, frontend, Some(to));
            socket.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
            socket.send_to(b"to me", frontend).expect("it goes out");
            let (len, from) = socket.recv_from(&mut [0; 16]).expect("it arrives");
            assert_eq!((len, from.ip()), (5, node));
        }
        assert_eq!(failures(&serving.stop()), 0);
    });
}

/// A router and its next hop, which has two queues.
#[test]
fn a_next_hop_gives_packets_back_to_the_router_that_sent_them() {
    let name = "a_next_hop_gives_packets_back_to_the_router_that_sent_them";
    in_namespace(name, || {
        let router = Station::new();
        router.connect("near0");
        ip("addr add 10.7.0.2/24 dev near0");
        ip("-6 addr add fd07::2/64 dev near0 nodad");
        router.run(|| {
            ip("addr add 10.7.0.1/24 dev eth0");
            ip("-6 addr add fd07::1/64 dev eth0 nodad");
            ip(&format!("addr add {}/32 dev lo", HERE[0]));
            ip(&format!("-6 addr add {}/128 dev lo nodad", HERE[1]));
            await_own(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1));
            ip(&format!(
                "route add 10.96.0.0/16 via 10.7.0.2 src {}",
                HERE[0]
            ));
            ip(&format!(
                "-6 route add fd96::/64 via fd07::2 src {}",
                HERE[1]
            ));
            // The node's address, which connections are masqueraded with.
            ip(&format!("route add {} via 10.7.0.2", THERE[0]));
            ip(&format!("-6 route add {} via fd07::2", THERE[1]));
        });
        let options = AfPacketOptions {
            queues: 2,
            ..AfPacketOptions::next_hop("near0")
        };
        let mut serving = Wire::serve(&options, &RunOptions::default());
        serving.masquerade = true;
        for ((here, node), cluster_ip) in HERE.into_iter().zip(THERE).zip(CLUSTER_IPS) {
            let frontend = SocketAddr::new(cluster_ip, 80);
            for _ in 0..8 {
                let listener = router.run(move || TcpListener::bind((here, 0)));
                let listener = listener.expect("a port to listen on");
                let endpoint = listener.local_addr().expect("its address");
                serving.serve(Protocol::Tcp, frontend, Some(endpoint));
                let seen = router.run(move || tcp_delivers_to(listener, frontend, 1 << 19));
                assert_eq!(seen.ip(), node);
            }
        }
        let queues: Vec<_> = serving.driver.stats().collect();
        assert_eq!(queues.len(), 2);
        let idle = queues.iter().any(|queue| queue.received_packets == 0);
        assert!(!idle, "{queues:?}");
        let stats = serving.stop();
        assert_eq!(failures(&stats), 0, "{stats:?}");
    });
}

fn shown(device: &str) -> String {
    let shown = Command::new("ip")
        .args(["-o", "link", "show", device])
        .output();
    String::from_utf8(shown.expect("ip runs").stdout).expect("text")
}

/// The interface's address on the link.
fn station_address(device: &str) -> [u8; 6] {
    let shown = shown(device);
    let (_, rest) = shown.split_once("link/ether ").expect("an address");
    let text = rest.split(' ').next().unwrap_or_default().split(':');
    let bytes = text.map(|byte| u8::from_str_radix(byte, 16).expect("a byte"));
    let bytes: Vec<u8> = bytes.collect();
    bytes.try_into().expect("six of them")
}

/// A socket that sends whatever frames it is given.
fn raw_socket(device: &str) -> File {
    let shown = shown(device);
    let index = shown.split(':').next().expect("a number").parse();
    // SAFETY: takes numbers, touches no memory.
    let number = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
    assert!(number >= 0, "a raw socket");
    // SAFETY: the kernel has just given us this descriptor, so nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: all of its fields are numbers, for which zero is a value.
    let mut name: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
    name.sll_family = libc::AF_PACKET as libc::sa_family_t;
    name.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    name.sll_ifindex = index.expect("a number");
    let (pointer, len) = (&raw const name, size_of::<libc::sockaddr_ll>());
    // SAFETY: the kernel reads the address, which lives until the call returns.
    let bound = unsafe { libc::bind(number, pointer.cast(), len as libc::socklen_t) };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    File::from(socket)
}

/// Frames as a hostile neighbour sends them: a SYN to a Service, of any length, with anything in any place.
fn hostile_frames(to: [u8; 6], count: usize) {
    let mut socket = raw_socket("eth0");
    let mut state = 0x2545_f491_u32;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as usize % below
    };
    let plain = [
        &to[..],
        &[2, 0, 0, 0, 0, 9, 0x08, 0x00],
        &[
            0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 96, 0, 96,
        ],
        &[
            0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
        ],
    ]
    .concat();
    let kinds: [[u8; 2]; 6] = [
        [0x08, 0x00],
        [0x86, 0xdd],
        [0x81, 0x00],
        [0x88, 0xa8],
        [0x00, 0x10],
        [0x88, 0x47],
    ];
    for _ in 0..count {
        let mut frame = plain.clone();
        frame.resize(14 + random(1500), random(256) as u8);
        for at in [12, 16, 20, 24] {
            if random(3) == 0 && at + 2 <= frame.len() {
                frame[at..at + 2].copy_from_slice(&kinds[random(6)]);
            }
        }
        for _ in 0..random(5) {
            let at = random(frame.len());
            frame[at] = random(256) as u8;
        }
        // The kernel refuses the shortest.
        let _ = socket.write(&frame);
    }
}

#[test]
fn hostile_frames_do_nobody_else_harm() {
    in_namespace("hostile_frames_do_nobody_else_harm", || {
        let wire = Wire::new();
        let next_hop = AfPacketOptions::next_hop("near0");
        for (options, to) in [(between(), [0xff; 6]), (next_hop, station_address("near0"))] {
            let serving = Wire::serve(&options, &RunOptions::default());
            wire.client.run(move || hostile_frames(to, 20_000));
            thread::sleep(Duration::from_millis(100));
            assert!(serving.driver.is_running());
            let stats = serving.stop();
            assert!(stats.unreadable > 0, "{stats:?}");
            assert_eq!(stats.unsegmentable + stats.short_writes, 0, "{stats:?}");
            assert!(
                stats.received_packets + stats.other_frames > 1000,
                "{stats:?}"
            );
        }
        let mut serving = Wire::serve(&between(), &RunOptions::default());
        wire.delivers(&mut serving, 1 << 16);
        serving.stop();
    });
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("still not so: {what}");
}

#[test]
fn an_interface_may_go_down_and_up_again_and_ends_the_driver_when_it_is_deleted() {
    let name = "an_interface_may_go_down_and_up_again_and_ends_the_driver_when_it_is_deleted";
    in_namespace(name, || {
        let wire = Wire::new();
        let mut serving = Wire::serve(&between(), &RunOptions::default());
        wire.delivers(&mut serving, 1000);
        ip("link set far0 down");
        thread::sleep(Duration::from_millis(250));
        assert!(serving.driver.is_running(), "it waits");
        ip("link set far0 up");
        wire.delivers(&mut serving, 1000);
        ip("link set far0 down");
        thread::sleep(Duration::from_millis(50));
        ip("link del far0");
        until("the driver has noticed", || !serving.driver.is_running());
        let error = serving.driver.stop().expect_err("the device has gone");
        let RunError::DeviceGone { device, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(device, "far0");
    });
}

#[test]
fn interfaces_that_cannot_be_used_are_refused_by_name() {
    in_namespace("interfaces_that_cannot_be_used_are_refused_by_name", || {
        let refused =
            |options: &AfPacketOptions| AfPacket::open(options).expect_err("refused").to_string();
        let absent = refused(&AfPacketOptions::next_hop("absent"));
        assert!(absent.starts_with("absent: SIOCGIFINDEX: "), "{absent}");
        let long = refused(&AfPacketOptions::next_hop("a-name-of-16-byt"));
        assert!(long.contains("at most 15 bytes"), "{long}");
        let tun = open(true, 1);
        let no_frames = refused(&AfPacketOptions::next_hop(tun.name()));
        assert!(
            no_frames.contains("carries no Ethernet frames"),
            "{no_frames}"
        );
        Station::new().connect("near0");
        let same = refused(&AfPacketOptions::between("near0", "near0"));
        assert_eq!(same, "near0: is no other side of itself");
        let none = AfPacketOptions {
            queues: 0,
            ..AfPacketOptions::next_hop("near0")
        };
        assert!(refused(&none).contains("at least one queue"));
    });
}
