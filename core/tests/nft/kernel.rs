//! A kernel for one test: a thread in a network namespace of its own, forwarding between everybody through one TUN.
//! What is written comes from outside or from pods; what the kernel made of it can be read when the write returns.
//! A second TUN is only written to: what enters by it enters by a pod's interface.
#![expect(unsafe_code, reason = "unshare, which std does not offer")]

use core::net::{IpAddr, SocketAddr};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::process::Command;
use std::thread;

use portolan::driver::{Tun, TunOptions};
use portolan::net::Arrival;
use portolan::packet::build;

/// Runs a test in a new network namespace, or says that it was skipped and why.
pub(crate) fn in_namespace(name: &str, test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let within = scope.spawn(|| {
            // SAFETY: takes a number; changes only the namespace of this thread, which ends with the test.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                let error = io::Error::last_os_error();
                eprintln!("SKIPPED {name}: no network namespace: unshare(CLONE_NEWNET): {error}");
                return;
            }
            if let Err(error) = fs::metadata("/dev/net/tun") {
                eprintln!("SKIPPED {name}: /dev/net/tun: {error}");
                return;
            }
            if Command::new("nft").arg("--version").output().is_err() {
                eprintln!("SKIPPED {name}: needs nft (Debian package nftables)");
                return;
            }
            test();
        });
        if let Err(panic) = within.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// The name of the interface that pods send by, where they are told by it.
pub(crate) const PODS: &str = "pods0";

/// The namespace's links.
pub(crate) struct Wire {
    _tuns: [Tun; 2],
    file: File,
    pods: File,
}

/// What the kernel made of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    /// Nothing came.
    Nothing,
    /// It went on as it was.
    Same,
    /// ICMP port unreachable to its sender.
    Rejected,
    /// It went on with these addresses and ports.
    Sent {
        source: SocketAddr,
        destination: SocketAddr,
    },
}

const SYSCTLS: [(&str, &str); 13] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    // The node's own connections begin outside, too, so that they can be seen.
    ("net/ipv4/conf/all/accept_local", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv4/icmp_msgs_per_sec", "1000000"),
    ("net/ipv4/icmp_msgs_burst", "1000000"),
    ("net/ipv6/icmp/ratelimit", "0"),
];

impl Wire {
    /// A node with these addresses that forwards.
    pub(crate) fn new(addresses: &[IpAddr]) -> Self {
        for (name, value) in SYSCTLS {
            fs::write(format!("/proc/sys/{name}"), value).expect(name);
        }
        let (tun, file) = open("ptl0");
        let (tun_of_pods, pods) = open(PODS);
        ip("link set lo up");
        for address in addresses {
            match address {
                IpAddr::V4(v4) => ip(&format!("addr add {v4}/32 dev ptl0")),
                IpAddr::V6(v6) => ip(&format!("-6 addr add {v6}/128 dev ptl0 nodad")),
            }
        }
        ip("route add default dev ptl0");
        ip("-6 route add default dev ptl0");
        let mut wire = Self {
            _tuns: [tun, tun_of_pods],
            file,
            pods,
        };
        // What the kernel says of itself when a link comes up.
        thread::sleep(core::time::Duration::from_millis(20));
        while wire.read().is_some() {}
        wire
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 2048];
        match self.file.read(&mut bytes) {
            Ok(len) => {
                bytes.truncate(len);
                Some(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("reading the TUN: {error}"),
        }
    }

    /// Sends a packet through the kernel.
    pub(crate) fn send(&mut self, packet: &[u8]) -> Made {
        self.send_by(Arrival::Elsewhere, packet)
    }

    /// Sends a packet through the kernel that enters by one of the two.
    pub(crate) fn send_by(&mut self, arrival: Arrival, packet: &[u8]) -> Made {
        let mut link = match arrival {
            Arrival::Elsewhere => &self.file,
            Arrival::PodInterface => &self.pods,
        };
        link.write_all(packet).expect("the TUN takes it");
        self.made_of(packet)
    }

    /// Sends a packet as a process of the node.
    pub(crate) fn send_from_here(&mut self, from: SocketAddr, to: SocketAddr) -> Made {
        let socket = UdpSocket::bind(from).expect("an address of the node");
        let sent = socket.send_to(b"query", to);
        assert_eq!(sent.expect("the kernel takes it"), 5);
        self.made_of(&build::udp(from, to).payload(b"query").build())
    }

    fn made_of(&mut self, packet: &[u8]) -> Made {
        while let Some(out) = self.read() {
            if let Some(made) = judge(packet, &out) {
                return made;
            }
        }
        Made::Nothing
    }
}

fn open(name: &str) -> (Tun, File) {
    let options = TunOptions {
        offload: false,
        up: true,
        ..TunOptions::new(name)
    };
    let tun = Tun::open(&options).expect("the TUN opens");
    let descriptor = tun.descriptors().next().expect("a queue");
    let file = File::from(descriptor.try_clone_to_owned().expect("a duplicate"));
    (tun, file)
}

/// What `out` is to `packet`; `None` if it has nothing to do with it.
fn judge(packet: &[u8], out: &[u8]) -> Option<Made> {
    let (sent, came) = (Ends::of(packet)?, Ends::of(out)?);
    let unreachable = match (out[0] >> 4, came.protocol) {
        (4, 1) => out[20..22] == [3, 3],
        (6, 58) => out[40..42] == [1, 4],
        _ => false,
    };
    if unreachable && came.destination.ip() == sent.source.ip() {
        return Some(Made::Rejected);
    }
    if came.protocol != sent.protocol || out.len() != packet.len() {
        return None;
    }
    let same = came.source == sent.source && came.destination == sent.destination;
    Some(if same {
        Made::Same
    } else {
        Made::Sent {
            source: came.source,
            destination: came.destination,
        }
    })
}

struct Ends {
    source: SocketAddr,
    destination: SocketAddr,
    protocol: u8,
}

impl Ends {
    fn of(packet: &[u8]) -> Option<Self> {
        let octets = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).expect("four bytes");
        let wide = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).expect("sixteen bytes");
        let (source, destination, protocol, transport): (IpAddr, IpAddr, _, _) =
            match packet.first()? >> 4 {
                4 => (octets(12).into(), octets(16).into(), packet[9], 20),
                _ => (wide(8).into(), wide(24).into(), packet[6], 40),
            };
        let ports = packet.get(transport..transport + 4)?;
        let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
        Some(Self {
            source: SocketAddr::new(source, port(0)),
            destination: SocketAddr::new(destination, port(2)),
            protocol,
        })
    }
}

fn ip(arguments: &str) {
    let mut command = Command::new("ip");
    let output = command
        .args(arguments.split(' '))
        .output()
        .expect("ip runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
}
