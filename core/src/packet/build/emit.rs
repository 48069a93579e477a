//! From a [`Builder`] to bytes.

use super::{Builder, Checksum, Message};
use crate::net::Protocol;
use crate::packet::checksum::pseudo_header_sum;
use crate::packet::{checksum, crc32c, ipv4, ipv6, transport_checksum};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl Builder {
    pub(super) fn protocol(&self) -> u8 {
        match self.message {
            Message::Tcp { .. } => Protocol::Tcp.number(),
            Message::Udp { .. } => Protocol::Udp.number(),
            Message::Sctp { .. } => Protocol::Sctp.number(),
            Message::Icmp { .. } if self.source.is_ipv4() => ipv4::ICMP,
            Message::Icmp { .. } => ipv6::ICMPV6,
            Message::Raw { protocol } => protocol,
        }
    }

    pub(super) fn network_len(&self) -> usize {
        if self.source.is_ipv4() {
            return 20 + self.options.len();
        }
        40 + self
            .extensions
            .iter()
            .map(|(_, body)| 1 + body.len())
            .sum::<usize>()
    }

    /// Offset and length of the checksum field; length 0 for none.
    pub(super) fn checksum_field(&self) -> (usize, usize) {
        match self.message {
            Message::Tcp { .. } => (16, 2),
            Message::Udp { .. } => (6, 2),
            Message::Sctp { .. } => (8, 4),
            Message::Icmp { .. } => (2, 2),
            Message::Raw { .. } => (0, 0),
        }
    }

    /// Transport header and payload.
    pub(super) fn message(&self) -> Vec<u8> {
        let mut bytes = self.transport_header();
        bytes.extend_from_slice(&self.payload);
        let (at, len) = self.checksum_field();
        let value = match (self.checksum, len) {
            (Checksum::Absent, _) | (_, 0) => return bytes,
            (Checksum::Partial, 4) => return bytes,
            (Checksum::Partial, _) => self.pseudo_header(bytes.len()),
            (Checksum::Right, 4) => {
                let crc = crc32c(&bytes).to_le_bytes();
                bytes[at..at + 4].copy_from_slice(&crc);
                return bytes;
            }
            (Checksum::Off(bits), 4) => {
                let crc = (crc32c(&bytes) ^ u32::from(bits)).to_le_bytes();
                bytes[at..at + 4].copy_from_slice(&crc);
                return bytes;
            }
            (Checksum::Right, _) => self.full_checksum(&bytes),
            (Checksum::Off(bits), _) => self.full_checksum(&bytes) ^ bits,
        };
        bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
        bytes
    }

    fn pseudo_header(&self, len: usize) -> u16 {
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                pseudo_header_sum(source, destination, self.protocol(), len)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                pseudo_header_sum(source, destination, self.protocol(), len)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
        }
    }

    fn full_checksum(&self, message: &[u8]) -> u16 {
        let protocol = self.protocol();
        let value = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(_), _) if protocol == ipv4::ICMP => checksum(message),
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                transport_checksum(source, destination, protocol, message)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                transport_checksum(source, destination, protocol, message)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
        };
        if value == 0 && protocol == Protocol::Udp.number() {
            return 0xffff;
        }
        value
    }

    fn transport_header(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let ports = [self.source.port(), self.destination.port()];
        match &self.message {
            Message::Tcp {
                flags,
                sequence,
                acknowledgment,
                window,
                options,
                data_offset,
            } => {
                push_words(&mut bytes, &ports);
                bytes.extend_from_slice(&sequence.to_be_bytes());
                bytes.extend_from_slice(&acknowledgment.to_be_bytes());
                let words = data_offset.unwrap_or(5 + (options.len() / 4) as u8);
                bytes.extend_from_slice(&[words << 4, *flags]);
                push_words(&mut bytes, &[*window, 0, 0]);
                bytes.extend_from_slice(options);
            }
            Message::Udp { length } => {
                push_words(&mut bytes, &ports);
                let length = length.unwrap_or(8 + self.payload.len() as u16);
                push_words(&mut bytes, &[length, 0]);
            }
            Message::Sctp { verification_tag } => {
                push_words(&mut bytes, &ports);
                bytes.extend_from_slice(&verification_tag.to_be_bytes());
                push_words(&mut bytes, &[0, 0]);
            }
            Message::Icmp { kind, code, rest } => {
                bytes.extend_from_slice(&[*kind, *code, 0, 0]);
                bytes.extend_from_slice(&rest.to_be_bytes());
            }
            Message::Raw { .. } => {}
        }
        bytes
    }

    /// IP header, options and extensions in front of `len` bytes; `fragment` is offset and more-fragments.
    pub(super) fn network_header(
        &self,
        protocol: u8,
        len: usize,
        fragment: Option<(u16, bool)>,
    ) -> Vec<u8> {
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.ipv4_header(source, destination, protocol, len, fragment)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.ipv6_header(source, destination, protocol, len, fragment)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Vec::new(),
        }
    }

    fn ipv4_header(
        &self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: u8,
        len: usize,
        fragment: Option<(u16, bool)>,
    ) -> Vec<u8> {
        let header_len = self.network_len();
        let words = self.header_words.unwrap_or((header_len / 4) as u8);
        let total = self.total_length.unwrap_or((header_len + len) as u16);
        let fragment = match fragment {
            None => 0,
            Some((offset, more)) => (offset >> 3) | (u16::from(more) << 13),
        };
        let mut bytes = vec![0x40 | (words & 0xf), self.service];
        push_words(&mut bytes, &[total, self.identification as u16, fragment]);
        bytes.extend_from_slice(&[self.hop_limit, protocol, 0, 0]);
        bytes.extend_from_slice(&source.octets());
        bytes.extend_from_slice(&destination.octets());
        bytes.extend_from_slice(&self.options);
        let value = checksum(&bytes) ^ self.header_checksum_off;
        bytes[10..12].copy_from_slice(&value.to_be_bytes());
        bytes
    }

    fn ipv6_header(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        protocol: u8,
        len: usize,
        fragment: Option<(u16, bool)>,
    ) -> Vec<u8> {
        let mut extensions = self.extensions.clone();
        if let Some((offset, more)) = fragment {
            let [o0, o1] = (offset | u16::from(more)).to_be_bytes();
            let [a, b, c, d] = self.identification.to_be_bytes();
            extensions.push((44, vec![0, o0, o1, a, b, c, d]));
        }
        let extensions_len: usize = extensions.iter().map(|(_, body)| 1 + body.len()).sum();
        let total = self.total_length.unwrap_or((extensions_len + len) as u16);
        let mut bytes = vec![0x60 | (self.service >> 4), self.service << 4, 0, 0];
        push_words(&mut bytes, &[total]);
        let first = extensions.first().map_or(protocol, |(number, _)| *number);
        bytes.extend_from_slice(&[first, self.hop_limit]);
        bytes.extend_from_slice(&source.octets());
        bytes.extend_from_slice(&destination.octets());
        for (n, (_, body)) in extensions.iter().enumerate() {
            let next = extensions
                .get(n + 1)
                .map_or(protocol, |(number, _)| *number);
            bytes.push(next);
            bytes.extend_from_slice(body);
        }
        bytes
    }
}

fn push_words(bytes: &mut Vec<u8>, words: &[u16]) {
    for word in words {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
}
