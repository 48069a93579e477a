//! Packet sockets: Services on one Ethernet interface, or on the wire between two.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs::File;
use std::os::fd::OwnedFd;

use super::capabilities::{Capabilities, Loss};
use super::error::{OpenError, SystemError};
use super::port::{End, Framing, Port};
use super::sys::{self, InterfaceRequest};
use super::wire;

/// `ARPHRD_ETHER` of `linux/if_arp.h`.
const ETHERNET: u32 = 1;

/// Which interfaces to stand on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfPacketOptions {
    /// The interface, at most 15 bytes; with `other_side`, the one on this side.
    pub interface: String,
    /// The interface on the other side of a bump in the wire; `None`: a next hop.
    pub other_side: Option<String>,
    /// How many sockets share an interface's frames, by connection, each with a thread: at least 1. Between two
    /// interfaces each has as many.
    pub queues: usize,
    /// Set the interfaces up.
    pub up: bool,
}

impl AfPacketOptions {
    /// A next hop on this interface, with one queue.
    #[must_use]
    pub fn next_hop(interface: &str) -> Self {
        Self {
            interface: String::from(interface),
            other_side: None,
            queues: 1,
            up: false,
        }
    }

    /// A bump in the wire between these two interfaces, with one queue for each.
    #[must_use]
    pub fn between(interface: &str, other_side: &str) -> Self {
        Self {
            other_side: Some(String::from(other_side)),
            ..Self::next_hop(interface)
        }
    }
}

/// Open packet sockets.
///
/// | where it stands | taken from the kernel's eyes | forwarded, answered | passed, and what is no IP |
/// |---|---|---|---|
/// | **next hop**, on one interface | IP frames sent to the interface's address | back to the station that sent it | the kernel's: it has a copy of its own |
/// | **between** two interfaces, a bump in the wire | all frames, but those sent to an interface itself | forwarded: on to the other side, addresses as they were; answered: back | on to the other side |
///
/// Neither resolves neighbours. A next hop is asked for by routers that route Services' addresses to it, and gives the
/// packet, whose destination is an endpoint now, back to its router, which knows the way. A bump stands between stations
/// and their router, which both keep talking to each other: no address, route or station changes, and who takes it out
/// again leaves a wire. Only what was translated to its own sender goes back, as an answer does: a client that is its own
/// endpoint. A host that routes itself has a kernel for neighbours: give it a [`Tun`](super::Tun).
///
/// The kernel sees every frame, too: packet sockets copy. So the interfaces have no addresses that Services use, or the
/// host drops IP behind our backs (`nft`: a chain of `type filter hook ingress`), and does not forward. Between two
/// interfaces there must be no other way between them: a second bump beside this one is a loop.
///
/// Every frame is led by a virtio header (`PACKET_VNET_HDR`): packets come up to 64 KiB long with partial checksums,
/// as senders on the same machine and receive offload make them, and leave so; what the device cannot do, the kernel does
/// on the way out, or [`RunOptions::software_offload`](super::RunOptions) before. VLAN tags, which the kernel takes out
/// of a frame, are put back. Frames leave through the interface's queueing discipline, which cuts what must be cut.
#[derive(Debug)]
pub struct AfPacket {
    name: String,
    ports: Vec<Port>,
    losses: Vec<Loss>,
}

impl AfPacket {
    /// Opens the interfaces of the calling thread's network namespace. Frames are kept from now on, and read when the
    /// driver starts.
    ///
    /// # Errors
    /// If an interface does not exist or carries no Ethernet, or if a packet socket with virtio headers cannot be had,
    /// which takes `CAP_NET_RAW`. The error names the interface, the operation and the kernel's answer.
    pub fn open(options: &AfPacketOptions) -> Result<Self, OpenError> {
        let unsuitable = |rule| OpenError::Unsuitable {
            device: options.interface.clone(),
            rule,
        };
        if options.queues == 0 {
            return Err(unsuitable("at least one queue must be asked for"));
        }
        let mut losses = Vec::new();
        let here = Side::open(&options.interface, options, &mut losses)?;
        let Some(other) = &options.other_side else {
            let ports = here.sockets.into_iter().map(|socket| Port {
                near: end(&here.name, socket),
                far: None,
                framing: Framing::Frames {
                    interface: here.index,
                },
            });
            return Ok(Self {
                ports: ports.collect(),
                name: here.name,
                losses,
            });
        };
        let there = Side::open(other, options, &mut losses)?;
        if here.index == there.index {
            return Err(unsuitable("is no other side of itself"));
        }
        let mut ports = here.ports_to(&there)?;
        ports.extend(there.ports_to(&here)?);
        Ok(Self {
            name: format!("{}+{}", here.name, there.name),
            ports,
            losses,
        })
    }

    /// The interface's name, or both with a `+` between.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was granted: the queues of all interfaces, and all offload.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            queues: self.ports.len(),
            virtio_header: true,
            checksum: true,
            tcp_segmentation: true,
            ecn_segmentation: true,
            udp_segmentation: true,
            persistent: true,
        }
    }

    /// What was asked for and not granted, each with a sentence for people.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    pub(super) fn into_ports(self) -> (String, Vec<Port>, Capabilities) {
        let capabilities = self.capabilities();
        (self.name, self.ports, capabilities)
    }
}

/// One interface and the sockets that share its frames.
struct Side {
    name: String,
    index: u32,
    sockets: Vec<OwnedFd>,
}

impl Side {
    fn open(
        name: &str,
        options: &AfPacketOptions,
        losses: &mut Vec<Loss>,
    ) -> Result<Self, OpenError> {
        let index = suitable(name, options.up)?;
        let mut side = Self {
            name: String::from(name),
            index,
            sockets: Vec::new(),
        };
        let first = side.socket(options.other_side.is_some())?;
        let mut group = None;
        if options.queues > 1 {
            group = wire::share(&first, None)
                .map_err(|error| losses.push(fewer(options.queues, 1, error.to_string())))
                .ok();
        }
        side.sockets.push(first);
        while let Some(group) = group
            && side.sockets.len() < options.queues
        {
            let next = side.socket(options.other_side.is_some())?;
            if let Err(error) = wire::share(&next, Some(group)) {
                let granted = side.sockets.len();
                losses.push(fewer(options.queues, granted, error.to_string()));
                break;
            }
            side.sockets.push(next);
        }
        Ok(side)
    }

    fn socket(&self, take_all: bool) -> Result<OwnedFd, SystemError> {
        let failed = |(operation, error)| SystemError::new(&self.name, operation, error);
        let socket = wire::open().map_err(failed)?;
        if take_all {
            wire::take_all(&socket, self.index)
                .map_err(|error| failed(("PACKET_ADD_MEMBERSHIP", error)))?;
        }
        wire::attach(&socket, self.index).map_err(|error| failed(("bind", error)))?;
        Ok(socket)
    }

    /// Queues that read here and write on there. Each side has as many sockets as it was granted.
    fn ports_to(&self, there: &Self) -> Result<Vec<Port>, SystemError> {
        let ends = there.sockets.iter().cycle();
        let ports = self.sockets.iter().zip(ends).map(|(near, far)| {
            Ok(Port {
                near: end(&self.name, copy(&self.name, near)?),
                far: Some(end(&there.name, copy(&there.name, far)?)),
                framing: Framing::Frames {
                    interface: self.index,
                },
            })
        });
        ports.collect()
    }
}

fn copy(name: &str, socket: &OwnedFd) -> Result<OwnedFd, SystemError> {
    let copied = socket.try_clone();
    copied.map_err(|error| SystemError::new(name, "fcntl(F_DUPFD)", error))
}

fn end(name: &str, socket: OwnedFd) -> End {
    End {
        name: String::from(name),
        file: File::from(socket),
    }
}

const fn fewer(wanted: usize, granted: usize, why: String) -> Loss {
    Loss::Queues {
        wanted,
        granted,
        why,
    }
}

/// The index of an Ethernet interface, which is set up if that is asked for.
fn suitable(name: &str, up: bool) -> Result<u32, OpenError> {
    let unsuitable = |rule| OpenError::Unsuitable {
        device: String::from(name),
        rule,
    };
    let request = InterfaceRequest::new(name)
        .ok_or_else(|| unsuitable("interface names have at most 15 bytes, none of them zero"))?;
    let socket = sys::control_socket().map_err(|error| SystemError::new(name, "socket", error))?;
    let ask = |operation: u64, called: &'static str, mut request: InterfaceRequest| {
        sys::interface_ioctl(&socket, operation as libc::Ioctl, &mut request)
            .map_err(|error| SystemError::new(name, called, error))?;
        Ok::<_, SystemError>(request)
    };
    let index = ask(libc::SIOCGIFINDEX, "SIOCGIFINDEX", request)?.number();
    let hardware = ask(libc::SIOCGIFHWADDR, "SIOCGIFHWADDR", request)?;
    if u32::from(hardware.flags()) != ETHERNET {
        return Err(unsuitable(
            "carries no Ethernet frames: a TUN driver may do",
        ));
    }
    if up {
        let mut flags = ask(libc::SIOCGIFFLAGS, "SIOCGIFFLAGS", request)?;
        flags.set_flags(flags.flags() | libc::IFF_UP as u16);
        ask(libc::SIOCSIFFLAGS, "SIOCSIFFLAGS", flags)?;
    }
    Ok(index)
}
