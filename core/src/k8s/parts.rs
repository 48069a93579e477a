//! Parts that several kinds of objects share: ports, protocols, addresses, prefixes, names.
//!
//! Each takes what was written and answers with a sound value, or rejects the field and answers with nothing.

use super::findings::{About, Quoted};
use crate::net::{Prefix, Protocol};
use alloc::string::String;
use core::fmt::Display;
use core::net::{IpAddr, Ipv4Addr};
use k8s_openapi::api::core::v1::ObjectReference;

/// What [`is_label`] wants, in words.
pub(super) const LABEL: &str =
    "1 to 63 of a-z, 0-9 and -, with a letter or digit at either end (RFC 1123)";

/// What [`is_subdomain`] wants, in words.
pub(super) const SUBDOMAIN: &str =
    "1 to 253 of a-z, 0-9, - and ., with a letter or digit at either end (RFC 1123)";

/// Is this a DNS label, as namespaces and port names are?
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_subdomain(text)
}

/// Is this a DNS subdomain, as names of objects are?
pub(super) fn is_subdomain(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 253
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes
            .iter()
            .all(|byte| alphanumeric(byte) || matches!(byte, b'-' | b'.'))
}

/// A port that must be there.
pub(super) fn port(number: i32, field: impl Display, about: &mut About<'_>) -> Option<u16> {
    let port = u16::try_from(number).ok().filter(|&port| port != 0);
    if port.is_none() {
        about.reject(
            field,
            format_args!("{number} is not a port: must be between 1 and 65535"),
        );
    }
    port
}

/// A port that may be absent, which 0 says too.
pub(super) fn optional_port(
    number: Option<i32>,
    field: impl Display,
    about: &mut About<'_>,
) -> Option<u16> {
    match number {
        None | Some(0) => None,
        Some(number) => port(number, field, about),
    }
}

/// A protocol; absent means TCP.
pub(super) fn protocol(
    text: Option<&str>,
    field: impl Display,
    about: &mut About<'_>,
) -> Option<Protocol> {
    let text = text.unwrap_or_default();
    if text.is_empty() {
        return Some(Protocol::Tcp);
    }
    let protocol = Protocol::ALL.into_iter().find(|it| it.as_str() == text);
    if protocol.is_none() {
        about.reject(
            field,
            format_args!(
                "{} is not a protocol: must be TCP, UDP or SCTP",
                Quoted(text)
            ),
        );
    }
    protocol
}

/// A port's name; absent means empty, which is sound.
pub(super) fn port_name<'a>(
    text: Option<&'a str>,
    field: impl Display,
    about: &mut About<'_>,
) -> Option<&'a str> {
    let text = text.unwrap_or_default();
    if text.is_empty() || is_label(text) {
        return Some(text);
    }
    about.reject(
        field,
        format_args!("{} is not a port name: must be {LABEL}", Quoted(text)),
    );
    None
}

/// An endpoint's hostname. One that is no DNS label is left out: the endpoint is served all the same.
pub(super) fn hostname(
    text: Option<String>,
    field: impl Display,
    about: &mut About<'_>,
) -> Option<String> {
    let text = text.filter(|text| !text.is_empty())?;
    if is_label(&text) {
        return Some(text);
    }
    about.reject(
        field,
        format_args!("{} is not a hostname: must be {LABEL}", Quoted(&text)),
    );
    None
}

/// The name of the Pod that an endpoint is, if it is one.
pub(super) fn pod_name(target: ObjectReference) -> Option<String> {
    let is_pod = target.kind.as_deref() == Some("Pod");
    target.name.filter(|_| is_pod)
}

/// Where an address stands, which decides what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Of a Service or a node.
    Frontend,
    /// Of an endpoint, or an external IP: link-local ones are not reachable from other nodes, so the API refuses them.
    Routed,
}

/// An address that packets can have as their destination.
pub(super) fn address(
    text: &str,
    usage: Use,
    field: impl Display,
    about: &mut About<'_>,
) -> Option<IpAddr> {
    let Some(address) = parse_ip(text) else {
        about.reject(
            field,
            format_args!(
                "{} is not an IP address: must be IPv4 or IPv6",
                Quoted(text)
            ),
        );
        return None;
    };
    match unusable(address, usage) {
        None => Some(address),
        Some(what) => {
            about.reject(
                field,
                format_args!("{address} is {what}: must be a usable address"),
            );
            None
        }
    }
}

fn unusable(address: IpAddr, usage: Use) -> Option<&'static str> {
    let (mapped, broadcast, link_local) = match address {
        IpAddr::V4(v4) => (false, v4.is_broadcast(), v4.is_link_local()),
        IpAddr::V6(v6) => (
            v6.to_ipv4_mapped().is_some(),
            false,
            v6.is_unicast_link_local(),
        ),
    };
    if mapped {
        Some("an IPv4 address in IPv6 notation")
    } else if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if broadcast {
        Some("the broadcast address")
    } else if link_local && usage == Use::Routed {
        Some("a link-local address")
    } else {
        None
    }
}

/// A prefix.
pub(super) fn prefix(text: &str, field: impl Display, about: &mut About<'_>) -> Option<Prefix> {
    let prefix = parse_prefix(text);
    if prefix.is_none() {
        about.reject(
            field,
            format_args!(
                "{} is not a CIDR: must be an address and a prefix length, such as 10.96.0.0/16 or fd96::/112",
                Quoted(text)
            ),
        );
    }
    prefix
}

/// Octets of IPv4 may have leading zeros, and are decimal all the same: kube-proxy reads them so everywhere, since
/// objects stored long ago have them.
fn parse_ip(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let mut octets = [0_u8; 4];
    let mut words = text.split('.');
    for octet in &mut octets {
        *octet = decimal(words.next()?)?;
    }
    words
        .next()
        .is_none()
        .then(|| Ipv4Addr::from(octets).into())
}

fn parse_prefix(text: &str) -> Option<Prefix> {
    let (address, len) = text.split_once('/')?;
    let address = parse_ip(address)?;
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    Prefix::new(address, decimal(len)?).filter(|_| !mapped)
}

fn decimal(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
