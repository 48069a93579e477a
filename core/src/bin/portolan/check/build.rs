//! Builds a packet from its fields, from the IP header on; with lies where the case asks for them.

use super::case::{ChecksumKind, Extension, PacketFields};
use super::checksum::{octets, offset, pseudo_header, sctp, sum};
use super::scalar::{Field, IpProtocol, Scalar};
use core::net::IpAddr;
use portolan::packet::{Offload, offload_flags};
use std::collections::BTreeMap;

/// What `$names` stand for, as text.
pub(crate) type Bindings = BTreeMap<String, String>;

/// A packet to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// From the IP header on.
    pub(crate) bytes: Vec<u8>,
    /// What is left to hardware.
    pub(crate) offload: Offload,
}

/// Builds the packet that `fields` describe.
pub(crate) fn build(fields: &PacketFields, bindings: &Bindings) -> Result<Built, String> {
    let resolve = Resolve { bindings };
    let src = resolve.required(fields.src.as_ref(), "src")?.0;
    let dst = resolve.required(fields.dst.as_ref(), "dst")?.0;
    if src.is_ipv4() != dst.is_ipv4() {
        return Err(format!("src {src} and dst {dst} are of different families"));
    }
    let protocol = fields.proto.ok_or("a packet needs `proto`")?;
    let later_fragment = fields.fragment.as_ref().is_some_and(|f| f.offset > 0);
    let mut transport = if later_fragment {
        payload(fields)
    } else {
        resolve.transport(fields, protocol)?
    };
    let header = match src {
        IpAddr::V4(_) => resolve.ipv4(fields, src, dst, protocol, transport.len())?,
        IpAddr::V6(_) => resolve.ipv6(fields, src, dst, protocol, transport.len())?,
    };
    let kind = fields.checksum.unwrap_or(ChecksumKind::Ok);
    if !later_fragment {
        put_checksum(&mut transport, src, dst, protocol, kind);
    }
    let mut offload = Offload::default();
    if kind == ChecksumKind::Partial && !later_fragment {
        offload.flags = offload_flags::PARTIAL;
        offload.checksum_start = header.len() as u16;
        offload.checksum_offset = match protocol {
            IpProtocol::SCTP => 8,
            other => offset(other.0).unwrap_or(0) as u16,
        };
    }
    let mut bytes = header;
    bytes.extend(transport);
    Ok(Built { bytes, offload })
}

fn payload(fields: &PacketFields) -> Vec<u8> {
    fields
        .payload
        .as_ref()
        .map(super::scalar::Payload::bytes)
        .unwrap_or_default()
}

/// Writes the transport checksum that `kind` asks for.
fn put_checksum(
    transport: &mut [u8],
    src: IpAddr,
    dst: IpAddr,
    protocol: IpProtocol,
    kind: ChecksumKind,
) {
    if protocol == IpProtocol::SCTP {
        let mut crc = match kind {
            ChecksumKind::Ok | ChecksumKind::Bad => sctp(transport),
            ChecksumKind::Zero | ChecksumKind::Partial => [0; 4],
        };
        if kind == ChecksumKind::Bad {
            crc[0] ^= 0x55;
        }
        if let Some(field) = transport.get_mut(8..12) {
            field.copy_from_slice(&crc);
        }
        return;
    }
    let Some(place) = offset(protocol.0) else {
        return;
    };
    if transport.len() < place + 2 {
        return;
    }
    transport[place..place + 2].fill(0);
    let pseudo = if protocol == IpProtocol::ICMP {
        Vec::new()
    } else {
        pseudo_header(src, dst, protocol.0, transport.len())
    };
    let mut checksum = !sum(&[&pseudo, transport]);
    if protocol == IpProtocol::UDP && checksum == 0 {
        checksum = 0xffff;
    }
    let checksum = match kind {
        ChecksumKind::Ok => checksum,
        // Neither the right value nor UDP's "none", nor the other zero of one's complement.
        ChecksumKind::Bad => match checksum ^ 0x5555 {
            0 | 0xffff => checksum ^ 0x5556,
            wrong => wrong,
        },
        ChecksumKind::Zero => 0,
        ChecksumKind::Partial => sum(&[&pseudo]),
    };
    transport[place..place + 2].copy_from_slice(&checksum.to_be_bytes());
}

struct Resolve<'a> {
    bindings: &'a Bindings,
}

impl Resolve<'_> {
    fn value<T: Scalar + Copy>(&self, field: Option<&Field<T>>) -> Result<Option<T>, String> {
        match field {
            None => Ok(None),
            Some(Field::Value(value)) => Ok(Some(*value)),
            Some(Field::Variable(name)) => {
                let text = self
                    .bindings
                    .get(name)
                    .ok_or_else(|| format!("{name} is not bound by an earlier `expect`"))?;
                T::parse(text)
                    .map(Some)
                    .map_err(|error| format!("{name} = `{text}` {error}"))
            }
        }
    }

    fn or<T: Scalar + Copy>(&self, field: Option<&Field<T>>, default: T) -> Result<T, String> {
        Ok(self.value(field)?.unwrap_or(default))
    }

    fn required<T: Scalar + Copy>(
        &self,
        field: Option<&Field<T>>,
        name: &str,
    ) -> Result<T, String> {
        self.value(field)?
            .ok_or_else(|| format!("a packet needs `{name}`"))
    }

    fn ipv4(
        &self,
        fields: &PacketFields,
        src: IpAddr,
        dst: IpAddr,
        protocol: IpProtocol,
        transport_len: usize,
    ) -> Result<Vec<u8>, String> {
        let mut options = fields
            .options
            .as_ref()
            .and_then(|o| o.ip.as_ref())
            .map_or_else(Vec::new, |hex| hex.0.clone());
        options.resize(options.len().next_multiple_of(4), 0);
        let header_len = 20 + options.len();
        let ihl = self.or(fields.ihl.as_ref(), (header_len / 4) as u8)?;
        let total = (header_len + transport_len) as u16;
        let mut bytes = vec![0x40 | (ihl & 0x0f), self.or(fields.tos.as_ref(), 0)?];
        bytes.extend(self.or(fields.total_length.as_ref(), total)?.to_be_bytes());
        bytes.extend((self.or(fields.ipid.as_ref(), 0)? as u16).to_be_bytes());
        let fragment = fields.fragment.clone().unwrap_or_default();
        let mut place = (fragment.offset / 8) & 0x1fff;
        place |= if fields.df == Some(true) { 0x4000 } else { 0 };
        place |= if fragment.more { 0x2000 } else { 0 };
        bytes.extend(place.to_be_bytes());
        bytes.extend([self.or(fields.ttl.as_ref(), 64)?, protocol.0, 0, 0]);
        bytes.extend(octets(src));
        bytes.extend(octets(dst));
        bytes.extend(options);
        // The checksum covers the header as long as it says it is, as far as it is there.
        let covered = bytes.len().min(usize::from(ihl) * 4);
        let mut checksum = !sum(&[&bytes[..covered]]);
        if fields.ip_checksum == Some(ChecksumKind::Bad) {
            checksum ^= 0x5555;
        }
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        Ok(bytes)
    }

    fn ipv6(
        &self,
        fields: &PacketFields,
        src: IpAddr,
        dst: IpAddr,
        protocol: IpProtocol,
        transport_len: usize,
    ) -> Result<Vec<u8>, String> {
        // Each header but the last names the one behind it, so they are chained from the end.
        let mut chain: Vec<(u8, [u8; 8])> = Vec::new();
        for extension in fields.extension.iter().flatten() {
            chain.push(match extension {
                Extension::Hopbyhop => (0, [0, 0, 1, 4, 0, 0, 0, 0]),
                Extension::Destination => (60, [0, 0, 1, 4, 0, 0, 0, 0]),
                Extension::Routing => (43, [0, 0, 253, 0, 0, 0, 0, 0]),
            });
        }
        if let Some(fragment) = &fields.fragment {
            let place = (fragment.offset & 0xfff8) | u16::from(fragment.more);
            let [p0, p1] = place.to_be_bytes();
            let [i0, i1, i2, i3] = self.or(fields.ipid.as_ref(), 0)?.to_be_bytes();
            chain.push((44, [0, 0, p0, p1, i0, i1, i2, i3]));
        }
        let mut next = protocol.0;
        for (kind, header) in chain.iter_mut().rev() {
            header[0] = next;
            next = *kind;
        }
        let length = (chain.len() * 8 + transport_len) as u16;
        let [t0, t1] = (u16::from(self.or(fields.tos.as_ref(), 0)?) << 4).to_be_bytes();
        let mut bytes = vec![0x60 | t0, t1, 0, 0];
        bytes.extend(self.or(fields.total_length.as_ref(), length)?.to_be_bytes());
        bytes.extend([next, self.or(fields.ttl.as_ref(), 64)?]);
        bytes.extend(octets(src));
        bytes.extend(octets(dst));
        for (_, header) in chain {
            bytes.extend(header);
        }
        Ok(bytes)
    }

    fn transport(&self, fields: &PacketFields, protocol: IpProtocol) -> Result<Vec<u8>, String> {
        match protocol {
            IpProtocol::TCP => self.tcp(fields),
            IpProtocol::UDP => self.udp(fields),
            IpProtocol::SCTP => self.sctp(fields),
            IpProtocol::ICMP | IpProtocol::ICMPV6 => self.icmp(fields, protocol),
            IpProtocol(_) => Ok(payload(fields)),
        }
    }

    fn ports(&self, fields: &PacketFields) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        bytes.extend(self.required(fields.sport.as_ref(), "sport")?.to_be_bytes());
        bytes.extend(self.required(fields.dport.as_ref(), "dport")?.to_be_bytes());
        Ok(bytes)
    }

    fn tcp(&self, fields: &PacketFields) -> Result<Vec<u8>, String> {
        let mut options = fields
            .options
            .as_ref()
            .and_then(|o| o.tcp.as_ref())
            .map_or_else(Vec::new, |hex| hex.0.clone());
        options.resize(options.len().next_multiple_of(4), 0);
        let words = self.or(fields.header_length.as_ref(), (5 + options.len() / 4) as u8)?;
        let mut bytes = self.ports(fields)?;
        bytes.extend(self.or(fields.seq.as_ref(), 0)?.to_be_bytes());
        bytes.extend(self.or(fields.ack.as_ref(), 0)?.to_be_bytes());
        bytes.extend([
            words << 4,
            tcp_flags(fields.flags.as_deref().unwrap_or(""))?,
        ]);
        bytes.extend(self.or(fields.window.as_ref(), 65535)?.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(options);
        bytes.extend(payload(fields));
        Ok(bytes)
    }

    fn udp(&self, fields: &PacketFields) -> Result<Vec<u8>, String> {
        let payload = payload(fields);
        let mut bytes = self.ports(fields)?;
        let length = (8 + payload.len()) as u16;
        bytes.extend(self.or(fields.udp_length.as_ref(), length)?.to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(payload);
        Ok(bytes)
    }

    fn sctp(&self, fields: &PacketFields) -> Result<Vec<u8>, String> {
        let mut bytes = self.ports(fields)?;
        bytes.extend(self.or(fields.vtag.as_ref(), 0)?.to_be_bytes());
        bytes.extend([0; 4]);
        match &fields.chunk {
            Some(name) => bytes.extend(sctp_chunk(name, &payload(fields))?),
            None => bytes.extend(payload(fields)),
        }
        Ok(bytes)
    }

    fn icmp(&self, fields: &PacketFields, protocol: IpProtocol) -> Result<Vec<u8>, String> {
        let v6 = protocol == IpProtocol::ICMPV6;
        let kind = self.or(fields.icmp_type.as_ref(), if v6 { 128 } else { 8 })?;
        let mut bytes = vec![kind, self.or(fields.code.as_ref(), 0)?, 0, 0];
        if let Some(mtu) = self.value(fields.mtu.as_ref())? {
            bytes.extend(mtu.to_be_bytes());
        } else {
            bytes.extend(self.or(fields.echo_id.as_ref(), 0)?.to_be_bytes());
            bytes.extend(self.or(fields.echo_seq.as_ref(), 0)?.to_be_bytes());
        }
        if let Some(inner) = &fields.inner {
            let mut quoted = build(inner, self.bindings)?.bytes;
            let kept = inner.inner_bytes.or(fields.inner_bytes);
            if let (Some(kept), Some(header)) = (kept, header_len(&quoted)) {
                quoted.truncate(header + kept);
            }
            bytes.extend(quoted);
        }
        bytes.extend(payload(fields));
        Ok(bytes)
    }
}

/// Length of the IP header, of IPv6 without extension headers.
fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    Some(if first >> 4 == 4 {
        usize::from(first & 0x0f) * 4
    } else {
        40
    })
}

/// TCP's flags from their letters.
pub(crate) fn tcp_flags(letters: &str) -> Result<u8, String> {
    letters.chars().try_fold(0, |flags, letter| {
        "FSRPAUEC"
            .find(letter)
            .map(|bit| flags | 1 << bit)
            .ok_or_else(|| format!("`{letter}` is no TCP flag: they are FSRPAUEC"))
    })
}

/// Names and numbers of SCTP chunks (RFC 9260 3.2).
pub(crate) const SCTP_CHUNKS: [(&str, u8); 13] = [
    ("DATA", 0),
    ("INIT", 1),
    ("INIT_ACK", 2),
    ("SACK", 3),
    ("HEARTBEAT", 4),
    ("HEARTBEAT_ACK", 5),
    ("ABORT", 6),
    ("SHUTDOWN", 7),
    ("SHUTDOWN_ACK", 8),
    ("ERROR", 9),
    ("COOKIE_ECHO", 10),
    ("COOKIE_ACK", 11),
    ("SHUTDOWN_COMPLETE", 14),
];

/// A chunk with its fixed fields; tags are 1, streams 1, so that no field is one that RFC 9260 forbids.
fn sctp_chunk(name: &str, payload: &[u8]) -> Result<Vec<u8>, String> {
    let Some((_, number)) = SCTP_CHUNKS.iter().find(|(known, _)| *known == name) else {
        return Err(format!("`{name}` is no SCTP chunk that can be named here"));
    };
    let one = 1_u32.to_be_bytes();
    let mut body = Vec::new();
    match *number {
        // Initiate tag, window, streams out and in, first TSN.
        1 | 2 => {
            body.extend(one);
            body.extend(65535_u32.to_be_bytes());
            body.extend([0, 1, 0, 1]);
            body.extend(one);
        }
        // TSN, stream, sequence number, protocol.
        0 => {
            body.extend(one);
            body.extend([0; 8]);
        }
        // Cumulative TSN, window, no gaps, no duplicates.
        3 => {
            body.extend(one);
            body.extend(65535_u32.to_be_bytes());
            body.extend([0; 4]);
        }
        7 => body.extend(one),
        // Heartbeat information, empty.
        4 | 5 => body.extend([0, 1, 0, 4]),
        10 => body.extend([0; 4]),
        _ => {}
    }
    body.extend(payload);
    if *number == 0 && payload.is_empty() {
        body.extend([0; 4]);
    }
    let flags = if *number == 0 { 3 } else { 0 };
    let mut chunk = vec![*number, flags];
    chunk.extend(((4 + body.len()) as u16).to_be_bytes());
    chunk.extend(body);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    Ok(chunk)
}
