//! What a driver runs on.

use alloc::string::String;
use alloc::vec::Vec;

use super::af_packet::AfPacket;
use super::capabilities::{Capabilities, Loss};
use super::port::Port;
use super::tun::Tun;

/// A device that is open: made from whichever it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Device {
    /// A TUN device.
    Tun(Tun),
    /// Packet sockets.
    AfPacket(AfPacket),
}

impl Device {
    /// The interface's name; see [`AfPacket::name`] for two.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Tun(tun) => tun.name(),
            Self::AfPacket(sockets) => sockets.name(),
        }
    }

    /// What was granted.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        match self {
            Self::Tun(tun) => tun.capabilities().clone(),
            Self::AfPacket(sockets) => sockets.capabilities(),
        }
    }

    /// What was asked for and not granted, each with a sentence for people.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        match self {
            Self::Tun(tun) => tun.losses(),
            Self::AfPacket(sockets) => sockets.losses(),
        }
    }

    pub(super) fn into_ports(self) -> (String, Vec<Port>, Capabilities) {
        match self {
            Self::Tun(tun) => tun.into_ports(),
            Self::AfPacket(sockets) => sockets.into_ports(),
        }
    }
}

impl From<Tun> for Device {
    fn from(tun: Tun) -> Self {
        Self::Tun(tun)
    }
}

impl From<AfPacket> for Device {
    fn from(sockets: AfPacket) -> Self {
        Self::AfPacket(sockets)
    }
}
