//! TCP peers of another hand (smoltcp) talk through the dataplane over a wire that loses, repeats, delays and
//! reorders, while endpoints come and go: every byte arrives, and no connection breaks.
//!
//! The clock is simulated. `PORTOLAN_SEED` repeats a walk exactly; each prints its seed.

mod common;

use common::{
    Cluster, Random, Rig, cluster_ip, clusters, config, endpoint, node_port, seed, service,
};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use portolan::dataplane::{Config, Descriptor, Limits, Verdict};
use portolan::net::Protocol;
use smoltcp::iface::{self, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpEndpoint};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Bytes that each client sends and gets back.
const BYTES: usize = 30_000;
const BUFFER: usize = 4_096;
/// Simulated milliseconds after which a walk has failed.
const LIMIT: i64 = 1_800_000;

#[derive(Default)]
struct Wire {
    arrived: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Arrived(Vec<u8>);
struct Room<'wire>(&'wire mut Vec<Vec<u8>>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Room<'a>;

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1_400;
        capabilities
    }

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Room<'_>)> {
        let packet = self.arrived.pop_front()?;
        Some((Arrived(packet), Room(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        Some(Room(&mut self.sent))
    }
}

/// What a client has sent and got back.
struct Client {
    socket: SocketHandle,
    name: String,
    key: u64,
    sent: usize,
    received: usize,
    over: bool,
}

struct Host {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    clients: Vec<Client>,
    servers: Vec<(SocketHandle, u16)>,
}

/// Byte `n` of the stream of a client.
fn byte(key: u64, n: usize) -> u8 {
    let mut state = key ^ n as u64;
    portolan::table::hash::next_seed(&mut state) as u8
}

fn socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
    tcp::Socket::new(buffer(), buffer())
}

impl Host {
    fn new(address: IpAddr, seed: u64) -> Self {
        let mut wire = Wire::default();
        let mut config = iface::Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(IpAddress::from(address), 24))
                .expect("room for one");
        });
        match address {
            IpAddr::V4(own) => interface.routes_mut().add_default_ipv4_route(own).map(drop),
            IpAddr::V6(own) => interface.routes_mut().add_default_ipv6_route(own).map(drop),
        }
        .expect("room for one");
        Self {
            wire,
            interface,
            sockets: SocketSet::new(Vec::new()),
            clients: Vec::new(),
            servers: Vec::new(),
        }
    }

    fn connect(&mut self, name: String, port: u16, to: SocketAddr) {
        let mut socket = socket();
        let to = IpEndpoint::new(IpAddress::from(to.ip()), to.port());
        socket
            .connect(self.interface.context(), to, port)
            .expect("a fresh socket");
        let socket = self.sockets.add(socket);
        let key = u64::from(port) << 32;
        self.clients.push(Client {
            socket,
            name,
            key,
            sent: 0,
            received: 0,
            over: false,
        });
    }

    fn serve(&mut self, port: u16) {
        let mut socket = socket();
        socket.listen(port).expect("a fresh socket");
        self.servers.push((self.sockets.add(socket), port));
    }

    fn run(&mut self, now: Instant) {
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        for (handle, port) in &self.servers {
            echo(self.sockets.get_mut(*handle), *port);
        }
        for client in &mut self.clients {
            client.run(self.sockets.get_mut(client.socket));
        }
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
    }
}

/// Sends back what came, and closes when the other side has.
fn echo(socket: &mut tcp::Socket<'_>, port: u16) {
    if socket.state() == tcp::State::Closed {
        socket.listen(port).expect("closed");
    }
    while socket.can_recv() && socket.can_send() {
        let room = socket.send_capacity() - socket.send_queue();
        let mut bytes = vec![0; room];
        let len = socket.recv_slice(&mut bytes).expect("it can");
        socket.send_slice(&bytes[..len]).expect("it can");
    }
    if socket.state() == tcp::State::CloseWait && !socket.can_recv() {
        socket.close();
    }
}

impl Client {
    fn run(&mut self, socket: &mut tcp::Socket<'_>) {
        if self.over {
            return;
        }
        let broken = socket.state() == tcp::State::Closed && self.received < BYTES;
        assert!(!broken, "{} broke after {} bytes", self.name, self.received);
        while socket.can_send() && self.sent < BYTES {
            let len = (BYTES - self.sent).min(500);
            let bytes: Vec<u8> = (self.sent..self.sent + len)
                .map(|n| byte(self.key, n))
                .collect();
            self.sent += socket.send_slice(&bytes).expect("it can");
        }
        if self.sent == BYTES && socket.may_send() && socket.state() == tcp::State::Established {
            socket.close();
        }
        while socket.can_recv() {
            let mut bytes = [0; 500];
            let len = socket.recv_slice(&mut bytes).expect("it can");
            for got in &bytes[..len] {
                assert_eq!(
                    *got,
                    byte(self.key, self.received),
                    "{} byte {}",
                    self.name,
                    self.received
                );
                self.received += 1;
            }
        }
        let closed = matches!(socket.state(), tcp::State::TimeWait | tcp::State::Closed);
        self.over = self.received == BYTES && closed;
    }
}

/// Where a packet is on its way: to the dataplane, or behind it to a host.
#[derive(Clone, Copy)]
enum Leg {
    Before,
    Behind,
}

struct Walk {
    rig: Rig,
    hosts: BTreeMap<IpAddr, Host>,
    /// By arrival in microseconds, then by order of departure.
    flying: BTreeMap<(i64, u64), (Leg, Vec<u8>)>,
    departures: u64,
    random: Random,
    now: i64,
}

impl Walk {
    /// A hop that loses one in thirty, repeats one in thirty, and takes one to twenty milliseconds.
    fn fly(&mut self, leg: Leg, packet: Vec<u8>) {
        if self.random.one_in(30) {
            return;
        }
        let copies = if self.random.one_in(30) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = 1_000 + self.random.below(19_000) as i64;
            self.departures += 1;
            self.flying
                .insert((self.now + delay, self.departures), (leg, packet.clone()));
        }
    }

    /// Moves what has arrived at the dataplane by now, as one burst.
    fn arrive(&mut self) {
        let later = self.flying.split_off(&(self.now + 1, 0));
        let arrived = core::mem::replace(&mut self.flying, later);
        let mut frames = Vec::new();
        let mut burst = Vec::new();
        for (leg, packet) in arrived.into_values() {
            match leg {
                Leg::Before => {
                    burst.push(Descriptor::new(frames.len() as u32, packet.len() as u32));
                    frames.extend_from_slice(&packet);
                }
                Leg::Behind => {
                    let to = common::tuple(&packet).destination;
                    let host = self.hosts.get_mut(&to).expect("nobody sends to nobody");
                    host.wire.arrived.push_back(packet);
                }
            }
        }
        let now = portolan::net::Instant::from_nanos(self.now as u64 * 1_000 + 1_000_000_000_000);
        self.rig.now = now;
        self.rig.worker.process_burst(now, &mut frames, &mut burst);
        for descriptor in burst {
            let start = descriptor.offset as usize;
            let packet = frames[start..start + descriptor.len as usize].to_vec();
            match descriptor.verdict() {
                Verdict::Forward => self.fly(Leg::Behind, packet),
                // A segment that came after its connection's end.
                Verdict::Drop | Verdict::Pass => {}
                Verdict::Reply => panic!("there always is an endpoint"),
            }
        }
    }

    fn step(&mut self) {
        self.arrive();
        let now = Instant::from_micros(self.now);
        let mut sent = Vec::new();
        for host in self.hosts.values_mut() {
            host.run(now);
            sent.append(&mut host.wire.sent);
        }
        for packet in sent {
            self.fly(Leg::Before, packet);
        }
    }

    fn over(&self) -> bool {
        self.hosts
            .values()
            .flat_map(|host| &host.clients)
            .all(|client| client.over)
    }

    /// The Services, with at least one of the endpoints each.
    fn publish(&mut self, cluster: &Cluster) {
        let doors = [cluster_ip(cluster.vip, 80), node_port(cluster.node, 30_080)];
        for (id, door) in doors.into_iter().enumerate() {
            let first = self.random.index(4);
            let count = 1 + self.random.index(4);
            let servers = (first..first + count).map(|n| cluster.endpoints[n % 4]);
            let endpoints = servers
                .map(|server| endpoint(server, 8_080 + id as u16))
                .collect();
            self.rig
                .put(id as u32, service(Protocol::Tcp, vec![door], endpoints));
        }
        let mirror = vec![cluster_ip(cluster.other_vip, 80)];
        let itself = vec![endpoint(cluster.endpoints[0], 8_082)];
        self.rig.put(2, service(Protocol::Tcp, mirror, itself));
    }
}

fn walk(cluster: &Cluster, seed: u64) -> (i64, u64) {
    let plain = config();
    let rig = Rig::new(&Config {
        limits: Limits {
            connections_ipv4: 256,
            connections_ipv6: 256,
            ..plain.limits
        },
        seed: u128::from(seed),
        ..plain
    });
    let mut hosts = BTreeMap::new();
    let mut random = Random(seed);
    let addresses = cluster
        .endpoints
        .into_iter()
        .chain([cluster.client, cluster.outside]);
    for address in addresses {
        hosts.insert(address, Host::new(address, random.next()));
    }
    for server in cluster.endpoints {
        let host = hosts.get_mut(&server).expect("made above");
        for n in 0..24 {
            host.serve(8_080 + n % 3);
        }
    }
    let vip = SocketAddr::new(cluster.vip, 80);
    let node = SocketAddr::new(cluster.node, 30_080);
    let mirror = SocketAddr::new(cluster.other_vip, 80);
    for (from, kind, to) in [
        (cluster.client, "ClusterIP", vip),
        (cluster.outside, "NodePort", node),
        (cluster.endpoints[0], "hairpin", mirror),
    ] {
        for n in 0..4 {
            let host = hosts.get_mut(&from).expect("made above");
            host.connect(format!("{} {kind} {n}", cluster.name), 40_000 + n, to);
        }
    }
    let mut walk = Walk {
        rig,
        hosts,
        flying: BTreeMap::new(),
        departures: 0,
        random,
        now: 0,
    };
    // Seen while they last: a connection that is over early has expired by the end.
    let mut masqueraded = BTreeSet::new();
    for millisecond in 0..LIMIT {
        walk.now = millisecond * 1_000;
        if millisecond % 100 == 0 {
            walk.publish(cluster);
            let all = walk.rig.connections().into_iter();
            masqueraded.extend(all.filter(|c| c.masquerade).map(|c| c.original));
        }
        walk.step();
        if walk.over() {
            break;
        }
    }
    assert!(walk.over(), "not over after {LIMIT} ms");
    assert!(
        masqueraded.len() >= 8,
        "NodePort and hairpin are masqueraded"
    );
    // Everything ends: nothing is left.
    walk.rig.wait(Duration::from_secs(6 * 24 * 3600));
    while walk.rig.dataplane.poll(walk.rig.now).is_some() {}
    let usage = walk.rig.dataplane.stats().usage;
    assert_eq!((usage.connections_ipv4, usage.connections_ipv6), (0, 0));
    (walk.now, walk.departures)
}

#[test]
fn every_byte_arrives_through_nat_under_loss_reordering_and_churn() {
    let seed = seed(20_251_122);
    for cluster in clusters() {
        let (now, packets) = walk(&cluster, seed);
        println!("{}: {} ms, {packets} hops", cluster.name, now / 1_000);
    }
}

#[test]
fn a_walk_repeats_exactly_by_its_seed() {
    let [_, cluster] = clusters();
    let seed = seed(7);
    assert_eq!(walk(&cluster, seed), walk(&cluster, seed));
}
