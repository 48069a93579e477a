//! Which addresses can be served, or sent to, at all (`ValidateNonSpecialIP` in Kubernetes' validation).

use core::net::IpAddr;

/// The rule that an address breaks; `None` if it is sound.
pub(super) fn fault(address: IpAddr, link_local_allowed: bool) -> Option<&'static str> {
    let (link_local, broadcast, mapped) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.is_broadcast(), false),
        IpAddr::V6(v6) => (
            v6.is_unicast_link_local(),
            false,
            v6.to_ipv4_mapped().is_some(),
        ),
    };
    if address.is_unspecified() {
        Some("must not be the unspecified address")
    } else if address.is_loopback() {
        Some("must not be a loopback address")
    } else if address.is_multicast() || broadcast {
        Some("must not be a multicast or broadcast address")
    } else if mapped {
        Some("must not be an IPv4-mapped IPv6 address")
    } else if link_local && !link_local_allowed {
        Some("must not be a link-local address")
    } else {
        None
    }
}
