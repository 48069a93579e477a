//! The kernel as what moves a case's packets: a network namespace of the process's own that forwards everything
//! through one TUN. What is written comes from pods, from outside or from the node; what the kernel made of it can be
//! read when the write returns. Where a case names the interface that a packet enters by, there is one of that name.

use super::build::Built;
use super::read::read;
use super::rig::Sent;
use super::scalar::{Field, IpProtocol};
use crate::CommandError;
use core::net::IpAddr;
use core::time::Duration;
use portolan::dataplane::{Offload, Verdict, descriptor_flags};
use portolan::driver::{self, Tun, TunOptions};
use portolan::net::{Family, Instant};
use portolan::nft::netlink::Socket;
use portolan::nft::{Table, TableOptions};
use portolan::node::Node;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::process::{Command, ExitCode};

/// Says to the command that it runs in a namespace made for it.
const WITHIN: &str = "PORTOLAN_CHECK_NAMESPACE";
const DEVICE: &str = "ptl0";
/// As long as the tables keep what they condemned.
const GRACE: Duration = Duration::from_secs(1);
/// Longer than that and than the tables wait until they read the kernel's flows again.
const STEP: Duration = Duration::from_secs(3);

const SETTINGS: [(&str, &str); 15] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    // A node has the addresses that its case gives it, and no link-local one that it could masquerade to.
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    // The node's own connections begin at the device, too.
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

/// Runs this command again in a namespace of its own; `None` if this is that run.
pub(crate) fn elsewhere() -> Result<Option<ExitCode>, CommandError> {
    if std::env::var_os(WITHIN).is_some() {
        return Ok(None);
    }
    let status = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(WITHIN, "1")
        .status()
        .map_err(|error| format!("unshare (Debian package util-linux): {error}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Some(ExitCode::from(code.unwrap_or(2))))
}

/// A TUN that is up.
#[derive(Debug)]
struct Device {
    _tun: Tun,
    file: File,
}

impl Device {
    fn open(name: &str) -> Result<Self, CommandError> {
        let tun = Tun::open(&TunOptions {
            offload: false,
            up: true,
            ..TunOptions::new(name)
        })?;
        let queue = tun.descriptors().next().ok_or("the TUN has no queue")?;
        let file = File::from(queue.try_clone_to_owned()?);
        Ok(Self { _tun: tun, file })
    }
}

/// The namespace, with the tables in it.
#[derive(Debug)]
pub(crate) struct Kernel {
    device: Device,
    /// Those that cases name, which nothing leaves by.
    named: BTreeMap<String, Device>,
    table: Table,
    socket: Socket,
    addresses: Vec<IpAddr>,
    /// The tables' clock, which goes on from step to step so that nothing waits.
    now: Instant,
    /// Has the case no step yet?
    fresh: bool,
}

impl Kernel {
    /// Sets the namespace up.
    pub(crate) fn new() -> Result<Self, CommandError> {
        for (name, value) in SETTINGS {
            fs::write(format!("/proc/sys/{name}"), value)
                .map_err(|error| format!("/proc/sys/{name}: {error}"))?;
        }
        let device = Device::open(DEVICE)?;
        ip(&["link", "set", "lo", "up"])?;
        // Nobody masquerades to this.
        ip(&["addr", "del", "::1/128", "dev", "lo"])?;
        Ok(Self {
            device,
            named: BTreeMap::new(),
            table: Table::open(TableOptions::default())?,
            socket: Socket::open()?,
            addresses: Vec::new(),
            now: driver::now(),
            fresh: true,
        })
    }

    /// Begins anew: nothing served, and nothing remembered.
    pub(crate) fn begin(&mut self) -> Result<(), CommandError> {
        self.fresh = true;
        self.table.withdraw(self.now)?;
        for family in [Family::Ipv4, Family::Ipv6] {
            self.socket.forget_flows(family)?;
            self.table.forget_affinity(family)?;
        }
        while self.read()?.is_some() {}
        Ok(())
    }

    /// Gives the node its addresses, and brings the tables to its plan.
    pub(crate) fn follow(&mut self, node: &Node) -> Result<(), CommandError> {
        self.readdress(&node.config().addresses)?;
        if !core::mem::take(&mut self.fresh) {
            self.now = self.now.after(STEP);
        }
        self.table.sync(node, self.now)?;
        self.table.poll(self.now.after(GRACE))?;
        match self.table.rejections().next() {
            Some(rejection) => Err(rejection.to_string().into()),
            None => Ok(()),
        }
    }

    fn readdress(&mut self, addresses: &[IpAddr]) -> Result<(), CommandError> {
        if self.addresses == addresses {
            return Ok(());
        }
        self.addresses.clear();
        ip(&["addr", "flush", "dev", DEVICE, "scope", "global"])?;
        // Loopback's are there already.
        for address in addresses.iter().filter(|address| !address.is_loopback()) {
            match address {
                IpAddr::V4(v4) => ip(&["addr", "add", &format!("{v4}/32"), "dev", DEVICE])?,
                IpAddr::V6(v6) => {
                    ip(&["addr", "add", &format!("{v6}/128"), "dev", DEVICE, "nodad"])?;
                }
            }
        }
        // Routes go with the last address.
        for family in ["-4", "-6"] {
            ip(&[family, "route", "replace", "default", "dev", DEVICE])?;
        }
        self.addresses = addresses.to_vec();
        Ok(())
    }

    /// Is the address the node's? What goes there does not come out of the device.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    fn device(&mut self, iface: Option<&str>) -> Result<&mut Device, CommandError> {
        let Some(name) = iface.filter(|name| *name != DEVICE) else {
            return Ok(&mut self.device);
        };
        match self.named.entry(name.to_owned()) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Device::open(name)?)),
        }
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, CommandError> {
        let mut bytes = vec![0; 65_536];
        match self.device.file.read(&mut bytes) {
            Ok(len) => {
                bytes.truncate(len);
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends one packet through the kernel that enters by the interface of that name.
    pub(crate) fn send(
        &mut self,
        iface: Option<&str>,
        packet: &Built,
    ) -> Result<Sent, CommandError> {
        self.device(iface)?.file.write_all(&packet.bytes)?;
        while let Some(mut out) = self.read()? {
            undo_hop(&mut out);
            if let Some(sent) = judge(&packet.bytes, out) {
                return Ok(sent);
            }
        }
        Ok(Sent::nothing())
    }
}

/// What `out` is to `packet`; `None` if it has nothing to do with it.
fn judge(packet: &[u8], out: Vec<u8>) -> Option<Sent> {
    let (before, after) = (read(packet).ok()?, read(&out).ok()?);
    let icmp = |proto| matches!(proto, Some(IpProtocol::ICMP | IpProtocol::ICMPV6));
    let unreachable = match after.icmp_type {
        Some(Field::Value(kind)) => icmp(after.proto) && matches!(kind, 1 | 3),
        Some(Field::Variable(_)) | None => false,
    };
    // Masquerading may give the node's own connections the address that they have; the port is another.
    let translated = before.dst != after.dst;
    let masqueraded = before.src != after.src || translated && before.sport != after.sport;
    let (verdict, flags) = if unreachable && after.dst == before.src {
        (Verdict::Reply, 0)
    } else if before.proto != after.proto || packet.len() != out.len() {
        return None;
    } else if packet == out {
        (Verdict::Pass, 0)
    } else if masqueraded {
        (Verdict::Forward, descriptor_flags::MASQUERADE)
    } else {
        (Verdict::Forward, 0)
    };
    Some(Sent {
        verdict,
        reason: None,
        flags,
        bytes: out,
        offload: Offload::default(),
    })
}

/// The kernel routes, so a packet that it forwards has one hop less; what it translated is looked at without.
fn undo_hop(packet: &mut [u8]) {
    let Some(version) = packet.first().map(|byte| byte >> 4) else {
        return;
    };
    if version == 6 {
        if let Some(hops) = packet.get_mut(7) {
            *hops = hops.wrapping_add(1);
        }
        return;
    }
    let len = packet.first().map_or(20, |byte| usize::from(byte & 15) * 4);
    let Some(header) = packet.get_mut(..len).filter(|header| header.len() >= 20) else {
        return;
    };
    header[8] = header[8].wrapping_add(1);
    header[10..12].fill(0);
    let words = header
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn ip(arguments: &[&str]) -> Result<(), CommandError> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| format!("ip (Debian package iproute2): {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", arguments.join(" "), said.trim()).into())
}
