//! Who talks to whom: addresses of clients, frontends and endpoints by number.

use crate::Family;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Services in the table.
pub(crate) const SERVICES: u32 = 100;
/// Endpoints of each.
pub(crate) const ENDPOINTS_EACH: u32 = 10;
/// The port of every frontend.
pub(crate) const FRONTEND_PORT: u16 = 80;
/// The port of every endpoint.
pub(crate) const ENDPOINT_PORT: u16 = 8080;

/// One end of a flow, as bytes on the wire; IPv4 uses the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) address: [u8; 16],
    pub(crate) port: u16,
}

impl End {
    pub(crate) fn new(address: IpAddr, port: u16) -> Self {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes = address.octets(),
        }
        Self {
            address: bytes,
            port,
        }
    }
}

fn address(family: Family, v4: u32, v6: u128) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(v4)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(v6)),
    }
}

/// The client of flow `number`: four million addresses, then other ports.
pub(crate) fn client(family: Family, number: u32) -> End {
    let low = number & 0x3f_ffff;
    let port = 10_000 + (number >> 22) as u16;
    let v6 = (0xfd64_u128 << 112) | (u128::from(low).wrapping_mul(0x1_0001) << 8);
    End::new(address(family, 0x6440_0000 | low, v6), port)
}

pub(crate) fn frontend_address(family: Family, service: u32) -> IpAddr {
    address(
        family,
        0x0a60_0001 + service,
        (0xfd96_u128 << 112) | u128::from(service + 1),
    )
}

pub(crate) fn endpoint_address(family: Family, endpoint: u32) -> IpAddr {
    address(
        family,
        0x0ac8_0001 + endpoint,
        (0xfd20_u128 << 112) | u128::from(endpoint + 1),
    )
}

/// The frontend that flow `number` asks for.
pub(crate) fn frontend(family: Family, number: u32) -> End {
    let service =
        ((u64::from(number.wrapping_mul(0x9e37_79b1)) * u64::from(SERVICES)) >> 32) as u32;
    End::new(frontend_address(family, service), FRONTEND_PORT)
}

/// The networks of clients, frontends and endpoints.
#[cfg(feature = "peers")]
pub(crate) const fn subnets(family: Family) -> [&'static str; 3] {
    match family {
        Family::Ipv4 => ["100.64.0.0/10", "10.96.0.0/12", "10.200.0.0/13"],
        Family::Ipv6 => ["fd64::/16", "fd96::/16", "fd20::/16"],
    }
}

/// Somebody who is no frontend.
pub(crate) fn stranger(family: Family, number: u32) -> End {
    let low = number & 0xf_ffff;
    End::new(
        address(
            family,
            0xac10_0000 | low,
            (0xfd17_u128 << 112) | u128::from(low),
        ),
        FRONTEND_PORT,
    )
}

pub(crate) fn node_address(family: Family) -> IpAddr {
    address(family, 0xc0a8_0001, (0xfd19_u128 << 112) | 1)
}
