//! A host without an operating system: smoltcp's TCP over a queue of packets.

use core::error::Error;
use core::net::{IpAddr, SocketAddr};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, Ipv4Address, Ipv6Address};
use std::collections::VecDeque;

/// How many connections a server holds at a time.
const SERVER_SOCKETS: usize = 4;

/// Room for a request or an answer.
const BUFFER_BYTES: usize = 2048;

/// A host with an address of each family, which serves HTTP if it has ports.
pub(crate) struct Host {
    name: String,
    pub(crate) addresses: [IpAddr; 2],
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    servers: Vec<(SocketHandle, u16)>,
    client: SocketHandle,
    next_port: u16,
    asked: bool,
    answer: String,
}

impl Host {
    /// A host that serves on `ports`, with as good as no network yet.
    pub(crate) fn new(
        name: &str,
        addresses: [IpAddr; 2],
        ports: &[u16],
    ) -> Result<Self, Box<dyn Error>> {
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = addresses
            .iter()
            .map(|address| u64::from(last_byte(*address)))
            .sum();
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|list| {
            // Two fit: an interface of smoltcp has room for as many by default.
            let _ = list.push(IpCidr::new(addresses[0].into(), 32));
            let _ = list.push(IpCidr::new(addresses[1].into(), 128));
        });
        interface
            .routes_mut()
            .add_default_ipv4_route(Ipv4Address::new(169, 254, 1, 1))?;
        interface
            .routes_mut()
            .add_default_ipv6_route(Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))?;
        let mut sockets = SocketSet::new(Vec::new());
        let client = sockets.add(socket());
        let wanted = ports.iter().flat_map(|port| [*port; SERVER_SOCKETS]);
        let servers = wanted.map(|port| (sockets.add(socket()), port)).collect();
        let name = name.to_owned();
        Ok(Self {
            name,
            addresses,
            interface,
            wire,
            sockets,
            servers,
            client,
            next_port: 32_768,
            asked: false,
            answer: String::new(),
        })
    }

    /// Takes a packet in.
    pub(crate) fn receive(&mut self, packet: Vec<u8>) {
        self.wire.received.push_back(packet);
    }

    /// Works off what has come in, serves, and gives out what is to be sent.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        for (handle, port) in &self.servers {
            let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
            serve(socket, &self.name, *port);
        }
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        core::mem::take(&mut self.wire.sent)
    }

    /// Begins a request to `to`; a request before it is given up.
    pub(crate) fn ask(&mut self, to: SocketAddr) -> Result<(), Box<dyn Error>> {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.client);
        *socket = self::socket();
        self.answer.clear();
        self.asked = false;
        self.next_port = if self.next_port == 60_999 {
            32_768
        } else {
            self.next_port + 1
        };
        let from = self
            .addresses
            .iter()
            .find(|own| own.is_ipv4() == to.is_ipv4());
        let from: IpAddress = (*from.ok_or("no address of that family")?).into();
        socket.connect(self.interface.context(), to, (from, self.next_port))?;
        Ok(())
    }

    /// The answer to the last request, once the connection is over; empty if it was refused.
    pub(crate) fn answer(&mut self) -> Option<&str> {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.client);
        if socket.may_send() && !self.asked {
            self.asked = socket.send_slice(b"GET / HTTP/1.0\r\n\r\n").is_ok();
        }
        while socket.can_recv() {
            let read = socket.recv(|bytes| (bytes.len(), bytes.to_vec()));
            self.answer
                .push_str(&String::from_utf8_lossy(&read.unwrap_or_default()));
        }
        if socket.state() == State::CloseWait {
            socket.close();
        }
        let over = socket.state() == State::Closed;
        over.then(|| {
            self.answer
                .split_once("\r\n\r\n")
                .map_or("", |(_, body)| body.trim_end())
        })
    }
}

/// One connection of a server: reads the request to its end, answers, closes, listens again.
fn serve(socket: &mut Socket<'_>, name: &str, port: u16) {
    if !socket.is_open() {
        // Fails only for port 0 or a socket that is open.
        let _ = socket.listen(port);
    }
    let whole = socket.recv(|bytes| {
        let end = bytes.windows(4).any(|four| four == b"\r\n\r\n");
        (if end { bytes.len() } else { 0 }, end)
    });
    let Ok(true) = whole else { return };
    let Some(client) = socket.remote_endpoint() else {
        return;
    };
    let body = format!("{name} {port} {}\n", client.addr);
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = socket.send_slice((head + &body).as_bytes());
    socket.close();
}

fn socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
    Socket::new(buffer(), buffer())
}

fn last_byte(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    }
}

/// The queue of packets that stands for a wire.
#[derive(Default)]
struct Wire {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Received(Vec<u8>);

struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sending<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Received(packet), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push(packet);
        result
    }
}
