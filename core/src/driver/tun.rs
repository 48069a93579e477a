//! A TUN device: opened by name or taken over as file descriptors, probed downwards for what it grants.
//!
//! Linux grants everything since 6.2. gVisor refuses the virtio header and several queues with `EINVAL`; an
//! older kernel refuses some offloads. Nothing of that is an error: see [`Tun::losses`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::capabilities::{Capabilities, Loss};
use super::error::{OpenError, SystemError};
use super::port::{End, Framing, Port};
use super::sys::{self, InterfaceRequest};
use super::virtio;

const PLAIN: u16 = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
const VIRTIO_HEADER: u16 = libc::IFF_VNET_HDR as u16;
const MULTI_QUEUE: u16 = libc::IFF_MULTI_QUEUE as u16;

const CHECKSUM: u32 = libc::TUN_F_CSUM;
const TCP: u32 = libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
const ECN: u32 = libc::TUN_F_TSO_ECN;
// The kernel takes both or neither (drivers/net/tun.c, set_offload).
const UDP: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// What to ask of a device opened by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunOptions {
    /// The interface's name, at most 15 bytes; `%d` in it lets the kernel number it.
    pub name: String,
    /// How many queues to ask for, at least 1.
    pub queues: usize,
    /// Ask for the virtio header and with it checksum and segmentation offload.
    pub offload: bool,
    /// Ask that the interface outlives this process.
    pub persistent: bool,
    /// Set the interface's MTU, in bytes.
    pub mtu: Option<u32>,
    /// Set the interface up.
    pub up: bool,
}

impl TunOptions {
    /// One queue with offload; the interface's MTU, state and lifetime are left alone.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: String::from(name),
            queues: 1,
            offload: true,
            persistent: false,
            mtu: None,
            up: false,
        }
    }
}

/// An open device.
#[derive(Debug)]
pub struct Tun {
    name: String,
    queues: Vec<File>,
    capabilities: Capabilities,
    losses: Vec<Loss>,
}

impl Tun {
    /// Opens the interface of that name in the calling thread's network namespace, and makes it if there is
    /// none.
    ///
    /// # Errors
    /// If not even one queue without offload can be had, or if MTU or state cannot be set as asked. The error
    /// names the interface, the operation and the kernel's answer.
    pub fn open(options: &TunOptions) -> Result<Self, OpenError> {
        if options.queues == 0 {
            return Err(unsuitable(
                &options.name,
                "at least one queue must be asked for",
            ));
        }
        let mut losses = Vec::new();
        let first = open_first(options, &mut losses)?;
        let name = first.request.name();
        let mut tun = Self::with_first_queue(name, first, losses);
        tun.open_more_queues(options.queues);
        if options.offload && tun.capabilities.virtio_header {
            tun.ask_for_offload();
        }
        if options.persistent {
            tun.ask_for_persistence();
        }
        tun.configure(options)?;
        Ok(tun)
    }

    /// Takes over file descriptors that somebody else has opened: one for each queue of one TUN interface, or
    /// any sockets that carry one packet a datagram.
    ///
    /// A TUN is asked for its name and for whether it has the virtio header. For anything else, `name` is what
    /// errors call it, and `virtio_header` says whether packets are led by that header.
    ///
    /// # Errors
    /// If there is none, if one of them cannot be made non-blocking, or if it is a TAP or was opened without
    /// `IFF_NO_PI`.
    pub fn from_descriptors(
        name: &str,
        descriptors: Vec<OwnedFd>,
        virtio_header: bool,
    ) -> Result<Self, OpenError> {
        let queues: Vec<File> = descriptors.into_iter().map(File::from).collect();
        let Some(first) = queues.first() else {
            return Err(unsuitable(
                name,
                "at least one file descriptor must be given",
            ));
        };
        let mut request = InterfaceRequest::EMPTY;
        let tun = sys::interface_ioctl(first, libc::TUNGETIFF, &mut request).is_ok();
        let name = if tun {
            request.name()
        } else {
            String::from(name)
        };
        if tun && request.flags() & PLAIN != PLAIN {
            return Err(unsuitable(
                &name,
                "must be a TUN, not a TAP, opened with IFF_NO_PI",
            ));
        }
        for queue in &queues {
            sys::set_nonblocking(queue)
                .map_err(|error| SystemError::new(&name, "fcntl(O_NONBLOCK)", error))?;
        }
        let virtio_header = if tun {
            request.flags() & VIRTIO_HEADER != 0
        } else {
            virtio_header
        };
        if tun && virtio_header {
            set_header_len(first)
                .map_err(|error| SystemError::new(&name, "TUNSETVNETHDRSZ", error))?;
        }
        let capabilities = Capabilities {
            queues: queues.len(),
            virtio_header,
            ..Capabilities::plain()
        };
        let mut device = Self {
            name,
            queues,
            capabilities,
            losses: Vec::new(),
        };
        if tun && virtio_header {
            device.ask_for_offload();
        } else if !virtio_header {
            let why = String::from("the descriptor was opened without it");
            device.losses.push(Loss::VirtioHeader { why });
        }
        Ok(device)
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was granted.
    #[must_use]
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What was asked for and not granted, each with a sentence for people.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// The queues' file descriptors.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.queues.iter().map(AsFd::as_fd)
    }

    pub(super) fn into_ports(self) -> (String, Vec<Port>, Capabilities) {
        let header_len = if self.capabilities.virtio_header {
            virtio::HEADER_LEN
        } else {
            0
        };
        let name = &self.name;
        let ports = self.queues.into_iter().map(|file| Port {
            near: End {
                name: name.clone(),
                file,
            },
            far: None,
            framing: Framing::Packets { header_len },
        });
        (name.clone(), ports.collect(), self.capabilities)
    }

    fn with_first_queue(name: String, first: Attached, losses: Vec<Loss>) -> Self {
        let virtio_header = first.flags & VIRTIO_HEADER != 0;
        let capabilities = Capabilities {
            queues: 1,
            virtio_header,
            ..Capabilities::plain()
        };
        Self {
            name,
            queues: Vec::from([first.file]),
            capabilities,
            losses,
        }
    }

    fn open_more_queues(&mut self, wanted: usize) {
        let mut flags = PLAIN | MULTI_QUEUE;
        if self.capabilities.virtio_header {
            flags |= VIRTIO_HEADER;
        }
        while self.queues.len() < wanted {
            match attach(&self.name, flags) {
                Ok(next) => self.queues.push(next.file),
                Err(error) => {
                    let granted = self.queues.len();
                    self.losses.push(Loss::Queues {
                        wanted,
                        granted,
                        why: error.to_string(),
                    });
                    break;
                }
            }
        }
        self.capabilities.queues = self.queues.len();
    }

    fn ask_for_offload(&mut self) {
        let ladder = [
            CHECKSUM | TCP | ECN | UDP,
            CHECKSUM | TCP | ECN,
            CHECKSUM | TCP,
            CHECKSUM,
        ];
        let mut granted = 0;
        let mut refusal = None;
        for asked in ladder {
            let Some(queue) = self.queues.first() else {
                break;
            };
            match sys::number_ioctl(queue, libc::TUNSETOFFLOAD, asked) {
                Ok(()) => {
                    granted = asked;
                    break;
                }
                Err(error) => refusal = Some(error.to_string()),
            }
        }
        self.capabilities.checksum = granted & CHECKSUM != 0;
        self.capabilities.tcp_segmentation = granted & TCP != 0;
        self.capabilities.ecn_segmentation = granted & ECN != 0;
        self.capabilities.udp_segmentation = granted & UDP != 0;
        let Some(why) = refusal else { return };
        let lost = |bits: u32| granted & bits == 0;
        if lost(CHECKSUM) {
            self.losses.push(Loss::Checksum { why: why.clone() });
        }
        if lost(TCP) {
            self.losses.push(Loss::TcpSegmentation { why: why.clone() });
        }
        if lost(ECN) {
            self.losses.push(Loss::EcnSegmentation { why: why.clone() });
        }
        if lost(UDP) {
            self.losses.push(Loss::UdpSegmentation { why });
        }
    }

    fn ask_for_persistence(&mut self) {
        let Some(queue) = self.queues.first() else {
            return;
        };
        match sys::number_ioctl(queue, libc::TUNSETPERSIST, 1) {
            Ok(()) => self.capabilities.persistent = true,
            Err(error) => self.losses.push(Loss::Persistence {
                why: error.to_string(),
            }),
        }
    }

    /// Sets MTU and state. Where interface ioctls do not exist (gVisor), that is a loss and no error.
    fn configure(&mut self, options: &TunOptions) -> Result<(), OpenError> {
        if let Some(mtu) = options.mtu {
            let set = self.set_mtu(mtu);
            self.lose_if_refused(set, |why| Loss::Mtu { wanted: mtu, why })?;
        }
        if options.up {
            let set = self.set_up();
            self.lose_if_refused(set, |why| Loss::Up { why })?;
        }
        Ok(())
    }

    fn lose_if_refused(
        &mut self,
        result: Result<(), SystemError>,
        loss: impl FnOnce(String) -> Loss,
    ) -> Result<(), OpenError> {
        match result {
            Err(error) if is_absent(&error.source) => {
                self.losses
                    .push(loss(format!("{}: {}", error.operation, error.source)));
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn set_mtu(&self, mtu: u32) -> Result<(), SystemError> {
        let mut request = self.interface_request();
        request.set_number(mtu);
        self.interface_ioctl(libc::SIOCSIFMTU as libc::Ioctl, "SIOCSIFMTU", &mut request)
    }

    fn set_up(&self) -> Result<(), SystemError> {
        let mut request = self.interface_request();
        self.interface_ioctl(
            libc::SIOCGIFFLAGS as libc::Ioctl,
            "SIOCGIFFLAGS",
            &mut request,
        )?;
        request.set_flags(request.flags() | libc::IFF_UP as u16);
        self.interface_ioctl(
            libc::SIOCSIFFLAGS as libc::Ioctl,
            "SIOCSIFFLAGS",
            &mut request,
        )
    }

    /// The kernel gave the name, so it is not too long for it.
    fn interface_request(&self) -> InterfaceRequest {
        InterfaceRequest::new(&self.name).unwrap_or(InterfaceRequest::EMPTY)
    }

    fn interface_ioctl(
        &self,
        operation: libc::Ioctl,
        name: &'static str,
        request: &mut InterfaceRequest,
    ) -> Result<(), SystemError> {
        sys::control_socket()
            .and_then(|socket| sys::interface_ioctl(&socket, operation, request))
            .map_err(|error| SystemError::new(&self.name, name, error))
    }
}

/// One queue, attached to its interface.
struct Attached {
    file: File,
    request: InterfaceRequest,
    flags: u16,
}

/// The first queue decides what all have: the virtio header first, then the number of queues. An interface
/// that exists already insists on the multi-queue flag that it was made with, so both are tried.
fn open_first(options: &TunOptions, losses: &mut Vec<Loss>) -> Result<Attached, OpenError> {
    let several = options.queues > 1;
    let queue_flags = if several {
        [MULTI_QUEUE, 0]
    } else {
        [0, MULTI_QUEUE]
    };
    let headers: &[u16] = if options.offload {
        &[VIRTIO_HEADER, 0]
    } else {
        &[0]
    };
    let mut refusal = None;
    for header in headers {
        for queue_flag in queue_flags {
            match attach(&options.name, PLAIN | header | queue_flag) {
                Ok(first) => {
                    let why = refusal.map(|error: SystemError| error.source.to_string());
                    note_losses(options, first.flags, why, losses);
                    return Ok(first);
                }
                Err(OpenError::System(error)) if is_refusal(&error.source) => refusal = Some(error),
                Err(error) => return Err(error),
            }
        }
    }
    Err(refusal.map_or_else(
        || unsuitable(&options.name, "no way of opening the device was tried"),
        OpenError::System,
    ))
}

fn note_losses(options: &TunOptions, flags: u16, why: Option<String>, losses: &mut Vec<Loss>) {
    let Some(why) = why else { return };
    if options.offload && flags & VIRTIO_HEADER == 0 {
        losses.push(Loss::VirtioHeader { why });
    }
}

/// Refusals that less demanding flags may avoid; anything else (no permission, busy) they would not.
fn is_refusal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL) || is_absent(error)
}

/// The operation does not exist here, whatever its argument.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS)
    )
}

fn attach(name: &str, flags: u16) -> Result<Attached, OpenError> {
    let mut request = InterfaceRequest::new(name).ok_or_else(|| {
        unsuitable(
            name,
            "interface names have at most 15 bytes, none of them zero",
        )
    })?;
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .map_err(|error| SystemError::new(name, "open(/dev/net/tun)", error))?;
    request.set_flags(flags);
    sys::interface_ioctl(&file, libc::TUNSETIFF, &mut request)
        .map_err(|error| SystemError::new(name, "TUNSETIFF", error))?;
    if flags & VIRTIO_HEADER != 0 {
        set_header_len(&file).map_err(|error| SystemError::new(name, "TUNSETVNETHDRSZ", error))?;
    }
    Ok(Attached {
        file,
        request,
        flags,
    })
}

fn set_header_len(file: &File) -> io::Result<()> {
    sys::pointed_number_ioctl(
        file,
        libc::TUNSETVNETHDRSZ,
        virtio::HEADER_LEN as libc::c_int,
    )
}

fn unsuitable(device: &str, rule: &'static str) -> OpenError {
    OpenError::Unsuitable {
        device: String::from(device),
        rule,
    }
}
