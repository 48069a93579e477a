//! The sets and maps of a table, by name: all that grows or moves.

use crate::net::Protocol;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// A set or map that a control plane fills. Both families' tables have all of them; "address" is of the table's
/// family. Beside them there are `affinity`, which packets fill, and those that never change ([`Set::CONSTANT`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Set {
    /// address . protocol . port of a frontend : its ticket, see [`super::Ticket`].
    Services,
    /// ticket . slot : address . port of an endpoint.
    Slots,
    /// ticket of an endpoint set : the same with what there is to know of the set. For frontends whose senders
    /// get different sets, and for session affinity.
    Tickets,
    /// ticket . slot : ticket of an endpoint. Of ServicePorts with session affinity.
    StickySlots,
    /// ticket of an endpoint : its address . port.
    StickyEndpoints,
    /// address . protocol . port of frontends without any usable endpoint: rejected.
    WithoutEndpoints,
    /// ClusterIPs: masqueraded unless [`Set::Direct`], and rejected at ports that nothing serves.
    ClusterIps,
    /// address . protocol . port of frontends whose connections are all masqueraded.
    Masqueraded,
    /// address . protocol . port of frontends of which only the node's own connections are masqueraded.
    NodeMasqueraded,
    /// address . protocol . port of frontends with source ranges.
    Guarded,
    /// address . protocol . port . source addresses that may reach a guarded frontend.
    Allowed,
    /// Prefixes of pods.
    Pods,
    /// Interfaces that pods send by, or how their names begin.
    PodInterfaces,
    /// Prefixes of senders that are not masqueraded towards ClusterIPs: pods, or all if nobody can tell.
    Direct,
    /// The ServiceCIDRs: addresses in them that no Service has are dropped.
    ServiceRanges,
}

/// What one field of a key or of data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// An address of the table's family, or a ticket in the form of one.
    Address,
    /// An IANA protocol number.
    Protocol,
    /// A port.
    Port,
    /// A number that `numgen` draws.
    Slot,
    /// The name of an interface.
    Interface,
}

impl Set {
    /// All of them, in the order in which they are declared and rendered.
    pub const ALL: [Self; 15] = [
        Self::Services,
        Self::Slots,
        Self::Tickets,
        Self::StickySlots,
        Self::StickyEndpoints,
        Self::WithoutEndpoints,
        Self::ClusterIps,
        Self::Masqueraded,
        Self::NodeMasqueraded,
        Self::Guarded,
        Self::Allowed,
        Self::Pods,
        Self::PodInterfaces,
        Self::Direct,
        Self::ServiceRanges,
    ];

    /// Sets and maps beside these whose elements come with the rules, by name.
    pub const CONSTANT: [&str; 4] = ["kinds", "kinds-of-sets", "sizes", "twice"];

    /// The name in the ruleset.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Slots => "slots",
            Self::Tickets => "tickets",
            Self::StickySlots => "sticky-slots",
            Self::StickyEndpoints => "sticky-endpoints",
            Self::WithoutEndpoints => "without-endpoints",
            Self::ClusterIps => "cluster-ips",
            Self::Masqueraded => "masqueraded",
            Self::NodeMasqueraded => "node-masqueraded",
            Self::Guarded => "guarded",
            Self::Allowed => "allowed",
            Self::Pods => "pods",
            Self::PodInterfaces => "pod-interfaces",
            Self::Direct => "direct",
            Self::ServiceRanges => "service-ranges",
        }
    }

    /// What its elements say, for people who read the ruleset.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Services => "address . protocol . port of a frontend : its ticket",
            Self::Slots => "ticket . slot : an endpoint",
            Self::Tickets => "ticket of an endpoint set : the same with how one of it is chosen",
            Self::StickySlots => "ticket . slot : ticket of an endpoint, for session affinity",
            Self::StickyEndpoints => "ticket of an endpoint : the endpoint, for session affinity",
            Self::WithoutEndpoints => "frontends without any endpoint: rejected",
            Self::ClusterIps => "ClusterIPs: other ports of them are rejected",
            Self::Masqueraded => "frontends that masquerade everybody",
            Self::NodeMasqueraded => "frontends that masquerade the node's own connections",
            Self::Guarded => "frontends with source ranges",
            Self::Allowed => "frontend . source addresses that may reach it",
            Self::Pods => "pods",
            Self::PodInterfaces => "interfaces that pods send by",
            Self::Direct => "senders that ClusterIPs do not masquerade",
            Self::ServiceRanges => "ServiceCIDRs: addresses that no Service has are dropped",
        }
    }

    /// The set of a name; `None` for names that are not ours.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.name() == name)
    }

    /// The fields of its keys.
    #[must_use]
    pub const fn key(self) -> &'static [Field] {
        use Field::{Address, Interface, Port, Protocol, Slot};
        match self {
            Self::Services
            | Self::WithoutEndpoints
            | Self::Masqueraded
            | Self::NodeMasqueraded
            | Self::Guarded => &[Address, Protocol, Port],
            Self::Slots | Self::StickySlots => &[Address, Slot],
            Self::Allowed => &[Address, Protocol, Port, Address],
            Self::Tickets
            | Self::StickyEndpoints
            | Self::ClusterIps
            | Self::Pods
            | Self::Direct
            | Self::ServiceRanges => &[Address],
            Self::PodInterfaces => &[Interface],
        }
    }

    /// The fields of what a key is mapped to; empty for sets.
    #[must_use]
    pub const fn data(self) -> &'static [Field] {
        use Field::{Address, Port};
        match self {
            Self::Services | Self::Tickets | Self::StickySlots => &[Address],
            Self::Slots | Self::StickyEndpoints => &[Address, Port],
            Self::WithoutEndpoints
            | Self::ClusterIps
            | Self::Masqueraded
            | Self::NodeMasqueraded
            | Self::Guarded
            | Self::Allowed
            | Self::Pods
            | Self::PodInterfaces
            | Self::Direct
            | Self::ServiceRanges => &[],
        }
    }

    /// Is it a map?
    #[must_use]
    pub const fn is_map(self) -> bool {
        !self.data().is_empty()
    }

    /// May its elements be ranges (`flags interval`)? Those of [`Set::Allowed`], whose key has several fields,
    /// have both ends in one element; those of the others are a start and an element behind the end
    /// (`NFT_SET_ELEM_INTERVAL_END`).
    #[must_use]
    pub const fn has_ranges(self) -> bool {
        matches!(
            self,
            Self::Allowed | Self::Pods | Self::PodInterfaces | Self::Direct | Self::ServiceRanges
        )
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Field {
    /// Does it take more than four bytes, or may it?
    pub(super) const fn is_long(self) -> bool {
        matches!(self, Self::Address | Self::Interface)
    }

    /// Writes one field, without its padding, as nft does.
    pub(super) fn write(self, bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let four = bytes.first_chunk::<4>().copied().unwrap_or_default();
        let [first, second, ..] = four;
        match self {
            Self::Address => match <[u8; 16]>::try_from(bytes) {
                Ok(octets) => write!(f, "{}", Ipv6Addr::from(octets)),
                Err(_) => write!(f, "{}", Ipv4Addr::from(four)),
            },
            Self::Protocol => match Protocol::from_number(first) {
                Some(Protocol::Tcp) => f.write_str("tcp"),
                Some(Protocol::Udp) => f.write_str("udp"),
                Some(Protocol::Sctp) => f.write_str("sctp"),
                None => write!(f, "{first}"),
            },
            Self::Port => write!(f, "{}", u16::from_be_bytes([first, second])),
            Self::Slot => write!(f, "{}", u32::from_ne_bytes(four)),
            Self::Interface => write_interface(bytes, f),
        }
    }
}

/// A name ends with a zero; the last one that begins so goes on with bytes that no name has.
fn write_interface(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut chunks = bytes.utf8_chunks();
    let name = chunks.next().map_or("", |chunk| chunk.valid());
    let (name, prefix) = match name.split_once('\0') {
        Some((name, _)) => (name, false),
        None => (name, true),
    };
    match (prefix, name.strip_suffix('*')) {
        (true, _) => write!(f, "\"{name}*\""),
        (false, Some(name)) => write!(f, "\"{name}\\*\""),
        (false, None) => write!(f, "\"{name}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_has_a_name_of_its_own() {
        for set in Set::ALL {
            assert_eq!(Set::from_name(set.name()), Some(set));
        }
        assert_eq!(Set::from_name("anything"), None);
    }
}
