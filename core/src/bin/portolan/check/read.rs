//! Reads a packet back into the fields of a case file, on its own: the library's parser is what is judged.

use super::build::SCTP_CHUNKS;
use super::case::{ChecksumKind, Extension, FragmentFields, OptionFields, PacketFields};
use super::scalar::{Field, Hex, Ip, IpProtocol, Payload};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the parts of a packet lie.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    /// Source address.
    pub(crate) src: IpAddr,
    /// Destination address.
    pub(crate) dst: IpAddr,
    /// Protocol of what lies at `transport`.
    pub(crate) protocol: u8,
    /// Offset of the transport header.
    pub(crate) transport: usize,
    /// Where the packet ends: by its own length field, or where the bytes end if that is sooner.
    pub(crate) end: usize,
    /// Offset of this fragment's bytes in their datagram.
    pub(crate) fragment_offset: u16,
    /// More fragments follow.
    pub(crate) more: bool,
    /// The IPv6 fragment header's identification.
    fragment_id: Option<u32>,
    extensions: Vec<Extension>,
}

pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn double_word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(word(bytes, at)?) << 16 | u32::from(word(bytes, at + 2)?))
}

fn ipv4_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    double_word(bytes, at).map(|bits| Ipv4Addr::from_bits(bits).into())
}

fn ipv6_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(Ipv6Addr::from(octets).into())
}

/// Finds the parts of a packet; `None` if it is no IP packet or ends within a header.
pub(crate) fn locate(bytes: &[u8]) -> Option<Located> {
    match bytes.first()? >> 4 {
        4 => {
            let place = word(bytes, 6)?;
            Some(Located {
                src: ipv4_at(bytes, 12)?,
                dst: ipv4_at(bytes, 16)?,
                protocol: *bytes.get(9)?,
                transport: usize::from(bytes[0] & 0x0f) * 4,
                end: usize::from(word(bytes, 2)?).min(bytes.len()),
                fragment_offset: (place & 0x1fff) * 8,
                more: place & 0x2000 != 0,
                fragment_id: None,
                extensions: Vec::new(),
            })
        }
        6 => locate_ipv6(bytes),
        _ => None,
    }
}

fn locate_ipv6(bytes: &[u8]) -> Option<Located> {
    let mut located = Located {
        src: ipv6_at(bytes, 8)?,
        dst: ipv6_at(bytes, 24)?,
        protocol: *bytes.get(6)?,
        transport: 40,
        end: (40 + usize::from(word(bytes, 4)?)).min(bytes.len()),
        fragment_offset: 0,
        more: false,
        fragment_id: None,
        extensions: Vec::new(),
    };
    while let kind @ (0 | 43 | 44 | 60) = located.protocol {
        if located.fragment_offset > 0 {
            break;
        }
        let at = located.transport;
        located.protocol = *bytes.get(at)?;
        let mut length = 8 + usize::from(*bytes.get(at + 1)?) * 8;
        match kind {
            0 => located.extensions.push(Extension::Hopbyhop),
            43 => located.extensions.push(Extension::Routing),
            60 => located.extensions.push(Extension::Destination),
            _ => {
                let place = word(bytes, at + 2)?;
                located.fragment_offset = place & 0xfff8;
                located.more = place & 1 != 0;
                located.fragment_id = Some(double_word(bytes, at + 4)?);
                length = 8;
            }
        }
        located.transport = at + length;
    }
    Some(located)
}

fn field<T>(value: Option<T>) -> Option<Field<T>> {
    value.map(Field::Value)
}

/// Every field of a packet that can be compared.
pub(crate) fn read(bytes: &[u8]) -> Result<PacketFields, String> {
    let located = locate(bytes).ok_or("what came out is no IP packet")?;
    let mut fields = PacketFields {
        src: field(Some(Ip(located.src))),
        dst: field(Some(Ip(located.dst))),
        proto: Some(IpProtocol(located.protocol)),
        fragment: Some(FragmentFields {
            offset: located.fragment_offset,
            more: located.more,
            ..FragmentFields::default()
        }),
        extension: Some(located.extensions.clone()),
        options: Some(OptionFields::default()),
        ..PacketFields::default()
    };
    if located.src.is_ipv4() {
        fields.ttl = field(bytes.get(8).copied());
        fields.tos = field(bytes.get(1).copied());
        fields.ipid = field(word(bytes, 4).map(u32::from));
        fields.df = word(bytes, 6).map(|place| place & 0x4000 != 0);
        fields.ihl = field(Some(bytes[0] & 0x0f));
        fields.total_length = field(word(bytes, 2));
        if let (Some(options), Some(held)) =
            (fields.options.as_mut(), bytes.get(20..located.transport))
        {
            options.ip = Some(Hex(held.to_vec()));
        }
    } else {
        fields.ttl = field(bytes.get(7).copied());
        fields.tos = field(word(bytes, 0).map(|start| (start >> 4) as u8));
        fields.ipid = field(located.fragment_id);
        fields.total_length = field(word(bytes, 4));
    }
    let transport = bytes
        .get(located.transport..located.end)
        .unwrap_or_default();
    if located.fragment_offset > 0 {
        fields.payload = Some(Payload::Bytes(transport.to_vec()));
        return Ok(fields);
    }
    match IpProtocol(located.protocol) {
        IpProtocol::TCP => read_tcp(&mut fields, transport),
        IpProtocol::UDP => read_udp(&mut fields, transport),
        IpProtocol::SCTP => read_sctp(&mut fields, transport),
        IpProtocol::ICMP | IpProtocol::ICMPV6 => read_icmp(&mut fields, transport),
        IpProtocol(_) => fields.payload = Some(Payload::Bytes(transport.to_vec())),
    }
    Ok(fields)
}

fn read_ports(fields: &mut PacketFields, transport: &[u8]) {
    fields.sport = field(word(transport, 0));
    fields.dport = field(word(transport, 2));
}

fn read_payload(fields: &mut PacketFields, transport: &[u8], from: usize) {
    fields.payload = transport
        .get(from..)
        .map(|bytes| Payload::Bytes(bytes.to_vec()));
}

fn read_tcp(fields: &mut PacketFields, transport: &[u8]) {
    read_ports(fields, transport);
    fields.seq = field(double_word(transport, 4));
    fields.ack = field(double_word(transport, 8));
    fields.window = field(word(transport, 14));
    fields.flags = transport.get(13).map(|bits| {
        "FSRPAUEC"
            .chars()
            .enumerate()
            .filter(|(bit, _)| bits & (1 << bit) != 0)
            .map(|(_, letter)| letter)
            .collect()
    });
    let words = transport.get(12).map(|byte| byte >> 4);
    fields.header_length = field(words);
    let header = usize::from(words.unwrap_or(5)) * 4;
    if let (Some(options), Some(held)) = (fields.options.as_mut(), transport.get(20..header)) {
        options.tcp = Some(Hex(held.to_vec()));
    }
    read_payload(fields, transport, header);
}

fn read_udp(fields: &mut PacketFields, transport: &[u8]) {
    read_ports(fields, transport);
    fields.udp_length = field(word(transport, 4));
    if word(transport, 6) == Some(0) {
        fields.checksum = Some(ChecksumKind::Zero);
    }
    read_payload(fields, transport, 8);
}

fn read_sctp(fields: &mut PacketFields, transport: &[u8]) {
    read_ports(fields, transport);
    fields.vtag = field(double_word(transport, 4));
    fields.chunk = transport.get(12).map(|number| {
        SCTP_CHUNKS
            .iter()
            .find(|(_, known)| known == number)
            .map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
    });
    // Behind the chunk's header and, as `build` lays it out, its fixed fields.
    let fixed = match transport.get(12) {
        Some(0 | 3) => 12,
        Some(1 | 2) => 16,
        Some(4 | 5 | 7 | 10) => 4,
        _ => 0,
    };
    read_payload(fields, transport, 16 + fixed);
}

fn read_icmp(fields: &mut PacketFields, transport: &[u8]) {
    let v6 = fields.proto == Some(IpProtocol::ICMPV6);
    let kind = transport.first().copied();
    fields.icmp_type = field(kind);
    fields.code = field(transport.get(1).copied());
    let is_error = kind.is_some_and(|kind| match v6 {
        true => kind < 128,
        false => matches!(kind, 3 | 4 | 5 | 11 | 12),
    });
    if is_error {
        fields.mtu = field(if v6 {
            double_word(transport, 4)
        } else {
            word(transport, 6).map(u32::from)
        });
        let quoted = transport.get(8..).unwrap_or_default();
        fields.inner = read(quoted).ok().map(Box::new);
        fields.inner_bytes = locate(quoted).map(|inner| {
            let header = if inner.src.is_ipv4() {
                inner.transport
            } else {
                40
            };
            quoted.len().saturating_sub(header)
        });
    } else {
        fields.echo_id = field(word(transport, 4));
        fields.echo_seq = field(word(transport, 6));
        read_payload(fields, transport, 8);
    }
}
