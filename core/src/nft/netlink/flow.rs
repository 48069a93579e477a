//! Connections that the kernel tracks, as far as telling and deleting stale ones of UDP needs them.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::attribute::{self, Attributes};
use super::batch::family_number;
use super::dump::{Dump, Progress};
use super::message::{self, Header};
use super::numbers::{
    CTA_FILTER, CTA_FILTER_F_CTA_PROTO_NUM, CTA_FILTER_ORIG_FLAGS, CTA_ID, CTA_IP_V4_DST,
    CTA_IP_V4_SRC, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_PROTO_DST_PORT, CTA_PROTO_NUM,
    CTA_PROTO_SRC_PORT, CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, CTA_ZONE,
    IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_NEW, NFNL_SUBSYS_CTNETLINK, NLM_F_ACK,
    NLM_F_DUMP, NLM_F_REQUEST,
};
use crate::net::{Family, Protocol};

/// A UDP connection of the kernel's default conntrack zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Who opened it.
    pub client: SocketAddr,
    /// Whom its first packet was for, before any translation.
    pub destination: SocketAddr,
    /// Who answers: the endpoint, if it was translated.
    pub answerer: SocketAddr,
    /// The kernel's name for this very entry; another one of the same tuple has another.
    id: u32,
}

impl Flow {
    /// Of three parties, for what asks no kernel.
    #[must_use]
    pub const fn new(client: SocketAddr, destination: SocketAddr, answerer: SocketAddr) -> Self {
        Self {
            client,
            destination,
            answerer,
            id: 0,
        }
    }

    /// Out of a message's attributes; `None` if it is of another protocol or zone, or damaged.
    fn read(attributes: &[u8]) -> Option<Self> {
        if let Some(zone) = Attributes::find(attributes, CTA_ZONE)
            && zone != [0, 0]
        {
            return None;
        }
        let tuple = |kind| read_udp(Attributes::find(attributes, kind)?);
        let (client, destination) = tuple(CTA_TUPLE_ORIG)?;
        let (answerer, _) = tuple(CTA_TUPLE_REPLY)?;
        Some(Self {
            client,
            destination,
            answerer,
            id: attribute::be_u32(Attributes::find(attributes, CTA_ID)?)?,
        })
    }

    /// Appends the message that deletes it. With `last` the kernel acknowledges it; it complains of any.
    fn put_deletion(&self, out: &mut Vec<u8>, sequence: u32, last: bool) {
        let acknowledge = if last { NLM_F_ACK } else { 0 };
        let header = Header {
            kind: message::kind_of(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE),
            flags: NLM_F_REQUEST | acknowledge,
            sequence,
            family: family_number(Family::of(self.client.ip())),
            resource: 0,
        };
        let at = message::begin(out, header);
        let tuple = attribute::begin_nested(out, CTA_TUPLE_ORIG);
        let addresses = attribute::begin_nested(out, CTA_TUPLE_IP);
        put_address(out, [CTA_IP_V4_SRC, CTA_IP_V6_SRC], self.client.ip());
        put_address(out, [CTA_IP_V4_DST, CTA_IP_V6_DST], self.destination.ip());
        attribute::end(out, addresses);
        let ports = attribute::begin_nested(out, CTA_TUPLE_PROTO);
        attribute::put(out, CTA_PROTO_NUM, &[Protocol::Udp.number()]);
        for (kind, port) in [
            (CTA_PROTO_SRC_PORT, self.client.port()),
            (CTA_PROTO_DST_PORT, self.destination.port()),
        ] {
            attribute::put(out, kind, &port.to_be_bytes());
        }
        attribute::end(out, ports);
        attribute::end(out, tuple);
        attribute::put(out, CTA_ID, &self.id.to_be_bytes());
        message::end(out, at);
    }
}

/// The question for the connections of a family: of UDP only if `filtered`, which kernels before 5.8 refuse or do
/// not heed. `sequence` comes back with each part of the answer.
#[must_use]
pub fn ask_flows(family: Family, sequence: u32, filtered: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header {
        kind: message::kind_of(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET),
        flags: NLM_F_REQUEST | NLM_F_DUMP,
        sequence,
        family: family_number(family),
        resource: 0,
    };
    let at = message::begin(&mut bytes, header);
    if filtered {
        let tuple = attribute::begin_nested(&mut bytes, CTA_TUPLE_ORIG);
        let protocol = attribute::begin_nested(&mut bytes, CTA_TUPLE_PROTO);
        attribute::put(&mut bytes, CTA_PROTO_NUM, &[Protocol::Udp.number()]);
        attribute::end(&mut bytes, protocol);
        attribute::end(&mut bytes, tuple);
        let filter = attribute::begin_nested(&mut bytes, CTA_FILTER);
        let compared = CTA_FILTER_F_CTA_PROTO_NUM.to_ne_bytes();
        attribute::put(&mut bytes, CTA_FILTER_ORIG_FLAGS, &compared);
        attribute::end(&mut bytes, filter);
    }
    message::end(&mut bytes, at);
    bytes
}

/// The answer to [`ask_flows`], which comes in parts.
#[derive(Debug)]
pub struct FlowDump(Dump);

impl FlowDump {
    /// Of the question with that sequence number.
    #[must_use]
    pub const fn new(sequence: u32) -> Self {
        Self(Dump::new(sequence))
    }

    /// Reads a part: hands on each connection of UDP. If the kernel's table changes meanwhile, it may show one twice.
    pub fn read(&mut self, received: &[u8], mut each: impl FnMut(Flow)) -> Progress {
        self.0.messages(received, |message| {
            if message.subsystem() == (NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW)
                && let Some((_, attributes)) = message.netfilter()
                && let Some(flow) = Flow::read(attributes)
            {
                each(flow);
            }
        })
    }
}

/// The messages that delete connections, numbered from `sequence`. The last one is acknowledged; the others are
/// heard of only if they fail, which is when the connection is gone already.
#[must_use]
pub fn delete_flows(flows: &[Flow], sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, flow) in flows.iter().enumerate() {
        let last = index.saturating_add(1) == flows.len();
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        flow.put_deletion(&mut bytes, sequence.wrapping_add(index), last);
    }
    bytes
}

/// The message that makes the kernel forget every connection of a family in the namespace, of all protocols.
#[must_use]
pub fn forget_flows(family: Family, sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header {
        kind: message::kind_of(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE),
        flags: NLM_F_REQUEST | NLM_F_ACK,
        sequence,
        family: family_number(family),
        resource: 0,
    };
    let at = message::begin(&mut bytes, header);
    message::end(&mut bytes, at);
    bytes
}

fn put_address(out: &mut Vec<u8>, [ipv4, ipv6]: [u16; 2], address: IpAddr) {
    match address {
        IpAddr::V4(address) => attribute::put(out, ipv4, &address.octets()),
        IpAddr::V6(address) => attribute::put(out, ipv6, &address.octets()),
    }
}

/// Source and destination of a tuple of UDP.
fn read_udp(tuple: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let addresses = Attributes::find(tuple, CTA_TUPLE_IP)?;
    let ports = Attributes::find(tuple, CTA_TUPLE_PROTO)?;
    if Attributes::find(ports, CTA_PROTO_NUM)? != [Protocol::Udp.number()] {
        return None;
    }
    let party = |[ipv4, ipv6]: [u16; 2], port| {
        let address: IpAddr = match Attributes::find(addresses, ipv4) {
            Some(octets) => <[u8; 4]>::try_from(octets).ok()?.into(),
            None => <[u8; 16]>::try_from(Attributes::find(addresses, ipv6)?)
                .ok()?
                .into(),
        };
        let port = Attributes::find(ports, port)?.try_into().ok()?;
        Some(SocketAddr::new(address, u16::from_be_bytes(port)))
    };
    Some((
        party([CTA_IP_V4_SRC, CTA_IP_V6_SRC], CTA_PROTO_SRC_PORT)?,
        party([CTA_IP_V4_DST, CTA_IP_V6_DST], CTA_PROTO_DST_PORT)?,
    ))
}
