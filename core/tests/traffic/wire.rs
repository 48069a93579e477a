//! A client's packets into the kernel by one TUN device and out of it by another. The kernel has nearly always done
//! everything it does with a packet when the write returns, so there is hardly ever anything to wait for.
#![expect(unsafe_code, reason = "TUNSETIFF, which std does not offer")]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::thread;

use portolan::net::Family;

use crate::system::{ip, parameters};

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It left for this destination.
    Left(SocketAddr),
    /// The client was told that nobody is there.
    Rejected,
    /// Nothing was seen of it.
    Lost,
}

pub(crate) struct Wire {
    family: Family,
    clients: File,
    endpoints: File,
}

impl Wire {
    /// Makes the devices, routes and parameters of a router between clients and endpoints.
    pub(crate) fn new(family: Family) -> Self {
        let (clients, endpoints) = (tun("clients"), tun("endpoints"));
        ip("link set lo up
            link set clients up
            link set endpoints up
            addr add 10.1.0.1/16 dev clients
            addr add 10.2.255.1/16 dev endpoints
            route add 10.96.0.0/16 dev endpoints
            addr add fd01::1/64 dev clients nodad
            addr add fd02::ffff/64 dev endpoints nodad
            route add fd96::/64 dev endpoints");
        parameters(
            "ipv4/ip_forward 1
             ipv6/conf/all/forwarding 1
             ipv4/conf/all/rp_filter 0
             ipv4/conf/default/rp_filter 0
             ipv4/icmp_ratemask 0
             ipv6/icmp/ratelimit 0
             netfilter/nf_conntrack_udp_timeout 1",
        );
        let mut wire = Self {
            family,
            clients,
            endpoints,
        };
        // What the kernel says by itself when a device comes up.
        wire.drain();
        wire
    }

    /// Sends the first packet of a connection; no two numbers below 2^32 make the same one. Of 1,024 neighbouring
    /// numbers each has another client.
    pub(crate) fn send(&mut self, number: u32, to: SocketAddr) -> Fate {
        let client = (number % 1024) as u16 + 0x100;
        let port = 1024 + (number / 1024 % 64_000) as u16;
        let packet = match to.ip() {
            IpAddr::V4(address) => ipv4(client, port, address, to.port()),
            IpAddr::V6(address) => ipv6(client, port, address, to.port()),
        };
        self.clients.write_all(&packet).unwrap();
        self.fate()
    }

    /// Nearly always it is there at once; where the kernel has put it off, because the processor is busy, a moment later.
    fn fate(&mut self) -> Fate {
        for _ in 0..1_000 {
            if let Some(fate) = self.seen() {
                return fate;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Fate::Lost
    }

    fn seen(&mut self) -> Option<Fate> {
        let mut packet = [0; 2048];
        // Router solicitations and the like are no packets of ours.
        while let Some(len) = read(&mut self.endpoints, &mut packet) {
            if let Some(destination) = udp_destination(&packet[..len], self.family) {
                return Some(Fate::Left(destination));
            }
        }
        while let Some(len) = read(&mut self.clients, &mut packet) {
            if is_unreachable(&packet[..len]) {
                return Some(Fate::Rejected);
            }
        }
        None
    }

    fn drain(&mut self) {
        let mut packet = [0; 2048];
        for file in [&mut self.clients, &mut self.endpoints] {
            while read(file, &mut packet).is_some() {}
        }
    }
}

/// The client's end of every packet's addresses: 10.1.x.y and fd01::x.
const PAYLOAD: &[u8; 4] = b"race";
const UDP_BYTES: u16 = 8 + PAYLOAD.len() as u16;

fn ipv4(client: u16, port: u16, to: Ipv4Addr, to_port: u16) -> Vec<u8> {
    let [high, low] = client.to_be_bytes();
    let mut packet = vec![
        0x45,
        0,
        0,
        20 + UDP_BYTES as u8,
        0,
        0,
        0x40,
        0,
        64,
        17,
        0,
        0,
    ];
    packet.extend([10, 1, high, low]);
    packet.extend(to.octets());
    let words = packet
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(udp(port, to_port));
    packet
}

fn ipv6(client: u16, port: u16, to: Ipv6Addr, to_port: u16) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, UDP_BYTES as u8, 17, 64];
    packet.extend(Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, client).octets());
    packet.extend(to.octets());
    packet.extend(udp(port, to_port));
    packet
}

/// Without a checksum, which conntrack lets pass in both families.
fn udp(port: u16, to: u16) -> Vec<u8> {
    let header = [port, to, UDP_BYTES, 0];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.extend(PAYLOAD);
    bytes
}

fn udp_destination(packet: &[u8], family: Family) -> Option<SocketAddr> {
    let port = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    match (family, packet.first()? >> 4) {
        (Family::Ipv4, 4) if packet.get(9) == Some(&17) => {
            let address: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some(SocketAddr::new(address.into(), port(22)?))
        }
        (Family::Ipv6, 6) if packet.get(6) == Some(&17) => {
            let address: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some(SocketAddr::new(address.into(), port(42)?))
        }
        _ => None,
    }
}

/// ICMP destination unreachable, port unreachable.
fn is_unreachable(packet: &[u8]) -> bool {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => packet.get(9) == Some(&1) && packet.get(20..22) == Some(&[3, 3]),
        Some(6) => packet.get(6) == Some(&58) && packet.get(40..42) == Some(&[1, 4]),
        _ => false,
    }
}

fn read(file: &mut File, packet: &mut [u8]) -> Option<usize> {
    match file.read(packet) {
        Ok(len) => Some(len),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("reading a packet: {error}"),
    }
}

fn tun(name: &str) -> File {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK);
    let file = options.open("/dev/net/tun").unwrap();
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the request is as large as `struct ifreq` and exclusively ours for the whole call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    assert_eq!(done, 0, "TUNSETIFF {name}: {}", io::Error::last_os_error());
    file
}
