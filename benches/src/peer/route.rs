//! A client, a router and a server, each a network namespace: frames of either end cross the router's kernel, which alone
//! knows connections. What arrives is counted by the device, then dropped as another host's.

use super::live::{FRAME_BYTES, Live};
use crate::Family;
use crate::clock::CpuTime;
use crate::flow::{node_address, subnets};
use crate::namespace::{Namespace, run};
use core::time::Duration;
use rustix::net;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, sockopt,
};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Whom the router sends to: not the address of the device that takes it.
const NEXT_HOP: &str = "02:00:00:00:00:99";
/// The outer ends' only device.
const DEVICE: &str = "eth0";
/// How long a link or a frame may take, and how often it is looked for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The router's ends, by index: towards the client, towards the server.
const LINKS: [&str; 2] = ["client", "server"];
/// The side of clients.
pub(super) const CLIENT: usize = 0;
/// The side of endpoints, and of frontends where nobody translates them.
pub(super) const SERVER: usize = 1;

/// Bytes of an Ethernet frame, whose length the family says.
pub(super) type Frame = [u8; FRAME_BYTES];

/// A frame to the router, from one of its sides; `write` writes the packet.
pub(super) fn frame(family: Family, side: usize, write: impl FnOnce(&mut [u8])) -> Frame {
    let mut frame = [0; FRAME_BYTES];
    frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, side as u8, 2, 0, 0, 0, 0, 0x11]);
    frame[12..ETHERNET].copy_from_slice(&ether_type(family).to_be_bytes());
    write(&mut frame[ETHERNET..]);
    frame
}

/// Bytes of a frame in use.
const fn frame_len(family: Family) -> usize {
    match family {
        Family::Ipv4 => ETHERNET + 60,
        Family::Ipv6 => ETHERNET + 80,
    }
}

const fn ether_type(family: Family) -> u16 {
    match family {
        Family::Ipv4 => libc::ETH_P_IP as u16,
        Family::Ipv6 => libc::ETH_P_IPV6 as u16,
    }
}

/// The three namespaces, and a socket at each end.
#[derive(Debug)]
pub(super) struct Route {
    family: Family,
    router: Namespace,
    /// The indices of its links.
    links: [u32; 2],
    ends: [End; 2],
}

#[derive(Debug)]
struct End {
    namespace: Namespace,
    sender: OwnedFd,
}

impl Route {
    /// Makes one whose router has the nftables `ruleset`; if that is empty, nothing that looks at connections.
    pub(super) fn new(family: Family, ruleset: &str) -> io::Result<Self> {
        let router = Namespace::new()?;
        // Nothing but these frames is sent, and wherever they come from is right.
        let settings: &[_] = match family {
            Family::Ipv4 => &[
                ("ipv4/ip_forward", 1),
                ("ipv4/conf/all/rp_filter", 0),
                ("ipv4/conf/default/rp_filter", 0),
                ("ipv6/conf/default/disable_ipv6", 1),
            ],
            Family::Ipv6 => &[("ipv6/conf/all/forwarding", 1)],
        };
        router.within(|| {
            settings
                .iter()
                .try_for_each(|(name, value)| set(name, *value))
        })?;
        let [client, server] = [CLIENT, SERVER].map(|side| End::new(&router, side));
        let ends = [client?, server?];
        for link in LINKS {
            router.within(|| run("ip", &["link", "set", link, "up"], ""))?;
        }
        for (end, link) in ends.iter().zip(LINKS) {
            end.namespace.within(|| wait_for(DEVICE))?;
            router.within(|| wait_for(link))?;
        }
        let links = router.within(|| {
            run("ip", &["-batch", "-"], &configuration(family))?;
            if !ruleset.is_empty() {
                run("nft", &["-f", "-"], ruleset)?;
            }
            let [client, server] = LINKS.map(index);
            Ok([client?, server?])
        })?;
        Ok(Self {
            family,
            router,
            links,
            ends,
        })
    }

    /// Sends frames from one side through a socket.
    pub(super) fn send(&self, side: usize, frames: &[Frame]) -> io::Result<()> {
        let len = frame_len(self.family);
        for frame in frames {
            net::send(&self.ends[side].sender, &frame[..len], SendFlags::empty())?;
        }
        Ok(())
    }

    /// Prepares the router's links to receive up to `capacity` frames at once, and nothing else from then on.
    pub(super) fn live(&self, capacity: u32) -> io::Result<Live> {
        self.router
            .within(|| Live::new(frame_len(self.family), capacity, &self.links))
    }

    /// Has the router receive frames as if its driver had them from one side; CPU time until they are at the other.
    pub(super) fn receive<'frame>(
        &self,
        live: &Live,
        clock: &CpuTime,
        side: usize,
        frames: impl Iterator<Item = &'frame Frame> + Send,
    ) -> io::Result<Duration> {
        self.router
            .within(|| live.receive(clock, self.links[side], frames))
    }

    /// Frames that have arrived at either end.
    pub(super) fn arrived(&self) -> io::Result<u64> {
        let mut all = 0;
        for end in &self.ends {
            let devices = end
                .namespace
                .within(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
            let count = devices.lines().find_map(|line| {
                let (_, counts) = line.split_once(&format!("{DEVICE}:"))?;
                counts.split_whitespace().nth(1)?.parse::<u64>().ok()
            });
            all += count.unwrap_or(0);
        }
        Ok(all)
    }

    /// Connections that the router's kernel knows.
    pub(super) fn tracked(&self) -> io::Result<u64> {
        self.router
            .within(|| setting("netfilter/nf_conntrack_count"))
    }

    /// Listens at one side.
    pub(super) fn tap(&self, side: usize) -> io::Result<Tap> {
        let socket = self.ends[side]
            .namespace
            .within(|| packet_socket(ether_type(self.family)))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        sockopt::set_socket_recv_buffer_size_force(&socket, 1 << 20)?;
        Ok(Tap { socket })
    }
}

/// Addresses, neighbours and routes of a router, as commands for `ip`.
fn configuration(family: Family) -> String {
    // An address is chosen, not negotiated.
    let (gateway, chosen) = match family {
        Family::Ipv4 => ("169.254.0.1", ""),
        Family::Ipv6 => ("fe80::1", "nodad"),
    };
    let [clients, frontends, endpoints] = subnets(family);
    let [client, server] = LINKS;
    let mut text = format!("addr add {} dev {server} {chosen}\n", node_address(family));
    for link in LINKS {
        text += &format!("neigh add {gateway} lladdr {NEXT_HOP} dev {link} nud permanent\n");
    }
    for (subnet, link) in [(clients, client), (frontends, server), (endpoints, server)] {
        text += &format!("route add {subnet} via {gateway} dev {link} onlink\n");
    }
    text
}

/// A link drops what it is given until the kernel has seen that its other end is up, which may take a moment.
fn wait_for(link: &str) -> io::Result<()> {
    let mut waited = Duration::ZERO;
    while !run("ip", &["-o", "link", "show", link], "")?.contains("state UP") {
        if waited > PATIENCE {
            return Err(io::Error::other(format!("the link {link} is not up")));
        }
        thread::sleep(LOOK_AGAIN);
        waited += LOOK_AGAIN;
    }
    Ok(())
}

impl End {
    /// Joined to the router. IPv6 is off even where it is sent, so that nothing is sent but what the socket sends.
    fn new(router: &Namespace, side: usize) -> io::Result<Self> {
        let namespace = Namespace::new()?;
        let (link, router) = (LINKS[side], router.path());
        let commands = format!(
            "link add {DEVICE} type veth peer name {link} address 02:00:00:00:00:0{side} netns {router}\n\
             link set {DEVICE} up\n"
        );
        let sender = namespace.within(|| {
            set("ipv6/conf/default/disable_ipv6", 1)?;
            run("ip", &["-batch", "-"], &commands)?;
            packet_socket(0)
        })?;
        Ok(Self { namespace, sender })
    }
}

/// Receives what arrives at an end.
#[derive(Debug)]
pub(super) struct Tap {
    socket: OwnedFd,
}

impl Tap {
    /// The next frame for which `read` finds something to say, its packet given.
    pub(super) fn next<T>(&self, read: impl Fn(&[u8]) -> Option<T>) -> io::Result<T> {
        let mut frame = [0_u8; 2048];
        loop {
            let (_, len) = net::recv(&self.socket, &mut frame[..], RecvFlags::empty())
                .map_err(|error| io::Error::other(format!("a packet did not arrive: {error}")))?;
            let packet = frame.get(ETHERNET..len).unwrap_or_default();
            if let Some(found) = read(packet) {
                return Ok(found);
            }
        }
    }
}

/// A raw socket on this namespace's device, which receives frames of a protocol, none if 0.
fn packet_socket(protocol: u16) -> io::Result<OwnedFd> {
    let socket = net::socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let index = index(DEVICE)?;
    let name = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let (pointer, size) = (&raw const name, size_of::<libc::sockaddr_ll>());
    #[expect(unsafe_code, reason = "rustix names no link-layer addresses")]
    // SAFETY: the kernel reads the address, which lives until the call returns.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), pointer.cast(), size as libc::socklen_t) };
    match bound {
        0 => Ok(socket),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets a parameter of this thread's namespace.
fn set(name: &str, value: u8) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/{name}"), value.to_string())
        .map_err(|error| io::Error::new(error.kind(), format!("net/{name}: {error}")))
}

/// Reads one.
pub(super) fn setting(name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/sys/net/{name}"))
        .map_err(|error| io::Error::new(error.kind(), format!("net/{name}: {error}")))?;
    text.trim().parse().map_err(io::Error::other)
}

/// The index of a link of this thread's namespace.
fn index(link: &str) -> io::Result<u32> {
    let any = net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    Ok(netdevice::name_to_index(any, link)?)
}
